"""Small worlds for tests, built by the actions people use. Every function returns a saved row."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from accounts.actions import create_user
from accounts.models import Department, User
from kb.community import actions as community
from kb.community.models import Retrospective
from kb.drift import actions as drift
from kb.drift.models import Monitor
from kb.llm import actions as llm
from kb.llm.models import Connection, Target
from kb.prompts import actions as prompts
from kb.prompts.models import Prompt, Tool, UseCase

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
"""A Monday morning; tests pass it where an action asks for the time."""
PASSWORD = "a-long-enough-secret"

_numbers = itertools.count(1)


def later(**parts: float) -> datetime:
    return NOW + timedelta(**parts)


def make_department(slug: str = "", **names: str) -> Department:
    slug = slug or f"department-{next(_numbers)}"
    return Department.objects.get_or_create(
        slug=slug, defaults={"name_en": slug.title(), "name_fr": slug.title(), **names}
    )[0]


def make_person(
    role: str | None = "author",
    department: Department | None = None,
    *,
    email: str = "",
    name: str = "",
    language: str = "en",
) -> User:
    """Somebody with a role, company-wide without a department; with role None a nobody."""
    number = next(_numbers)
    return create_user(
        email=email or f"person-{number}@company.test",
        name=name or f"Person {number}",
        password=PASSWORD,
        roles=[(department, role)] if role else [],
        language=language,
    )


def make_admin(**fields: Any) -> User:
    return make_person("admin", **fields)


def make_tool(slug: str = "chatgpt", **fields: Any) -> Tool:
    return Tool.objects.get_or_create(slug=slug, defaults={"name": slug.title(), **fields})[0]


def make_use_case(slug: str = "summarise") -> UseCase:
    return UseCase.objects.get_or_create(
        slug=slug, defaults={"name_en": slug.title(), "name_fr": slug.title()}
    )[0]


def make_prompt(
    by: User | None = None,
    *,
    status: str = "published",
    now: datetime = NOW,
    change_note: str = "",
    **fields: Any,
) -> Prompt:
    """A prompt of `by` (a new author without), published unless told otherwise."""
    values: dict[str, Any] = {
        "title": f"Prompt {next(_numbers)}",
        "text": "Say hello.",
        "language": "en",
    }
    return prompts.create_prompt(
        fields=prompts.PromptFields(status=status, **{**values, **fields}),
        by=by or make_person(),
        now=now,
        change_note=change_note,
    )


def make_report(
    prompt: Prompt | None, by: User | None = None, *, now: datetime = NOW, **fields: Any
) -> Retrospective:
    values: dict[str, Any] = {
        "title": f"Report {next(_numbers)}",
        "lesson": "Read it before you send it.",
        "outcome": "worked",
        "language": "en",
        "version": prompt.current if prompt else None,
    }
    return community.write_retrospective(
        fields=community.ReportFields(**{**values, **fields}), by=by or make_person(), now=now
    )


def make_connection(
    provider: str = "simulated", by: User | None = None, **fields: Any
) -> Connection:
    return llm.save_connection(
        by=by or make_admin(),
        name=fields.pop("name", f"Connection {next(_numbers)}"),
        provider=provider,
        **fields,
    )


def make_target(
    connection: Connection | None = None,
    model: str = "simulated-stable",
    *,
    is_embedding: bool = False,
    **parameters: Any,
) -> Target:
    return llm.save_target(
        connection=connection or make_connection(),
        model=model,
        by=make_admin(),
        parameters=parameters,
        is_embedding=is_embedding,
    )


def make_monitor(
    prompt: Prompt | None = None,
    target: Target | None = None,
    *,
    cases: Sequence[drift.CaseFields] = (),
    now: datetime = NOW,
    **fields: Any,
) -> Monitor:
    """A monitor by the prompt's author with two cases that any answer satisfies."""
    prompt = prompt or make_prompt(text="Is {{ n }} a prime number?")
    assert prompt.author is not None
    usual = [
        drift.CaseFields(name, {"n": value}, [{"type": "not-equals", "value": ""}])
        for name, value in (("seven", "7"), ("nine", "9"))
    ]
    return drift.create_monitor(
        prompt=prompt,
        target=target or make_target(),
        cases=cases or usual,
        by=prompt.author,
        now=now,
        **fields,
    )
