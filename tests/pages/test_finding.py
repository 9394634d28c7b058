import re
from dataclasses import replace

import numpy as np
import pytest
from django.db import connection
from django.http import QueryDict
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils.http import urlencode
from hypothesis import given
from hypothesis import strategies as st

from kb.community import actions as community
from kb.community import queries as said
from kb.community.tally import tally
from kb.drift import queries as drift
from kb.finding.models import SavedSearch
from kb.forms.finding import Address, read_address
from kb.prompts import queries as prompts
from kb.prompts.actions import PromptFields, edit_prompt
from kb.search import index, meaning
from kb.search.engine import SORTS
from kb.search.models import SearchMiss
from kb.views.shelf import read_shelf, shelve
from tests.factories import (
    NOW,
    make_department,
    make_monitor,
    make_person,
    make_prompt,
    make_report,
    make_tool,
)

pytestmark = pytest.mark.django_db

BESIDE_THE_SEARCH = 5
"""Statements of a page: session, person, roles, rows, and the bell."""
FRAGMENT = {"HX-Request": "true", "HX-Target": "results"}


@pytest.fixture
def legal():
    return make_department("legal")


@pytest.fixture
def sales():
    return make_department("sales")


@pytest.fixture
def reader(client, legal):
    person = make_person("reader", legal)
    client.force_login(person)
    return person


def find(client, query="", **headers):
    return client.get(f"{reverse('prompts')}?{query}", headers=headers)


def titles(response):
    return [
        row.prompt.card.title if row.prompt else row.report.title
        for row in response.context["rows"]
    ]


def tabs(response):
    return {tab.kind: tab.count for tab in response.context["tabs"]}


def box(response, name):
    """Value to count and address of one facet."""
    (found,) = [box for box in response.context["boxes"] if box.name == name]
    return {v.value: (v.label, v.count, v.is_chosen, v.url) for v in (*found.values, *found.more)}


def chips(response):
    return {chip.text: chip.url for chip in response.context["chips"]}


