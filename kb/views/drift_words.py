"""What machines say about runs, checks and providers, in the words of people."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, time
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from django.utils import formats, timezone
from django.utils.functional import Promise
from django.utils.translation import get_language, gettext_lazy, ngettext
from django.utils.translation import gettext as _

from kb.drift import assertions, features, grading, judging, planner, watch
from kb.drift.assertions import MODEL_TYPES, Assertion, Reason
from kb.drift.assessing import slot_near
from kb.drift.models import Completion, DriftReport, Monitor, TestCase
from kb.drift.planner import Plan
from kb.drift.queries import CaseChange, Power
from kb.forms.check_words import rule_words, seen_words, whole
from kb.prompts.models import PromptVersion
from kb.templatetags.retex import percent

RAREST = 1_000_000
"""Beyond one in a million a chance is no longer told apart: the model behind it is not that exact."""
SIGNIFICANT_DIGITS = 2
RAREST_WORTH_SAYING = 0.05
"""A chance above one in 20 convinces nobody and is left out."""
SHORTEST_MS = 100
LONGEST_VALUE = 2_000
"""Characters of a test case's value on a page about answers; all of it is where cases are edited."""
CENT = Decimal("0.01")
SIGNS: Mapping[str, str] = {"EUR": "€", "GBP": "£", "USD": "$"}


def odds(chance: float) -> str:
    """A small probability as a number of cases: 0.00077 is 'about 1 in 1,300'."""
    if chance <= 1 / RAREST:
        return _("less than 1 in %(count)s") % {"count": whole(RAREST)}
    count = 1 / chance
    unit = 10 ** max(0, math.floor(math.log10(count)) + 1 - SIGNIFICANT_DIGITS)
    return _("about 1 in %(count)s") % {"count": whole(round(count / unit) * unit)}


def money(amount: Decimal | None, currency: str) -> str:
    """An amount to the cent, '' for an unknown one: '€0.42'; what is less than a cent says so."""
    if amount is None:
        return ""
    is_tiny = 0 < amount < CENT
    number = formats.number_format(
        CENT if is_tiny else amount.quantize(CENT, ROUND_HALF_UP),
        decimal_pos=2,
        use_l10n=True,
        force_grouping=True,
    )
    if currency in SIGNS:
        sum_words = _("%(sign)s%(amount)s") % {"sign": SIGNS[currency], "amount": number}
    else:
        sum_words = f"{number}\u00a0{currency}"
    return _("less than %(sum)s") % {"sum": sum_words} if is_tiny else sum_words


def about_money(amount: Decimal | None, currency: str) -> str:
    """The same of an estimate: 'about €0.42', but 'less than €0.01', '' for an unknown one."""
    sum_words = money(amount, currency)
    if amount is None or 0 < amount < CENT:
        return sum_words
    return _("about %(sum)s") % {"sum": sum_words}


def day(moment: date, pattern: str = "j F") -> str:
    """'1 December', in French '1er décembre'."""
    text = formats.date_format(moment, pattern)
    is_french = (get_language() or "").startswith("fr")
    return f"1er{text[1:]}" if is_french and moment.day == 1 else text


def seconds(milliseconds: int | None) -> str:
    """A wait, '' for an unknown one: '1.4 s'."""
    if milliseconds is None:
        return ""
    if milliseconds < SHORTEST_MS:
        return _("under 0.1 s")
    return f"{formats.number_format(round(milliseconds / 1000, 1), decimal_pos=1, use_l10n=True)}\u00a0s"


_DAILY = re.compile(r"([0-5]?[0-9]) (1?[0-9]|2[0-3]) \* \* \*")
"""A cron expression for one time every day."""


