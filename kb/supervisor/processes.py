"""Starting and ending processes so that none is ever lost, and none is ever mistaken for another."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import psutil

from kb.supervisor.terminal import CannotStart, Terminal

INSTANCE_VARIABLE = "RETEX_INSTANCE"
"""In the environment of all we start and all they start: which supervisor it belongs to."""

_LAUNCH = Path(__file__).with_name("launch.py")
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_POLL_SECONDS = 0.05
_LEFTOVER_PATIENCE = 5.0
_LARGEST_LOG = 5 * 1024 * 1024
"""Bytes. A log that has grown beyond is put aside, over the one put aside before."""
_LONGEST_LINE = 4_000


@dataclass(frozen=True, kw_only=True)
class Program:
    """How to start a process, and how to end it."""

    name: str
    command: Sequence[str | Path]
    environment: Mapping[str, str]
    directory: Path
    launch_options: tuple[str, ...] = ()
    stop_signal: signal.Signals = signal.SIGTERM
    death_signal: signal.Signals = signal.SIGTERM
    """What it gets when this supervisor dies (Linux only)."""
    patience: float = 4.0
    """Seconds between its stop signal and the end of its whole process group."""
    log: Path | None = None
    """File for what it says; None shows it in the terminal, line by line, with its name."""
    speaks_itself: bool = False
    """It shares our terminal instead."""


class Child:
    """A running process with a session and a process group of its own."""

    def __init__(self, program: Program, terminal: Terminal) -> None:
        self.program = program
        self.started = time.monotonic()
        with _output_of(program) as output:
            self._process = subprocess.Popen(
                launched(program.command, program.death_signal, program.launch_options),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=program.directory,
                env=dict(program.environment),
                start_new_session=True,
            )
        self.pid = self._process.pid
        if self._process.stdout is not None:
            arguments = (program.name, self._process.stdout, terminal)
            threading.Thread(target=_repeat_lines, args=arguments, daemon=True).start()

    @property
    def name(self) -> str:
        """What the operator calls it."""
        return self.program.name

    def has_ended(self) -> bool:
        """True once it is gone; the rest of its process group is gone then, too."""
        if self._process.returncode is not None:
            return True
        if not _is_waitable(self._process):
            return False
        # Its number still names its group here, for it has not been reaped.
        self.kill()
        self._process.wait()
        return True

    def ending(self) -> str:
        """In words how it ended."""
        code = self._process.returncode
        if code is not None and code < 0:
            return f"was ended by {signal.Signals(-code).name}"
        return f"ended with exit code {code}"

    @property
    def exit_code(self) -> int | None:
        """0 for success, negative for a signal, None while it runs."""
        return self._process.returncode

    def ask_to_stop(self) -> None:
        """Send its stop signal."""
        if self._process.returncode is None:
            self._process.send_signal(self.program.stop_signal)

    def kill(self) -> None:
        """End its whole process group at once."""
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            pass  # macOS answers 'not permitted' for a group of zombies


def launched(
    command: Sequence[str | Path], death_signal: signal.Signals, options: Sequence[str] = ()
) -> list[str]:
    """The command that becomes `command` by way of launch.py, which tells its options."""
    return [
        *(sys.executable, "-I", "-S", str(_LAUNCH)),
        *("--parent", str(os.getpid()), "--death-signal", str(int(death_signal))),
        *(*options, "--"),
        *map(str, command),
    ]


def stop_all(children: Sequence[Child], hurry: threading.Event) -> None:
    """Ask all to stop, at the same time; end those whose patience is over, or all when in a hurry."""
    began = time.monotonic()
    for child in children:
        child.ask_to_stop()
    left = list(children)
    while left := [child for child in left if not child.has_ended()]:
        for child in left:
            if hurry.is_set() or time.monotonic() - began > child.program.patience:
                child.kill()
        time.sleep(_POLL_SECONDS)


def born(pid: int) -> str | None:
    """What tells a process from a later one with the same number; None when it does not run."""
    if sys.platform == "linux":
        try:
            after_name = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2]
        except OSError:
            return None
        state, *fields = after_name.split()
        # Field 22 of proc(5): ticks between the boot and the start; no clock can move it.
        return None if state in "ZX" else f"{_BOOT_ID.read_text('ascii').strip()}:{fields[18]}"
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else f"{process.create_time():.2f}"
    except psutil.Error:
        return None


@dataclass
class ProcessRecord:
    """The processes of this supervisor, written down for the case that it is killed."""

    path: Path
    instance: str
    _entries: dict[str, dict[str, str | int]] = field(default_factory=dict)

    def add(self, child: Child) -> None:
        """Write a process down under its name, in place of the former one of that name."""
        self._entries[child.name] = {
            "pid": child.pid,
            "born": born(child.pid) or "",
            "stop_signal": int(child.program.stop_signal),
        }
        draft = self.path.with_suffix(".new")
        draft.write_text(
            json.dumps({"instance": self.instance, "processes": self._entries}), "utf-8"
        )
        draft.replace(self.path)

    def forget(self) -> None:
        """All have ended."""
        self.path.unlink(missing_ok=True)


def end_leftovers(path: Path, terminal: Terminal) -> None:
    """End what a killed supervisor has left, and only that: by number, birth and process group.

    Raises CannotStart when something does not go.
    """
    try:
        record = json.loads(path.read_text("utf-8"))
        instance = str(record["instance"])
        entries = [
            (str(name), int(entry["pid"]), str(entry["born"]), int(entry["stop_signal"]))
            for name, entry in record["processes"].items()
        ]
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return
    leaders = [entry for entry in reversed(entries) if born(entry[1]) == entry[2]]
    for name, pid, _, stop_signal in leaders:
        terminal.line(f"  Ending {name} (process {pid}), left by a start that was killed")
        _send(pid, stop_signal)
    deadline = time.monotonic() + _LEFTOVER_PATIENCE
    while any(born(pid) == birth for _, pid, birth, _ in leaders) and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)
    groups = {pid for _, pid, _, _ in entries}
    for _ in range(2):
        for _, pid, birth, _ in leaders:
            if born(pid) == birth:
                _send(-pid, signal.SIGKILL)
        for pid in _members(groups, instance):
            _send(pid, signal.SIGKILL)
        time.sleep(_POLL_SECONDS)
    for name, pid, birth, _ in leaders:
        if born(pid) == birth:
            raise CannotStart(
                f"{name} (process {pid}) of an earlier start does not end; end it first."
            )
    path.unlink(missing_ok=True)


def _members(groups: set[int], instance: str) -> Iterator[int]:
    """Processes in these groups whose environment names this supervisor."""
    for process in psutil.process_iter():
        try:
            if os.getpgid(process.pid) in groups and (
                process.environ().get(INSTANCE_VARIABLE) == instance
            ):
                yield process.pid
        except (OSError, psutil.Error):
            continue


@contextmanager
def _output_of(program: Program) -> Iterator[IO[bytes] | int | None]:
    """Where the output of a program goes, as Popen wants it told."""
    if program.log is None:
        yield None if program.speaks_itself else subprocess.PIPE
        return
    if program.log.exists() and program.log.stat().st_size > _LARGEST_LOG:
        program.log.replace(program.log.with_name(f"{program.log.name}.1"))
    with program.log.open("ab") as file:
        yield file


def _send(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass  # it went by itself


def _is_waitable(process: subprocess.Popen[bytes]) -> bool:
    """True when it has ended, without reaping it where the system can tell so."""
    if not hasattr(os, "waitid"):  # macOS before Python 3.13
        return process.poll() is not None
    try:
        return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return True


def _repeat_lines(name: str, stream: IO[bytes], terminal: Terminal) -> None:
    """Show each line that says something, under the name of its process, and nothing that moves the cursor."""
    for raw in iter(lambda: stream.readline(_LONGEST_LINE), b""):
        text = raw.decode("utf-8", "replace").rstrip()
        printable = "".join(
            c if c.isprintable() or c == "\t" else "\N{REPLACEMENT CHARACTER}" for c in text
        )
        if printable:
            terminal.line(f"{name:>8} | {printable}")
