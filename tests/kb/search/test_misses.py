import pytest

from kb.search.misses import most_missed, prune, record_miss
from kb.search.models import SearchMiss
from kb.search.query import parse
from tests.factories import NOW, later

pytestmark = pytest.mark.django_db


def test_a_miss_is_kept_in_folded_words_with_its_facets_and_never_with_a_name():
    query = parse("Dérogation  RH -paie department:legal author:martin")

    record_miss(query, found=0, language="fr", now=NOW)

    assert list(
        SearchMiss.objects.values("words", "facets", "language", "day", "found", "times")
    ) == [
        {
            "words": "derogation rh",
            "facets": "departments:legal",
            "language": "fr",
            "day": NOW.date(),
            "found": 0,
            "times": 1,
        }
    ]
    assert {field.name for field in SearchMiss._meta.fields} == {
        "id",
        "words",
        "facets",
        "language",
        "day",
        "found",
        "times",
    }


def test_the_same_miss_on_one_day_is_counted():
    for words, moment in (("nda", NOW), ("NDA", NOW), ("nda", later(days=1)), ("lease", NOW)):
        record_miss(parse(words), found=0, language="en", now=moment)

    assert most_missed(since=NOW.date()) == [("nda", 3), ("lease", 1)]
    assert SearchMiss.objects.count() == 3


def test_browsing_is_no_miss():
    record_miss(parse("department:legal"), found=0, language="en", now=NOW)

    assert not SearchMiss.objects.exists()


def test_misses_are_forgotten_after_ninety_days():
    record_miss(parse("old"), found=0, language="en", now=later(days=-91))
    record_miss(parse("new"), found=0, language="en", now=later(days=-89))

    assert prune(now=NOW) == 1
    assert list(SearchMiss.objects.values_list("words", flat=True)) == ["new"]
