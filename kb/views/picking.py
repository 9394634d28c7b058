"""Prompts and reports to choose from in a form, found by what a person remembers of them."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import replace

from django.db.models import Prefetch, QuerySet

from accounts.models import User
from kb.community.models import UsageSignal
from kb.prompts import queries as prompts
from kb.prompts.models import Prompt, PromptVersion, RememberedValues, Watch
from kb.search import engine
from kb.search.query import LONGEST_QUERY, SearchQuery, Term, parse
from kb.search.text import fold

MOST_FOUND = 6
MOST_RECENT = 8
"""Prompts offered before a word is typed."""
FEWEST_SHARED = 2
"""Words in common below which a prompt is near by accident."""
NEAR_LOOKED_AT = 20
ANY_STATUS = frozenset(Prompt.Status.values)
"""One may report on a draft of one's own and on what is archived meanwhile."""
PUBLISHED = frozenset({Prompt.Status.PUBLISHED.value})
_ADDRESS = re.compile(r"/prompts/([-\w]+)")


def find_prompts(
    person: User, text: str, *, statuses: Collection[str] = ANY_STATUS, most: int = MOST_FOUND
) -> list[Prompt]:
    """The prompts this person may read that the text may mean, the best match first.

    The text is an address, the last part of one, a title, or words of a prompt.
    """
    text = text.replace("\x00", "").strip()[:LONGEST_QUERY]
    if not text:
        return []
    readable = prompts.visible_to(person).filter(status__in=statuses)
    address = _ADDRESS.search(text)
    named = readable.filter(slug=address[1] if address else text).values_list("pk", flat=True)
    titled = readable.filter(title__iexact=text).order_by("pk").values_list("pk", flat=True)
    query = replace(parse(text), statuses=frozenset(statuses))
    hits = (
        engine.search(query, person, page_size=most, has_facets=False).hits if query.terms else []
    )
    found = dict.fromkeys([*named, *titled[:most], *(hit.object_id for hit in hits)])
    return _in_order(readable, list(found)[:most])


def near_prompts(person: User, title: str, *, most: int) -> list[Prompt]:
    """Published prompts that share at least two words with a title of several, the nearest first."""
    terms = [Term(term.words) for term in parse(title).terms if not term.negated]
    if not terms:
        return []
    found = engine.search(
        SearchQuery(terms=tuple(terms)), person, page_size=NEAR_LOOKED_AT, has_facets=False
    )
    fewest = min(FEWEST_SHARED, len(terms))
    near = [hit.object_id for hit in found.hits if _shared(hit) >= fewest]
    return _in_order(prompts.visible_to(person), near[:most])


def _shared(hit: engine.Hit) -> int:
    parts = (*hit.title, *hit.excerpt)
    return len({fold(part.text) for part in parts if part.is_match})


def recent_prompts(person: User, *, most: int = MOST_RECENT) -> list[Prompt]:
    """What the person used, filled in or follows, the latest first."""
    signals = UsageSignal.objects.filter(person=person).order_by("-created")
    filled = RememberedValues.objects.filter(person=person).order_by("-updated")
    watched = Watch.objects.filter(person=person).order_by("-created")
    found = dict.fromkeys(
        pk
        for rows in (signals, filled, watched)
        for pk in rows.values_list("prompt", flat=True)[:most]
    )
    return _in_order(prompts.visible_to(person), list(found))[:most]


def prompt_of_version(person: User, version_id: str) -> list[Prompt]:
    """The prompt of a version, in a list; an empty list unless the person may read it."""
    if not version_id.isdecimal() or len(version_id) > 18:
        return []
    readable = prompts.visible_to(person)
    rows = readable.filter(versions__pk=int(version_id)).values_list("pk", flat=True)
    return _in_order(readable, list(rows))


def prompt_of_slug(person: User, slug: str) -> list[Prompt]:
    """The prompt at an address, in a list; an empty list unless the person may read it."""
    readable = prompts.visible_to(person)
    rows = readable.filter(slug=slug.replace("\x00", "")).values_list("pk", flat=True)
    return _in_order(readable, list(rows))


def _in_order(rows: QuerySet[Prompt], ids: Sequence[int]) -> list[Prompt]:
    """The prompts with the numbers of their versions; texts stay in the database, they are long."""
    if not ids:
        return []
    versions = PromptVersion.objects.only("pk", "number", "prompt_id")
    found = {
        prompt.pk: prompt
        for prompt in rows.filter(pk__in=ids)
        .select_related("author")
        .prefetch_related(Prefetch("versions", queryset=versions))
    }
    return [found[pk] for pk in ids if pk in found]
