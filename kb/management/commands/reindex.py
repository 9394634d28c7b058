"""manage.py reindex: write the search index anew, while people go on searching."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.utils import timezone

from kb.management.progress import Progress
from kb.prompts.models import Prompt
from kb.search import index
from kb.tasks import mending


class Command(BaseCommand):
    help = "Write the search index anew. Searches go on meanwhile; a run that was killed can go on."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--resume", action="store_true", help="go on where a run that was killed had come to"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        after = mending.reached() if options["resume"] else 0
        step = Progress(Prompt.objects.filter(pk__gt=after).count())

        def told(number: int) -> None:
            for _prompt in range(number):
                step()

        looked_at = mending.reindex_all(now=timezone.now(), after=after, told=told)
        index.settle(told=lambda name: self.stdout.write(f"{name} ..."))
        self.stdout.write(f"{looked_at} prompts looked at; the index is up to date.")
