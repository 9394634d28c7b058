"""manage.py load_demo: the demonstration company, in an empty embedded database."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from accounts.models import User
from kb.demo.loader import load_demo
from kb.supervisor.passwords import demo_passwords


class Command(BaseCommand):
    help = "Write the demonstration company into an empty database of `manage.py up`."

    def handle(self, *args: Any, **options: Any) -> None:
        if not (settings.EMBEDDED or settings.DEBUG or settings.TESTING):
            raise CommandError(
                "The demo has open accounts; it is only for the embedded database of `manage.py up`."
            )
        if User.objects.exists():
            raise CommandError("There are people in this database; the demo needs an empty one.")
        load_demo(
            passwords=demo_passwords(settings.DATA_DIR), now=timezone.now(), say=self.stdout.write
        )
