"""manage.py compile_catalogues: make the .mo files that are missing or older than their .po."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from kb.supervisor.catalogues import BrokenCatalogue, compile_outdated


class Command(BaseCommand):
    help = "Compile the translation catalogues that have changed; needs no gettext programs."
    requires_system_checks = []

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            compiled = compile_outdated(Path(folder) for folder in settings.LOCALE_PATHS)
        except BrokenCatalogue as error:
            raise CommandError(str(error)) from error
        for path in compiled:
            self.stdout.write(str(path))
