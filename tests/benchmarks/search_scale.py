"""make bench-scale: does finding stay quick, and right, when the library grows?

    python -m tests.benchmarks.search_scale [--sizes 10000,100000,1000000] [--keep FOLDER] [--as-is]

Fills one data directory per size, kept between runs, with real prompts among hay, and measures whole
requests beside two ceilings: the SQL of the same page alone, and a minimal page of the same server.
A directory is filled again when the index or the hay has changed; `--as-is` measures it all the same.
Writes search_scale.json and search_scale.md there. Ends with 1 when a promise is broken.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from kb.management.progress import Progress
from kb.supervisor import addresses
from tests.benchmarks import report, search_report
from tests.benchmarks.search_house import BenchError, House, open_house
from tests.benchmarks.search_judged import SETS, load, score
from tests.benchmarks.search_quality import fill_with_real_prompts
from tests.benchmarks.search_questions import questions
from tests.benchmarks.search_sources import MissingSources, imported, size_of

if TYPE_CHECKING:
    from tests.benchmarks.search_clock import Crowd, Timings

SIZES = (10_000, 100_000, 1_000_000)
ONLY_REAL = 0
"""The size of a library without hay, beside which recall is measured."""
RATIO_AT, MOST_RATIO = 100_000, 2.0
SMALL, BIG, MOST_GROWTH = 10_000, 1_000_000, 4.0
MOST_MILLISECONDS = 250.0
"""p95 of any kind at BIG."""
LEAST_RECALL = 0.97
"""Success@10 at BIG as a share of that without hay."""
STAMP, OUTPUT = "bench.json", "measured.json"
_STEP = 10_000
"""Of the progress bar: what is loaded at once."""


def main(arguments: Sequence[str]) -> int:
    wanted = _parser().parse_args(arguments)
    if wanted.inside:
        return _inside(*wanted.inside)
    folder = wanted.keep or addresses.data_dir(os.environ) / "bench"
    about = report.machine()
    try:
        imported()
        found = {
            size: _measured(folder, size, as_is=wanted.as_is)
            for size in (ONLY_REAL, *sorted(wanted.sizes))
        }
    except (BenchError, MissingSources) as error:
        print(f"make bench-scale: {error}", file=sys.stderr)
        return 1
    results = {"machine": about, "sizes": found}
    results["targets"] = _targets(found)
    text = search_report.scale(results)
    (folder / "search_scale.json").write_text(json.dumps(results, indent=1), "utf-8")
    (folder / "search_scale.md").write_text(text + "\n", "utf-8")
    print(text)
    if wanted.write_docs:
        report.write_section("search-speed", text)
    return 0 if all(target["is_met"] for target in results["targets"]) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make bench-scale", description="Speed of finding.")
    parser.add_argument("--sizes", type=_sizes, default=SIZES, help="prompts, separated by commas")
    parser.add_argument(
        "--keep", type=Path, metavar="FOLDER", help="default: the data folder's bench"
    )
    parser.add_argument("--as-is", action="store_true", help="do not fill outdated libraries again")
    parser.add_argument(
        "--write-docs", action="store_true", help="bring docs/benchmarks.md up to date"
    )
    parser.add_argument("--inside", nargs=2, metavar=("WORD", "SIZE"), help=argparse.SUPPRESS)
    return parser


def _sizes(text: str) -> tuple[int, ...]:
    sizes = tuple(int(part) for part in text.split(","))
    if min(sizes) <= 0:
        raise ValueError(text)
    return sizes


# --- one library -------------------------------------------------------------------------------


def _measured(folder: Path, size: int, *, as_is: bool) -> dict[str, Any]:
    """What was measured in the library of this size, which is filled first if need be."""
    place = folder / str(size)
    _clear_if_outdated(place, as_is=as_is)
    if size and not (place / STAMP).exists():
        _begin_with_real_prompts(folder / str(ONLY_REAL), place)
    with open_house(place) as house:
        if not (place / STAMP).exists():
            _fill(house, size)
        house.run("manage.py", "prepare")
        with house.web_server():
            house.run("-m", "tests.benchmarks.search_scale", "--inside", "measure", str(size))
        measured: dict[str, Any] = json.loads((place / OUTPUT).read_text("utf-8"))
        return measured | json.loads((place / STAMP).read_text("utf-8"))


def _fill(house: House, size: int) -> None:
    fill_with_real_prompts(house)
    began = time.monotonic()
    if not size:
        house.run("-m", "tests.benchmarks.search_scale", "--inside", "enliven", str(size))
    else:
        house.run("-m", "tests.benchmarks.search_scale", "--inside", "fill", str(size))
    about = {
        "fingerprint": fingerprint(),
        "seconds": round(time.monotonic() - began),
        "bytes": size_of(house.data),
    }
    (house.data / STAMP).write_text(json.dumps(about), "utf-8")


def _begin_with_real_prompts(real: Path, place: Path) -> None:
    """Copy the library without hay, whose servers are stopped, instead of filling it again."""
    shutil.copytree(
        real, place, dirs_exist_ok=True, ignore=shutil.ignore_patterns("run", STAMP, OUTPUT)
    )


def _clear_if_outdated(place: Path, *, as_is: bool) -> None:
    """Remove a library of ours that is half filled or not what today's code would fill."""
    if not place.exists() or not any(place.iterdir()):
        return
    stamp = place / STAMP
    if stamp.exists() and (
        as_is or json.loads(stamp.read_text("utf-8"))["fingerprint"] == fingerprint()
    ):
        return
    if not stamp.exists() and not (place / "run").is_dir():
        raise BenchError(f"{place} holds something else. Name an empty folder with --keep.")
    shutil.rmtree(place)