class TestResults:
    def test_words_find_prompts_first_and_the_tabs_count_the_reports_too(self, client, reader):
        nda = make_prompt(title="Review an NDA")
        make_prompt(title="Summarise a meeting")
        make_report(nda, title="An NDA with a supplier")

        response = find(client, "q=nda")

        assert titles(response) == ["Review an NDA"]
        assert tabs(response) == {"everything": 2, "prompt": 1, "retrospective": 1}
        assert response.context["count"] == "1 prompt"

    def test_a_report_shows_how_it_went_its_lesson_and_its_prompt(self, client, reader):
        prompt = make_prompt(title="Review an NDA")
        make_report(prompt, title="A long NDA", outcome="failed", lesson="Look at clause 12.")

        page = find(client, "q=clause&kind=retrospective").content.decode()

        assert "Look at clause 12." in page
        assert "Did not work" in page
        assert f'href="{reverse("prompt", args=[prompt.slug])}"' in page

    def test_a_report_does_not_name_a_prompt_one_may_not_read(self, reader, sales):
        author = make_person("author", sales)
        prompt = make_prompt(author, title="Secret prices", departments=[sales])
        report = make_report(prompt, reader, title="Prices of a client")
        before = read_shelf(reader, prompt_ids=[], report_ids=[report.pk], tags=[])
        fields = PromptFields(visibility="departments")
        edit_prompt(prompt=prompt, fields=fields, by=author, now=NOW, based_on=1)

        after = read_shelf(reader, prompt_ids=[], report_ids=[report.pk], tags=[])

        assert before.reports[report.pk].prompt_title == "Secret prices"
        assert after.reports[report.pk] == replace(
            before.reports[report.pk], prompt_slug="", prompt_title="", prompt_language=""
        )

    def test_the_matching_words_are_marked_and_everything_else_is_escaped(self, client, reader):
        text = "Rédige <script>alert(1)</script> <img src=x onerror=alert(2)> un devis."
        make_prompt(title="Écrire <b>au client", text=text)

        page = find(client, "q=clients+devis").content.decode()

        assert "Écrire &lt;b&gt;au <mark>client</mark>" in page
        assert "alert(1) &lt;img src=x onerror=alert(2)&gt; un <mark>devis</mark>" in page
        assert "<script>alert" not in page
        assert "<img src=x" not in page

    def test_nobody_finds_what_they_may_not_read(self, client, reader, sales):
        author = make_person("author", sales)
        make_prompt(author, title="Crocodile", departments=[sales], visibility="departments")

        response = find(client, "q=crocodile")

        assert (titles(response), tabs(response)["prompt"]) == ([], 0)
        assert "sales" not in {b.name for b in response.context["boxes"]}

    def test_strangers_sign_in_first(self, client):
        assert find(client, "q=nda").status_code == 302

    def test_the_answer_to_typing_is_only_the_results_at_their_shortest_address(
        self, client, reader
    ):
        make_prompt(title="Review an NDA")

        response = find(client, "q=nda&sort=", **FRAGMENT, **{"HX-Trigger": "finding"})

        page = response.content.decode()
        assert response["HX-Replace-Url"] == "/prompts/?q=nda"
        assert "<header" not in page
        assert page.count('id="results"') == 1
        assert 'data-said="1 prompt"' in page

    def test_no_browser_keeps_the_answer_to_typing_for_the_page(self, client, reader):
        part, whole = find(client, "q=nda", **FRAGMENT), find(client, "q=nda")

        assert part["Cache-Control"] == "no-store"
        assert "no-store" not in whole.get("Cache-Control", "")
        assert {"HX-Request", "HX-Target"} <= set(whole["Vary"].split(", "))

    def test_going_back_gets_the_whole_page(self, client, reader):
        headers = {**FRAGMENT, "HX-History-Restore-Request": "true"}

        assert "<html" in find(client, "", **headers).content.decode()

    def test_pages_keep_the_search_and_a_page_too_far_is_the_last(self, client, reader):
        for number in range(23):
            make_prompt(title=f"Contract {number}")

        first, last = find(client, "q=contract"), find(client, "q=contract&page=9")

        assert (len(titles(first)), len(titles(last))) == (20, 3)
        assert 'href="?q=contract&amp;page=2"' in first.content.decode()
        assert last.context["page"].number == 2

    @pytest.mark.parametrize(
        "query",
        ["q=%00", "q=" + "a" * 500, "page=-1", "page=99999999999", "kind=person", "sort=x",
         "status=none", "department=%F0%9F%98%80", "q=%22&tag=%00", "language=xx&evidence=?"],
    )  # fmt: skip
    def test_whatever_stands_in_the_address_is_answered(self, client, reader, query):
        make_prompt()

        assert find(client, query).status_code == 200

    @pytest.mark.parametrize("query", ["", "q=nda", "q=nda&kind=everything", "language=en"])
    def test_the_page_asks_as_little_for_three_results_as_for_one(
        self, client, reader, legal, query
    ):
        self._publish(legal, 1)
        find(client, query)
        alone, _search = self._statements(client, query)
        self._publish(legal, 2)

        beside, _search = self._statements(client, query)

        assert beside == alone == BESIDE_THE_SEARCH

    def test_an_answer_to_typing_takes_six_statements(self, client, reader, legal):
        self._publish(legal, 6)
        find(client, "q=nda")

        beside, search = self._statements(client, "q=nda", **FRAGMENT)

        assert beside + search == 6

    def _publish(self, legal, count):
        for _number in range(count):
            prompt = make_prompt(title="Review an NDA", departments=[legal], tags=["nda"])
            make_report(prompt, title="An NDA")

    def _statements(self, client, query, **headers):
        """How many the page asks, and how many the search; its settings are not questions."""
        with CaptureQueriesContext(connection) as captured:
            find(client, query, **headers)
        bookkeeping = ("SAVEPOINT", "RELEASE", "SET LOCAL")
        asked = [q["sql"] for q in captured if not q["sql"].startswith(bookkeeping)]
        search = sum("kb_search" in statement for statement in asked)
        return len(asked) - search, search


