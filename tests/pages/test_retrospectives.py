import csv
import io
import re
from datetime import date, timedelta

import pytest
from django.contrib.messages import get_messages
from django.urls import reverse
from django.utils import timezone, translation

from accounts.models import Membership
from kb.community import actions as community
from kb.community import reports
from kb.community.models import FollowUp, Retrospective, UsageSignal
from kb.notifications.models import Notification
from kb.prompts import actions as prompt_actions
from kb.views import retrospectives as views
from tests.factories import (
    NOW,
    make_department,
    make_person,
    make_prompt,
    make_report,
    make_tool,
    make_use_case,
)

pytestmark = pytest.mark.django_db
FRAGMENT = {"HX-Request": "true"}


@pytest.fixture
def legal():
    return make_department("legal")


@pytest.fixture
def author(legal):
    return make_person(department=legal, name="Ada Author")


@pytest.fixture
def colleague():
    """Somebody of another department."""
    return make_person(department=make_department("sales"), name="Carl Colleague")


@pytest.fixture
def stranger():
    """Somebody with an account and no role."""
    return make_person(role=None, name="Sam Stranger")


@pytest.fixture
def signed_in(client):
    def sign_in(person):
        client.force_login(person)
        return client

    return sign_in


@pytest.fixture
def prompt(author):
    return make_prompt(author, title="Summarise a thread", tools=[make_tool("chatgpt")])


@pytest.fixture
def secret(author, legal):
    """A prompt for its department only."""
    return make_prompt(author, title="Hidden clause", departments=[legal], visibility="departments")


def eight_answers(prompt, **more):
    make_tool("chatgpt")
    make_use_case("summarise")
    return {
        "title": "A thread of 34 mails",
        "use_case": "summarise",
        "version": str(prompt.current_id) if prompt else "none",
        "tool": "chatgpt",
        "model": "gpt-x",
        "outcome": "worked",
        "minutes_checking": "5",
        "quality": "same",
        "lesson": "Ask what is expected of you.",
        "language": "en",
        "is_anonymous": "0",
        **more,
    }


def new_url(**query):
    return reverse("retrospective-new", query=query)


def told(response):
    return [str(message) for message in get_messages(response.wsgi_request)]


def errors_of(response):
    return {name: list(texts) for name, texts in response.context["form"].errors.items()}


# --- posting -----------------------------------------------------------------------------------


def test_eight_answers_make_a_report(signed_in, author, prompt):
    response = signed_in(author).post(new_url(), eight_answers(prompt, department="legal"))

    report = Retrospective.objects.get()
    assert response.url == reverse("retrospective", args=[report.pk])
    assert (
        report.title, report.use_case.slug, report.version, report.tool.slug, report.model,
        report.outcome, report.minutes_checking, report.quality, report.lesson, report.author,
        report.department.slug, report.language, report.is_anonymous, report.task_date,
    ) == (
        "A thread of 34 mails", "summarise", prompt.current, "chatgpt", "gpt-x",
        "worked", 5, "same", "Ask what is expected of you.", author,
        "legal", "en", False, timezone.now().date(),
    )  # fmt: skip


def test_thanks_say_what_the_report_changed(signed_in, author, colleague, prompt):
    make_report(prompt, colleague, outcome="failed")

    response = signed_in(author).post(new_url(), eight_answers(prompt))

    assert told(response) == [
        "Thank you. Your report is published. This prompt now: worked in 1 of 2 uses."
    ]


def test_a_failure_is_thanked_for_most(signed_in, author, prompt):
    response = signed_in(author).post(new_url(), eight_answers(prompt, outcome="harmful"))

    (message,) = told(response)
    assert message == (
        "Thank you. What did not work is what colleagues learn most from. "
        "This prompt now: worked in 0 of 1 use."
    )


def test_everything_that_can_be_answered_is_kept(signed_in, author, prompt):
    rest = {
        "department": "legal",
        "task_date": "2026-02-27",
        "stakes": "client",
        "task_familiarity": "5",
        "tool_familiarity": "2",
        "data_class": "confidential",
        "expectation": "Five minutes.",
        "kept_share": "0",
        "counterfactual": "by_hand",
        "minutes_preparing": "2",
        "minutes_waiting": "1",
        "minutes_without": "25",
        "minutes_basis": "measured",
        "is_parallel_work": "on",
        "attempts": "3",
        "items": "34",
        "checked": "read",
        "incidents": ["invented_fact", "data_leak"],
        "incident_severity": "high",
        "is_incident_caught": "0",
        "evidence": "“No.”",
        "why_different": "Two people of one name.",
        "worked": "The dates.",
        "failed": "The names.",
        "lucky": "The order.",
        "would_reuse": "only_for",
        "reuse_note": "Short threads.",
        "advice": "Count first.",
        "when_not": "In court.",
    }

    signed_in(author).post(new_url(), eight_answers(prompt, is_anonymous="1", **rest))

    report = Retrospective.objects.get()
    assert {name: getattr(report, name) for name in [*rest, "is_anonymous"]} == {
        **rest,
        "department": make_department("legal"),
        "task_date": date(2026, 2, 27),
        "task_familiarity": 5,
        "tool_familiarity": 2,
        "kept_share": 0,
        "minutes_preparing": 2,
        "minutes_waiting": 1,
        "minutes_without": 25,
        "is_parallel_work": True,
        "attempts": 3,
        "items": 34,
        "is_incident_caught": False,
        "is_anonymous": True,
    }


def test_the_form_offers_every_answer_of_a_report():
    asked = set(community.ReportFields.__dataclass_fields__)

    assert asked <= set(views.ReportForm.base_fields)


