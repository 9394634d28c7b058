"""manage.py create_token: an API token for a script, alone on standard output."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from accounts.actions import AccountError, create_token
from accounts.models import ApiToken, User


class Command(BaseCommand):
    help = "Make an API token of a person and print it, once, alone on standard output."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("email", metavar="EMAIL")
        parser.add_argument("--name", required=True, help="what it is for, as its owner reads it")
        parser.add_argument(
            "--scope",
            action="append",
            choices=ApiToken.Scope.values,
            help="what it may do; several times for several; without it: read and write",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        email = options["email"].strip().lower()
        person = User.objects.filter(email=email).first()
        if person is None:
            raise CommandError(
                f"{email} has no account. Make one with: manage.py create_user {email}"
            )
        scopes = options["scope"] or [ApiToken.Scope.READ.value, ApiToken.Scope.WRITE.value]
        try:
            token, text = create_token(person=person, name=options["name"], scopes=scopes, by=None)
        except AccountError as error:
            raise CommandError(str(error)) from error
        self.stderr.write(
            f"Token “{token.name}” of {person.email} may {', '.join(token.scopes)}. Shown this once:"
        )
        self.stdout.write(text)
