"""How a connection is doing, in words: its circuit breaker, its limits, and what the provider asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.utils import formats, timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from kb.forms.check_words import whole
from kb.llm.breaker import FAILURES
from kb.llm.queries import Health

SHORTEST_GAP = 0.05
"""Seconds; a smaller distance between two calls is nothing a person would notice."""


@dataclass(frozen=True)
class TrafficWords:
    """`tone` of a badge with its `label`; what it means in `said`, one line each.

    `cause` is what the provider's side said last, in English; '' for nothing. `is_moving` tells
    that it will look different in a moment.
    """

    tone: str
    label: str
    said: Sequence[str]
    cause: str
    is_moving: bool


def traffic_words(health: Health) -> TrafficWords:
    """What the connection's page says of it."""
    match health.state:
        case "open":
            tone, label, first = "bad", _("Left alone for now"), _left_alone(health)
        case "half_open":
            tone, label = "warn", _("Trying again")
            first = _("One call is on its way to try; the others wait for what it brings.")
        case _:
            tone, label, first = _closed(health)
    said = [first, *_pace(health)]
    return TrafficWords(
        tone=tone,
        label=label,
        said=[line for line in said if line],
        cause=health.cause,
        is_moving=health.state != "closed" or health.pause > 0 or health.under_way > 0,
    )


def _closed(health: Health) -> tuple[str, str, str]:
    if health.pause > 0:
        return "warn", _("Waiting"), ""
    if health.failures:
        said = ngettext(
            "The latest call failed. After %(most)s in a row the provider is left alone for a while.",
            "The latest %(count)s calls failed. After %(most)s in a row the provider is left alone for a while.",
            health.failures,
        )
        blanks = {"count": whole(health.failures), "most": whole(FAILURES)}
        return "warn", _("Calls fail"), said % blanks
    return "good", _("Calls go through"), _("The latest call was answered, or none has been made.")


def _left_alone(health: Health) -> str:
    said = ngettext(
        "%(count)s call failed, so none leaves until %(until)s; then one tries.",
        "%(count)s calls in a row failed, so none leaves until %(until)s; then one tries.",
        health.failures,
    ) % {"count": whole(health.failures), "until": _time(health.until)}
    if health.since is None:
        return said
    began = _("It began at %(time)s.") % {"time": _time(health.since)}
    return f"{said} {began}"


def _pace(health: Health) -> list[str]:
    found = []
    if health.pause > 0:
        found.append(
            ngettext(
                "The provider asked to wait: %(count)s more second.",
                "The provider asked to wait: %(count)s more seconds.",
                max(1, round(health.pause)),
            )
            % {"count": whole(max(1, round(health.pause)))}
        )
    if health.gap >= SHORTEST_GAP:
        found.append(
            _(
                "Since it asked to slow down, %(seconds)s s are left between two calls; that wears off."
            )
            % {"seconds": formats.number_format(round(health.gap, 1), decimal_pos=1)}
        )
    if health.under_way:
        found.append(
            ngettext(
                "%(count)s call is under way.", "%(count)s calls are under way.", health.under_way
            )
            % {"count": whole(health.under_way)}
        )
    return found


def _time(moment: datetime | None) -> str:
    return "–" if moment is None else formats.time_format(timezone.localtime(moment), "H:i:s")
