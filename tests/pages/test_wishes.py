from datetime import timedelta

import pytest
from django.contrib.messages import get_messages
from django.urls import reverse

from kb.community import actions as community
from kb.community.models import Wish, WishSupport
from kb.notifications.models import Notification
from tests.factories import NOW, later, make_department, make_person, make_prompt

pytestmark = pytest.mark.django_db
FRAGMENT = {"HX-Request": "true"}


@pytest.fixture
def asker():
    return make_person(role="reader", department=make_department("legal"), name="Ada Asker")


@pytest.fixture
def colleague():
    return make_person(department=make_department("sales"), name="Carl Colleague")


@pytest.fixture
def stranger():
    return make_person(role=None)


@pytest.fixture
def signed_in(client):
    def sign_in(person):
        client.force_login(person)
        return client

    return sign_in


def make_wish(by, title="Explain a clause", **more):
    values = {"text": "", "language": "en", "department": None, "now": NOW, **more}
    return community.make_wish(title=title, by=by, **values)


@pytest.fixture
def wish(asker):
    return make_wish(asker)


def told(response):
    return [str(message) for message in get_messages(response.wsgi_request)]


# --- the board -----------------------------------------------------------------------------------


def test_the_most_wanted_comes_first(signed_in, asker, colleague):
    make_wish(asker, "Newer", now=later(days=1))
    popular = make_wish(asker, "Popular")
    community.support_wish(wish=popular, by=colleague, now=NOW)

    response = signed_in(colleague).get(reverse("wishes"))

    rows = [(w.title, w.support_count, w.is_supported) for w in response.context["page"]]
    assert rows == [("Popular", 2, True), ("Newer", 1, False)]


def test_an_empty_board_invites_to_ask(signed_in, colleague):
    page = signed_in(colleague).get(reverse("wishes")).content.decode()

    assert "Nobody is looking for anything" in page
    assert reverse("wish-new") in page


def test_only_authors_are_invited_to_write(signed_in, asker, colleague, wish):
    pages = [
        signed_in(person).get(reverse("wishes")).content.decode() for person in (asker, colleague)
    ]

    assert [">Write it" in page.replace("</svg>", ">") for page in pages] == [False, True]


def test_what_was_found_stands_below_for_who_may_read_it(signed_in, asker, colleague, wish):
    legal = make_department("legal")
    lawyer = make_person(department=legal)
    secret = make_prompt(
        lawyer, title="Clause explained", departments=[legal], visibility="departments"
    )
    community.answer_wish(wish=wish, prompt=secret, by=lawyer, now=NOW)

    pages = [
        signed_in(person).get(reverse("wishes")).content.decode() for person in (asker, colleague)
    ]

    assert ["Clause explained" in page for page in pages] == [True, False]
    assert ["Explain a clause" in page for page in pages] == [True, False]


def test_a_board_costs_the_same_for_one_wish_and_three(
    signed_in, asker, colleague, django_assert_max_num_queries
):
    client = signed_in(colleague)

    def queries():
        with django_assert_max_num_queries(100) as counted:
            client.get(reverse("wishes"))
        return len(counted)

    def add():
        make_wish(asker)
        answered = make_wish(asker)
        community.answer_wish(wish=answered, prompt=make_prompt(), by=colleague, now=NOW)

    add()
    queries()
    one = queries()
    add()
    add()

    assert queries() == one


def test_thirty_wishes_make_a_page(signed_in, asker, colleague):
    for number in range(31):
        make_wish(asker, f"Wish {number}", now=NOW + timedelta(minutes=number))

    response = signed_in(colleague).get(reverse("wishes"), {"page": "2"})

    assert [w.title for w in response.context["page"]] == ["Wish 0"]


@pytest.mark.parametrize("name", ["wishes", "wish-new"])
def test_somebody_without_a_role_sees_nothing_of_the_board(signed_in, stranger, wish, name):
    response = signed_in(stranger).get(reverse(name))

    assert response.status_code == 403
    assert "Explain a clause" not in response.content.decode()


