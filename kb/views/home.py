"""The first page: what is new, proven, drifting and wanted."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from accounts.models import Department
from kb.community import queries as community
from kb.drift import queries as drift
from kb.prompts import queries as prompts
from kb.search import engine
from kb.views.people import signed_in
from kb.views.shelf import shelve

NEW_SHOWN = 5
PROVEN_SHOWN = 5
DRIFTING_SHOWN = 4
WANTED_SHOWN = 4
LESSONS_SHOWN = 3
OWN_SHOWN = 4


@require_safe
def home(request: HttpRequest) -> HttpResponse:
    """What this person's company has learned lately."""
    person = signed_in(request)
    context = {
        "hour": timezone.localtime().hour,
        "new": shelve(prompts.newest(person, NEW_SHOWN)),
        "proven": shelve(engine.most_proven(person, PROVEN_SHOWN)),
        "drifting": drift.drifting(person, DRIFTING_SHOWN),
        "wishes": community.open_wishes(person)[:WANTED_SHOWN],
        "lessons": community.reports_visible_to(person)[:LESSONS_SHOWN],
        "drafts": prompts.drafts_of(person)[:OWN_SHOWN],
        "follow_ups": community.open_follow_ups(person)[:OWN_SHOWN],
        "departments": Department.objects.all(),
    }
    return render(request, "home.html", context)