def fingerprint() -> str:
    """Changes whenever what is filled would change."""
    here = Path(__file__).parent
    files = [
        *(addresses.ROOT / "kb" / "migrations").glob("*.py"),
        *(
            path
            for path in (addresses.ROOT / "kb" / "search").glob("*.py")
            if path.stem not in ("engine", "query")
        ),
        *(here / name for name in ("search_hay.py", "search_load.py")),
        *(here / "judged").glob("*.yaml"),
    ]
    whole = hashlib.sha256()
    for path in sorted(files):
        whole.update(path.name.encode() + path.read_bytes())
    return whole.hexdigest()


# --- inside a house ----------------------------------------------------------------------------


def _inside(word: str, number: str) -> int:
    import django  # noqa: PLC0415 - only inside a house are there settings

    django.setup()
    size = int(number)
    if word == "fill":
        from tests.benchmarks.search_load import load_hay  # noqa: PLC0415 - needs Django

        step = Progress(size // _STEP)
        load_hay(size, lambda _done: step())
        return 0
    if word == "enliven":
        from tests.benchmarks.search_load import enliven_real_prompts  # noqa: PLC0415 - needs Django

        enliven_real_prompts()
        return 0
    place = addresses.data_dir(os.environ)
    (place / OUTPUT).write_text(json.dumps(_measure(size), indent=1), "utf-8")
    return 0


def _measure(size: int) -> dict[str, Any]:
    from tests.benchmarks import search_answers as asked  # noqa: PLC0415 - needs Django
    from tests.benchmarks import search_clock as clock  # noqa: PLC0415 - needs Django

    reader = asked.reader()
    answers, _milliseconds = asked.answered(
        [one for name in SETS for one in load(name)], asked.product(reader)
    )
    found: dict[str, Any] = {"success_at_ten": score(answers).ten}
    if not size:
        return found
    port, asked_for = int(os.environ["RETEX_PORT"]), questions()
    found["kinds"] = {
        kind: _summary(timings) for kind, timings in clock.measure(asked_for, reader, port).items()
    }
    people = clock.people()
    found["load"] = round(os.getloadavg()[1], 1)
    found["crowd"] = _crowded(clock.crowd(asked_for, people, port))
    return found


def _summary(timings: Timings) -> dict[str, Any]:
    ceiling = median(timings.floor) + median(timings.bare)
    return {
        name: {"p50": round(median(values), 2), "p95": round(report.p95(values), 2)}
        for name, values in (
            ("request", timings.request),
            ("floor", timings.floor),
            ("database", timings.database),
            ("bare", timings.bare),
        )
    } | {
        "ratio": round(median(timings.request) / ceiling, 2),
        "statements": max(timings.statements),
        "full_reads": sorted(timings.full_reads),
    }


def _crowded(crowd: Crowd) -> dict[str, Any]:
    return {
        "requests": len(crowd.milliseconds),
        "per_second": round(len(crowd.milliseconds) / crowd.seconds, 1),
        "p50": round(median(crowd.milliseconds), 1) if crowd.milliseconds else None,
        "p95": round(report.p95(crowd.milliseconds), 1) if crowd.milliseconds else None,
        "errors": len(crowd.errors),
        "first_errors": crowd.errors[:3],
    }


# --- promises ----------------------------------------------------------------------------------


def _targets(found: Mapping[int, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The promises that these sizes can tell of."""
    made: list[dict[str, Any]] = []
    if RATIO_AT in found:
        for kind, one in found[RATIO_AT]["kinds"].items():
            made.append(
                _at_most(f"request ÷ ceilings at {RATIO_AT:,}, {kind}", one["ratio"], MOST_RATIO)
            )
    if BIG in found:
        for kind, one in found[BIG]["kinds"].items():
            slow = one["request"]["p95"]
            made.append(_at_most(f"p95 at {BIG:,} in ms, {kind}", slow, MOST_MILLISECONDS))
            if SMALL in found:
                growth = slow / found[SMALL]["kinds"][kind]["request"]["p95"]
                made.append(
                    _at_most(f"p95 growth {SMALL:,} to {BIG:,}, {kind}", growth, MOST_GROWTH)
                )
        kept = found[BIG]["success_at_ten"] / found[ONLY_REAL]["success_at_ten"]
        made.append(
            {
                "name": f"success@10 kept among {BIG:,}",
                "target": f"≥ {LEAST_RECALL:.2f}",
                "measured": f"{kept:.3f}",
                "is_met": kept >= LEAST_RECALL,
            }
        )
    for size, one in found.items():
        if size:
            made.append(_at_most(f"errors of 20 people at {size:,}", one["crowd"]["errors"], 0))
    return made


def _at_most(name: str, measured: float, most: float) -> dict[str, Any]:
    return {
        "name": name,
        "target": f"≤ {most:g}",
        "measured": f"{measured:.2f}",
        "is_met": measured <= most,
    }


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "kb.settings")
    sys.exit(main(sys.argv[1:]))
