from decimal import Decimal

import pytest
from django.contrib.messages import get_messages
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from kombu.exceptions import OperationalError

from kb.drift import trial_queries, trials
from kb.drift.trial_models import Trial
from kb.llm import actions as llm
from kb.llm.base import LLMError
from kb.prompts import actions as prompts
from kb.prompts.template import Variable
from kb.tasks import trials as tasks
from kb.views import trial_words
from tests.factories import (
    NOW,
    later,
    make_admin,
    make_connection,
    make_department,
    make_person,
    make_prompt,
    make_target,
)
from tests.kb.drift.test_trials import Vendor, play
from tests.pages.reruns import words

pytestmark = pytest.mark.django_db
FRAGMENT = {"HX-Request": "true"}


@pytest.fixture
def author(client):
    person = make_person("author", make_department("legal"), name="Ada Author")
    client.force_login(person)
    return person


@pytest.fixture
def prompt(author):
    return make_prompt(author, title="Primes", text="Is {{ n }} prime?")


@pytest.fixture
def vendor_connection():
    return make_connection(
        "openai_compatible", name="Vendor", base_url="https://api.vendor.test/v1", api_key="sk-1"
    )


@pytest.fixture
def models(vendor_connection):
    return [make_target(vendor_connection, name) for name in ("large", "small")]


class Bell:
    """Stands for the task: notes whom it was rung for, or finds the broker away."""

    def __init__(self):
        self.rung, self.is_away = [], False

    def apply_async(self, arguments, **options):
        if self.is_away:
            raise OperationalError("away")
        self.rung += arguments


@pytest.fixture(autouse=True)
def bell(monkeypatch):
    made = Bell()
    monkeypatch.setattr(tasks, "run_trial", made)
    return made


def try_url(prompt):
    return f"/prompts/{prompt.slug}/try/"


def asked(prompt, models, by=None, now=NOW, **values):
    return trials.request(
        version=prompt.current,
        targets=models,
        values=values or {"n": "7"},
        by=by or prompt.author,
        now=now,
    )


def signed_in(person):
    browser = Client()
    browser.force_login(person)
    return browser


def told(response):
    return [str(message) for message in get_messages(response.wsgi_request)]


def query_count(browser, path, **headers):
    with CaptureQueriesContext(connection) as captured:
        assert browser.get(path, headers=headers).status_code == 200
    return len(captured)


# --- The way in -------------------------------------------------------------------------------


def test_the_prompt_offers_to_try_it_and_takes_along_what_was_filled_in(client, prompt, models):
    page = client.get(f"/prompts/{prompt.slug}/").content.decode()
    assert f'formaction="{try_url(prompt)}"' in page

    answer = client.post(try_url(prompt), {"v-n": "97", "do": "open"})

    assert answer["Location"] == try_url(prompt)
    assert 'value="97"' in client.get(try_url(prompt)).content.decode()
    assert not Trial.objects.exists()


def test_a_version_offers_to_try_that_version(client, author, prompt, models):
    prompts.edit_prompt(
        prompt=prompt,
        fields=prompts.PromptFields(text="New {{ m }}"),
        by=author,
        now=NOW,
        based_on=None,
    )
    page = client.get(f"/prompts/{prompt.slug}/versions/1/").content.decode()
    assert f'href="{try_url(prompt)}?version=1"' in page

    tried = client.get(f"{try_url(prompt)}?version=1")

    assert "You are trying version 1. Today the prompt is at version 2." in words(tried)
    assert 'name="v-n"' in tried.content.decode()
    client.post(try_url(prompt), {"version": "1", "v-n": "7", "target": models[0].pk})
    assert Trial.objects.get().version.number == 1


@pytest.mark.parametrize("number", ["0", "7", "99999999999999", "x"])
def test_a_version_that_does_not_exist_is_not_found(client, prompt, models, number):
    wanted = 200 if number in ("x", "99999999999999") else 404

    assert client.get(f"{try_url(prompt)}?version={number}").status_code == wanted


