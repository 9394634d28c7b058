"""What the benches of finding report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.benchmarks.report import GIGABYTE, machine_line, table, targets


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
            f"**{int(size):,} prompts**, milliseconds, load {found['load']} on {results['machine']['cores']} cores; {found['bytes'] / GIGABYTE:.1f} GB, filled in "
            f"{found['seconds']} s\n\n{table(head, rows)}\n\n"
            f"Twenty people for a minute: {crowd['requests']} requests ({crowd['per_second']} per second), "
            f"p50 {crowd['p50']} ms, p95 {crowd['p95']} ms, {crowd['errors']} errors. "
            f"Success@10 {found['success_at_ten']:.3f}, without hay {real['success_at_ten']:.3f}."
        )
    return "\n\n".join(parts)