def test_what_is_missing_is_named_and_nothing_typed_is_lost(signed_in, author, prompt):
    answers = eight_answers(prompt, title="", outcome="", quality="", worked="The dates <b>")

    response = signed_in(author).post(new_url(), answers)

    page = response.content.decode()
    assert response.status_code == 422
    assert errors_of(response) == {
        "title": ["This answer is needed."],
        "outcome": ["This answer is needed."],
        "quality": ["This answer is needed."],
    }
    assert "3 answers need another look" in page
    assert "The dates &lt;b&gt;</textarea>" in page
    assert 'value="gpt-x"' in page
    assert f'<option value="{prompt.current_id}" selected>' in page
    assert not Retrospective.objects.exists()


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("lesson", "x" * 201, "Ensure this value has at most 200 characters (it has 201)."),
        ("minutes_checking", "-1", "Ensure this value is greater than or equal to 0."),
        ("minutes_checking", "some", "Enter a whole number."),
        ("outcome", "fine", "Select a valid choice. fine is not one of the available choices."),
        ("version", "999999999999999999", "This prompt is not open to you any more. Choose again."),
        ("version", "9" * 5000, "This prompt is not open to you any more. Choose again."),
        ("version", "x'; --", "This prompt is not open to you any more. Choose again."),
    ],
)  # fmt: skip
def test_a_wrong_answer_is_refused_beside_its_field(
    signed_in, author, prompt, name, value, message
):
    response = signed_in(author).post(new_url(), eight_answers(prompt, **{name: value}))

    assert (response.status_code, errors_of(response)) == (422, {name: [message]})


def test_a_day_to_come_is_refused(signed_in, author, prompt):
    tomorrow = timezone.localdate() + timedelta(days=1)

    response = signed_in(author).post(
        new_url(), eight_answers(prompt, task_date=tomorrow.isoformat())
    )

    assert errors_of(response) == {"task_date": ["This day is still to come."]}


def test_a_folded_part_with_a_mistake_stands_open(signed_in, author, prompt):
    response = signed_in(author).post(new_url(), eight_answers(prompt, attempts="many"))

    folds = re.findall(r'<details class="fold" id="([-a-z]+)"( open)?>', response.content.decode())
    assert folds == [("context", ""), ("facts", " open"), ("analysis", ""), ("follow-ups", "")]


def test_a_lesson_of_200_characters_fits_however_it_was_typed(signed_in, author, prompt):
    lesson = " \r\n " + "é" * 200 + "  "

    signed_in(author).post(new_url(), eight_answers(prompt, lesson=lesson))

    assert Retrospective.objects.get().lesson == "é" * 200


def test_without_a_stored_prompt_the_typed_one_is_kept(signed_in, author):
    make_prompt(author)

    signed_in(author).post(new_url(), eight_answers(None, pasted_text="Be brief.\x00"))

    report = Retrospective.objects.get()
    assert (report.version, report.pasted_text) == (None, "Be brief.")


def test_a_typed_prompt_beside_a_stored_one_is_not_kept(signed_in, author, prompt):
    signed_in(author).post(new_url(), eight_answers(prompt, pasted_text="Be brief."))

    report = Retrospective.objects.get()
    assert (report.version, report.pasted_text) == (prompt.current, "")


def test_what_is_not_in_the_catalogue_is_named_as_such(signed_in, author, prompt):
    answers = eight_answers(prompt, use_case="other", tool="other")

    signed_in(author).post(new_url(), answers)

    report = Retrospective.objects.get()
    assert (report.use_case, report.tool) == (None, None)


def test_a_version_of_a_hidden_prompt_cannot_be_reported_on(signed_in, colleague, secret):
    response = signed_in(colleague).post(new_url(), eight_answers(secret))

    assert response.status_code == 422
    assert errors_of(response) == {
        "version": ["This prompt is not open to you any more. Choose again."]
    }
    assert "Hidden clause" not in response.content.decode()


def test_the_click_of_the_day_becomes_part_of_the_report(signed_in, author, prompt):
    community.signal(prompt=prompt, outcome="worked", by=author, now=timezone.now())

    response = signed_in(author).post(new_url(), eight_answers(prompt))

    assert UsageSignal.objects.get().retrospective == Retrospective.objects.get()
    assert told(response)[0].endswith("worked in 1 of 1 use.")


def test_somebody_without_a_role_is_told_whom_to_ask(signed_in, stranger):
    response = signed_in(stranger).get(new_url())

    assert response.status_code == 403
    assert "Ask an administrator" in response.content.decode()


@pytest.mark.parametrize("name", ["retrospectives", "retrospective-new"])
def test_who_is_not_signed_in_signs_in_first(client, name):
    response = client.get(reverse(name))

    assert response.url.startswith(reverse("account_login"))


# --- where the form begins -----------------------------------------------------------------------


def begins_with(response, *names):
    form = response.context["form"]
    return {name: form[name].value() for name in names}


def test_the_form_begins_with_the_prompt_and_the_profile(signed_in, legal, prompt):
    newcomer = make_person(department=legal, language="fr")

    response = signed_in(newcomer).get(new_url(prompt=prompt.slug))

    expected = {
        "version": str(prompt.current_id),
        "tool": "chatgpt",
        "department": "legal",
        "language": "fr",
        "is_anonymous": "0",
        "task_date": timezone.localdate(),
    }
    assert begins_with(response, *expected) == expected


def test_the_tool_of_the_last_report_is_most_likely_used_again(signed_in, author):
    make_report(None, author, tool=make_tool("le-chat"), model="Mistral")

    response = signed_in(author).get(new_url())

    assert begins_with(response, "tool", "model") == {"tool": "le-chat", "model": "Mistral"}


