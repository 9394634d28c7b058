"""Template tags and filters of the product: they put values into words, they do not compute."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any

from django import template
from django.conf import settings
from django.templatetags.static import static
from django.utils import formats, timezone, translation
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.timesince import timesince
from django.utils.translation import gettext, ngettext

register = template.Library()

_LANGUAGES = {
    "ar": "العربية",
    "de": "Deutsch",
    "es": "Español",
    "it": "Italiano",
    "ja": "日本語",
    "ko": "한국어",
    "nl": "Nederlands",
    "pl": "Polski",
    "pt": "Português",
    "ru": "Русский",
    "tr": "Türkçe",
    "zh": "中文",
} | dict(settings.LANGUAGES)


@register.simple_tag
def icon(name: str) -> SafeString:
    """A symbol of our sprite; decoration only, so hidden from screen readers."""
    return format_html(
        '<svg class="icon" aria-hidden="true" focusable="false"><use href="{}#{}"/></svg>',
        static("kb/img/icons.svg"),
        name,
    )


@register.filter
def percent(share: float | None) -> str:
    """0.556 as '56 %' in French, '56%' in English; a dash for None."""
    if share is None:
        return "–"
    number = formats.number_format(round(share * 100), use_l10n=True)
    return f"{number}\u202f%" if _is_french() else f"{number}%"


@register.filter
def ago(moment: datetime | date | None) -> str:
    """How long ago, in the two coarsest words that matter: 'just now', '3 days ago'."""
    if moment is None:
        return ""
    if not isinstance(moment, datetime):
        days = (timezone.localdate() - moment).days
        if days <= 0:
            return gettext("today")
        moment = datetime.combine(moment, datetime.min.time(), UTC)
        return gettext("%(time)s ago") % {
            "time": timesince(
                moment, datetime.combine(timezone.localdate(), datetime.min.time(), UTC), depth=1
            )
        }
    if (timezone.now() - moment).total_seconds() < 60:
        return gettext("just now")
    return gettext("%(time)s ago") % {"time": timesince(moment, depth=1)}


@register.filter
def language_name(code: str) -> str:
    """A language in its own words; the code when we do not know it."""
    if code == "und":
        return gettext("language unknown")
    return _LANGUAGES.get(code, code)


@register.filter
def initials(name: str) -> str:
    """Two letters for an avatar."""
    words = [word for word in str(name).replace("-", " ").split() if word[:1].isalpha()]
    return (
        "".join(word[0] for word in (words[:1] + words[-1:] if len(words) > 1 else words)).upper()
        or "?"
    )


@register.filter
def item(mapping: Mapping[Any, Any], key: Any) -> Any:
    """The value under a key, or None."""
    return mapping.get(key)


@register.filter
def minutes(value: float | None) -> str:
    """Minutes as people say them: '45 min', '2 h', '1 h 30', '−10 min'."""
    if value is None:
        return "–"
    sign, whole = ("−" if value < 0 else ""), round(abs(value))
    if whole < 60:
        return f"{sign}{whole}\u00a0min"
    hours, rest = divmod(whole, 60)
    return f"{sign}{hours}\u00a0h" + (f"\u00a0{rest:02d}" if rest else "")


@register.filter
def times(count: int) -> str:
    """'3 uses' in words."""
    return ngettext("%(count)s use", "%(count)s uses", count) % {"count": count}


@register.simple_tag(takes_context=True)
def facet_url(context: template.Context, name: str, value: str) -> str:
    """This page with one facet value switched on, or off when it is on; back to the first page."""
    query = context["request"].GET.copy()
    chosen = query.getlist(name)
    query.setlist(name, [v for v in chosen if v != value] if value in chosen else [*chosen, value])
    query.pop("page", None)
    text = query.urlencode()
    return f"?{text}" if text else "?"


@register.inclusion_tag("_components/drift_badge.html")
def drift_badge(state: str) -> dict[str, Any]:
    """The drift state of a prompt in words; nothing when nothing watches it."""
    return {"state": state}


@register.inclusion_tag("_components/evidence.html")
def evidence(worked: Any, is_old: bool = False) -> dict[str, Any]:
    """'Worked in 14 of 18 uses (55–91 %)' with its interval as a small bar (0 to 100)."""
    found = {"worked": worked, "is_old": is_old}
    if worked.n:
        low, high = worked.interval.low * 100, worked.interval.high * 100
        # As text: a float would get a decimal comma on French pages, which no browser can draw.
        found |= {
            "start": f"{low:.1f}",
            "width": f"{high - low:.1f}",
            "point": f"{min(worked.k / worked.n * 98, 98):.1f}",
        }
    return found


def _is_french() -> bool:
    return (translation.get_language() or "").startswith("fr")
