"""Column types that Django does not have."""

from __future__ import annotations

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper


class Bits(models.Field):  # type: ignore[type-arg]
    """A row of bits, '0' and '1' in Python."""

    def db_type(self, connection: BaseDatabaseWrapper) -> str:
        return "bit varying"
