"""Departments, tools and use cases to begin with, from the content files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from accounts.models import Department
from kb.prompts.models import Tool, UseCase

CONTENT = Path(__file__).parent / "content"


def read(name: str) -> Any:
    """One content file."""
    return yaml.safe_load((CONTENT / name).read_text(encoding="utf-8"))


def load_catalogue() -> None:
    """Insert what is missing; what people have changed is left alone."""
    for model, name in (
        (Department, "departments.yaml"),
        (Tool, "tools.yaml"),
        (UseCase, "use_cases.yaml"),
    ):
        for position, item in enumerate(read(name)):
            values = {key: value for key, value in item.items() if key != "slug"}
            model.objects.get_or_create(
                slug=item["slug"], defaults={**values, "position": position}
            )