@pytest.mark.parametrize(
    ("clicked", "outcome"),
    [("worked", "worked"), ("with_edits", "worked_with_edits"), ("failed", "failed"), ("<", "<")],
)
def test_the_click_on_the_prompt_is_the_outcome_already(
    signed_in, author, prompt, clicked, outcome
):
    response = signed_in(author).get(new_url(prompt=prompt.slug, outcome=clicked))

    assert begins_with(response, "outcome") == {"outcome": outcome}


def test_a_hidden_prompt_in_the_address_is_not_offered(signed_in, colleague, secret):
    response = signed_in(colleague).get(new_url(prompt=secret.slug))

    assert response.status_code == 200
    assert "Hidden clause" not in response.content.decode()


def test_what_one_follows_and_used_is_offered(signed_in, author, colleague, prompt):
    make_prompt(author, title="Never used")
    community.signal(prompt=prompt, outcome="worked", by=colleague, now=NOW)

    page = signed_in(colleague).get(new_url()).content.decode()

    assert "Summarise a thread · version 1, the newest" in page
    assert "Never used" not in page


def test_the_search_for_a_prompt_answers_with_the_list_alone(signed_in, colleague, prompt, secret):
    response = signed_in(colleague).get(new_url(find="summarise"), headers=FRAGMENT)

    page = response.content.decode()
    assert page.strip().startswith('<div id="version-choice">')
    assert f'<option value="{prompt.current_id}" selected>' in page
    assert "Chosen: “Summarise a thread”." in page


@pytest.mark.parametrize("words", ["hidden clause", "hidden-clause", "/prompts/hidden-clause/"])
def test_the_search_finds_no_prompt_of_others(signed_in, colleague, secret, words):
    response = signed_in(colleague).get(new_url(find=words), headers=FRAGMENT)

    page = response.content.decode()
    assert f"No prompt found for “{words}”" in page
    assert str(secret.current_id) not in re.findall(r'<option value="(\d+)"', page)


@pytest.mark.parametrize(
    "words", ["Summarise a thread", "summarise-a-thread", "http://x.test/prompts/summarise-a-thread/"]
)  # fmt: skip
def test_a_prompt_is_found_by_title_slug_and_address(signed_in, colleague, prompt, words):
    response = signed_in(colleague).get(new_url(find=words), headers=FRAGMENT)

    assert response.context["found"] == [prompt]


def test_a_search_without_result_keeps_what_was_chosen(signed_in, author, prompt):
    response = signed_in(author).get(
        new_url(find="zzz", version=prompt.current_id), headers=FRAGMENT
    )

    assert f'<option value="{prompt.current_id}" selected>' in response.content.decode()


def test_looking_for_a_prompt_without_scripts_keeps_what_was_typed(signed_in, colleague, prompt):
    answers = eight_answers(None, title="", lesson="So far", find="summarise", look="1")

    response = signed_in(colleague).post(new_url(), answers)

    page = response.content.decode()
    assert response.status_code == 200
    assert ("needs another look" in page, "So far</textarea>" in page) == (False, True)
    assert f'<option value="{prompt.current_id}" selected>' in page
    assert not Retrospective.objects.exists()


# --- follow-ups ----------------------------------------------------------------------------------


def test_follow_ups_are_noted_and_their_owner_is_told(signed_in, author, colleague, prompt):
    answers = eight_answers(
        prompt,
        todo_1_text="Warn about names",
        todo_1_owner="carl colleague",
        todo_1_due="2026-12-24",
        todo_1_kind="training",
        todo_3_text="Shorten it",
    )

    signed_in(author).post(new_url(), answers)

    assert list(FollowUp.objects.values_list("text", "owner", "due", "kind", "state")) == [
        ("Warn about names", colleague.pk, date(2026, 12, 24), "training", "open"),
        ("Shorten it", None, None, "prompt_change", "open"),
    ]
    assert [n.recipient for n in Notification.objects.filter(kind="follow_up")] == [colleague]


def test_an_owner_is_found_by_address_among_people_of_one_name(signed_in, author, prompt):
    make_person(name="Jean Martin", email="jean@company.test")
    second = make_person(name="Jean Martin", email="jm@company.test")
    client = signed_in(author)
    line = {"todo_1_text": "Do it"}

    refused = client.post(new_url(), eight_answers(prompt, todo_1_owner="Jean Martin", **line))
    client.post(new_url(), eight_answers(prompt, todo_1_owner="JM@company.test", **line))

    assert errors_of(refused) == {
        "todo_1_owner": ["More than one person is called “Jean Martin”. Type the e-mail address."]
    }
    assert FollowUp.objects.get().owner == second


def test_an_owner_must_be_here_and_able_to_read_the_prompt(signed_in, author, colleague, secret):
    client = signed_in(author)
    line = {"todo_1_text": "Do it"}

    nobody = client.post(new_url(), eight_answers(secret, todo_1_owner="Godot", **line))
    reader = client.post(new_url(), eight_answers(secret, todo_1_owner=colleague.email, **line))

    assert [errors_of(response) for response in (nobody, reader)] == [
        {
            "todo_1_owner": [
                "Nobody here is called “Godot”. Choose from the list, or type an e-mail address."
            ]
        },
        {"todo_1_owner": ["Carl Colleague cannot read this prompt, so choose somebody else."]},
    ]


def test_a_follow_up_without_words_is_asked_for(signed_in, author, prompt):
    response = signed_in(author).post(new_url(), eight_answers(prompt, todo_2_due="2026-12-24"))

    assert errors_of(response) == {"todo_2_text": ["Say what should be done, or empty this line."]}


@pytest.fixture
def follow_up(author, colleague, prompt):
    report = make_report(prompt, author)
    return community.add_follow_up(
        report=report,
        fields=community.FollowUpFields("Warn people", owner=colleague),
        by=author,
        now=NOW,
    )


