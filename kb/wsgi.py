"""Entry point of the web server. Refuses to start with unsafe settings."""

from __future__ import annotations

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "kb.settings")

from django.core.wsgi import get_wsgi_application

application = get_wsgi_application()

from django.db import connection

from kb.checks import refuse_unsafe_start

refuse_unsafe_start()
connection.close()
connection.close_pool()  # the workers are forks of this process and must not share a connection
