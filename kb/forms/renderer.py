"""How forms draw themselves: our own field template, found with the other templates."""

from __future__ import annotations

from django.forms.renderers import TemplatesSetting


class Renderer(TemplatesSetting):
    """Fields are drawn by templates/_components/field.html."""

    field_template_name = "_components/field.html"
