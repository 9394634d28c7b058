"""Monitors and their runs, as JSON both ways."""

from __future__ import annotations

from typing import Any, ClassVar

from django.conf import settings
from django.utils.translation import gettext_lazy as _
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from api.serializers.fields import (
    Choice,
    Flag,
    FreeObject,
    Many,
    Moment,
    PersonShown,
    Sent,
    Text,
    Values,
    Whole,
)
from kb.core.errors import NotFound
from kb.drift.actions import MOST_ASSERTIONS, MOST_BASELINE_REPEATS, MOST_CASES
from kb.drift.assertions import TYPES
from kb.drift.grader_queries import spent
from kb.drift.judging import reference_of
from kb.drift.models import Completion, DriftReport, Monitor, Run
from kb.drift.queries import power_of
from kb.llm.models import Target
from kb.llm.queries import target_by_id
from kb.prompts.models import Prompt
from kb.prompts.queries import by_slug


@extend_schema_field(
    {
        "type": "array",
        "maxItems": MOST_ASSERTIONS,
        "items": {
            "type": "object",
            "required": ["type"],
            "properties": {
                "type": {
                    "type": "string",
                    "description": f"One of {', '.join(TYPES)}; each also with not- before it.",
                },
                "value": {"description": "What it needs: a text, a list of texts, or bounds."},
                "threshold": {"type": "number", "description": "For the types that measure."},
            },
        },
    }
)
class Assertions(Many):
    """Rules an answer must satisfy."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(child=FreeObject(), most=MOST_ASSERTIONS, **kwargs)


class CaseSent(Sent):
    """One set of values for the variables, with what its answers must satisfy."""

    name = Text(required=False, allow_blank=True, most=120)
    variables = Values(required=False)
    assertions = Assertions(required=False)

    def shown_as(self) -> type[serializers.Serializer[Any]]:
        return CaseShown


class CaseShown(serializers.Serializer[Any]):
    """One test case in use."""

    id = serializers.IntegerField()
    name = serializers.CharField()
    variables = serializers.DictField(child=serializers.CharField())
    assertions = serializers.ListField(child=serializers.DictField())


class MonitorSent(Sent):
    """The promise to re-run a prompt on a target."""

    prompt = Text(most=100, help_text="The slug of the prompt; it cannot be changed.")
    version = Whole(
        low=1,
        required=False,
        allow_null=True,
        help_text="Null or left out: the current one, always.",
    )
    target = Whole(low=1, help_text="The id of a target.")
    schedule = Text(
        required=False,
        most=100,
        help_text="manual, hourly, nightly, weekdays, weekly, monthly, or cron with five fields.",
    )
    time_zone = Text(required=False, most=64)
    baseline_repeats = Whole(low=1, high=MOST_BASELINE_REPEATS, required=False)
    is_enabled = Flag(required=False)
    follows_current = Flag(required=False)
    cases = Many(child=CaseSent(), most=MOST_CASES)

    default_error_messages: ClassVar[dict[str, Any]] = {
        "prompt": _("There is no prompt “{value}” here."),
        "target": _("There is no target {value} in use."),
    }

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        own = super().get_fields()
        if self.partial:
            own.pop("prompt")
        return own

    def shown_as(self) -> type[serializers.Serializer[Any]]:
        return MonitorDetail

    def validate_prompt(self, slug: str) -> Prompt:
        try:
            return by_slug(self.context["person"], slug)
        except NotFound:
            self.fail("prompt", value=slug[:60])

    def validate_target(self, number: int) -> Target:
        try:
            return target_by_id(number)
        except NotFound:
            self.fail("target", value=number)


class BaselineShown(serializers.Serializer[Any]):
    """The answers a person accepted as how it should be."""

    id = serializers.IntegerField()
    accepted = Moment(allow_null=True)
    accepted_by = PersonShown(allow_null=True)
    note = serializers.CharField()


class RunRow(serializers.Serializer[Any]):
    """One pass over the cases, without its answers."""

    id = serializers.IntegerField()
    monitor = serializers.IntegerField(source="monitor_id")
    kind = Choice(Run.Kind)
    slot = Moment(help_text="The moment it is for.")
    status = serializers.SerializerMethodField(
        help_text="A run is running until it has been compared as well."
    )
    verdict = serializers.SerializerMethodField(
        allow_null=True, help_text="Null until it has been compared with a baseline."
    )
    direction = serializers.SerializerMethodField(allow_null=True)
    pass_rate_baseline = serializers.SerializerMethodField(allow_null=True)
    pass_rate = serializers.SerializerMethodField(allow_null=True)
    p_worse = serializers.SerializerMethodField(allow_null=True)
    p_better = serializers.SerializerMethodField(allow_null=True)
    p = serializers.SerializerMethodField(allow_null=True)
    severity = serializers.SerializerMethodField(allow_null=True)
    routes = serializers.SerializerMethodField()
    evidence = serializers.SerializerMethodField(allow_null=True)
    incident = serializers.SerializerMethodField(allow_null=True)
    calls = serializers.IntegerField()
    cost = serializers.FloatField(allow_null=True)
    reason = serializers.SerializerMethodField(help_text="Why it ended otherwise than done.")
    awaits_judge = serializers.BooleanField(
        help_text="It is compared once the judge, whose word alone tells of a drift, was looked at."
    )
    created = Moment()
    started = Moment(allow_null=True)
    finished = Moment(allow_null=True)

    @extend_schema_field(Choice(Run.Status))
    def get_status(self, run: Any) -> Any:
        is_compared = run.status != Run.Status.DONE or run.assessed is not None
        return run.status if is_compared else Run.Status.RUNNING

    @extend_schema_field(Choice(DriftReport.Verdict))
    def get_verdict(self, run: Any) -> Any:
        return _of_report(run, "verdict")

    @extend_schema_field(Choice(DriftReport.Direction))
    def get_direction(self, run: Any) -> Any:
        return _of_report(run, "direction") or None

    def get_pass_rate_baseline(self, run: Any) -> float | None:
        """Share of the judged answers of the baseline that passed."""
        return _share(run, "pass_rate_baseline")

    def get_pass_rate(self, run: Any) -> float | None:
        """Share of its judged answers that passed."""
        return _share(run, "pass_rate")

    def get_p_worse(self, run: Any) -> float | None:
        """Chance of so many or more failures if nothing has changed."""
        return _share(run, "p_worse")

    def get_p_better(self, run: Any) -> float | None:
        """Chance of so many or more passes if nothing has changed."""
        return _share(run, "p_better")

    def get_p(self, run: Any) -> float | None:
        """Chance of such a night, at most, if nothing has changed: texts and assertions together."""
        return _share(run, "p")

    @extend_schema_field(Choice(DriftReport.Severity))
    def get_severity(self, run: Any) -> Any:
        """How much it matters; `notice` is certain but too small to tell anybody."""
        return _of_report(run, "severity") or None

    @extend_schema_field(serializers.ListField(child=serializers.CharField()))
    def get_routes(self, run: Any) -> Any:
        """Which tests spoke: tonight, accumulated, one_case, weekly_audit."""
        return _of_report(run, "routes") or []

    def get_evidence(self, run: Any) -> float | None:
        """Evidence gathered over the nights; 1 is enough for an alarm."""
        return _share(run, "evidence")

    def get_incident(self, run: Any) -> int | None:
        """The incident of the model it belongs to."""
        found: int | None = _of_report(run, "incident_id")
        return found

    def get_reason(self, run: Any) -> str:
        return str(run.reason or _of_report(run, "reason") or "")


class ChangedCase(serializers.Serializer[Any]):
    """A case whose answers changed, in whether they pass or in what they say.

    Figures are null where they are not known: similarity before anything was suspected, rates where
    nothing was judged.
    """

    id = serializers.IntegerField()
    name = serializers.CharField()
    pass_rate_baseline = serializers.FloatField(allow_null=True)
    pass_rate = serializers.FloatField(allow_null=True)
    similarity_baseline = serializers.FloatField(
        allow_null=True, help_text="How alike the usual answers are, 0 to 100."
    )
    similarity = serializers.FloatField(
        allow_null=True, help_text="How alike the answers of now are to the usual ones, 0 to 100."
    )


class Judging(serializers.Serializer[Any]):
    """What one model that judges took for the answers of a run."""

    model = serializers.CharField()
    calls = serializers.IntegerField()
    input_tokens = serializers.IntegerField()
    output_tokens = serializers.IntegerField()
    cost = serializers.FloatField(allow_null=True)
    currency = serializers.CharField()


class CompletionShown(serializers.Serializer[Any]):
    """One answer of the model, or why there is none."""

    case = serializers.IntegerField(source="case_id")
    case_name = serializers.CharField(source="case.name")
    session = serializers.IntegerField(help_text="1: taken later, to confirm a suspicion.")
    repeat = serializers.IntegerField()
    outcome = Choice(Completion.Outcome)
    text = serializers.CharField()
    passed = serializers.BooleanField(source="is_passed", allow_null=True)
    verdicts = serializers.ListField(
        child=serializers.BooleanField(allow_null=True),
        help_text="One per assertion of the case; null where it was not judged.",
    )
    not_judged = serializers.SerializerMethodField(
        help_text="One per assertion a model decides: why it was not judged, or null for a verdict."
    )
    model = serializers.CharField(
        source="served_model", help_text="The model the vendor says it used."
    )
    fingerprint = serializers.CharField()
    finish = serializers.CharField()
    input_tokens = serializers.IntegerField(allow_null=True)
    output_tokens = serializers.IntegerField(allow_null=True)
    latency_ms = serializers.IntegerField(allow_null=True)
    cost = serializers.FloatField(allow_null=True)
    error_kind = serializers.CharField()
    error = serializers.CharField()

    @extend_schema_field(serializers.ListField(child=serializers.CharField(allow_null=True)))
    def get_not_judged(self, completion: Any) -> list[str | None]:
        """Codes such as judges_disagree; one that could not be asked is judge_away with its kind."""
        return [why and _why(why) for why in completion.not_judged]


def _why(why: Any) -> str:
    kind = why["params"].get("kind")
    return f"{why['code']}:{kind}" if kind else str(why["code"])


class RunShown(RunRow):
    """One pass over the cases, with its answers."""

    changed_cases = serializers.SerializerMethodField()
    judging = serializers.SerializerMethodField()
    facts = serializers.SerializerMethodField()
    completions = serializers.SerializerMethodField()

    def get_pass_rate(self, run: Any) -> float | None:
        """Share of its judged answers that passed; told of runs without a verdict as well."""
        rate = _share(run, "pass_rate")
        told: float | None = self.context["pass_rate"] if rate is None else rate
        return told

    @extend_schema_field(ChangedCase(many=True))
    def get_changed_cases(self, run: Any) -> list[dict[str, Any]]:
        """The cases whose answers changed, the worst first."""
        names = {answer.case_id: answer.case.name for answer in self.context["completions"]}
        effect = (_of_report(run, "facts") or {}).get("effect") or {}
        moved = {one["case"]: one for one in effect.get("cases", ())}
        found = []
        for pk in _of_report(run, "changed_cases") or ():
            one = moved.get(pk, {})
            found.append(
                {
                    "id": pk,
                    "name": names.get(pk, ""),
                    "pass_rate_baseline": one.get("pass_rate_usual"),
                    "pass_rate": one.get("pass_rate_now"),
                    "similarity_baseline": one.get("similarity_usual"),
                    "similarity": one.get("similarity_now"),
                }
            )
        return found

    @extend_schema_field(Judging(many=True))
    def get_judging(self, run: Any) -> list[dict[str, Any]]:
        """What the models that judge took for its answers, by model."""
        return [
            {
                "model": one.model,
                "calls": one.calls,
                "input_tokens": one.input_tokens,
                "output_tokens": one.output_tokens,
                "cost": float(one.cost) if one.currency else None,
                "currency": one.currency,
            }
            for one in spent(reference_of(run))
        ]

    @extend_schema_field(FreeObject())
    def get_facts(self, run: Any) -> Any:
        """What explains the verdict: figures and names."""
        return _of_report(run, "facts") or {}

    @extend_schema_field(CompletionShown(many=True))
    def get_completions(self, run: Any) -> Any:
        """Every answer so far, by case and repeat."""
        return CompletionShown(self.context["completions"], many=True).data


class MonitorShown(serializers.Serializer[Any]):
    """The standing promise to re-run one version on one target."""

    id = serializers.IntegerField()
    prompt = serializers.CharField(source="prompt.slug")
    version = serializers.IntegerField(source="version.number")
    follows_current = serializers.BooleanField()
    target = serializers.IntegerField(source="target_id")
    model = serializers.CharField(source="target.model")
    connection_name = serializers.CharField(source="target.connection.name")
    is_simulated = serializers.SerializerMethodField()
    owner = PersonShown(allow_null=True)
    schedule = serializers.CharField()
    time_zone = serializers.CharField()
    baseline_repeats = serializers.IntegerField()
    is_enabled = serializers.BooleanField()
    status = Choice(Monitor.Status)
    status_since = Moment()
    halt = serializers.CharField(help_text="Why it does not run although it is enabled, or empty.")
    missed_runs = serializers.IntegerField(help_text="Runs in a row that could not be judged.")
    baseline = BaselineShown(allow_null=True)
    next_slot = Moment(allow_null=True)
    last_run = serializers.SerializerMethodField(allow_null=True)
    cases = CaseShown(many=True, source="cases_in_use")
    created = Moment()

    def get_is_simulated(self, monitor: Any) -> bool:
        return bool(monitor.target.connection.provider == "simulated")

    @extend_schema_field(RunRow)
    def get_last_run(self, monitor: Any) -> Any:
        run = self.context["last_runs"].get(monitor.pk)
        return RunRow(run).data if run else None


class FallShown(serializers.Serializer[Any]):
    """A fall of the pass rate, and when it would be noticed."""

    rate = serializers.FloatField(help_text="The pass rate it falls to, from 0 to 1.")
    nights = serializers.IntegerField(
        allow_null=True, help_text="By which run it would be noticed; null: probably not soon."
    )


class PowerShown(serializers.Serializer[Any]):
    """What a monitor would notice with the baseline it has. A night is one of its runs.

    The falls are measured on the answers of the baseline, once, by a worker: until `is_known`,
    and where no answer was judged, `usual`, `noticed` and `missed` are null.
    """

    is_known = serializers.BooleanField()
    usual = serializers.FloatField(allow_null=True, help_text="The pass rate of the baseline.")
    noticed = FallShown(allow_null=True, help_text="The smallest fall that would be noticed.")
    missed = FallShown(allow_null=True, help_text="The largest fall that probably would not.")
    smallest_p = serializers.FloatField(
        help_text="Chance, without any change, of the clearest night there can be."
    )
    nights_to_full_change = serializers.IntegerField(
        allow_null=True,
        help_text="The night a change of all answers would be told; null: not within three weeks.",
    )


class MonitorDetail(MonitorShown):
    """One monitor, with what it would notice."""

    power = serializers.SerializerMethodField(
        allow_null=True, help_text="Null while there is no whole baseline."
    )

    @extend_schema_field(PowerShown)
    def get_power(self, monitor: Any) -> Any:
        found = power_of(monitor)
        return PowerShown(found).data if found else None


class MonitorQuery(Sent):
    """Which monitors."""

    prompt = Text(required=False, most=100)
    status = Many(child=Choice(Monitor.Status), required=False)


class RunAsked(Sent):
    """A run to be queued now."""

    as_of = Moment(
        required=False,
        help_text="The moment the run is for. Only where the setting RETEX_ALLOW_CLOCK is on.",
    )

    default_error_messages: ClassVar[dict[str, Any]] = {
        "clock": _("Choosing the moment needs the setting RETEX_ALLOW_CLOCK; leave as_of out.")
    }

    def validate_as_of(self, moment: Any) -> Any:
        if not settings.RETEX_ALLOW_CLOCK:
            self.fail("clock")
        return moment


class BaselineAsked(RunAsked):
    """A baseline to be recorded."""

    over_nights = Flag(
        required=False,
        help_text="Learn from the next nights, one answer a night, instead of recording all now.",
    )


class AcceptSent(Sent):
    """Why the answers of today are how it should be."""

    note = Text(required=False, allow_blank=True, most=300)


class Queued(serializers.Serializer[Any]):
    """A run that waits for a worker."""

    run = serializers.IntegerField(help_text="Its id; poll /runs/{id}/ until it has finished.")


def _of_report(run: Any, name: str) -> Any:
    report = getattr(run, "report", None)
    return getattr(report, name) if report is not None else None


def _share(run: Any, name: str) -> float | None:
    share: float | None = _of_report(run, name)
    return share