def test_its_owner_and_the_author_change_a_follow_up(signed_in, author, colleague, follow_up):
    url = reverse("follow-up", args=[follow_up.pk])
    states = []

    for person, state in [(colleague, "done"), (author, "open"), (colleague, "dropped")]:
        response = signed_in(person).post(url, {"state": state})
        follow_up.refresh_from_db()
        states.append((response.url, follow_up.state))

    page = reverse("retrospective", args=[follow_up.retrospective_id])
    assert states == [(page, "done"), (page, "open"), (page, "dropped")]


def test_others_read_a_follow_up_and_leave_it(signed_in, follow_up):
    client = signed_in(make_person())

    response = client.post(reverse("follow-up", args=[follow_up.pk]), {"state": "done"})
    page = client.get(reverse("retrospective", args=[follow_up.retrospective_id]))

    follow_up.refresh_from_db()
    assert (response.status_code, follow_up.state) == (403, "open")
    assert "Warn people" in page.content.decode()
    assert "-change" not in page.content.decode()


def test_a_follow_up_is_hidden_with_its_report(signed_in, author, colleague, stranger, secret):
    report = make_report(secret, author)
    hidden = community.add_follow_up(
        report=report, fields=community.FollowUpFields("Do it"), by=author, now=NOW
    )
    url = reverse("follow-up", args=[hidden.pk])

    answers = [signed_in(p).post(url, {"state": "done"}) for p in (colleague, stranger)]

    assert [answer.status_code for answer in answers] == [404, 404]


def test_an_owner_who_lost_every_role_changes_nothing(signed_in, colleague, follow_up):
    Membership.objects.filter(person=colleague).delete()

    response = signed_in(colleague).post(
        reverse("follow-up", args=[follow_up.pk]), {"state": "done"}
    )

    follow_up.refresh_from_db()
    assert (response.status_code, follow_up.state) == (404, "open")


def test_a_follow_up_is_swapped_in_place(signed_in, colleague, follow_up):
    response = signed_in(colleague).post(
        reverse("follow-up", args=[follow_up.pk]), {"state": "done"}, headers=FRAGMENT
    )

    page = response.content.decode()
    assert f'id="follow-up-{follow_up.pk}"' in page
    assert f'id="follow-up-{follow_up.pk}-change" name="state" value="open"' in page
    assert "<html" not in page


def test_an_unknown_state_is_refused(signed_in, colleague, follow_up):
    response = signed_in(colleague).post(
        reverse("follow-up", args=[follow_up.pk]), {"state": "nearly"}
    )

    assert response.status_code == 422


def test_the_author_notes_one_more_follow_up(signed_in, author, colleague, prompt):
    report = make_report(prompt, author)
    url = reverse("retrospective-follow-up", args=[report.pk])

    empty = signed_in(author).post(url, {"text": "", "owner": "Carl Colleague"})
    signed_in(author).post(url, {"text": "Tell sales", "owner": "Carl Colleague", "kind": "rule"})
    other = signed_in(colleague).post(url, {"text": "Mine"})

    assert (empty.status_code, other.status_code) == (422, 403)
    assert 'value="Carl Colleague"' in empty.content.decode()
    assert list(report.follow_ups.values_list("text", "owner", "kind")) == [
        ("Tell sales", colleague.pk, "rule")
    ]


# --- the page of a report ------------------------------------------------------------------------


def page_of(client, report):
    return client.get(reverse("retrospective", args=[report.pk]))


def test_a_report_is_read_by_whoever_reads_its_prompt(
    signed_in, author, colleague, stranger, prompt, secret
):
    company, hidden = make_report(prompt, author), make_report(secret, author)

    statuses = {
        person.name: [
            page_of(signed_in(person), report).status_code for report in (company, hidden)
        ]
        for person in (author, colleague, stranger)
    }

    assert statuses == {
        "Ada Author": [200, 200],
        "Carl Colleague": [200, 404],
        "Sam Stranger": [404, 404],
    }


@pytest.mark.parametrize("pk", [0, 10**30])
def test_a_report_that_is_not_there_is_not_found(signed_in, author, pk):
    assert signed_in(author).get(f"/retrospectives/{pk}/").status_code == 404


def test_a_report_tells_what_was_answered_and_nothing_else(signed_in, colleague, author, prompt):
    report = make_report(
        prompt,
        author,
        worked="The **dates**.",
        stakes="regulated",
        attempts=2,
        incidents=["refusal"],
    )

    response = page_of(signed_in(colleague), report)

    page = response.content.decode()
    assert response.context["facts"] == [("Stakes", "Regulated"), ("Attempts", "2")]
    assert "<strong>dates</strong>" in page
    assert "Refusal to answer" in page
    titles = re.findall(r'class="story__title"[^>]*>(?:<svg.*?</svg>)?([^<]+)<', page)
    assert titles == ["What worked"]
    assert "Time gained or lost" not in page


def test_the_net_minutes_are_reckoned_before_the_reader(signed_in, colleague, prompt):
    report = make_report(
        prompt,
        minutes_without=30,
        minutes_preparing=3,
        minutes_waiting=1,
        minutes_checking=31,
        counterfactual="by_hand",
    )

    response = page_of(signed_in(colleague), report)

    assert response.context["reckoning"] == reports.Reckoning(30, 3, 1, 31, net=-5, reason="")
    assert "<b>−5\u00a0min</b>" in response.content.decode()
    assert "lost, everything counted" in response.content.decode()


