"""What people say about prompts: votes, comments, signals, retrospectives, wishes."""

from __future__ import annotations

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from accounts.models import Department
from kb.prompts.models import Prompt, PromptVersion, Tool, UseCase

COMMENT_LENGTH = 5_000
LESSON_LENGTH = 200
NOTE_LENGTH = 10_000


class Vote(models.Model):
    """A person recommends a prompt to others. One each."""

    prompt = models.ForeignKey(Prompt, models.CASCADE, related_name="votes")
    person = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="votes")
    created = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["prompt", "person"], name="one_vote_each"),
        ]

    def __str__(self) -> str:
        return f"{self.person_id} for {self.prompt_id}"


class Comment(models.Model):
    """A remark on a prompt, or an answer to one."""

    prompt = models.ForeignKey(Prompt, models.CASCADE, related_name="comments")
    parent = models.ForeignKey(
        "self", models.CASCADE, null=True, blank=True, related_name="replies"
    )
    author = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="comments"
    )
    text = models.TextField(max_length=COMMENT_LENGTH)
    html = models.TextField()
    created = models.DateTimeField(db_default=Now())
    edited = models.DateTimeField(null=True, blank=True)
    withdrawn = models.DateTimeField(null=True, blank=True)
    """Taken back by its author or a curator: the place in the thread stays, the words go."""

    class Meta:
        ordering = ("created", "pk")
        indexes = [models.Index(fields=["prompt", "created"], name="comment_thread")]

    def __str__(self) -> str:
        return f"comment {self.pk} on {self.prompt_id}"


class UsageSignal(models.Model):
    """One click after a use: it worked, it worked with edits, it did not. One a day and version."""

    class Outcome(models.TextChoices):
        WORKED = "worked", _("Worked")
        WITH_EDITS = "with_edits", _("Worked with edits")
        FAILED = "failed", _("Did not work")

    prompt = models.ForeignKey(Prompt, models.CASCADE, related_name="signals")
    version = models.ForeignKey(PromptVersion, models.CASCADE, related_name="signals")
    person = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="signals")
    outcome = models.CharField(max_length=10, choices=Outcome)
    day = models.DateField()
    created = models.DateTimeField(db_default=Now())
    retrospective = models.OneToOneField(
        "Retrospective", models.SET_NULL, null=True, blank=True, related_name="signal"
    )
    """The report of the same use; then only the report counts."""

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["person", "version", "day"], name="one_signal_a_day_and_version"
            ),
        ]
        indexes = [models.Index(fields=["prompt", "version", "outcome"], name="signal_tally")]

    def __str__(self) -> str:
        return f"{self.outcome} for {self.version_id}"


