"""The scenario 'prime': real answers of GPT-4 of March and June 2023, through the running product.

Everything happens as it would for a team: the whole product runs as real processes, a program
talks to its API, beat and worker do the nightly work, and the page tells a person what changed.
"""

import csv
import json
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.kb.supervisor.programs import wait_until
from tests.shared_data import shared_path
from tests.stack.product import Product, ended, free_port

pytestmark = [pytest.mark.stack, pytest.mark.timeout(420)]

MARCH, JUNE = "openaichat/gpt-4-0314", "openaichat/gpt-4-0613"
QUESTION = 'Is {{n}} a prime number? Think step by step and then answer "[Yes]" or "[No]".'
CASES = 20
EVERY_MINUTE = "* * * * *"
PATIENCE_SECONDS = 150


class Program:
    """Somebody's script that talks to an HTTP service in JSON."""

    def __init__(self, base, token=""):
        self.base, self.token = base, token

    def __call__(self, method, path, body=None, expected=(200, 201, 202)):
        request = urllib.request.Request(
            self.base + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json", "Authorization": f"Bearer {self.token}"},
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                status, text = answer.status, answer.read()
        except urllib.error.HTTPError as error:
            status, text = error.code, error.read()
        assert status in expected, (status, text)
        return json.loads(text) if text else None


@pytest.fixture(scope="module")
def vendor():
    """The replay server, playing March."""
    script, recording = (
        shared_path("tools", "replay_server.py"),
        shared_path("data", "llmdrift", "prime.csv"),
    )
    port = free_port()
    server = subprocess.Popen(
        [sys.executable, str(script), "--csv", str(recording), "--port", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    ask = Program(f"http://127.0.0.1:{port}")
    wait_until(lambda: _answers(ask), 30)
    ask("POST", "/control", {"snapshot": MARCH})
    yield ask
    server.terminate()
    server.wait(10)


def _answers(ask):
    try:
        return ask("GET", "/health")
    except OSError:
        return None


@pytest.fixture(scope="module")
def product(tmp_path_factory):
    """The whole product with one administrator."""
    made = Product(Path(tmp_path_factory.mktemp("prime")) / "var", free_port())
    made.environment["RETEX_EGRESS_ALLOW"] = "127.0.0.1"
    made.start()
    yield made
    ended(made)


@pytest.fixture(scope="module")
def api(product):
    made = product.run("create_user", "ada@company.test", "--name", "Ada", "--role", "admin")
    assert made.returncode == 0, made.stderr
    token = product.run(
        "create_token",
        "ada@company.test",
        "--name",
        "prime",
        "--scope",
        "read",
        "--scope",
        "write",
        "--scope",
        "admin",
    )
    assert token.returncode == 0, token.stderr
    return Program(f"http://127.0.0.1:{product.port}/api/v1/", token.stdout.strip())


def recorded_cases():
    """Ten primes and ten others with their right answers, as the study wrote them down."""
    path = shared_path("data", "llmdrift", "prime.csv")
    found = {"[Yes]": {}, "[No]": {}}
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            answer = "[Yes]" if row["ref_answer"].lower() == "yes" else "[No]"
            if len(found[answer]) < CASES // 2:
                found[answer][row["query"].split()[1]] = answer
    return found["[Yes]"] | found["[No]"]


def wait_for_run(api, run_id):
    def ended_run():
        run = api("GET", f"runs/{run_id}/")
        return run if run["status"] not in ("queued", "running") else None

    return wait_until(ended_run, PATIENCE_SECONDS)


def next_scheduled(api, monitor_id, known):
    """The next run that beat has queued and a worker has judged."""

    def judged():
        for row in api("GET", f"monitors/{monitor_id}/runs/")["results"]:
            if row["id"] not in known and row["kind"] == "scheduled" and row["verdict"]:
                return api("GET", f"runs/{row['id']}/")
        return None

    return wait_until(judged, PATIENCE_SECONDS)


def test_a_change_of_the_model_is_found_explained_and_told_once(api, vendor, product):
    expected = recorded_cases()
    prompt = api(
        "POST",
        "prompts/",
        {"title": "Is it prime?", "text": QUESTION, "language": "en", "status": "published"},
    )
    connection = api(
        "POST",
        "connections/",
        {
            "name": "Replay",
            "provider": "openai_compatible",
            "base_url": f"{vendor.base}/v1",
            "api_key": "sk-replay",
        },
    )
    target = api(
        "POST",
        "targets/",
        {"connection": connection["id"], "model": "gpt-4", "parameters": {"temperature": 0.1}},
    )
    monitor = api(
        "POST",
        "monitors/",
        {
            "prompt": prompt["slug"],
            "target": target["id"],
            "schedule": "manual",
            "cases": [
                {
                    "name": number,
                    "variables": {"n": number},
                    "assertions": [{"type": "contains", "value": answer}],
                }
                for number, answer in expected.items()
            ],
        },
    )

    # A baseline in March, a quiet night in March.
    baseline = wait_for_run(api, api("POST", f"monitors/{monitor['id']}/baseline/")["run"])
    assert baseline["status"] == "done"
    assert api("GET", f"monitors/{monitor['id']}/")["status"] == "stable"
    quiet = wait_for_run(api, api("POST", f"monitors/{monitor['id']}/run/")["run"])
    quiet = wait_until(lambda: _judged(api, quiet["id"]))
    assert (quiet["verdict"], quiet["changed_cases"]) == ("stable", [])
    assert quiet["pass_rate"] == quiet["pass_rate_baseline"]

    # The vendor changes the model; beat and worker find out.
    vendor("POST", "/control", {"snapshot": JUNE})
    api("PATCH", f"monitors/{monitor['id']}/", {"schedule": EVERY_MINUTE})
    known = {row["id"] for row in api("GET", f"monitors/{monitor['id']}/runs/")["results"]}
    drifted = next_scheduled(api, monitor["id"], known)

    # What the program is told is what the recording says.
    march, june = right_answers(MARCH, expected), right_answers(JUNE, expected)
    assert drifted["verdict"] == "drifted"
    assert drifted["direction"] == "worse"
    assert drifted["pass_rate_baseline"] == pytest.approx(len(march) / CASES)
    assert drifted["pass_rate"] == pytest.approx(len(june) / CASES)
    flipped = {
        case["name"]
        for case in drifted["changed_cases"]
        if case["pass_rate"] != case["pass_rate_baseline"]
    }
    assert flipped == march ^ june
    assert (
        drifted["calls"] == 2 * CASES
    )  # the night and, as the next slot is near, its confirmation

    # A second night says the same; the author has been told once.
    known.add(drifted["id"])
    again = next_scheduled(api, monitor["id"], known)
    assert again["verdict"] == "drifted"
    told = [n for n in api("GET", "notifications/")["results"] if n["kind"] == "drifted"]
    assert len(told) == 1
    assert api("GET", f"prompts/{prompt['slug']}/")["drift"]["status"] == "drifted"
    api("PATCH", f"monitors/{monitor['id']}/", {"schedule": "manual"})


def _judged(api, run_id):
    run = api("GET", f"runs/{run_id}/")
    return run if run["verdict"] else None


def right_answers(snapshot, expected):
    """The numbers a snapshot answered as expected in the recording."""
    right = set()
    with shared_path("data", "llmdrift", "prime.csv").open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            number = row["query"].split()[1]
            if (
                row["model"] == snapshot
                and number in expected
                and expected[number] in row["answer"]
            ):
                right.add(number)
    return right