@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        ({"counterfactual": "not_done"}, "counterfactual"),
        ({"counterfactual": "unknown"}, "counterfactual"),
        ({"counterfactual": "by_hand", "is_parallel_work": True}, "parallel"),
        ({"counterfactual": "by_hand", "minutes_waiting": None}, "missing"),
        ({"counterfactual": ""}, "missing"),
    ],
)
def test_minutes_that_cannot_be_compared_say_why(prompt, answers, reason):
    minutes = {
        "minutes_without": 30,
        "minutes_preparing": 3,
        "minutes_waiting": 1,
        "minutes_checking": 8,
    }
    report = make_report(prompt, **{**minutes, **answers})

    reckoning = reports.reckon(report)

    assert (reckoning.net, reckoning.reason) == (None, reason)


def test_who_wants_no_name_is_a_colleague_everywhere(signed_in, author, colleague, legal, prompt):
    report = make_report(prompt, author, is_anonymous=True, department=legal, title="Unnamed")
    community.add_to_retrospective(report=report, text="Since then: fine.", by=author, now=NOW)
    prompt_by_another = make_prompt(make_person(name="Olga Other"))
    Retrospective.objects.filter(pk=report.pk).update(version=prompt_by_another.current)
    client = signed_in(colleague)

    pages = [
        page_of(client, report).content.decode(),
        client.get(reverse("retrospectives")).content.decode(),
        client.get(reverse("retrospectives"), {"format": "csv"}).content.decode(),
    ]

    assert ["Unnamed" in page for page in pages] == [True, True, True]
    assert ["Ada Author" in page for page in pages] == [False, False, False]
    assert ["a colleague in Legal" in page for page in pages[:2]] == [True, True]


def test_links_to_what_one_may_not_read_are_not_there(signed_in, author, colleague, prompt, secret):
    report, hidden = make_report(prompt, author), make_report(secret, author, title="Hidden story")
    other = make_report(prompt, colleague, title="Open story")
    link = community.link_retrospective
    link(report=report, kind="confirms", by=author, other=hidden)
    link(report=report, kind="nuances", by=author, prompt=secret)
    link(report=report, kind="contradicts", by=author, other=other)
    link(report=hidden, kind="confirms", by=author, other=report)

    page = page_of(signed_in(colleague), report).content.decode()

    assert "Open story" in page
    assert "Hidden story" not in page
    assert "Hidden clause" not in page
    assert "Confirmed by" not in page


def test_a_report_shows_who_confirms_it(signed_in, author, colleague, prompt):
    report, other = make_report(prompt, author), make_report(prompt, colleague, title="Second try")
    community.link_retrospective(report=other, kind="confirms", by=colleague, other=report)

    page = page_of(signed_in(author), report).content.decode()

    assert re.search(r"Confirmed by</span>\s*<a [^>]*>Second try</a>", page)


def test_only_the_author_sees_the_forms_of_the_author(signed_in, author, colleague, prompt):
    report = make_report(prompt, author, now=timezone.now())

    seen = {
        person.name: [word in page_of(signed_in(person), report).content.decode()
                      for word in ("Correct it", "Add a word", "Link it to another")]
        for person in (author, colleague)
    }  # fmt: skip

    assert seen == {"Ada Author": [True] * 3, "Carl Colleague": [False] * 3}


def test_a_page_costs_the_same_for_one_follow_up_and_three(
    signed_in, author, colleague, prompt, django_assert_max_num_queries
):
    report = make_report(prompt, author)

    def queries():
        with django_assert_max_num_queries(100) as counted:
            page_of(client, report)
        return len(counted)

    def add():
        fields = community.FollowUpFields("Do it", owner=colleague)
        community.add_follow_up(report=report, fields=fields, by=author, now=NOW)
        community.add_to_retrospective(report=report, text="More", by=author, now=NOW)
        community.link_retrospective(
            report=report, kind="confirms", by=author, other=make_report(prompt)
        )

    add()
    client = signed_in(author)
    page_of(client, report)
    one = queries()
    add()
    add()

    assert queries() == one


# --- correcting and adding -----------------------------------------------------------------------


def edit_url(report):
    return reverse("retrospective-edit", args=[report.pk])


def test_a_report_is_corrected_with_everything_it_said(signed_in, author, prompt):
    report = make_report(
        prompt,
        author,
        now=timezone.now(),
        tool=make_tool("chatgpt"),
        use_case=make_use_case(),
        quality="same",
        minutes_checking=5,
        incidents=["refusal"],
        is_incident_caught=True,
        kept_share=0,
        is_anonymous=True,
        advice="Count first.",
    )
    client = signed_in(author)
    form = client.get(edit_url(report)).context["form"]
    shown = {field.html_name: field.value() for field in form}
    before = Retrospective.objects.filter(pk=report.pk).values().get()

    answers = {name: v for name, v in shown.items() if v is not None and v is not False}
    client.post(edit_url(report), answers | {"title": "Better title"})

    after = Retrospective.objects.filter(pk=report.pk).values().get()
    assert after.pop("edited") is not None
    assert after == {k: v for k, v in before.items() if k != "edited"} | {"title": "Better title"}


def test_a_correction_insists_on_nothing_that_was_left_open(signed_in, author, prompt):
    report = make_report(prompt, author, now=timezone.now())
    answers = {"title": "T", "outcome": "failed", "lesson": "L", "language": "en",
               "version": str(prompt.current_id)}  # fmt: skip

    response = signed_in(author).post(edit_url(report), answers)

    report.refresh_from_db()
    assert (response.status_code, report.outcome, report.quality) == (302, "failed", "")