class TestFacets:
    def test_a_value_is_ticked_and_unticked_by_its_address(self, client, reader, legal, sales):
        make_prompt(title="One", departments=[legal])
        make_prompt(title="Two", departments=[legal, sales])
        make_prompt(title="Three", departments=[sales])

        open_, ticked = find(client), find(client, "department=sales")

        assert box(open_, "department") == {
            "legal": ("Legal", 2, False, "?department=legal"),
            "sales": ("Sales", 2, False, "?department=sales"),
        }
        assert box(ticked, "department") == {
            "sales": ("Sales", 2, True, "?"),
            "legal": ("Legal", 2, False, "?department=sales&department=legal"),
        }
        assert sorted(titles(ticked)) == ["Three", "Two"]

    def test_two_values_of_a_facet_widen_two_facets_narrow(self, client, reader, legal, sales):
        make_prompt(title="One", departments=[legal], tools=[make_tool("chatgpt")])
        make_prompt(title="Two", departments=[sales], tools=[make_tool("claude")])

        both = find(client, "department=legal&department=sales")
        narrow = find(client, "department=legal&department=sales&tool=claude")

        assert sorted(titles(both)) == ["One", "Two"]
        assert titles(narrow) == ["Two"]

    def test_what_is_ticked_goes_with_what_is_typed(self, client, reader, legal):
        make_prompt(departments=[legal])

        page = find(client, "department=legal&sort=newest").content.decode()

        assert '<input type="hidden" form="finding" name="department" value="legal">' in page
        assert '<input type="hidden" form="finding" name="sort" value="newest">' in page

    def test_evidence_and_drift_are_facets_in_words(self, client, reader):
        proven = make_prompt(title="Proven")
        for _number in range(12):
            community.signal(prompt=proven, outcome="worked", by=make_person(), now=NOW)
        make_prompt(title="New")

        response = find(client, "evidence=proven")

        assert titles(response) == ["Proven"]
        assert box(response, "evidence")["proven"][:3] == ("Proven", 1, True)
        assert chips(response) == {"Evidence: Proven": "?"}

    def test_outcomes_are_a_facet_of_reports_only(self, client, reader):
        make_report(None, title="Good", outcome="worked")
        make_report(None, title="Bad", outcome="failed")

        reports = find(client, "kind=retrospective&status=failed")

        assert titles(reports) == ["Bad"]
        assert box(reports, "outcome")["worked"][:3] == ("Worked as is", 1, False)
        assert "outcome" not in {b.name for b in find(client).context["boxes"]}


class TestUnderstanding:
    def test_fields_typed_among_the_words_stand_as_chips(self, client, reader, legal):
        make_prompt(title="Review an NDA", departments=[legal])

        response = find(client, "q=nda+department:legal")

        assert titles(response) == ["Review an NDA"]
        assert chips(response) == {
            "Department: Legal": "?q=nda",
            "words: nda": "?q=department%3Alegal",
        }

    def test_a_name_typed_instead_of_a_slug_is_known(self, client, reader):
        support = make_department("support", name_fr="Service clients")
        make_prompt(title="Une relance", departments=[support])
        reader.language = "fr"
        reader.save()

        response = find(client, urlencode({"q": 'service:"service clients"'}))

        assert titles(response) == ["Une relance"]
        (chip,) = chips(response)
        assert chip.endswith("Service clients")
        assert box(response, "department") == {"support": ("Service clients", 1, True, "?")}

    def test_plain_words_stand_in_the_field_only(self, client, reader):
        assert chips(find(client, "q=review+nda")) == {}

    def test_phrases_choices_and_exclusions_are_told(self, client, reader):
        response = find(
            client, urlencode({"q": '"standard clauses" nda OR secrecy -draft -tag:old'})
        )

        assert list(chips(response)) == [
            "not old",
            "exactly “standard clauses”",
            "nda or secrecy",
            "without draft",
        ]

    def test_a_corrected_word_is_told_with_a_way_back(self, client, reader):
        make_prompt(title="Review a contract")
        index.settle()

        corrected = find(client, "q=contrcat")
        exact = find(client, "q=contrcat&exact=1")

        page = corrected.content.decode()
        assert titles(corrected) == ["Review a contract"]
        assert "Results for “<b>contract</b>” instead of “contrcat”." in page
        assert 'href="?q=contrcat&amp;exact=1"' in page
        assert titles(exact) == []

    def test_results_that_lack_a_word_say_so(self, client, reader):
        make_prompt(title="Review a contract")

        page = find(client, "q=review+contract+zebra").content.decode()

        assert "Not every word is in every result." in page


