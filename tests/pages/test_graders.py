"""The models that judge: choosing and trying them, and what the pages say when nothing is judged."""

import re

import pytest
from django.contrib.messages import get_messages
from django.urls import reverse
from django.utils import translation

from kb.drift import anchors, graders
from kb.drift.grader_models import AnchorLook, Grader
from kb.llm import actions as llm
from kb.llm.models import Connection, Expense
from tests.factories import (
    NOW,
    later,
    make_admin,
    make_connection,
    make_department,
    make_monitor,
    make_person,
    make_prompt,
    make_target,
)
from tests.fakes import FakeVendor, Fault
from tests.judges import (
    RUBRIC,
    SIMILAR,
    Embedder,
    Judge,
    access,
    by_length,
    chosen,
    failure,
    look,
    monitored,
    numbered,
    rerun,
    rubric_cases,
)
from tests.pages.reruns import words

pytestmark = pytest.mark.django_db
FRAGMENT = {"HX-Request": "true"}
PAGE = "/connections/graders/"


def price(grader, read, written):
    """What a million tokens cost with the model that judges, in euros."""
    llm.save_price(
        connection=grader.target.connection,
        model=grader.target.model,
        input_per_million=read,
        output_per_million=written,
        currency="EUR",
        by=make_admin(),
    )


@pytest.fixture
def author(client):
    return make_person("author", make_department("legal"), name="Ada Author")


@pytest.fixture
def vendor(settings):
    settings.RETEX_EGRESS_ALLOW = "127.0.0.1"
    with FakeVendor() as running:
        yield running


def told(response):
    return [str(message) for message in get_messages(response.wsgi_request)]


def choose(client, role, target):
    return client.post(f"{PAGE}{role}/", {f"{role}-target": target.pk if target else ""})


class TestChoosing:
    def test_at_first_nobody_judges_and_the_page_says_what_is_missing(self, client, admin):
        page = client.get(PAGE)

        assert "No model has been added yet." in words(page)
        assert "No embeddings model has been added yet." in words(page)
        assert "Whether the judge is as it was" not in words(page)

    def test_it_is_reached_from_the_connections(self, client, admin):
        make_connection(by=admin)

        assert f'href="{PAGE}"' in client.get(reverse("connections")).content.decode()

    def test_a_judge_is_chosen_told_and_taken_away_again(self, client, admin):
        target = make_target(make_connection(name="Vendor"), "gpt-x")

        made = choose(client, "judge", target)
        page = words(client.get(PAGE))
        gone = choose(client, "judge", None)

        assert (made.status_code, made["Location"]) == (302, PAGE)
        assert told(made) == [
            "Saved. Try it once; usual answers are judged anew with the next run of each monitor."
        ]
        assert "gpt-x" in page
        assert "Hélène Admin" in page
        assert (
            "It is not watched yet. That begins in the first night after it has judged 10" in page
        )
        assert told(gone)[-1] == "Saved: such checks are not judged from now on."
        assert not Grader.objects.filter(ended=None).exists()

    def test_only_models_that_make_vectors_are_offered_for_embeddings(self, client, admin):
        connection = make_connection("openai_compatible")
        make_target(connection, "gpt-x")
        make_target(connection, "embed-3", is_embedding=True)

        roles = client.get(PAGE).context["roles"]

        offered = {
            one.role: [name for pk, name in one.form["target"].field.choices if pk] for one in roles
        }
        assert offered == {
            "judge": [f"gpt-x · {connection}"],
            "embeddings": [f"embed-3 · {connection}"],
        }

    def test_what_is_not_offered_is_refused_in_words(self, client, admin):
        target = make_target(make_connection("openai_compatible"), "embed-3", is_embedding=True)
        make_target(target.connection, "gpt-x")

        page = choose(client, "judge", target)

        assert page.status_code == 422
        assert "One answer needs another look" in words(page)
        assert not Grader.objects.exists()

    def test_checks_that_nobody_judges_are_counted(self, client, admin):
        grader = chosen()
        make_monitor(cases=rubric_cases(2))
        make_monitor(cases=rubric_cases(1, {**RUBRIC, "type": "not-llm-rubric"}))
        make_monitor()
        assert "2 monitors depend on it" in words(client.get(PAGE))

        graders.remove_grader(role="judge", by=admin, now=NOW)

        assert "2 monitors have such checks; they are not judged." in words(client.get(PAGE))
        assert grader.target.model == "judge"

    def test_others_are_refused(self, client):
        chosen()
        for person in (make_person("curator"), make_person("admin", make_department("legal"))):
            client.force_login(person)
            answers = [
                client.get(PAGE),
                client.post(f"{PAGE}judge/", {}),
                client.post(f"{PAGE}judge/try/"),
                client.post(f"{PAGE}judge/accept/"),
            ]
            assert [answer.status_code for answer in answers] == [403] * 4
        assert Grader.objects.filter(ended=None).exists()

    def test_a_connection_that_judges_cannot_be_deleted(self, client, admin):
        grader = chosen(by=admin)

        url = reverse("connection-delete", args=[grader.target.connection_id])

        asked, page = client.get(url), client.post(url)
        graders.remove_grader(role="judge", by=admin, now=NOW)
        gone = client.post(url)

        assert "judges answers, so it cannot be deleted" in words(asked)
        assert page.status_code == 409
        assert "judges answers; choose another one first." in words(page)
        assert (gone.status_code, Connection.objects.exists()) == (302, False)

    def test_a_switched_off_connection_is_told(self, client, admin):
        grader = chosen(by=admin)
        Connection.objects.filter(pk=grader.target.connection_id).update(is_enabled=False)

        assert "is switched off, so nothing is judged." in words(client.get(PAGE))

    def test_a_model_is_added_as_one_that_makes_vectors(self, client, admin):
        connection = make_connection("openai_compatible", admin)
        url = reverse("connection-target", args=[connection.pk])

        made = client.post(url, {"target-model": "embed-3", "target-is_embedding": "on"})

        assert told(made) == ["“embed-3” can make vectors now."]
        page = client.get(reverse("connection", args=[connection.pk]))
        assert "makes vectors" in words(page)
        assert "Ask for a vector" in words(page)


