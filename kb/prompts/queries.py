"""Reads about prompts. Everything a person sees goes through `visible_to`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.contrib.auth.models import AnonymousUser
from django.contrib.postgres.expressions import ArraySubquery
from django.db.models import Count, OuterRef, Q, QuerySet
from django.db.models.functions import JSONObject
from django.utils.translation import get_language
from django.utils.translation import gettext as _

from accounts.models import Department, User
from accounts.standing import standing
from kb.core.errors import NotFound
from kb.prompts.models import (
    Prompt,
    PromptVersion,
    RememberedValues,
    Tag,
    Tool,
    UseCase,
    Verification,
    Watch,
)


def visible_to(person: User | AnonymousUser) -> QuerySet[Prompt]:
    """The prompts this person may read, drafts of their own included."""
    return Prompt.objects.filter(audience__overlap=standing(person).audience_tokens)


def is_readable(prompt: Prompt, person: User) -> bool:
    """`visible_to` for one loaded prompt, without a query."""
    return bool(set(prompt.audience).intersection(standing(person).audience_tokens))


def by_slug(person: User, slug: str) -> Prompt:
    """The prompt at this address. Raises NotFound, also when it exists for others only."""
    found = (
        visible_to(person)
        .select_related("author", "current", "write_up")
        .prefetch_related("departments", "tools", "use_cases", "tags")
        .filter(slug=slug)
        .first()
    )
    if found is None:
        raise NotFound(_("There is no prompt “%(slug)s” here.") % {"slug": slug})
    return found


def version_of(prompt: Prompt, number: int) -> PromptVersion:
    """One version of a prompt. Raises NotFound."""
    found = prompt.versions.select_related("author").filter(number=number).first()
    if found is None:
        raise NotFound(
            _("“%(title)s” has no version %(number)s.") % {"title": prompt.title, "number": number}
        )
    return found


@dataclass(frozen=True)
class Facet:
    """A facet value as a page shows it."""

    slug: str
    name: str


@dataclass(frozen=True)
class Card:
    """What a list shows of a prompt itself; evidence and drift are added by their own features."""

    pk: int
    slug: str
    title: str
    summary: str
    language: str
    status: str
    author: str
    author_id: int | None
    version: int
    variables: int
    updated: datetime
    published: datetime | None
    departments: Sequence[Facet]
    tools: Sequence[Facet]
    use_cases: Sequence[Facet]
    tags: Sequence[Facet]


def cards(prompt_ids: Sequence[int]) -> list[Card]:
    """Cards in the order of the ids; ids that no longer exist are left out (one query).

    Does not check visibility: the ids come from a query that did.
    """
    rows = {
        row["pk"]: row
        for row in Prompt.objects.filter(pk__in=prompt_ids)
        .annotate(
            department_list=_names(Department, _bilingual()),
            tool_list=_names(Tool, "name"),
            use_case_list=_names(UseCase, _bilingual()),
            tag_list=_names(Tag, "name"),
        )
        .values(
            "pk",
            "slug",
            "title",
            "summary",
            "language",
            "status",
            "author_id",
            "author__name",
            "current__number",
            "current__variables",
            "updated",
            "published",
            "department_list",
            "tool_list",
            "use_case_list",
            "tag_list",
        )
    }
    return [_card(rows[pk]) for pk in prompt_ids if pk in rows]


def _names(model: type[Any], name: str) -> ArraySubquery:
    rows = model.objects.filter(prompts=OuterRef("pk")).values(
        json=JSONObject(slug="slug", name=name)
    )
    return ArraySubquery(rows)


def _bilingual() -> str:
    return "name_fr" if (get_language() or "en").startswith("fr") else "name_en"


def _card(row: Mapping[str, Any]) -> Card:
    def facets(name: str) -> list[Facet]:
        return [Facet(**item) for item in row[name]]

    return Card(
        pk=row["pk"],
        slug=row["slug"],
        title=row["title"],
        summary=row["summary"],
        language=row["language"],
        status=row["status"],
        author=row["author__name"] or _("a former colleague"),
        author_id=row["author_id"],
        version=row["current__number"] or 0,
        variables=len(row["current__variables"] or []),
        updated=row["updated"],
        published=row["published"],
        departments=facets("department_list"),
        tools=facets("tool_list"),
        use_cases=facets("use_case_list"),
        tags=facets("tag_list"),
    )


def newest(person: User, most: int) -> list[int]:
    """Ids of the latest published prompts this person may read."""
    rows = visible_to(person).filter(status=Prompt.Status.PUBLISHED)
    return list(rows.order_by("-published", "-pk").values_list("pk", flat=True)[:most])


def drafts_of(person: User) -> QuerySet[Prompt]:
    """What the person has begun and not yet published, latest first."""
    return visible_to(person).filter(author=person, status=Prompt.Status.DRAFT).order_by("-updated")


def watched_by(person: User) -> QuerySet[Prompt]:
    """Prompts the person follows and may still read."""
    return visible_to(person).filter(watches__person=person).order_by("-updated")


def is_watching(person: User, prompt: Prompt) -> bool:
    return Watch.objects.filter(prompt=prompt, person=person).exists()


def remembered_values(person: User, prompt: Prompt) -> dict[str, str]:
    """What the person filled in last time; empty the first time."""
    row = RememberedValues.objects.filter(prompt=prompt, person=person).first()
    return {str(name): str(value) for name, value in row.values.items()} if row else {}


def latest_verification(prompt: Prompt) -> Verification | None:
    """The last time a curator vouched for the current version."""
    return (
        Verification.objects.filter(version_id=prompt.current_id)
        .select_related("by", "tool")
        .first()
    )


def departments(person: User) -> list[Department]:
    """All departments; they are no secret."""
    return list(Department.objects.all())


def catalogue() -> tuple[list[Tool], list[UseCase]]:
    """Tools in use and use cases, in their curated order."""
    return list(Tool.objects.filter(is_retired=False)), list(UseCase.objects.all())


def tags_in_use(person: User) -> QuerySet[Tag]:
    """The tags on published prompts this person may read, with their `uses`, most used first."""
    used = Q(
        prompts__audience__overlap=standing(person).audience_tokens, prompts__status="published"
    )
    return (
        Tag.objects.annotate(uses=Count("prompts", filter=used))
        .filter(uses__gt=0)
        .order_by("-uses", "slug")
    )


def tags_meant(slugs: Iterable[str]) -> set[str]:
    """The slugs themselves, synonyms replaced by what they stand for (one query)."""
    wanted = set(slugs)
    synonyms = Tag.objects.filter(slug__in=wanted, synonym_of__isnull=False)
    meant = dict(synonyms.values_list("slug", "synonym_of__slug"))
    return {meant.get(slug, slug) for slug in wanted}


def popular_tags(person: User, most: int) -> list[Tag]:
    """The tags used most on prompts this person may read."""
    return list(tags_in_use(person)[:most])


def by_slugs(
    model: type[Department | Tool | UseCase], slugs: Iterable[str]
) -> tuple[list[Any], list[str]]:
    """The rows of these slugs in the order given, and the slugs that are unknown."""
    wanted = list(dict.fromkeys(slugs))
    rows = {row.slug: row for row in model.objects.filter(slug__in=wanted)}
    return [rows[slug] for slug in wanted if slug in rows], [s for s in wanted if s not in rows]