def schedule_words(text: str) -> str:
    """How often a schedule is due."""
    known = {
        "manual": _("only when somebody asks for it"),
        "hourly": _("every hour"),
        "nightly": _("every night"),
        "weekdays": _("on the night before each working day"),
        "weekly": _("once a week, on the night before Monday"),
        "monthly": _("once a month, on its first night"),
    }
    if text in known:
        return known[text]
    if daily := _DAILY.fullmatch(text):
        moment = time(int(daily[2]), int(daily[1]))
        return _("every day at %(time)s") % {"time": formats.time_format(moment, "H:i")}
    return _("at times of its own (%(cron)s)") % {"cron": text}


# --- Power ------------------------------------------------------------------------------------

NIGHTLY = ("nightly", "weekdays")
"""Schedules whose runs are nights; those of others are called runs."""


@dataclass(frozen=True)
class PowerWords:
    """What a monitor can see: when it would tell a change of everything, as a figure and in words;
    the chance of so clear a night; and, once measured, what fall of the pass rate it would notice."""

    when: str
    full_change: str
    chance: str
    fall: str = ""


def power_words(plan: Plan | Power, schedule: str) -> PowerWords:
    """The words on a plan, or on what was measured on a baseline; then with `fall`, if it is known."""
    return PowerWords(
        when=_when(plan.nights_to_full_change, schedule),
        full_change=_full_change(plan.nights_to_full_change, schedule),
        chance=_chance(plan.smallest_p),
        fall=_fall(plan, schedule) if isinstance(plan, Power) else "",
    )


def _full_change(nights: int | None, schedule: str) -> str:
    """When a change of all answers would be told."""
    if nights is None:
        return _(
            "Even a change of all answers might go unnoticed for %(count)s runs: more test cases, or more answers in the baseline, would show it."
        ) % {"count": whole(planner.LONGEST_LOOK_AHEAD)}
    if schedule in NIGHTLY:
        words = ngettext(
            "A change of all answers would be told on the first night, once fresh answers confirm it.",
            "A change of all answers would be told on night %(count)s.",
            nights,
        )
    else:
        words = ngettext(
            "A change of all answers would be told with the first run, once fresh answers confirm it.",
            "A change of all answers would be told with run %(count)s.",
            nights,
        )
    return words % {"count": whole(nights)}


def _when(nights: int | None, schedule: str) -> str:
    """The same as a figure: 'Night 5'."""
    if nights is None:
        return _("Not soon")
    words = _("Night %(count)s") if schedule in NIGHTLY else _("Run %(count)s")
    return words % {"count": whole(nights)}


def _chance(smallest_p: float) -> str:
    """How rare the clearest possible night is."""
    if smallest_p > watch.FIRST_LEVEL:
        return _(
            "Without any change the clearest night comes up %(odds)s times: one night alone proves nothing, several have to add up. Eight to ten test cases are a good number."
        ) % {"odds": odds(smallest_p)}
    return _("Without any change, so clear a night comes up %(odds)s times.") % {
        "odds": odds(smallest_p)
    }


def _fall(power: Power, schedule: str) -> str:
    """What fall of the pass rate would be noticed, and which probably not; '' while it is measured."""
    if not power.is_known:
        return ""
    if not power.usual:
        return (
            _(
                "No check has judged the answers of the baseline: only changes of the texts themselves can be noticed."
            )
            if power.usual is None
            else _(
                "None of the baseline’s answers passes all its checks, so the share cannot fall: only other changes can be noticed."
            )
        )
    blanks = {"usual": percent(power.usual)}
    if power.noticed is None or power.noticed.nights is None:
        if power.missed is None:
            return ""
        blanks |= {"rate": percent(power.missed.rate), "count": whole(planner.LONGEST_LOOK_AHEAD)}
        return (
            _(
                "Even a fall from %(usual)s to %(rate)s might go unnoticed for %(count)s runs: more test cases would show it."
            )
            % blanks
        )
    nights = power.noticed.nights
    blanks |= {"rate": percent(power.noticed.rate), "count": whole(nights)}
    if power.missed is None:
        return _even_small(nights, schedule) % blanks
    return _up_to_here(nights, schedule) % (blanks | {"missed": percent(power.missed.rate)})


