"""The facets beside a list of results, and the chips above it: values with names, counts and addresses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from urllib.parse import quote_plus, urlencode

from django.utils.translation import gettext as _

from kb.community.models import Retrospective
from kb.forms.finding import Address
from kb.prompts.models import Prompt
from kb.search.engine import Results
from kb.search.query import ADDRESS_NAMES, FACETS, Facet, SearchQuery, Term
from kb.search.text import fold
from kb.templatetags.retex import language_name

VALUES_SHOWN = 8
"""Values of a facet before 'more'."""
FEWEST_MORE = 3
"""Fewer are shown at once: 'one more' takes as much room as the one."""
OPEN_AT_FIRST = frozenset({"department", "tool", "use_case", "outcome"})
_ONLY = {"outcome": "retrospective", "status": "prompt", "evidence": "prompt", "drift": "prompt"}
"""Boxes that say something of one kind of result only."""
_FIXED = frozenset({"evidence", "drift", "status", "outcome"})
"""Boxes whose values are ours."""
_STATUSES = frozenset({"drift", "status", "outcome"})
"""Boxes that share one name in the address, each with values of its own."""


@dataclass(frozen=True)
class FacetValue:
    """One line of a facet; following `url` ticks it, or unticks it when it is chosen."""

    value: str
    label: str
    count: int
    is_chosen: bool
    url: str


@dataclass(frozen=True)
class FacetBox:
    """One facet: the chosen and the frequent values, and the others behind 'more'."""

    name: str
    label: str
    values: Sequence[FacetValue]
    more: Sequence[FacetValue]
    is_open: bool


@dataclass(frozen=True)
class Chip:
    """A condition in words, and the address without it."""

    text: str
    url: str
    rest: Address
    """What `url` asks."""


def url_of(address: Address) -> str:
    """The query string of an address: '?q=nda&tool=chatgpt'."""
    return "?" + urlencode(address.pairs())


def boxes(
    address: Address, results: Results, names: Mapping[str, Mapping[str, str]]
) -> list[FacetBox]:
    """The facets of these results, without those that have nothing to choose."""
    labels = _labels()
    known = _known(results, names)
    made = []
    for name, label in labels.items():
        if _ONLY.get(name, address.kind) != address.kind:
            continue
        values = _values(name, address, results, known[name])
        if values:
            chosen = sum(value.is_chosen for value in values)
            shown = max(VALUES_SHOWN, chosen)
            shown = len(values) if len(values) < shown + FEWEST_MORE else shown
            is_open = bool(chosen) or name in OPEN_AT_FIRST
            made.append(FacetBox(name, label, values[:shown], values[shown:], is_open))
    return made


def chips(address: Address, results: Results, names: Mapping[str, Mapping[str, str]]) -> list[Chip]:
    """Everything that narrows the results, in words: 'Department: Legal', and each removable.

    The words themselves are among them only when something else was typed with them.
    """
    labels, known = _labels(), _known(results, names)
    made = []
    for name, label in labels.items():
        for value in _chosen(name, address, known[name]):
            text = _("%(facet)s: %(value)s") % {
                "facet": label,
                "value": _name(value, known[name]),
            }
            made.append((text, address.without_value(_parameter(name), value)))
    for text, rest in _typed_chips(address.typed, known):
        made.append((text, address.but(text=rest.to_text())))
    return [Chip(text, url_of(rest), rest) for text, rest in made]


def _labels() -> dict[str, str]:
    return {
        "department": _("Department"),
        "outcome": _("Outcome"),
        "tool": _("Tool"),
        "use_case": _("Use case"),
        "evidence": _("Evidence"),
        "drift": _("Drift"),
        "language": _("Language"),
        "tag": _("Tag"),
        "status": _("State"),
    }


def _known(
    results: Results, names: Mapping[str, Mapping[str, str]]
) -> Mapping[str, Mapping[str, str]]:
    """Box to its values in words."""
    return {
        "department": names["departments"],
        "tool": names["tools"],
        "use_case": names["use_cases"],
        "tag": names["tags"],
        "language": {code: language_name(code) for code in results.facets["languages"]},
        "evidence": {
            "proven": _("Proven"),
            "some": _("Some reports"),
            "none": _("No report yet"),
        },
        "drift": {
            "drifted": _("Drifted"),
            "suspect": _("Suspect"),
            "stable": _("No drift"),
            "learning": _("Learning"),
        },
        "status": {
            Prompt.Status.PUBLISHED.value: _("Published"),
            Prompt.Status.DRAFT.value: _("My drafts"),
            Prompt.Status.ARCHIVED.value: _("Archived"),
        },
        "outcome": {value: str(label) for value, label in Retrospective.Outcome.choices},
    }


def _chosen(name: str, address: Address, known: Mapping[str, str]) -> list[str]:
    """The values of a box that are asked for, ticked or typed.

    Boxes that share a name in the address each take the values they know.
    """
    values = sorted(address.query.values(ADDRESS_NAMES[_parameter(name)]))
    return [value for value in values if value in known or name not in _STATUSES]


def _slug(value: str, known: Mapping[str, str]) -> str:
    """What is meant by a value: people type names where the index has slugs."""
    if value in known:
        return value
    return next((slug for slug, name in known.items() if fold(name) == fold(value)), value)


def _name(value: str, known: Mapping[str, str]) -> str:
    return known.get(_slug(value, known), value)


def _parameter(name: str) -> str:
    """What a box is called in the address."""
    return "status" if name in _STATUSES else name


def _values(
    name: str, address: Address, results: Results, known: Mapping[str, str]
) -> list[FacetValue]:
    counts = results.facets["drifts" if name == "drift" else ADDRESS_NAMES[_parameter(name)]]
    chosen = {value: _slug(value, known) for value in _chosen(name, address, known)}
    found = []
    for value, slug in chosen.items():
        url = url_of(address.without_value(_parameter(name), value))
        found.append(FacetValue(slug, known.get(slug, slug), counts.get(slug, 0), True, url))
    # A hundred values are written for each page: what ticks one is put behind what all share.
    start, parameter = url_of(address.but()), _parameter(name)
    start += "&" if len(start) > 1 else ""
    for value, count in counts.items():
        if value not in chosen.values() and (value in known or name not in _FIXED):
            url = f"{start}{parameter}={quote_plus(value)}"
            found.append(FacetValue(value, known.get(value, value), count, False, url))
    return found


def _typed_chips(
    typed: SearchQuery, known: Mapping[str, Mapping[str, str]]
) -> Iterator[tuple[str, SearchQuery]]:
    """What only words can ask, each with the query less it: authors, exclusions, exact words."""
    by_facet = {ADDRESS_NAMES[_parameter(name)]: values for name, values in known.items()}
    only_typed: tuple[Facet, ...] = ("authors", "has")
    for facet in only_typed:
        for value in sorted(typed.values(facet)):
            yield _of_field(facet, value), typed.without(facet, value)
    for facet in FACETS:
        for value in sorted(typed.excluded.values(facet)):
            label = _name(value, by_facet.get(facet, {}))
            yield _("not %(what)s") % {"what": label}, typed.without(facet, value)
    if not typed.terms or (typed == SearchQuery(terms=typed.terms) and _is_plain(typed.terms)):
        return  # plain words stand in the field already
    for text, left_out in _told_terms(typed.terms):
        kept = tuple(term for term in typed.terms if term not in left_out)
        yield text, replace(typed, terms=kept)


def _of_field(facet: str, value: str) -> str:
    if facet == "has":
        known = {"retrospective": _("with reports"), "monitor": _("watched for drift")}
        return known.get(value, _("with %(what)s") % {"what": value})
    return _("by me") if value == "me" else _("by %(author)s") % {"author": value}


def _told_terms(terms: Sequence[Term]) -> Iterator[tuple[str, Sequence[Term]]]:
    """Plain words together, then each phrase, choice and exclusion, in words."""
    groups = [list(group) for _number, group in groupby(terms, key=lambda term: term.group)]
    plain = [group[0] for group in groups if _is_plain(group)]
    if plain:
        words = " ".join(word for term in plain for word in term.words)
        yield _("words: %(words)s") % {"words": words}, plain
    for group in groups:
        if _is_plain(group):
            continue
        told = _(" or ").join(
            _("exactly “%(words)s”") % {"words": " ".join(term.words)}
            if term.phrase
            else " ".join(term.words)
            for term in group
        )
        yield (_("without %(words)s") % {"words": told} if group[0].negated else told), group


def _is_plain(terms: Sequence[Term]) -> bool:
    """Whether these are single words, each wanted for itself."""
    return len({term.group for term in terms}) == len(terms) and not any(
        term.phrase or term.negated for term in terms
    )
