"""manage.py rotate_keys: encrypt the keys of all connections anew."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from kb.core.secrets import Undecryptable
from kb.llm.actions import rotate_keys


class Command(BaseCommand):
    help = (
        "Encrypt the stored keys of all connections with the first of RETEX_ENCRYPTION_KEYS. "
        "To change it: put the new one first, restart, run this, then take the old one away."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            count = rotate_keys(by=None)
        except Undecryptable as error:
            raise CommandError(
                "A stored key fits none of RETEX_ENCRYPTION_KEYS, so nothing was changed. Add the "
                "encryption key it was stored with, or enter the key of that connection again."
            ) from error
        self.stdout.write(f"{count} keys are encrypted with the newest encryption key.")
