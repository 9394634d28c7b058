"""The append-only record of security acts."""

from __future__ import annotations

from typing import Any

from accounts.models import AuditEntry, User


def record(*, action: str, target: object, by: User | None, **details: Any) -> None:
    """Write one entry in the transaction of the act itself. Never pass a secret value."""
    AuditEntry.objects.create(
        actor=by,
        actor_label=by.email if by else "system",
        action=action,
        target=str(target)[:200],
        details=details,
    )
