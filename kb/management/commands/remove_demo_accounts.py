"""manage.py remove_demo_accounts: close the accounts of the demo, for a database that becomes real."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import transaction

from accounts.actions import AccountError, set_active
from accounts.backends import DEMO_DOMAIN
from accounts.models import User


class Command(BaseCommand):
    help = "Deactivate all demo accounts. What they wrote stays. Twice is once."

    def handle(self, *args: Any, **options: Any) -> None:
        open_accounts = User.objects.filter(email__endswith=f"@{DEMO_DOMAIN}", is_active=True)
        try:
            with transaction.atomic():
                closed = [self._close(person) for person in open_accounts.order_by("email")]
        except AccountError as error:
            raise CommandError(
                f"{error} For instance: manage.py create_user you@company.example --role admin"
            ) from error
        self.stdout.write(f"Demo accounts closed: {len(closed)}.")
        for email in closed:
            self.stdout.write(email)

    @staticmethod
    def _close(person: User) -> str:
        set_active(person=person, is_active=False, by=None)
        return person.email
