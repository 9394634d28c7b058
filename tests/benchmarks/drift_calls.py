"""Slow calls: how many one worker process waits for at once, in how much memory, and who starves.

    python -m tests.benchmarks.drift_calls [--calls 500] [--seconds 20]

Starts the running product and a vendor that takes its time over every answer. Monitors are told to
record baselines, all at once; meanwhile the memory of the worker's processes is read, a page is asked
for again and again, and the length of the other queue is watched. Ends with 1 when a promise is broken.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import redis

from kb.supervisor import addresses
from tests.benchmarks import report
from tests.benchmarks.drift_product import Service, running_product, wait
from tests.stack.product import Product, free_port

LEAST_AT_ONCE = 500
"""Calls of one process that wait together."""
MOST_MEGABYTES = 200.0
"""Of that process (its own and its share of what it has in common with others: PSS)."""
PATIENCE_SECONDS = 300
CASES = 50
"""As many as a monitor may have."""
MOST_CALLS = 1_000
"""What a connection may allow at once."""


@dataclass
class Vendor:
    """A model that thinks for some seconds before it says yes, and counts who waits."""

    seconds: float
    port: int = field(default_factory=free_port)
    waiting: int = 0
    most: int = 0
    answered: int = 0

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = next(
                    (
                        int(line.partition(b":")[2])
                        for line in head.lower().splitlines()
                        if line.startswith(b"content-length")
                    ),
                    0,
                )
                await reader.readexactly(length)
                self.waiting += 1
                self.most = max(self.most, self.waiting)
                await asyncio.sleep(self.seconds)
                self.waiting -= 1
                self.answered += 1
                body = json.dumps(_ANSWER).encode()
                writer.write(
                    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: "
                    + str(len(body)).encode()
                    + b"\r\n\r\n"
                    + body
                )
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def run(self) -> None:
        server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, backlog=2_048)
        async with server:
            await server.serve_forever()


_ANSWER = {
    "id": "1",
    "object": "chat.completion",
    "model": "slow",
    "choices": [
        {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Yes."}}
    ],
    "usage": {"prompt_tokens": 5, "completion_tokens": 1, "total_tokens": 6},
}


@contextmanager
def vendor(seconds: float) -> Iterator[Vendor]:
    """The vendor in a thread of its own."""
    made = Vendor(seconds)
    threading.Thread(target=lambda: asyncio.run(made.run()), daemon=True).start()
    yield made


def monitors(api: Service, base_url: str, calls: int) -> list[int]:
    """Monitors with as many test cases together as there shall be calls."""
    prompt = api(
        "POST", "prompts/", {"title": "Slow", "text": "Say yes to {{ n }}", "status": "published"}
    )
    sent = {"name": "Slow", "provider": "openai_compatible", "base_url": base_url, "api_key": "k"}
    connection = api("POST", "connections/", sent | {"calls_at_once": MOST_CALLS})
    target = api("POST", "targets/", {"connection": connection["id"], "model": "slow"})
    sizes = [CASES] * (calls // CASES) + [calls % CASES] * (calls % CASES > 0)
    return [
        api(
            "POST",
            "monitors/",
            {
                "prompt": prompt["slug"],
                "target": target["id"],
                "schedule": "manual",
                "baseline_repeats": 1,
                "cases": [{"name": str(n), "variables": {"n": str(n)}} for n in range(size)],
            },
        )["id"]
        for size in sizes
    ]


@dataclass
class Watch:
    """What is read every half second while the calls wait."""

    at_once: dict[int, int] = field(default_factory=dict)
    """Process to the most connections it has held to the vendor."""
    megabytes: dict[int, float] = field(default_factory=dict)
    page_seconds: list[float] = field(default_factory=list)
    other_queue: list[int] = field(default_factory=list)


def watched(made: Product, api: Service, vendor_port: int, until: threading.Event) -> Watch:
    """Read until told to stop."""
    found = Watch()
    broker = redis.Redis.from_url(addresses.redis_url(made.data))
    while not until.is_set():
        for process in psutil.Process(made.numbers()["models"]).children(recursive=True):
            try:
                held = sum(
                    one.status == psutil.CONN_ESTABLISHED and one.raddr.port == vendor_port
                    for one in process.net_connections("tcp")
                    if one.raddr
                )
                memory = process.memory_full_info().pss / 1e6
            except psutil.NoSuchProcess:
                continue
            found.at_once[process.pid] = max(held, found.at_once.get(process.pid, 0))
            found.megabytes[process.pid] = max(memory, found.megabytes.get(process.pid, 0.0))
        began = time.monotonic()
        api("GET", "me/")
        found.page_seconds.append(time.monotonic() - began)
        found.other_queue.append(int(broker.llen("default")))
        time.sleep(0.5)
    return found


def measure(calls: int, seconds: float) -> dict[str, Any]:
    """Play it once; figures by name."""
    with (
        tempfile.TemporaryDirectory(prefix="retex-bench-") as folder,
        vendor(seconds) as slow,
        running_product(Path(folder)) as (api, made),
    ):
        asked = monitors(api, f"http://127.0.0.1:{slow.port}/v1", calls)
        stop, found = threading.Event(), list[Watch]()
        watch = threading.Thread(target=lambda: found.append(watched(made, api, slow.port, stop)))
        watch.start()
        began = time.monotonic()
        runs = [api("POST", f"monitors/{pk}/baseline/")["run"] for pk in asked]
        for pk in runs:
            wait(lambda pk=pk: api("GET", f"runs/{pk}/")["status"] == "done", PATIENCE_SECONDS)
        took = time.monotonic() - began
        stop.set()
        watch.join()
        seen = found[0]
        busiest = max(seen.at_once, key=lambda pid: seen.at_once[pid])
        return {
            "calls": calls,
            "seconds_each": seconds,
            "answered": slow.answered,
            "took": round(took, 1),
            "waiting_together": slow.most,
            "of_one_process": seen.at_once[busiest],
            "megabytes": round(seen.megabytes[busiest], 1),
            "page_p95_ms": round(1000 * report.p95(seen.page_seconds)),
            "page_p50_ms": round(1000 * statistics.median(seen.page_seconds)),
            "other_queue_most": max(seen.other_queue),
        }


def table(found: Mapping[str, Any]) -> str:
    """What was measured, as Markdown."""
    rows = [
        ("calls, each of them answered once", f"{found['answered']} of {found['calls']}"),
        ("seconds the vendor takes for each", f"{found['seconds_each']:g}"),
        ("seconds for all of them", f"{found['took']:.1f}"),
        (f"of one process at once (promised: {LEAST_AT_ONCE})", str(found["of_one_process"])),
        (f"its memory in MB (promised: at most {MOST_MEGABYTES:.0f})", f"{found['megabytes']:.0f}"),
        (
            "a request of the API meanwhile, ms p50 / p95",
            f"{found['page_p50_ms']} / {found['page_p95_ms']}",
        ),
        ("longest wait in the other queue, messages", str(found["other_queue_most"])),
    ]
    return report.table(("", ""), rows)


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="make bench-calls", description="Slow calls at once.")
    parser.add_argument("--calls", type=int, default=MOST_CALLS)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument(
        "--write-docs", action="store_true", help="bring docs/benchmarks.md up to date"
    )
    wanted = parser.parse_args(arguments)
    about = report.machine_line(report.machine())
    found = measure(wanted.calls, wanted.seconds)
    print(table(found))
    if wanted.write_docs:
        report.write_section("slow-calls", f"{about}\n\n{table(found)}")
    kept = (
        found["answered"] == wanted.calls
        and found["of_one_process"] >= min(wanted.calls, LEAST_AT_ONCE)
        and found["megabytes"] <= MOST_MEGABYTES
    )
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