def test_readers_are_told_kindly_and_are_not_led_there(prompt, models):
    reader = signed_in(make_person("reader"))

    refused = reader.get(try_url(prompt))

    assert refused.status_code == 403
    assert "costs the company money" in words(refused)
    assert try_url(prompt) not in reader.get(f"/prompts/{prompt.slug}/").content.decode()
    assert reader.post(try_url(prompt), {"v-n": "7", "target": models[0].pk}).status_code == 403
    assert not Trial.objects.exists()


def test_strangers_sign_in_first(prompt):
    assert Client().get(try_url(prompt)).status_code == 302


def test_without_a_model_the_page_says_what_is_missing(client, prompt):
    assert "No model can be asked yet" in words(client.get(try_url(prompt)))


# --- Filling in and asking --------------------------------------------------------------------


def test_the_models_are_listed_with_their_price_and_simulated_ones_say_so(
    client, prompt, models, vendor_connection
):
    llm.save_price(
        connection=vendor_connection,
        model="large",
        input_per_million=Decimal(10),
        output_per_million=Decimal(100),
        currency="EUR",
        by=make_admin(),
    )
    make_target()

    said = words(client.get(try_url(prompt)))

    assert "large Vendor about €0.05" in said
    assert "small Vendor price not known" in said
    assert "simulated-stable simulated costs nothing" in said


def test_the_estimate_follows_what_is_chosen(client, prompt, models, vendor_connection):
    for model in models:
        llm.save_price(
            connection=vendor_connection,
            model=model.model,
            input_per_million=Decimal(10),
            output_per_million=Decimal(100),
            currency="EUR",
            by=make_admin(),
        )

    def estimated(*targets):
        answer = client.post(
            try_url(prompt),
            {"do": "estimate", "v-n": "7", "target": [target.pk for target in targets]},
            headers=FRAGMENT,
        )
        assert answer.content.decode().lstrip().startswith('<section id="estimate"')
        return words(answer)

    assert "About €0.05 for 1 answer" in estimated(models[0])
    assert "About €0.10 for 2 answers" in estimated(*models)
    assert "Choose a model to see it." in estimated()
    assert "Nothing: simulated models ask nobody." in estimated(make_target())
    assert not Trial.objects.exists()


def test_an_unknown_price_is_not_said_to_be_nothing(client, prompt, models):
    answer = client.post(try_url(prompt), {"do": "estimate", "v-n": "7", "target": models[0].pk})

    assert "Not known: nobody has entered a price" in words(answer)


def test_a_spent_budget_is_said_before_anything_is_asked(client, prompt, models):
    llm.save_cap(by=make_admin(), period="month", unit="calls", most=Decimal(0))

    said = words(client.get(try_url(prompt)))

    assert "large: the budget leaves no room until 1 " in said


def test_asking_writes_the_trial_rings_and_leads_to_it(
    client, prompt, models, bell, django_capture_on_commit_callbacks
):
    with django_capture_on_commit_callbacks(execute=True):
        answer = client.post(
            try_url(prompt), {"v-n": "7", "target": [model.pk for model in models]}
        )

    trial = Trial.objects.get()
    assert answer["Location"] == f"/trials/{trial.pk}/"
    assert bell.rung == [trial.pk]
    assert (trial.version, trial.values, trial.asked_by) == (
        prompt.current,
        {"n": "7"},
        prompt.author,
    )
    assert [answer.target for answer in trial.answers.all()] == models


def test_without_a_broker_the_trial_waits_for_the_clock(
    client, prompt, models, bell, django_capture_on_commit_callbacks
):
    bell.is_away = True

    with django_capture_on_commit_callbacks(execute=True):
        answer = client.post(try_url(prompt), {"v-n": "7", "target": models[0].pk})

    assert answer.status_code == 302
    assert trials.waiting_trials() == [Trial.objects.get().pk]


