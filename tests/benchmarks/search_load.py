"""Fills a house with hay by COPY: prompts with their facets and votes, and what the search knows.

Runs inside a house; Django is set up by whoever imports this.
"""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import connection, transaction
from django.utils import timezone

from accounts.models import Department, User
from kb.prompts.models import Prompt, Tag, Tool, UseCase
from kb.search import index
from tests.benchmarks.search_hay import (
    MOST_VOTES,
    NEW_DEPARTMENTS,
    SEED,
    TAGS,
    Straw,
    standing,
    straws,
)

CHUNK = 10_000
"""Prompts written before the search is told of them."""
WORD_INDEXES_FROM = 200_000
"""From this size on it is quicker to make the indexes of words after the load."""
FIRST_ID = 1_000_000
"""Numbers of the hay begin here, far from the real prompts'."""
VOTERS = 60

Row = tuple[Any, ...]
_PROMPT = (
    "id", "slug", "title", "summary", "language", "status", "visibility", "author_id", "current_id", "audience", "edition",
    "origin", "origin_hash", "created", "updated", "published",
)  # fmt: skip
_VERSION = ("id", "prompt_id", "number", "text", "system", "variables", "parameters", "change_note", "author_id", "created")  # fmt: skip


@dataclass(frozen=True)
class Catalogue:
    """Slug to row of each facet, the authors, and who votes."""

    departments: dict[str, Department]
    tools: dict[str, Tool]
    use_cases: dict[str, UseCase]
    tags: dict[str, Tag]
    authors: Sequence[int]
    voters: Sequence[int]


def load_hay(count: int, told: Callable[[int], None]) -> None:
    """Write that many prompts of hay; `told` hears how many are done. Not repeatable."""
    catalogue = _catalogue()
    hay = straws(count, list(catalogue.departments), timezone.now())
    chance = random.Random(SEED)
    drops = count >= WORD_INDEXES_FROM
    if drops:
        index.drop_word_indexes()
    done = 0
    for chunk in itertools.batched(hay, CHUNK):
        _write(chunk, catalogue, chance)
        index.load(
            (_document(straw, catalogue) for straw in chunk),
            standings=(_standing(straw) for straw in chunk),
        )
        done += len(chunk)
        told(done)
    if drops:
        index.create_word_indexes()
    _set_sequences()
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")
    index.settle()


@transaction.atomic
def enliven_real_prompts() -> None:
    """Let imported prompts be as lively and proven as hay is: otherwise they could be told by that."""
    chance = random.Random(SEED)
    imported = Prompt.objects.exclude(origin="").order_by("pk").values_list("pk", flat=True)
    for pk in imported:
        activity, proven = standing(chance)
        index.set_standing(
            kind="prompt",
            object_id=pk,
            proven=proven,
            activity=activity,
            votes=min(MOST_VOTES, int(activity)),
            reports=0,
        )


def _catalogue() -> Catalogue:
    for slug, english, french in NEW_DEPARTMENTS:
        Department.objects.get_or_create(
            slug=slug, defaults={"name_en": english, "name_fr": french}
        )
    Tag.objects.bulk_create([Tag(slug=slug, name=slug.replace("-", " ")) for slug in TAGS])
    voters = [User(email=f"voter-{n}@bench.example", name=f"Voter {n}") for n in range(VOTERS)]
    User.objects.bulk_create(voters)
    return Catalogue(
        departments={row.slug: row for row in Department.objects.all()},
        tools={row.slug: row for row in Tool.objects.all()},
        use_cases={row.slug: row for row in UseCase.objects.all()},
        tags={row.slug: row for row in Tag.objects.filter(slug__in=TAGS)},
        authors=list(
            User.objects.filter(prompts__isnull=False)
            .distinct()
            .order_by("pk")
            .values_list("pk", flat=True)
        ),
        voters=[voter.pk for voter in voters],
    )


