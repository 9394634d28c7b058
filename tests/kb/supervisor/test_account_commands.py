"""The operator's commands about accounts: what they write, and where they print."""

import io
import re

import pytest
from django.core.management import CommandError, call_command

from accounts import actions
from accounts.models import ApiToken, AuditEntry, Department, User

pytestmark = pytest.mark.django_db

MADE_UP_PASSWORD = re.compile(r"[a-z]+(-[a-z]+){3}\n")


def run(*words):
    """What a command prints: on standard output, and beside it."""
    output, messages = io.StringIO(), io.StringIO()
    call_command(*words, stdout=output, stderr=messages)
    return output.getvalue(), messages.getvalue()


def make(email, role="reader"):
    return actions.create_user(
        email=email, name="", password="four-words-of-mine", roles=[(None, role)], language="fr"
    )


def test_an_account_gets_a_made_up_password_alone_on_standard_output():
    output, messages = run(
        "create_user", "Ada@Example.com", "--name", "Ada Lovelace", "--role", "admin"
    )

    person = User.objects.get()
    assert MADE_UP_PASSWORD.fullmatch(output)
    assert person.check_password(output.strip())
    assert (person.email, person.name, person.language) == ("ada@example.com", "Ada Lovelace", "fr")
    assert list(person.memberships.values_list("department", "role")) == [(None, "admin")]
    assert messages.splitlines() == [
        "ada@example.com has an account.",
        "Its password, shown this once:",
    ]


def test_a_role_may_hold_in_one_department():
    legal = Department.objects.create(slug="legal", name_en="Legal", name_fr="Juridique")

    run(
        "create_user",
        "a@example.com",
        "--role",
        "author",
        "--department",
        "legal",
        "--language",
        "en",
    )

    person = User.objects.get()
    assert person.language == "en"
    assert list(person.memberships.values_list("department", "role")) == [(legal.pk, "author")]


def test_a_password_from_standard_input_is_not_printed(monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("four-words-of-mine\n"))

    output, messages = run("create_user", "a@example.com", "--password-stdin")

    assert User.objects.get().check_password("four-words-of-mine")
    assert (output, messages) == ("", "a@example.com has an account.\n")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nobody"], "“nobody” is not an e-mail address."),
        (["taken@example.com"], "taken@example.com has an account already."),
        (
            ["a@example.com", "--department", "moon"],
            "There is no department “moon”. There are: legal.",
        ),
        (["a@example.com", "--role", "king"], "argument --role: invalid choice: 'king'"),
        (["a@example.com", "--language", "de"], "argument --language: invalid choice: 'de'"),
        (["a@example.com", "--password-stdin"], "Standard input holds no password."),
    ],
)
def test_a_wrong_account_is_refused_by_name(monkeypatch, words, message):
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    Department.objects.create(slug="legal", name_en="Legal", name_fr="Juridique")
    make("taken@example.com")

    with pytest.raises(CommandError, match=re.escape(message)):
        run("create_user", *words)

    assert User.objects.count() == 1


def test_a_weak_password_is_refused_in_words(monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("12345678\n"))

    with pytest.raises(CommandError, match="too short"):
        run("create_user", "a@example.com", "--password-stdin")

    assert not User.objects.exists()


def test_a_token_is_alone_on_standard_output():
    person = make("ada@example.com")

    output, messages = run("create_token", "Ada@example.com", "--name", "nightly script")

    token = ApiToken.objects.get()
    assert re.fullmatch(r"rtx_[\w-]{43}\n", output)
    assert (token.person, token.digest) == (person, actions.digest(output.strip()))
    assert (token.name, token.scopes) == ("nightly script", ["read", "write"])
    assert output.strip() not in messages


def test_a_token_gets_the_scopes_it_is_given():
    make("ada@example.com")

    run("create_token", "ada@example.com", "--name", "x", "--scope", "read", "--scope", "admin")

    assert ApiToken.objects.get().scopes == ["read", "admin"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["bob@example.com", "--name", "x"], "bob@example.com has no account."),
        (["ada@example.com"], "the following arguments are required: --name"),
        (["ada@example.com", "--name", "x", "--scope", "all"], "invalid choice: 'all'"),
    ],
)
def test_a_wrong_token_is_refused_by_name(words, message):
    make("ada@example.com")

    with pytest.raises(CommandError, match=re.escape(message)):
        run("create_token", *words)

    assert not ApiToken.objects.exists()


def test_neither_password_nor_token_is_in_the_audit():
    password, _ = run("create_user", "ada@example.com")
    token, _ = run("create_token", "ada@example.com", "--name", "x")

    written = str(list(AuditEntry.objects.values()))
    assert "token.created" in written
    assert password.strip() not in written
    assert token.strip() not in written


def test_demo_accounts_are_closed_once_somebody_else_administrates():
    make("admin@retex.example", "admin")
    make("lecteur@retex.example")
    make("ada@example.com", "admin")

    first, _ = run("remove_demo_accounts")
    second, _ = run("remove_demo_accounts")

    assert first.splitlines() == [
        "Demo accounts closed: 2.",
        "admin@retex.example",
        "lecteur@retex.example",
    ]
    assert second == "Demo accounts closed: 0.\n"
    assert list(User.objects.filter(is_active=True).values_list("email", flat=True)) == [
        "ada@example.com"
    ]


def test_the_last_administrator_is_not_closed_even_in_the_demo():
    make("admin@retex.example", "admin")
    make("lecteur@retex.example")

    with pytest.raises(CommandError, match=r"create_user you@company\.example --role admin"):
        run("remove_demo_accounts")

    assert User.objects.filter(is_active=True).count() == 2
