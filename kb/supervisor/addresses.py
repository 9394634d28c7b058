"""Where the embedded servers listen, told by the data directory alone.

So a command typed in another terminal reaches the servers that `manage.py up` started.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DATABASE = "retex"
"""Name of the embedded database and of its only role."""
DEFAULT_PORT = 8000

USUAL_URLS = {
    "DATABASE_URL": f"postgres://{DATABASE}@/{DATABASE}",
    "REDIS_URL": "redis://localhost:6379/0",
}
"""Where servers that are not ours are looked for when the environment names only one of them."""
POSTGRES_PORT = 5432
"""Only part of the socket's name; told everywhere because PGPORT in somebody's environment would win."""

_LONGEST_SOCKET_PATH = 100
"""Bytes. A socket's path has 108 on Linux and 104 on macOS, its end mark included."""
_LONGEST_SOCKET_NAME = f"/.s.PGSQL.{POSTGRES_PORT}"
_PLAIN_PATH = re.compile(r"[A-Za-z0-9/._-]+")
"""What reads the same in every kind of URL; the libraries disagree about how to quote the rest."""
_SHORT_PLACE = Path("/tmp")  # noqa: S108 - not TMPDIR: that differs from terminal to terminal


def is_embedded(environ: Mapping[str, str]) -> bool:
    """True when the environment names neither a database nor a broker, so that we run our own."""
    names = ("DATABASE_URL", "REDIS_URL")
    return not any(environ.get(name) or environ.get(f"{name}_FILE") for name in names)


def data_dir(environ: Mapping[str, str]) -> Path:
    """The absolute folder that holds everything Retex keeps on this machine."""
    return Path(environ.get("RETEX_DATA_DIR") or ROOT / "var").resolve()


def run_dir(data: Path) -> Path:
    """Folder of locks, logs and of everything else that a stopped Retex does not miss."""
    return data / "run"


def socket_dir(data: Path) -> Path:
    """Folder of the servers' sockets: the run folder, or one whose path is short and plain."""
    usual = run_dir(data)
    is_short = len(os.fsencode(f"{usual}{_LONGEST_SOCKET_NAME}")) <= _LONGEST_SOCKET_PATH
    if is_short and _PLAIN_PATH.fullmatch(str(usual)):
        return usual
    owner = data.stat().st_uid if data.exists() else os.getuid()
    return _SHORT_PLACE / f"retex-{owner}-{hashlib.sha256(os.fsencode(data)).hexdigest()[:12]}"


def named_url(environ: Mapping[str, str], name: str) -> str:
    """What DATABASE_URL or REDIS_URL says, itself or in the file that NAME_FILE names."""
    if file := environ.get(f"{name}_FILE"):
        return Path(file).read_text("utf-8").strip()
    return environ.get(name) or USUAL_URLS[name]


def database_url(data: Path) -> str:
    """Address of the embedded PostgreSQL, which asks for no password on its private socket."""
    return f"postgres://{DATABASE}@/{DATABASE}?host={socket_dir(data)}&port={POSTGRES_PORT}"


def valkey_socket(data: Path) -> Path:
    """Path of the embedded Valkey's socket."""
    return socket_dir(data) / "valkey.sock"


def redis_url(data: Path) -> str:
    """Address of the embedded Valkey."""
    return f"unix://{valkey_socket(data)}?db=0"
