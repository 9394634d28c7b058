"""Entry point of the web server. Refuses to start with unsafe settings."""

from __future__ import annotations

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "kb.settings")

from django.core.wsgi import get_wsgi_application

application = get_wsgi_application()

from django.db import connection
from django.urls import get_resolver

from kb.checks import refuse_unsafe_start

refuse_unsafe_start()
# The workers are forks of this process: they share what it has imported, and so a page that cannot be
# imported stops the start; they must not share a connection.
get_resolver().url_patterns  # noqa: B018 - imports every view
connection.close()
connection.close_pool()  # type: ignore[attr-defined]  # unknown to its stubs
