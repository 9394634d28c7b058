import pytest
from django.urls import reverse

from kb.community import actions as community
from kb.prompts import actions as prompts
from tests.factories import NOW, later, make_department, make_person, make_prompt, make_report

pytestmark = pytest.mark.django_db


@pytest.fixture
def person():
    return make_person(department=make_department("legal"), name="Ada Author")


@pytest.fixture
def colleague():
    return make_person(department=make_department("sales"))


def mine(client, person):
    client.force_login(person)
    return client.get(reverse("mine"))


def make_follow_up(report, owner, text="Warn people", **more):
    return community.add_follow_up(
        report=report,
        fields=community.FollowUpFields(text, owner=owner, **more),
        by=report.author,
        now=NOW,
    )


def shown(response):
    context = response.context
    return {
        "published": [(row.card.title, row.worked.n) for row in context["published"]],
        "drafts": [prompt.title for prompt in context["drafts"]],
        "followed": [prompt.title for prompt in context["followed"]],
        "reports": [report.title for report in context["reports"]],
        "follow_ups": [follow_up.text for follow_up in context["follow_ups"]],
    }


def test_everything_of_ones_own_is_on_one_page(client, person, colleague):
    own = make_prompt(person, title="Mine")
    make_prompt(person, title="Begun", status="draft")
    theirs = make_prompt(colleague, title="Theirs")
    prompts.watch(prompt=theirs, by=person)
    make_report(own, colleague, title="By another")
    report = make_report(theirs, person, title="My report")
    make_follow_up(report, person)

    response = mine(client, person)

    assert shown(response) == {
        "published": [("Mine", 1)],
        "drafts": ["Begun"],
        "followed": ["Theirs"],
        "reports": ["My report"],
        "follow_ups": ["Warn people"],
    }


def test_nothing_of_others_is_on_it(client, person, colleague):
    theirs = make_prompt(colleague)
    make_prompt(colleague, status="draft")
    make_follow_up(make_report(theirs, colleague), colleague)

    assert shown(mine(client, person)) == {
        "published": [],
        "drafts": [],
        "followed": [],
        "reports": [],
        "follow_ups": [],
    }


def test_each_empty_part_says_what_would_stand_there(client, person):
    page = mine(client, person).content.decode()

    words = ["Nothing published yet", "No report yet", "Nothing is waiting for you.", "No draft.",
             "Follow a prompt"]  # fmt: skip
    assert [word for word in words if word not in page] == []


def test_a_reader_is_told_how_to_become_an_author(client):
    page = mine(client, make_person("reader")).content.decode()

    assert "With the author role" in page
    assert reverse("prompt-new") not in page


def test_what_one_follows_and_may_no_longer_read_is_gone(client, person, colleague):
    theirs = make_prompt(colleague, title="Theirs", departments=[make_department("sales")])
    prompts.watch(prompt=theirs, by=person)

    prompts.edit_prompt(
        prompt=theirs,
        fields=prompts.PromptFields(visibility="departments"),
        by=colleague,
        now=NOW,
        based_on=None,
    )

    assert shown(mine(client, person))["followed"] == []


def test_open_follow_ups_come_by_urgency_and_done_ones_not_at_all(client, person, colleague):
    report = make_report(make_prompt(colleague), colleague)
    make_follow_up(report, person, "Some day")
    make_follow_up(report, person, "Next week", due=later(days=7).date())
    make_follow_up(report, person, "Tomorrow", due=later(days=1).date())
    done = make_follow_up(report, person, "Done")
    community.set_follow_up_state(follow_up=done, state="done", by=person)

    assert shown(mine(client, person))["follow_ups"] == ["Tomorrow", "Next week", "Some day"]


def test_a_follow_up_done_here_leads_back_here(client, person, colleague):
    follow_up = make_follow_up(make_report(make_prompt(colleague), colleague), person)
    client.force_login(person)

    response = client.post(
        reverse("follow-up", args=[follow_up.pk]), {"state": "done", "place": "mine"}
    )

    follow_up.refresh_from_db()
    assert (response.url, follow_up.state) == (reverse("mine"), "done")


def test_a_follow_up_is_late_in_words(client, person, colleague):
    report = make_report(make_prompt(colleague), colleague)
    make_follow_up(report, person, due=later(days=-1).date())

    assert "was due 1 March 2026" in mine(client, person).content.decode()


def test_long_shelves_lead_to_the_whole(client, person):
    for _number in range(11):
        make_prompt(person)
    for _number in range(6):
        make_report(None, person)

    response = mine(client, person)

    page = response.content.decode()
    assert (len(response.context["published"]), len(response.context["reports"])) == (10, 5)
    assert f'href="{reverse("prompts")}?q=author:me"' in page
    assert f'href="{reverse("retrospectives")}?author=me"' in page


def test_the_page_costs_the_same_for_one_of_each_and_three(
    client, person, colleague, django_assert_max_num_queries
):
    def add():
        make_prompt(person)
        make_prompt(person, status="draft")
        theirs = make_prompt(colleague)
        prompts.watch(prompt=theirs, by=person)
        make_follow_up(make_report(theirs, person), person)

    def queries():
        with django_assert_max_num_queries(100) as counted:
            client.get(reverse("mine"))
        return len(counted)

    client.force_login(person)
    add()
    queries()
    one = queries()
    add()
    add()

    assert queries() == one


def test_who_is_not_signed_in_signs_in_first(client):
    assert client.get(reverse("mine")).url.startswith(reverse("account_login"))
