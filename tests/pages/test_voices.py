import re

import pytest
from django.urls import reverse
from django.utils import timezone

from kb.community import actions as community
from kb.community.models import COMMENT_LENGTH, Comment, UsageSignal, Vote
from tests.factories import NOW, make_department, make_person, make_prompt

pytestmark = pytest.mark.django_db
FRAGMENT = {"HX-Request": "true"}


@pytest.fixture
def author():
    return make_person(department=make_department("legal"), name="Ada Author")


@pytest.fixture
def colleague():
    return make_person("reader", make_department("sales"), name="Carl Colleague")


@pytest.fixture
def stranger():
    return make_person(role=None)


@pytest.fixture
def curator():
    return make_person("curator", make_department("legal"))


@pytest.fixture
def signed_in(client):
    def sign_in(person):
        client.force_login(person)
        return client

    return sign_in


@pytest.fixture
def prompt(author):
    return make_prompt(author, title="Review a lease", departments=[make_department("legal")])


@pytest.fixture
def secret(author):
    return make_prompt(
        author, title="Hidden", departments=[make_department("legal")], visibility="departments"
    )


def url(name, prompt):
    return reverse(f"prompt-{name}", args=[prompt.slug])


def remark(prompt, by, text="Good.", parent=None):
    return community.comment(prompt=prompt, text=text, by=by, now=NOW, parent=parent)


# --- votes ---------------------------------------------------------------------------------------


def test_a_vote_counts_once_and_is_taken_back_by_a_second_click(signed_in, colleague, prompt):
    client = signed_in(colleague)
    counts = []

    for on in ("1", "1", "0", "0"):
        response = client.post(url("vote", prompt), {"on": on})
        counts.append((response.url, Vote.objects.filter(prompt=prompt).count()))

    page = reverse("prompt", args=[prompt.slug])
    assert counts == [(page, 1), (page, 1), (page, 0), (page, 0)]


def test_a_vote_is_swapped_in_place_and_keeps_its_id(signed_in, author, colleague, prompt):
    community.cast_vote(prompt=prompt, by=author, now=NOW)

    response = signed_in(colleague).post(url("vote", prompt), {"on": "1"}, headers=FRAGMENT)

    page = response.content.decode()
    assert re.search(r'id="vote-button"[^>]*aria-pressed="true"', page)
    assert '<span class="count">2</span>' in page
    assert 'name="on" value="0"' in page
    assert "<html" not in page


# --- did it work? --------------------------------------------------------------------------------


def test_a_click_says_how_it_went_and_a_second_corrects_it(signed_in, colleague, prompt):
    client = signed_in(colleague)

    client.post(url("signal", prompt), {"outcome": "worked"})
    client.post(url("signal", prompt), {"outcome": "failed"})

    signal = UsageSignal.objects.get()
    assert (signal.outcome, signal.version, signal.person) == ("failed", prompt.current, colleague)


def test_a_click_is_taken_back(signed_in, colleague, prompt):
    client = signed_in(colleague)
    client.post(url("signal", prompt), {"outcome": "worked"})

    response = client.post(url("signal", prompt), {"outcome": ""}, headers=FRAGMENT)

    assert not UsageSignal.objects.exists()
    assert 'aria-pressed="true"' not in response.content.decode()


def test_a_click_is_thanked_for_and_leads_to_the_report_it_began(signed_in, colleague, prompt):
    response = signed_in(colleague).post(
        url("signal", prompt), {"outcome": "with_edits"}, headers=FRAGMENT
    )

    page = response.content.decode()
    assert re.search(r'id="signal-with_edits"[^>]*aria-pressed="true"', page)
    assert f"?prompt={prompt.slug}&amp;outcome=with_edits" in page


@pytest.mark.parametrize("outcome", ["fine", "\x00", "x" * 10_000])
def test_an_unknown_outcome_is_refused(signed_in, colleague, prompt, outcome):
    response = signed_in(colleague).post(url("signal", prompt), {"outcome": outcome})

    assert (response.status_code, UsageSignal.objects.count()) == (422, 0)


# --- comments ------------------------------------------------------------------------------------


def test_a_comment_is_posted_and_shown_where_it_stands(signed_in, colleague, prompt):
    response = signed_in(colleague).post(url("comment", prompt), {"text": "It **works**."})

    made = Comment.objects.get()
    assert response.url == reverse("prompt", args=[prompt.slug]) + f"#comment-{made.pk}"
    assert (made.author, made.parent, made.html) == (
        colleague,
        None,
        "<p>It <strong>works</strong>.</p>",
    )


def test_a_comment_is_swapped_in_with_the_thread(signed_in, colleague, prompt):
    response = signed_in(colleague).post(
        url("comment", prompt), {"text": "It works."}, headers=FRAGMENT
    )

    page = response.content.decode()
    assert page.count('id="thread"') == 1
    assert "<p>It works.</p>" in page
    assert "<html" not in page


def test_an_answer_hangs_under_the_comment(signed_in, author, colleague, prompt):
    first = remark(prompt, colleague)

    signed_in(author).post(url("comment", prompt), {"text": "Thanks.", "parent": first.pk})

    assert Comment.objects.get(author=author).parent == first


@pytest.mark.parametrize("headers", [{}, FRAGMENT])
@pytest.mark.parametrize(
    ("text", "message"),
    [
        (" \n\x00", "Write something first."),
        (
            "<b>" + "x" * COMMENT_LENGTH,
            f"{COMMENT_LENGTH + 3} characters; at most {COMMENT_LENGTH} fit. Shorten it by 3.",
        ),
    ],
)
def test_a_comment_that_cannot_be_kept_is_given_back(
    signed_in, colleague, prompt, headers, text, message
):
    response = signed_in(colleague).post(url("comment", prompt), {"text": text}, headers=headers)

    page = response.content.decode()
    typed = re.search(r'<textarea id="comment-text"[^>]*>\n(.*?)</textarea>', page, re.S)[1]
    assert (response.status_code, Comment.objects.count()) == (422, 0)
    assert message in page
    assert typed == text.replace("<", "&lt;").replace(">", "&gt;")