def _even_small(nights: int, schedule: str) -> str:
    if schedule in NIGHTLY:
        return ngettext(
            "Even a fall from %(usual)s to %(rate)s would be noticed on the first night.",
            "Even a fall from %(usual)s to %(rate)s would be noticed within about %(count)s nights.",
            nights,
        )
    return ngettext(
        "Even a fall from %(usual)s to %(rate)s would be noticed with the first run.",
        "Even a fall from %(usual)s to %(rate)s would be noticed within about %(count)s runs.",
        nights,
    )


def _up_to_here(nights: int, schedule: str) -> str:
    if schedule in NIGHTLY:
        return ngettext(
            "A fall from %(usual)s to %(rate)s would be noticed on the first night; a fall to %(missed)s probably not.",
            "A fall from %(usual)s to %(rate)s would be noticed within about %(count)s nights; a fall to %(missed)s probably not.",
            nights,
        )
    return ngettext(
        "A fall from %(usual)s to %(rate)s would be noticed with the first run; a fall to %(missed)s probably not.",
        "A fall from %(usual)s to %(rate)s would be noticed within about %(count)s runs; a fall to %(missed)s probably not.",
        nights,
    )


# --- Checks -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Check:
    """One rule beside one answer: whether it holds (None: not judged) and what was seen."""

    rule: str
    has_passed: bool | None
    seen: str


def checks_of(case: TestCase, answer: Completion, *, is_doubted: bool = False) -> list[Check]:
    """The rules of a case with the verdicts on one of its answers and what can be seen in it.

    `is_doubted`: the word of the judge was left aside when its run was compared.
    """
    found = []
    for place, (item, has_passed) in enumerate(zip(case.assertions, answer.verdicts, strict=False)):
        rule = assertions.parse(item)
        why = answer.not_judged[place] if place < len(answer.not_judged) else None
        if is_doubted and rule.type == grading.RUBRIC and has_passed is not None:
            left_aside = _("The judging model is in doubt, so its word is left aside.")
            found.append(Check(rule_words(rule), None, left_aside))
            continue
        found.append(Check(rule_words(rule), has_passed, _seen(rule, has_passed, answer, why)))
    return found


def _seen(
    rule: Assertion, has_passed: bool | None, answer: Completion, why: Mapping[str, Any] | None
) -> str:
    """What speaks for a verdict, or why there is none."""
    if rule.type in MODEL_TYPES and has_passed is not None:
        return seen_words(Reason("judged", {}))
    if why is not None:
        return seen_words(Reason(why["code"], why["params"]))
    has_answer = answer.outcome == Completion.Outcome.ANSWERED
    if rule.type in MODEL_TYPES and has_answer:
        return _("It was not judged.")
    facts = judging.facts_of(answer)
    return seen_words(
        grading.judged_plainly(rule, answer.text, facts, has_answer=has_answer).reason
    )


# --- What went wrong --------------------------------------------------------------------------


@dataclass(frozen=True)
class Trouble:
    """What happened, and what to do next; `is_for_admins` tells who can do it."""

    what: str | Promise
    next_step: str | Promise
    is_for_admins: bool = False


