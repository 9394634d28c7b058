"""Template tags and filters of the product."""

from __future__ import annotations

from django import template

register = template.Library()