@pytest.mark.parametrize("name", ["wish-support", "wish-answer"])
def test_somebody_without_a_role_changes_nothing(signed_in, stranger, wish, name):
    prompt = make_prompt()

    response = signed_in(stranger).post(
        reverse(name, args=[wish.pk]), {"on": "1", "prompt": prompt.slug}
    )

    wish.refresh_from_db()
    assert (response.status_code, wish.answer, wish.supports.count()) == (403, None, 1)


def test_who_is_not_signed_in_signs_in_first(client):
    assert client.get(reverse("wishes")).url.startswith(reverse("account_login"))


# --- me too --------------------------------------------------------------------------------------


def test_me_too_is_one_click_and_taken_back_by_a_second(signed_in, colleague, wish):
    client = signed_in(colleague)
    url = reverse("wish-support", args=[wish.pk])
    counts = []

    for on in ("1", "1", "0"):
        response = client.post(url, {"on": on})
        counts.append((response.url, wish.supports.count()))

    place = reverse("wishes") + f"#wish-{wish.pk}"
    assert counts == [(place, 2), (place, 2), (place, 1)]


def test_me_too_is_swapped_in_place_and_keeps_its_id(signed_in, colleague, wish):
    response = signed_in(colleague).post(
        reverse("wish-support", args=[wish.pk]), {"on": "1"}, headers=FRAGMENT
    )

    page = response.content.decode()
    assert f'id="wish-{wish.pk}-me-too"' in page
    assert 'aria-pressed="true"' in page
    assert "<b>2</b>" in page
    assert "<html" not in page


@pytest.mark.parametrize("name", ["wish-support", "wish-answer"])
def test_a_wish_that_is_not_there_is_not_found(signed_in, colleague, name):
    assert signed_in(colleague).post(reverse(name, args=[10**30])).status_code == 404


# --- asking --------------------------------------------------------------------------------------


def test_a_wish_is_put_on_the_board(signed_in, asker):
    answers = {
        "title": " Explain  a clause ",
        "text": "Weekly.",
        "department": "legal",
        "language": "fr",
    }

    response = signed_in(asker).post(reverse("wish-new"), answers)

    made = Wish.objects.get()
    assert response.url == reverse("wishes") + f"#wish-{made.pk}"
    assert (made.title, made.text, made.department.slug, made.language, made.author) == (
        "Explain a clause", "Weekly.", "legal", "fr", asker,
    )  # fmt: skip
    assert list(WishSupport.objects.values_list("person", flat=True)) == [asker.pk]


def test_a_wish_without_title_keeps_what_was_typed(signed_in, asker):
    response = signed_in(asker).post(
        reverse("wish-new"), {"title": "\x00 ", "text": "Weekly <b>", "language": "fr"}
    )

    page = response.content.decode()
    assert response.status_code == 422
    assert dict(response.context["form"].errors) == {"title": ["This answer is needed."]}
    assert "Weekly &lt;b&gt;</textarea>" in page
    assert not Wish.objects.exists()


def test_the_form_begins_with_the_search_and_the_profile(signed_in, asker):
    response = signed_in(asker).get(reverse("wish-new", query={"title": "nda  review"}))

    form = response.context["form"]
    assert {name: form[name].value() for name in ("title", "department", "language")} == {
        "title": "nda review",
        "department": "legal",
        "language": "en",
    }


def test_prompts_that_may_do_are_shown_while_a_title_is_typed(signed_in, asker, colleague):
    make_prompt(colleague, title="Explain a legal clause")
    make_prompt(colleague, title="Explain a budget")
    make_prompt(colleague, title="A clause explained", status="draft")

    response = signed_in(asker).get(
        reverse("wish-new", query={"title": "Explain this clause to me"}), headers=FRAGMENT
    )

    assert [prompt.title for prompt in response.context["near"]] == ["Explain a legal clause"]
    assert response.content.decode().strip().startswith('<div id="near"')


