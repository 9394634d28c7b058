"""What `manage.py` does itself, without Django: up, exec, backup, restore, test, lint, verify."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from kb.supervisor import backup, product, verification
from kb.supervisor.commands import run_command, with_servers
from kb.supervisor.terminal import CannotStart, Terminal


def main(arguments: list[str]) -> int:
    """Run one word with its arguments. Returns the exit code."""
    word, rest = arguments[0], arguments[1:]
    terminal = Terminal()
    try:
        match word:
            case "up":
                _parser(word, "Start Retex and look after it until Ctrl-C.").parse_args(rest)
                return product.up(terminal, os.environ)
            case "exec":
                if not rest:
                    raise CannotStart("exec needs a command, as in: manage.py exec createsuperuser")
                return run_command(terminal, os.environ, [sys.executable, "manage.py", *rest])
            case "backup":
                return _backup(terminal, rest)
            case "restore":
                return _restore(terminal, rest)
            case "test":
                return verification.run_tests(terminal, os.environ, rest)
            case _:
                _parser(word, "Check the code.").parse_args(rest)
                return verification.verify(terminal, os.environ, with_tests=word == "verify")
    except (CannotStart, backup.BackupError) as error:
        sys.stdout.flush()
        print(f"manage.py {word}: {error}", file=sys.stderr)
        return 1


def _backup(terminal: Terminal, arguments: list[str]) -> int:
    parser = _parser(
        "backup", "Write the database and the files of Retex to one file; Retex may run."
    )
    parser.add_argument("file", type=Path, help="a new file; it will hold secrets")
    file = parser.parse_args(arguments).file
    with with_servers(terminal, os.environ) as place, terminal.step("Backup") as step:
        step.detail = backup.write(file, place)
    terminal.line(f"  {file.resolve()}")
    return 0


def _restore(terminal: Terminal, arguments: list[str]) -> int:
    parser = _parser("restore", "Put a backup back. Stop Retex first.")
    parser.add_argument("file", type=Path)
    parser.add_argument(
        "--replace", action="store_true", help="throw away what the database holds now"
    )
    wanted = parser.parse_args(arguments)
    with with_servers(terminal, os.environ, alone=True) as place, terminal.step("Restore") as step:
        step.detail = backup.restore(wanted.file, place, replace=wanted.replace)
    terminal.line("  Start Retex now; it brings the tables to this version.")
    return 0


def _parser(word: str, text: str) -> argparse.ArgumentParser:
    return argparse.ArgumentParser(prog=f"manage.py {word}", description=text)
