"""Drift through the running product: recorded answers of real models, over HTTP, night by night.

    python -m tests.benchmarks.drift_product [--draws 20] [--only switch,rollout] [--seed 1]
        [--keep FILE] [--write-docs]

With `--keep` the rows are written to a file, and those of groups that are not asked for are read from
it, so that groups can be played one after the other. Ends with 1 when a promise is broken.

Every draw is a monitor of its own on a model name of its own, which the replay server answers from
the snapshot it is told; a night is one POST with `as_of`. What is counted: the first night whose run
ends as drifted, the direction and the cases it names, alarms on nights without a change, calls, and
the processor time of the worker that asks and compares.
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
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil

from tests.benchmarks import report
from tests.shared_data import shared_path
from tests.stack.product import Product, free_port

FIRST_NIGHT = datetime(2026, 1, 5, 2, tzinfo=UTC)
PATIENCE_SECONDS = 600
QUIET_NIGHTS = 63
"""With twenty draws of two prompts under four kinds of noise: 10,080 nights."""
LONGEST_NAME = 110
"""Of a test case."""
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
GROUPS = ("switch", "rollout", "flip", "quiet", "faults")
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
    processor: Callable[[], float] = lambda: 0.0
    """Seconds of processor time that the worker has had so far."""
    draws_made: int = 0
    night_seconds: float = 0.0
    """Of the processor, for the nights of the scenario that is played."""

    def play(self, scenario: Scenario) -> list[Draw]:
        """All draws of a scenario, night by night."""
        self.vendor("POST", "/control/reset")
        self.vendor("POST", "/control", {"noise": NOISES[scenario.noise], "seed": 7})
        before, after = VERSIONS[scenario.family]
        draws = [self._draw(scenario, before) for _ in range(scenario.draws)]
        self._all(draws, "baseline", 0)
        began = self.processor()
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
            if scenario.change.startswith("fault"):
                self.vendor("POST", "/control", {"faults": []})
        self.night_seconds = self.processor() - began
        return [draw for draw in draws if draw.flipped or scenario.change != "flip"]

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
                        "name": _case_name(case.query),
                        "variables": case.values,
                        "assertions": [{"type": "contains", "value": case.expected}],
                    }
                    for case in chosen
                ],
            },
        )
        return Draw(monitor["id"], model, [case.query for case in chosen])

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
            asked = Counter(name for d in draws for name in d.names)
            for d in draws:  # the server flips a question for all draws, so it must be of one alone
                own = [name for name in d.names if asked[name] == 1]
                d.flipped = self.random.choice(own) if own else ""
            flips = [{"match": d.flipped, "snapshot": after} for d in draws if d.flipped]
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
                Scenario(
                    "quiet",
                    f"{study} gpt-4",
                    study,
                    "gpt-4",
                    10,
                    draws,
                    0,
                    QUIET_NIGHTS,
                    noise,
                    "none",
                )
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


def row_of(scenario: Scenario, draws: Sequence[Draw], seconds: float) -> dict[str, Any]:
    """Shares of draws found by night, false alarms, what was named, calls, processor time."""
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
        "named": statistics.mean(_is_named(draw) for draw in draws if draw.first_alarm)
        if scenario.change == "flip" and any(found)
        else None,
        "right_by_10": sum(
            _is_named(draw) and draw.first_alarm is not None and draw.first_alarm <= 10
            for draw in draws
        )
        / len(draws),
        "directions": {
            d: sum(x.direction == d for x in draws) for d in ("worse", "better", "changed")
        },
        "nights": nights,
        "calls_ratio": sum(draw.calls for draw in draws) / max(1, usual),
        "processor_ms": 1000 * seconds / max(1, nights),
    }


def _is_named(draw: Draw) -> bool:
    return _case_name(draw.flipped) in draw.named[:1]


def _case_name(query: str) -> str:
    return query[:LONGEST_NAME].strip()  # as the service keeps it


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """All rows as Markdown."""
    head = ("what", "data", "cases", "noise", "draws", "night 1", "≤ 3", "≤ 10", "≤ 14", "false alarms", "right case", "calls", "CPU ms a night")  # fmt: skip
    return report.table(
        head,
        (
            (
                *(row[name] for name in ("group", "name", "cases", "noise", "draws")),
                *(f"{row[f'night_{night}']:.0%}" for night in (1, 3, 10, 14)),
                row["false_alarms"],
                "" if row["named"] is None else f"{row['named']:.0%}",
                f"{row['calls_ratio']:.2f}",
                f"{row['processor_ms']:.0f}",
            )
            for row in rows
        ),
    )


def promises(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What was promised of the groups that were played, and what came of it."""
    of = {
        "switch": [r for r in rows if r["group"] == "switch" and r["cases"] >= 10],
        **{
            group: [r for r in rows if r["group"] == group]
            for group in ("rollout", "flip", "quiet", "faults")
        },
    }

    def share(group: str, name: str) -> float:
        return sum(r[name] * r["draws"] for r in of[group]) / sum(r["draws"] for r in of[group])

    made: list[tuple[str, str, str, bool]] = []
    if of["switch"]:
        for name, text, least in (
            ("night_3", "change of the model, ≥ 10 cases: found within 3 nights", 0.95),
            ("night_1", "the same on the first night", 0.75),
        ):
            found = share("switch", name)
            made.append((text, f"≥ {least:.0%}", f"{found:.1%}", found >= least))
    for group, name, text, least in (
        ("rollout", "night_14", "roll-out to a fifth of the calls: found within 14 nights", 0.90),
        ("flip", "right_by_10", "one case of ten: found within 10 nights, named first", 0.75),
    ):
        if of[group]:
            found = share(group, name)
            made.append((text, f"≥ {least:.0%}", f"{found:.1%}", found >= least))
    for group, text in (("faults", "faults shown as drift"), ("quiet", "alarms on quiet nights")):
        if of[group]:
            alarms = sum(r["false_alarms"] for r in of[group])
            nights = sum(r["nights"] for r in of[group])
            made.append((text, "0", f"{alarms} in {nights:,}", not alarms))
    early = sum(r["false_alarms"] for name in ("switch", "rollout", "flip") for r in of[name])
    if any(of[name] for name in ("switch", "rollout", "flip")):
        made.append(("alarms before the change", "0", str(early), not early))
    if of["quiet"]:
        calls = sum(r["calls_ratio"] * r["nights"] for r in of["quiet"])
        ratio = calls / sum(r["nights"] for r in of["quiet"])
        made.append(
            ("calls ÷ (cases × nights), quiet nights", "≤ 1.10", f"{ratio:.3f}", ratio <= 1.10)
        )
    return [
        {"name": name, "target": target, "measured": measured, "is_met": is_met}
        for name, target, measured, is_met in made
    ]


