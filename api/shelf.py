"""Prompts as programs see them: the rows themselves with evidence, votes and drift beside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from accounts.models import User
from kb.community import queries as community
from kb.community.evidence import Worked
from kb.community.tally import Tally, tally
from kb.drift import queries as drift
from kb.prompts.models import Prompt, PromptVersion, WriteUp
from kb.prompts.writeup import SECTIONS, WriteUpSections, join


@dataclass(frozen=True)
class Evidence:
    """How often a prompt worked: counts, k of n, and its Wilson 95 % interval as shares."""

    worked: int
    with_edits: int
    failed: int
    k: int
    n: int
    low: float
    high: float
    of_current_version: bool


@dataclass(frozen=True)
class ShownPrompt:
    """One prompt under the names the API gives its parts."""

    id: int
    slug: str
    title: str
    summary: str
    text: str
    system: str
    variables: list[Any]
    language: str
    write_up: str
    write_up_sections: dict[str, str]
    departments: list[str]
    tools: list[str]
    use_cases: list[str]
    tags: list[str]
    visibility: str
    status: str
    edition: int
    version: PromptVersion | None
    author: User | None
    evidence: Evidence
    votes: int
    voted: bool
    drift: drift.State | None
    created: datetime
    updated: datetime
    published: datetime | None


def found(prompt_ids: Sequence[int], person: User, *, is_full: bool) -> list[ShownPrompt]:
    """The prompts of these ids in their order; the same queries for any number of them.

    Texts and write-ups are read only when `is_full`. Does not check visibility: the ids come from a
    query that did.
    """
    rows = Prompt.objects.filter(pk__in=prompt_ids)
    rows = rows.select_related("author", "current__author", *(["write_up"] if is_full else []))
    rows = rows.prefetch_related("departments", "tools", "use_cases", "tags")
    if not is_full:
        rows = rows.defer("current__text", "current__system")
    by_id = {row.pk: row for row in rows}
    return shown([by_id[pk] for pk in prompt_ids if pk in by_id], person, is_full=is_full)


def shown(prompts: Sequence[Prompt], person: User, *, is_full: bool = True) -> list[ShownPrompt]:
    """These prompts with what belongs to them (five queries)."""
    if not prompts:
        return []
    ids = [prompt.pk for prompt in prompts]
    tallies = tally(ids)
    votes = community.vote_counts(ids)
    voted = community.voted_among(person, ids)
    states = drift.states(ids)
    return [
        _shown(
            prompt,
            is_full=is_full,
            evidence=evidence(tallies[prompt.pk]),
            votes=votes.get(prompt.pk, 0),
            voted=prompt.pk in voted,
            drift=states.get(prompt.pk),
        )
        for prompt in prompts
    ]


def evidence(counted: Tally) -> Evidence:
    """What counts today: the current version once anybody has used it, else its past."""
    return interval(counted.worked, of_current_version=not counted.is_from_older_versions)


def interval(worked: Worked, *, of_current_version: bool) -> Evidence:
    """The figures of one count of uses."""
    return Evidence(
        worked=worked.worked,
        with_edits=worked.with_edits,
        failed=worked.failed,
        k=worked.k,
        n=worked.n,
        low=worked.interval.low,
        high=worked.interval.high,
        of_current_version=of_current_version,
    )


def sections(write_up: WriteUp | None) -> WriteUpSections:
    """The story of a prompt as its sections; empty ones without a write-up."""
    if write_up is None:
        return WriteUpSections()
    return WriteUpSections(**{section: getattr(write_up, section) for section in SECTIONS})


def _shown(prompt: Prompt, *, is_full: bool, **beside: Any) -> ShownPrompt:
    version = prompt.current
    told = sections(prompt.write_up if is_full else None)
    return ShownPrompt(
        id=prompt.pk,
        slug=prompt.slug,
        title=prompt.title,
        summary=prompt.summary,
        text=version.text if version and is_full else "",
        system=version.system if version and is_full else "",
        variables=version.variables if version else [],
        language=prompt.language,
        write_up=join(told, prompt.language),
        write_up_sections={section: getattr(told, section) for section in SECTIONS},
        departments=[row.slug for row in prompt.departments.all()],
        tools=[row.slug for row in prompt.tools.all()],
        use_cases=[row.slug for row in prompt.use_cases.all()],
        tags=[row.name for row in prompt.tags.all()],
        visibility=prompt.visibility,
        status=prompt.status,
        edition=prompt.edition,
        version=version,
        author=prompt.author,
        created=prompt.created,
        updated=prompt.updated,
        published=prompt.published,
        **beside,
    )
