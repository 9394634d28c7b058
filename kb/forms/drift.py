"""How a monitor is set up: a model, a rhythm, and test cases with what their answers must satisfy.

The test cases are a list of forms that grows and shrinks while it is filled in. What was typed is
read into a `Draft` first; adding and removing rows changes the draft, and forms are drawn from it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from django import forms
from django.core.exceptions import NON_FIELD_ERRORS
from django.utils.functional import Promise
from django.utils.html import escape
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from kb.core.words import clean_text
from kb.drift import assertions, suggest
from kb.drift.actions import MOST_ASSERTIONS, MOST_BASELINE_REPEATS, MOST_CASES, CaseFields
from kb.drift.assertions import MODEL_TYPES, USUAL_THRESHOLDS, Assertion, Bounds, InvalidAssertion
from kb.drift.json_schema import Schema
from kb.drift.schedule import InvalidSchedule, next_slot, parse
from kb.forms.check_words import MILLISECONDS, PATTERN_WORDS, WHY, pattern_name, rule_words
from kb.forms.llm import parameters_text
from kb.llm.models import Target
from kb.prompts.template import Variable

CUSTOM = "custom"
USUAL_SCHEDULE = "nightly"
USUAL_REPEATS = 5
"""Answers to each case in the baseline: measured, one answer shows next to nothing."""
USUAL_RULE = "contains"
SCHEDULES: Mapping[str, tuple[str | Promise, str | Promise]] = {
    "nightly": (
        gettext_lazy("Every night"),
        gettext_lazy("Recommended. A change is seen the next morning."),
    ),
    "weekdays": (
        gettext_lazy("The night before each working day"),
        gettext_lazy("A little cheaper, quiet at weekends."),
    ),
    "weekly": (gettext_lazy("Once a week"), gettext_lazy("The night before Monday.")),
    "monthly": (
        gettext_lazy("Once a month"),
        gettext_lazy("For what matters little: a change may go unseen for weeks."),
    ),
    "hourly": (
        gettext_lazy("Every hour"),
        gettext_lazy("For what customers see. 24 times the calls of every night."),
    ),
    "manual": (gettext_lazy("Only when I ask for it"), ""),
    CUSTOM: (gettext_lazy("At times of my own"), ""),
}
"""Schedule to its name and what speaks for it."""

WORDS_MOST, WORDS_LEAST, WORDS = "words-most", "words-least", "word-count"
SHAPE = "-shape"
"""Ends the kind of a check for JSON that asks for a shape, too."""
_OFTEN: Sequence[tuple[str, str | Promise]] = (
    ("contains", gettext_lazy("contain")),
    ("icontains", gettext_lazy("contain, in capitals or not")),
    ("contains-any", gettext_lazy("contain one of (a, b, c)")),
    ("contains-all", gettext_lazy("contain all of (a, b, c)")),
    ("equals", gettext_lazy("be exactly")),
    ("starts-with", gettext_lazy("start with")),
    ("ends-with", gettext_lazy("end with")),
    (WORDS_MOST, gettext_lazy("have at most so many words")),
    (WORDS_LEAST, gettext_lazy("have at least so many words")),
    *PATTERN_WORDS.items(),
    ("is-json", gettext_lazy("be valid JSON")),
    ("latency", gettext_lazy("come within so many seconds")),
)
_NEVER: Sequence[tuple[str, str | Promise]] = (
    ("not-contains", gettext_lazy("not contain")),
    ("not-icontains", gettext_lazy("not contain, in capitals or not")),
    ("not-contains-any", gettext_lazy("contain none of (a, b, c)")),
    ("not-equals", gettext_lazy("not be exactly")),
    ("not-starts-with", gettext_lazy("not start with")),
    ("not-is-refusal", gettext_lazy("not be a refusal")),
)
_BY_A_MODEL: Mapping[str, str | Promise] = {
    "llm-rubric": gettext_lazy("satisfy, in the judgement of a model"),
    "not-llm-rubric": gettext_lazy("not satisfy, in the judgement of a model"),
    "similar": gettext_lazy("mean much the same as"),
    "not-similar": gettext_lazy("not mean the same as"),
}
"""Offered where such a model is configured."""
_MORE: Mapping[str, str | Promise] = {
    "regex": gettext_lazy("match a pattern"),
    "not-regex": gettext_lazy("not match a pattern"),
    f"is-json{SHAPE}": gettext_lazy("be JSON of this shape (JSON Schema)"),
    "contains-json": gettext_lazy("contain JSON somewhere"),
    "is-xml": gettext_lazy("be well-formed XML (with these elements)"),
    WORDS: gettext_lazy("have so many words (20-80)"),
    "levenshtein": gettext_lazy("differ in few characters from"),
    "rouge-n": gettext_lazy("share words with"),
    "bleu": gettext_lazy("be worded like"),
    "cost": gettext_lazy("cost at most"),
    "finish-reason": gettext_lazy("end by: stop, length, tool"),
}
"""For formats and for people who know such measures."""
_RARE: Mapping[str, str | Promise] = {
    "icontains-any": gettext_lazy("contain one of (a, b, c), in capitals or not"),
    "icontains-all": gettext_lazy("contain all of (a, b, c), in capitals or not"),
    f"contains-json{SHAPE}": gettext_lazy("contain JSON of this shape (JSON Schema)"),
    "is-refusal": gettext_lazy("be a refusal"),
    "not-ends-with": gettext_lazy("not end with"),
    "not-icontains-any": gettext_lazy("contain none of (a, b, c), in capitals or not"),
    "not-contains-all": gettext_lazy("not contain all of (a, b, c)"),
    "not-icontains-all": gettext_lazy("not contain all of (a, b, c), in capitals or not"),
    "not-is-json": gettext_lazy("not be JSON"),
    f"not-is-json{SHAPE}": gettext_lazy("not be JSON of this shape (JSON Schema)"),
    "not-contains-json": gettext_lazy("contain no JSON"),
    f"not-contains-json{SHAPE}": gettext_lazy("contain no JSON of this shape (JSON Schema)"),
    "not-is-xml": gettext_lazy("not be well-formed XML (with these elements)"),
    f"not-{WORDS}": gettext_lazy("not have so many words (20-80)"),
    "not-levenshtein": gettext_lazy("differ in more than a few characters from"),
    "not-rouge-n": gettext_lazy("share few words with"),
    "not-bleu": gettext_lazy("not be worded like"),
    "not-latency": gettext_lazy("take more than so many seconds"),
    "not-cost": gettext_lazy("cost more than"),
    "not-finish-reason": gettext_lazy("not end by: stop, length, tool"),
}
"""Offered only where a case has one already, from a program for instance: the list stays short."""
NEAR_TYPES = ("levenshtein", "rouge-n", "bleu", "similar")
"""Types with a text and with how near an answer has to be to it."""
MOST_UNFOLDED = 3
"""Test cases that are shown in full; more would make the page long, so they are folded."""
WITHOUT_VALUE = (
    *("is-json", "not-is-json", "contains-json", "not-contains-json"),
    *("is-refusal", "not-is-refusal", *PATTERN_WORDS),
)
"""Kinds of checks that need no text beside them."""
_RANGE = re.compile(r"\s*([0-9]{0,9})\s*[-–]\s*([0-9]{0,9})\s*")
_CASE_KEY = re.compile(r"case-([0-9]{1,4})-")
_RULE_KEY = re.compile(r"case-([0-9]{1,4})-rule-([0-9]{1,4})-kind")


# --- What was typed ---------------------------------------------------------------------------


@dataclass
class RuleDraft:
    """One check as typed."""

    kind: str = USUAL_RULE
    value: str = ""
    nearness: str = ""
    """For NEAR_TYPES; '' is the usual one."""

    @property
    def type(self) -> str:
        """The kind without ``not-``."""
        return self.kind.removeprefix(assertions.NEGATION)


@dataclass
class CaseDraft:
    """One test case as typed."""

    name: str = ""
    values: dict[str, str] = field(default_factory=dict)
    rules: list[RuleDraft] = field(default_factory=lambda: [RuleDraft()])
    is_open: bool = False
    """Whether the person has unfolded it."""
    answer: str = ""
    """A good answer to take checks from; it is not stored."""
    proposals: list[suggest.Proposal] = field(default_factory=list)
    ticked: frozenset[str] = frozenset()
    """`key_of_rule` of the proposals that were ticked."""
    was_asked: bool = False
    """Whether proposals were asked for, so that finding none is said."""

    def propose(self) -> None:
        """Look for checks in the good answer; the recommended ones are ticked."""
        self.proposals = suggest.propose(self.answer)
        self.ticked = frozenset(
            key_of_rule(proposal.rule) for proposal in self.proposals if proposal.is_ticked
        )
        self.was_asked = self.is_open = True

    def take(self) -> None:
        """Make checks of the ticked proposals, as far as there is room; the answer has done its duty."""
        kept = [rule for rule in self.rules if rule != RuleDraft()]
        for proposal in suggest.propose(self.answer):
            rule = draft_of_rule(proposal.rule.to_dict())
            is_new = key_of_rule(proposal.rule) in self.ticked and rule not in kept
            if is_new and len(kept) < MOST_ASSERTIONS:
                kept.append(rule)
        self.rules = kept
        self.answer, self.proposals, self.ticked, self.was_asked = "", [], frozenset(), False


@dataclass
class Draft:
    """A whole set-up as typed. `focus` is the id of the field a change should lead to."""

    target: str = ""
    schedule: str = USUAL_SCHEDULE
    cron: str = ""
    repeats: str = str(USUAL_REPEATS)
    follows: str = "yes"
    version: str = ""
    """Number of the version that is watched when it is not the newest; '' is the newest."""
    cases: list[CaseDraft] = field(default_factory=lambda: [CaseDraft()])
    focus: str = ""

    @classmethod
    def typed(cls, data: Mapping[str, Any]) -> Draft:
        """What a person sent. Rows keep their order; their numbers are given anew."""
        numbers = sorted({int(m[1]) for key in data if (m := _CASE_KEY.match(key))})
        rules: dict[int, list[int]] = {}
        for key in data:
            if found := _RULE_KEY.fullmatch(key):
                rules.setdefault(int(found[1]), []).append(int(found[2]))
        return cls(
            target=data.get("target", ""),
            schedule=data.get("schedule", ""),
            cron=data.get("cron", ""),
            repeats=data.get("repeats", str(USUAL_REPEATS)),
            follows=data.get("follows", "yes"),
            version=data.get("version", ""),
            cases=[
                _typed_case(data, f"case-{number}", sorted(rules.get(number, [])))
                for number in numbers[: MOST_CASES + 1]
            ],
        )

    def change(self, what: str) -> bool:
        """Do what a button says.

        That is add-case, remove-case-N, add-rule-N, remove-rule-N-M, suggest-checks-N (from the good
        answer) or take-checks-N (those that are ticked). False for anything else, and for a row that is not there.
        """
        verb, numbers = _split(what)
        match verb, numbers:
            case "add-case", [] if len(self.cases) < MOST_CASES:
                self.cases.append(CaseDraft())
                self.focus = f"id_case-{len(self.cases) - 1}-name"
            case "remove-case", [case] if case < len(self.cases):
                del self.cases[case]
                self.focus = f"id_case-{case - 1}-name" if case else "add-case"
            case "add-rule", [case] if self._has_room(case):
                self.cases[case].rules.append(RuleDraft())
                self.focus = f"id_case-{case}-rule-{len(self.cases[case].rules) - 1}-kind"
            case "remove-rule", [case, rule] if self._has_rule(case, rule):
                del self.cases[case].rules[rule]
                self.focus = f"add-rule-{case}"
            case "suggest-checks", [case] if case < len(self.cases):
                self.cases[case].propose()
                found = self.cases[case].proposals
                self.focus = f"id_case-{case}-pick-0" if found else f"id_case-{case}-answer"
            case "take-checks", [case] if case < len(self.cases):
                self.cases[case].take()
                self.focus = f"add-rule-{case}"
            case _:
                return False
        return True

    def _has_room(self, case: int) -> bool:
        return case < len(self.cases) and len(self.cases[case].rules) < MOST_ASSERTIONS

    def _has_rule(self, case: int, rule: int) -> bool:
        return case < len(self.cases) and rule < len(self.cases[case].rules)

    @property
    def schedule_text(self) -> str:
        """The schedule as kb.drift.schedule reads it."""
        return self.cron.strip() if self.schedule == CUSTOM else self.schedule


def _typed_case(data: Mapping[str, Any], prefix: str, rules: Sequence[int]) -> CaseDraft:
    return CaseDraft(
        name=data.get(f"{prefix}-name", ""),
        values={
            key.removeprefix(f"{prefix}-v-"): clean_text(value)
            for key, value in data.items()
            if key.startswith(f"{prefix}-v-")
        },
        rules=[
            RuleDraft(
                data.get(f"{prefix}-rule-{rule}-kind", ""),
                data.get(f"{prefix}-rule-{rule}-value", "").replace("\r\n", "\n"),
                data.get(f"{prefix}-rule-{rule}-nearness", "").strip(),
            )
            for rule in rules
        ],
        is_open=data.get(f"{prefix}-open") == "1",
        answer=data.get(f"{prefix}-answer", "").replace("\r\n", "\n").replace("\x00", ""),
        ticked=frozenset(value for key, value in data.items() if key.startswith(f"{prefix}-pick-")),
    )


def key_of_rule(rule: Assertion) -> str:
    """A rule as the value of a tick box."""
    return json.dumps(rule.to_dict(), sort_keys=True)


def _split(what: str) -> tuple[str, list[int]]:
    found = re.fullmatch(r"([a-z]+-[a-z]+)((?:-[0-9]{1,4}){0,2})", what)
    if found is None:
        return "", []
    return found[1], [int(number) for number in found[2].split("-")[1:]]


def draft_of_rule(item: Mapping[str, Any]) -> RuleDraft:
    """A stored assertion as it stands in the form; `item_of_rule` reads it back."""
    rule = assertions.parse(item)
    kind = f"{assertions.NEGATION}{rule.type}" if rule.negated else rule.type
    name = pattern_name(rule)
    if name and not rule.negated:
        return RuleDraft(name)
    if rule.type in ("latency", "cost"):
        divisor = MILLISECONDS if rule.type == "latency" else 1
        return RuleDraft(kind, _plain((rule.threshold or 0) / divisor))
    if isinstance(rule.value, Bounds):
        return _draft_of_bounds(kind, rule.value)
    if isinstance(rule.value, Schema):
        return RuleDraft(kind + SHAPE, json.dumps(rule.value.source, indent=2, ensure_ascii=False))
    if isinstance(rule.value, tuple):
        return RuleDraft(kind, ", ".join(_list_part(part) for part in rule.value))
    is_usual = rule.threshold == USUAL_THRESHOLDS.get(rule.type)
    return RuleDraft(kind, rule.value or "", "" if is_usual else _plain(rule.threshold or 0))


def item_of_rule(draft: RuleDraft) -> dict[str, Any]:
    """A check as it is stored, still to be judged by kb.drift.assertions.parse."""
    kind, value = draft.kind, draft.value
    if kind in PATTERN_WORDS:
        return {"type": "regex", "value": suggest.NAMED_PATTERNS[kind]}
    if kind in WITHOUT_VALUE:
        return {"type": kind}
    if kind in (WORDS_MOST, WORDS_LEAST):
        bound = "max" if kind == WORDS_MOST else "min"
        return {"type": WORDS, "value": {bound: _number(value)}}
    if kind.endswith(WORDS) and (found := _RANGE.fullmatch(value)):
        bounds = {"min": found[1], "max": found[2]}
        return {"type": kind, "value": {name: int(text) for name, text in bounds.items() if text}}
    if draft.type == "latency":
        match _measure(value):
            case float(seconds):
                return {"type": kind, "threshold": round(seconds * MILLISECONDS)}
        return {"type": kind, "threshold": value}
    if draft.type == "cost":
        return {"type": kind, "threshold": _measure(value) if value.strip() else value}
    if draft.type in NEAR_TYPES:
        near = {"threshold": _measure(draft.nearness)} if draft.nearness else {}
        return {"type": kind, "value": value, **near}
    return {"type": kind.removesuffix(SHAPE), "value": _shape_text(kind, value)}


def _shape_text(kind: str, value: str) -> str:
    # Without a text a shape would silently become 'any JSON'; no schema is {}.
    return value.strip() or "{" if kind.endswith(SHAPE) else value


def _measure(text: str) -> float | str:
    """A number with a point or a comma; anything else as it stands, to be refused."""
    plain = text.strip().replace(",", ".")
    return float(plain) if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{0,9})?|\.[0-9]{1,9}", plain) else text


def _plain(number: float) -> str:
    """A number as a person writes it into a field: 5, 0.75."""
    return f"{number:.9f}".rstrip("0").rstrip(".")


def _draft_of_bounds(kind: str, bounds: Bounds) -> RuleDraft:
    least = "" if bounds.least is None else str(bounds.least)
    most = "" if bounds.most is None else str(bounds.most)
    if kind == WORDS and not least:
        return RuleDraft(WORDS_MOST, most)
    if kind == WORDS and not most:
        return RuleDraft(WORDS_LEAST, least)
    return RuleDraft(kind, least if least == most else f"{least}-{most}")


def _list_part(text: str) -> str:
    is_plain = text == text.strip() and not re.search(r'[",]', text)
    return text if is_plain else '"{}"'.format(text.replace("\\", "\\\\").replace('"', '""'))


def _number(text: str) -> int | str:
    return int(text) if re.fullmatch(r"\s*[0-9]{1,9}\s*", text) else text


def draft_of_case(case: CaseFields) -> CaseDraft:
    """A stored test case as it stands in the form."""
    return CaseDraft(
        case.name, dict(case.variables), [draft_of_rule(item) for item in case.assertions]
    )


# --- Forms ------------------------------------------------------------------------------------


class RuleForm(forms.Form):
    """One check: 'the answer must …'. Clean data is in `item`."""

    kind = forms.ChoiceField(label=gettext_lazy("The answer must"))
    value = forms.CharField(
        label=gettext_lazy("this"),
        required=False,
        strip=False,
        max_length=assertions.MAX_VALUE_LENGTH,
        widget=forms.Textarea(attrs={"rows": 1, "class": "rule__text", "spellcheck": "false"}),
    )
    nearness = forms.CharField(
        label=gettext_lazy("How near"),
        required=False,
        max_length=12,
        widget=forms.TextInput(attrs={"autocomplete": "off", "inputmode": "decimal"}),
    )

    def __init__(
        self, draft: RuleDraft, prefix: str, *, is_judged: bool, graders: Collection[str] = ()
    ) -> None:
        typed = {
            f"{prefix}-kind": draft.kind,
            f"{prefix}-value": draft.value,
            f"{prefix}-nearness": draft.nearness,
        }
        super().__init__(typed, prefix=prefix, use_required_attribute=False)
        self.draft = draft
        self.item: dict[str, Any] = {}
        self.has_nearness = draft.type in NEAR_TYPES
        self.lacks_grader = draft.type in MODEL_TYPES and draft.type not in graders
        kinds = self.fields["kind"]
        assert isinstance(kinds, forms.ChoiceField)  # noqa: S101 - it is declared above
        kinds.choices = _kinds(draft.kind, graders)
        self.fields["value"].widget.attrs["placeholder"] = _("a word, a number, a phrase")
        self.fields["nearness"].widget.attrs["placeholder"] = _("empty: the usual")
        if not is_judged:
            self._errors = forms.utils.ErrorDict()
            self.cleaned_data = {}

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        if self.lacks_grader:
            self.add_error(
                "kind",
                _(
                    "Nobody has chosen a model for this. An administrator of the company can; until then, choose another check."
                ),
            )
        if self.errors:
            return data
        typed = RuleDraft(data["kind"], data["value"], data["nearness"])
        try:
            self.item = assertions.parse(item_of_rule(typed)).to_dict()
        except InvalidAssertion as error:
            is_near = error.code == "wrong_threshold" and self.has_nearness
            self.add_error("nearness" if is_near else "value", _problem(error, typed))
        return data


def _kinds(
    current: str, graders: Collection[str]
) -> list[tuple[str, list[tuple[str, str | Promise]]]]:
    """What a check can ask for, in groups; `graders` are those of MODEL_TYPES that are configured."""
    judged = [
        (kind, words)
        for kind, words in _BY_A_MODEL.items()
        if kind == current or kind.removeprefix(assertions.NEGATION) in graders
    ]
    groups = [(_("It must"), list(_OFTEN)), (_("It must not"), list(_NEVER))]
    if judged:
        groups.append((_("A model judges"), judged))
    groups.append((_("More"), list(_MORE.items())))
    if current in _RARE:
        groups.append((_("Rarer"), [(current, _RARE[current])]))
    return groups


def _problem(error: InvalidAssertion, typed: RuleDraft) -> str:
    """Why a check cannot be used; the pure module says it in English, for programs."""
    kind = typed.kind
    if WORDS in kind or kind in (WORDS_MOST, WORDS_LEAST):
        return _("Write a number of words, like 80.")
    if error.code == "wrong_threshold":
        return _wrong_measure(typed)
    if error.code == "missing_value":
        return _("Write what to look for, or remove this check.")
    if error.code == "bad_pattern":
        return _(
            "This pattern cannot be used: a bracket may be open, or it is too costly. Look-around and back-references do not exist here."
        )
    if error.code == "bad_schema":
        return _("Retex cannot check this shape. %(detail)s") % {
            "detail": str(error).partition(": ")[2]
        }
    if error.code == "too_long":
        return _too_long(typed)
    if error.code == "too_many":
        return _("At most %(most)s words or phrases in one check.") % {
            "most": assertions.MAX_VALUES
        }
    if typed.type == "finish-reason":
        return _("Write one of: %(list)s.") % {"list": ", ".join(assertions.FINISHES)}
    return _("Separate words or phrases by commas; close every quotation mark.")


def _wrong_measure(typed: RuleDraft) -> str:
    if typed.type == "latency":
        return _("Write a number of seconds, like 5 or 2.5; at most a day.")
    if typed.type == "cost":
        return _("Write an amount, like 0.02.")
    if typed.type == "levenshtein":
        return _("Write how many characters may differ, like 5; at most %(most)s.") % {
            "most": assertions.MAX_DISTANCE
        }
    return _("Write a number from 0 to 1, like 0.75; 1 is the same.")


def _too_long(typed: RuleDraft) -> str:
    if typed.type == "llm-rubric":
        return _("This is too long: what a model judges by has at most %(most)s characters.") % {
            "most": assertions.MAX_RUBRIC_LENGTH
        }
    return _("This is too long: a pattern has at most %(most)s characters.") % {
        "most": assertions.MAX_PATTERN_LENGTH
    }


@dataclass(frozen=True)
class ShownProposal:
    """A proposed check as a tick box: what it asks, and what of the good answer it keeps."""

    name: str
    value: str
    words: str
    why: str | Promise
    is_ticked: bool


class CaseForm(forms.Form):
    """One test case: a name, a value for each blank of the prompt, and its checks in `rules`."""

    name = forms.CharField(
        label=gettext_lazy("Name"),
        required=False,
        max_length=120,
        help_text=gettext_lazy(
            "So that you recognise it when it fails, such as “Invoice without order number”."
        ),
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )

    def __init__(
        self,
        draft: CaseDraft,
        number: int,
        variables: Sequence[Variable],
        *,
        is_judged: bool,
        graders: Collection[str] = (),
    ) -> None:
        prefix = f"case-{number}"
        typed = {f"{prefix}-name": draft.name} | {
            f"{prefix}-v-{variable.name}": draft.values.get(variable.name, "")
            for variable in variables
        }
        super().__init__(typed, prefix=prefix, use_required_attribute=False)
        self.number = number
        self.variables = variables
        for variable in variables:
            self.fields[f"v-{variable.name}"] = _value_field(
                variable, draft.values.get(variable.name, "")
            )
        self.rules = [
            RuleForm(rule, f"{prefix}-rule-{place}", is_judged=is_judged, graders=graders)
            for place, rule in enumerate(draft.rules)
        ]
        self.can_add_rule = len(self.rules) < MOST_ASSERTIONS
        self.focuses_add_rule = False
        self.is_open = draft.is_open
        self.title = draft.name
        self.answer = draft.answer
        self.is_answer_too_long = len(draft.answer) > suggest.LONGEST_ANSWER
        self.found_nothing = draft.was_asked and not draft.proposals
        self.focuses_proposals = False
        self.proposals = [
            ShownProposal(
                name=f"{prefix}-pick-{place}",
                value=(key := key_of_rule(proposal.rule)),
                words=rule_words(proposal.rule),
                why=WHY[proposal.why],
                is_ticked=key in draft.ticked,
            )
            for place, proposal in enumerate(draft.proposals)
        ]
        if not is_judged:
            self._errors = forms.utils.ErrorDict()
            self.cleaned_data = {}

    @property
    def values(self) -> list[forms.BoundField]:
        """The fields of the prompt's blanks."""
        return [self[f"v-{variable.name}"] for variable in self.variables]

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        if not self.rules:
            self.add_error(
                None,
                _(
                    "Add at least one check: without it, a good answer cannot be told from a bad one."
                ),
            )
        return data

    def to_fields(self) -> CaseFields:
        """The case as the action takes it; only after is_valid."""
        values = {v.name: str(self.cleaned_data[f"v-{v.name}"] or "") for v in self.variables}
        return CaseFields(
            name=self.cleaned_data["name"],
            variables={name: value for name, value in values.items() if value},
            assertions=[rule.item for rule in self.rules],
        )


