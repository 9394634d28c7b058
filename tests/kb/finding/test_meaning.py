"""The model that finds by meaning: chosen, having it read, asking it."""

from decimal import Decimal

import pytest
from django.core.cache import cache

from kb.core.errors import Conflict, Invalid, NotAllowed
from kb.finding import meaning
from kb.finding.models import MeaningModel
from kb.llm import actions as llm
from kb.llm.models import CALLS, Connection, Expense
from kb.prompts import actions as prompts
from kb.search import engine
from kb.search.models import SearchMeaning
from kb.search.query import parse
from tests.factories import NOW, make_admin, make_connection, make_person, make_prompt
from tests.fakes import FakeVendor

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _own_cache(settings):
    settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
    cache.clear()


@pytest.fixture
def vendor(settings):
    settings.RETEX_EGRESS_ALLOW = "127.0.0.1"
    with FakeVendor() as running:
        yield running


@pytest.fixture
def model(vendor):
    """An embeddings model of a vendor that is really asked over HTTP, chosen."""
    admin = make_admin()
    account = make_connection(
        "openai_compatible", admin, name="Vectors", base_url=vendor.url, api_key="sk-1234"
    )
    target = llm.save_target(connection=account, model="vectors-1", by=admin, is_embedding=True)
    return meaning.choose_model(target=target, is_wide=False, by=admin, now=NOW)


def read_on():
    return meaning.read_on(clock=lambda: NOW)


def question(text):
    return meaning.question(parse(text), clock=lambda: NOW)


def sent(vendor):
    """The texts of each call for vectors."""
    return [r.body["input"] for r in vendor.requests if r.path.endswith("/embeddings")]


class TestReading:
    def test_what_the_company_shares_is_read_once(self, vendor, model):
        author = make_person()
        make_prompt(author, title="Shared", text="Write a letter.")
        make_prompt(author, title="Draft", status="draft")

        assert (read_on(), read_on()) == (1, 0)

        assert sent(vendor) == [["Shared\nWrite a letter."]]
        state = meaning.state()
        assert (state.read, state.readable, state.model.trouble) == (1, 1, "")

    def test_it_is_paid_for_as_every_call_is(self, vendor, model):
        make_prompt(make_person())
        read_on()

        expense = Expense.objects.get()
        assert (expense.reference, expense.department_id, expense.calls) == ("finding", None, 1)

    def test_a_cap_stops_it_and_the_page_is_told(self, vendor, model):
        llm.save_cap(
            by=make_admin(),
            period="day",
            unit=CALLS,
            most=Decimal(0),
            connection=model.target.connection,
        )
        make_prompt(make_person())

        assert read_on() == 0

        assert sent(vendor) == []
        assert meaning.state().model.trouble == "over_budget"

    def test_a_vendor_that_refuses_is_told_and_asked_again_the_next_time(self, vendor, model):
        vendor.require_key = "another"
        make_prompt(make_person())
        assert read_on() == 0
        assert meaning.state().model.trouble == "auth"

        vendor.require_key = None
        assert read_on() == 1
        assert meaning.state().model.trouble == ""

    def test_without_a_model_nothing_leaves(self, vendor, model):
        make_prompt(make_person())
        meaning.remove_model(by=model.chosen_by)

        assert read_on() == 0
        assert sent(vendor) == []

    def test_a_connection_that_is_switched_off_is_not_asked(self, vendor, model):
        make_prompt(make_person())
        Connection.objects.update(is_enabled=False)

        assert read_on() == 0
        assert question("a letter") is None
        assert sent(vendor) == []

    def test_what_is_withdrawn_is_forgotten_even_then(self, vendor, model):
        prompt = make_prompt(make_person())
        read_on()
        Connection.objects.update(is_enabled=False)
        prompts.archive(prompt=prompt, by=prompt.author, now=NOW)

        read_on()

        assert SearchMeaning.objects.count() == 0


class TestAsking:
    def test_the_same_question_is_asked_once(self, vendor, model):
        first, second = question("a Letter"), question("a Letter")

        assert first == second
        assert first.space == model.target_id
        assert sent(vendor) == [["a Letter"]]

    @pytest.mark.parametrize(
        "text", ["", '"a letter"', "letter -draft", "letter OR mail", "tool:x"]
    )
    def test_where_words_are_meant_exactly_nobody_is_asked(self, vendor, model, text):
        assert question(text) is None
        assert sent(vendor) == []

    def test_while_the_vendor_is_away_things_are_found_by_words_at_once(self, vendor, model):
        vendor.require_key = "another"
        make_prompt(make_person("author"), title="A letter")

        assert (question("letter"), question("mail")) == (None, None)

        assert len(sent(vendor)) == 1
        found = engine.search(parse("letter"), make_person("reader"), question=question("letter"))
        assert [hit.slug for hit in found.hits] == ["a-letter"]


class TestChoosing:
    def test_only_administrators_of_the_company_choose(self, model):
        person = make_person()

        with pytest.raises(NotAllowed):
            meaning.choose_model(target=model.target, is_wide=True, by=person, now=NOW)
        with pytest.raises(NotAllowed):
            meaning.remove_model(by=person)

    def test_a_model_that_answers_is_refused(self, model):
        answering = llm.save_target(
            connection=model.target.connection, model="answers", by=model.chosen_by
        )

        with pytest.raises(Invalid) as refused:
            meaning.choose_model(target=answering, is_wide=False, by=model.chosen_by, now=NOW)
        assert "answers" in refused.value.fields["target"]

    def test_its_connection_stays_while_it_is_in_use(self, model):
        with pytest.raises(Conflict):
            llm.delete_connection(connection=model.target.connection, by=model.chosen_by)

        meaning.remove_model(by=model.chosen_by)
        llm.delete_connection(connection=model.target.connection, by=model.chosen_by)

    def test_another_model_reads_everything_anew(self, vendor, model):
        make_prompt(make_person())
        read_on()
        other = llm.save_target(
            connection=model.target.connection, model="v2", by=model.chosen_by, is_embedding=True
        )

        meaning.choose_model(target=other, is_wide=False, by=model.chosen_by, now=NOW)

        assert (meaning.state().read, meaning.state().readable) == (0, 1)

    def test_without_one_nothing_is_kept(self, vendor, model):
        make_prompt(make_person())
        read_on()

        assert meaning.remove_model(by=model.chosen_by)
        assert not meaning.remove_model(by=model.chosen_by)
        assert (MeaningModel.objects.count(), SearchMeaning.objects.count()) == (0, 0)
        assert meaning.state() is None
