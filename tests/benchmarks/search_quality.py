"""make bench-search: does the search find what people mean?

    python -m tests.benchmarks.search_quality [--show] [--only KIND] [--keep FOLDER] [--write-docs]
                                              [--write-neighbours]

Fills a fresh database with real prompts and our demonstration, asks the judged queries, and sets
the answers beside two references. Ends with 1 when a target of TARGETS is missed. `--show` prints
the queries of the dev set that failed; those of the test set are never shown.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml

from tests.benchmarks import report, search_report
from tests.benchmarks import search_judged as judged
from tests.benchmarks.search_house import BenchError, House, open_house
from tests.benchmarks.search_judged import Answer, Judged, Score
from tests.benchmarks.search_sources import CSV, MissingSources, imported

TARGETS = {"exact": 0.95, "inflected": 0.95, "accents": 0.95, "typo": 0.9, "natural": 0.75}
"""Success@10 by kind, on the test set."""
TARGET_FIRST = 0.8
"""Success@1 of all kinds together, on the test set."""
OUTPUT = "search_quality.json"


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="make bench-search", description="Quality of finding.")
    parser.add_argument("--show", action="store_true", help="print the dev queries that failed")
    parser.add_argument("--only", choices=judged.KINDS, help="print only this kind with --show")
    parser.add_argument(
        "--keep", type=Path, metavar="FOLDER", help="fill this folder once and use it again"
    )
    parser.add_argument(
        "--write-docs", action="store_true", help="bring docs/benchmarks.md up to date"
    )
    parser.add_argument(
        "--write-neighbours",
        action="store_true",
        help="write down what the engines list, for bench-scale to leave out of its hay",
    )
    parser.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    wanted = parser.parse_args(arguments)
    if wanted.inside:
        return _measure(wanted)
    try:
        imported()
        with tempfile.TemporaryDirectory(prefix="retex-bench-") as temporary:
            results = run(wanted.keep or Path(temporary), wanted)
    except (BenchError, MissingSources) as error:
        print(f"make bench-search: {error}", file=sys.stderr)
        return 1
    if wanted.write_docs:
        report.write_section("search-quality", search_report.quality(results))
    return 0 if all(target["is_met"] for target in results["targets"]) else 1


def run(folder: Path, wanted: argparse.Namespace) -> dict[str, Any]:
    """Fill the folder if need be, measure, and return what was measured."""
    with open_house(folder) as house:
        fill_with_real_prompts(house)
        output = house.data / OUTPUT
        options = ["--show"] * wanted.show + (["--only", wanted.only] if wanted.only else [])
        options += ["--write-neighbours"] * wanted.write_neighbours
        house.run("-m", "tests.benchmarks.search_quality", "--inside", output, *options)
        results: dict[str, Any] = json.loads(output.read_text("utf-8"))
    return results


def fill_with_real_prompts(house: House) -> None:
    """The demonstration and the real prompts, by the commands an operator would use; once."""
    stamp = house.data / "filled"
    house.run("manage.py", "prepare")
    if not stamp.exists():
        with house.terminal.step("Real prompts"):
            house.run("manage.py", "import_prompts", CSV)
        # No clock ticks in a house: what it would do within minutes, such as learning the words.
        house.run("manage.py", "shell", "-c", "from kb.search import index; index.settle()")
        stamp.touch()


def _measure(wanted: argparse.Namespace) -> int:
    import django  # noqa: PLC0415 - only inside a house are there settings

    django.setup()
    from tests.benchmarks import search_answers as asked  # noqa: PLC0415 - needs Django

    about = report.machine()
    asked.make_reference()
    engines: dict[str, Callable[[Judged], Sequence[str]]] = {
        asked.PRODUCT: asked.product(asked.reader()),
        asked.MEANING: asked.product(asked.reader(), asked.read_all()),
        asked.ILIKE: asked.ilike,
        asked.PLAIN: asked.plain,
    }
    answers: dict[str, dict[str, list[Answer]]] = {}
    milliseconds: dict[str, float] = {}
    for name in judged.SETS:
        queries = judged.load(name)
        answers[name] = {}
        for engine, ask in engines.items():
            answers[name][engine], milliseconds[engine] = asked.answered(queries, ask)
    results = {
        "machine": about,
        "milliseconds": milliseconds,
        "scores": {name: _scores(found) for name, found in answers.items()},
    }
    results["targets"] = _targets(results["scores"][judged.TEST][asked.PRODUCT])
    wanted.inside.write_text(json.dumps(results, indent=1, ensure_ascii=False), "utf-8")
    print(search_report.quality(results))
    if wanted.show:
        _show(answers[judged.DEV][asked.PRODUCT], wanted.only)
    if wanted.write_neighbours:
        found = (one for by_engine in answers.values() for a in by_engine.values() for one in a)
        listed = {judged.plain_title(title) for answer in found for title in answer.titles}
        _write_neighbours(listed)
    return 0


def _write_neighbours(titles: Iterable[str]) -> None:
    text = yaml.safe_dump(sorted(titles), allow_unicode=True, width=1_000)
    judged.NEIGHBOURS.write_text(text, "utf-8")


def _scores(answers: Mapping[str, Sequence[Answer]]) -> dict[str, dict[str, dict[str, Any]]]:
    """Engine to group to score; groups are all, each kind, and each language."""
    groups: dict[str, dict[str, Score]] = {
        engine: {
            "all": judged.score(found),
            **judged.scores_by(found, lambda one: one.kind),
            **judged.scores_by(found, lambda one: f"language {one.language}"),
        }
        for engine, found in answers.items()
    }
    return {
        engine: {group: asdict(score) for group, score in found.items()}
        for engine, found in groups.items()
    }


def _targets(scores: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    wanted = [
        (f"success@10, {kind}", scores[kind]["ten"], least) for kind, least in TARGETS.items()
    ]
    wanted.append(("success@1, all", scores["all"]["first"], TARGET_FIRST))
    return [
        {
            "name": name,
            "target": f"≥ {least:.2f}",
            "measured": f"{measured:.3f}",
            "is_met": measured >= least,
        }
        for name, measured, least in wanted
    ]


def _show(answers: Sequence[Answer], only: str | None) -> None:
    failed = [a for a in answers if a.rank != 1 and only in (None, a.judged.kind)]
    print(f"\nDev queries without a relevant prompt at the top: {len(failed)}")
    for answer in failed:
        place = f"at {answer.rank}" if answer.rank else "missing"
        print(f"\n  {answer.judged.kind}/{answer.judged.language}  “{answer.judged.text}”  {place}")
        print(f"    wanted: {' | '.join(sorted(answer.judged.relevant))}")
        for number, title in enumerate(answer.titles[:5], start=1):
            print(f"    {number}. {title}")


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "kb.settings")
    sys.exit(main(sys.argv[1:]))
