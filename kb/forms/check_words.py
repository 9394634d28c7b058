"""Checks in the words of people: what an answer must satisfy, and what was seen in one."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from django.utils import formats
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from kb.drift.assertions import Assertion, Bounds, Reason
from kb.drift.json_schema import Schema
from kb.drift.suggest import NAMED_PATTERNS, Why

MOST_FIELDS_NAMED = 6
"""Of a JSON shape, in one sentence; a longer list is no sentence any more."""
MILLISECONDS = 1_000

FINISHES: Mapping[str, str | Promise] = {
    "stop": gettext_lazy("by itself"),
    "length": gettext_lazy("at its length limit"),
    "refusal": gettext_lazy("with a refusal"),
    "content_filter": gettext_lazy("at a content filter"),
    "tool": gettext_lazy("with the call of a tool"),
    "other": gettext_lazy("in another way"),
}
"""How an answer ended."""
WHY: Mapping[Why, str | Promise] = {
    "whole": gettext_lazy("what it says"),
    "json": gettext_lazy("its format"),
    "xml": gettext_lazy("its format"),
    "headings": gettext_lazy("its headings"),
    "opening": gettext_lazy("its first line"),
    "list": gettext_lazy("its form"),
    "figure": gettext_lazy("a figure in it"),
    "name": gettext_lazy("a name in it"),
    "language": gettext_lazy("its language"),
    "length": gettext_lazy("half to twice its length"),
    "answers": gettext_lazy("it is an answer"),
}
"""Why a check is proposed: what of the good answer it keeps."""
PATTERN_WORDS: Mapping[str, str | Promise] = {
    "language-fr": gettext_lazy("be written in French"),
    "language-en": gettext_lazy("be written in English"),
    "list": gettext_lazy("contain a list"),
}
_NOT_PATTERN_WORDS: Mapping[str, str | Promise] = {
    "language-fr": gettext_lazy("not be written in French"),
    "language-en": gettext_lazy("not be written in English"),
    "list": gettext_lazy("contain no list"),
}
_MUST: Mapping[str, str | Promise] = {
    "equals": gettext_lazy("be exactly %(value)s"),
    "contains": gettext_lazy("contain %(value)s"),
    "icontains": gettext_lazy("contain %(value)s, in capitals or not"),
    "contains-any": gettext_lazy("contain one of %(value)s"),
    "icontains-any": gettext_lazy("contain one of %(value)s, in capitals or not"),
    "contains-all": gettext_lazy("contain all of %(value)s"),
    "icontains-all": gettext_lazy("contain all of %(value)s, in capitals or not"),
    "starts-with": gettext_lazy("start with %(value)s"),
    "ends-with": gettext_lazy("end with %(value)s"),
    "regex": gettext_lazy("match the pattern %(value)s"),
    "is-json": gettext_lazy("be valid JSON%(value)s"),
    "contains-json": gettext_lazy("contain JSON%(value)s"),
    "is-xml": gettext_lazy("be well-formed XML%(value)s"),
    "word-count": gettext_lazy("have %(value)s"),
    "levenshtein": gettext_lazy("differ from %(value)s in at most %(limit)s characters"),
    "rouge-n": gettext_lazy("have at least %(limit)s of the words of %(value)s"),
    "bleu": gettext_lazy("be worded like %(value)s, to at least %(limit)s"),
    "similar": gettext_lazy("mean much the same as %(value)s (nearness of at least %(limit)s)"),
    "latency": gettext_lazy("come within %(limit)s s"),
    "cost": gettext_lazy("cost at most %(limit)s"),
    "is-refusal": gettext_lazy("be a refusal"),
    "finish-reason": gettext_lazy("end %(value)s"),
    "llm-rubric": gettext_lazy("satisfy, in the judgement of a model: %(value)s"),
}
_MUST_NOT: Mapping[str, str | Promise] = {
    "equals": gettext_lazy("not be exactly %(value)s"),
    "contains": gettext_lazy("not contain %(value)s"),
    "icontains": gettext_lazy("not contain %(value)s, in capitals or not"),
    "contains-any": gettext_lazy("contain none of %(value)s"),
    "icontains-any": gettext_lazy("contain none of %(value)s, in capitals or not"),
    "contains-all": gettext_lazy("not contain all of %(value)s"),
    "icontains-all": gettext_lazy("not contain all of %(value)s, in capitals or not"),
    "starts-with": gettext_lazy("not start with %(value)s"),
    "ends-with": gettext_lazy("not end with %(value)s"),
    "regex": gettext_lazy("not match the pattern %(value)s"),
    "is-json": gettext_lazy("not be JSON%(value)s"),
    "contains-json": gettext_lazy("contain no JSON%(value)s"),
    "is-xml": gettext_lazy("not be well-formed XML%(value)s"),
    "word-count": gettext_lazy("not have %(value)s"),
    "levenshtein": gettext_lazy("differ from %(value)s in more than %(limit)s characters"),
    "rouge-n": gettext_lazy("have less than %(limit)s of the words of %(value)s"),
    "bleu": gettext_lazy("not be worded like %(value)s, to %(limit)s or more"),
    "similar": gettext_lazy("not mean the same as %(value)s (nearness below %(limit)s)"),
    "latency": gettext_lazy("take more than %(limit)s s"),
    "cost": gettext_lazy("cost more than %(limit)s"),
    "is-refusal": gettext_lazy("not be a refusal"),
    "finish-reason": gettext_lazy("not end %(value)s"),
    "llm-rubric": gettext_lazy("not satisfy, in the judgement of a model: %(value)s"),
}


def rule_words(rule: Assertion) -> str:
    """What an answer must satisfy, as the end of 'The answer must …'."""
    name = pattern_name(rule)
    if name:
        return str((_NOT_PATTERN_WORDS if rule.negated else PATTERN_WORDS)[name])
    phrases = _MUST_NOT if rule.negated else _MUST
    return str(phrases[rule.type]) % {"value": _value_words(rule), "limit": _limit_words(rule)}


def pattern_name(rule: Assertion) -> str:
    """The name of a pattern that has one, such as language-fr; '' for any other rule."""
    if rule.type != "regex":
        return ""
    return next((name for name, text in NAMED_PATTERNS.items() if text == rule.value), "")


def whole(number: float) -> str:
    """A number rounded to a whole, its thousands set apart as the reader's language does."""
    return str(formats.number_format(round(number), use_l10n=True, force_grouping=True))