@pytest.mark.parametrize("method", ["get", "post"])
def test_only_its_author_corrects_a_report_and_only_for_a_week(
    signed_in, author, colleague, stranger, prompt, method
):
    fresh = make_report(prompt, author, now=timezone.now())
    old = make_report(prompt, author, now=timezone.now() - timedelta(days=8))

    def status(person, report):
        return getattr(signed_in(person), method)(edit_url(report)).status_code

    assert [status(colleague, fresh), status(stranger, fresh), status(author, old)] == [
        403,
        404,
        403,
    ]


def test_a_correction_over_a_newer_one_is_shown_first(signed_in, author, prompt):
    report = make_report(prompt, author, now=timezone.now())
    client = signed_in(author)
    seen_by_both = client.get(edit_url(report)).context["form"]["seen"].value()
    answers = eight_answers(prompt, seen=seen_by_both)
    client.post(edit_url(report), answers | {"title": "First"})

    second = client.post(edit_url(report), answers | {"title": "Second"})

    report.refresh_from_db()
    assert (second.status_code, report.title) == (409, "First")
    assert 'value="Second"' in second.content.decode()
    again = answers | {"title": "Second", "seen": second.context["form"]["seen"].value()}
    client.post(edit_url(report), again)
    report.refresh_from_db()
    assert report.title == "Second"


def test_a_mistake_in_a_correction_keeps_what_was_typed(signed_in, author, prompt):
    report = make_report(prompt, author, now=timezone.now(), title="Before")

    response = signed_in(author).post(
        edit_url(report), eight_answers(prompt, title="After", lesson="")
    )

    report.refresh_from_db()
    assert (response.status_code, report.title) == (422, "Before")
    assert 'value="After"' in response.content.decode()


def test_the_author_adds_a_dated_word_at_any_time(signed_in, author, colleague, prompt):
    report = make_report(prompt, author, now=timezone.now() - timedelta(days=90))
    url = reverse("retrospective-add", args=[report.pk])

    signed_in(author).post(url, {"text": "It *held*."})
    empty = signed_in(author).post(url, {"text": " "})
    other = signed_in(colleague).post(url, {"text": "Me too"})

    assert [a.html for a in report.addenda.all()] == ["<p>It <em>held</em>.</p>"]
    assert (empty.status_code, other.status_code) == (422, 403)
    assert "One answer needs another look" in empty.content.decode()


@pytest.mark.parametrize(
    "target", ["Other story", "other story", "http://x.test/retrospectives/{pk}/"]
)
def test_a_report_is_linked_by_title_or_address(signed_in, author, colleague, prompt, target):
    report, other = make_report(prompt, author), make_report(prompt, colleague, title="Other story")

    signed_in(author).post(
        reverse("retrospective-link", args=[report.pk]),
        {"kind": "nuances", "target": target.format(pk=other.pk)},
    )

    assert list(report.links.values_list("kind", "report", "prompt")) == [
        ("nuances", other.pk, None)
    ]


def test_a_report_is_linked_to_a_prompt(signed_in, author, prompt):
    report = make_report(None, author)

    signed_in(author).post(
        reverse("retrospective-link", args=[report.pk]),
        {"kind": "confirms", "target": "https://x.test/prompts/summarise-a-thread/#reports"},
    )

    assert list(report.links.values_list("kind", "report", "prompt")) == [
        ("confirms", None, prompt.pk)
    ]


def test_a_link_to_nothing_to_itself_or_to_two_is_refused(signed_in, author, colleague, prompt):
    report = make_report(prompt, author, title="Itself")
    make_report(prompt, colleague, title="Twin")
    make_report(prompt, colleague, title="Twin")
    url = reverse("retrospective-link", args=[report.pk])
    client = signed_in(author)
    missing = "There is no report or prompt “%s” here. Paste the address of its page."

    messages = [
        client.post(url, {"kind": "confirms", "target": target}).context["link_form"].errors["target"][0]
        for target in ("Nothing", f"/retrospectives/{report.pk}/", "Twin")
    ]  # fmt: skip

    assert messages == [
        missing % "Nothing",
        missing % f"/retrospectives/{report.pk}/",
        "More than one has the title “Twin”. Paste the address of its page.",
    ]
    assert not report.links.exists()


def test_only_the_author_links_a_report(signed_in, author, colleague, prompt):
    report = make_report(prompt, author)

    response = signed_in(colleague).post(
        reverse("retrospective-link", args=[report.pk]),
        {"kind": "confirms", "target": prompt.title},
    )

    assert response.status_code == 403


def test_a_hidden_report_cannot_be_linked(signed_in, author, colleague, prompt, secret):
    mine, hidden = make_report(prompt, colleague), make_report(secret, author, title="Hidden story")

    response = signed_in(colleague).post(
        reverse("retrospective-link", args=[mine.pk]),
        {"kind": "confirms", "target": "Hidden story"},
    )

    assert response.status_code == 422
    assert not mine.links.exists()
    assert hidden.linked_from.count() == 0


# --- the list ------------------------------------------------------------------------------------


def titles(response):
    return [report.title for report in response.context["page"]]


