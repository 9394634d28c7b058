"""What is one's own: to finish, published, followed and reported."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from kb.community import queries as community
from kb.drift import queries as drift
from kb.prompts import queries as prompts
from kb.prompts.models import Prompt
from kb.views.people import signed_in
from kb.views.shelf import shelve

PUBLISHED_SHOWN = 10
FOLLOWED_SHOWN = 20
REPORTS_SHOWN = 5
DRAFTS_SHOWN = 20
FOLLOW_UPS_SHOWN = 20


@require_safe
def mine(request: HttpRequest) -> HttpResponse:
    """My prompts and reports."""
    person = signed_in(request)
    published = prompts.visible_to(person).filter(author=person, status=Prompt.Status.PUBLISHED)
    published_ids = published.order_by("-updated", "-pk").values_list("pk", flat=True)
    followed = prompts.watched_by(person).exclude(author=person)
    followed_shown = list(followed[:FOLLOWED_SHOWN])
    reports = community.reports_visible_to(person).filter(author=person)
    context = {
        "published": shelve(list(published_ids[:PUBLISHED_SHOWN])),
        "published_count": published.count(),
        "drafts": prompts.drafts_of(person)[:DRAFTS_SHOWN],
        "followed": followed_shown,
        "followed_count": followed.count(),
        "drift": drift.states([prompt.pk for prompt in followed_shown]),
        "reports": reports[:REPORTS_SHOWN],
        "report_count": reports.count(),
        "follow_ups": community.open_follow_ups(person).select_related("owner", "retrospective")[
            :FOLLOW_UPS_SHOWN
        ],
        "today": timezone.localdate(),
    }
    return render(request, "mine.html", context)
