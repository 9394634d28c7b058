"""A library larger than what is ranked: nothing obvious is lost, and what is said stays true."""

import pytest

from kb.community import actions as community
from kb.search import counts, engine, suggesting, tiers, vocabulary
from kb.search.models import SearchChange, SearchEntry, SearchWord
from kb.search.query import parse
from tests.factories import NOW, later, make_department, make_person, make_prompt, make_tool

pytestmark = pytest.mark.django_db


@pytest.fixture
def large():
    """Thirty prompts of which four are hot: the liveliest, because voted for."""
    legal, tool = make_department("legal"), make_tool("chatgpt")
    prompts = [
        make_prompt(
            title=f"Letter {number}",
            text="A common word.",
            departments=[legal] if number < 6 else [],
            tools=[tool] if number % 2 else [],
            now=later(days=-number),
        )
        for number in range(30)
    ]
    for prompt in prompts[-4:]:
        for _ in range(5):
            community.cast_vote(prompt=prompt, by=make_person("reader"), now=NOW)
    vocabulary.rebuild()
    tiers.refresh(hot_size=4)
    return prompts


@pytest.fixture
def few(monkeypatch):
    """Bounds that thirty prompts exceed."""
    monkeypatch.setattr(engine, "ENOUGH_HOT", 3)
    monkeypatch.setattr(engine, "MOST_RARE", 5)
    monkeypatch.setattr(engine, "ENOUGH", 1)


def found(text, **options):
    return engine.search(parse(text), make_person("reader"), **options)


def test_the_liveliest_are_hot_and_choosing_again_changes_nothing(large):
    hot = set(SearchEntry.objects.filter(is_hot=True).values_list("object_id", flat=True))

    assert hot == {prompt.pk for prompt in large[-4:]}
    assert tiers.refresh(hot_size=4) == 0
    assert set(SearchEntry.objects.filter(is_hot=True).values_list("object_id", flat=True)) == hot


def test_a_library_that_shrinks_is_hot_again(large):
    tiers.refresh(hot_size=100)

    assert not SearchEntry.objects.filter(is_hot=False).exists()
    assert found("common").total == 30


def test_a_common_word_is_ranked_among_the_hot_and_says_that_there_are_more(large, few):
    results = found("common")

    assert {hit.object_id for hit in results.hits} == {prompt.pk for prompt in large[-4:]}
    assert (results.total, results.total_is_capped) == (4, True)


def test_a_title_is_found_however_cold(large, few):
    titled = make_prompt(title="Common", text="Nothing.")
    SearchEntry.objects.filter(object_id=titled.pk).update(is_hot=False)

    assert found("common").hits[0].object_id == titled.pk


def test_a_cold_title_is_suggested_when_few_hot_ones_begin_so(large):
    person = make_person("reader")
    hot = {prompt.slug for prompt in large[-4:]}

    few_hot = {one.value for one in suggesting.suggest("letter 1", person, most=20)}
    enough = [one.value for one in suggesting.suggest("letter", person, most=4)]

    assert few_hot == {f"letter-{number}" for number in (1, *range(10, 20))}
    assert set(enough) == hot


def test_a_narrow_filter_is_looked_for_everywhere(large, few):
    results = found("common department:legal tool:chatgpt")

    assert sorted(hit.slug for hit in results.hits) == ["letter-1", "letter-3", "letter-5"]


def test_a_rare_word_is_ranked_in_full(large):
    results = found("letter 7")

    assert results.hits[0].slug == "letter-7"
    assert results.total_is_capped is False


def test_what_has_all_the_words_is_found_among_many_that_have_one(large, few, monkeypatch):
    monkeypatch.setattr(engine, "MOST_RARE", 7)
    for word in ("zeppelin", "galley", "anchor"):
        for number in range(6):
            make_prompt(title=f"Part {number}", text=f"About the {word}.")
    whole = make_prompt(title="Afloat", text="The anchor and the galley of a zeppelin.")
    SearchEntry.objects.filter(object_id=whole.pk).update(is_hot=False)
    vocabulary.rebuild()

    results = found("zeppelin galley anchor")

    assert results.hits[0].object_id == whole.pk
    assert results.total == 19


def test_a_rare_word_of_a_sentence_is_enough_in_a_large_library(large, few, monkeypatch):
    monkeypatch.setattr(engine, "MOST_RARE", 10)
    for word in ("zeppelin", "galley", "anchor"):
        make_prompt(title=f"Part {word}", text=f"About the {word}.")
    soup = [make_prompt(title=f"Soup {n}", text=f"Cook it for {n} hours.") for n in range(3)]
    SearchEntry.objects.filter(object_id__in=[one.pk for one in soup]).update(is_hot=False)
    vocabulary.rebuild()

    loose = found("zeppelin galley anchor cook")
    exact = found("zeppelin galley anchor cook", is_exact=True)

    assert {one.pk for one in soup} < {hit.object_id for hit in loose.hits}
    assert loose.is_relaxed
    assert exact.hits == []


def test_every_word_of_a_title_is_known_however_large(large, monkeypatch):
    make_prompt(title="Plagiarism checker", text="Compares paragraphs.")
    SearchEntry.objects.update(is_hot=False)
    monkeypatch.setattr(vocabulary, "MOST_READ", 1)

    read = vocabulary.rebuild()

    known = dict(SearchWord.objects.values_list("word", "entries"))
    assert read == 31
    assert known["plagiarism"] >= 1
    assert known["letter"] >= 30


def test_browsing_counts_everything_however_large(large, few):
    results = found("")

    assert (results.total, results.total_is_capped) == (30, False)
    assert results.facets["departments"] == {"legal": 6}
    assert results.facets["tools"] == {"chatgpt": 15}


def test_counts_are_the_same_before_and_after_they_are_folded(large):
    before = found("").facets

    counts.fold()
    folded = found("").facets
    counts.recount()

    assert before == folded == found("").facets
    assert not SearchChange.objects.exists()


def test_counts_follow_what_goes_and_what_is_hidden(large):
    counts.fold()
    author = large[0].author
    hidden = make_prompt(author, title="Mine", visibility="private")

    assert found("").total == 30
    assert engine.search(parse(""), author).total == 31

    SearchEntry.objects.filter(object_id__in=[hidden.pk, large[0].pk]).delete()

    assert engine.search(parse(""), author).total == 29
    assert engine.search(parse(""), author).facets["departments"] == {"legal": 5}


def test_every_page_of_a_list_holds_each_prompt_once(large):
    pages = [found("", page=number, page_size=7) for number in range(1, 6)]

    ids = [hit.object_id for page in pages for hit in page.hits]
    assert sorted(ids) == sorted(prompt.pk for prompt in large)
    assert {page.last_page for page in pages} == {5}
