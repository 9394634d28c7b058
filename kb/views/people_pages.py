"""Accounts, roles and departments, for administrators of the company."""

from __future__ import annotations

import logging
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.core.paginator import Paginator
from django.db import transaction
from django.db.models import Count, Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_variables
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts import actions, queries
from accounts.actions import AccountError
from accounts.adapter import MAIL_FAULTS
from accounts.invitations import days_valid, send_link
from accounts.models import Department, Membership, User
from accounts.rules import can_manage_people
from kb.community import actions as community
from kb.core.errors import NotAllowed, NotFound
from kb.forms.accounts import ROLE_WORDS, DepartmentForm, PersonForm, RolesForm
from kb.prompts import actions as prompts
from kb.supervisor.passwords import make_password
from kb.views.people import signed_in

logger = logging.getLogger(__name__)

PAGE_SIZE = 50
LONGEST_QUERY = 100


@require_safe
def people(request: HttpRequest) -> HttpResponse:
    """Everybody with their roles."""
    _administrator(request)
    words = request.GET.get("q", "")[:LONGEST_QUERY]
    asked = request.GET.get("department", "")
    places = list(Department.objects.all())
    place = next((row for row in places if row.slug == asked), None)
    page = Paginator(queries.people(words, department=place), PAGE_SIZE).get_page(
        request.GET.get("page")
    )
    context = {
        "people": page.object_list,
        "page": page,
        "page_numbers": page.paginator.get_elided_page_range(
            page.number, on_each_side=1, on_ends=1
        ),
        "words": words,
        "place": place,
        "departments": places,
    }
    return render(request, "accounts/people.html", context)


@never_cache
@sensitive_variables("password")
@require_http_methods(["GET", "HEAD", "POST"])
def new(request: HttpRequest) -> HttpResponse:
    """Open an account: a link by mail, or, without a mail server, a first password shown once."""
    admin = _administrator(request)
    departments = list(Department.objects.all())
    held: dict[int | None, str] = {None: Membership.Role.READER}
    if request.method != "POST":
        form = PersonForm(departments=departments, held=held, initial={"language": admin.language})
        return _new(request, form)
    form = PersonForm(request.POST, departments=departments, held=held)
    if not form.is_valid():
        return _new(request, form, status=422)
    password = None if can_mail() else make_password()
    try:
        person = actions.create_user(
            email=form.cleaned_data["email"],
            name=form.cleaned_data["name"],
            language=form.cleaned_data["language"],
            password=password,
            roles=[(place, role) for place, role in form.roles().items() if role],
            by=admin,
        )
    except AccountError as error:
        form.refuse(error)
        return _new(request, form, status=422)
    if password is not None:
        return _first_password(request, person, password, is_new=True)
    _invite(request, person, admin, is_new=True)
    return redirect("person", pk=person.pk)


@require_http_methods(["GET", "HEAD", "POST"])
def person(request: HttpRequest, pk: int) -> HttpResponse:
    """One account: its roles in the company and in each department."""
    admin = _administrator(request)
    found = _person(pk)
    departments = list(Department.objects.all())
    held = {row.department_id: row.role for row in found.memberships.all()}
    if request.method != "POST":
        return _one(request, found, RolesForm(departments=departments, held=held))
    form = RolesForm(request.POST, departments=departments, held=held)
    if not form.is_valid():
        return _one(request, found, form, status=422)
    try:
        changed = actions.set_roles(person=found, roles=form.roles(), by=admin)
    except AccountError as error:
        form.refuse(error)
        return _one(request, found, form, status=422)
    if changed:
        messages.success(request, _("The roles of %(name)s are saved.") % {"name": found})
    if found == admin and form.roles()[None] != Membership.Role.ADMIN:
        return redirect("home")  # this page is no longer theirs to see
    return redirect("person", pk=pk)


@require_POST
def active(request: HttpRequest, pk: int) -> HttpResponse:
    """Close an account, or open it again."""
    admin = _administrator(request)
    found = _person(pk)
    is_on = request.POST.get("on") == "1"
    if found == admin and not is_on:
        messages.error(
            request,
            _("You cannot close your own account. Ask another administrator to do it."),
        )
        return redirect("person", pk=pk)
    try:
        actions.set_active(person=found, is_active=is_on, by=admin)
    except AccountError as error:
        messages.error(request, str(error))
    return redirect("person", pk=pk)


@never_cache
@sensitive_variables("password")
@require_POST
def access(request: HttpRequest, pk: int) -> HttpResponse:
    """Help somebody who cannot sign in: a new link by mail, or a new password shown once."""
    admin = _administrator(request)
    found = _person(pk)
    if can_mail():
        _invite(request, found, admin, is_new=found.last_login is None)
        return redirect("person", pk=pk)
    password = make_password()
    actions.set_password(person=found, password=password, by=admin)
    return _first_password(request, found, password, is_new=False)


