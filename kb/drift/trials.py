"""Trials from their request to their end: a person has a version asked of a few models at once.

As with runs, rows are the truth. A trial waits as a row with an empty place for each answer, is
claimed by one conditional update, keeps a short lease alive while it works, and ends in one final
state. A filled place is never asked for again, so a killed worker repeats at most the calls that
were under way.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from asgiref.sync import sync_to_async
from django.db import transaction
from django.db.models import F
from django.utils.translation import gettext as _

from accounts.models import User
from kb.core import markdown
from kb.core.errors import Conflict, Invalid, NotAllowed
from kb.core.words import clean_text
from kb.drift import rules, runs, trial_queries
from kb.drift.leases import LEASE, kept_alive
from kb.drift.trial_models import Trial, TrialAnswer
from kb.llm import clients, spending
from kb.llm.base import LLMError, Provider, Reply, Request
from kb.llm.models import Connection, Price, Target
from kb.prompts import template
from kb.prompts.actions import department_ids
from kb.prompts.models import Prompt, PromptVersion

ASKING_SECONDS = 3 * 60.0
"""How long the calls of one trial may take together; below the soft limit of its task (4 min)."""
MOST_ATTEMPTS = 2
"""How often a trial is begun after its worker died: somebody waits for it and can ask again."""
PATIENCE = timedelta(hours=1)
"""A trial no worker took for so long is not asked any more: nobody waits, and it would cost."""
MOST_TARGETS = 4
"""Answers that can be read side by side."""
MOST_UNDER_WAY = 3
"""Trials of one person at a time."""
LONGEST_VALUES = 200_000
"""Characters of all values of a trial together, as in a test case."""
MOST_KEPT = 5
"""Examples of an answer on the page of a prompt."""

WORKER_LOST, NO_WORKER, CANCELLED = "worker_lost", "no_worker", "cancelled"


@transaction.atomic
def request(
    *,
    version: PromptVersion,
    targets: Sequence[Target],
    values: Mapping[str, str],
    by: User,
    now: datetime,
    most_under_way: int = MOST_UNDER_WAY,
) -> Trial:
    """Write down a trial for a worker to find. Older ones than a person is shown are forgotten.

    Raises NotAllowed for who may read but not spend, Invalid naming every wrong input (`targets`,
    `values.NAME`), Conflict while too many of the person's trials are under way.
    """
    must_try(by, version.prompt)
    kept = {str(name): clean_text(str(value)) for name, value in values.items()}
    wrong = _wrong_targets(targets) | _wrong_values(version, kept)
    if wrong:
        raise Invalid(next(iter(wrong.values())), fields=wrong)
    # The person's row lets one request after the other count what is under way.
    User.objects.select_for_update().get(pk=by.pk)
    if Trial.objects.filter(asked_by=by, status__in=Trial.UNDER_WAY).count() >= most_under_way:
        raise Conflict(
            _("%(count)s of your trials are under way; wait for one of them or stop it.")
            % {"count": most_under_way}
        )
    trial = Trial.objects.create(version=version, asked_by=by, values=kept, created=now)
    TrialAnswer.objects.bulk_create(
        TrialAnswer(
            trial=trial,
            position=position,
            target=target,
            model=target.model,
            connection_name=target.connection.name,
            is_simulated=target.connection.provider == clients.SIMULATED,
        )
        for position, target in enumerate(targets)
    )
    _forget_older(by, version.prompt)
    return trial


def must_try(by: User, prompt: Prompt) -> None:
    """Refuse who may not have models asked. Raises NotAllowed."""
    if not rules.can_try(by, prompt):
        raise NotAllowed(
            _(
                "Trying a prompt asks a model, and that costs the company money, so it takes the author role. You can copy the prompt and use it in your own tool; to try it here, ask an administrator for the author role."
            )
        )


def waiting_trials(*, most: int = 200) -> list[int]:
    """Ids of trials nobody works on, oldest first."""
    return list(
        Trial.objects.filter(status=Trial.Status.QUEUED)
        .order_by("created", "pk")
        .values_list("pk", flat=True)[:most]
    )


def reclaim(*, now: datetime) -> tuple[int, int]:
    """Give trials of dead workers back, or end them and those nobody took; (given back, ended)."""
    ended = 0
    for trial in Trial.objects.filter(status=Trial.Status.QUEUED, created__lt=now - PATIENCE):
        ended += _end(trial, Trial.Status.TIMEOUT, NO_WORKER, now)
    lost = Trial.objects.filter(status=Trial.Status.RUNNING, lease_ends__lt=now)
    for trial in lost.filter(attempt__gte=MOST_ATTEMPTS):
        ended += _end(trial, Trial.Status.TIMEOUT, WORKER_LOST, now)
    returned = lost.filter(attempt__lt=MOST_ATTEMPTS).update(
        status=Trial.Status.QUEUED, lease_ends=None
    )
    return returned, ended


def claim(trial_id: int, *, now: datetime) -> Trial | None:
    """Take a waiting trial; None when another worker was first or it has ended."""
    taken = Trial.objects.filter(pk=trial_id, status=Trial.Status.QUEUED).update(
        status=Trial.Status.RUNNING,
        started=now,
        lease_ends=now + LEASE,
        attempt=F("attempt") + 1,
    )
    if not taken:
        return None
    return Trial.objects.select_related("version__prompt").get(pk=trial_id)


@dataclass(frozen=True)
class _Job:
    """One answer to get: its place, whom to ask what, and who pays."""

    answer: TrialAnswer
    connection: Connection
    request: Request
    purse: spending.Purse
    price: Price | None


async def execute(
    trial: Trial,
    *,
    open_provider: Callable[[Connection], Provider],
    clock: Callable[[], datetime],
    budget_seconds: float = ASKING_SECONDS,
) -> None:
    """Fill the empty places of a claimed trial and end it. Safe to call again after a crash.

    All models are asked at once, outside any transaction, and every answer is written down as it
    comes. `open_provider` may raise LLMError; that is then the answer of its model alone. Ends as
    done when anything was answered, else by what went wrong.
    """
    deadline = asyncio.get_running_loop().time() + budget_seconds
    jobs = await sync_to_async(_jobs)(trial)

    async def renew() -> bool:
        return await sync_to_async(_renew)(trial, clock())

    async def answer(job: _Job) -> None:
        async def gate(_attempt: int) -> None:
            """Before anything leaves: is the trial still ours, the connection still switched on?"""
            if lost.is_set() or not await sync_to_async(_may_call)(trial, job.answer):
                raise LLMError("cancelled", "Stopped or switched off.", permanent=True)

        try:
            provider = await sync_to_async(open_provider)(job.connection)
            metered = spending.Metered(provider, job.purse, clock)
            # The provider's clock is time.monotonic, and so is the loop's.
            reply = await metered.complete(job.request, deadline=deadline, gate=gate)
        except LLMError as refused:
            await sync_to_async(_keep_error)(trial, job, refused, clock())
        else:
            await sync_to_async(_keep_reply)(job, reply, clock())

    async with kept_alive(renew) as lost:
        await asyncio.gather(*(answer(job) for job in jobs))
    await sync_to_async(_finish)(trial, clock())


def cancel(*, trial: Trial, by: User, now: datetime) -> bool:
    """Stop one's own waiting or running trial; False when it has ended already.

    What was answered stays, and so does an answer that was on its way, as it is paid for.
    """
    _must_own(trial, by)
    return bool(
        Trial.objects.filter(pk=trial.pk, status__in=Trial.UNDER_WAY).update(
            status=Trial.Status.CANCELLED, reason=CANCELLED, finished=now, lease_ends=None
        )
    )


@transaction.atomic
def delete(*, trial: Trial, by: User) -> None:
    """Forget one's own trial. Raises NotAllowed, Conflict while it is under way or kept from."""
    _must_own(trial, by)
    row = Trial.objects.select_for_update().filter(pk=trial.pk).first()
    if row is None:
        return
    if row.status in Trial.UNDER_WAY:
        raise Conflict(_("This trial has not ended yet; stop it first."))
    if row.answers.filter(kept__isnull=False).exists():
        raise Conflict(
            _(
                "An answer of this trial stands on the prompt’s page as an example; remove it there first."
            )
        )
    row.delete()