TROUBLES: Mapping[str, Trouble] = {
    # From kb.llm.base.ErrorKind: what a provider or the way to it said.
    "auth": Trouble(
        gettext_lazy("The provider refused the key."),
        gettext_lazy(
            "It may be wrong, expired or out of credit. An administrator enters a new key in the connection."
        ),
        is_for_admins=True,
    ),
    "not_found": Trouble(
        gettext_lazy("The provider does not know this model, or not at this address."),
        gettext_lazy(
            "The model may have been withdrawn or renamed. Check the address of the connection, then choose a model the provider lists."
        ),
        is_for_admins=True,
    ),
    "bad_request": Trouble(
        gettext_lazy("The provider did not accept the request."),
        gettext_lazy(
            "Mostly a parameter the model does not know. Compare the parameters of the target with the provider’s documentation."
        ),
        is_for_admins=True,
    ),
    "too_long": Trouble(
        gettext_lazy("The prompt with its values is longer than this model can read."),
        gettext_lazy("Shorten the test cases, or choose a model that reads more."),
    ),
    "rate_limit": Trouble(
        gettext_lazy("The provider asked us to slow down, several times in a row."),
        gettext_lazy(
            "The next run may go better. If it happens often, run less often, or lower the calls at once of the connection."
        ),
    ),
    "overloaded": Trouble(
        gettext_lazy("The provider was too busy to answer."),
        gettext_lazy("Nothing to do: the next run will try again."),
    ),
    "server": Trouble(
        gettext_lazy("Something broke on the provider’s side."),
        gettext_lazy(
            "Nothing to do: the next run will try again. If it goes on, see the provider’s status page."
        ),
    ),
    "timeout": Trouble(
        gettext_lazy("The model did not answer in time."),
        gettext_lazy(
            "The next run may go better. If it goes on, ask for shorter answers or choose a faster model."
        ),
    ),
    "connect": Trouble(
        gettext_lazy("The provider’s address could not be reached."),
        gettext_lazy(
            "Check that the address of the connection is right and that the service is running. Then try the connection."
        ),
        is_for_admins=True,
    ),
    "truncated": Trouble(
        gettext_lazy("The provider’s answer broke off on its way."),
        gettext_lazy("Nothing to do: the next run will try again."),
    ),
    "bad_reply": Trouble(
        gettext_lazy("Something answered that does not speak the language of this provider."),
        gettext_lazy(
            "A proxy or a sign-in page may stand in between, or the address lacks its last part, often /v1."
        ),
        is_for_admins=True,
    ),
    "egress": Trouble(
        gettext_lazy("Retex may not contact this address."),
        gettext_lazy(
            "Addresses inside the company are closed unless whoever operates Retex opens them in the setting RETEX_EGRESS_ALLOW."
        ),
        is_for_admins=True,
    ),
    "cancelled": Trouble(
        gettext_lazy("The run was stopped, or its connection or monitor was switched off."),
        gettext_lazy("Run it again when everything is switched on."),
    ),
    # From kb.drift.runs: how a run ended without a provider's fault.
    "worker_lost": Trouble(
        gettext_lazy("The program that carried out this run disappeared several times."),
        gettext_lazy(
            "The next run will try again. If it goes on, whoever operates Retex should look at its logs."
        ),
    ),
    "epoch_ended": Trouble(
        gettext_lazy("The prompt, the model or the test cases changed while it was under way."),
        gettext_lazy("Old answers say nothing about the new question. Record a new baseline."),
    ),
    "missed": Trouble(
        gettext_lazy("Retex was not running at that time."),
        gettext_lazy("Nothing to do: only the newest of the missed runs was caught up."),
    ),
    "no_baseline": Trouble(
        gettext_lazy("There was no baseline to compare with."),
        gettext_lazy("Record one; the runs after it will be compared."),
    ),
    "connection_off": Trouble(
        gettext_lazy("The connection to the provider was switched off."),
        gettext_lazy("An administrator can switch it on again."),
        is_for_admins=True,
    ),
    "still_running": Trouble(
        gettext_lazy("The run before it had not ended."),
        gettext_lazy("Nothing to do. If it happens often, run less often."),
    ),
    "cases_do_not_fit": Trouble(
        gettext_lazy("The prompt has changed and the test cases no longer fill all its blanks."),
        gettext_lazy(
            "Edit the test cases so that they fit the new version, then record a baseline."
        ),
    ),
    "baseline_refused": Trouble(
        gettext_lazy("Too few test cases were answered, so this did not become the baseline."),
        gettext_lazy("See below what went wrong, then record the baseline again."),
    ),
    "over_budget": Trouble(
        gettext_lazy("The budget for model calls was used up."),
        gettext_lazy("Run less often, use fewer test cases, or ask an administrator for more."),
    ),
}
UNKNOWN_TROUBLE = Trouble(
    gettext_lazy("It ended for a reason we have no words for."),
    gettext_lazy("Run it again; if it goes on, whoever operates Retex should look at its logs."),
)