def test_what_is_missing_is_said_at_its_field_and_nothing_is_lost(client, author, models):
    prompt = make_prompt(
        author,
        text="{{ a }} {{ b }}",
        variables=[Variable("a", "The first", help="Any"), Variable("b", "The second")],
    )

    answer = client.post(try_url(prompt), {"v-b": "kept <b>", "do": "ask"})

    page = answer.content.decode()
    assert answer.status_code == 422
    assert "2 answers need another look" in words(answer)
    assert 'href="#v0">The first</a>' in page
    assert f'href="#target-{models[0].pk}">Models</a>' in page
    assert 'aria-invalid="true" aria-describedby="v0-error v0-help"' in page
    assert "kept &lt;b&gt;" in page
    assert not Trial.objects.exists()


def test_more_models_than_fit_are_refused(client, prompt, vendor_connection):
    five = [make_target(vendor_connection, f"model-{n}") for n in range(5)]

    answer = client.post(try_url(prompt), {"v-n": "7", "target": [t.pk for t in five]})

    assert answer.status_code == 422
    assert "Choose at most 4 models; these are 5." in words(answer)


@pytest.mark.parametrize("sent", ["", "x", "999999", "-1", "9" * 40])
def test_a_model_that_is_none_is_as_good_as_not_chosen(client, prompt, models, sent):
    answer = client.post(try_url(prompt), {"v-n": "7", "target": sent})

    assert answer.status_code == 422
    assert "Choose at least one model." in words(answer)


def test_the_page_remembers_the_last_models_and_begins_again_with_a_trial(client, prompt, models):
    first = play(asked(prompt, models[1:], n="11"), Vendor())
    play(asked(prompt, models, now=later(hours=1), n="13"), Vendor())

    def begun(path):
        page = client.get(path)
        return page.context["blanks"][0].value, [
            choice.target for choice in page.context["choices"] if choice.is_chosen
        ]

    assert begun(try_url(prompt)) == ("", models)
    assert begun(f"{try_url(prompt)}?again={first.pk}") == ("11", models[1:])
    assert client.get(f"{try_url(prompt)}?again=999999").status_code == 404


def test_a_prompt_without_blanks_is_asked_as_it_stands(client, author, models):
    prompt = make_prompt(author, text="Say hello.", system="Be kind.")

    page = client.get(try_url(prompt))
    client.post(try_url(prompt), {"target": models[0].pk})

    assert "Say hello." in words(page)
    assert "Be kind." in words(page)
    assert Trial.objects.get().values == {}


# --- Answers ----------------------------------------------------------------------------------


def test_a_trial_under_way_asks_again_every_second_and_says_when_nothing_is_new(
    client, prompt, models
):
    trial = asked(prompt, models)

    page = client.get(f"/trials/{trial.pk}/")

    assert f'hx-get="/trials/{trial.pk}/?seen=queued-0" hx-trigger="every 1s"' in (
        page.content.decode()
    )
    assert "Waiting for its turn." in words(page)
    assert "Look again" in words(page)
    same = client.get(f"/trials/{trial.pk}/?seen=queued-0", headers=FRAGMENT)
    assert (same.status_code, same.content) == (204, b"")


def test_the_answers_stand_side_by_side_with_what_they_took(
    client, prompt, models, vendor_connection
):
    llm.save_price(
        connection=vendor_connection,
        model="large",
        input_per_million=Decimal(10),
        output_per_million=Decimal(100),
        currency="EUR",
        by=make_admin(),
    )
    trial = play(asked(prompt, models), Vendor(large="**Yes** <script>alert(7)</script>"))

    part = client.get(f"/trials/{trial.pk}/?seen=running-1", headers=FRAGMENT)

    html, said = part.content.decode(), words(part)
    assert html.lstrip().startswith('<div id="trial-body"')
    assert "every 1s" not in html
    assert "<script>" not in html
    assert "**Yes** &lt;script&gt;" in html
    assert "<strong>Yes</strong>" in html
    assert "1.2 s 1,000 tokens read, 500 written €0.06 answered by served" in said
    assert "I am small." in said