@transaction.atomic
def keep_as_example(*, answer: TrialAnswer, by: User, now: datetime) -> None:
    """Show an answer of one's own trial on the prompt's page. Twice is once.

    Raises NotAllowed, Invalid for a place without a text, Conflict when there are MOST_KEPT already.
    """
    prompt = answer.trial.version.prompt
    _must_own(answer.trial, by)
    must_try(by, prompt)
    Prompt.objects.select_for_update().get(pk=prompt.pk)
    if answer.outcome not in TrialAnswer.WITH_TEXT:
        raise Invalid(_("There is no answer of %(model)s to keep.") % {"model": answer.model})
    others = trial_queries.examples(prompt).exclude(pk=answer.pk)
    if others.count() >= MOST_KEPT:
        raise Conflict(
            _("“%(title)s” has %(most)s examples already; remove one from its page first.")
            % {"title": prompt.title, "most": MOST_KEPT}
        )
    TrialAnswer.objects.filter(pk=answer.pk, kept=None).update(kept=now)


def remove_example(*, answer: TrialAnswer, by: User) -> None:
    """Take an example off the prompt's page; the trial keeps its answer. Raises NotAllowed."""
    if not rules.can_remove_example(by, answer, department_ids(answer.trial.version.prompt)):
        raise NotAllowed(
            _("Only who kept this example, the author of the prompt or a curator can remove it.")
        )
    TrialAnswer.objects.filter(pk=answer.pk).update(kept=None)