@pytest.mark.parametrize("headers", [{}, FRAGMENT])
def test_an_answer_that_cannot_be_kept_stays_under_its_comment(
    signed_in, author, colleague, prompt, headers
):
    first = remark(prompt, colleague, "First.")
    text = "y" * (COMMENT_LENGTH + 1)

    response = signed_in(author).post(
        url("comment", prompt), {"text": text, "parent": first.pk}, headers=headers
    )

    page = response.content.decode()
    assert response.status_code == 422
    assert f'name="parent" value="{first.pk}"' in page
    assert page.count(text) == 1
    assert page.count('role="alert"') == 1
    assert "<p>First.</p>" in page


@pytest.mark.parametrize("parent", ["0", "x", "²", "9" * 19, "9" * 5000])
def test_an_answer_to_a_comment_that_is_gone_is_refused(signed_in, colleague, prompt, parent):
    response = signed_in(colleague).post(
        url("comment", prompt), {"text": "Hello?", "parent": parent}
    )

    assert (response.status_code, Comment.objects.count()) == (404, 0)


def test_an_answer_to_a_comment_of_another_prompt_is_refused(signed_in, colleague, prompt):
    elsewhere = remark(make_prompt(), colleague)

    response = signed_in(colleague).post(
        url("comment", prompt), {"text": "Hello?", "parent": elsewhere.pk}
    )

    assert (response.status_code, Comment.objects.count()) == (404, 1)


def test_an_answer_to_a_removed_comment_is_refused(signed_in, author, colleague, prompt):
    removed = remark(prompt, colleague)
    community.withdraw_comment(comment=removed, by=colleague, now=NOW)

    response = signed_in(author).post(
        url("comment", prompt), {"text": "Why?", "parent": removed.pk}
    )

    assert (response.status_code, Comment.objects.count()) == (404, 1)


def withdraw(client, comment, **more):
    return client.post(reverse("comment-withdraw", args=[comment.pk]), **more)


def test_its_author_and_a_curator_take_a_comment_back(signed_in, colleague, curator, prompt):
    remarks = [remark(prompt, colleague, text) for text in ("One.", "Two.")]

    answers = [
        withdraw(signed_in(person), comment)
        for person, comment in zip((colleague, curator), remarks, strict=True)
    ]

    assert [answer.url for answer in answers] == [
        reverse("prompt", args=[prompt.slug]) + "#comments"
    ] * 2
    assert list(Comment.objects.values_list("text", "html")) == [("", ""), ("", "")]


def test_others_leave_a_comment(signed_in, colleague, prompt):
    comment = remark(prompt, colleague)

    response = withdraw(signed_in(make_person()), comment)

    comment.refresh_from_db()
    assert (response.status_code, comment.withdrawn) == (403, None)


def test_a_removed_comment_keeps_the_place_of_its_answers(signed_in, author, colleague, prompt):
    first = remark(prompt, colleague, "Secret slip.")
    remark(prompt, author, "Thanks.", parent=first)

    response = withdraw(signed_in(colleague), first, headers=FRAGMENT)

    page = response.content.decode()
    assert "Secret slip." not in page
    assert "This comment was removed." in page
    assert "<p>Thanks.</p>" in page


def test_a_comment_on_a_hidden_prompt_does_not_exist(signed_in, author, colleague, secret):
    comment = remark(secret, author)

    assert withdraw(signed_in(colleague), comment).status_code == 404
    assert withdraw(signed_in(colleague), Comment(pk=10**30)).status_code == 404


# --- every door ----------------------------------------------------------------------------------

ACTS = [("vote", {"on": "1"}), ("signal", {"outcome": "worked"}), ("comment", {"text": "Hello"})]


@pytest.mark.parametrize(("name", "answers"), ACTS)
def test_a_hidden_prompt_takes_no_voice(
    signed_in, colleague, stranger, prompt, secret, name, answers
):
    statuses = [
        signed_in(colleague).post(url(name, secret), answers).status_code,
        signed_in(stranger).post(url(name, secret), answers).status_code,
        signed_in(stranger).post(url(name, prompt), answers).status_code,
    ]

    assert statuses == [404, 404, 404]
    rows = [model.objects.count() for model in (Vote, UsageSignal, Comment)]
    assert rows == [0, 0, 0]


@pytest.mark.parametrize(("name", "answers"), ACTS)
def test_a_voice_is_a_post_of_somebody_signed_in(client, colleague, prompt, name, answers):
    outside = client.post(url(name, prompt), answers)
    client.force_login(colleague)
    read = client.get(url(name, prompt))

    assert outside.url.startswith(reverse("account_login"))
    assert read.status_code == 405


def test_a_thread_costs_the_same_for_one_comment_and_three(
    signed_in, colleague, author, prompt, django_assert_max_num_queries
):
    client = signed_in(colleague)

    def queries():
        victim = remark(prompt, colleague, str(timezone.now()))
        with django_assert_max_num_queries(100) as counted:
            withdraw(client, victim, headers=FRAGMENT)
        return len(counted)

    remark(prompt, author)
    queries()
    one = queries()
    first = remark(prompt, make_person())
    remark(prompt, make_person(), parent=first)

    assert queries() == one