class TestTrying:
    def judge_at(self, vendor, admin, **fields):
        account = make_connection("openai_compatible", admin, base_url=vendor.url, api_key="sk-1")
        return chosen(connection=account, by=admin, **fields)

    def test_a_judge_is_asked_about_what_is_known(self, client, admin, vendor, monkeypatch):
        self.judge_at(vendor, admin)
        monkeypatch.setattr("tests.fakes._chat_completion", _judging)

        page = client.post(f"{PAGE}judge/try/", headers=FRAGMENT)

        assert "It judges as it should." in words(page)
        assert len(vendor.requests) == 4
        assert Expense.objects.get().reference == "trial:judging"

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ('{"verdict": "yes"}', "but judges wrongly"),
            ("Yes, it is a number.", "What it said is no verdict."),
        ],
    )
    def test_a_judge_that_is_no_use_is_told(self, client, admin, vendor, text, said):
        self.judge_at(vendor, admin)
        vendor.text = text

        assert said in words(client.post(f"{PAGE}judge/try/"))

    def test_a_judge_that_cannot_be_asked_says_why_without_the_key(self, client, admin, vendor):
        self.judge_at(vendor, admin)
        vendor.fail(*[Fault("status", 401)] * 4)

        page = client.post(f"{PAGE}judge/try/")

        assert "The provider refused the key." in words(page)
        assert "sk-1" not in page.content.decode()

    def test_embeddings_tell_how_near_meanings_are(self, client, admin):
        chosen(
            "embeddings",
            by=admin,
            connection=make_connection(by=admin, name="Simulated"),
            model="simulated-embeddings",
        )

        page = client.post(f"{PAGE}embeddings/try/")

        assert re.search(
            r"say the same are near by 0\.\d\d, two about different things by", words(page)
        )
        assert "simulated" in words(page)

    def test_an_embeddings_model_is_tried_from_its_connection(self, client, admin, vendor):
        grader = self.judge_at(vendor, admin, role="embeddings")
        url = reverse("connection-try", args=[grader.target.connection_id])

        page = client.post(url, {"target": str(grader.target_id)})

        assert "embeddings makes vectors. Each has 4 numbers." in words(page)


def _judging(vendor, recorded):
    """A vendor whose model reads: yes to a number, no to anything else."""
    text = re.search(r"TEXT BEGINS\n(.*?)\n", recorded.body["messages"][-1]["content"])[1]
    said = "yes" if text.isdigit() else "no"
    message = {"role": "assistant", "content": f'{{"verdict": "{said}"}}'}
    return {"model": "m", "choices": [{"message": message, "finish_reason": "stop"}]}


