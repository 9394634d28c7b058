"""Reads about kept searches."""

from __future__ import annotations

from django.db.models import QuerySet

from accounts.models import User
from kb.finding.models import SavedSearch


def saved_searches_of(person: User) -> QuerySet[SavedSearch]:
    """What the person keeps, by name."""
    return SavedSearch.objects.filter(person=person)
