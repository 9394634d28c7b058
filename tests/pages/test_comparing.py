from datetime import timedelta

import pytest
from asgiref.sync import async_to_sync
from django.urls import reverse
from django.utils import timezone

from kb.drift import comparing, trials
from kb.drift.actions import CaseFields
from kb.drift.trial_models import Trial
from kb.llm import actions as llm
from kb.prompts import actions as prompts
from kb.prompts.actions import PromptFields
from tests.factories import (
    NOW,
    make_admin,
    make_connection,
    make_department,
    make_monitor,
    make_person,
    make_prompt,
    make_target,
)
from tests.pages.reruns import Answering, failure, words, yes_cases

pytestmark = pytest.mark.django_db
FRAGMENT = {"HX-Request": "true"}


@pytest.fixture
def author(client):
    person = make_person("author", make_department("legal"))
    client.force_login(person)
    return person


@pytest.fixture
def account():
    return make_connection()


@pytest.fixture
def monitor(author, account):
    prompt = make_prompt(author, title="Primes", text="Is {{ n }} prime?")
    return make_monitor(prompt, make_target(account, "model-a"), cases=yes_cases(3))


@pytest.fixture
def successor(account):
    return make_target(account, "model-b")


def url(monitor):
    return reverse("monitor-compare", args=[monitor.pk])


def ends(model, successor):
    day = timezone.localdate() + timedelta(days=20)
    llm.save_retirement(model=model, retires=day, successor=successor, by=make_admin())


def answered(answers):
    """Every waiting trial is asked; `answers` says by model what comes back."""
    for trial in Trial.objects.filter(status="queued"):
        claimed = trials.claim(trial.pk, now=NOW)
        provider = ByModel(answers)
        async_to_sync(trials.execute)(
            claimed, open_provider=lambda _connection, p=provider: p, clock=lambda: NOW
        )


class ByModel:
    """Answers by the model that is asked."""

    def __init__(self, answers):
        self.answers = answers

    async def complete(self, request, *, deadline, gate=None):
        asked = Answering(self.answers[request.model])
        return await asked.complete(request, deadline=deadline, gate=gate)


def test_one_click_asks_both_models_every_case(client, author, monitor, successor):
    ends("model-a", "model-b")

    response = client.post(url(monitor))

    assert response["Location"] == f"{url(monitor)}?with={successor.pk}"
    asked = [
        (trial.values["n"], [answer.model for answer in trial.answers.all()])
        for trial in Trial.objects.order_by("pk")
    ]
    assert asked == [(str(n), ["model-a", "model-b"]) for n in range(3)]


def test_both_stand_side_by_side_with_what_their_checks_say(client, author, monitor, successor):
    client.post(url(monitor), {"with": successor.pk})
    waiting = client.get(url(monitor), {"with": successor.pk})
    answered({"model-a": "yes", "model-b": "no"})

    response = client.get(url(monitor), {"with": successor.pk})

    assert "Both models are being asked" in words(waiting)
    assert 'hx-trigger="every 2s"' in waiting.content.decode()
    text = words(response)
    assert "model-b passes fewer test cases 3 of 3" in text
    assert "checks passed: 1 of 1, then 0 of 1 worse" in text
    assert "The answer must contain “yes”." in text
    assert 'hx-trigger="every 2s"' not in response.content.decode()
    assert "Ask both again" in text


@pytest.mark.parametrize(
    ("answers", "headline"),
    [
        ({"model-a": "no", "model-b": "yes"}, "model-b passes more test cases"),
        ({"model-a": "yes", "model-b": "yes"}, "Both pass as many test cases"),
    ],
)
def test_the_headline_says_which_passes_more(client, author, monitor, successor, answers, headline):
    client.post(url(monitor), {"with": successor.pk})
    answered(answers)

    assert headline in words(client.get(url(monitor), {"with": successor.pk}))


def test_a_model_that_does_not_answer_says_why(client, author, monitor, successor):
    client.post(url(monitor), {"with": successor.pk})
    answered({"model-a": "yes", "model-b": failure("not_found")})

    text = words(client.get(url(monitor), {"with": successor.pk}))

    assert "The provider does not know this model" in text