class TestTheWatch:
    def watched(self, nights, says=by_length):
        grader = chosen()
        judge = Judge(says)
        monitored(10, answer=numbered, way=access(judge=judge), baseline_repeats=1)
        for night in range(1, nights + 1):
            look(access(judge=judge), now=later(days=night))
        return grader

    def test_learning_and_then_as_usual(self, client, admin):
        self.watched(3)
        learning = words(client.get(PAGE))
        for night in (4, 5, 6):
            look(access(judge=Judge(by_length)), now=later(days=night))

        page = words(client.get(PAGE))

        assert "Learning: 3 of 5 nights" in learning
        assert "As usual" in page
        assert "yes to 50% of its fixed answers" in page
        assert "10, of 1 prompt" in page
        assert "20 calls a night" in page
        assert "The last 6 looks at it" in page

    def test_a_changed_judge_is_explained_and_accepted(self, client, admin):
        grader = self.watched(6)
        look(access(judge=Judge("no")), now=later(days=7))
        doubted = words(client.get(PAGE))
        look(access(judge=Judge("no")), now=later(days=7, hours=2))

        page = words(client.get(PAGE))
        accepted = client.post(f"{PAGE}judge/accept/")

        assert "It judged its fixed answers unlike before, which may be chance." in doubted
        assert "The judge has changed, noticed on 9 March 2026" in page
        assert "5 of 10 fixed answers are judged otherwise than before." in page
        assert "It used to say yes to 50% of them, now to 0%." in page
        assert told(accepted) == [
            "Accepted: its verdicts count again, and it is learned anew how it judges."
        ]
        grader.refresh_from_db()
        assert (grader.ended is not None, Grader.objects.get(ended=None).status) == (True, "new")

    def test_accepting_what_has_not_changed_is_a_conflict(self, client, admin):
        chosen()

        assert client.post(f"{PAGE}judge/accept/").status_code == 409

    def test_the_message_leads_to_the_page(self, client, admin):
        self.watched(6)
        look(access(judge=Judge("no")), now=later(days=7))
        look(access(judge=Judge("no")), now=later(days=7, hours=2))

        page = words(client.get(reverse("notifications")))

        assert "judges otherwise than before: its verdicts do not count" in page
        assert AnchorLook.objects.filter(verdict="changed").count() == 1
        assert anchors.LEAST_ANCHORS == 10


class TestMonitorsAndRuns:
    def show(self, client, monitor, run=None, language="en"):
        with translation.override(language):
            client.force_login(monitor.owner)
            client.cookies["django_language"] = language
            path = reverse("run", args=[run.pk]) if run else reverse("monitor", args=[monitor.pk])
            return words(client.get(path, headers={"accept-language": language}))

    def test_a_run_says_for_each_check_why_it_was_not_judged(self, client):
        chosen()
        chosen("embeddings")
        monitor = monitored(1, RUBRIC, SIMILAR, way=access(judge=Judge("yes"), embedder=Embedder()))
        run = rerun(
            monitor,
            "something",
            way=access(judge=Judge(failure("over_budget", permanent=True)), embedder=Embedder()),
            now=later(days=1),
        )

        page = self.show(client, monitor, run)

        assert (
            "Not judged: The answer must satisfy, in the judgement of a model: “Is polite.”. "
            "Not judged. The budget left no room to ask the judging model." in page
        )
        assert (
            "Passed: The answer must mean much the same as “yes” (nearness of at least 0.9)."
            in page
        )
        assert "Judged by" in page

    def test_a_run_tells_what_judging_took(self, client):
        grader = chosen()
        price(grader, 1_000, 1_000)
        monitor = monitored(1, way=access(judge=Judge("yes")))

        page = self.show(client, monitor, monitor.runs.get())

        assert "Judging 2 calls, €0.42" in page

    def test_a_monitor_says_who_is_missing(self, client):
        chosen()
        monitor = monitored(2, way=access(judge=Judge("yes")))
        graders.remove_grader(role="judge", by=make_admin(), now=NOW)

        page = self.show(client, monitor)

        assert "Checks that a model decides are not judged: nobody has chosen a judge." in page
        assert "An administrator of the company can choose one" in page

    def test_a_monitor_counts_what_was_not_judged_in_its_last_run(self, client):
        chosen()
        monitor = monitored(3, way=access(judge=Judge("yes")))
        rerun(
            monitor,
            "something",
            way=access(judge=Judge("Well, perhaps.")),
            now=later(days=1),
        )

        page = self.show(client, monitor)

        assert re.search(r"In the last run (\d+) of \1 checks by a model were not judged\.", page)
        assert "What the judging model said could not be read." in page

    @pytest.mark.parametrize(
        ("status", "said"),
        [
            ("suspect", "The model that judges is in doubt"),
            ("changed", "The model that judges has changed, noticed on"),
        ],
    )
    def test_a_monitor_tells_of_a_judge_in_doubt(self, client, status, said):
        grader = chosen()
        monitor = monitored(2, way=access(judge=Judge("yes")))
        Grader.objects.filter(pk=grader.pk).update(status=status, look_due=None)

        page = self.show(client, monitor)

        assert said in page
        assert "Models that judge" not in page  # a link for administrators

    def test_a_run_compared_without_the_judge_says_so(self, client):
        grader = chosen()
        monitor = monitored(2, way=access(judge=Judge("yes")))
        Grader.objects.filter(pk=grader.pk).update(status="changed", look_due=None)
        run = rerun(monitor, "yes", now=later(days=1))

        assert "so this run was compared without its word" in self.show(client, monitor, run)

    def test_a_monitor_without_such_checks_says_nothing_of_judges(self, client):
        monitor = monitored(2, {"type": "contains", "value": "yes"})

        assert "model that judges" not in self.show(client, monitor)

    def test_french_readers_read_french(self, client):
        chosen()
        monitor = monitored(2, way=access(judge=Judge("yes")))
        run = rerun(
            monitor, "autre chose", way=access(judge=Judge(failure("timeout"))), now=later(days=1)
        )
        monitor.owner.language = "fr"
        monitor.owner.save(update_fields=["language"])

        page, of_run = (
            self.show(client, monitor, language="fr"),
            self.show(client, monitor, run, "fr"),
        )

        assert "confiées à un modèle sur" in page
        assert "n’ont pas été jugées" in page
        assert "à temps" in of_run
        assert "judging model" not in page + of_run


