"""Accounts at model providers, and the models prompts are re-run against."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models.functions import MD5, Cast, Now
from django.utils.translation import gettext_lazy as _

from accounts.models import Department


class Connection(models.Model):
    """A configured provider account. Its key is encrypted and bound to the host it was entered for."""

    name = models.CharField(_("name"), max_length=80, unique=True)
    provider = models.CharField(_("provider"), max_length=40)
    base_url = models.CharField(_("base URL"), max_length=300, blank=True)
    sealed_key = models.TextField(blank=True)
    key_host = models.CharField(max_length=255, blank=True)
    key_hint = models.CharField(max_length=8, blank=True)
    quirks = models.JSONField(default=dict, blank=True)
    requests_per_minute = models.PositiveIntegerField(_("requests a minute"), null=True, blank=True)
    tokens_per_minute = models.PositiveIntegerField(_("tokens a minute"), null=True, blank=True)
    calls_at_once = models.PositiveSmallIntegerField(_("calls at once"), default=8)
    is_enabled = models.BooleanField(_("in use"), default=True)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+"
    )
    created = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name


class Target(models.Model):
    """Connection + model + parameters a prompt is re-run against, or that judges what came of it."""

    connection = models.ForeignKey(Connection, models.PROTECT, related_name="targets")
    model = models.CharField(_("model"), max_length=120)
    parameters = models.JSONField(default=dict, blank=True)
    is_embedding = models.BooleanField(default=False)
    """It turns texts into vectors: asked at another address, and no prompt is re-run against it."""
    created = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ("connection", "model", "pk")
        constraints = [
            # By digest: parameters can be longer than what an index row holds.
            models.UniqueConstraint(
                "connection",
                "model",
                MD5(Cast("parameters", models.TextField())),
                name="targets_are_distinct",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.model} · {self.connection}"


class Price(models.Model):
    """What a model costs, in the currency the company keeps its books in. Entered by an administrator."""

    connection = models.ForeignKey(Connection, models.CASCADE, related_name="prices")
    model = models.CharField(_("model"), max_length=120)
    input_per_million = models.DecimalField(
        _("per million input tokens"), max_digits=12, decimal_places=4
    )
    output_per_million = models.DecimalField(
        _("per million output tokens"), max_digits=12, decimal_places=4
    )
    currency = models.CharField(max_length=3, default="EUR")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["connection", "model"], name="one_price_per_model"),
        ]

    def __str__(self) -> str:
        return f"{self.model}: {self.input_per_million} / {self.output_per_million} {self.currency}"


# --- Budgets ----------------------------------------------------------------------------------


class Period(models.TextChoices):
    """What a cap starts anew with, by the calendar of the installation's time zone."""

    DAY = "day", _("a day")
    MONTH = "month", _("a month")


CALLS = "calls"
"""The unit of what is counted in calls; every other unit is a currency (ISO 4217)."""


class Cap(models.Model):
    """The most that may be spent in a period: by a connection, a department, or the whole company."""

    connection = models.ForeignKey(
        Connection, models.CASCADE, null=True, blank=True, related_name="caps"
    )
    department = models.ForeignKey(
        Department, models.CASCADE, null=True, blank=True, related_name="caps"
    )
    period = models.CharField(_("period"), max_length=5, choices=Period)
    unit = models.CharField(_("unit"), max_length=5)
    """A currency such as EUR, or CALLS."""
    most = models.DecimalField(_("at most"), max_digits=14, decimal_places=2)

    class Meta:
        ordering = ("connection", "department", "period", "unit")
        constraints = [
            models.UniqueConstraint(
                fields=["connection", "department", "period", "unit"],
                name="one_cap_per_scope_period_and_unit",
                nulls_distinct=False,
            ),
            models.CheckConstraint(
                condition=models.Q(connection=None) | models.Q(department=None),
                name="a_cap_has_one_scope",
            ),
            models.CheckConstraint(condition=models.Q(most__gte=0), name="a_cap_is_not_negative"),
        ]

    def __str__(self) -> str:
        return f"{self.most} {self.unit} {self.period}"


