"""Writes about provider accounts, targets and prices. All are audited; no secret leaves in clear."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import date
from decimal import Decimal

from django.db import IntegrityError, transaction
from django.db.models import ProtectedError, Q
from django.utils.translation import gettext as _

from accounts.models import Department, User
from kb.core import audit, secrets
from kb.core.errors import Conflict, Invalid, NotAllowed
from kb.core.words import clean_line
from kb.llm import registry, rules
from kb.llm.anthropic import DEFAULT_BASE_URL as ANTHROPIC_URL
from kb.llm.anthropic import RESERVED_PARAMETERS as ANTHROPIC_RESERVED
from kb.llm.base import JSON, host_of
from kb.llm.clients import SIMULATED, scripts_from
from kb.llm.models import CALLS, Cap, Connection, Period, Price, Retirement, Target
from kb.llm.openai_compatible import DEFAULT_BASE_URL as OPENAI_URL
from kb.llm.openai_compatible import RESERVED_FOR_EMBEDDINGS
from kb.llm.openai_compatible import RESERVED_PARAMETERS as OPENAI_RESERVED
from kb.llm.paced import traffic
from kb.llm.wire import InvalidConnection

MOST_CALLS_AT_ONCE = 1_000
LONGEST_PARAMETERS = 20_000
"""Characters of JSON; a response schema fits."""
LARGEST_CAP = Decimal("999999999999.99")
LATEST_RETIREMENT = date(2100, 1, 1)
EMBEDDERS = frozenset({"openai_compatible", SIMULATED})
"""Providers whose dialect has embeddings."""
_JUDGES = Q(graders__isnull=False, graders__ended=None)
"""Targets that somebody has chosen to judge answers."""
_FINDS = Q(meaning_models__isnull=False)
"""The target by which things are found by meaning."""
_CURRENCY = re.compile(r"[A-Z]{3}")
_RESERVED = OPENAI_RESERVED | ANTHROPIC_RESERVED
_DEFAULT_URLS = {"openai_compatible": OPENAI_URL, "anthropic": ANTHROPIC_URL}


@transaction.atomic
def save_connection(
    *,
    by: User,
    connection: Connection | None = None,
    name: str | None = None,
    provider: str | None = None,
    base_url: str | None = None,
    api_key: str | None = None,
    quirks: Mapping[str, JSON] | None = None,
    requests_per_minute: int | None = None,
    tokens_per_minute: int | None = None,
    calls_at_once: int | None = None,
    is_enabled: bool | None = None,
) -> Connection:
    """Enter or change a provider account; None leaves a field as it is.

    `api_key` is kept encrypted and tied to the host of `base_url`; a new host needs the key again.
    An empty `api_key` removes it. Raises NotAllowed, Invalid naming the wrong field.
    """
    _must_manage(by)
    is_new = connection is None
    row = connection or Connection(created_by=by)
    wrong: dict[str, str] = {}
    if name is not None:
        row.name = clean_line(name)[:80]
    if not row.name:
        wrong["name"] = _("A connection needs a name.")
    elif Connection.objects.filter(name=row.name).exclude(pk=row.pk).exists():
        wrong["name"] = _("There is a connection “%(name)s” already.") % {"name": row.name}
    if provider is not None or is_new:
        try:
            row.provider = registry.normalise(provider or "")
        except registry.UnknownProvider:
            wrong["provider"] = _(
                "“%(value)s” is not a provider we know; use one of: %(known)s."
            ) % {
                "value": provider or "",
                "known": ", ".join(registry.FACTORIES),
            }
    if base_url is not None:
        row.base_url = base_url.strip()
    _check_address(row, api_key, wrong)
    if quirks is not None:
        row.quirks = dict(quirks)
    if "provider" not in wrong and not (quirks is None and provider is None):
        try:
            _check_quirks(row)
        except InvalidConnection as error:
            wrong["quirks"] = str(error)
    for field, value in (
        ("requests_per_minute", requests_per_minute),
        ("tokens_per_minute", tokens_per_minute),
    ):
        if value is not None:
            setattr(row, field, value or None)
    if calls_at_once is not None:
        if not 1 <= calls_at_once <= MOST_CALLS_AT_ONCE:
            wrong["calls_at_once"] = _("%(value)s is outside 1 to %(most)s.") % {
                "value": calls_at_once,
                "most": MOST_CALLS_AT_ONCE,
            }
        row.calls_at_once = calls_at_once
    if is_enabled is not None:
        row.is_enabled = is_enabled
    if wrong:
        raise Invalid(
            _("The connection was not saved. Please look at: %(names)s.")
            % {"names": ", ".join(wrong)},
            fields=wrong,
        )
    if api_key is not None:
        _keep_key(row, api_key)
    try:
        with transaction.atomic():
            row.save()
    except IntegrityError as error:  # somebody was quicker with the same name
        message = _("There is a connection “%(name)s” already.") % {"name": row.name}
        raise Invalid(message, fields={"name": message}) from error
    audit.record(
        action="connection.created" if is_new else "connection.changed",
        target=row,
        by=by,
        provider=row.provider,
        base_url=row.base_url,
        is_key_changed=api_key is not None,
        is_enabled=row.is_enabled,
    )
    # Somebody has just repaired it, or means to; the first call tells soon enough.
    transaction.on_commit(lambda: traffic().breakers.answered(row.pk))
    return row


@transaction.atomic
def delete_connection(*, connection: Connection, by: User) -> None:
    """Remove an account that nothing depends on. Raises NotAllowed, Conflict."""
    _must_manage(by)
    label = str(connection)
    if connection.targets.filter(_JUDGES).exists():
        raise Conflict(
            _("A model of “%(name)s” judges answers; choose another one first.") % {"name": label}
        )
    if connection.targets.filter(_FINDS).exists():
        raise Conflict(
            _("Things are found by meaning with a model of “%(name)s”; choose another one first.")
            % {"name": label}
        )
    try:
        connection.targets.all().delete()
        connection.delete()
    except ProtectedError as error:
        raise Conflict(
            _("Monitors still use “%(name)s”; switch it off instead, or remove them first.")
            % {"name": label}
        ) from error
    audit.record(action="connection.deleted", target=label, by=by)


def save_target(
    *,
    connection: Connection,
    model: str,
    by: User,
    parameters: Mapping[str, JSON] | None = None,
    is_embedding: bool = False,
) -> Target:
    """The target of these things, made when it is new. Raises NotAllowed, Invalid.

    `is_embedding`: the model turns texts into vectors and answers no prompt.
    """
    _must_manage(by)
    model = clean_line(model)
    wrong: dict[str, str] = {}
    if not model or len(model) > 120:
        wrong["model"] = _(
            "Write the model's name as the provider spells it, at most 120 characters."
        )
    if is_embedding and connection.provider not in EMBEDDERS:
        wrong["is_embedding"] = _(
            "“%(name)s” has no embeddings; add the model to a connection that speaks OpenAI’s language."
        ) % {"name": connection.name}
    parameters = dict(parameters or {})
    reserved_names = RESERVED_FOR_EMBEDDINGS if is_embedding else _RESERVED
    if reserved := sorted(reserved_names & parameters.keys()):
        wrong["parameters"] = _("“%(name)s” is set by Retex; remove it from the parameters.") % {
            "name": reserved[0]
        }
    try:
        size = len(json.dumps(parameters, allow_nan=False))
    except (TypeError, ValueError):
        wrong["parameters"] = _("The parameters must be plain JSON.")
    else:
        if size > LONGEST_PARAMETERS:
            wrong["parameters"] = _(
                "The parameters have %(count)s characters; at most %(limit)s fit."
            ) % {
                "count": size,
                "limit": LONGEST_PARAMETERS,
            }
    if wrong:
        raise Invalid(
            _("The target was not saved. Please look at: %(names)s.") % {"names": ", ".join(wrong)},
            fields=wrong,
        )
    target, _created = Target.objects.get_or_create(
        connection=connection,
        model=model,
        parameters=parameters,
        defaults={"is_embedding": is_embedding},
    )
    if target.is_embedding != is_embedding:
        _change_kind(target, is_embedding=is_embedding)
    return target


def _change_kind(target: Target, *, is_embedding: bool) -> None:
    """Correct what a model was entered as, while nothing depends on it. Raises Invalid."""
    if Target.objects.filter(_JUDGES | _FINDS | Q(monitors__isnull=False), pk=target.pk).exists():
        said = (
            _("“%(model)s” is in use as a model that answers prompts.")
            if is_embedding
            else _("“%(model)s” is in use as an embeddings model.")
        )
        message = said % {"model": target.model}
        raise Invalid(message, fields={"is_embedding": message})
    target.is_embedding = is_embedding
    target.save(update_fields=["is_embedding"])


def save_price(
    *,
    connection: Connection,
    model: str,
    input_per_million: Decimal,
    output_per_million: Decimal,
    currency: str,
    by: User,
) -> Price:
    """What a model costs from now on. Raises NotAllowed, Invalid for a negative price."""
    _must_manage(by)
    if input_per_million < 0 or output_per_million < 0:
        raise Invalid(
            _("A price cannot be below zero."),
            fields={"input_per_million": _("A price cannot be below zero.")},
        )
    price, _created = Price.objects.update_or_create(
        connection=connection,
        model=clean_line(model)[:120],
        defaults={
            "input_per_million": input_per_million,
            "output_per_million": output_per_million,
            "currency": currency.upper()[:3],
        },
    )
    return price


@transaction.atomic
def save_cap(
    *,
    by: User,
    period: str,
    unit: str,
    most: Decimal,
    connection: Connection | None = None,
    department: Department | None = None,
) -> Cap:
    """Bound what a connection, a department or, without either, the company may spend in a period.

    `unit` is a currency such as EUR, or CALLS. What the period has cost already counts. An existing
    cap of the same scope, period and unit is changed. Raises NotAllowed, Invalid.
    """
    _must_manage(by)
    unit = unit.strip()
    unit = unit if unit == CALLS else unit.upper()
    wrong: dict[str, str] = {}
    if connection is not None and department is not None:
        wrong["department"] = _("A cap is for a connection or for a department, not for both.")
    if period not in Period.values:
        wrong["period"] = _("“%(value)s” is not a period; use day or month.") % {"value": period}
    if unit != CALLS and not _CURRENCY.fullmatch(unit):
        wrong["unit"] = _("“%(value)s” is not a unit; use calls, or a currency such as EUR.") % {
            "value": unit
        }
    if not most.is_finite() or not 0 <= most <= LARGEST_CAP:
        wrong["most"] = _("%(value)s is outside 0 to %(most)s.") % {
            "value": most,
            "most": LARGEST_CAP,
        }
    elif unit == CALLS and most != most.to_integral_value():
        wrong["most"] = _("%(value)s calls cannot be made; use a whole number.") % {"value": most}
    if wrong:
        raise Invalid(
            _("The cap was not saved. Please look at: %(names)s.") % {"names": ", ".join(wrong)},
            fields=wrong,
        )
    cap, is_new = Cap.objects.update_or_create(
        connection=connection,
        department=department,
        period=period,
        unit=unit,
        defaults={"most": most},
    )
    audit.record(
        action="cap.created" if is_new else "cap.changed",
        target=connection or department or "the whole company",
        by=by,
        period=period,
        unit=unit,
        most=str(most),
    )
    return cap


@transaction.atomic
def delete_cap(*, cap: Cap, by: User) -> None:
    """Take a bound away. Raises NotAllowed."""
    _must_manage(by)
    audit.record(
        action="cap.deleted",
        target=cap.connection or cap.department or "the whole company",
        by=by,
        period=cap.period,
        unit=cap.unit,
        most=str(cap.most),
    )
    cap.delete()


@transaction.atomic
def save_retirement(
    *,
    model: str,
    retires: date,
    by: User,
    connection: Connection | None = None,
    successor: str = "",
    source: str = "",
    instead_of: Retirement | None = None,
) -> Retirement:
    """Note that a model ends on a day, at one connection or, without, at all of them.

    A second entry for the same model replaces the first; `instead_of` names one that goes although
    it is about another model or connection. Raises NotAllowed, Invalid.
    """
    _must_manage(by)
    model, successor, source = (clean_line(text) for text in (model, successor, source))
    wrong: dict[str, str] = {}
    if not model or len(model) > 120:
        wrong["model"] = _(
            "Write the model's name as the provider spells it, at most 120 characters."
        )
    if len(successor) > 120:
        wrong["successor"] = _(
            "Write the model's name as the provider spells it, at most 120 characters."
        )
    if len(source) > 300:
        wrong["source"] = _("The source has %(count)s characters; at most 300 fit.") % {
            "count": len(source)
        }
    if retires >= LATEST_RETIREMENT:
        wrong["retires"] = _("%(day)s is too far away; use a day before %(latest)s.") % {
            "day": retires.isoformat(),
            "latest": LATEST_RETIREMENT.isoformat(),
        }
    if wrong:
        raise Invalid(
            _("The end of the model was not saved. Please look at: %(names)s.")
            % {"names": ", ".join(wrong)},
            fields=wrong,
        )
    retirement, _created = Retirement.objects.update_or_create(
        connection=connection,
        model=model,
        defaults={
            "retires": retires,
            "successor": successor,
            "source": source,
            "entered_by": by,
        },
    )
    if instead_of is not None and instead_of.pk != retirement.pk:
        instead_of.delete()
    return retirement


def delete_retirement(*, retirement: Retirement, by: User) -> None:
    """Take an entry back. Raises NotAllowed."""
    _must_manage(by)
    retirement.delete()


def rotate_keys(*, by: User | None) -> int:
    """Encrypt every stored key with the newest encryption key; returns how many.

    Raises kb.core.secrets.Undecryptable, and changes nothing, when one cannot be opened.
    """
    with transaction.atomic():
        rows = list(Connection.objects.select_for_update().exclude(sealed_key=""))
        for row in rows:
            row.sealed_key = secrets.reseal(row.sealed_key)
            row.save(update_fields=["sealed_key"])
        audit.record(
            action="connection.keys_rotated", target="all connections", by=by, count=len(rows)
        )
    return len(rows)


def _must_manage(by: User) -> None:
    if not rules.can_manage(by):
        raise NotAllowed(_("Only a company-wide administrator can handle provider accounts."))


def _check_quirks(row: Connection) -> None:
    if row.provider == SIMULATED:
        scripts_from(row.quirks)
    else:
        registry.check_quirks(row.provider, row.quirks)


def _check_address(row: Connection, api_key: str | None, wrong: dict[str, str]) -> None:
    if row.provider == SIMULATED or "provider" in wrong:
        return
    try:
        host = host_of(row.base_url or _DEFAULT_URLS[row.provider])
    except ValueError:
        wrong["base_url"] = _(
            "“%(value)s” is not the address of a service. Write it like https://api.example.com/v1."
        ) % {"value": row.base_url}
        return
    if len(row.base_url) > 300:
        wrong["base_url"] = _("The address is longer than 300 characters.")
    if row.sealed_key and api_key is None and row.key_host != host:
        wrong["api_key"] = _(
            "The stored key was entered for %(old)s. Enter the key again to use it at %(new)s."
        ) % {"old": row.key_host, "new": host}


def _keep_key(row: Connection, api_key: str) -> None:
    api_key = api_key.strip()
    if not api_key or row.provider == SIMULATED:
        row.sealed_key = row.key_host = row.key_hint = ""
        return
    row.sealed_key = secrets.seal(api_key)
    row.key_host = host_of(row.base_url or _DEFAULT_URLS[row.provider])
    row.key_hint = f"…{api_key[-4:]}" if len(api_key) >= 12 else "…"