def trouble(reason: str) -> Trouble:
    """What happened and what to do, for a reason a run or a provider gave."""
    return TROUBLES.get(reason, UNKNOWN_TROUBLE)


@dataclass(frozen=True)
class Stretch:
    """A piece of one of two answers laid side by side; `op` is same, delete or insert."""

    op: str
    text: str


# --- Verdicts ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class VerdictWords:
    """What the latest comparison says to somebody who has never heard of a test.

    `headline`, then `moved` (what changed, in figures) and `chance` (how likely that is by itself,
    or what comes next). `routes` tell how it was noticed, `hints` what the provider says of itself.
    """

    headline: str
    moved: str
    chance: str
    severity: str = ""
    routes: Sequence[str] = ()
    hints: Sequence[str] = ()


@dataclass(frozen=True)
class Counted:
    """Answers behind a verdict: `passed` of `judged` now, `usual` judged before; cases in all."""

    passed: int
    judged: int
    usual: int
    cases: int


def verdict_of(
    report: DriftReport | None, changes: Sequence[CaseChange], monitor: Monitor | None = None
) -> VerdictWords | None:
    """The words on a report with all its cases; None without one that was judged.

    With the monitor they also tell since when, and when it asks again.
    """
    if report is None or report.verdict == DriftReport.Verdict.NOT_JUDGED:
        return None
    counted = Counted(
        passed=sum(change.passed for change in changes),
        judged=sum(change.judged for change in changes),
        usual=sum(change.baseline_judged for change in changes),
        cases=len(changes),
    )
    return verdict_words(report, counted, monitor)


def verdict_words(
    report: DriftReport, counted: Counted, monitor: Monitor | None = None
) -> VerdictWords:
    """A headline and two short paragraphs on a judged report.

    Worse and better are said only where the report has that direction.
    """
    passes = _passes(report, counted)
    match report.verdict:
        case DriftReport.Verdict.DRIFTED:
            words = VerdictWords(
                str(_HEADLINES.get(report.direction, _HEADLINES["changed"])),
                " ".join(filter(None, [*_size(report, counted, monitor), passes])),
                " ".join(filter(None, [_main_difference(report), _night_chance(report)])),
                severity=str(_SEVERITIES.get(report.severity, "")),
            )
        case DriftReport.Verdict.SUSPECT:
            words = VerdictWords(_("Something may have changed"), passes, _asks_again(monitor))
        case _ if report.severity == DriftReport.Severity.NOTICE:
            words = VerdictWords(_("The answers are as they were"), passes, _notice(report))
        case _:
            words = VerdictWords(_("The answers are as they were"), passes, _usual(report))
    is_quiet = report.verdict == DriftReport.Verdict.STABLE
    return replace(
        words,
        routes=() if is_quiet else [str(_ROUTES[one]) for one in report.routes if one in _ROUTES],
        hints=provider_hints(report),
    )


_HEADLINES: Mapping[str, Promise] = {
    "worse": gettext_lazy("The answers have become worse"),
    "better": gettext_lazy("The answers have become better"),
    "changed": gettext_lazy("The answers have changed"),
}
_SEVERITIES: Mapping[str, Promise] = {
    "critical": gettext_lazy("Critical: look at it today"),
    "major": gettext_lazy("Major: most people would notice"),
    "minor": gettext_lazy("Minor: visible, but small"),
}
_ROUTES: Mapping[str, Promise] = {
    "tonight": gettext_lazy("noticed in one night"),
    "accumulated": gettext_lazy("added up over several nights"),
    "one_case": gettext_lazy("noticed in a single test case"),
    "audit": gettext_lazy("found by looking back over many nights"),
}