class Retrospective(models.Model):
    """Dated, structured account of a real use of one version (retour d'expérience)."""

    class Outcome(models.TextChoices):
        WORKED = "worked", _("Worked as is")
        WITH_EDITS = "worked_with_edits", _("Worked after edits")
        PARTLY = "partly", _("Worked in part")
        FAILED = "failed", _("Did not work")
        HARMFUL = "harmful", _("Caused harm")

    class Stakes(models.TextChoices):
        DRAFT = "draft", _("Draft")
        INTERNAL = "internal", _("Internal")
        CLIENT = "client", _("Client-facing")
        REGULATED = "regulated", _("Regulated")

    class DataClass(models.TextChoices):
        PUBLIC = "public", _("Public")
        INTERNAL = "internal", _("Internal")
        CONFIDENTIAL = "confidential", _("Confidential")
        PERSONAL = "personal", _("Personal")

    class Counterfactual(models.TextChoices):
        BY_HAND = "by_hand", _("Done by hand")
        OTHER_TOOL = "other_tool", _("Done with another tool")
        NOT_DONE = "not_done", _("Not done at all")
        UNKNOWN = "unknown", _("I do not know")

    class MinutesBasis(models.TextChoices):
        MEASURED = "measured", _("Measured")
        DONE_BEFORE = "done_before", _("I have done it before")
        ESTIMATED_BEFORE = "estimated_before", _("Estimated before the task")
        ESTIMATED_AFTER = "estimated_after", _("Estimated afterwards")

    class Quality(models.TextChoices):
        WORSE = "worse", _("Worse than usual")
        SAME = "same", _("As usual")
        BETTER = "better", _("Better than usual")
        CANNOT_JUDGE = "cannot_judge", _("I cannot judge")

    class Checked(models.TextChoices):
        NOT = "not", _("Not checked")
        READ = "read", _("Read through")
        TESTED = "tested", _("Tested or recalculated")
        SECOND_PERSON = "second_person", _("Checked by a second person")

    class IncidentKind(models.TextChoices):
        INVENTED_FACT = "invented_fact", _("Invented fact")
        WRONG_NUMBER = "wrong_number", _("Wrong number")
        OUTDATED = "outdated", _("Outdated information")
        BIAS_OR_TONE = "bias_or_tone", _("Bias or wrong tone")
        DATA_LEAK = "data_leak", _("Data leak")
        REFUSAL = "refusal", _("Refusal to answer")
        BROKEN_FORMAT = "broken_format", _("Broken format")
        TOOL_DOWN = "tool_down", _("Tool not available")

    class Severity(models.TextChoices):
        LOW = "low", _("Minor")
        MEDIUM = "medium", _("Serious")
        HIGH = "high", _("Grave")

    class Reuse(models.TextChoices):
        AS_IS = "as_is", _("Yes, as is")
        WITH_CHANGES = "with_changes", _("Yes, with changes")
        ONLY_FOR = "only_for", _("Only for some cases")
        NO = "no", _("No")

    class KeptShare(models.IntegerChoices):
        NOTHING = 0, _("Nothing")
        QUARTER = 25, _("A quarter")
        HALF = 50, _("Half")
        MOST = 75, _("Three quarters")
        ALL = 100, _("All of it")

    # Context
    title = models.CharField(max_length=160)
    language = models.CharField(max_length=8, default="fr")
    author = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="retrospectives"
    )
    is_anonymous = models.BooleanField(default=False)
    """Shown as 'a colleague in …' instead of by name."""
    department = models.ForeignKey(
        Department, models.SET_NULL, null=True, blank=True, related_name="retrospectives"
    )
    use_case = models.ForeignKey(
        UseCase, models.SET_NULL, null=True, blank=True, related_name="retrospectives"
    )
    version = models.ForeignKey(
        PromptVersion, models.CASCADE, null=True, blank=True, related_name="retrospectives"
    )
    pasted_text = models.TextField(blank=True)
    tool = models.ForeignKey(Tool, models.SET_NULL, null=True, blank=True, related_name="+")
    model = models.CharField(max_length=80, blank=True)
    task_date = models.DateField()
    stakes = models.CharField(max_length=10, choices=Stakes, blank=True)
    task_familiarity = models.PositiveSmallIntegerField(null=True, blank=True)
    tool_familiarity = models.PositiveSmallIntegerField(null=True, blank=True)
    data_class = models.CharField(max_length=12, choices=DataClass, blank=True)
    expectation = models.CharField(max_length=300, blank=True)
    # Facts
    outcome = models.CharField(max_length=20, choices=Outcome)
    kept_share = models.PositiveSmallIntegerField(null=True, blank=True, choices=KeptShare)
    counterfactual = models.CharField(max_length=12, choices=Counterfactual, blank=True)
    minutes_preparing = models.PositiveIntegerField(null=True, blank=True)
    minutes_waiting = models.PositiveIntegerField(null=True, blank=True)
    minutes_checking = models.PositiveIntegerField(null=True, blank=True)
    minutes_without = models.PositiveIntegerField(null=True, blank=True)
    minutes_basis = models.CharField(max_length=20, choices=MinutesBasis, blank=True)
    attempts = models.PositiveSmallIntegerField(null=True, blank=True)
    items = models.PositiveIntegerField(null=True, blank=True)
    is_parallel_work = models.BooleanField(default=False)
    quality = models.CharField(max_length=14, choices=Quality, blank=True)
    checked = models.CharField(max_length=14, choices=Checked, blank=True)
    incidents = ArrayField(
        models.CharField(max_length=14, choices=IncidentKind), default=list, blank=True
    )
    incident_severity = models.CharField(max_length=8, choices=Severity, blank=True)
    is_incident_caught = models.BooleanField(null=True, blank=True)
    evidence = models.TextField(blank=True, max_length=NOTE_LENGTH)
    # Analysis
    why_different = models.TextField(blank=True, max_length=NOTE_LENGTH)
    lesson = models.CharField(max_length=LESSON_LENGTH)
    worked = models.TextField(blank=True, max_length=NOTE_LENGTH)
    failed = models.TextField(blank=True, max_length=NOTE_LENGTH)
    lucky = models.TextField(blank=True, max_length=NOTE_LENGTH)
    would_reuse = models.CharField(max_length=14, choices=Reuse, blank=True)
    reuse_note = models.CharField(max_length=300, blank=True)
    advice = models.TextField(blank=True, max_length=NOTE_LENGTH)
    when_not = models.TextField(blank=True, max_length=NOTE_LENGTH)
    html = models.JSONField(default=dict)
    """Name of a long answer to its safe HTML."""

    created = models.DateTimeField(db_default=Now())
    edited = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("-created", "-pk")
        indexes = [
            models.Index(fields=["version", "outcome"], name="retrospective_tally"),
            models.Index(fields=["-created", "-id"], name="retrospective_newest"),
        ]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(task_familiarity=None)
                | models.Q(task_familiarity__range=(1, 5)),
                name="task_familiarity_from_1_to_5",
            ),
            models.CheckConstraint(
                condition=models.Q(tool_familiarity=None)
                | models.Q(tool_familiarity__range=(1, 5)),
                name="tool_familiarity_from_1_to_5",
            ),
        ]

    def __str__(self) -> str:
        return self.title


