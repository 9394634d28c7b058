"""What a person was told, what comes by mail, and the way out of a mail."""

from __future__ import annotations

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_not_required
from django.core.paginator import Paginator
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone, translation
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts.models import User
from kb.core.errors import NotFound
from kb.forms.accounts import MailChoicesForm
from kb.notifications import actions, queries
from kb.notifications.kinds import KINDS, sentence
from kb.views.people import signed_in

PAGE_SIZE = 30


@require_safe
def notifications(request: HttpRequest) -> HttpResponse:
    """Everything the person was told, newest first."""
    person = signed_in(request)
    told = queries.of_person(person).filter(kind__in=KINDS)
    page = Paginator(told, PAGE_SIZE).get_page(request.GET.get("page"))
    context = {
        "rows": [(row, sentence(row.kind, row.context)) for row in page],
        "page": page,
        "page_numbers": page.paginator.get_elided_page_range(
            page.number, on_each_side=1, on_ends=1
        ),
        "unread": queries.unread_count(person),
    }
    return render(request, "accounts/notifications.html", context)


@require_safe
def notification(request: HttpRequest, pk: int) -> HttpResponse:
    """Follow a message to what it speaks of; that is reading it."""
    person = signed_in(request)
    found = queries.of_person(person).filter(pk=pk).first()
    if found is None:
        raise NotFound(_("You have no such message."))
    actions.mark_read(by=person, now=timezone.now(), ids=[found.pk])
    is_ours = url_has_allowed_host_and_scheme(found.path, allowed_hosts=None)
    return redirect(found.path if is_ours else "notifications")


@require_POST
def read(request: HttpRequest) -> HttpResponse:
    """Mark everything as read."""
    actions.mark_read(by=signed_in(request), now=timezone.now())
    return redirect("notifications")


@require_http_methods(["GET", "HEAD", "POST"])
def choices(request: HttpRequest) -> HttpResponse:
    """Event by channel: what comes by mail as well."""
    person = signed_in(request)
    chosen = queries.mail_choices(person)
    if request.method == "POST":
        form = MailChoicesForm(request.POST)
        if form.is_valid():
            with transaction.atomic():
                for kind, is_on in form.choices().items():
                    if is_on != chosen[kind]:
                        actions.choose_mail(by=person, kind=kind, is_on=is_on)
            messages.success(request, _("Your choice is saved."))
            return redirect("notifications-choices")
    context = {"kinds": [(kind, chosen[kind.name]) for kind in KINDS.values()]}
    status = 422 if request.method == "POST" else 200
    return render(request, "accounts/mail_choices.html", context, status=status)


@csrf_exempt
@login_not_required
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def unsubscribe(request: HttpRequest, token: str) -> HttpResponse:
    """The way out of one kind of mail, without signing in: GET asks, POST does it.

    Mail programs post here by themselves, without cookies (RFC 8058); the signed token is the proof.
    """
    person, kind = actions.read_unsubscribe_token(token)
    if request.method == "POST" and kind in KINDS:
        actions.choose_mail(by=person, kind=kind, is_on=False)
    language = _language(request, person)
    with translation.override(language):
        context = {
            "person": person,
            "kind": KINDS.get(kind),
            "is_off": not queries.mail_choices(person).get(kind, False),
            "token": token,
        }
        response = render(request, "accounts/unsubscribe.html", context)
    response.headers["Content-Language"] = language
    return response


def _language(request: HttpRequest, person: User) -> str:
    """That of whoever sits there; the recipient's, as long as nobody chose one in this browser."""
    if request.user.is_authenticated or settings.LANGUAGE_COOKIE_NAME in request.COOKIES:
        return translation.get_language() or person.language
    return person.language
