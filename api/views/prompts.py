"""Prompts, their versions, filled texts and watching."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, ClassVar

from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.models import ApiToken
from api import shelf
from api.conditions import based_on, etag
from api.idempotency import once_per_key
from api.pagination import Pages
from api.schema import described, page_of
from api.search import position, position_of, to_query
from api.serializers.prompts import (
    PromptQuery,
    PromptRow,
    PromptSent,
    PromptShown,
    RenderSent,
    RenderShown,
    VersionBrief,
    VersionShown,
    WatchShown,
)
from api.views.base import Door
from kb.core.errors import Invalid
from kb.finding import meaning
from kb.prompts import actions, queries, template
from kb.prompts.models import Prompt, PromptVersion
from kb.prompts.writeup import WriteUpSections
from kb.search import engine

TAG = "Prompts"
_EXAMPLE = {
    "title": "Review an NDA",
    "summary": "Five positions to check before signing.",
    "text": "Review this NDA for {{ party }}:\n\n{{ agreement }}",
    "variables": [{"name": "agreement", "label": "The agreement", "type": "long_text"}],
    "write_up": "## What worked\n\nNaming the five positions.\n\n## Limits\n\nNot for contracts.",
    "departments": ["legal"],
    "tools": ["chatgpt"],
    "use_cases": ["review"],
    "tags": ["nda"],
    "visibility": "company",
    "status": "published",
}


class Prompts(Door):
    """The list of prompts."""

    @described(
        "List prompts",
        tag=TAG,
        asks=PromptQuery,
        answers={200: page_of(PromptRow)},
        is_paged=True,
    )
    def get(self, request: Request) -> Response:
        """What you may read, published unless `status` says otherwise. Texts only with `full=1`."""
        asked = self.asked(PromptQuery)
        query = to_query(asked)
        pages = Pages()
        pages.read(request)
        sort: engine.Sort = asked.get("ordering") or ("relevance" if query.terms else "newest")
        is_in_order = engine.is_in_order(query, sort)
        begin = asked.get("after")
        results = engine.search(
            query,
            self.person,
            sort=sort,
            page=pages.number,
            page_size=pages.size,
            has_facets=False,
            question=meaning.question(query, clock=timezone.now),
            after=position(begin, is_in_order=is_in_order) if begin else None,
        )
        pages.settle(results.total, engine.DEEPEST)
        is_full = asked["full"]
        rows = shelf.found([hit.object_id for hit in results.hits], self.person, is_full=is_full)
        goes_on = None
        if is_in_order and (begin or pages.number * pages.size >= engine.DEEPEST):
            is_last = len(results.hits) < pages.size
            goes_on = "" if is_last else position_of(results.hits[-1])
        return pages.answer(
            self.shown(PromptShown if is_full else PromptRow, rows, is_many=True), goes_on=goes_on
        )

    @described(
        "Create a prompt",
        tag=TAG,
        sends=PromptSent,
        answers={201: PromptShown},
        is_once_per_key=True,
        has_etag=True,
        example=_EXAMPLE,
    )
    @once_per_key
    def post(self, request: Request) -> Response:
        """A draft unless `status` says published; holes of the text become variables by themselves."""
        sent = self.sent(PromptSent)
        prompt = actions.create_prompt(
            fields=_fields({"language": self.person.language, **sent}, told=WriteUpSections()),
            by=self.person,
            now=timezone.now(),
            change_note=sent.get("change_note", ""),
        )
        response = one(self, prompt, status=201)
        response["Location"] = request.build_absolute_uri(reverse("api:prompt", args=[prompt.slug]))
        return response


class OnePrompt(Door):
    """One prompt."""

    @described("Read a prompt", tag=TAG, answers={200: PromptShown}, refuses=(404,), has_etag=True)
    def get(self, request: Request, slug: str) -> Response:
        """The prompt with its current texts, its story, its evidence and its drift state."""
        return one(self, queries.by_slug(self.person, slug))

    @described(
        "Change a prompt",
        tag=TAG,
        sends=PromptSent,
        answers={200: PromptShown},
        refuses=(404, 409, 412),
        has_etag=True,
        takes_if_match=True,
        example={
            "text": "Review this NDA for {{ party }}.",
            "change_note": "Shorter",
            "edition": 3,
        },
    )
    def patch(self, request: Request, slug: str) -> Response:
        """Only what is sent changes; a changed text becomes the next version.

        With `If-Match` or `edition`, a prompt that somebody has changed meanwhile is left alone.
        """
        prompt = queries.by_slug(self.person, slug)
        sent = self.sent(PromptSent, is_partial=True)
        with based_on(request, current=prompt.edition, sent=sent.get("edition")) as edition:
            changed = actions.edit_prompt(
                prompt=prompt,
                fields=_fields(sent, told=shelf.sections(prompt.write_up)),
                by=self.person,
                now=timezone.now(),
                based_on=edition,
                change_note=sent.get("change_note", ""),
            )
        return one(self, changed)

    @described("Remove a prompt", tag=TAG, answers={204: None}, refuses=(404, 409))
    def delete(self, request: Request, slug: str) -> Response:
        """Archives a published prompt: its page and history stay. Deletes your own draft for good."""
        prompt = queries.by_slug(self.person, slug)
        if prompt.published is None:
            actions.discard_draft(prompt=prompt, by=self.person)
        else:
            actions.archive(prompt=prompt, by=self.person, now=timezone.now())
        return Response(status=204)


class Versions(Door):
    """The history of a prompt."""

    @described(
        "List versions",
        tag=TAG,
        answers={200: page_of(VersionBrief)},
        refuses=(404,),
        is_paged=True,
    )
    def get(self, request: Request, slug: str) -> Response:
        """Every version, the newest first, without texts."""
        prompt = queries.by_slug(self.person, slug)
        rows = prompt.versions.select_related("author").defer("text", "system", "variables")
        return self.page(VersionBrief, rows)


class OneVersion(Door):
    """One version of a prompt."""

    @described("Read a version", tag=TAG, answers={200: VersionShown}, refuses=(404,))
    def get(self, request: Request, slug: str, number: int) -> Response:
        """What the prompt said in this version. It never changes."""
        version = queries.version_of(queries.by_slug(self.person, slug), number)
        return Response(self.shown(VersionShown, version))


class Restore(Door):
    """Bringing an older version back."""

    @described(
        "Restore a version",
        tag=TAG,
        answers={201: PromptShown},
        refuses=(404, 422),
        has_etag=True,
    )
    def post(self, request: Request, slug: str, number: int) -> Response:
        """Makes the text of this version the newest version again, and answers with the prompt."""
        prompt = queries.by_slug(self.person, slug)
        version = queries.version_of(prompt, number)
        restored = actions.restore_version(
            prompt=prompt, number=version.number, by=self.person, now=timezone.now()
        )
        return one(self, restored.prompt, status=201)


class Render(Door):
    """Filling a prompt."""

    scopes: ClassVar[Mapping[str, str]] = {"POST": ApiToken.Scope.READ}

    @described(
        "Fill a prompt",
        tag=TAG,
        sends=RenderSent,
        answers={200: RenderShown},
        refuses=(404,),
        example={"values": {"party": "ACME", "agreement": "…"}},
    )
    def post(self, request: Request, slug: str) -> Response:
        """The text with its holes filled, literally and once. Changes nothing, so `read` is enough.

        Without a value for a hole that needs one it is refused, unless `partial` is true.
        """
        prompt = queries.by_slug(self.person, slug)
        sent = self.sent(RenderSent)
        version = version_asked(prompt, sent.get("version"))
        return Response(_rendered(version, sent.get("values", {}), is_partial=sent["partial"]))


class Watching(Door):
    """Hearing of a prompt."""

    @described("Watch a prompt", tag=TAG, answers={200: WatchShown}, refuses=(404,))
    def put(self, request: Request, slug: str) -> Response:
        """Hear of its changes, reports and drift. Twice is once."""
        actions.watch(prompt=queries.by_slug(self.person, slug), by=self.person)
        return Response({"watching": True})

    @described("Stop watching a prompt", tag=TAG, answers={200: WatchShown}, refuses=(404,))
    def delete(self, request: Request, slug: str) -> Response:
        """Hear no more of it."""
        actions.unwatch(prompt=queries.by_slug(self.person, slug), by=self.person)
        return Response({"watching": False})


def one(door: Door, prompt: Prompt, status: int = 200) -> Response:
    """A prompt as it is now, with its edition as ETag."""
    (shown,) = shelf.shown([prompt], door.person)
    return Response(
        door.shown(PromptShown, shown), status=status, headers={"ETag": etag(prompt.edition)}
    )


def version_asked(prompt: Prompt, number: int | None) -> PromptVersion:
    """The version of this number, or the current one. Raises Invalid naming the last one."""
    found = prompt.current if number is None else prompt.versions.filter(number=number).first()
    if found is None:
        message = _("“%(title)s” has no version %(number)s; the last one is %(last)s.") % {
            "title": prompt.title,
            "number": number,
            "last": prompt.current.number if prompt.current else 0,
        }
        raise Invalid(f"version: {message}", fields={"version": message})
    return found


def _fields(sent: Mapping[str, Any], *, told: WriteUpSections) -> actions.PromptFields:
    """Clean data as the feature takes it; sections of a write-up that were not sent stay as `told`."""
    names = actions.PromptFields.__dataclass_fields__
    given = {name: value for name, value in sent.items() if name in names}
    if "write_up" in given:
        given["write_up"] = WriteUpSections(**{**asdict(told), **given["write_up"]})
    return actions.PromptFields(**given)


def _rendered(
    version: PromptVersion, values: Mapping[str, str], *, is_partial: bool
) -> dict[str, Any]:
    variables = template.variables_from(version.variables)
    texts = {"text": version.text, "system": version.system}
    length = sum(template.filled_length(text, values, variables) for text in texts.values())
    if length > template.LONGEST_FILLED:
        message = _("Filled in, the prompt has %(count)s characters; at most %(most)s fit.") % {
            "count": length,
            "most": template.LONGEST_FILLED,
        }
        raise Invalid(message, fields={"values": message})
    missing = _missing(texts.values(), values, variables)
    if missing and not is_partial:
        needed = _("This is needed.")
        raise Invalid(
            _("Give a value to: %(names)s.") % {"names": ", ".join(missing)},
            fields={f"values.{name}": needed for name in missing},
        )
    filled = {
        name: template.fill(text, values, variables, partial=is_partial)
        for name, text in texts.items()
    }
    names = {variable.name for variable in variables}
    return {**filled, "missing": missing, "unused": sorted(values.keys() - names)}


def _missing(
    texts: Iterable[str], values: Mapping[str, str], variables: Sequence[template.Variable]
) -> list[str]:
    found: dict[str, None] = {}
    for text in texts:
        try:
            template.fill(text, values, variables)
        except template.MissingVariables as error:
            found |= dict.fromkeys(error.names)
    return list(found)
