"""The benches of the search measure what they say: judged queries, scores, hay, questions, report."""

import itertools
from collections import Counter
from datetime import UTC, datetime

import pytest

from tests.benchmarks import report, search_questions, search_scale, search_sources
from tests.benchmarks import search_judged as judged
from tests.benchmarks.search_hay import TAGS, needles, straws
from tests.benchmarks.search_judged import Answer, Judged, Score, plain_title
from tests.shared_data import shared_path

DAY = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def real_prompts():
    shared_path("data", "prompts_chat.csv")
    return search_sources.imported()


def answer(titles, relevant=("wanted",)):
    return Answer(Judged("words", "exact", "en", frozenset(relevant)), titles)


def test_every_judged_title_is_a_real_prompt(real_prompts):
    known = {plain_title(one.title) for one in [*real_prompts, *search_sources.demo_prompts()]}

    unknown = {title for name in judged.SETS for one in judged.load(name) for title in one.relevant}

    assert unknown - known == set()


def test_the_french_demo_prompts_are_judged_without_other_files():
    known = {plain_title(one.title) for one in search_sources.demo_prompts()}

    assert len(needles() & known) > 40


def test_dev_and_test_share_no_query():
    texts = [{one.text.casefold() for one in judged.load(name)} for name in judged.SETS]

    assert texts[0] & texts[1] == set()


def test_no_query_is_judged_twice():
    counted = Counter(one.text for name in judged.SETS for one in judged.load(name))

    assert {text for text, n in counted.items() if n > 1} == set()


def test_a_third_is_for_tuning_and_two_thirds_are_for_measuring():
    dev, test = (judged.load(name) for name in judged.SETS)

    assert len(dev) + len(test) >= 180
    assert 0.3 <= len(dev) / (len(dev) + len(test)) <= 0.4


@pytest.mark.parametrize("name", judged.SETS)
def test_each_set_has_every_kind(name):
    counted = Counter(one.kind for one in judged.load(name))

    assert {kind: counted[kind] >= 5 for kind in judged.KINDS} == dict.fromkeys(judged.KINDS, True)


def test_a_judged_query_without_titles_is_refused(tmp_path, monkeypatch):
    (tmp_path / "dev.yaml").write_text("- {kind: exact, language: en, query: x, relevant: []}\n")
    monkeypatch.setattr(judged, "JUDGED", tmp_path)

    with pytest.raises(ValueError, match=r"dev\.yaml, entry 1 needs a query and titles"):
        judged.load("dev")


def test_the_score_counts_first_ten_reciprocal_rank_and_choices():
    answers = [
        answer(["Wanted", "other"]),
        answer(["other", "other", "other", "wanted"]),
        answer(["other"]),
        answer([*["other"] * 10, "wanted"]),
    ]

    assert judged.score(answers) == Score(
        queries=4, first=0.25, ten=0.5, mrr=(1 + 0.25) / 4, choices=0.75
    )


def test_titles_are_compared_without_case_and_typographic_spaces():
    assert plain_title("Mener un «\u202fcinq\u00a0pourquoi\u202f» ") == "mener un « cinq pourquoi »"


def test_small_and_big_libraries_begin_with_the_same_hay(real_prompts):
    small = list(straws(20, ["legal"], DAY))

    assert list(itertools.islice(straws(5_000, ["legal"], DAY), 20)) == small


def test_hay_differs_in_title_and_text(real_prompts):
    hay = list(straws(3_000, ["legal"], DAY))

    assert len({one.title for one in hay}) > 2_900
    assert len({one.text for one in hay}) > 2_950


def test_hay_bears_no_title_that_a_judged_query_looks_for(real_prompts):
    hay = {plain_title(one.title) for one in straws(3_000, ["legal"], DAY)}

    assert hay & needles() == set()


def test_hay_tags_are_120_that_the_demo_does_not_use():
    assert len(set(TAGS)) == 120


def test_there_are_as_many_questions_of_each_kind(real_prompts):
    counted = Counter(one.kind for one in search_questions.questions())

    assert counted == dict.fromkeys(
        (
            "browse",
            "facets combined",
            "common word",
            "middling word",
            "rare word",
            "two words",
            "three words",
            "typo",
            "no result",
            "suggestions",
        ),
        search_questions.EACH,
    )


@pytest.mark.parametrize(
    ("values", "expected"), [([5.0], 5.0), (range(1, 21), 19), (range(1, 101), 95)]
)
def test_p95_is_a_measured_value(values, expected):
    assert report.p95(values) == expected


def test_a_section_is_replaced_between_its_marks(tmp_path):
    page = tmp_path / "benchmarks.md"
    page.write_text("before\n<!-- search-speed -->old<!-- /search-speed -->\nafter\n", "utf-8")

    report.write_section("search-speed", "new \\1", page)

    assert page.read_text("utf-8") == (
        "before\n<!-- search-speed -->\n\nnew \\1\n\n<!-- /search-speed -->\nafter\n"
    )


def test_a_page_without_marks_is_refused(tmp_path):
    page = tmp_path / "benchmarks.md"
    page.write_text("nothing", "utf-8")

    with pytest.raises(ValueError, match="put them back"):
        report.write_section("search-speed", "new", page)


@pytest.mark.parametrize(
    "name", ["search-quality", "search-speed", "drift-product", "slow-calls", "starting"]
)
def test_the_page_of_benchmarks_has_one_place_for_each_section(name):
    text = report.DOCS.read_text("utf-8")

    assert [text.count(f"<!-- {slash}{name} -->") for slash in ("", "/")] == [1, 1]


def test_a_folder_of_somebody_else_is_never_cleared(tmp_path):
    (tmp_path / "letters.txt").write_text("dear", "utf-8")

    with pytest.raises(search_scale.BenchError, match="holds something else"):
        search_scale._clear_if_outdated(tmp_path, as_is=False)

    assert [path.name for path in tmp_path.iterdir()] == ["letters.txt"]
