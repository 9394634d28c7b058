"""What machines say about runs, checks and providers, in the words of people."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal

from django.utils import formats
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from kb.drift import assertions
from kb.drift.assertions import MODEL_TYPES, Assertion, Facts, Reason
from kb.drift.models import Completion, DriftReport, TestCase
from kb.drift.queries import CaseChange
from kb.forms.check_words import rule_words, seen_words, whole
from kb.prompts.models import PromptVersion
from kb.templatetags.retex import percent

RAREST = 1_000_000
"""Beyond one in a million a chance is no longer told apart: the model behind it is not that exact."""
SIGNIFICANT_DIGITS = 2
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


def seconds(milliseconds: int | None) -> str:
    """A wait, '' for an unknown one: '1.4 s'."""
    if milliseconds is None:
        return ""
    if milliseconds < SHORTEST_MS:
        return _("under 0.1 s")
    return f"{formats.number_format(round(milliseconds / 1000, 1), decimal_pos=1, use_l10n=True)}\u00a0s"


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
    return known.get(text) or _("at times of its own (%(cron)s)") % {"cron": text}


# --- Checks -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Check:
    """One rule beside one answer: whether it holds (None: not judged) and what was seen."""

    rule: str
    has_passed: bool | None
    seen: str


def checks_of(case: TestCase, answer: Completion) -> list[Check]:
    """The rules of a case with the verdicts on one of its answers and what can be seen in it."""
    facts = Facts(finish=answer.finish or None, latency_ms=answer.latency_ms, cost=answer.cost)
    found = []
    for item, has_passed in zip(case.assertions, answer.verdicts, strict=False):
        rule = assertions.parse(item)
        seen = _seen(rule, has_passed, answer.text, facts)
        found.append(Check(rule_words(rule), has_passed, seen))
    return found


def _seen(rule: Assertion, has_passed: bool | None, text: str, facts: Facts) -> str:
    """What speaks for a verdict; nothing where none was given."""
    if has_passed is None:
        return ""
    if rule.type in MODEL_TYPES:
        return seen_words(Reason("judged", {}))
    return seen_words(assertions.check(rule, text, facts).reason)


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
    """What the latest comparison says: a headline, what moved, and how likely that is by chance."""

    headline: str
    moved: str
    chance: str


def verdict_words(report: DriftReport, *, passed: int, judged: int, usual: int) -> VerdictWords:
    """Two sentences on a judged report; `passed` of `judged` answers now, `usual` in the baseline.

    Worse and better are said only where the report has a direction.
    """
    moved = _moved(report, passed, judged, usual)
    if report.verdict == DriftReport.Verdict.SUSPECT:
        return VerdictWords(
            _("Something may have changed"),
            moved,
            _("It may still be chance; the next runs will tell."),
        )
    if report.verdict == DriftReport.Verdict.STABLE:
        return VerdictWords(_("The answers are as they were"), moved, _stable_chance(report))
    if report.direction == DriftReport.Direction.WORSE:
        chance = _("Had nothing changed, so few passes would come up %(odds)s times.")
        return VerdictWords(
            _("The answers have become worse"),
            moved,
            chance % {"odds": odds(report.p_worse or 0.0)},
        )
    if report.direction == DriftReport.Direction.BETTER:
        chance = _("Had nothing changed, so many passes would come up %(odds)s times.")
        return VerdictWords(
            _("The answers have become better"),
            moved,
            chance % {"odds": odds(report.p_better or 0.0)},
        )
    return VerdictWords(_("The answers have changed"), moved, "")


def verdict_of(report: DriftReport | None, changes: Sequence[CaseChange]) -> VerdictWords | None:
    """The words on a report with all its cases; None without one that was judged."""
    if report is None or report.verdict == DriftReport.Verdict.NOT_JUDGED:
        return None
    return verdict_words(
        report,
        passed=sum(change.passed for change in changes),
        judged=sum(change.judged for change in changes),
        usual=sum(change.baseline_judged for change in changes),
    )


def _moved(report: DriftReport, passed: int, judged: int, usual: int) -> str:
    words = {
        "now": percent(report.pass_rate),
        "before": percent(report.pass_rate_baseline),
        "passed": whole(passed),
        "judged": whole(judged),
        "usual": whole(usual),
    }
    return (
        ngettext(
            "%(now)s of the answers pass all their checks (%(passed)s of %(judged)s); in the baseline it was %(before)s (of %(usual)s answer).",
            "%(now)s of the answers pass all their checks (%(passed)s of %(judged)s); in the baseline it was %(before)s (of %(usual)s answers).",
            usual,
        )
        % words
    )


def _stable_chance(report: DriftReport) -> str:
    if report.reason == "too_few_answers_to_tell":
        return _("But there are too few answers for any change to show; add test cases.")
    if report.pass_rate == report.pass_rate_baseline:
        return _("Nothing moved.")
    return _("Such a difference comes up by chance alone.")


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