def _passes(report: DriftReport, counted: Counted) -> str:
    if not counted.judged or report.pass_rate is None or report.pass_rate_baseline is None:
        return ""
    return ngettext(
        "%(now)s of the answers pass all their checks (%(passed)s of %(judged)s); usually it is %(before)s (of %(usual)s answer).",
        "%(now)s of the answers pass all their checks (%(passed)s of %(judged)s); usually it is %(before)s (of %(usual)s answers).",
        counted.usual,
    ) % {
        "now": percent(report.pass_rate),
        "before": percent(report.pass_rate_baseline),
        "passed": whole(counted.passed),
        "judged": whole(counted.judged),
        "usual": whole(counted.usual),
    }


def _size(report: DriftReport, counted: Counted, monitor: Monitor | None) -> Iterator[str]:
    """Since when, how much less alike, and in how many cases."""
    if monitor is not None and (since := changed_since(monitor)):
        yield _("The answers changed on %(day)s.") % {"day": formats.date_format(since, "j F Y")}
    effect = report.facts.get("effect") or {}
    usual, now = effect.get("similarity_usual"), effect.get("similarity_now")
    if usual is not None and now is not None:
        yield _("Usually they are %(usual)s alike from night to night, now %(now)s.") % {
            "usual": percent(usual / 100),
            "now": percent(now / 100),
        }
    changed = len(report.changed_cases)
    if changed and counted.cases:
        yield (
            ngettext(
                "%(changed)s of %(count)s test case changed.",
                "%(changed)s of %(count)s test cases changed.",
                counted.cases,
            )
            % {"changed": whole(changed), "count": whole(counted.cases)}
        )


def changed_since(monitor: Monitor) -> datetime | None:
    """The night the drift that stands was first suspected, in the reader's time; None without one."""
    drift = monitor.memory.get("drift") or {}
    since = drift.get("since")
    return None if since is None else timezone.localtime(slot_near(since))


def _night_chance(report: DriftReport) -> str:
    """How rare such a night is when nothing has changed; nothing where another test spoke."""
    if report.p is None or report.p > RAREST_WORTH_SAYING or "tonight" not in report.routes:
        return ""
    return _("Without any change, such a night would come up %(odds)s times.") % {
        "odds": odds(report.p)
    }


def _asks_again(monitor: Monitor | None) -> str:
    if monitor is not None and monitor.confirm_at is not None:
        return _("It may still be chance: we ask again at %(time)s, and tell you only then.") % {
            "time": formats.time_format(timezone.localtime(monitor.confirm_at), "H:i")
        }
    return _("It may still be chance: the next nights decide, on fresh answers.")


def _notice(report: DriftReport) -> str:
    if report.facts.get("effect"):
        return _("A small change is certain, but too small to matter to anybody.")
    return _(
        "One night was unlike the others and did not repeat itself: a bad night of the service."
    )


def _usual(report: DriftReport) -> str:
    if report.facts.get("has_returned"):
        return _("They changed for a while and are again as before.")
    if report.facts.get("suspicious_cases"):
        return _("One test case answered unlike before, so it is asked more often for now.")
    if report.pass_rate == report.pass_rate_baseline:
        return _("Nothing moved beyond what is usual.")
    return _("Such a difference comes up by chance alone.")


# --- What differs -----------------------------------------------------------------------------

_FEATURES: Mapping[str, Promise] = {
    "characters": gettext_lazy("typical length in characters"),
    "words": gettext_lazy("typical number of words"),
    "lines": gettext_lazy("typical number of line breaks"),
    "refusal": gettext_lazy("answers that refuse"),
    "json": gettext_lazy("answers that are JSON"),
    "code_block": gettext_lazy("answers with a code block"),
    "bullets": gettext_lazy("typical number of bullet points"),
    "numbered_items": gettext_lazy("typical number of numbered points"),
    "heading": gettext_lazy("answers with headings"),
    "bold": gettext_lazy("answers with bold words"),
    "digits": gettext_lazy("share of digits"),
    "capitals": gettext_lazy("share of capital letters"),
    "punctuation": gettext_lazy("share of punctuation"),
    "other_scripts": gettext_lazy("share of accented and foreign letters"),
    "questions": gettext_lazy("typical number of questions"),
    "ends_a_sentence": gettext_lazy("answers that end with a full stop"),
    "first_person": gettext_lazy("typical number of “I”"),
    "formula": gettext_lazy("answers with formulas"),
}
"""kb.drift.features.NAMES as a reader sees them."""