def _value_field(variable: Variable, current: str) -> forms.Field:
    options: dict[str, Any] = {
        "label": variable.label or variable.name,
        # The field template prints help as HTML; this one was typed by a person.
        "help_text": escape(variable.help),
        "required": variable.required and not variable.default.strip(),
        "error_messages": {"required": _("The prompt cannot be asked without this.")},
    }
    hint = {"placeholder": variable.default} if variable.default else {}
    if variable.type == "choice":
        return _choice_field(variable, current, options)
    if variable.type == "long_text":
        return forms.CharField(
            strip=False, widget=forms.Textarea(attrs={"rows": 3, **hint}), **options
        )
    if variable.type == "date" and (not current or re.fullmatch(r"\d{4}-\d{2}-\d{2}", current)):
        return forms.CharField(widget=forms.TextInput(attrs={"type": "date"}), **options)
    if "\n" in current:
        return forms.CharField(
            strip=False, widget=forms.Textarea(attrs={"rows": 2, **hint}), **options
        )
    if variable.type == "number":
        hint["inputmode"] = "decimal"
    return forms.CharField(strip=False, widget=forms.TextInput(attrs=hint), **options)


def _choice_field(variable: Variable, current: str, options: dict[str, Any]) -> forms.Field:
    first = variable.default or "–"
    names = [name for name in variable.options if name != variable.default]
    if current and current not in variable.options:
        names.append(current)
    choices = [("", first), *((name, name) for name in names)]
    if variable.default and current == variable.default:
        choices[0] = (variable.default, variable.default)
    return forms.ChoiceField(choices=choices, **options)


