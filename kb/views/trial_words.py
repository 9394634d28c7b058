"""What trials cost, what came back and what went wrong, in the words of people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from kb.drift import trials
from kb.drift.trial_models import Trial, TrialAnswer
from kb.drift.trial_queries import Estimate
from kb.prompts.models import PromptVersion
from kb.views import drift_words
from kb.views.drift_words import LONGEST_VALUE, Trouble, about_money

_AGAIN = gettext_lazy("Try again in a moment, or choose another model.")
TROUBLES: Mapping[str, Trouble] = {
    "too_long": Trouble(
        gettext_lazy("The prompt with its values is longer than this model can read."),
        gettext_lazy("Shorten what you filled in, or choose a model that reads more."),
    ),
    "rate_limit": Trouble(gettext_lazy("The provider asked us to slow down."), _AGAIN),
    "rate_limited": Trouble(
        gettext_lazy("So many calls were under way that this one found no place."), _AGAIN
    ),
    "unavailable": Trouble(
        gettext_lazy("The provider failed several times in a row and is left alone for a while."),
        _AGAIN,
    ),
    "overloaded": Trouble(gettext_lazy("The provider was too busy to answer."), _AGAIN),
    "server": Trouble(gettext_lazy("Something broke on the provider’s side."), _AGAIN),
    "timeout": Trouble(gettext_lazy("The model did not answer in time."), _AGAIN),
    "truncated": Trouble(gettext_lazy("The provider’s answer broke off on its way."), _AGAIN),
    "over_budget": Trouble(
        gettext_lazy("The budget for model calls leaves no room for this one."),
        gettext_lazy("Nothing was asked and nothing paid. An administrator can raise the budget."),
    ),
    trials.CANCELLED: Trouble(
        gettext_lazy("Stopped before an answer came."),
        gettext_lazy("You can ask again at any time."),
    ),
    trials.WORKER_LOST: Trouble(
        gettext_lazy("The program that asks the models disappeared twice."),
        gettext_lazy("Ask again. If it goes on, whoever operates Retex should look at its logs."),
    ),
    trials.NO_WORKER: Trouble(
        gettext_lazy("Nobody took it up for an hour, so it was not asked any more."),
        gettext_lazy("Ask again. If it goes on, whoever operates Retex should look at its logs."),
    ),
}
"""What a trial says otherwise than a run, by the kind of an error or the reason of an end."""


def trouble(reason: str) -> Trouble:
    """What happened and what to do, for a reason a trial or a provider gave."""
    return TROUBLES.get(reason) or drift_words.trouble(reason)


def trouble_of(trial: Trial, answer: TrialAnswer) -> Trouble | None:
    """Why a place of a trial holds no answer; None for one that does, or still may."""
    if answer.outcome == TrialAnswer.Outcome.MISSING:
        return trouble(answer.error_kind)
    if answer.outcome != TrialAnswer.Outcome.WAITING or trial.status in Trial.UNDER_WAY:
        return None
    # Ended with an empty place: whatever ended the trial, or the model that was deleted meanwhile.
    return trouble(trial.reason or "not_found")


def cost_words(estimate: Estimate) -> str:
    """About what asking one model costs."""
    if estimate.is_free:
        return _("costs nothing")
    if estimate.money is None:
        return _("price not known")
    return about_money(estimate.money, estimate.currency)


def total_words(estimates: Sequence[Estimate]) -> str:
    """About what asking these models costs together, one sum for each currency; '' when unknown."""
    if any(estimate.money is None and not estimate.is_free for estimate in estimates):
        return ""
    sums: dict[str, Decimal] = {}
    for estimate in estimates:
        if estimate.money is not None:
            sums[estimate.currency] = sums.get(estimate.currency, Decimal(0)) + estimate.money
    return " + ".join(about_money(amount, currency) for currency, amount in sums.items())


def refusal_words(estimate: Estimate) -> str:
    """Why a budget leaves no room for a model, and when it will; '' while there is room."""
    if estimate.refusal is None:
        return ""
    if estimate.lacks_price:
        return _(
            "%(model)s: there is a budget, but no price to count against it. An administrator can enter one."
        ) % {"model": estimate.target.model}
    day = drift_words.day(estimate.refusal.frees, "j F Y")
    return _("%(model)s: the budget leaves no room until %(day)s.") % {
        "model": estimate.target.model,
        "day": day,
    }


def filled_in(version: PromptVersion, values: Mapping[str, str]) -> list[tuple[str, str]]:
    """What was filled in, under the names people gave the blanks; long values only in part."""
    labels = {str(v["name"]): str(v.get("label") or v["name"]) for v in version.variables}
    return [
        (
            labels.get(name, name),
            value if len(value) <= LONGEST_VALUE else f"{value[:LONGEST_VALUE]} …",
        )
        for name, value in values.items()
        if value
    ]