@require_http_methods(["GET", "HEAD", "POST"])
def departments(request: HttpRequest) -> HttpResponse:
    """The departments, and a form for one more."""
    admin = _administrator(request)
    if request.method != "POST":
        return _departments(request, DepartmentForm())
    form = DepartmentForm(request.POST)
    if form.is_valid():
        try:
            made = actions.save_department(**form.cleaned_data, by=admin)
        except AccountError as error:
            form.refuse(error)
        else:
            messages.success(request, _("“%(name)s” is added.") % {"name": made})
            return redirect("departments")
    return _departments(request, form, status=422)


@require_http_methods(["GET", "HEAD", "POST"])
def department(request: HttpRequest, pk: int) -> HttpResponse:
    """Rename a department in both languages."""
    admin = _administrator(request)
    found = Department.objects.filter(pk=pk).first()
    if found is None:
        raise NotFound(_("There is no such department."))
    if request.method != "POST":
        initial = {"name_en": found.name_en, "name_fr": found.name_fr}
        return _department(request, found, DepartmentForm(initial=initial))
    form = DepartmentForm(request.POST)
    if form.is_valid():
        try:
            _rename(found, admin, **form.cleaned_data)
        except AccountError as error:
            form.refuse(error)
        else:
            messages.success(request, _("“%(name)s” is saved.") % {"name": found})
            return redirect("departments")
    return _department(request, found, form, status=422)


def can_mail() -> bool:
    """Whether mails leave the house: without EMAIL_URL they are kept in files nobody reads."""
    return "filebased" not in str(settings.MAILERS["default"]["BACKEND"])


def _administrator(request: HttpRequest) -> User:
    person = signed_in(request)
    if not can_manage_people(person):
        raise NotAllowed(_("Only administrators of the company look after people and departments."))
    return person


def _person(pk: int) -> User:
    found = queries.person_by_id(pk)
    if found is None:
        raise NotFound(_("There is no such person."))
    return found


def _invite(request: HttpRequest, person: User, admin: User, *, is_new: bool) -> None:
    try:
        send_link(person=person, by=admin, is_new=is_new)
    except MAIL_FAULTS as error:
        logger.error("mail not sent: %s", type(error).__name__)
        messages.error(
            request,
            _("The mail server did not take the mail to %(email)s. Send the link again later.")
            % {"email": person.email},
        )
    else:
        messages.success(
            request,
            _("A link to choose a password is on its way to %(email)s.") % {"email": person.email},
        )


@transaction.atomic
def _rename(department: Department, admin: User, **names: str) -> None:
    """Names of departments are found by the search as words."""
    actions.save_department(department=department, by=admin, **names)
    for prompt in department.prompts.all():
        prompts.reindex(prompt)
    for report in department.retrospectives.select_related("version__prompt"):
        community.reindex(report)


def _new(request: HttpRequest, form: PersonForm, status: int = 200) -> HttpResponse:
    context = {
        "form": form,
        "role_words": _role_words(),
        "can_mail": can_mail(),
        "days": days_valid(),
    }
    return render(request, "accounts/person_new.html", context, status=status)


def _one(request: HttpRequest, found: User, form: RolesForm, status: int = 200) -> HttpResponse:
    context = {
        "found": found,
        "form": form,
        "role_words": _role_words(),
        "can_mail": can_mail(),
    }
    return render(request, "accounts/person.html", context, status=status)


def _first_password(
    request: HttpRequest, found: User, password: str, *, is_new: bool
) -> HttpResponse:
    # No redirect: the password would have to be kept somewhere to survive it.
    context = {
        "found": found,
        "password": password,
        "is_new": is_new,
        "sign_in": settings.BASE_URL + reverse("account_login"),
    }
    return render(request, "accounts/first_password.html", context)


def _departments(request: HttpRequest, form: DepartmentForm, status: int = 200) -> HttpResponse:
    rows = Department.objects.annotate(
        people_count=Count(
            "memberships", filter=Q(memberships__person__is_active=True), distinct=True
        ),
        prompt_count=Count("prompts", filter=Q(prompts__status="published"), distinct=True),
    )
    return render(
        request, "accounts/departments.html", {"form": form, "departments": rows}, status=status
    )


def _department(
    request: HttpRequest, found: Department, form: DepartmentForm, status: int = 200
) -> HttpResponse:
    context = {"found": found, "form": form}
    return render(request, "accounts/department.html", context, status=status)


def _role_words() -> list[tuple[Any, Any]]:
    return [(label, ROLE_WORDS[value]) for value, label in Membership.Role.choices]
