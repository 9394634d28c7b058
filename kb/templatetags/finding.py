"""Tags of long lists. They put a whole stretch together at once, because a template that looks up
every piece of every row takes longer than the search itself."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

from django import template
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.html import escape
from django.utils.safestring import SafeString
from django.utils.translation import get_language

from kb.community.evidence import Worked
from kb.search.text import Segment
from kb.templatetags import retex

register = template.Library()

MOST_REMEMBERED = 4_096
"""Drawings of evidence kept in memory, half a kilobyte each: most rows repeat the counts of another."""


@register.filter
def marked(segments: Iterable[Segment]) -> SafeString:
    """Pieces of a text, the matching ones marked, all escaped."""
    return SafeString("".join(_piece(segment) for segment in segments))


def _piece(segment: Segment) -> str:
    text = escape(segment.text)
    return f"<mark>{text}</mark>" if segment.is_match else text


@register.filter
def in_spans(names: Iterable[str]) -> SafeString:
    """Names one after the other, for a line of facts."""
    return SafeString("".join(f"<span>{escape(name)}</span>" for name in names))


@register.simple_tag
def prompt_url(slug: str) -> str:
    """The address of a prompt. Slugs need no escaping: the database holds nothing else."""
    return f"{_prompts_url()}{slug}/"


@lru_cache(maxsize=1)
def _prompts_url() -> str:
    return reverse("prompts")


@register.simple_tag
def facet_values(name: str, values: Sequence[Any], chosen: str) -> SafeString:
    """The values of a facet as a list of links; `chosen` says in words that one is."""
    return SafeString(
        "".join(
            f'<li><a id="facet-{escape(name)}-{escape(value.value)}" href="{escape(value.url)}"'
            + (' aria-current="true"' if value.is_chosen else "")
            + f">{escape(value.label)}"
            + (f' <span class="visually-hidden">{escape(chosen)}</span>' if value.is_chosen else "")
            + f'<span class="count">{value.count}</span></a></li>'
            for value in values
        )
    )


@register.simple_tag
def evidence_of(worked: Worked, is_old: bool) -> SafeString:
    """What the tag `evidence` draws, remembered."""
    return _evidence(worked.worked, worked.with_edits, worked.failed, is_old, get_language())


@lru_cache(maxsize=MOST_REMEMBERED)
def _evidence(
    worked: int, with_edits: int, failed: int, is_old: bool, language: str | None
) -> SafeString:
    counts = retex.evidence(Worked(worked, with_edits, failed), is_old)
    return render_to_string("_components/evidence.html", counts)
