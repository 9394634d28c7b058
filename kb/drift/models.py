"""Monitors, their test cases and runs, and what a comparison with the baseline said."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from kb.llm.models import Target
from kb.prompts.models import Prompt, PromptVersion


class Monitor(models.Model):
    """The standing promise to re-run one version on one target."""

    class Status(models.TextChoices):
        NEW = "new", _("No baseline yet")
        LEARNING = "learning", _("Learning")
        STABLE = "stable", _("Stable")
        SUSPECT = "suspect", _("Suspect")
        DRIFTED = "drifted", _("Drifted")

    prompt = models.ForeignKey(Prompt, models.CASCADE, related_name="monitors")
    version = models.ForeignKey(PromptVersion, models.CASCADE, related_name="monitors")
    target = models.ForeignKey(Target, models.PROTECT, related_name="monitors")
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="monitors"
    )
    schedule = models.CharField(_("schedule"), max_length=100, default="nightly")
    time_zone = models.CharField(_("time zone"), max_length=64, default="Europe/Paris")
    baseline_repeats = models.PositiveSmallIntegerField(
        _("answers per case in the baseline"), default=5
    )
    is_enabled = models.BooleanField(_("runs on schedule"), default=True)
    follows_current = models.BooleanField(_("follows new versions"), default=True)
    """A new version of the prompt begins a new epoch; else the monitor stays with its version."""
    halt = models.CharField(max_length=40, blank=True)
    """Why it does not run although it is enabled: a name of kb.drift.actions.HALTS; '' means it runs."""
    missed_runs = models.PositiveSmallIntegerField(default=0)
    """Runs in a row that could not be judged."""
    status = models.CharField(max_length=10, choices=Status, default=Status.NEW)
    status_since = models.DateTimeField(db_default=Now())
    baseline = models.ForeignKey(
        "Baseline", models.PROTECT, null=True, blank=True, related_name="+"
    )
    memory = models.JSONField(default=dict, blank=True)
    """What kb.drift.watch keeps between two nights: kb.drift.watch.Memory as a dict."""
    wanted = models.JSONField(default=dict, blank=True)
    """Answers to take on the next night: case id (as text) to number; empty: one of each."""
    next_slot = models.DateTimeField(null=True, blank=True)
    confirm_at = models.DateTimeField(null=True, blank=True)
    """When a suspicion is to be confirmed by answers of another session; None: nothing to confirm."""
    created = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ("pk",)
        constraints = [
            models.CheckConstraint(
                condition=models.Q(status__in=["new", "learning"])
                | models.Q(baseline__isnull=False),
                name="a_judged_monitor_has_a_baseline",
            ),
        ]
        indexes = [
            models.Index(
                fields=["next_slot"],
                name="monitor_due",
                condition=models.Q(is_enabled=True, next_slot__isnull=False),
            ),
            models.Index(
                fields=["confirm_at"],
                name="monitor_to_confirm",
                condition=models.Q(confirm_at__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return f"monitor {self.pk}"


class TestCase(models.Model):
    """One set of values for the prompt's variables, with the assertions its answers must meet."""

    __test__ = False  # pytest need not collect it

    monitor = models.ForeignKey(Monitor, models.CASCADE, related_name="cases")
    name = models.CharField(_("name"), max_length=120)
    variables = models.JSONField(default=dict)
    assertions = models.JSONField(default=list)
    """List of kb.drift.assertions.Assertion as dicts."""
    position = models.PositiveSmallIntegerField(default=0)
    is_retired = models.BooleanField(default=False)
    """Edited or removed: kept, because old completions speak of it."""

    class Meta:
        ordering = ("position", "pk")

    def __str__(self) -> str:
        return self.name


class Baseline(models.Model):
    """The runs a person accepted as 'how it should be'; a new one begins a new epoch."""

    monitor = models.ForeignKey(Monitor, models.CASCADE, related_name="baselines")
    accepted = models.DateTimeField(null=True, blank=True)
    accepted_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+"
    )
    note = models.CharField(max_length=300, blank=True)
    power = models.JSONField(null=True, blank=True)
    """What would be noticed of a fall of its pass rate: see kb.drift.power; None: not measured yet."""
    power_lease_ends = models.DateTimeField(null=True, blank=True)
    """Until then a worker is believed to be measuring it."""
    created = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ("-created", "-pk")

    def __str__(self) -> str:
        return f"baseline {self.pk} of monitor {self.monitor_id}"


