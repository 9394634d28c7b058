"""The folder of an installation: ours alone, and used by one supervisor at a time."""

from __future__ import annotations

import fcntl
import os
import pwd
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kb.supervisor.addresses import run_dir, socket_dir
from kb.supervisor.postgres import ORDINARY_USERS
from kb.supervisor.private_files import PRIVATE_FOLDER
from kb.supervisor.terminal import CannotStart


class AlreadyHeld(CannotStart):
    """Another supervisor holds the folder."""


def make_data_folder(data: Path) -> None:
    """Make the folder and those of locks and sockets. Raises CannotStart when it is somebody else's."""
    try:
        data.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
        if data.stat().st_uid != os.geteuid():
            raise CannotStart(
                f"{data} belongs to {_user_name(data.stat().st_uid)}. Start Retex as that user, or name "
                "another folder with RETEX_DATA_DIR."
            )
        run_dir(data).mkdir(mode=PRIVATE_FOLDER, exist_ok=True)
        socket_dir(data).mkdir(mode=PRIVATE_FOLDER, exist_ok=True)
    except OSError as error:
        raise CannotStart(
            f"The data folder {data} cannot be used: {error.strerror}. Name another one with RETEX_DATA_DIR."
        ) from error
    _refuse_open_folder(socket_dir(data))


@contextmanager
def held(data: Path) -> Iterator[None]:
    """Hold the folder, which must exist, against other supervisors. Raises AlreadyHeld."""
    # A kill ends the hold with the process, whatever it leaves behind: no stale lock can exist.
    with (run_dir(data) / "lock").open("a+", encoding="ascii") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise AlreadyHeld(
                f"Retex is already running on {data} (process {file.read().strip() or 'unknown'}). Stop it "
                "first, or name another folder with RETEX_DATA_DIR and another port with RETEX_PORT."
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def _refuse_open_folder(folder: Path) -> None:
    """Sockets in a folder of somebody else could be swapped."""
    about = folder.lstat()
    owners = {os.geteuid()}
    if os.geteuid() == 0:  # who may have given it to the one who runs PostgreSQL
        owners |= {entry.pw_uid for entry in pwd.getpwall() if entry.pw_name in ORDINARY_USERS}
    is_private = stat.S_ISDIR(about.st_mode) and not about.st_mode & 0o022
    if not is_private or about.st_uid not in owners:
        raise CannotStart(f"{folder} was made by somebody else; remove it and start again.")


def _user_name(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"user {number}"