@contextmanager
def running_product(folder: Path) -> Iterator[tuple[Service, Product]]:
    """The whole product and its API, with one administrator and the clock allowed."""
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
        yield Service(f"http://127.0.0.1:{product.port}/api/v1/", token), product
    finally:
        product.stop()


def processor_seconds(product: Product) -> float:
    """Of the worker that drives the calls and compares, with all its processes, past ones included."""
    worker = psutil.Process(product.numbers()["models"])
    total = 0.0
    for process in (worker, *worker.children(recursive=True)):
        times = process.cpu_times()
        total += times.user + times.system + times.children_user + times.children_system
    return total


def main() -> int:
    """Play everything asked for; print and keep the rows."""
    parser = argparse.ArgumentParser(prog="make bench-drift", description="Drift, over HTTP.")
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--only", default="", help=f"some of {','.join(GROUPS)}")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, metavar="FILE", help="rows, kept between runs")
    parser.add_argument(
        "--write-docs", action="store_true", help="bring docs/benchmarks.md up to date"
    )
    asked = parser.parse_args()
    groups = set(filter(None, asked.only.split(","))) or set(GROUPS)
    if unknown := groups.difference(GROUPS):
        parser.error(f"There is no group {', '.join(sorted(unknown))}; choose {', '.join(GROUPS)}.")
    about = report.machine()
    known = json.loads(asked.keep.read_text()) if asked.keep and asked.keep.exists() else []
    rows = [row for row in known if row["group"] not in groups]
    rows += played(asked.draws, groups, asked.seed)
    rows.sort(key=lambda row: GROUPS.index(row["group"]))
    if asked.keep:
        asked.keep.write_text(json.dumps(rows, indent=2))
    march, june = published_change()
    published = (
        f"Share of right answers of GPT-4 on primes, March to June 2023, from the recordings: "
        f"{march:.1%} to {june:.1%} (published: 84.0 % to 51.1 %)."
    )
    kept = promises(rows)
    text = "\n\n".join([report.machine_line(about), published, report.targets(kept), table(rows)])
    print(f"\n{text}")
    if asked.write_docs:
        report.write_section("drift-product", text)
    return 0 if all(one["is_met"] for one in kept) else 1


def played(draws: int, groups: Collection[str], seed: int) -> list[dict[str, Any]]:
    """Rows of the scenarios of these groups, played through a product that is started for it."""
    rows = []
    with (
        tempfile.TemporaryDirectory() as folder,
        vendor() as ask,
        running_product(Path(folder)) as (api, product),
    ):
        sent = {"name": "Replay", "provider": "openai_compatible", "api_key": "sk-test"}
        connection = api("POST", "connections/", sent | {"base_url": f"{ask.base}/v1"})
        prompts = {
            study: api(
                "POST",
                "prompts/",
                {"title": f"{study} {os.getpid()}", "text": question, "status": "published"},
            )["slug"]
            for study, (_file, question) in SETS.items()
        }
        bench = Bench(
            api,
            ask,
            random.Random(seed),
            connection["id"],
            prompts,
            {study: recordings(study) for study in SETS},
            lambda: processor_seconds(product),
        )
        for scenario in scenarios(draws):
            if scenario.group not in groups:
                continue
            began = time.monotonic()
            row = row_of(scenario, bench.play(scenario), bench.night_seconds)
            rows.append(row)
            seconds = time.monotonic() - began
            print(table([row]).splitlines()[-1], row["directions"], f"{seconds:.0f} s", flush=True)
    return rows


if __name__ == "__main__":
    sys.exit(main())