class TestNothing:
    def test_it_says_what_each_condition_costs_and_offers_to_ask(
        self, client, reader, legal, sales
    ):
        make_prompt(title="Review an NDA", departments=[legal])
        make_department("hr")

        response = find(client, "q=nda&department=hr")

        removals = [(r.chip.text, r.chip.url, r.total) for r in response.context["removals"]]
        page = response.content.decode()
        assert removals == [("Department: Hr", "?q=nda", "1 prompt")]
        assert "Nothing speaks of “nda” with these filters." in page
        assert f'href="{reverse("wish-new")}?title=nda"' in page

    def test_near_titles_and_other_kinds_are_offered(self, client, reader):
        make_report(None, title="A zebra at the till", lesson="Feed it first.")

        response = find(client, "q=zebra")

        assert re.search(
            r'href="\?q=zebra&amp;kind=retrospective">Retrospectives</a>', response.content.decode()
        )

    def test_the_miss_is_counted_without_a_name(self, client, reader):
        find(client, "q=Licorne+magique")
        find(client, "q=licorne+magique&department=legal")

        kept = SearchMiss.objects.order_by("pk").values_list("words", "facets", "times", "language")
        assert list(kept) == [
            ("licorne magique", "", 1, "en"),
            ("licorne magique", "departments:legal", 1, "en"),
        ]
        assert {f.name for f in SearchMiss._meta.get_fields()} == {
            *("id", "words", "facets", "language", "day", "found", "times")
        }

    def test_letters_on_the_way_to_a_word_are_no_miss_until_somebody_rests_on_them(
        self, client, reader
    ):
        find(client, "q=licor", **FRAGMENT)
        before = SearchMiss.objects.count()

        rested = client.post(reverse("search-missed") + "?q=licorne")

        assert (before, rested.status_code) == (0, 204)
        assert [miss.words for miss in SearchMiss.objects.all()] == ["licorne"]

    def test_a_search_with_results_is_no_miss(self, client, reader):
        make_prompt(title="Review an NDA")

        client.post(reverse("search-missed") + "?q=nda")
        find(client, "q=nda")

        assert SearchMiss.objects.count() == 0


class TestSuggestions:
    def suggest(self, client, text):
        response = client.get(reverse("search-suggest"), {"q": text})
        return {
            group.label: [("".join(p.text for p in o.parts), o.url) for o in group.options]
            for group in response.context["groups"]
        }

    def test_titles_tags_tools_and_departments_each_lead_somewhere(self, client, reader):
        make_department("reviews")
        make_prompt(
            title="Review an NDA",
            tags=["Reviewing"],
            tools=[make_tool("reviewer", name="Reviewer 3")],
            departments=[make_department("reviews")],
        )
        index.settle()

        found = self.suggest(client, "rev")

        assert found == {
            "Prompts": [("Review an NDA", "/prompts/review-an-nda/")],
            "Tags": [("Reviewing", "/prompts/?tag=reviewing")],
            "Tools": [("Reviewer 3", "/prompts/?tool=reviewer")],
            "Departments": [("Reviews", "/prompts/?department=reviews")],
        }

    def test_the_letters_typed_are_marked(self, client, reader):
        make_prompt(title="Écrire une réponse", language="fr")

        page = client.get(reverse("search-suggest"), {"q": "ecr"}).content.decode()

        assert "<mark>Écr</mark>ire une réponse</a>" in page

    @pytest.mark.parametrize("text", ["", "r", " r "])
    def test_one_letter_suggests_nothing(self, client, reader, text):
        make_prompt(title="Review an NDA")

        assert self.suggest(client, text) == {}

    def test_nothing_hidden_is_suggested(self, client, reader, sales):
        author = make_person("author", sales)
        make_prompt(author, title="Crocodile", departments=[sales], visibility="departments")
        make_prompt(author, title="Crocodile draft", status="draft")

        assert self.suggest(client, "croc") == {}

    def test_strangers_are_sent_to_sign_in(self, client):
        assert client.get(reverse("search-suggest"), {"q": "nda"}).status_code == 302


class TestRecent:
    def remember(self, client, *words):
        for one in words:
            assert client.post(reverse("search-recent"), {"q": one}).status_code == 204

    def recent(self, client):
        groups = client.get(reverse("search-recent")).context["groups"]
        return [option.words for group in groups for option in group.options]

    def test_the_latest_ten_stay_each_once(self, client, reader):
        self.remember(client, *(f"search {number}" for number in range(11)), "Search  3")

        assert self.recent(client) == [
            "Search 3",
            *(f"search {n}" for n in (10, 9, 8, 7, 6, 5, 4, 2, 1)),
        ]

    def test_they_show_among_the_suggestions_that_match(self, client, reader):
        self.remember(client, "clause de confidentialité", "devis")

        groups = client.get(reverse("search-suggest"), {"q": "confidentialite"}).context["groups"]

        assert [(g.label, [o.words for o in g.options]) for g in groups] == [
            ("Recent searches", ["clause de confidentialité"])
        ]

    def test_they_can_be_forgotten(self, client, reader):
        self.remember(client, "nda")

        answer = client.post(reverse("search-recent"), {"forget": "1"})

        assert (answer.status_code, self.recent(client)) == (204, [])

    def test_nobody_else_sees_them(self, client, reader):
        self.remember(client, "nda")
        client.logout()
        client.force_login(make_person())

        assert self.recent(client) == []


