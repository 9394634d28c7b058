"""Backup and restore: one file with the database and everything else that cannot be made again.

The file is a tar: manifest.json first, then database.dump (PostgreSQL's custom format), then the data
directory without the servers' own folders. It holds secrets and is readable by its owner only.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import redis
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from kb.supervisor import addresses, postgres
from kb.supervisor.private_files import PRIVATE_FOLDER
from kb.supervisor.terminal import CannotStart

FORMAT = 1
"""Of the file; a restore refuses a later one."""
MANIFEST, DUMP, FILES = "manifest.json", "database.dump", "files"
REMADE = {"run", "static", "valkey", "valkey.unreadable"}
"""Folders of the data directory that a start makes again; those of PostgreSQL come on top."""

_DJANGO_SCHEMES = re.compile(r"\A(postgres|postgis|psql|pgsql)://")
_LOCK_SECONDS = 10
_ERROR_END = 1500


class BackupError(Exception):
    """A backup cannot be written or read; the message says why and what to do."""


def write(file: Path, environment: Mapping[str, str]) -> str:
    """Back the installation of this environment up into a new file; its size in words.

    The database is taken at one moment, whoever is writing. Raises BackupError.
    """
    if file.exists():
        raise BackupError(f"{file} exists already. Name a new file.")
    try:
        with _workspace(file.resolve().parent) as folder:
            draft = _write_draft(folder, environment)
            draft.rename(file)
    except OSError as error:
        raise BackupError(f"{file} cannot be written: {error.strerror}.") from error
    return f"{file.stat().st_size / 1_000_000:.1f} MB"


def restore(file: Path, environment: Mapping[str, str], *, replace: bool) -> str:
    """Put a backup in the place of what this installation holds; when it was made.

    The database is replaced in one transaction: all or nothing. Only with `replace` may it hold
    anything. The broker is emptied, for its messages speak of other rows. Raises BackupError.
    """
    data = addresses.data_dir(environment)
    data.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
    with _workspace(data) as folder:
        made = _unpack(file, folder)
        if not replace and (tables := _tables(environment)):
            raise BackupError(
                f"The database is not empty ({tables} tables). To throw away what it holds, add --replace."
            )
        _replace_database(folder, environment)
        for entry in sorted((folder / FILES).glob("*")):
            _replace_entry(entry, data)
    _empty_broker(environment)
    return f"the backup of {made}"


def _write_draft(folder: Path, environment: Mapping[str, str]) -> Path:
    """Write the backup inside a folder; its path."""
    dump, manifest, draft = folder / DUMP, folder / MANIFEST, folder / "backup"
    options = ["--format=custom", "--no-owner", "--no-privileges", f"--file={dump}"]
    _run("pg_dump", [_connection(environment), *options], environment)
    manifest.write_text(json.dumps(_describe(dump), indent=2), "utf-8")
    with tarfile.open(draft, "w") as archive:
        archive.add(manifest, MANIFEST)
        archive.add(dump, DUMP)
        for entry in _kept_entries(addresses.data_dir(environment)):
            archive.add(entry, f"{FILES}/{entry.name}")
    draft.chmod(0o600)
    with draft.open("rb") as written:
        os.fsync(written.fileno())
    return draft


def _describe(dump: Path) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "sha256": {DUMP: _fingerprint(dump)},
    }


def _kept_entries(data: Path) -> Iterator[Path]:
    servers = {path.name for path in data.glob("postgres*")}
    for entry in sorted(data.glob("*")):
        if entry.name not in REMADE | servers and not entry.name.startswith("."):
            yield entry


def _unpack(file: Path, folder: Path) -> str:
    """Unpack a backup and check it; when it was made."""
    try:
        with tarfile.open(file) as archive:
            archive.extractall(folder, filter="data")
        manifest = json.loads((folder / MANIFEST).read_text("utf-8"))
        made, number = str(manifest["made"]), int(manifest["format"])
        is_whole = manifest["sha256"][DUMP] == _fingerprint(folder / DUMP)
    except (OSError, tarfile.TarError, ValueError, TypeError, KeyError) as error:
        raise BackupError(f"{file} is not a backup of Retex: {error}") from error
    if number > FORMAT:
        raise BackupError(
            f"{file} was made by a later version of Retex. Restore it with that version."
        )
    if not is_whole:
        raise BackupError(f"{file} is damaged: its database does not match its fingerprint.")
    return made


def _replace_database(folder: Path, environment: Mapping[str, str]) -> None:
    script = folder / "database.sql"
    options = ["--no-owner", "--no-privileges", f"--file={script}", str(folder / DUMP)]
    _run("pg_restore", options, environment)
    options = ["--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--single-transaction"]
    options += ["--output=/dev/null", f"--command=SET LOCAL lock_timeout = '{_LOCK_SECONDS}s'"]
    options += ["--command=DROP SCHEMA public CASCADE", "--command=CREATE SCHEMA public"]
    _run("psql", [_connection(environment), *options, f"--file={script}"], environment)


def _replace_entry(entry: Path, data: Path) -> None:
    """Move a file or folder over the one of its name."""
    target = data / entry.name
    if target.is_dir():
        target.rename(entry.with_name(f"{entry.name}.before"))
    os.replace(entry, target)


def _tables(environment: Mapping[str, str]) -> int:
    with psycopg.connect(make_conninfo(**_address(environment))) as connection:
        row = connection.execute(
            "SELECT count(*) FROM pg_tables WHERE schemaname = current_schema()"
        ).fetchone()
    return int(row[0]) if row else 0


def _empty_broker(environment: Mapping[str, str]) -> None:
    client = redis.Redis.from_url(addresses.named_url(environment, "REDIS_URL"))
    try:
        client.flushdb()
    finally:
        client.close()


def _address(environment: Mapping[str, str]) -> dict[str, Any]:
    """Where the database is, in libpq's words. Raises BackupError for a URL it cannot read."""
    url = _DJANGO_SCHEMES.sub("postgresql://", addresses.named_url(environment, "DATABASE_URL"))
    try:
        return dict(conninfo_to_dict(url))
    except psycopg.Error as error:
        raise BackupError(f"PostgreSQL's programs cannot read DATABASE_URL: {error}") from error


def _connection(environment: Mapping[str, str]) -> str:
    """The option that names the database; its password would be in everybody's sight there."""
    address = _address(environment)
    address.pop("password", None)
    return f"--dbname={make_conninfo(**address)}"


def _run(program: str, options: Sequence[str], environment: Mapping[str, str]) -> None:
    """Run one of PostgreSQL's programs. Raises BackupError with its own words."""
    password = _address(environment).get("password")
    done = subprocess.run(
        [_program(program), *options],
        env={**environment, **({"PGPASSWORD": str(password)} if password else {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    if done.returncode:
        hint = " Stop Retex's processes first." if "lock timeout" in done.stderr else ""
        raise BackupError(f"{program} failed.{hint}\n{done.stderr[-_ERROR_END:].strip()}")


def _program(name: str) -> str:
    """Our own PostgreSQL's program, else the one on the path."""
    try:
        return str(postgres.binaries() / name)
    except CannotStart:
        path = shutil.which(name)
        if path is None:
            raise BackupError(f"{name} is needed; install PostgreSQL's client programs.") from None
        return path


def _fingerprint(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def _workspace(parent: Path) -> Iterator[Path]:
    """A private folder on the same disk, gone afterwards."""
    with tempfile.TemporaryDirectory(dir=parent, prefix=".retex-") as folder:
        yield Path(folder)
