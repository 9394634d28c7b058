"""manage.py create_user: an account, from the terminal."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from accounts.actions import AccountError, create_user
from accounts.models import Department, Membership, User
from kb.supervisor.passwords import make_password


class Command(BaseCommand):
    help = (
        "Make an account. Without --password-stdin a password is made up and printed once, alone on "
        "standard output."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("email", metavar="EMAIL")
        parser.add_argument("--name", default="", help="as colleagues see it")
        parser.add_argument(
            "--role", default=Membership.Role.READER, choices=Membership.Role.values
        )
        parser.add_argument(
            "--department", metavar="SLUG", help="where the role holds; without it, everywhere"
        )
        parser.add_argument(
            "--language", default=User.Language.FRENCH, choices=User.Language.values
        )
        parser.add_argument(
            "--password-stdin", action="store_true", help="read the password from standard input"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        password = (
            sys.stdin.readline().rstrip("\n") if options["password_stdin"] else make_password()
        )
        if not password:
            raise CommandError("Standard input holds no password.")
        try:
            person = create_user(
                email=options["email"],
                name=options["name"],
                password=password,
                roles=[(_department(options["department"]), options["role"])],
                language=options["language"],
            )
        except AccountError as error:
            raise CommandError(str(error)) from error
        self.stderr.write(f"{person.email} has an account.")
        if not options["password_stdin"]:
            self.stderr.write("Its password, shown this once:")
            self.stdout.write(password)


def _department(slug: str | None) -> Department | None:
    if slug is None:
        return None
    try:
        return Department.objects.get(slug=slug)
    except Department.DoesNotExist:
        known = ", ".join(Department.objects.values_list("slug", flat=True)) or "none yet"
        raise CommandError(f"There is no department “{slug}”. There are: {known}.") from None