class MonitorForm(forms.Form):
    """The model and the rhythm."""

    target = forms.ChoiceField(
        label=gettext_lazy("Model"),
        widget=forms.RadioSelect,
        error_messages={"required": gettext_lazy("Choose the model to ask.")},
    )
    schedule = forms.ChoiceField(
        label=gettext_lazy("How often"),
        choices=[(name, words[0]) for name, words in SCHEDULES.items()],
        widget=forms.RadioSelect,
        error_messages={"required": gettext_lazy("Choose how often to ask.")},
    )
    cron = forms.CharField(
        label=gettext_lazy("Times, written as cron"),
        required=False,
        max_length=200,
        help_text=gettext_lazy(
            "Minute, hour, day of the month, month, day of the week: <code>30 6 * * mon-fri</code> is 6.30 on working days, <code>0 22 1 * *</code> is 22.00 on the first of each month."
        ),
        widget=forms.TextInput(
            attrs={"placeholder": "30 6 * * mon-fri", "autocomplete": "off", "spellcheck": "false"}
        ),
    )
    repeats = forms.IntegerField(
        label=gettext_lazy("Answers to each test case"),
        min_value=1,
        max_value=MOST_BASELINE_REPEATS,
        help_text=gettext_lazy(
            "How often each test case is answered before anything is judged, at once or over as many nights. Five are a good number; more are asked once, and show a change sooner."
        ),
        error_messages={"required": gettext_lazy("Write a number, like 5.")},
    )
    follows = forms.ChoiceField(
        label=gettext_lazy("When the prompt changes"),
        choices=[
            ("yes", gettext_lazy("watch its new version, with a new baseline")),
            ("no", gettext_lazy("stay with the version of today")),
        ],
        required=False,
        widget=forms.RadioSelect,
    )

    def __init__(
        self, draft: Draft, targets: Sequence[Target], *, is_judged: bool, is_new: bool
    ) -> None:
        typed = {
            "target": draft.target,
            "schedule": draft.schedule,
            "cron": draft.cron,
            "repeats": draft.repeats,
            "follows": draft.follows,
        }
        super().__init__(typed, use_required_attribute=False)
        self.targets = {str(target.pk): target for target in targets}
        self.parameters = {pk: parameters_text(target) for pk, target in self.targets.items()}
        choices = self.fields["target"]
        assert isinstance(choices, forms.ChoiceField)  # noqa: S101 - it is declared above
        choices.choices = [(pk, str(target)) for pk, target in self.targets.items()]
        if not is_new:
            del self.fields["follows"]
        elif draft.version:
            self._offer_version(draft.version)
        if not is_judged:
            self._errors = forms.utils.ErrorDict()
            self.cleaned_data = {}

    def _offer_version(self, number: str) -> None:
        """An older version can stay what is watched, or make way for the newest."""
        follows = self.fields["follows"]
        assert isinstance(follows, forms.ChoiceField)  # noqa: S101 - it is declared above
        follows.label = _("Which version")
        follows.choices = [
            ("no", _("version %(n)s, and no other") % {"n": number}),
            ("yes", _("the newest version, and those after it")),
        ]

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        if data.get("schedule") == CUSTOM and "cron" in data:
            problem = cron_problem(data["cron"])
            if problem:
                self.add_error("cron", problem)
        return data


