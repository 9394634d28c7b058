"""The index is written anew, and finds by itself what fell behind."""

import pytest
from django.core.management import call_command

from kb.prompts.models import Prompt
from kb.search import engine
from kb.search.models import SearchEntry
from kb.search.query import parse
from kb.tasks import mending
from kb.tasks.mending import Mended
from tests.factories import NOW, make_person, make_prompt, make_report

pytestmark = pytest.mark.django_db


def found(text):
    return [hit.slug for hit in engine.search(parse(text), make_person("reader")).hits]


def test_the_repair_finds_what_is_missing_left_over_and_stale():
    lost, changed, gone = (make_prompt(title=title) for title in ("Lost", "Changed", "Gone"))
    report = make_report(lost, title="On the lost")
    SearchEntry.objects.filter(object_id__in=[lost.pk, report.pk]).delete()
    Prompt.objects.filter(pk=changed.pk).update(title="Renamed behind the back")
    SearchEntry.objects.filter(object_id=gone.pk).update(object_id=999_999_999)

    mended = mending.mend(now=NOW)

    assert mended == Mended(missing=2, orphans=1, stale=1)
    assert found("lost") == ["lost"]
    assert found("renamed") == [changed.slug]
    assert found("gone") == ["gone"]
    assert mending.mend(now=NOW) == Mended()


def test_the_repair_comes_round_a_large_library_night_by_night(monkeypatch):
    monkeypatch.setattr(mending, "AT_ONCE", 2)
    prompts = [make_prompt(title=f"Prompt {number}") for number in range(5)]
    Prompt.objects.update(summary="changed behind the back")

    stale = [mending._mend_stale(now=NOW, most=2) for _night in range(4)]

    assert stale == [2, 2, 1, 0]
    assert found("behind") != []
    assert len(prompts) == SearchEntry.objects.count()


def test_a_reindexing_that_was_killed_goes_on_where_it_was(monkeypatch, capsys):
    monkeypatch.setattr(mending, "AT_ONCE", 2)
    prompts = [make_prompt(title=f"Prompt {number}") for number in range(5)]
    SearchEntry.objects.all().delete()

    def killed(_number):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        mending.reindex_all(now=NOW, told=killed)
    after_the_kill = SearchEntry.objects.count()
    call_command("reindex", "--resume")

    assert after_the_kill == 2
    assert SearchEntry.objects.count() == len(prompts)
    assert "3 prompts looked at" in capsys.readouterr().out
    assert mending.reached() == 0


def test_writing_again_what_is_there_just_so_touches_nothing():
    make_prompt(title="Same")
    before = SearchEntry.objects.values_list("indexed", "stamp").get()

    mending.reindex_all(now=NOW)

    assert SearchEntry.objects.values_list("indexed", "stamp").get() == before
