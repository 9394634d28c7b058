"""Results as Markdown, on the terminal and in docs/benchmarks.md."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from kb.supervisor.addresses import ROOT

DOCS = ROOT / "docs" / "benchmarks.md"
_GIGABYTE = 1024**3


def machine() -> dict[str, Any]:
    """What the figures were measured on; `load` is that of all who used the machine before us."""
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "cores": os.cpu_count(),
        "memory": round(psutil.virtual_memory().total / _GIGABYTE),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "load": round(os.getloadavg()[0], 1),
    }


def machine_line(about: Mapping[str, Any]) -> str:
    """One sentence about the machine."""
    return (
        f"Measured on {about['date']}: {about['cores']} cores, {about['memory']} GB of memory, "
        f"{about['system']}, Python {about['python']}, embedded PostgreSQL with its own settings; "
        f"load at the start {about['load']}."
    )


def table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A Markdown table; the first column is text, the others are figures."""
    marks = ["---", *(["---:"] * (len(head) - 1))]
    lines = [head, marks, *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def targets(found: Iterable[Mapping[str, Any]]) -> str:
    """What was promised and what was measured."""
    rows = [
        (one["name"], one["target"], one["measured"], "yes" if one["is_met"] else "**no**")
        for one in found
    ]
    return table(("Promise", "Target", "Measured", "Kept"), rows)


def quality(results: Mapping[str, Any]) -> str:
    """The section 'Finding: quality'."""
    parts = [machine_line(results["machine"]), targets(results["targets"])]
    for name in ("test", "dev"):
        engines = results["scores"][name]
        product, *references = engines
        head = ("", "queries", "success@1", "success@10", "MRR", "with a choice")
        head += tuple(f"{engine}: @1 / @10" for engine in references)
        rows = [
            (
                group,
                score["queries"],
                *(f"{score[key]:.2f}" for key in ("first", "ten", "mrr", "choices")),
                *(
                    "{first:.2f} / {ten:.2f}".format(**engines[engine][group])
                    for engine in references
                ),
            )
            for group, score in engines[product].items()
        ]
        parts.append(f"**{name.capitalize()} set**\n\n{table(head, rows)}")
    return "\n\n".join(parts)


def write_section(name: str, text: str, path: Path = DOCS) -> None:
    """Replace what stands between the marks of a section. Raises ValueError when they are missing."""
    begin, end = f"<!-- search-{name} -->", f"<!-- /search-{name} -->"
    whole = path.read_text("utf-8")
    pattern = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
    if not pattern.search(whole):
        raise ValueError(f"{path.name} has no marks {begin} and {end}; put them back.")
    written = pattern.sub(lambda _match: f"{begin}\n\n{text}\n\n{end}", whole, count=1)
    path.write_text(written, "utf-8")


def scale(results: Mapping[str, Any]) -> str:
    """The section 'Finding: speed'."""
    parts = [machine_line(results["machine"]), targets(results["targets"])]
    real = next(iter(results["sizes"].values()))
    for size, found in results["sizes"].items():
        if "kinds" not in found:
            continue
        head = ("kind", "request p50 / p95", "minimal page p50", "SQL alone p50 / p95", "in the database p50", "÷ ceilings", "statements", "read from end to end")  # fmt: skip
        rows = [
            (
                kind,
                "{p50} / {p95}".format(**one["request"]),
                one["floor"]["p50"],
                "{p50} / {p95}".format(**one["bare"]),
                one["database"]["p50"],
                one["ratio"],
                one["statements"],
                ", ".join(one["full_reads"]) or "none",
            )
            for kind, one in found["kinds"].items()
        ]
        crowd = found["crowd"]
        parts.append(
            f"**{int(size):,} prompts**, milliseconds, load {found['load']} on {results['machine']['cores']} cores; {found['bytes'] / _GIGABYTE:.1f} GB, filled in "
            f"{found['seconds']} s\n\n{table(head, rows)}\n\n"
            f"Twenty people for a minute: {crowd['requests']} requests ({crowd['per_second']} per second), "
            f"p50 {crowd['p50']} ms, p95 {crowd['p95']} ms, {crowd['errors']} errors. "
            f"Success@10 {found['success_at_ten']:.3f}, without hay {real['success_at_ten']:.3f}."
        )
    return "\n\n".join(parts)
