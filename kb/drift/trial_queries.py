"""Reads about trials. A trial is its person's alone; what they keep as an example is the prompt's."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from statistics import fmean

from django.db.models import Prefetch, Q, QuerySet
from django.utils.translation import gettext as _

from accounts.models import User
from kb.core.errors import NotFound
from kb.drift.models import Completion
from kb.drift.trial_models import Trial, TrialAnswer
from kb.llm import forecast, spending
from kb.llm.base import Request
from kb.llm.models import Price, Target
from kb.prompts import template
from kb.prompts.actions import department_ids
from kb.prompts.models import Prompt, PromptVersion
from kb.prompts.queries import visible_to as prompts_visible_to

MOST_SHOWN = 20
"""Of one's own trials of a prompt; older ones are forgotten."""
MOST_MEASURED = 100
"""Latest answers whose length says how long the next will be."""


def own(person: User) -> QuerySet[Trial]:
    """The person's trials of prompts they may still read, latest first."""
    return (
        Trial.objects.filter(
            asked_by=person, version__prompt__in=prompts_visible_to(person).values("pk")
        )
        .select_related("version__prompt")
        .prefetch_related(
            Prefetch("answers", TrialAnswer.objects.select_related("target__connection"))
        )
    )


def by_id(person: User, pk: int) -> Trial:
    """One of one's own trials. Raises NotFound, also when it is somebody else's."""
    found = own(person).filter(pk=pk).first()
    if found is None:
        raise NotFound(_("There is no trial %(pk)s here.") % {"pk": pk})
    return found


def history(person: User, prompt: Prompt) -> list[Trial]:
    """One's own trials of a prompt, the latest first, at most MOST_SHOWN; texts are not loaded."""
    names = TrialAnswer.objects.only("trial", "position", "model", "outcome", "kept")
    return list(
        Trial.objects.filter(asked_by=person, version__prompt=prompt)
        .select_related("version")
        .defer("values", "version__text", "version__system")
        .prefetch_related(Prefetch("answers", names))[:MOST_SHOWN]
    )


def latest(person: User, prompt: Prompt) -> Trial | None:
    """One's last trial of a prompt."""
    return own(person).filter(version__prompt=prompt).first()


def answer_by_id(person: User, pk: int) -> TrialAnswer:
    """An answer of one's own trials. Raises NotFound, also when it is somebody else's."""
    found = _answers().filter(pk=pk, trial__in=own(person).values("pk")).first()
    if found is None:
        raise NotFound(_("There is no answer %(pk)s here.") % {"pk": pk})
    return found


def examples(prompt: Prompt) -> QuerySet[TrialAnswer]:
    """The answers kept on the page of a prompt, the latest first."""
    kept = _answers().filter(kept__isnull=False, trial__version__prompt=prompt)
    return kept.order_by("-kept", "-pk")


def example_by_id(person: User, pk: int) -> TrialAnswer:
    """An example on a prompt this person may read. Raises NotFound."""
    readable = prompts_visible_to(person).values("pk")
    kept = _answers().filter(pk=pk, kept__isnull=False, trial__version__prompt__in=readable)
    found = kept.first()
    if found is None:
        raise NotFound(_("There is no example %(pk)s here.") % {"pk": pk})
    return found


def _answers() -> QuerySet[TrialAnswer]:
    return TrialAnswer.objects.select_related("trial__version__prompt", "trial__asked_by")


# --- What it will cost -----------------------------------------------------------------------


@dataclass(frozen=True)
class Estimate:
    """What asking one target will take. `money` is None when nobody has entered a price.

    `refused_until` is the day a budget frees, None while there is room; `lacks_price` tells that a
    budget stands in the way only because the price is not known in its currency.
    """

    target: Target
    input_tokens: int
    output_tokens: int
    money: Decimal | None
    currency: str
    is_free: bool
    refusal: spending.OverBudget | None = None

    @property
    def lacks_price(self) -> bool:
        """Whether a budget refuses it for want of a price in the budget's currency."""
        return self.refusal is not None and self.refusal.cap.unit not in ("calls", self.currency)


def estimates(
    version: PromptVersion,
    values: Mapping[str, str],
    targets: Sequence[Target],
    *,
    checked: Collection[int],
    now: datetime,
) -> list[Estimate]:
    """What each target will take; those with ids in `checked` are held against the budgets as well."""
    usual = usual_output(version.prompt)
    known = prices(targets)
    department_id = min(department_ids(version.prompt), default=None)
    return [
        _estimate(
            version,
            values,
            target,
            purse=spending.purse_for(
                target,
                department_id=department_id,
                reference="estimate",
                price=known.get(target.pk),
                usual_output=usual,
            ),
            now=now if target.pk in checked else None,
        )
        for target in targets
    ]


def _estimate(
    version: PromptVersion,
    values: Mapping[str, str],
    target: Target,
    *,
    purse: spending.Purse,
    now: datetime | None,
) -> Estimate:
    request = Request((), target.model, {**version.parameters, **target.parameters})
    read = _input_tokens(version, values)
    tokens = (read, forecast.usual_tokens(request, purse.usual_output)[1])
    has_price = purse.input_price is not None
    refused = None
    if now is not None:
        kept_aside = purse.cost((read, forecast.reserved_tokens(request, purse.usual_output)[1]))
        refused = spending.refusal(purse, spending.Estimate(kept_aside), now=now)
    return Estimate(
        target=target,
        input_tokens=tokens[0],
        output_tokens=tokens[1],
        money=purse.cost(tokens) if has_price else None,
        currency=purse.currency,
        is_free=purse.is_free,
        refusal=refused,
    )


def _input_tokens(version: PromptVersion, values: Mapping[str, str]) -> int:
    variables = template.variables_from(version.variables)
    return forecast.tokens_in(
        [template.filled_length(text, values, variables) for text in (version.text, version.system)]
    )


def usual_output(prompt: Prompt) -> float | None:
    """Tokens of the latest answers to the prompt, in trials and re-runs; None before the first."""
    of_trials = TrialAnswer.objects.filter(
        trial__version__prompt=prompt, output_tokens__isnull=False
    )
    of_runs = Completion.objects.filter(run__monitor__prompt=prompt, output_tokens__isnull=False)
    measured = [
        tokens
        for rows in (of_trials, of_runs)
        for tokens in rows.order_by("-pk").values_list("output_tokens", flat=True)[:MOST_MEASURED]
        if tokens is not None
    ]
    return fmean(measured) if measured else None


def prices(targets: Sequence[Target]) -> Mapping[int, Price]:
    """Target id to the price entered for its model; targets without one are absent (one query)."""
    wanted = Q(pk__in=())
    for target in targets:
        wanted |= Q(connection=target.connection_id, model=target.model)
    known = {(price.connection_id, price.model): price for price in Price.objects.filter(wanted)}
    found = {target.pk: known.get((target.connection_id, target.model)) for target in targets}
    return {pk: price for pk, price in found.items() if price is not None}