# --- inside ----------------------------------------------------------------------------------


def _wrong_targets(targets: Sequence[Target]) -> dict[str, str]:
    if not targets:
        return {"targets": _("Choose at least one model.")}
    if len({target.pk for target in targets}) != len(targets):
        return {"targets": _("Choose each model once.")}
    if len(targets) > MOST_TARGETS:
        message = _("Choose at most %(most)s models; these are %(count)s.")
        return {"targets": message % {"most": MOST_TARGETS, "count": len(targets)}}
    off = next((target for target in targets if not target.connection.is_enabled), None)
    if off is not None:
        message = _("The connection “%(name)s” is switched off.") % {"name": off.connection.name}
        return {"targets": message}
    return {}


def _wrong_values(version: PromptVersion, values: Mapping[str, str]) -> dict[str, str]:
    known = {str(variable["name"]) for variable in version.variables}
    wrong = {
        f"values.{name}": _("The prompt has no blank of this name; it has: %(known)s.")
        % {"known": ", ".join(sorted(known)) or "–"}
        for name in values
        if name not in known
    }
    count = sum(map(len, values.values()))
    if count > LONGEST_VALUES:
        longest = max(values, key=lambda name: len(values[name]))
        message = _("The values have %(count)s characters together; at most %(limit)s fit.")
        wrong[f"values.{longest}"] = message % {"count": count, "limit": LONGEST_VALUES}
    wrong |= {
        f"values.{name}": _("The prompt cannot be asked without this.")
        for name in _missing(version, values)
    }
    if not wrong and (problem := runs.problem_with(version, values)):
        wrong["values"] = problem
    return wrong


def _missing(version: PromptVersion, values: Mapping[str, str]) -> list[str]:
    """The blanks nobody filled and that have no usual value."""
    variables = template.variables_from(version.variables)
    names: list[str] = []
    for text in (version.text, version.system):
        try:
            template.fill(text, values, variables)
        except template.MissingVariables as error:
            names += error.names
    return list(dict.fromkeys(names))


def _forget_older(by: User, prompt: Prompt) -> None:
    """What a person is not shown any more is not kept either, unless an answer is an example."""
    own = Trial.objects.filter(asked_by=by, version__prompt=prompt)
    shown = list(own.values_list("pk", flat=True)[: trial_queries.MOST_SHOWN])
    over = own.exclude(pk__in=shown).exclude(status__in=Trial.UNDER_WAY)
    over.exclude(answers__kept__isnull=False).delete()


def _must_own(trial: Trial, by: User) -> None:
    if trial.asked_by_id != by.pk:
        raise NotAllowed(_("This trial is somebody else’s."))