def cron_problem(text: str) -> str:
    """What is wrong with times somebody wrote, in words; '' when they can be read and will come."""
    if not text.strip():
        return _("Write the times, like 30 6 * * mon-fri.")
    try:
        schedule = parse(text)
    except InvalidSchedule:
        return _wrong_part(text.split())
    if not schedule.is_manual and next_slot(schedule, datetime.now(UTC), UTC) is None:
        return _("“%(text)s” never comes: there is no such day.") % {"text": text.strip()}
    return ""


def _wrong_part(parts: Sequence[str]) -> str:
    """Name the part of an expression that cannot be read, by reading each among stars."""
    problems = (
        _("“%(part)s” is not a minute; write * or something out of 0–59."),
        _("“%(part)s” is not an hour; write * or something out of 0–23."),
        _("“%(part)s” is not a day of the month; write * or something out of 1–31."),
        _("“%(part)s” is not a month; write * or something out of 1–12 or jan–dec."),
        _("“%(part)s” is not a day of the week; write * or something out of 0–6 or sun–sat."),
    )
    if len(parts) != len(problems):
        return _("Write five parts with spaces between them, like 30 6 * * mon-fri.")
    for place, part in enumerate(parts):
        others = ["*"] * len(problems)
        others[place] = part
        try:
            parse(" ".join(others))
        except InvalidSchedule:
            return problems[place] % {"part": part}
    return _("These times cannot be read; write them like 30 6 * * mon-fri.")