class Run(models.Model):
    """One pass of a monitor over its cases."""

    class Kind(models.TextChoices):
        BASELINE = "baseline", _("Baseline")
        SCHEDULED = "scheduled", _("Scheduled")
        MANUAL = "manual", _("By hand")
        CONFIRMATION = "confirmation", _("Confirmation")

    class Status(models.TextChoices):
        QUEUED = "queued", _("Waiting")
        RUNNING = "running", _("Running")
        DONE = "done", _("Done")
        FAILED = "failed", _("Failed")
        TIMEOUT = "timeout", _("Out of time")
        CANCELLED = "cancelled", _("Cancelled")
        OVER_BUDGET = "over_budget", _("Over budget")
        SKIPPED = "skipped", _("Skipped")

    FINAL = (
        Status.DONE,
        Status.FAILED,
        Status.TIMEOUT,
        Status.CANCELLED,
        Status.OVER_BUDGET,
        Status.SKIPPED,
    )

    monitor = models.ForeignKey(Monitor, models.CASCADE, related_name="runs")
    kind = models.CharField(max_length=12, choices=Kind, default=Kind.SCHEDULED)
    slot = models.DateTimeField()
    """The moment the run is for, in UTC. One run per monitor and slot."""
    baseline = models.ForeignKey(
        Baseline, models.CASCADE, null=True, blank=True, related_name="runs"
    )
    """The epoch: what it belongs to (a baseline run) or is compared with."""
    repeats = models.PositiveSmallIntegerField(default=1)
    """Answers to each case in its first session, where `plan` says nothing else."""
    plan = models.JSONField(default=list, blank=True)
    """One entry for each session: case id (as text) to number of answers; {} means `repeats` of each."""
    is_usual = models.BooleanField(default=False)
    """Its answers belong to what later nights are compared with."""
    grader = models.PositiveSmallIntegerField(default=0)
    """kb.drift.assertions.VERSION that graded its answers; older ones are graded again when read."""
    awaits_judge = models.BooleanField(default=False)
    """Its alarm rests on the judge alone: it is compared once the judge has been looked at after it."""
    status = models.CharField(max_length=12, choices=Status, default=Status.QUEUED)
    reason = models.CharField(max_length=60, blank=True)
    """Why it did not end as done: an error kind of kb.llm.base or a reason of kb.drift.runs."""
    attempt = models.PositiveSmallIntegerField(default=0)
    requested_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, blank=True, related_name="+"
    )
    created = models.DateTimeField(db_default=Now())
    started = models.DateTimeField(null=True, blank=True)
    lease_ends = models.DateTimeField(null=True, blank=True)
    finished = models.DateTimeField(null=True, blank=True)
    assessed = models.DateTimeField(null=True, blank=True)
    calls = models.PositiveIntegerField(default=0)
    """Model calls made, failed attempts included."""
    cost = models.DecimalField(max_digits=14, decimal_places=6, null=True, blank=True)
    """In the currency of the price table; None when no price is known."""

    class Meta:
        ordering = ("-slot", "-pk")
        constraints = [
            models.UniqueConstraint(fields=["monitor", "slot"], name="one_run_per_slot"),
        ]
        indexes = [
            models.Index(
                fields=["status", "created"],
                name="run_waiting",
                condition=models.Q(status__in=["queued", "running"]),
            ),
            models.Index(
                fields=["finished"],
                name="run_unassessed",
                condition=models.Q(status="done", assessed=None),
            ),
        ]

    def __str__(self) -> str:
        return f"run {self.pk}"


