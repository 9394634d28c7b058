import pytest

from kb.drift import trials
from kb.drift.trial_models import Trial
from kb.tasks import trials as tasks
from tests.api.conftest import Caller, told
from tests.factories import NOW, make_person, make_prompt, make_target
from tests.kb.drift.test_trials import Vendor, error, play

pytestmark = pytest.mark.django_db


@pytest.fixture
def author():
    return Caller(make_person("author"))


@pytest.fixture
def target():
    return make_target()


@pytest.fixture
def prompt(author):
    return make_prompt(author.person, text="Is {{ n }} prime?")


@pytest.fixture(autouse=True)
def bell(monkeypatch):
    """Ids of the trials a worker was told of."""

    class Bell:
        def __init__(self):
            self.rung = []

        def apply_async(self, arguments, **options):
            self.rung += arguments

    made = Bell()
    monkeypatch.setattr(tasks, "run_trial", made)
    return made


def asked(prompt, target, **changed):
    return {"targets": [target.pk], "values": {"n": "7"}, **changed}


def test_a_trial_is_asked_for_and_read_until_it_has_ended(
    author, prompt, target, bell, django_capture_on_commit_callbacks
):
    with django_capture_on_commit_callbacks(execute=True):
        answer = author.post(f"prompts/{prompt.slug}/trials/", asked(prompt, target))

    trial = Trial.objects.get()
    assert (answer.status_code, bell.rung) == (202, [trial.pk])
    assert answer["Location"].endswith(f"/api/v1/trials/{trial.pk}/")
    shown = answer.json()
    assert (shown["status"], [a["outcome"] for a in shown["answers"]]) == ("queued", ["waiting"])
    play(trial, Vendor())

    shown = author.get(f"trials/{trial.pk}/").json()

    (told_answer,) = shown.pop("answers")
    assert {name: shown[name] for name in ("id", "prompt", "version", "values", "status")} == {
        "id": trial.pk,
        "prompt": prompt.slug,
        "version": 1,
        "values": {"n": "7"},
        "status": "done",
    }
    assert told_answer == {
        "id": trial.answers.get().pk,
        "target": target.pk,
        "model": "simulated-stable",
        "connection_name": target.connection.name,
        "is_simulated": True,
        "outcome": "answered",
        "text": "I am simulated-stable.",
        "served_model": "served",
        "finish": "stop",
        "input_tokens": 1_000,
        "output_tokens": 500,
        "latency_ms": 1_200,
        "cost": None,
        "currency": "",
        "error_kind": "",
        "is_example": False,
    }


def test_the_provider_is_not_quoted_to_authors(author, prompt, target):
    trial = trials.request(
        version=prompt.current, targets=[target], values={"n": "7"}, by=author.person, now=NOW
    )
    play(trial, Vendor(**{"simulated-stable": error("auth")}))

    answer = author.get(f"trials/{trial.pk}/")

    assert answer.json()["answers"][0]["error_kind"] == "auth"
    assert "auth it is" not in answer.content.decode()


@pytest.mark.parametrize(
    ("changed", "names"),
    [
        ({"targets": []}, ["targets"]),
        ({"targets": [999_999]}, ["targets"]),
        ({"targets": [1, 2, 3, 4, 5]}, ["targets"]),
        ({"targets": "1"}, ["targets"]),
        ({"values": {}}, ["values.n"]),
        ({"values": {"n": "7", "m": "9"}}, ["values.m"]),
        ({"version": 2}, ["version"]),
        ({"model": "x"}, ["model"]),
    ],
)
def test_what_cannot_be_asked_is_named(author, prompt, target, changed, names):
    answer = author.post(f"prompts/{prompt.slug}/trials/", asked(prompt, target, **changed))

    assert told(answer) == (422, "invalid", names)
    assert not Trial.objects.exists()


def test_readers_may_not_spend(prompt, target):
    reader = Caller(make_person("reader"))

    answer = reader.post(f"prompts/{prompt.slug}/trials/", asked(prompt, target))

    assert told(answer) == (403, "not_allowed", [])


def test_reading_is_not_enough_of_a_scope(author, prompt, target):
    reading = Caller(author.person, scopes=("read",))

    assert reading.post(f"prompts/{prompt.slug}/trials/", asked(prompt, target)).status_code == 403


def test_too_many_at_once_are_a_conflict(author, prompt, target):
    for _ in range(trials.MOST_UNDER_WAY):
        author.post(f"prompts/{prompt.slug}/trials/", asked(prompt, target))

    answer = author.post(f"prompts/{prompt.slug}/trials/", asked(prompt, target))

    assert told(answer) == (409, "conflict", [])


def test_trials_of_others_do_not_exist(author, prompt, target):
    pk = author.post(f"prompts/{prompt.slug}/trials/", asked(prompt, target)).json()["id"]

    for role in ("reader", "author", "admin"):
        assert told(Caller(make_person(role)).get(f"trials/{pk}/")) == (404, "not_found", [])


def test_a_repeated_key_asks_once(author, prompt, target):
    for _ in range(2):
        author.post(
            f"prompts/{prompt.slug}/trials/", asked(prompt, target), **{"Idempotency-Key": "one"}
        )

    assert Trial.objects.count() == 1