def _write(chunk: Sequence[Straw], catalogue: Catalogue, chance: random.Random) -> None:
    authors = [chance.choice(catalogue.authors) for _straw in chunk]
    with transaction.atomic(), connection.cursor() as cursor:
        # Every row is right by construction; checking ten million references would take most of the time.
        cursor.execute("SET LOCAL session_replication_role = replica")
        _copy("kb_prompt", _PROMPT, itertools.starmap(_prompt, zip(chunk, authors, strict=True)))
        _copy(
            "kb_promptversion",
            _VERSION,
            itertools.starmap(_version, zip(chunk, authors, strict=True)),
        )
        facets: tuple[tuple[str, str, dict[str, Any]], ...] = (
            ("departments", "department_id", catalogue.departments),
            ("tools", "tool_id", catalogue.tools),
            ("use_cases", "usecase_id", catalogue.use_cases),
            ("tags", "tag_id", catalogue.tags),
        )
        for name, column, rows in facets:
            links = ((_id(s), rows[slug].pk) for s in chunk for slug in getattr(s, name))
            _copy(f"kb_prompt_{name}", ("prompt_id", column), links)
        votes = (
            (_id(straw), person, straw.published)
            for straw in chunk
            for person in chance.sample(catalogue.voters, straw.votes)
        )
        _copy("kb_vote", ("prompt_id", "person_id", "created"), votes)


def _copy(table: str, columns: Sequence[str], rows: Iterable[Row]) -> None:
    with (
        connection.cursor() as cursor,
        cursor.copy(f"COPY {table} ({', '.join(columns)}) FROM STDIN") as copy,  # type: ignore[attr-defined]
    ):
        for row in rows:
            copy.write_row(row)


def _id(straw: Straw) -> int:
    return FIRST_ID + straw.number


def _prompt(straw: Straw, author: int) -> Row:
    moment = straw.published
    return (
        _id(straw), straw.slug, straw.title, straw.summary, straw.language, Prompt.Status.PUBLISHED,
        Prompt.Visibility.COMPANY, author, _id(straw), ["company"], 1, "", "", moment, moment, moment,
    )  # fmt: skip


def _version(straw: Straw, author: int) -> Row:
    nothing = json.dumps([]), json.dumps({})
    return (_id(straw), _id(straw), 1, straw.text, "", *nothing, "", author, straw.published)


def _document(straw: Straw, catalogue: Catalogue) -> index.Document:
    return index.Document(
        kind="prompt",
        object_id=_id(straw),
        slug=straw.slug,
        title=straw.title,
        summary=straw.summary,
        keywords=list(_keywords(straw, catalogue)),
        text=straw.text,
        notes="",
        language=straw.language,
        status=Prompt.Status.PUBLISHED,
        author_id=catalogue.authors[0],
        audience=["company"],
        departments=straw.departments,
        tools=straw.tools,
        use_cases=straw.use_cases,
        tags=straw.tags,
        dated=straw.published,
    )


def _keywords(straw: Straw, catalogue: Catalogue) -> Iterator[str]:
    """The words the product gives with a prompt: names of its facets in both languages."""
    for department in map(catalogue.departments.__getitem__, straw.departments):
        yield from (department.name_fr, department.name_en)
    yield from (catalogue.tools[slug].name for slug in straw.tools)
    for use_case in map(catalogue.use_cases.__getitem__, straw.use_cases):
        yield from (use_case.name_fr, use_case.name_en)
    yield from (catalogue.tags[slug].name for slug in straw.tags)


def _standing(straw: Straw) -> index.Standing:
    return index.Standing(
        proven=straw.proven,
        activity=straw.activity,
        votes=straw.votes,
        reports=0,
        as_of=straw.published,
    )


def _set_sequences() -> None:
    """Let what the product writes next get a number of its own."""
    with connection.cursor() as cursor:
        for table in ("kb_prompt", "kb_promptversion"):
            cursor.execute(
                f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), (SELECT max(id) FROM {table}))"
            )
