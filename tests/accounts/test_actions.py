"""Writes about people: what they refuse, and what holds when two act at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from django.db import connection

from accounts import actions
from accounts.actions import AccountError
from accounts.models import AuditEntry, Department, Membership, User
from tests.factories import make_admin, make_department, make_person

pytestmark = pytest.mark.django_db


def at_once(*acts):
    """What each act returned or raised, when all begin together."""
    start = Barrier(len(acts))

    def run(act):
        start.wait()
        try:
            return act()
        except AccountError as error:
            return error
        finally:
            connection.close()

    with ThreadPoolExecutor(len(acts)) as pool:
        return list(pool.map(run, acts))


def admins():
    return list(
        User.objects.filter(is_active=True, memberships__department=None, memberships__role="admin")
    )


@pytest.mark.django_db(transaction=True)
def test_two_administrators_cannot_depose_each_other():
    one, other = make_admin(), make_admin()

    results = at_once(
        lambda: actions.set_role(person=one, department=None, role="reader", by=other),
        lambda: actions.set_role(person=other, department=None, role="reader", by=one),
    )

    assert sum(isinstance(result, AccountError) for result in results) == 1
    assert len(admins()) == 1


@pytest.mark.django_db(transaction=True)
def test_two_administrators_cannot_close_each_other():
    one, other = make_admin(), make_admin()

    results = at_once(
        lambda: actions.set_active(person=one, is_active=False, by=other),
        lambda: actions.set_active(person=other, is_active=False, by=one),
    )

    assert sum(isinstance(result, AccountError) for result in results) == 1
    assert len(admins()) == 1


@pytest.mark.django_db(transaction=True)
def test_an_address_opened_twice_at_once_has_one_account():
    def act():
        return actions.create_user(
            email="eve@company.test", name="Eve", password=None, roles=[(None, "reader")]
        )

    results = at_once(act, act)

    refused = [result for result in results if isinstance(result, AccountError)]
    assert [(error.field, str(error)) for error in refused] == [
        ("email", "eve@company.test has an account already.")
    ]
    assert User.objects.filter(email="eve@company.test").count() == 1


@pytest.mark.django_db(transaction=True)
def test_a_department_added_twice_at_once_is_one():
    def act():
        return actions.save_department(name_en="Legal", name_fr="Juridique", by=None)

    results = at_once(act, act)

    assert sum(isinstance(result, AccountError) for result in results) == 1
    assert Department.objects.count() == 1


def test_roles_change_together_or_not_at_all():
    admin, legal = make_admin(), make_department("legal")

    with pytest.raises(AccountError, match="without an administrator"):
        actions.set_roles(person=admin, roles={legal: "curator", None: "reader"}, by=admin)

    rows = Membership.objects.filter(person=admin)
    assert [(row.department, row.role) for row in rows] == [(None, "admin")]
    assert not AuditEntry.objects.filter(action="person.role").exists()


def test_a_role_we_do_not_have_is_refused():
    make_admin()

    with pytest.raises(AccountError, match="“emperor” is not a role; use: reader, author"):
        actions.set_roles(person=make_person(), roles={None: "emperor"}, by=None)


def test_a_superuser_keeps_the_company_administrated():
    root = User.objects.create_superuser("root@company.test", "a-long-enough-secret", name="Root")
    admin = make_admin()

    actions.set_role(person=admin, department=None, role="reader", by=root)

    assert admins() == []


def test_a_weak_password_is_refused():
    person = make_person()

    with pytest.raises(AccountError) as refused:
        actions.set_password(person=person, password="password12", by=None)

    assert refused.value.field == "password"
    person.refresh_from_db()
    assert not person.check_password("password12")


def test_the_record_names_places_in_no_language():
    admin, legal = make_admin(), make_department("legal", name_en="Legal", name_fr="Juridique")

    actions.set_role(person=admin, department=legal, role="author", by=admin)

    entry = AuditEntry.objects.get(action="person.role")
    assert entry.details == {"department": "legal", "role": "author"}