def _main_difference(report: DriftReport) -> str:
    """The feature that moved most and looks different when it is written down."""
    for one in (report.facts.get("effect") or {}).get("features", ()):
        name = one["name"]
        before, after = (_feature_value(name, one[side]) for side in ("before", "after"))
        if name in _FEATURES and before != after:
            return _("Main difference: %(what)s, %(before)s → %(after)s.") % {
                "what": _FEATURES[name],
                "before": before,
                "after": after,
            }
    return ""


def _feature_value(name: str, value: float) -> str:
    return whole(round(value)) if name in features.COUNTED else percent(value)


def provider_hints(report: DriftReport) -> list[str]:
    """What the provider says about itself that was different before: a hint, never a verdict."""
    said = report.facts.get("provider_says") or {}
    templates = {
        "served_model": _("The provider now answers as %(now)s, before as %(before)s."),
        "fingerprint": _("The provider’s fingerprint is now %(now)s, before %(before)s."),
    }
    found = [
        template % {"now": ", ".join(said[name]["now"]), "before": ", ".join(said[name]["before"])}
        for name, template in templates.items()
        if name in said
    ]
    if count := len(said.get("input_tokens", {}).get("cases", ())):
        found.append(
            ngettext(
                "The same question counts another number of tokens in %(count)s test case: the provider changed something around the model.",
                "The same question counts another number of tokens in %(count)s test cases: the provider changed something around the model.",
                count,
            )
            % {"count": whole(count)}
        )
    return found


def budget_words(false_alarms: float) -> str:
    """How many false alarms the library allows itself in a year."""
    return ngettext(
        "Over the whole library about %(number)s false alarm a year is to be expected at most, however many prompts are watched.",
        "Over the whole library about %(number)s false alarms a year are to be expected at most, however many prompts are watched.",
        math.ceil(false_alarms),
    ) % {"number": formats.number_format(f"{false_alarms:g}", use_l10n=True)}


EVIDENCE_STEPS: Sequence[tuple[float, Promise]] = (
    (0.34, gettext_lazy("Far from an alarm")),
    (0.67, gettext_lazy("Some evidence, as chance brings it now and then")),
    (0.999, gettext_lazy("Close to where we would ask again")),
    (1.0, gettext_lazy("Enough to ask again before anybody is told")),
)


def evidence_words(share: float) -> str:
    """How close the evidence gathered over the nights is to a second look, from 0 to 1."""
    return str(next(words for most, words in EVIDENCE_STEPS if share <= most or most == 1.0))


NOT_JUDGED: Mapping[str, str | Promise] = {
    "too_few_cases_judged": gettext_lazy(
        "Too few test cases had answers that could be judged, so nothing is said about this run."
    ),
    "no_cases": gettext_lazy("There was no test case to compare."),
}
"""Why a run that ended well was not compared, by the reason of its report."""


def not_judged(reason: str) -> Trouble:
    """What to say about a run whose report says nothing."""
    what = NOT_JUDGED.get(reason, gettext_lazy("This run could not be compared with the baseline."))
    return Trouble(what, gettext_lazy("Look at its answers below; the next run will be compared."))


def values_of(case: TestCase, version: PromptVersion) -> list[tuple[str, str]]:
    """What a case fills in, under the names people gave the blanks; long values only in part."""
    labels = {v["name"]: v.get("label") or v["name"] for v in version.variables}
    return [
        (
            labels.get(name, name),
            value if len(value) <= LONGEST_VALUE else f"{value[:LONGEST_VALUE]} …",
        )
        for name, value in case.variables.items()
    ]