@pytest.mark.parametrize("kind", sorted(trial_words.TROUBLES))
def test_what_went_wrong_is_said_in_plain_words(client, prompt, models, kind):
    failed = LLMError(kind, "HTTP 418", permanent=True, attempts=1)
    trial = play(asked(prompt, models), Vendor(small=failed))

    said = words(client.get(f"/trials/{trial.pk}/"))

    assert str(trial_words.TROUBLES[kind].what) in said
    assert "HTTP 418" not in said


def test_only_administrators_are_shown_what_the_provider_said(client, prompt, models):
    admin = make_admin()
    failed = LLMError("auth", "HTTP 401 from vendor", permanent=True, attempts=1)
    trial = play(asked(prompt, models, by=admin), Vendor(small=failed))

    said = words(signed_in(admin).get(f"/trials/{trial.pk}/"))

    assert "HTTP 401 from vendor" in said
    assert "Open the connection" in said


def test_a_trial_is_stopped_and_says_so(client, prompt, models):
    trial = asked(prompt, models)

    answer = client.post(f"/trials/{trial.pk}/cancel/")

    assert answer["Location"] == f"/trials/{trial.pk}/"
    assert told(answer) == ["Stopped. What was answered stays."]
    assert "Stopped before an answer came." in words(client.get(f"/trials/{trial.pk}/"))


def test_answers_of_a_deleted_connection_stay_readable(client, prompt):
    connection = make_connection(name="Gone")
    trial = play(asked(prompt, [make_target(connection)]), Vendor())
    llm.delete_connection(connection=connection, by=make_admin())

    assert "I am simulated-stable." in words(client.get(f"/trials/{trial.pk}/"))


@pytest.mark.parametrize("role", ["reader", "author", "admin"])
def test_trials_of_others_do_not_exist(prompt, models, role):
    trial = play(asked(prompt, models), Vendor())
    keep = f"/trials/answers/{trial.answers.first().pk}/keep/"
    browser = signed_in(make_person(role))

    answers = [
        browser.get(f"/trials/{trial.pk}/"),
        browser.post(f"/trials/{trial.pk}/cancel/"),
        browser.post(f"/trials/{trial.pk}/delete/"),
        browser.post(keep, {"on": "1"}),
    ]

    assert [answer.status_code for answer in answers] == [404] * 4


# --- History ----------------------------------------------------------------------------------


def test_the_history_is_ones_own_and_can_be_deleted(client, prompt, models):
    trial = play(asked(prompt, models), Vendor())
    play(asked(prompt, models, by=make_admin()), Vendor())

    page = client.get(try_url(prompt))

    assert [past.trial for past in page.context["history"]] == [trial]
    assert "2 answers" in words(page)
    answer = client.post(f"/trials/{trial.pk}/delete/")
    assert answer["Location"] == try_url(prompt)
    assert client.get(try_url(prompt)).context["history"] == []


def test_three_trials_need_no_more_queries_than_one(client, prompt, models):
    first = play(asked(prompt, models[:1]), Vendor())
    paths = (try_url(prompt), f"/trials/{first.pk}/")
    before = [query_count(client, path) for path in paths]
    for hour in range(2):
        play(asked(prompt, models[:1], now=later(hours=hour + 1)), Vendor())

    assert [query_count(client, path) for path in paths] == before


# --- Keeping ----------------------------------------------------------------------------------