class TestSettingUp:
    def page(self, client, author):
        prompt = make_prompt(author, title="Primes", text="Is {{ n }} prime?")
        make_target()
        client.force_login(author)
        return client.get(reverse("monitor-new", args=[prompt.slug]))

    def test_without_a_judge_the_page_says_what_is_missing_and_who_can_help(self, client, author):
        page = self.page(client, author)

        assert (
            "are not offered: nobody has chosen a judge. An administrator of the company can."
            in words(page)
        )
        assert 'value="llm-rubric"' not in page.content.decode()

    def test_with_a_judge_its_checks_are_offered_and_explained(self, client, author):
        chosen()

        page = self.page(client, author)

        assert 'value="llm-rubric"' in page.content.decode()
        assert 'value="similar"' not in page.content.decode()
        assert "never as an instruction" in words(page)
        assert "nobody has chosen an embeddings model" in words(page)

    def test_what_judging_takes_is_told_before_it_is_saved(self, client, author):
        grader = chosen()
        price(grader, 10, 20)
        prompt = make_prompt(author, title="Primes", text="Is {{ n }} prime?")
        target = make_target()
        client.force_login(author)
        typed = {
            "target": str(target.pk),
            "schedule": "nightly",
            "case-0-v-n": "7",
            "case-0-rule-0-kind": "llm-rubric",
            "case-0-rule-0-value": "Names a day.",
            "do": "count",
        }

        page = words(
            client.post(reverse("monitor-new", args=[prompt.slug]), typed, headers=FRAGMENT)
        )

        assert "up to 2 calls a run of the model that judges" in page
        assert "Judging costs at most about €0.53 a month." in page

    def test_checks_stay_when_their_judge_is_gone(self, client, author):
        chosen()
        prompt = make_prompt(author, title="Primes", text="Is {{ n }} prime?")
        monitor = make_monitor(prompt, cases=rubric_cases(1))
        graders.remove_grader(role="judge", by=make_admin(), now=NOW)
        client.force_login(author)
        url = reverse("monitor-edit", args=[monitor.pk])
        typed = {
            "target": str(monitor.target_id),
            "schedule": "weekly",
            "case-0-name": "case 0",
            "case-0-v-n": "0",
            "case-0-rule-0-kind": "llm-rubric",
            "case-0-rule-0-value": "Is polite.",
        }

        page = client.get(url)
        saved = client.post(url, typed)

        assert "they may stay, but are not judged for now." in words(page)
        monitor.refresh_from_db()
        assert (saved.status_code, monitor.schedule) == (302, "weekly")
