"""Real data kept next to the checkout, too big or too foreign to live in it."""

from __future__ import annotations

import csv
import os
from functools import cache
from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[1] / ".." / "shared"
LONGEST_FIELD = 1_000_000


def shared_path(*parts: str) -> Path:
    """The path of a shared file; without the data, the test is skipped, or fails where CI is set."""
    path = SHARED.joinpath(*parts)
    if not path.exists():
        if os.environ.get("CI"):
            pytest.fail(f"no shared data: {path.name} is missing next to the checkout")
        pytest.skip("skipped: no shared data")
    return path


@cache
def _prompts(path: Path) -> tuple[tuple[str, str], ...]:
    limit = csv.field_size_limit(LONGEST_FIELD)
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return tuple((row["act"], row["prompt"]) for row in csv.DictReader(file))
    finally:
        csv.field_size_limit(limit)


def real_prompts() -> tuple[tuple[str, str], ...]:
    """Title and untouched text of 1,275 prompts people really published."""
    return _prompts(shared_path("data", "prompts_chat.csv"))
