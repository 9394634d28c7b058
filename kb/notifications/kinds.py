"""The closed list of things people are told about."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from django.utils.formats import date_format
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy


@dataclass(frozen=True)
class Kind:
    """What is told, why this person hears of it, and whether a mail goes out unless refused."""

    name: str
    label: str | Promise
    reason: str | Promise
    sentence: Callable[[Mapping[str, Any]], str]
    is_mailed: bool = False


def _drifted(c: Mapping[str, Any]) -> str:
    if c.get("direction") == "worse":
        return (
            _(
                "“%(title)s” has drifted on %(model)s: it passes %(now_passes)s of its checks, %(before)s before."
            )
            % c
        )
    if c.get("direction") == "better":
        return (
            _(
                "“%(title)s” answers better on %(model)s: it passes %(now_passes)s of its checks, %(before)s before."
            )
            % c
        )
    return _("“%(title)s” has drifted on %(model)s: its answers have changed.") % c


def _model_changed(c: Mapping[str, Any]) -> str:
    return _("The model %(model)s seems to have changed: %(count)s prompts answer differently.") % c


def _retiring(c: Mapping[str, Any]) -> str:
    day = date_format(date.fromisoformat(str(c["day"])), "DATE_FORMAT") if c.get("day") else "?"
    said = _Lenient({**c, "day": day})
    if c.get("successor"):
        return (
            _(
                "%(model)s, which “%(title)s” is watched on, ends on %(day)s; its successor is %(successor)s."
            )
            % said
        )
    return _("%(model)s, which “%(title)s” is watched on, ends on %(day)s.") % said


def _recovered(c: Mapping[str, Any]) -> str:
    return _("“%(title)s” behaves as usual again on %(model)s.") % c


def _unchecked(c: Mapping[str, Any]) -> str:
    return _("“%(title)s” could not be checked on %(model)s for %(count)s runs in a row.") % c


def _judge_changed(c: Mapping[str, Any]) -> str:
    return (
        _(
            "%(model)s, which judges answers, judges otherwise than before: its verdicts do not count until somebody accepts that."
        )
        % c
    )


def _commented(c: Mapping[str, Any]) -> str:
    return _("%(by)s commented on “%(title)s”.") % c


def _replied(c: Mapping[str, Any]) -> str:
    return _("%(by)s answered your comment on “%(title)s”.") % c


def _reported(c: Mapping[str, Any]) -> str:
    return _("%(by)s reported on a use of “%(title)s”: %(lesson)s") % c


def _changed(c: Mapping[str, Any]) -> str:
    if c.get("note"):
        return _("“%(title)s” has a new version %(number)s by %(by)s: %(note)s") % c
    return _("“%(title)s” has a new version %(number)s by %(by)s.") % c


def _wish_answered(c: Mapping[str, Any]) -> str:
    return _("The prompt you were looking for may be here: “%(title)s” answers “%(wish)s”.") % c


def _follow_up(c: Mapping[str, Any]) -> str:
    return _("%(by)s gave you a follow-up on “%(title)s”: %(text)s") % c


def _saved_search(c: Mapping[str, Any]) -> str:
    if c.get("count") == 1:
        return _("New for your search “%(name)s”: “%(title)s”.") % c
    return _("%(count)s new prompts for your search “%(name)s”, the latest “%(title)s”.") % c


_WATCHING = gettext_lazy("You wrote this prompt or follow it.")

KINDS: Mapping[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind("drifted", gettext_lazy("A prompt has drifted"), _WATCHING, _drifted, is_mailed=True),
        Kind(
            "model_changed",
            gettext_lazy("A model has changed for several prompts"),
            _WATCHING,
            _model_changed,
            is_mailed=True,
        ),
        Kind(
            "retiring",
            gettext_lazy("A model is about to end"),
            gettext_lazy("You set up this monitor."),
            _retiring,
            is_mailed=True,
        ),
        Kind("recovered", gettext_lazy("A prompt behaves as usual again"), _WATCHING, _recovered),
        Kind(
            "unchecked",
            gettext_lazy("A prompt could not be checked"),
            gettext_lazy("You set up this monitor."),
            _unchecked,
            is_mailed=True,
        ),
        Kind(
            "judge_changed",
            gettext_lazy("The model that judges answers has changed"),
            gettext_lazy("You are an administrator of Retex."),
            _judge_changed,
            is_mailed=True,
        ),
        Kind("commented", gettext_lazy("A comment on a prompt"), _WATCHING, _commented),
        Kind(
            "replied",
            gettext_lazy("An answer to your comment"),
            gettext_lazy("You wrote the comment."),
            _replied,
            is_mailed=True,
        ),
        Kind("reported", gettext_lazy("A report on a use"), _WATCHING, _reported),
        Kind("prompt_changed", gettext_lazy("A new version of a prompt"), _WATCHING, _changed),
        Kind(
            "wish_answered",
            gettext_lazy("An answer to your wish"),
            gettext_lazy("You asked for this prompt."),
            _wish_answered,
            is_mailed=True,
        ),
        Kind(
            "follow_up",
            gettext_lazy("A follow-up for you"),
            gettext_lazy("Somebody named you for it."),
            _follow_up,
            is_mailed=True,
        ),
        Kind(
            "saved_search",
            gettext_lazy("Something new for a search you keep"),
            gettext_lazy("You asked to hear of new matches."),
            _saved_search,
            is_mailed=True,
        ),
    )
}


def sentence(kind: str, context: Mapping[str, Any]) -> str:
    """The message in the active language; what is missing in the context shows as '?'."""
    return KINDS[kind].sentence(_Lenient(context))


class _Lenient(dict[str, Any]):
    def __missing__(self, key: str) -> str:
        return "?"
