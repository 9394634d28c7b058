"""Names kept in both languages of the interface."""

from __future__ import annotations

from django.db import models
from django.utils.translation import get_language


class BilingualName(models.Model):
    """A short thing with a French and an English name; prints itself in the reader's language."""

    slug = models.SlugField(max_length=80, unique=True)
    name_en = models.CharField(max_length=120)
    name_fr = models.CharField(max_length=120)

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return self.name_fr if (get_language() or "en").startswith("fr") else self.name_en