@pytest.fixture
def library(author, colleague, legal, prompt):
    """Four reports, one of each kind the filters tell apart."""
    sales = make_department("sales")
    chat, lechat = make_tool("chatgpt"), make_tool("le-chat")
    draft, check = make_use_case("draft"), make_use_case("check")
    rows = [
        ("Résumé raté", "failed", legal, chat, draft, prompt, author),
        ("Harm done", "harmful", sales, lechat, check, None, colleague),
        ("Half a table", "partly", legal, lechat, check, None, colleague),
        ("All good", "worked", sales, chat, draft, prompt, colleague),
    ]
    for day, (title, outcome, department, tool, use_case, of, by) in enumerate(rows):
        make_report(
            of, by, now=NOW + timedelta(days=day), title=title, outcome=outcome,
            department=department, tool=tool, use_case=use_case, language="fr",
        )  # fmt: skip


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({}, ["All good", "Half a table", "Harm done", "Résumé raté"]),
        ({"outcome": ["failed"]}, ["Résumé raté"]),
        ({"outcome": ["failed", "harmful", "partly"]}, ["Half a table", "Harm done", "Résumé raté"]),
        ({"department": ["legal"]}, ["Half a table", "Résumé raté"]),
        ({"tool": ["le-chat"], "department": ["sales"]}, ["Harm done"]),
        ({"use_case": ["draft"]}, ["All good", "Résumé raté"]),
        ({"prompt": ["summarise-a-thread"]}, ["All good", "Résumé raté"]),
        ({"author": ["me"]}, ["Résumé raté"]),
        ({"q": ["resumes rates"]}, ["Résumé raté"]),
        ({"q": ["nothing like it"]}, []),
        ({"department": ["nowhere"]}, []),
        ({"prompt": ["nowhere"]}, []),
        ({"outcome": ["\x00"], "q": ["\x00"], "page": ["x"]}, ["All good", "Half a table", "Harm done", "Résumé raté"]),
    ],
)  # fmt: skip
def test_the_address_says_what_is_listed(signed_in, author, library, asked, expected):
    response = signed_in(author).get(reverse("retrospectives"), asked)

    assert (response.status_code, titles(response)) == (200, expected)


def test_what_did_not_work_has_its_own_tab(signed_in, author, library):
    response = signed_in(author).get(
        reverse("retrospectives"), {"outcome": ["failed", "partly", "harmful"]}
    )

    assert [(tab.label, tab.count, tab.is_chosen) for tab in response.context["tabs"]] == [
        ("All reports", 4, False),
        ("What did not work", 3, True),
        ("What worked", 1, False),
    ]


def test_facets_count_what_choosing_them_would_show(signed_in, author, library):
    response = signed_in(author).get(reverse("retrospectives"), {"department": ["legal"]})

    counts = {
        box.name: {value.value: value.count for value in box.values}
        for box in response.context["boxes"]
    }
    assert counts == {
        "outcome": {"failed": 1, "partly": 1},
        "department": {"legal": 2, "sales": 2},
        "use_case": {"check": 1, "draft": 1},
        "tool": {"chatgpt": 1, "le-chat": 1},
    }


def test_hidden_reports_are_neither_listed_nor_counted_nor_exported(
    signed_in, author, colleague, secret, legal
):
    make_report(secret, author, title="Hidden story", department=legal, lesson="A hidden lesson.")
    client = signed_in(colleague)
    url = reverse("retrospectives")

    answers = [client.get(url, asked) for asked in ({}, {"q": "hidden"}, {"format": "csv"},
                                                     {"prompt": secret.slug})]  # fmt: skip

    pages = [answer.content.decode() for answer in answers]
    assert [w for w in ("Hidden story", "A hidden lesson.") for p in pages if w in p] == []
    assert [titles(answers[n]) for n in (0, 1, 3)] == [[], [], []]
    assert answers[0].context["boxes"] == []
    assert "prompt" not in answers[3].context


def test_the_list_of_one_prompt_shows_its_evidence(signed_in, author, library, prompt):
    response = signed_in(author).get(reverse("retrospectives"), {"prompt": prompt.slug})

    assert response.context["prompt"] == prompt
    assert response.context["tally"].total.n == 2
    assert "Worked in 1 of 2 uses" in response.content.decode()


def test_a_list_without_reports_invites_the_first(signed_in, author):
    page = signed_in(author).get(reverse("retrospectives")).content.decode()

    assert "Nobody has reported yet" in page
    assert reverse("retrospective-new") in page


def test_a_filter_changes_only_the_results(signed_in, author, library):
    response = signed_in(author).get(
        reverse("retrospectives"), {"outcome": "failed"}, headers=FRAGMENT
    )

    page = response.content.decode()
    assert page.strip().startswith('<div id="results"')
    assert "Résumé raté" in page


def test_twenty_reports_make_a_page(signed_in, author, prompt):
    for number in range(21):
        make_report(prompt, author, title=f"Report {number}", now=NOW + timedelta(days=number))

    response = signed_in(author).get(reverse("retrospectives"), {"page": "2"})

    assert titles(response) == ["Report 0"]


def test_a_list_costs_the_same_for_one_report_and_three(
    signed_in, author, prompt, django_assert_max_num_queries
):
    client = signed_in(author)

    def queries():
        with django_assert_max_num_queries(100) as counted:
            client.get(reverse("retrospectives"))
        return len(counted)

    make_report(prompt)
    queries()
    one = queries()
    make_report(prompt)
    make_report(make_prompt())

    assert queries() == one


def test_words_beyond_the_limit_are_said_to_be_cut(signed_in, author, prompt, monkeypatch):
    monkeypatch.setattr(reports, "MOST_MATCHES", 1)
    make_report(prompt, title="Old table", now=NOW)
    make_report(prompt, title="New table", now=NOW + timedelta(days=1))

    response = signed_in(author).get(reverse("retrospectives"), {"q": "table"})

    assert titles(response) == ["New table"]
    assert "among the newest 1." in response.content.decode()


def test_a_prompt_that_was_closed_is_not_named_in_ones_own_report(
    signed_in, author, colleague, legal, prompt
):
    report = make_report(prompt, colleague, now=timezone.now(), title="My use")
    hide = prompt_actions.PromptFields(
        title="Case of Mrs X", departments=[legal], visibility="departments"
    )
    prompt_actions.edit_prompt(prompt=prompt, fields=hide, by=author, now=NOW, based_on=None)
    client = signed_in(colleague)
    url = reverse("retrospectives")

    answers = [client.get(url), client.get(url, {"format": "csv"}), page_of(client, report),
               client.get(edit_url(report)), client.get(reverse("mine"))]  # fmt: skip

    pages = [answer.content.decode() for answer in answers]
    assert ["My use" in page for page in pages] == [True] * 5
    assert ["Case of Mrs X" in page for page in pages] == [False] * 5


