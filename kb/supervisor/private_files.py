"""Small secrets that are made up once and then kept."""

from __future__ import annotations

import os
import secrets
import tempfile
from collections.abc import Callable
from pathlib import Path

PRIVATE_FOLDER = 0o700
_SECRET_BYTES = 48
"""384 bits; 64 characters when written down."""


def keep_once(path: Path, make: Callable[[], str]) -> str:
    """The text of a file that only its owner may read, made and written when there is none yet.

    However many processes ask at once, all get the same text.
    """
    try:
        return path.read_text("utf-8")
    except FileNotFoundError:
        pass
    path.parent.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
    handle, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mode 0600
    try:
        with open(handle, "w", encoding="utf-8") as file:
            file.write(make())
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)  # unlike a rename, it leaves a file that came first alone
        except FileExistsError:
            pass
    finally:
        os.unlink(draft)
    return path.read_text("utf-8")


def secret_key_path(data: Path) -> Path:
    """Where the embedded installation keeps its secret key."""
    return data / "secret-key"


def secret_key(data: Path) -> str:
    """The secret key of the embedded installation, made up on first use."""
    return keep_once(secret_key_path(data), lambda: secrets.token_urlsafe(_SECRET_BYTES))


def known_secret_key(data: Path) -> str:
    """The secret key of the embedded installation; empty before its first start."""
    try:
        return secret_key_path(data).read_text("utf-8")
    except OSError:
        return ""