class Setup:
    """All forms of one page, drawn from a draft. `is_judged` shows what is wrong with it."""

    def __init__(
        self,
        draft: Draft,
        *,
        targets: Sequence[Target],
        variables: Sequence[Variable],
        is_judged: bool = False,
        is_new: bool = True,
        graders: Collection[str] = (),
    ) -> None:
        self.draft = draft
        self.main = MonitorForm(draft, targets, is_judged=is_judged, is_new=is_new)
        self.cases = [
            CaseForm(case, number, variables, is_judged=is_judged, graders=graders)
            for number, case in enumerate(draft.cases)
        ]
        self.can_add_case = len(self.cases) < MOST_CASES
        self.more_problems: list[tuple[str, str, str]] = []
        self._mark_focus()

    def is_valid(self) -> bool:
        """Whether everything can be used as it stands."""
        if not self.cases:
            self.add_problem(
                "add-case", _("Test cases"), _("A monitor needs at least one test case.")
            )
        for case in self.cases:
            has_errors = bool(case.errors) or any(rule.errors for rule in case.rules)
            case.is_open = case.is_open or has_errors
        return not self.problems

    def add_problem(self, target_id: str, label: str, message: str) -> None:
        """Something an action refused, to be shown with the rest."""
        self.more_problems.append((target_id, label, message))
        for case in self.cases:
            case.is_open = case.is_open or case.prefix == target_id

    @property
    def problems(self) -> list[tuple[str, str, str]]:
        """What is wrong: id of the field, its name, what to do. In reading order."""
        return [*self._problems(), *self.more_problems]

    def _problems(self) -> Iterator[tuple[str, str, str]]:
        for form, place in self._forms():
            for name, errors in form.errors.items():
                if name == NON_FIELD_ERRORS or isinstance(form, RuleForm):
                    label = place
                elif place:
                    label = _("%(place)s, %(field)s") % {"place": place, "field": form[name].label}
                else:
                    label = str(form[name].label)
                goal = str(form.prefix) if name == NON_FIELD_ERRORS else _focusable(form[name])
                for error in errors:
                    yield (goal, label, str(error))

    def _forms(self) -> Iterator[tuple[forms.Form, str]]:
        """Each form with the name of its place on the page."""
        yield self.main, ""
        for case in self.cases:
            place = _("Test case %(n)s") % {"n": case.number + 1}
            yield case, place
            for number, rule in enumerate(case.rules, start=1):
                yield rule, _("%(place)s, check %(n)s") % {"place": place, "n": number}

    def to_fields(self) -> list[CaseFields]:
        """The cases as the action takes them; only after is_valid."""
        return [case.to_fields() for case in self.cases]

    @property
    def judged_rules(self) -> list[tuple[str, int]]:
        """Checks that a model decides, over all cases: their types, and how long their texts are."""
        return [
            (rule.type, len(rule.value))
            for case in self.draft.cases
            for rule in case.rules
            if rule.type in MODEL_TYPES
        ]

    @property
    def target(self) -> Target | None:
        """The model chosen so far."""
        return self.main.targets.get(self.draft.target)

    @property
    def repeats(self) -> int:
        """Answers to each case in the baseline as chosen so far; the usual number for what is none."""
        typed = self.draft.repeats.strip()
        count = int(typed) if re.fullmatch(r"[0-9]{1,3}", typed) else USUAL_REPEATS
        return count if 1 <= count <= MOST_BASELINE_REPEATS else USUAL_REPEATS

    def _mark_focus(self) -> None:
        """Lead to where the last change was: a field, or the button that adds a check."""
        for case in self.cases:
            case.focuses_add_rule = self.draft.focus == f"add-rule-{case.number}"
            has_focus = case.focuses_add_rule or self.draft.focus.startswith(f"id_{case.prefix}-")
            case.focuses_proposals = self.draft.focus in (
                f"id_{case.prefix}-pick-0",
                f"id_{case.prefix}-answer",
            )
            case.is_open = case.is_open or has_focus or len(self.cases) <= MOST_UNFOLDED
        for form, _place in self._forms():
            for bound in form:
                if bound.auto_id == self.draft.focus:
                    bound.field.widget.attrs["data-autofocus"] = True


def _focusable(bound: forms.BoundField) -> str:
    """The id to jump to; a group of radio buttons has none of its own, its first one has."""
    return f"{bound.auto_id}_0" if bound.use_fieldset else str(bound.auto_id)