def test_a_correction_keeps_the_version_of_a_prompt_that_was_closed(
    signed_in, author, colleague, legal, prompt
):
    report = make_report(prompt, colleague, now=timezone.now())
    hide = prompt_actions.PromptFields(departments=[legal], visibility="departments")
    prompt_actions.edit_prompt(prompt=prompt, fields=hide, by=author, now=NOW, based_on=None)
    client = signed_in(colleague)
    form = client.get(edit_url(report)).context["form"]

    answers = eight_answers(prompt, title="Better", version=form["version"].value())
    client.post(edit_url(report), answers)

    report.refresh_from_db()
    assert (report.title, report.version) == ("Better", prompt.current)


# --- the export ----------------------------------------------------------------------------------


def table(response, separator=","):
    text = response.content.decode("utf-8")
    assert text.startswith("\ufeff")
    header, *rows = csv.reader(io.StringIO(text[1:]), delimiter=separator)
    return [dict(zip(header, row, strict=True)) for row in rows]


def test_the_export_is_the_list_on_all_its_pages(signed_in, author, library):
    client = signed_in(author)

    response = client.get(
        reverse("retrospectives"), {"department": "legal", "format": "csv", "page": "7"}
    )

    assert response["Content-Type"] == "text/csv; charset=utf-8"
    assert re.fullmatch(
        r'attachment; filename="retrospectives-\d{4}-\d\d-\d\d.csv"',
        response["Content-Disposition"],
    )
    assert [(row["Title"], row["Outcome"], row["Department"]) for row in table(response)] == [
        ("Half a table", "Worked in part", "Legal"),
        ("Résumé raté", "Did not work", "Legal"),
    ]


def test_the_export_says_everything_of_a_report(signed_in, author, legal, prompt):
    report = make_report(
        prompt,
        author,
        department=legal,
        tool=make_tool("chatgpt"),
        use_case=make_use_case("summarise"),
        model="gpt-x",
        task_date=date(2026, 2, 27),
        minutes_without=30,
        minutes_preparing=30,
        minutes_waiting=1,
        minutes_checking=8,
        counterfactual="by_hand",
        incidents=["refusal", "data_leak"],
        is_incident_caught=False,
        kept_share=0,
    )

    (row,) = table(signed_in(author).get(reverse("retrospectives"), {"format": "csv"}))

    answered = {name: cell for name, cell in row.items() if cell}
    assert answered == {
        "Report number": str(report.pk),
        "Reported on": "2026-03-02",
        "Day of the task": "2026-02-27",
        "Title": report.title,
        "Lesson": "Read it before you send it.",
        "Outcome": "Worked as is",
        "Reported by": "Ada Author",
        "Department": "Legal",
        "Use case": "Summarise",
        "Prompt": "Summarise a thread",
        "Version": "1",
        "Tool": "Chatgpt",
        "Model": "gpt-x",
        "Language": "en",
        "Kept, %": "0",
        "Without AI": "Done by hand",
        "Minutes without AI": "30",
        "Minutes preparing": "30",
        "Minutes waiting": "1",
        "Minutes checking and fixing": "8",
        "Net minutes": "-9",
        "Parallel work": "no",
        "Incidents": "Refusal to answer, Data leak",
        "Caught before use": "no",
    }


@pytest.mark.parametrize("start", ["=", "+", "-", "@"])
def test_no_cell_of_the_export_is_a_formula(signed_in, author, prompt, start):
    make_report(
        prompt,
        make_person(name=f"{start}Name"),
        title=f"{start}1+1",
        lesson=f"{start}cmd|' /C calc'!A0",
        model=f"{start}m",
        advice=f"{start}SUM(A1)",
    )

    (row,) = table(signed_in(author).get(reverse("retrospectives"), {"format": "csv"}))

    assert [row[name] for name in ("Title", "Lesson", "Model", "Advice", "Reported by")] == [
        f"'{start}1+1",
        f"'{start}cmd|' /C calc'!A0",
        f"'{start}m",
        f"'{start}SUM(A1)",
        f"'{start}Name",
    ]


def test_a_french_export_is_for_a_french_spreadsheet(signed_in, prompt):
    reader = make_person(language="fr")
    make_report(prompt, title="Fini; enfin")

    response = signed_in(reader).get(reverse("retrospectives"), {"format": "csv"})

    first, second = response.content.decode().splitlines()
    with translation.override("fr"):
        assert first.count(";") == len(views._columns()) - 1
    assert '"Fini; enfin"' in second


def test_an_export_too_long_for_one_file_names_the_limit(signed_in, author, prompt, monkeypatch):
    monkeypatch.setattr(views, "MOST_EXPORTED", 1)
    make_report(prompt)
    make_report(prompt)

    response = signed_in(author).get(reverse("retrospectives"), {"format": "csv"})

    assert response.status_code == 422
    assert "These are 2 reports; one file takes 1." in response.content.decode()


def test_who_loses_every_role_reads_nothing_more(signed_in, colleague, prompt):
    report = make_report(prompt)
    client = signed_in(colleague)
    before = page_of(client, report).status_code

    Membership.objects.filter(person=colleague).delete()

    after = [page_of(client, report).status_code,
             titles(client.get(reverse("retrospectives")))]  # fmt: skip
    assert (before, after) == (200, [404, []])