def quoted(text: str) -> str:
    """A text between the reader's quotation marks."""
    return _("“%(text)s”") % {"text": text}


def seen_words(reason: Reason) -> str:
    """What was seen in the answer, as a short sentence; every code of kb.drift.assertions."""
    said = _seen_parts(reason) or _seen_format(reason) or _seen_measure(reason)
    if not said:
        said = _seen_by_a_model(reason)
    if not said:
        raise ValueError(f"no words for {reason.code}")
    return said


def _seen_parts(reason: Reason) -> str:
    params = reason.params
    match reason.code:
        case "found" | "one_found":
            return _("“%(text)s” is there.") % {"text": params["value"]}
        case "not_found":
            return _("“%(text)s” is missing.") % {"text": params["value"]}
        case "none_found":
            return _("None of them is there.")
        case "all_found":
            return _("All of them are there.")
        case "some_missing" | "xml_lacks":
            missing = ", ".join(quoted(text) for text in params["missing"])
            return _("Missing: %(list)s.") % {"list": missing}
        case "equal":
            return _("It is exactly that text.")
        case "different":
            return _("It differs from character %(n)s on.") % {"n": whole(params["position"] + 1)}
        case "starts":
            return _("It starts like that.")
        case "does_not_start":
            return _("It starts differently.")
        case "ends":
            return _("It ends like that.")
        case "does_not_end":
            return _("It ends differently.")
        case "matched":
            return _("“%(text)s” matches.") % {"text": params["excerpt"]}
        case "not_matched":
            return _("Nothing in it matches.")
    return ""


def _seen_format(reason: Reason) -> str:
    match reason.code:
        case "json":
            return _("It is valid JSON.")
        case "not_json":
            return (
                _("It stops being JSON in line %(line)s, at character %(column)s.") % reason.params
            )
        case "json_found":
            return _("There is JSON in it.")
        case "no_json":
            return _("There is no JSON in it.")
        case "json_search_given_up":
            return _("It has so many brackets that JSON in it could not be looked for.")
        case "schema_mismatch":
            return _("%(path)s is not as asked: %(keyword)s %(wanted)s.") % reason.params
        case "xml":
            return _("It is well-formed XML.")
        case "not_xml":
            return (
                _("It stops being XML in line %(line)s, at character %(column)s.") % reason.params
            )
        case "xml_has_document_type":
            return _("It declares a document type, which is not read for safety.")
        case "xml_too_deep":
            return _("Its elements are nested too deeply to be read.")
    return ""