class TestSavedSearches:
    def save(self, client, query="q=nda&tool=chatgpt", **values):
        values = {"name": "NDAs", "cadence": "weekly", **values}
        return client.post(f"{reverse('search-save')}?{query}", values)

    def kept(self, person):
        return [(s.name, s.address, s.cadence) for s in SavedSearch.objects.filter(person=person)]

    def test_a_search_is_kept_and_leads_back_to_its_results(self, client, reader):
        response = self.save(client)

        assert response.url == "/prompts/?q=nda&tool=chatgpt"
        assert self.kept(reader) == [("NDAs", "q=nda&tool=chatgpt", "weekly")]
        page = client.get(reverse("searches")).content.decode()
        assert 'href="/prompts/?q=nda&amp;tool=chatgpt">NDAs</a>' in page

    def test_the_form_begins_with_the_words_as_a_name(self, client, reader):
        response = client.get(reverse("search-save") + "?q=nda&tool=chatgpt&page=3")

        assert response.context["form"]["name"].value() == "nda · chatgpt"
        assert response.context["query_string"] == "q=nda&tool=chatgpt"

    def test_a_search_for_reports_says_so_in_its_words(self, client, reader):
        self.save(client, "q=nda&kind=retrospective")

        assert self.kept(reader) == [("NDAs", "q=nda+kind%3Aretrospective", "weekly")]
        make_report(None, title="An NDA")
        assert titles(find(client, "q=nda+kind%3Aretrospective")) == ["An NDA"]

    def test_a_taken_name_is_refused_and_nothing_typed_is_lost(self, client, reader):
        self.save(client)

        response = self.save(client, "q=other", cadence="daily")

        assert response.status_code == 422
        page = response.content.decode()
        assert 'value="NDAs"' in page
        assert re.search(r'value="daily"[^>]*checked', page)
        assert "error-summary" in page

    def test_an_empty_search_is_not_kept(self, client, reader):
        assert self.save(client, "").status_code == 422
        assert self.kept(reader) == []

    def test_it_is_renamed_and_told_of_less_often(self, client, reader):
        self.save(client)
        saved = SavedSearch.objects.get()

        response = client.post(
            reverse("search-change", args=[saved.pk]), {"name": "Secrecy", "cadence": "never"}
        )

        assert response.url == reverse("searches")
        assert self.kept(reader) == [("Secrecy", "q=nda&tool=chatgpt", "never")]

    def test_a_refused_change_shows_the_form_again(self, client, reader):
        self.save(client)
        saved = SavedSearch.objects.get()

        response = client.post(
            reverse("search-change", args=[saved.pk]), {"name": "", "cadence": "daily"}
        )

        assert response.status_code == 422
        assert self.kept(reader) == [("NDAs", "q=nda&tool=chatgpt", "weekly")]

    def test_what_is_deleted_can_be_put_back_once(self, client, reader):
        self.save(client)
        saved = SavedSearch.objects.get()

        client.post(reverse("search-delete", args=[saved.pk]))

        after = client.get(reverse("searches")).content.decode()
        assert self.kept(reader) == []
        assert 'action="/searches/new/?q=nda&amp;tool=chatgpt"' in after
        assert "Put it back" not in client.get(reverse("searches")).content.decode()

    @pytest.mark.parametrize("act", ["search-change", "search-delete"])
    def test_nobody_touches_the_search_of_another(self, client, reader, act):
        self.save(client)
        saved = SavedSearch.objects.get()
        client.force_login(make_person())

        response = client.post(reverse(act, args=[saved.pk]), {"name": "Mine", "cadence": "never"})

        assert response.status_code == 404
        assert self.kept(reader) == [("NDAs", "q=nda&tool=chatgpt", "weekly")]
        assert "NDAs" not in client.get(reverse("searches")).content.decode()


