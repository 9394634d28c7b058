from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils import timezone

from kb.llm import actions as llm
from tests.factories import (
    make_admin,
    make_connection,
    make_department,
    make_monitor,
    make_person,
    make_prompt,
    make_target,
)
from tests.pages.reruns import words

pytestmark = pytest.mark.django_db


@pytest.fixture
def author(client):
    person = make_person("author", make_department("legal"))
    client.force_login(person)
    return person


def end(model, days):
    day = timezone.localdate() + timedelta(days=days)
    llm.save_retirement(
        model=model, retires=day, by=make_admin(), successor="model-b", source="mail"
    )


def test_what_ends_first_comes_first_with_its_prompts(client, author):
    account = make_connection()
    for model in ("model-a", "model-c"):
        make_monitor(
            make_prompt(author, title=f"On {model}", text="{{ n }}"), make_target(account, model)
        )
    end("model-c", 20)

    page = client.get(reverse("model-calendar"))

    assert [(row.target.model, row.urgency) for row in page.context["rows"]] == [
        ("model-c", 30),
        ("model-a", 0),
    ]
    text = words(page)
    assert "in 20 days. According to mail. Successor: model-b. On model-c" in text
    assert text.count("Compare on another model") == 1


def test_prompts_one_may_not_read_are_not_named(client, author):
    secret = make_prompt(
        author,
        title="Severance",
        text="{{ n }}",
        visibility="departments",
        departments=[make_department("legal")],
    )
    make_monitor(secret, make_target())
    client.force_login(make_person("author", make_department("sales")))

    assert "No prompt depends on a model yet" in words(client.get(reverse("model-calendar")))


def test_who_is_not_signed_in_is_asked_to(client):
    assert client.get(reverse("model-calendar")).status_code == 302