def _seen_measure(reason: Reason) -> str:
    params = reason.params
    match reason.code:
        case "words":
            return ngettext("It has %(n)s word.", "It has %(n)s words.", params["count"]) % {
                "n": whole(params["count"])
            }
        case "distance" if params["distance"] is None:
            return _("It differs in more than %(n)s characters.") % {"n": whole(params["most"])}
        case "distance":
            return ngettext(
                "It differs in %(n)s character.",
                "It differs in %(n)s characters.",
                params["distance"],
            ) % {"n": whole(params["distance"])}
        case "score":
            return _("It reaches %(score)s.") % {"score": _decimal(params["score"])}
        case "took":
            taken = _decimal(params["milliseconds"] / MILLISECONDS)
            return _("It took %(n)s s.") % {"n": taken}
        case "cost":
            return _("It cost %(amount)s.") % {"amount": _exact(params["cost"])}
        case "not_told":
            return _("The provider did not tell.")
        case "too_long_to_judge":
            return _("It has %(n)s characters and is too long to be judged.") % {
                "n": whole(params["characters"])
            }
        case "refused":
            return _("The provider says that the model refused.")
        case "refusal":
            return _("“%(text)s” is how models refuse.") % {"text": params["excerpt"]}
        case "no_refusal":
            return _("It does not begin like a refusal.")
        case "finished":
            return _("It ended %(how)s.") % {"how": FINISHES.get(params["finish"], "–")}
    return ""


def _seen_by_a_model(reason: Reason) -> str:
    match reason.code:
        case "judged":
            return _("A model judged it.")
        case "judges_disagree":
            return _("The model was asked twice and disagreed with itself.")
        case "judge_unclear":
            return _("What the judging model said could not be read.")
        case "judge_away":
            return str(_AWAY.get(reason.params.get("kind", ""), _AWAY[""]))
        case "judge_changed":
            return _("The judging model has changed, so its word does not count for now.")
        case "needs_a_model":
            return _("Only a model can judge this, and nobody has chosen one.")
        case "no_whole_answer":
            return _("There is no whole answer to judge.")
    return ""


_AWAY: Mapping[str, str | Promise] = {
    "": gettext_lazy("The judging model could not be asked."),
    "over_budget": gettext_lazy("The budget left no room to ask the judging model."),
    "cancelled": gettext_lazy("The judging model was switched off, or the run was stopped."),
    "auth": gettext_lazy("The provider of the judging model refused the key."),
    "timeout": gettext_lazy("The judging model did not answer in time."),
    "rate_limited": gettext_lazy("So much was under way that the judging model found no time."),
    "unavailable": gettext_lazy(
        "The judging model failed several times in a row and is left alone for a while."
    ),
}
"""Why a model that judges could not be asked, by the kind of the error."""


def _value_words(rule: Assertion) -> str:
    value = rule.value
    if isinstance(value, Bounds):
        return _bounds_words(value)
    if isinstance(value, Schema):
        return _shape_words(value)
    if rule.type == "is-xml":
        wanted = ", ".join(quoted(part) for part in value or ())
        return _(" with the elements %(list)s") % {"list": wanted} if wanted else ""
    if isinstance(value, tuple):
        return ", ".join(quoted(part) for part in value)
    if rule.type == "finish-reason":
        return str(FINISHES[str(value)])
    if rule.type == "regex":
        return value or ""
    return quoted(value) if value is not None else ""


def _shape_words(schema: Schema) -> str:
    """What follows 'be valid JSON': its fields when it asks for some."""
    fields = [str(name) for name in schema.source.get("required", ())]
    if not fields:
        return _(" of the given shape")
    named = ", ".join(quoted(name) for name in fields[:MOST_FIELDS_NAMED])
    if len(fields) > MOST_FIELDS_NAMED:
        named = f"{named}, …"
    return _(" with the fields %(list)s") % {"list": named}


def _bounds_words(bounds: Bounds) -> str:
    least, most = bounds.least, bounds.most
    if least is None:
        return ngettext("at most %(n)s word", "at most %(n)s words", most or 0) % {
            "n": whole(most or 0)
        }
    if most is None:
        return ngettext("at least %(n)s word", "at least %(n)s words", least) % {"n": whole(least)}
    if least == most:
        return ngettext("exactly %(n)s word", "exactly %(n)s words", least) % {"n": whole(least)}
    return _("%(least)s to %(most)s words") % {"least": whole(least), "most": whole(most)}


def _limit_words(rule: Assertion) -> str:
    if rule.threshold is None:
        return ""
    match rule.type:
        case "latency":
            return _decimal(rule.threshold / MILLISECONDS)
        case "cost":
            return _exact(Decimal(str(rule.threshold)))
        case "levenshtein":
            return whole(rule.threshold)
        case "rouge-n" | "bleu":
            return f"{whole(rule.threshold * 100)}\u00a0%"
    return _decimal(rule.threshold)


def _decimal(number: float) -> str:
    """Two decimals at most: 0.75, 5, 1.4."""
    return _exact(Decimal(str(round(number, 2))))


def _exact(number: Decimal) -> str:
    return str(formats.number_format(f"{number.normalize():f}", use_l10n=True))
