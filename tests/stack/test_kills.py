"""Whatever is killed while runs are under way: each ends once, and nobody pays or hears twice.

It takes some minutes, so it runs only when asked for: `KILL_MOMENTS=10` kills each process at
ten seeded moments.
"""

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tests.kb.supervisor.programs import wait_until
from tests.shared_data import shared_path
from tests.stack.product import Product, ended, free_port
from tests.stack.test_prime import MARCH, QUESTION, Program, recorded_cases

MOMENTS = int(os.environ.get("KILL_MOMENTS", "0"))

pytestmark = [
    pytest.mark.stack,
    pytest.mark.timeout(1500),
    pytest.mark.skipif(not MOMENTS, reason="takes minutes; set KILL_MOMENTS=10 to run it"),
]

VICTIMS = ("models", "worker", "beat", "valkey", "postgres")
MONITORS = 6
CASES = 8
LATENCY_SECONDS = 1.5
PATIENCE_SECONDS = 420
EVERY_MINUTE = "* * * * *"
FINAL = {"done", "failed", "timeout", "cancelled", "over_budget", "skipped"}


@pytest.fixture(scope="module")
def vendor():
    """The replay server, slow enough that a kill always finds calls under way."""
    port = free_port()
    words = [str(shared_path("tools", "replay_server.py")), "--port", str(port)]
    words += ["--csv", str(shared_path("data", "llmdrift", "prime.csv"))]
    server = subprocess.Popen(
        [sys.executable, *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    ask = Program(f"http://127.0.0.1:{port}")

    def is_up():
        try:
            return ask("GET", "/health")
        except OSError:
            return None

    wait_until(is_up, 30)
    latency = {"mode": "fixed", "seconds": LATENCY_SECONDS}
    ask("POST", "/control", {"snapshot": MARCH, "latency": latency})
    yield ask
    server.terminate()
    server.wait(10)


@pytest.fixture(scope="module")
def product(tmp_path_factory):
    made = Product(Path(tmp_path_factory.mktemp("kills")) / "var", free_port())
    made.environment["RETEX_EGRESS_ALLOW"] = "127.0.0.1"
    made.start()
    yield made
    ended(made)


@pytest.fixture(scope="module")
def api(product):
    product.run("create_user", "kim@company.test", "--name", "Kim", "--role", "admin")
    words = ["create_token", "kim@company.test", "--name", "kills"]
    for scope in ("read", "write", "admin"):
        words += ["--scope", scope]
    token = product.run(*words).stdout.strip()
    return Program(f"http://127.0.0.1:{product.port}/api/v1/", token)


def patiently(api, *words):
    """Ask until the product is back: a killed database answers 503 for a moment."""

    def asked():
        try:
            return api(*words)
        except (AssertionError, OSError):
            return None

    return wait_until(asked, PATIENCE_SECONDS)


def monitors(api, vendor):
    """Monitors with a baseline that run every minute."""
    prompt = api("POST", "prompts/", {"title": "Prime?", "text": QUESTION, "status": "published"})
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
    target = api("POST", "targets/", {"connection": connection["id"], "model": "gpt-4"})
    cases = [
        {"name": n, "variables": {"n": n}, "assertions": [{"type": "contains", "value": answer}]}
        for n, answer in list(recorded_cases().items())[:CASES]
    ]
    made = [
        api(
            "POST",
            "monitors/",
            {
                "prompt": prompt["slug"],
                "target": target["id"],
                "schedule": "manual",
                "baseline_repeats": 1,
                "cases": cases,
            },
        )["id"]
        for _ in range(MONITORS)
    ]
    for pk in made:
        api("POST", f"monitors/{pk}/baseline/")
    for pk in made:
        wait_until(lambda pk=pk: api("GET", f"monitors/{pk}/")["baseline"], PATIENCE_SECONDS)
    return made


def runs_of(api, monitor):
    """Every run of a monitor, with its answers."""
    rows, page = [], 1
    while True:
        found = patiently(api, "GET", f"monitors/{monitor}/runs/?page={page}&page_size=100")
        rows += found["results"]
        if found["next"] is None:
            return [patiently(api, "GET", f"runs/{row['id']}/") for row in rows]
        page += 1


def test_every_run_ends_once_and_is_paid_once_whatever_is_killed(product, api, vendor):
    watched = monitors(api, vendor)
    asked_before = len(vendor("GET", "/control/log")["log"])
    for pk in watched:
        api("PATCH", f"monitors/{pk}/", {"schedule": EVERY_MINUTE})
    seeded = random.Random(20231)
    victims = [name for name in VICTIMS for _ in range(MOMENTS)]
    seeded.shuffle(victims)

    wait_until(lambda: len(vendor("GET", "/control/log")["log"]) > asked_before, 150)
    for name in victims:
        time.sleep(seeded.uniform(0.5, 6.0))
        # The process and what it has forked, as a machine that loses power would.
        family = psutil.Process(product.numbers()[name])
        for process in [*family.children(recursive=True), family]:
            with suppress(psutil.NoSuchProcess):  # it has just ended by itself
                process.send_signal(signal.SIGKILL)
        wait_until(lambda name=name, old=family.pid: product.numbers().get(name) != old, 60)
    for pk in watched:
        patiently(api, "PATCH", f"monitors/{pk}/", {"schedule": "manual"})

    def all_ended():
        rows = [run for pk in watched for run in runs_of(api, pk)]
        return rows if all(run["status"] in FINAL for run in rows) else None

    rows = wait_until(all_ended, PATIENCE_SECONDS)

    # Each slot has one run, and each run that is done has one answer for each case.
    slots = Counter((run["monitor"], run["slot"]) for run in rows)
    assert set(slots.values()) == {1}
    done = [run for run in rows if run["status"] == "done" and run["kind"] != "baseline"]
    assert done
    for run in done:
        places = Counter((a["case"], a["session"], a["repeat"]) for a in run["completions"])
        assert set(places.values()) == {1}
        assert len(places) >= CASES
    # Paid for twice is at most what was under way at a kill of the worker that asks.
    answered = len(
        [entry for entry in vendor("GET", "/control/log")["log"] if entry["status"] == 200]
    )
    kept = sum(a["outcome"] != "missing" for run in rows for a in run["completions"])
    worker_kills = victims.count("models") + victims.count("postgres")
    under_way = min(8, CASES * MONITORS)  # the connection's calls at once
    assert answered - kept <= worker_kills * under_way
    # Nothing has changed, so nobody heard of a drift, and of nothing twice.
    told = patiently(api, "GET", "notifications/?page_size=100")["results"]
    assert [note["kind"] for note in told if note["kind"] == "drifted"] == []
    assert max(Counter((n["kind"], n["path"]) for n in told).values(), default=0) <= 1