class Completion(models.Model):
    """What came back for one case and repeat: an answer, or why there is none."""

    class Outcome(models.TextChoices):
        ANSWERED = "answered", _("Answered")
        EMPTY = "empty", _("Empty answer")
        REFUSED = "refused", _("Refused")
        CUT = "cut", _("Cut short")
        MISSING = "missing", _("No answer")

    run = models.ForeignKey(Run, models.CASCADE, related_name="completions")
    case = models.ForeignKey(TestCase, models.CASCADE, related_name="completions")
    session = models.PositiveSmallIntegerField(default=0)
    """Answers of another session of the run, taken to confirm a suspicion, have 1."""
    repeat = models.PositiveSmallIntegerField(default=0)
    outcome = models.CharField(max_length=10, choices=Outcome)
    text = models.TextField(blank=True)
    verdicts = models.JSONField(default=list)
    """One per assertion of the case: true, false or null (not judged)."""
    not_judged = models.JSONField(default=list, blank=True)
    """One per assertion: why it was not judged, as `code` and `params` of a Reason; null for a verdict."""
    graders = models.JSONField(default=dict, blank=True)
    """Type of rule to the name of the grader that judged by it: kb.drift.grader_models.Grader.name."""
    judged = models.DateTimeField(null=True, blank=True)
    """When the models that judge had spoken; None while that is owed, or no rule needs one."""
    is_passed = models.BooleanField(null=True)
    """All assertions hold; None without assertions or without an answer."""
    error_kind = models.CharField(max_length=20, blank=True)
    error = models.CharField(max_length=500, blank=True)
    served_model = models.CharField(max_length=120, blank=True)
    fingerprint = models.CharField(max_length=120, blank=True)
    finish = models.CharField(max_length=20, blank=True)
    request_digest = models.CharField(max_length=64, blank=True)
    """SHA-256 of what was sent: messages, model, parameters."""
    request_id = models.CharField(max_length=120, blank=True)
    input_tokens = models.PositiveIntegerField(null=True, blank=True)
    output_tokens = models.PositiveIntegerField(null=True, blank=True)
    latency_ms = models.PositiveIntegerField(null=True, blank=True)
    cost = models.DecimalField(max_digits=14, decimal_places=6, null=True, blank=True)
    calls = models.PositiveSmallIntegerField(default=1)
    created = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ("case", "session", "repeat")
        constraints = [
            models.UniqueConstraint(
                fields=["run", "case", "session", "repeat"],
                name="one_completion_per_case_and_repeat",
            ),
        ]
        indexes = [
            models.Index(
                fields=["judged"],
                name="completion_judged",
                condition=models.Q(judged__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return f"completion {self.pk}"


class Incident(models.Model):
    """One thing that happened to a model, gathering the reports that show it."""

    target = models.ForeignKey(Target, models.CASCADE, related_name="incidents")
    opened = models.DateTimeField()
    last_seen = models.DateTimeField()
    closed = models.DateTimeField(null=True, blank=True)
    """When the last of its monitors was accepted, recovered or ended."""
    is_of_model = models.BooleanField(default=False)
    """The prompts of the model moved together: the model has changed, not one prompt's luck."""

    class Meta:
        ordering = ("-opened", "-pk")
        constraints = [
            models.UniqueConstraint(
                fields=["target"],
                condition=models.Q(closed__isnull=True),
                name="one_open_incident_per_target",
            ),
        ]

    def __str__(self) -> str:
        return f"incident {self.pk}"


class DriftReport(models.Model):
    """Comparison of a run with its baseline."""

    class Verdict(models.TextChoices):
        STABLE = "stable", _("Stable")
        SUSPECT = "suspect", _("Suspect")
        DRIFTED = "drifted", _("Drifted")
        NOT_JUDGED = "not_judged", _("Not judged")

    class Direction(models.TextChoices):
        WORSE = "worse", _("Worse")
        BETTER = "better", _("Better")
        CHANGED = "changed", _("Changed")

    class Severity(models.TextChoices):
        CRITICAL = "critical", _("Critical")
        MAJOR = "major", _("Major")
        MINOR = "minor", _("Minor")
        NOTICE = "notice", _("Notice")

    run = models.OneToOneField(Run, models.CASCADE, related_name="report")
    baseline = models.ForeignKey(Baseline, models.CASCADE, related_name="reports")
    verdict = models.CharField(max_length=12, choices=Verdict)
    direction = models.CharField(max_length=8, choices=Direction, blank=True)
    reason = models.CharField(max_length=40, blank=True)
    p_worse = models.FloatField(null=True)
    p_better = models.FloatField(null=True)
    pass_rate_baseline = models.FloatField(null=True)
    pass_rate = models.FloatField(null=True)
    changed_cases = models.JSONField(default=list)
    """Ids of the cases that changed, worst first."""
    severity = models.CharField(max_length=10, choices=Severity, blank=True)
    """How much it matters; 'notice' is certain but too small to tell anybody."""
    routes = models.JSONField(default=list)
    """Which of the sequential tests spoke: kb.drift.watch.Route."""
    p = models.FloatField(null=True)
    """Chance of such a night, at most, if nothing has changed; all channels together."""
    evidence = models.FloatField(null=True)
    """Evidence gathered over the nights, from 0 to 1 = enough for an alarm."""
    facts = models.JSONField(default=dict)
    """What explains it, numbers and names only: see kb.drift.assessing."""
    incident = models.ForeignKey(
        Incident, models.SET_NULL, null=True, blank=True, related_name="reports"
    )
    created = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ("-created", "-pk")

    def __str__(self) -> str:
        return f"report on run {self.run_id}: {self.verdict}"
