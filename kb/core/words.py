"""Cleaning of what people type before it is kept."""

from __future__ import annotations

import unicodedata

_CONTROL_KEPT = "\n\t"


def clean_text(value: str) -> str:
    """A long text: newlines as \\n, no NUL or other control characters, no lone surrogates."""
    value = value.replace("\r\n", "\n").replace("\r", "\n")
    if not value.isascii() or any(ord(sign) < 32 for sign in value):
        value = "".join(
            sign
            for sign in value
            if sign in _CONTROL_KEPT or unicodedata.category(sign) not in ("Cc", "Cs")
        )
    return value


def clean_line(value: str) -> str:
    """A short text on one line: spaces collapsed, nothing at the ends."""
    return " ".join(clean_text(value).split())