class TestMissed:
    def test_curators_see_what_was_looked_for_in_vain_most_wanted_first(self, client, legal):
        client.force_login(make_person("curator", legal))
        for words in ("unicorn", "licorne magique", "unicorn"):
            find(client, urlencode({"q": words}))

        response = client.get(reverse("searches-missed"))

        assert response.context["rows"] == [("unicorn", 2, 2, 2), ("licorne magique", 1, 1, 1)]
        assert 'href="/wanted/new/?title=licorne%20magique"' in response.content.decode()

    def test_it_is_for_curators(self, client, reader):
        assert client.get(reverse("searches-missed")).status_code == 403


class TestShelf:
    def test_a_shelf_says_what_each_feature_says(self):
        author, voter = make_person(), make_person()
        prompt = make_prompt(author, departments=[make_department("legal")], tags=["b", "a"])
        make_prompt(author, title="Bare")
        make_report(prompt, voter, outcome="partly")
        community.signal(prompt=prompt, outcome="worked", by=author, now=NOW)
        community.cast_vote(prompt=prompt, by=voter, now=NOW)
        monitor = make_monitor(make_prompt(author, text="{{ n }}?"))
        type(monitor).objects.update(status="learning")
        ids = list(prompts.visible_to(author).order_by("pk").values_list("pk", flat=True))

        rows = {row.card.pk: row for row in shelve(ids)}

        tallies, votes = tally(ids), said.vote_counts(ids)
        reports, states = said.report_counts(ids), drift.states(ids)
        assert list(rows) == ids
        assert [rows[pk].card for pk in ids] == prompts.cards(ids)
        assert {pk: row.worked for pk, row in rows.items()} == {
            p: t.worked for p, t in tallies.items()
        }
        assert {pk: row.is_old_evidence for pk, row in rows.items()} == {
            pk: found.is_from_older_versions for pk, found in tallies.items()
        }
        assert {pk: row.votes for pk, row in rows.items() if row.votes} == votes
        assert {pk: row.reports for pk, row in rows.items() if row.reports} == reports
        assert {pk: row.drift for pk, row in rows.items() if row.drift} == states

    def test_evidence_of_an_older_version_is_told_as_such(self):
        author = make_person()
        prompt = make_prompt(author, text="One")
        community.signal(prompt=prompt, outcome="worked", by=author, now=NOW)
        edit_prompt(prompt=prompt, fields=PromptFields(text="Two"), by=author, now=NOW, based_on=1)

        (row,) = shelve([prompt.pk])

        assert (row.worked.k, row.worked.n, row.is_old_evidence) == (1, 1, True)


@given(
    st.builds(
        Address,
        text=st.text(st.characters(exclude_categories=["Cs", "Cc", "Z"]), max_size=60),
        ticked=st.dictionaries(
            st.sampled_from(["department", "tool", "tag", "status"]),
            st.lists(st.sampled_from(["legal", "é t", "a&b=c"]), min_size=1, unique=True),
        ),
        sort=st.sampled_from(SORTS),
        page=st.integers(1, 500),
        is_exact=st.booleans(),
    )
)
def test_an_address_is_read_as_it_was_written(address):
    written = QueryDict(urlencode(address.pairs()))

    again = read_address(written, written.getlist)

    if not address.typed.kinds:
        assert again == address
    assert again.query == address.query


def test_what_is_near_in_meaning_is_marked_and_can_be_left_out(client, reader, monkeypatch):
    for number in range(20):
        make_prompt(title=f"Something else {number}")
    make_prompt(title="Dunning letter")
    shapes = np.random.default_rng(1).normal(size=(21, 64))
    unread = meaning.unread(space=1, is_wide=False, most=50)
    meaning.keep(1, [(one, list(shape)) for one, shape in zip(unread, shapes, strict=True)])
    place = next(n for n, one in enumerate(unread) if one.text.startswith("Dunning"))
    question = meaning.Question(1, list(shapes[place]))
    monkeypatch.setattr("kb.finding.meaning.question", lambda query, clock: question)

    page = find(client, "q=client does not settle").content.decode()

    assert "Dunning letter" in page
    assert "near in meaning" in page
    assert "1 of them has other words but means something near." in page
    assert "Dunning" not in find(client, "q=client does not settle&exact=1").content.decode()