def _jobs(trial: Trial) -> list[_Job]:
    """What is still to be asked. A target that is gone leaves its place empty."""
    version = trial.version
    department_id = min(department_ids(version.prompt), default=None)
    usual = trial_queries.usual_output(version.prompt)
    waiting = trial.answers.select_related("target__connection").filter(
        outcome=TrialAnswer.Outcome.WAITING, target__isnull=False
    )
    prices = trial_queries.prices([answer.target for answer in waiting if answer.target])
    jobs = []
    for answer in waiting:
        assert answer.target is not None  # noqa: S101 - the filter says so
        price = prices.get(answer.target.pk)
        parameters = clients.parameters_for(
            answer.target, version.parameters, slot=trial.created, repeat=trial.pk
        )
        jobs.append(
            _Job(
                answer=answer,
                connection=answer.target.connection,
                request=Request(
                    runs.messages_of(version, trial.values), answer.target.model, parameters
                ),
                purse=spending.purse_for(
                    answer.target,
                    department_id=department_id,
                    reference=f"trial:{trial.pk}",
                    price=price,
                    usual_output=usual,
                ),
                price=price,
            )
        )
    return jobs


def _renew(trial: Trial, now: datetime) -> bool:
    mine = Trial.objects.filter(pk=trial.pk, status=Trial.Status.RUNNING, attempt=trial.attempt)
    return mine.update(lease_ends=now + LEASE) == 1


def _may_call(trial: Trial, answer: TrialAnswer) -> bool:
    """Whether the trial is still this worker's, its place empty and the connection switched on."""
    return TrialAnswer.objects.filter(
        pk=answer.pk,
        outcome=TrialAnswer.Outcome.WAITING,
        trial__status=Trial.Status.RUNNING,
        trial__attempt=trial.attempt,
        target__connection__is_enabled=True,
    ).exists()


def _keep_reply(job: _Job, reply: Reply, now: datetime) -> None:
    """Fill the place unless it is filled: a worker that was thought dead may come back."""
    TrialAnswer.objects.filter(pk=job.answer.pk, outcome=TrialAnswer.Outcome.WAITING).update(
        outcome=runs.outcome_of(reply),
        text=clean_text(reply.text),
        html=markdown.render(reply.text),
        served_model=reply.model[:120],
        fingerprint=(reply.fingerprint or "")[:120],
        finish=reply.finish,
        input_tokens=reply.input_tokens,
        output_tokens=reply.output_tokens,
        latency_ms=reply.latency_ms,
        cost=clients.cost(job.price, reply.input_tokens, reply.output_tokens),
        currency=job.price.currency if job.price else "",
        calls=reply.attempts,
        finished=now,
    )


def _keep_error(trial: Trial, job: _Job, error: LLMError, now: datetime) -> None:
    """Say why there is no answer, as long as the trial is this worker's."""
    TrialAnswer.objects.filter(
        pk=job.answer.pk,
        outcome=TrialAnswer.Outcome.WAITING,
        trial__status=Trial.Status.RUNNING,
        trial__attempt=trial.attempt,
    ).update(
        outcome=TrialAnswer.Outcome.MISSING,
        error_kind=error.kind,
        error=error.message[:500],
        calls=error.attempts,
        finished=now,
    )


_STATUS_OF_KIND: Mapping[str, Trial.Status] = {
    "timeout": Trial.Status.TIMEOUT,
    "cancelled": Trial.Status.CANCELLED,
    "over_budget": Trial.Status.OVER_BUDGET,
}


def _finish(trial: Trial, now: datetime) -> None:
    """End a trial by what its places hold; one whose target is gone holds nothing."""
    rows = list(trial.answers.values_list("outcome", "error_kind"))
    silent = (TrialAnswer.Outcome.MISSING, TrialAnswer.Outcome.WAITING)
    if any(outcome not in silent for outcome, _kind in rows):
        _end(trial, Trial.Status.DONE, "", now)
        return
    kinds = Counter(kind or "not_found" for _outcome, kind in rows)
    kind = kinds.most_common(1)[0][0]
    _end(trial, _STATUS_OF_KIND.get(kind, Trial.Status.FAILED), kind, now)


def _end(trial: Trial, status: str, reason: str, now: datetime) -> int:
    """Put a trial into a final state, once; 0 when it is no longer as this row says, else 1."""
    same = Trial.objects.filter(pk=trial.pk, status=trial.status, attempt=trial.attempt)
    return same.update(status=status, reason=reason, finished=now, lease_ends=None)