def test_an_answer_is_kept_on_the_page_of_the_prompt_and_taken_off_again(client, prompt, models):
    trial = play(asked(prompt, models), Vendor(small="# Look\n\nSeven **is** prime."))
    answer = trial.answers.get(model="small")
    keep = f"/trials/answers/{answer.pk}/keep/"

    part = client.post(keep, {"on": "1"}, headers=FRAGMENT)

    assert part.content.decode().count('aria-pressed="true"') == 1
    colleague = signed_in(make_person("reader"))
    page = colleague.get(f"/prompts/{prompt.slug}/")
    assert "Example of an answer" in words(page)
    assert "kept by Ada Author" in words(page)
    assert "<strong>is</strong>" in page.content.decode()
    assert f"/examples/{answer.pk}/remove/" not in page.content.decode()
    assert colleague.post(f"/examples/{answer.pk}/remove/").status_code == 403
    assert client.post(keep, {"on": "0"})["Location"] == f"/trials/{trial.pk}/"
    assert "Example of an answer" not in words(colleague.get(f"/prompts/{prompt.slug}/"))


def test_a_curator_removes_an_example(client, prompt, models):
    answer = play(asked(prompt, models), Vendor()).answers.first()
    trials.keep_as_example(answer=answer, by=prompt.author, now=NOW)
    curator = signed_in(make_person("curator"))
    assert (
        f"/examples/{answer.pk}/remove/" in curator.get(f"/prompts/{prompt.slug}/").content.decode()
    )

    removed = curator.post(f"/examples/{answer.pk}/remove/")

    assert removed["Location"] == f"/prompts/{prompt.slug}/"
    assert not trial_queries.examples(prompt).exists()
    assert curator.post(f"/examples/{answer.pk}/remove/").status_code == 404


def test_examples_cost_one_query_however_many(client, prompt, models):
    trial = play(asked(prompt, models), Vendor())
    path = f"/prompts/{prompt.slug}/"
    client.get(path)
    none = query_count(client, path)
    for answer in trial.answers.all():
        trials.keep_as_example(answer=answer, by=prompt.author, now=NOW)

    assert query_count(client, path) == none


def test_an_answer_becomes_a_test_case_with_the_checks_it_suggests(client, prompt, models):
    trial = play(asked(prompt, models, n="97"), Vendor(small='{"prime": true}'))
    answer = trial.answers.get(model="small")
    path = f"/prompts/{prompt.slug}/monitors/new/?answer={answer.pk}"
    assert path in client.get(f"/trials/{trial.pk}/").content.decode()

    draft = client.get(path).context["setup"].draft

    (case,) = draft.cases
    assert (draft.target, draft.version, case.values, case.answer) == (
        str(models[1].pk),
        "",
        {"n": "97"},
        '{"prime": true}',
    )
    assert {proposal.rule.type for proposal in case.proposals} == {"is-json"}
    other = make_prompt(prompt.author)
    assert client.get(f"/prompts/{other.slug}/monitors/new/?answer={answer.pk}").status_code == 404


def test_a_test_case_from_an_older_version_watches_that_version(client, author, prompt, models):
    trial = play(asked(prompt, models), Vendor())
    prompts.edit_prompt(
        prompt=prompt,
        fields=prompts.PromptFields(text="New {{ m }}"),
        by=author,
        now=NOW,
        based_on=None,
    )

    page = client.get(
        f"/prompts/{prompt.slug}/monitors/new/?answer={trial.answers.all()[0].pk}"
    ).context["setup"]

    assert (page.draft.version, page.draft.follows) == ("1", "no")
    assert [field.name for field in page.cases[0].values] == ["v-n"]


def test_a_report_on_an_answer_begins_with_its_version_and_model(client, author, prompt, models):
    trial = play(asked(prompt, models), Vendor())
    prompts.edit_prompt(
        prompt=prompt,
        fields=prompts.PromptFields(text="New {{ n }}"),
        by=author,
        now=NOW,
        based_on=None,
    )
    link = (
        f"/retrospectives/new/?prompt={prompt.slug}&amp;version={trial.version_id}&amp;model=small"
    )
    assert link in client.get(f"/trials/{trial.pk}/").content.decode()

    form = client.get(link.replace("&amp;", "&")).context["form"]

    assert (form.initial["version"], form.initial["model"]) == (str(trial.version_id), "small")
