"""A form with one of everything, for the style page."""

from __future__ import annotations

from django import forms
from django.utils.translation import gettext_lazy as _


class SampleForm(forms.Form):
    """Every kind of field the pages use."""

    title = forms.CharField(
        label=_("A line of text"),
        max_length=60,
        help_text=_("Help stands above what it helps with."),
    )
    number = forms.IntegerField(label=_("A number"), min_value=0)
    day = forms.DateField(
        label=_("A day"), required=False, widget=forms.DateInput(attrs={"type": "date"})
    )
    choice = forms.ChoiceField(
        label=_("One of several"), choices=[("a", _("The first")), ("b", _("The second"))]
    )
    text = forms.CharField(label=_("A longer text"), required=False, widget=forms.Textarea)
