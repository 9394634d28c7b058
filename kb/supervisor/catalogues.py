"""Translations as programs read them (.mo), made from what translators write (.po)."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

import polib


class BrokenCatalogue(ValueError):
    """A .po file cannot be read; the message names the file and the line."""


def compile_outdated(folders: Iterable[Path]) -> list[Path]:
    """Compile each catalogue under these locale folders that is newer than its compiled form.

    Returns the .mo files written. Entries marked fuzzy are left out, as gettext does.
    Raises BrokenCatalogue.
    """
    sources = [source for folder in folders for source in sorted(folder.glob("*/LC_MESSAGES/*.po"))]
    return [_compile(source) for source in sources if _is_outdated(source)]


def _is_outdated(source: Path) -> bool:
    compiled = source.with_suffix(".mo")
    return not compiled.exists() or compiled.stat().st_mtime_ns < source.stat().st_mtime_ns


def _compile(source: Path) -> Path:
    try:
        catalogue = polib.pofile(str(source), encoding="utf-8")
    except OSError as error:  # polib's word for a syntax error, too; it names file and line
        raise BrokenCatalogue(f"{error}. Correct the file and start again.") from error
    except UnicodeDecodeError as error:
        raise BrokenCatalogue(f"{source} is not UTF-8: {error}. Save it as UTF-8.") from error
    compiled = source.with_suffix(".mo")
    handle, draft = tempfile.mkstemp(dir=source.parent, prefix=f".{compiled.name}.")
    os.close(handle)
    try:
        catalogue.save_as_mofile(draft)
        os.chmod(draft, 0o644)
        os.replace(draft, compiled)
    except BaseException:
        os.unlink(draft)
        raise
    return compiled
