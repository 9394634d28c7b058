import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from kb.drift import actions, incidents
from kb.drift.models import DriftReport, Incident
from tests.factories import (
    NOW,
    later,
    make_connection,
    make_department,
    make_monitor,
    make_person,
    make_prompt,
    make_target,
)
from tests.pages.reruns import monitored, rerun, words

pytestmark = pytest.mark.django_db


@pytest.fixture
def author(client):
    person = make_person("author", make_department("legal"), name="Ada Author")
    client.force_login(person)
    return person


@pytest.fixture
def target():
    return make_target(make_connection())


def drifting(prompt, target):
    """A monitor whose latest run drifted."""
    monitor = monitored(10, prompt=prompt, target=target)
    rerun(monitor, "no", later(days=1))
    return monitor


def joined(prompt, target):
    """A monitor with a report of drift in the open incident of its model, without its answers."""
    monitor = make_monitor(prompt, target)
    run = actions.record_baseline(monitor=monitor, by=monitor.owner, now=NOW)
    report = DriftReport.objects.create(run=run, baseline=run.baseline, verdict="drifted")
    return incidents.join(report, monitor, now=NOW)


def secret_of(person):
    return make_prompt(
        person,
        title="Severance",
        text="{{ n }}",
        visibility="departments",
        departments=[make_department("legal")],
    )


def show(client, incident):
    return client.get(reverse("incident", args=[incident.pk]))


def test_one_prompt_is_told_as_one_prompt_with_its_verdict(client, author, target):
    drifting(make_prompt(author, title="Primes", text="Is {{ n }} prime?"), target)

    text = words(show(client, Incident.objects.get()))

    assert "A prompt changed on simulated-stable Open simulated-stable simulated" in text
    assert "Primes Drifted The answers have become worse." in text
    assert "Only one prompt moved so far." in text


def test_two_prompts_make_a_model_that_has_changed(client, author, target):
    for title in ("Primes", "Sums"):
        joined(make_prompt(author, title=title, text="{{ n }}"), target)

    text = words(show(client, Incident.objects.get()))

    assert "simulated-stable has changed" in text
    assert ("Primes" in text, "Sums" in text) == (True, True)


def test_only_prompts_one_may_read_are_named_and_nothing_is_said_of_others(client, author, target):
    joined(make_prompt(author, title="Primes", text="{{ n }}"), target)
    found = joined(secret_of(author), target)
    client.force_login(make_person("author", make_department("sales")))

    page = show(client, found)

    assert [one.one.monitor.prompt.title for one in page.context["row"].touched] == ["Primes"]
    assert "Severance" not in page.content.decode()


def test_an_incident_of_hidden_prompts_alone_is_not_there(client, author, target):
    found = joined(secret_of(author), target)
    make_monitor(make_prompt(author, title="Primes", text="{{ n }}"), target)
    client.force_login(make_person("author", make_department("sales")))

    assert show(client, found).status_code == 404
    assert "Nothing" not in words(client.get(reverse("incidents")))
    assert "No incident so far" in words(client.get(reverse("incidents")))


def test_what_only_all_prompts_together_told_is_for_whoever_watches_the_model(
    client, author, target
):
    make_monitor(make_prompt(author, text="{{ n }}"), target)
    found = Incident.objects.create(target=target, opened=NOW, last_seen=NOW, is_of_model=True)

    assert "all of them together did" in words(show(client, found))


def test_what_was_accepted_is_closed(client, author, target):
    monitor = drifting(make_prompt(author, text="Is {{ n }} prime?"), target)
    actions.accept_as_normal(monitor=monitor, by=author, now=later(days=2))

    text = words(show(client, Incident.objects.get()))

    assert "Closed simulated-stable" in text
    assert "closes by itself" not in text


def test_the_page_of_a_monitor_leads_to_its_incident(client, author, target):
    monitor = drifting(make_prompt(author, text="Is {{ n }} prime?"), target)

    page = client.get(reverse("monitor", args=[monitor.pk]))

    assert reverse("incident", args=[Incident.objects.get().pk]) in page.content.decode()
    assert "the only prompt that changed on simulated-stable" in words(page)


def test_who_is_not_signed_in_is_asked_to(client, author, target):
    found = joined(make_prompt(author, text="{{ n }}"), target)
    client.logout()

    assert [
        client.get(path).status_code
        for path in (reverse("incidents"), reverse("incident", args=[found.pk]))
    ] == [302, 302]


def test_three_incidents_take_as_many_queries_as_one(client, author, target):
    def count():
        with CaptureQueriesContext(connection) as captured:
            assert client.get(reverse("incidents")).status_code == 200
        return len(captured)

    joined(make_prompt(author, text="{{ n }}"), target)
    count()
    one = count()
    for _number in range(2):
        joined(make_prompt(author, text="{{ n }}"), make_target(make_connection()))

    assert count() == one
