"""What every bench reports in the same way, on the terminal and in docs/benchmarks.md."""

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
GIGABYTE = 1024**3
SLOWEST = 0.95


def machine() -> dict[str, Any]:
    """What the figures were measured on; `load` is that of all who used the machine before us."""
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "cores": os.cpu_count(),
        "memory": round(psutil.virtual_memory().total / GIGABYTE),
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


def p95(values: Iterable[float]) -> float:
    """The 95th percentile by nearest rank: a value that was measured."""
    ordered = sorted(values)
    return ordered[max(0, -int(-SLOWEST * len(ordered) // 1) - 1)]


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


def write_section(name: str, text: str, path: Path = DOCS) -> None:
    """Replace what stands between the marks of a section. Raises ValueError when they are missing."""
    begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    whole = path.read_text("utf-8")
    pattern = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
    if not pattern.search(whole):
        raise ValueError(f"{path.name} has no marks {begin} and {end}; put them back.")
    written = pattern.sub(lambda _match: f"{begin}\n\n{text}\n\n{end}", whole, count=1)
    path.write_text(written, "utf-8")