class Tally(models.Model):
    """What was spent and what is reserved, for one scope, period and unit.

    Kept for every scope, capped or not, so that a new cap knows what the period has cost already.
    Written by kb.llm.spending alone.
    """

    scope = models.CharField(max_length=10)
    """company, connection or department."""
    scope_id = models.BigIntegerField()
    """Id of the connection or department; 0 for the company. It may be gone."""
    period = models.CharField(max_length=5, choices=Period)
    starts = models.DateField()
    unit = models.CharField(max_length=5)
    spent = models.DecimalField(max_digits=20, decimal_places=6, default=0)
    reserved = models.DecimalField(max_digits=20, decimal_places=6, default=0)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["scope", "scope_id", "period", "starts", "unit"],
                name="one_tally_per_scope_period_and_unit",
            ),
            models.CheckConstraint(
                condition=models.Q(spent__gte=0, reserved__gte=0), name="a_tally_is_not_negative"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.scope} {self.scope_id} {self.starts}: {self.spent} {self.unit}"


class Reservation(models.Model):
    """Money and calls kept aside for a call under way. There is none while nothing is asked."""

    connection_id = models.BigIntegerField()
    connection_name = models.CharField(max_length=80)
    department_id = models.BigIntegerField(null=True)
    model = models.CharField(max_length=120)
    reference = models.CharField(max_length=60)
    """What the call is for, such as run:12."""
    day = models.DateField()
    """Whose tallies hold it; what is spent counts for this day as well."""
    calls = models.PositiveIntegerField()
    currency = models.CharField(max_length=3, blank=True)
    """'' when no price is known; then ``money`` is 0."""
    money = models.DecimalField(max_digits=20, decimal_places=6)
    lease_ends = models.DateTimeField(db_index=True)

    def __str__(self) -> str:
        return f"reservation {self.pk} for {self.reference}"


class Expense(models.Model):
    """What one purpose spent on a day with one model. Outlives the connection and department."""

    day = models.DateField()
    connection_id = models.BigIntegerField()
    connection_name = models.CharField(max_length=80)
    department_id = models.BigIntegerField(null=True)
    model = models.CharField(max_length=120)
    reference = models.CharField(max_length=60)
    currency = models.CharField(max_length=3, blank=True)
    calls = models.PositiveIntegerField(default=0)
    unknown_calls = models.PositiveIntegerField(default=0)
    """Of the calls, those nobody knows the end of: counted as spent, at the estimate."""
    input_tokens = models.PositiveBigIntegerField(default=0)
    output_tokens = models.PositiveBigIntegerField(default=0)
    cost = models.DecimalField(max_digits=20, decimal_places=6, default=0)

    class Meta:
        ordering = ("-day", "-pk")
        constraints = [
            models.UniqueConstraint(
                fields=["day", "connection_id", "department_id", "model", "reference", "currency"],
                name="one_expense_per_day_and_purpose",
                nulls_distinct=False,
            ),
        ]
        indexes = [models.Index(fields=["reference"], name="expense_reference")]

    def __str__(self) -> str:
        return f"{self.day} {self.reference}: {self.calls} calls"


# --- Catalogue --------------------------------------------------------------------------------


class KnownModel(models.Model):
    """A model a connection's provider has listed."""

    connection = models.ForeignKey(Connection, models.CASCADE, related_name="known_models")
    model = models.CharField(max_length=120)
    name = models.CharField(max_length=120)
    retires = models.DateField(null=True, blank=True)
    """The day of its end as the provider announced it."""
    first_seen = models.DateTimeField()
    last_seen = models.DateTimeField()
    """The latest listing that had it; older than that of its neighbours: no longer offered."""

    class Meta:
        ordering = ("model",)
        constraints = [
            models.UniqueConstraint(
                fields=["connection", "model"], name="one_known_model_per_connection"
            ),
        ]

    def __str__(self) -> str:
        return self.model


class Retirement(models.Model):
    """The end of a model, entered by a person; it outweighs what the provider's listing says."""

    connection = models.ForeignKey(
        Connection, models.CASCADE, null=True, blank=True, related_name="retirements"
    )
    """None: of every connection."""
    model = models.CharField(_("model"), max_length=120)
    retires = models.DateField(_("retires on"))
    successor = models.CharField(_("successor"), max_length=120, blank=True)
    source = models.CharField(_("source"), max_length=300, blank=True)
    entered_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+"
    )
    created = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ("retires", "model")
        constraints = [
            models.UniqueConstraint(
                fields=["connection", "model"],
                name="one_retirement_per_model",
                nulls_distinct=False,
            ),
        ]

    def __str__(self) -> str:
        return f"{self.model} retires on {self.retires}"