class Addendum(models.Model):
    """A dated word added to a report after its edit window has closed."""

    retrospective = models.ForeignKey(Retrospective, models.CASCADE, related_name="addenda")
    author = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+"
    )
    text = models.TextField(max_length=NOTE_LENGTH)
    html = models.TextField()
    created = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ("created", "pk")

    def __str__(self) -> str:
        return f"addendum to {self.retrospective_id}"


class FollowUp(models.Model):
    """Something to be done because of a report."""

    class Kind(models.TextChoices):
        PROMPT_CHANGE = "prompt_change", _("Change the prompt")
        TRAINING = "training", _("Show or train people")
        RULE = "rule", _("Set a rule")
        TOOL = "tool", _("Change the tool")

    class State(models.TextChoices):
        OPEN = "open", _("Open")
        DONE = "done", _("Done")
        DROPPED = "dropped", _("Dropped")

    retrospective = models.ForeignKey(Retrospective, models.CASCADE, related_name="follow_ups")
    text = models.CharField(max_length=300)
    kind = models.CharField(max_length=14, choices=Kind, default=Kind.PROMPT_CHANGE)
    state = models.CharField(max_length=8, choices=State, default=State.OPEN)
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, blank=True, related_name="follow_ups"
    )
    due = models.DateField(null=True, blank=True)
    created = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ("created", "pk")

    def __str__(self) -> str:
        return self.text


class RetrospectiveLink(models.Model):
    """A report confirms, nuances or contradicts another report or a prompt."""

    class Kind(models.TextChoices):
        CONFIRMS = "confirms", _("confirms")
        NUANCES = "nuances", _("nuances")
        CONTRADICTS = "contradicts", _("contradicts")

    source = models.ForeignKey(Retrospective, models.CASCADE, related_name="links")
    kind = models.CharField(max_length=12, choices=Kind)
    report = models.ForeignKey(
        Retrospective, models.CASCADE, null=True, blank=True, related_name="linked_from"
    )
    prompt = models.ForeignKey(
        Prompt, models.CASCADE, null=True, blank=True, related_name="linked_from"
    )

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=models.Q(report__isnull=False) ^ models.Q(prompt__isnull=False),
                name="a_link_leads_to_one_thing",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.source_id} {self.kind} {self.report_id or self.prompt_id}"


class Wish(models.Model):
    """A prompt somebody looked for and did not find: the wanted board."""

    title = models.CharField(max_length=160)
    text = models.TextField(max_length=2_000, blank=True)
    language = models.CharField(max_length=8, default="fr")
    author = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="wishes"
    )
    department = models.ForeignKey(
        Department, models.SET_NULL, null=True, blank=True, related_name="wishes"
    )
    answer = models.ForeignKey(
        Prompt, models.SET_NULL, null=True, blank=True, related_name="answered_wishes"
    )
    created = models.DateTimeField(db_default=Now())
    closed = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("-created", "-pk")

    def __str__(self) -> str:
        return self.title


class WishSupport(models.Model):
    """A person who wants the same thing. One each."""

    wish = models.ForeignKey(Wish, models.CASCADE, related_name="supports")
    person = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="+")
    created = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["wish", "person"], name="one_support_each"),
        ]

    def __str__(self) -> str:
        return f"{self.person_id} supports {self.wish_id}"
