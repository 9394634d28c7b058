"""Finding by meaning: choosing the model that reads, and how far it has read."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from kb.core.errors import Invalid
from kb.finding import meaning
from kb.forms.meaning import MeaningForm
from kb.llm.clients import SIMULATED
from kb.views import drift_words as words
from kb.views.people import signed_in


@require_safe
def show(request: HttpRequest) -> HttpResponse:
    """The model that reads for the whole company, and how far it has read."""
    meaning.must_see(signed_in(request))
    return _page(request)


@require_POST
def choose(request: HttpRequest) -> HttpResponse:
    """Let another model read from now on, or none."""
    person = signed_in(request)
    meaning.must_see(person)
    form = MeaningForm(meaning.candidates(), meaning.current(), request.POST)
    if not form.is_valid():
        return _page(request, form=form, status=422)
    target, is_wide = form.cleaned_data["target"], form.cleaned_data["is_wide"]
    try:
        if target is None:
            meaning.remove_model(by=person)
        else:
            meaning.choose_model(target=target, is_wide=is_wide, by=person, now=timezone.now())
    except Invalid as error:
        form.add_error("target", str(error))
        return _page(request, form=form, status=422)
    messages.success(request, _saved(target is not None))
    return redirect("meaning")


def _saved(is_chosen: bool) -> str:
    if is_chosen:
        return _("Saved. It begins to read within a minute; what it has read is found by meaning.")
    return _("Saved: things are found by their words from now on, and what was read is forgotten.")


def _page(
    request: HttpRequest, *, form: MeaningForm | None = None, status: int = 200
) -> HttpResponse:
    state = meaning.state()
    model = state.model if state else None
    drawn = form or MeaningForm(meaning.candidates(), model)
    context = {
        "form": drawn,
        "state": state,
        "model": model,
        "is_simulated": model is not None and model.target.connection.provider == SIMULATED,
        "is_reading": state is not None and state.read < state.readable,
        "trouble": words.trouble(model.trouble) if model and model.trouble else None,
        "problems": [
            (drawn["target"].auto_id, drawn["target"].label, str(error))
            for error in drawn["target"].errors
        ],
    }
    return render(request, "llm/meaning.html", context, status=status)
