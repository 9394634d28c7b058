"""manage.py import_prompts FILE: the prompts of a prompts.chat CSV file."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from accounts.models import Department, Membership, User
from kb.core.errors import DomainError
from kb.management.progress import Progress
from kb.prompts import imports, queries
from kb.prompts.exchange import prompts_chat


class Command(BaseCommand):
    help = "Import the prompts of a prompts.chat CSV file. A second run changes nothing."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path)
        parser.add_argument(
            "--department", action="append", default=[], metavar="SLUG", help="may be repeated"
        )
        parser.add_argument(
            "--author",
            metavar="EMAIL",
            help="whose prompts they become; default: the first administrator",
        )
        parser.add_argument(
            "--notes", action="store_true", help="print every change made on the way in"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        departments, unknown = queries.by_slugs(Department, options["department"])
        if unknown:
            known = ", ".join(Department.objects.values_list("slug", flat=True))
            raise CommandError(f"No department is called {unknown[0]!r}. Known: {known}.")
        author = _author(options["author"])
        rows = list(_read(options["file"]))
        try:
            report = imports.import_prompts(
                rows=rows,
                departments=departments,
                by=author,
                now=timezone.now(),
                step=Progress(len(rows)),
            )
        except DomainError as error:
            raise CommandError(str(error)) from error
        for problem in report.problems:
            self.stderr.write(f"line {problem.line}: {problem.message}")
        if options["notes"]:
            for line, note in report.notes:
                self.stdout.write(f"line {line}: {note.field} {note.kind}: {note.note}")
        kinds = Counter(note.kind for _line, note in report.notes)
        self.stdout.write(
            f"{report.created} imported, {report.known} known already, {len(report.problems)} left out. "
            f"Notes: {kinds['approximated']} approximated, {kinds['dropped']} dropped, {kinds['added']} added"
            + ("." if options["notes"] else " (--notes lists them).")
        )


def _author(email: str | None) -> User:
    if email is None:
        admins = User.objects.filter(
            is_active=True, memberships__department=None, memberships__role=Membership.Role.ADMIN
        )
        found = admins.order_by("pk").first()
        if found is None:
            raise CommandError(
                "There is no administrator yet. Make one with: manage.py create_user EMAIL --role admin"
            )
        return found
    found = User.objects.filter(email=email.lower()).first()
    if found is None:
        raise CommandError(
            f"Nobody has the address {email}. Make an account with: manage.py create_user {email}"
        )
    return found


def _read(file: Path) -> Any:
    try:
        with file.open(encoding="utf-8-sig", newline="", errors="surrogateescape") as opened:
            yield from prompts_chat.read(opened)
    except OSError as error:
        raise CommandError(f"{file} cannot be read: {error.strerror}.") from error
