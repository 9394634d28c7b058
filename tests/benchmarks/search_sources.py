"""The real texts behind the benches: prompts people published, and our own demonstration."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from kb.prompts.exchange import prompts_chat
from kb.supervisor.addresses import ROOT

CONTENT = ROOT / "kb" / "demo" / "content"
CSV = ROOT.parent / "shared" / "data" / "prompts_chat.csv"
"""1,275 prompts of prompts.chat (CC0), next to the checkout."""
_FRONT = re.compile(r"\A---\n(.*?)\n---\n(.*)\Z", re.DOTALL)


@dataclass(frozen=True)
class Source:
    """A real text with its title and language."""

    title: str
    text: str
    language: str


class MissingSources(Exception):
    """The file of real prompts is not where it should be."""


@cache
def imported() -> tuple[Source, ...]:
    """The prompts of the file, with the languages the import guesses. Raises MissingSources."""
    if not CSV.exists():
        raise MissingSources(
            f"The benches of the search need {CSV.name} (prompts.chat, CC0) in shared/data next to "
            "the checkout. Put it there and start again."
        )
    with CSV.open(encoding="utf-8-sig", newline="") as file:
        rows = [row for row in prompts_chat.read(file) if isinstance(row, prompts_chat.Row)]
    return tuple(Source(row.title, row.text, row.language) for row in rows)


def demo_prompts() -> list[Source]:
    """Our own prompts with their write-ups."""
    found = []
    for path in sorted((CONTENT / "prompts").glob("*.md")):
        match = _FRONT.match(path.read_text("utf-8"))
        if match:
            front = yaml.safe_load(match.group(1))
            found.append(Source(front["title"], match.group(2), front["language"]))
    return found


def demo_talk(language: str) -> Iterator[str]:
    """What the people of the demonstration wrote in one language beside prompts: texts of any length."""
    for name in ("retrospectives.yaml", "wishes.yaml"):
        for item in yaml.safe_load((CONTENT / name).read_text("utf-8")):
            if item["language"] == language:
                yield from _texts(item)


def _texts(item: Any) -> Iterator[str]:
    if isinstance(item, str):
        yield item
    elif isinstance(item, dict):
        for value in item.values():
            yield from _texts(value)
    elif isinstance(item, list):
        for value in item:
            yield from _texts(value)


def size_of(path: Path) -> int:
    """Bytes of a folder and all in it."""
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
