"""Accounts at model providers, and the models prompts are re-run against."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models.functions import MD5, Cast, Now
from django.utils.translation import gettext_lazy as _


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
    """Connection + model + parameters a prompt is re-run against."""

    connection = models.ForeignKey(Connection, models.PROTECT, related_name="targets")
    model = models.CharField(_("model"), max_length=120)
    parameters = models.JSONField(default=dict, blank=True)
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