def test_what_is_compared_already_is_not_asked_again_until_all_are(
    client, author, monitor, successor
):
    client.post(url(monitor), {"with": successor.pk})
    answered({"model-a": "yes", "model-b": "yes"})
    Trial.objects.order_by("pk").first().delete()

    client.post(url(monitor), {"with": successor.pk})
    one_more = Trial.objects.filter(status="queued").count()
    answered({"model-a": "yes", "model-b": "yes"})
    client.post(url(monitor), {"with": successor.pk})

    assert (one_more, Trial.objects.filter(status="queued").count()) == (1, 3)


def test_it_waits_for_trials_that_are_under_way(client, author, monitor, successor):
    client.post(url(monitor), {"with": successor.pk})

    again = client.post(url(monitor), {"with": successor.pk})

    assert (again.status_code, Trial.objects.count()) == (409, 3)


def test_a_long_list_of_cases_is_compared_in_part(client, author, account, successor):
    cases = yes_cases(comparing.MOST_COMPARED + 2)
    monitor = make_monitor(
        make_prompt(author, text="{{ n }}"), make_target(account, "model-a"), cases=cases
    )

    client.post(url(monitor), {"with": successor.pk})

    assert Trial.objects.count() == comparing.MOST_COMPARED
    text = words(client.get(url(monitor), {"with": successor.pk}))
    assert "The first 12 of 14 test cases are compared." in text


def test_the_version_of_today_is_what_is_asked(client, author, monitor, successor):
    prompts.edit_prompt(
        prompt=monitor.prompt,
        fields=PromptFields(text="Tell whether {{ n }} is prime."),
        by=author,
        now=NOW,
        based_on=None,
        change_note="Clearer.",
    )

    client.post(url(monitor), {"with": successor.pk})

    assert {trial.version.number for trial in Trial.objects.all()} == {2}


def test_a_case_that_no_longer_fits_is_refused_in_words(client, author, account, successor):
    prompt = make_prompt(author, text="{{ n }}")
    monitor = make_monitor(
        prompt, make_target(account, "model-a"), cases=[CaseFields("one", {"n": "7"})]
    )
    prompts.edit_prompt(
        prompt=prompt,
        fields=PromptFields(text="{{ m }}"),
        by=author,
        now=NOW,
        based_on=None,
        change_note="Renamed.",
    )

    response = client.post(url(monitor), {"with": successor.pk})

    assert (response.status_code, Trial.objects.count()) == (422, 0)


def test_a_successor_that_cannot_be_asked_yet_says_what_to_add(client, author, monitor):
    ends("model-a", "model-b")

    of_author = words(client.get(url(monitor)))
    client.force_login(make_admin())
    of_admin = client.get(url(monitor))

    assert "model-b is not among the models to ask. An administrator adds it" in of_author
    assert "Add model-b to “" in words(of_admin)
    assert "?model=model-b#add-model" in of_admin.content.decode()


def test_without_a_successor_one_chooses_another_model(client, author, monitor, successor):
    page = client.get(url(monitor))

    assert "Choose a model" in words(page)
    assert "Ask both models 3 test cases" in words(client.get(url(monitor), {"with": successor.pk}))


def test_the_page_of_the_monitor_warns_of_the_end_and_leads_here(client, author, monitor):
    ends("model-a", "model-b")

    page = client.get(reverse("monitor", args=[monitor.pk]))

    assert "in 20 days. Successor: model-b. Compare on another model" in words(page)
    assert url(monitor) in page.content.decode()


def test_what_one_wants_to_watch_next_begins_with_that_model(client, author, monitor, successor):
    page = client.get(reverse("monitor-new", args=[monitor.prompt.slug]), {"target": successor.pk})

    assert page.context["setup"].draft.target == str(successor.pk)


@pytest.mark.parametrize("other", ["999999", "nonsense", "own"])
def test_a_model_that_is_not_there_is_not_found(client, author, monitor, other):
    typed = str(monitor.target_id) if other == "own" else other

    assert client.get(url(monitor), {"with": typed}).status_code == 404


def test_comparing_costs_money_so_readers_may_not(client, author, monitor, successor):
    codes = []
    for person in (make_person("reader"), None):
        client.logout()
        if person:
            client.force_login(person)
        codes += [
            client.get(url(monitor)).status_code,
            client.post(url(monitor), {"with": successor.pk}).status_code,
        ]

    assert codes == [403, 403, 302, 302]
    assert Trial.objects.count() == 0


def test_a_part_is_given_to_a_script(client, author, monitor, successor):
    page = client.get(url(monitor), {"with": successor.pk}, headers=FRAGMENT).content.decode()

    assert page.lstrip().startswith('<div id="compare-body"')
