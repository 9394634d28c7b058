"""Drift through the running product: recorded answers of real models, over HTTP, night by night.

    python -m tests.benchmarks.drift_product [--draws 20] [--only switch,rollout] [--seed 1]

Every draw is a monitor of its own on a model name of its own, which the replay server answers from
the snapshot it is told; a night is one POST with `as_of`. What is counted: the first night whose run
ends as drifted, the direction and the cases it names, alarms on nights without a change, and calls.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.shared_data import shared_path
from tests.stack.product import Product, free_port

FIRST_NIGHT = datetime(2026, 1, 5, 2, tzinfo=UTC)
PATIENCE_SECONDS = 600
SETS = {
    "prime": (
        "prime.csv",
        'Is {{n}} a prime number? Think step by step and then answer "[Yes]" or "[No]".',
    ),
    "happy": (
        "happy_numbers.csv",
        (
            "How many happy numbers are there between {{a}} and {{b}}? Think step by step and then "
            'answer within "\\\\boxed" (e.g, \\\\boxed{10}).'
        ),
    ),
}
VERSIONS = {
    "gpt-4": ("openaichat/gpt-4-0314", "openaichat/gpt-4-0613"),
    "gpt-3.5": ("openaichat/gpt-3.5-turbo-0301", "openaichat/gpt-3.5-turbo-0613"),
}
NOISES: Mapping[str, Mapping[str, Any] | None] = {
    "none": None,
    "diverge 0.3": {"p": 0.3, "mode": "diverge"},
    "neighbour 0.1": {"p": 0.1, "mode": "neighbour"},
    "replicate 0.3": {"p": 0.3, "mode": "replicate"},
}
FAULTS = [
    "http429",
    "http500",
    "http503",
    "http401",
    "timeout",
    "slow",
    "truncate",
    "disconnect",
    "empty",
    "length",
    "refusal",
    "badjson",
]


# --- talking ----------------------------------------------------------------------------------


class Service:
    """An HTTP service in JSON; raises RuntimeError with what it said."""

    def __init__(self, base: str, token: str = "") -> None:
        self.base, self.token = base, token

    def __call__(self, method: str, path: str, body: Any = None) -> Any:
        request = urllib.request.Request(
            self.base + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json", "Authorization": f"Bearer {self.token}"},
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                text = answer.read()
        except urllib.error.HTTPError as error:
            raise RuntimeError(f"{method} {path}: {error.code} {error.read()[:400]!r}") from error
        return json.loads(text) if text else None


@contextmanager
def vendor() -> Iterator[Service]:
    """The replay server with both recordings."""
    port = free_port()
    recordings = [
        word
        for name, _question in SETS.values()
        for word in ("--csv", str(shared_path("data", "llmdrift", name)))
    ]
    script = str(shared_path("tools", "replay_server.py"))
    server = subprocess.Popen(
        [sys.executable, script, *recordings, "--port", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    ask = Service(f"http://127.0.0.1:{port}")
    try:
        wait(lambda: _is_up(ask))
        yield ask
    finally:
        server.terminate()
        server.wait(10)


def _is_up(ask: Service) -> bool:
    try:
        return bool(ask("GET", "/health"))
    except OSError:
        return False


def wait(until: Callable[[], Any], patience: float = PATIENCE_SECONDS) -> Any:
    """What `until` returns once it is true; raises TimeoutError."""
    end = time.monotonic() + patience
    while not (found := until()):
        if time.monotonic() > end:
            raise TimeoutError("waited too long")
        time.sleep(0.05)
    return found


# --- recordings -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Recorded:
    """One question with the values of its blanks, the right answer, and what each model said."""

    values: Mapping[str, str]
    expected: str
    answers: Mapping[str, str]
    query: str


def recordings(name: str) -> list[Recorded]:
    """The questions of one study, those only that every model has answered."""
    file_name, _question = SETS[name]
    rows: dict[str, dict[str, Any]] = defaultdict(lambda: {"answers": {}})
    with shared_path("data", "llmdrift", file_name).open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            rows[row["query"]]["expected"] = row["ref_answer"]
            rows[row["query"]]["answers"][row["model"]] = row["answer"]
    models = {model for pair in VERSIONS.values() for model in pair}
    return [
        Recorded(_values(name, query), _expected(name, row["expected"]), row["answers"], query)
        for query, row in rows.items()
        if set(row["answers"]) >= models
    ]


def _values(name: str, query: str) -> dict[str, str]:
    words = query.replace("?", " ").split()
    if name == "prime":
        return {"n": words[1]}
    return {"a": words[words.index("between") + 1], "b": words[words.index("and") + 1]}


def _expected(name: str, right: str) -> str:
    if name == "prime":
        return "[Yes]" if right.lower() == "yes" else "[No]"
    return right.replace("\\\\", "\\")


# --- one scenario -----------------------------------------------------------------------------


@dataclass
class Draw:
    """One monitor that plays one scenario."""

    monitor: int
    model: str
    names: Sequence[str]
    flipped: str = ""
    first_alarm: int | None = None
    """Nights after the change, from 1; None: never."""
    false_alarms: int = 0
    direction: str | None = None
    named: Sequence[str] = ()
    calls: int = 0
    nights: int = 0
    severity: str = ""


@dataclass(frozen=True)
class Scenario:
    """What happens to the model: `change` after `quiet` nights, watched for `nights` more."""

    group: str
    name: str
    study: str
    family: str
    cases: int
    draws: int
    quiet: int
    nights: int
    noise: str = "none"
    change: str = "switch"
    """switch, rollout (a fifth of the calls), flip (one case), none, or fault:<kind>."""


@dataclass
class Bench:
    """The running product, the vendor, and what both are asked."""

    api: Service
    vendor: Service
    random: random.Random
    connection: int
    prompts: Mapping[str, str]
    studies: Mapping[str, Sequence[Recorded]]
    draws_made: int = 0
    calls: dict[str, int] = field(default_factory=dict)

    def play(self, scenario: Scenario) -> list[Draw]:
        """All draws of a scenario, night by night."""
        self.vendor("POST", "/control/reset")
        self.vendor("POST", "/control", {"noise": NOISES[scenario.noise], "seed": 7})
        before, after = VERSIONS[scenario.family]
        draws = [self._draw(scenario, before) for _ in range(scenario.draws)]
        self._all(draws, "baseline", 0)
        for night in range(1, scenario.quiet + 1):
            for draw, run in self._night(draws, night):
                draw.false_alarms += run["verdict"] == "drifted"
        self._change(scenario, draws, after)
        for night in range(1, scenario.nights + 1):
            waiting = [draw for draw in draws if draw.first_alarm is None]
            for draw, run in self._night(waiting, scenario.quiet + night):
                if run["verdict"] == "drifted":
                    draw.first_alarm, draw.direction = night, run["direction"]
                    draw.named = [case["name"] for case in run["changed_cases"]]
                    draw.severity = run["severity"] or ""
            if scenario.change.startswith("fault"):
                self.vendor("POST", "/control", {"faults": []})
        return draws

    def _draw(self, scenario: Scenario, before: str) -> Draw:
        self.draws_made += 1
        model = f"draw-{self.draws_made}"
        self.vendor("POST", "/control", {"snapshots": {model: before}})
        target = self.api("POST", "targets/", {"connection": self.connection, "model": model})
        chosen = self._chosen(scenario, before)
        monitor = self.api(
            "POST",
            "monitors/",
            {
                "prompt": self.prompts[scenario.study],
                "target": target["id"],
                "schedule": "manual",
                "cases": [
                    {
                        "name": case.query[:110],
                        "variables": case.values,
                        "assertions": [{"type": "contains", "value": case.expected}],
                    }
                    for case in chosen
                ],
            },
        )
        flipped = chosen[self.random.randrange(len(chosen))] if scenario.change == "flip" else None
        return Draw(
            monitor["id"],
            model,
            [case.query for case in chosen],
            flipped=flipped.query if flipped else "",
        )

    def _chosen(self, scenario: Scenario, before: str) -> list[Recorded]:
        questions = self.studies[scenario.study]
        if scenario.change == "flip":  # only where the two versions say different things
            after = VERSIONS[scenario.family][1]
            questions = [
                q
                for q in questions
                if (q.expected in q.answers[before]) != (q.expected in q.answers[after])
            ]
        return self.random.sample(list(questions), scenario.cases)

    def _change(self, scenario: Scenario, draws: Sequence[Draw], after: str) -> None:
        if scenario.change == "switch":
            self.vendor("POST", "/control", {"snapshots": {d.model: after for d in draws}})
        elif scenario.change == "rollout":
            self.vendor("POST", "/control", {"mix": {"snapshot": after, "p": 0.2}})
        elif scenario.change == "flip":
            flips = [{"match": d.flipped, "snapshot": after} for d in draws]
            self.vendor("POST", "/control", {"overrides": flips})
        elif scenario.change.startswith("fault:"):
            kind = scenario.change.partition(":")[2]
            fault = {"kind": kind, "rate": 0.7, "seconds": 3, "retry_after": 1}
            self.vendor("POST", "/control", {"faults": [fault]})

    def _night(self, draws: Sequence[Draw], night: int) -> list[tuple[Draw, Any]]:
        ended = self._all(draws, "run", night)
        for draw, run in ended:
            draw.calls += run["calls"]
            draw.nights += 1
        return ended

    def _all(self, draws: Sequence[Draw], what: str, night: int) -> list[tuple[Draw, Any]]:
        as_of = (FIRST_NIGHT + timedelta(days=night)).isoformat()
        queued = [
            (draw, self.api("POST", f"monitors/{draw.monitor}/{what}/", {"as_of": as_of})["run"])
            for draw in draws
        ]
        return [(draw, wait(lambda pk=pk: self._ended(pk))) for draw, pk in queued]

    def _ended(self, pk: int) -> Any:
        run = self.api("GET", f"runs/{pk}/")
        return run if run["status"] not in ("queued", "running") else None


def scenarios(draws: int) -> list[Scenario]:
    """Everything that is promised about real changes, partial ones, single cases, and none."""
    made = []
    for study in SETS:
        for family in VERSIONS:
            for cases in (5, 10, 20):
                for noise in ("none", "diverge 0.3"):
                    name = f"{study} {family}"
                    made.append(Scenario("switch", name, study, family, cases, draws, 2, 3, noise))
            made.append(
                Scenario(
                    "rollout",
                    f"{study} {family}",
                    study,
                    family,
                    10,
                    draws,
                    5,
                    14,
                    change="rollout",
                )
            )
            made.append(
                Scenario(
                    "flip", f"{study} {family}", study, family, 10, draws, 5, 10, change="flip"
                )
            )
        for noise in NOISES:
            made.append(
                Scenario("quiet", f"{study} gpt-4", study, "gpt-4", 10, draws, 0, 30, noise, "none")
            )
    made += [
        Scenario(
            "faults", kind, "prime", "gpt-4", 10, max(2, draws // 5), 2, 3, change=f"fault:{kind}"
        )
        for kind in FAULTS
    ]
    return made


# --- the published figure ---------------------------------------------------------------------


def published_change() -> tuple[float, float]:
    """Accuracy of GPT-4 on primes in March and June 2023, from the recordings: 0.840 and 0.511.

    An answer counts by the last "yes" or "no" in it, brackets or not.
    """
    answers: dict[str, list[bool]] = defaultdict(list)
    with shared_path("data", "llmdrift", "prime.csv").open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            said = re.findall(r"\b(yes|no)\b", row["answer"].lower())
            answers[row["model"]].append(bool(said) and said[-1] == row["ref_answer"].lower())
    march, june = (answers[model] for model in VERSIONS["gpt-4"])
    return statistics.mean(march), statistics.mean(june)


# --- report -----------------------------------------------------------------------------------


def report(scenario: Scenario, draws: Sequence[Draw]) -> dict[str, Any]:
    """One row: shares of draws found by night, false alarms, what was named, calls."""
    found = [draw.first_alarm for draw in draws]

    def by(night: int) -> float:
        return sum(n is not None and n <= night for n in found) / len(draws)

    nights = sum(draw.nights for draw in draws)
    usual = sum(draw.nights * len(draw.names) for draw in draws)
    return {
        "group": scenario.group,
        "name": scenario.name,
        "cases": scenario.cases,
        "noise": scenario.noise,
        "draws": len(draws),
        "night_1": by(1),
        "night_3": by(3),
        "night_10": by(10),
        "night_14": by(14),
        "false_alarms": sum(draw.false_alarms for draw in draws)
        + (
            sum(n is not None for n in found)
            if scenario.change in ("none",) or scenario.group == "faults"
            else 0
        ),
        "named": statistics.mean(
            draw.flipped[:110] in draw.named[:1] for draw in draws if draw.first_alarm
        )
        if scenario.change == "flip" and any(found)
        else None,
        "directions": {
            d: sum(x.direction == d for x in draws) for d in ("worse", "better", "changed")
        },
        "nights": nights,
        "calls_ratio": sum(draw.calls for draw in draws) / max(1, usual),
    }


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Markdown."""
    lines = [
        "| what | data | cases | noise | draws | night 1 | ≤ 3 | ≤ 10 | ≤ 14 | false alarms | right case | calls |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        named = "" if row["named"] is None else f"{row['named']:.0%}"
        lines.append(
            f"| {row['group']} | {row['name']} | {row['cases']} | {row['noise']} | {row['draws']} "
            f"| {row['night_1']:.0%} | {row['night_3']:.0%} | {row['night_10']:.0%} "
            f"| {row['night_14']:.0%} | {row['false_alarms']} | {named} | {row['calls_ratio']:.2f} |"
        )
    return "\n".join(lines)


@contextmanager
def running_product(folder: Path) -> Iterator[Service]:
    """The API of the whole product, with one administrator and the clock allowed."""
    product = Product(folder / "var", free_port())
    product.environment |= {
        "RETEX_EGRESS_ALLOW": "127.0.0.1",
        "RETEX_ALLOW_CLOCK": "1",
        "RETEX_API_RATE": "100000/min",
    }
    product.start()
    try:
        made = product.run(
            "create_user", "bench@company.test", "--name", "Bench", "--role", "admin"
        )
        if made.returncode:
            raise RuntimeError(made.stderr)
        words = ["create_token", "bench@company.test", "--name", "bench"]
        for scope in ("read", "write", "admin"):
            words += ["--scope", scope]
        token = product.run(*words).stdout.strip()
        yield Service(f"http://127.0.0.1:{product.port}/api/v1/", token)
    finally:
        product.stop()


def main() -> int:
    """Play everything asked for; print the table; write the rows as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--only", default="", help="groups: switch,rollout,flip,quiet,faults")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--output", type=Path)
    asked = parser.parse_args()
    groups = set(filter(None, asked.only.split(",")))
    march, june = published_change()
    print(
        f"GPT-4 on primes, March → June 2023: {march:.1%} → {june:.1%} (published 84.0 % → 51.1 %)"
    )
    rows = []
    with (
        tempfile.TemporaryDirectory() as folder,
        vendor() as ask,
        running_product(Path(folder)) as api,
    ):
        connection = api(
            "POST",
            "connections/",
            {
                "name": "Replay",
                "provider": "openai_compatible",
                "base_url": f"{ask.base}/v1",
                "api_key": "sk-test",
            },
        )
        prompts = {
            study: api(
                "POST",
                "prompts/",
                {"title": f"{study} {os.getpid()}", "text": question, "status": "published"},
            )["slug"]
            for study, (_file, question) in SETS.items()
        }
        studies = {study: recordings(study) for study in SETS}
        bench = Bench(api, ask, random.Random(asked.seed), connection["id"], prompts, studies)
        for scenario in scenarios(asked.draws):
            if groups and scenario.group not in groups:
                continue
            began = time.monotonic()
            row = report(scenario, bench.play(scenario))
            row["seconds"] = round(time.monotonic() - began, 1)
            rows.append(row)
            print(
                table([row]).splitlines()[-1], f"{row['directions']} {row['seconds']} s", flush=True
            )
    print()
    print(table(rows))
    if asked.output:
        asked.output.write_text(json.dumps(rows, indent=1), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
