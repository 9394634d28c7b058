"""Finding by meaning. Vectors here have sixteen numbers for each theme, so that nearness is plain to see."""

import numpy as np
import pytest

from kb.prompts import actions as prompts
from kb.search import engine, meaning
from kb.search.meaning import Question
from kb.search.models import SearchEntry, SearchMeaning
from kb.search.query import parse
from tests.factories import make_department, make_person, make_prompt

pytestmark = pytest.mark.django_db

SPACE = 7
SIZE = 128
MONEY, TRAVEL = range(16), range(16, 32)


def vector(themes, number=0):
    """High where a theme is, and everywhere a little different for each text."""
    numbers = np.random.default_rng(number).normal(0, 0.5, SIZE)
    numbers[list(themes)] += 2
    return numbers.tolist()


def read(themes_of):
    """Have all that may be sent read; titles decide the theme."""
    found = meaning.unread(space=SPACE, is_wide=False, most=1_000)
    meaning.keep(
        SPACE, [(one, vector(themes_of(one.text), number)) for number, one in enumerate(found)]
    )
    return [one.text.splitlines()[0] for one in found]


def theme(text):
    if text.startswith("Dunning"):
        return MONEY
    if text.startswith("Timetable"):
        return TRAVEL
    return ()


@pytest.fixture
def library():
    author = make_person("author")
    make_prompt(author, title="Dunning letter", text="Remind them kindly of the invoice.")
    make_prompt(author, title="Timetable of a journey", text="Plan the trains.")
    for number in range(40):
        make_prompt(author, title=f"Some other thing {number}", text="Nothing of the kind.")
    read(theme)
    return author


UNPAID = Question(SPACE, vector(MONEY, 99))


def found(text, person=None, question=UNPAID, **options):
    return engine.search(parse(text), person or make_person("reader"), question=question, **options)


def slugs(results):
    return [hit.slug for hit in results.hits]


def test_what_means_the_same_in_other_words_is_found_and_said_to_be_near(library):
    results = found("client does not settle")

    assert slugs(results) == ["dunning-letter"]
    assert [hit.is_near for hit in results.hits] == [True]
    assert (results.total, results.near, results.is_relaxed) == (1, 1, False)
    assert results.kinds == {"prompt": 1, "retrospective": 0}


def test_counts_of_facets_agree_with_the_page(library):
    results = found("client does not settle")

    assert results.facets["languages"] == {"en": 1}


def test_who_has_the_words_and_the_meaning_comes_first(library):
    make_prompt(library, title="A letter to a friend", text="Write a letter.")
    read(theme)

    results = found("letter")

    assert slugs(results)[0] == "dunning-letter"
    assert set(slugs(results)) == {"dunning-letter", "a-letter-to-a-friend"}
    assert results.near == 0


def test_the_title_itself_stays_first(library):
    results = found("timetable of a journey")

    assert slugs(results)[:2] == ["timetable-of-a-journey", "dunning-letter"]


def test_what_nobody_has_read_stands_by_its_words_alone(library):
    """The unread one is as good by its words as one that has been read and is not near."""
    make_prompt(library, title="Reminder", text="Reminder reminder.")
    make_prompt(library, title="Some reminder or other thing", text="One reminder.")
    read(lambda text: ())
    SearchMeaning.objects.filter(entry__title="Reminder").delete()

    results = found("reminder")

    assert slugs(results)[0] == "reminder"


def test_nothing_is_near_to_a_question_about_nothing_here(library):
    results = found("xyzzy plugh", question=Question(SPACE, vector(range(48, 64), 1_003)))

    assert results.total == 0


def test_words_meant_exactly_bring_words_only(library):
    assert found("client does not settle", is_exact=True).total == 0


def test_a_filter_holds_for_what_is_near_too(library):
    assert found("client does not settle lang:fr").total == 0
    assert found("client does not settle", kind="retrospective").total == 0


def test_choosing_a_facet_shows_what_it_counts(library):
    """Also one that so few entries have that none of them would stand out among themselves."""
    make_prompt(library, title="Dunning by telephone", text="x", tags=["calls"])
    read(theme)

    counted = found("client does not settle").facets["tags"]
    chosen = found("client does not settle tag:calls")

    assert counted == {"calls": 1}
    assert (slugs(chosen), chosen.near) == (["dunning-by-telephone"], 1)


def test_only_what_a_person_may_read_is_near(library):
    legal = make_department("legal")
    member = make_person("reader", legal)
    make_prompt(
        library,
        title="Dunning for lawyers",
        text="x",
        visibility="departments",
        departments=[legal],
    )
    entry = SearchEntry.objects.get(slug="dunning-for-lawyers")
    meaning.keep(SPACE, [(meaning.Unread(entry.pk, entry.stamp, ""), vector(MONEY, 5))])

    assert "dunning-for-lawyers" in slugs(found("client does not settle", member))
    assert slugs(found("client does not settle")) == ["dunning-letter"]


def test_vectors_of_another_model_are_never_compared(library):
    assert found("client does not settle", question=Question(SPACE + 1, UNPAID.vector)).total == 0
    assert found("client does not settle", question=Question(SPACE, UNPAID.vector[:64])).total == 0


def test_a_library_without_meanings_is_found_by_words(library):
    SearchMeaning.objects.all().delete()

    assert slugs(found("dunning")) == ["dunning-letter"]


class TestReading:
    def test_only_what_the_company_reads_is_sent(self):
        author = make_person("author")
        legal = make_department("legal")
        make_prompt(author, title="Shared")
        make_prompt(author, title="Draft", status="draft")
        make_prompt(author, title="Mine", visibility="private")
        make_prompt(author, title="Theirs", visibility="departments", departments=[legal])
        gone = make_prompt(author, title="Gone")
        prompts.archive(prompt=gone, by=author, now=gone.updated)

        def titles(is_wide):
            rows = meaning.unread(space=SPACE, is_wide=is_wide, most=50)
            return sorted(one.text.splitlines()[0] for one in rows)

        assert titles(is_wide=False) == ["Shared"]
        assert titles(is_wide=True) == ["Shared", "Theirs"]

    def test_what_has_changed_is_read_again(self, library):
        assert read(theme) == []

        entry = SearchEntry.objects.get(slug="dunning-letter")
        SearchEntry.objects.filter(pk=entry.pk).update(stamp="another")

        assert read(theme) == ["Dunning letter"]

    def test_what_may_no_longer_be_sent_is_forgotten(self, library):
        SearchEntry.objects.filter(slug="dunning-letter").update(audience=["private"])

        assert meaning.forget(space=SPACE) == 1
        assert meaning.progress(space=SPACE, is_wide=False) == (41, 41)

    def test_another_model_begins_anew(self, library):
        assert meaning.forget(space=SPACE + 1) == 42
        assert meaning.progress(space=SPACE + 1, is_wide=False) == (0, 42)

    @pytest.mark.parametrize(
        "useless", [(), (0.0, 0.0), (float("nan"), 1.0), (float("inf"),), (1.0,) * 9_000]
    )
    def test_a_vector_without_direction_is_not_kept(self, library, useless):
        entry = SearchEntry.objects.get(slug="dunning-letter")
        one = meaning.Unread(entry.pk, entry.stamp, "")

        assert meaning.keep(SPACE, [(one, useless)]) == 0
        assert found("dunning", question=Question(SPACE, useless)).total == 1

    def test_an_entry_that_is_gone_is_passed_over(self):
        meaning.keep(SPACE, [(meaning.Unread(404, "x", ""), vector(MONEY))])

        assert SearchMeaning.objects.count() == 0