def test_no_hidden_prompt_is_shown_as_near(signed_in, asker):
    finance = make_department("finance")
    make_prompt(
        make_person(department=finance),
        title="Explain a secret clause",
        departments=[finance],
        visibility="departments",
    )

    response = signed_in(asker).get(reverse("wish-new", query={"title": "Explain a secret clause"}))

    assert response.context["near"] == []


# --- answering -----------------------------------------------------------------------------------


def test_an_answer_is_linked_and_those_who_asked_are_told(signed_in, asker, colleague, wish):
    prompt = make_prompt(colleague, title="Clauses for everybody")

    response = signed_in(colleague).post(
        reverse("wish-answer", args=[wish.pk]), {"prompt": prompt.slug}
    )

    wish.refresh_from_db()
    assert (response.url, wish.answer) == (reverse("wishes"), prompt)
    assert told(response) == ["Thank you: “Explain a clause” is found. Those who asked are told."]
    told_people = Notification.objects.filter(kind="wish_answered")
    assert [notification.recipient for notification in told_people] == [asker]


def test_prompts_near_the_wish_are_suggested_first(signed_in, colleague, wish):
    near = make_prompt(colleague, title="Explain a legal clause")
    make_prompt(colleague, title="Budget")

    response = signed_in(colleague).get(reverse("wish-answer", args=[wish.pk]))

    assert response.context["found"] == [near]


def test_only_published_prompts_one_may_read_are_found(signed_in, colleague, wish):
    finance = make_department("finance")
    published = make_prompt(colleague, title="Clause one")
    make_prompt(colleague, title="Clause two", status="draft")
    make_prompt(
        make_person(department=finance),
        title="Clause three",
        departments=[finance],
        visibility="departments",
    )

    response = signed_in(colleague).get(
        reverse("wish-answer", args=[wish.pk], query={"q": "clause"}), headers=FRAGMENT
    )

    assert response.context["found"] == [published]
    assert response.content.decode().strip().startswith('<div id="found"')


def test_a_search_without_result_says_so(signed_in, colleague, wish):
    response = signed_in(colleague).get(
        reverse("wish-answer", args=[wish.pk], query={"q": "zebra"})
    )

    assert "No published prompt found for “zebra”." in response.content.decode()


@pytest.mark.parametrize(
    ("slug", "message"),
    [
        ("", "Choose a prompt first."),
        ("hidden-clause", "This prompt is not open to you."),
        ("\x00", "This prompt is not open to you."),
    ],
)
def test_no_choice_and_a_hidden_prompt_are_refused_with_the_search_kept(
    signed_in, colleague, wish, slug, message
):
    finance = make_department("finance")
    make_prompt(
        make_person(department=finance),
        title="Hidden clause",
        departments=[finance],
        visibility="departments",
    )
    make_prompt(colleague, title="Open clause")

    response = signed_in(colleague).post(
        reverse("wish-answer", args=[wish.pk]), {"prompt": slug, "q": "clause"}
    )

    page = response.content.decode()
    wish.refresh_from_db()
    assert (response.status_code, wish.answer) == (422, None)
    assert message in page
    assert "Hidden clause" not in page
    assert 'value="clause"' in page


def test_a_draft_is_no_answer(signed_in, colleague, wish):
    draft = make_prompt(colleague, title="Not yet", status="draft")

    response = signed_in(colleague).post(
        reverse("wish-answer", args=[wish.pk]), {"prompt": draft.slug}
    )

    assert response.status_code == 422
    assert "“Not yet” is not published; publish it first." in response.content.decode()


@pytest.mark.parametrize("method", ["get", "post"])
def test_a_wish_is_answered_once(signed_in, colleague, wish, method):
    first, second = make_prompt(colleague), make_prompt(colleague)
    community.answer_wish(wish=wish, prompt=first, by=colleague, now=NOW)

    response = getattr(signed_in(colleague), method)(
        reverse("wish-answer", args=[wish.pk]), {"prompt": second.slug}
    )

    wish.refresh_from_db()
    assert (response.url, wish.answer) == (reverse("wishes"), first)
    assert told(response) == ["“Explain a clause” has an answer already."]
