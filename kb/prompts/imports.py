"""Bringing prompts of other products in: all or nothing, and twice is once."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from django.db import transaction

from accounts.models import Department, User
from kb.core.errors import Invalid
from kb.prompts.actions import PromptFields, create_prompt
from kb.prompts.exchange import Note, Problem
from kb.prompts.exchange.prompts_chat import Row
from kb.prompts.models import Prompt, Tool

ORIGIN = "prompts.chat"
_TAGS = {"text": (), "image": ("image",), "audio": ("audio",), "video": ("video",)}


@dataclass
class ImportReport:
    """What became of a file."""

    created: int = 0
    known: int = 0
    """Rows that an earlier import had brought in."""
    problems: list[Problem] = field(default_factory=list)
    notes: list[tuple[int, Note]] = field(default_factory=list)
    """Line and what could not be carried over as it was."""


@transaction.atomic
def import_prompts(
    *,
    rows: Iterable[Row | Problem],
    departments: Sequence[Department],
    by: User,
    now: datetime,
    step: Callable[[], None],
) -> ImportReport:
    """Publish the rows as prompts of `by`; `step` is called after each. One transaction.

    A row is known again by its title and text as they stand in the file, so that a second import
    changes nothing, whatever people have edited since. Rows that cannot be kept are reported with
    their line and left out.
    """
    known = set(Prompt.objects.exclude(origin_hash="").values_list("origin_hash", flat=True))
    tools = {tool.kind: tool for tool in reversed(Tool.objects.filter(is_retired=False))}
    report = ImportReport()
    texts: dict[str, int] = {}
    for row in rows:
        if isinstance(row, Problem):
            report.problems.append(row)
            step()
            continue
        identity = _identity(row)
        report.notes += [(row.line, note) for note in row.notes]
        if (line := texts.setdefault(row.content_hash, row.line)) != row.line:
            report.notes.append(
                (row.line, Note("prompt", "added", f"The same text as on line {line}."))
            )
        if identity in known:
            report.known += 1
        else:
            known.add(identity)
            _create(row, identity, departments, tools.get(row.kind), by, now, report)
        step()
    return report


def _create(
    row: Row,
    identity: str,
    departments: Sequence[Department],
    tool: Tool | None,
    by: User,
    now: datetime,
    report: ImportReport,
) -> None:
    fields = PromptFields(
        title=row.title,
        text=row.text,
        variables=row.variables,
        language=row.language,
        departments=departments,
        tools=[tool] if tool is not None and row.kind != "text" else [],
        tags=[*_TAGS[row.kind], *(["code"] if row.for_devs else [])],
        status=Prompt.Status.PUBLISHED,
    )
    try:
        create_prompt(fields=fields, by=by, now=now, origin=ORIGIN, origin_hash=identity)
    except Invalid as error:
        report.problems.append(Problem(row.line, "csv", f"“{row.title}” was left out: {error}"))
    else:
        report.created += 1


def _identity(row: Row) -> str:
    return hashlib.sha256(f"{ORIGIN}\n{row.title}\n{row.content_hash}".encode()).hexdigest()
