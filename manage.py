#!/usr/bin/env python3
"""Retex's one command:  python3 manage.py up  starts everything,  python3 manage.py help  lists the rest.

Written in old syntax on purpose: whatever Python reads this file must be able to say which Python is
missing and to hand over to it. Only the standard library is used until the environment exists.
"""

import glob
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from typing import Dict, List, Optional, Tuple

ROOT = os.path.dirname(os.path.abspath(__file__))
ENVIRONMENT = os.path.abspath(os.environ.get("RETEX_VENV") or os.path.join(ROOT, ".venv"))
PYTHON = os.path.join(ENVIRONMENT, "bin", "python")
STAMP = os.path.join(ENVIRONMENT, ".retex-installed")

OLDEST, NEWEST = (3, 12), (3, 14)
"""The embedded PostgreSQL is packaged for these and those between."""
RUN, DEVELOP = "requirements.txt", "requirements-dev.txt"
WORDS = {
    "up": (RUN, "start Retex: database, broker, web, workers; Ctrl-C stops everything"),
    "exec": (RUN, "run one Django command on the embedded database, started for it when needed"),
    "backup": (RUN, "write the database and the files of Retex to one file"),
    "restore": (RUN, "put a backup back"),
    "install": (RUN, "make the Python environment and end"),
    "test": (DEVELOP, "run pytest on a database of its own; what follows goes to pytest"),
    "lint": (DEVELOP, "check style, types, imports and migrations"),
    "verify": (DEVELOP, "lint, then all tests, with a summary"),
}
QUIET_SECONDS = 15
"""Without a terminal, a long step says after every so many seconds that it goes on."""
FITS = "import sys; sys.exit(not %r <= sys.version_info[:2] <= %r)" % (OLDEST, NEWEST)
PROBE = (
    "import sys, venv; print('%d.%d' % sys.version_info[:2]); sys.stdout.flush(); import ensurepip"
)


def main() -> None:
    if os.name == "nt":
        sys.exit("Retex runs on Linux and macOS; on Windows, run it inside WSL 2.")
    word = sys.argv[1] if len(sys.argv) > 1 else "help"
    has_arrived = os.environ.pop("RETEX_ARRIVED", "") == "1"
    is_inside = os.path.realpath(sys.prefix) == os.path.realpath(ENVIRONMENT)
    manages_itself = os.environ.get("RETEX_BOOTSTRAP") != "0"
    if manages_itself and not has_arrived and (word in WORDS or not is_inside):
        has_installed = install(WORDS.get(word, (RUN, ""))[0])
        if has_installed or not is_inside:
            os.environ["RETEX_ARRIVED"] = "1"
            os.execv(PYTHON, [PYTHON, os.path.join(ROOT, "manage.py")] + sys.argv[1:])
    if word == "install":
        print("The environment is ready: %s" % ENVIRONMENT)
    elif word in WORDS:
        from kb.supervisor.program import main as supervise

        sys.exit(supervise(sys.argv[1:]))
    else:
        manage()


def manage() -> None:
    """Run a command of Django."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "kb.settings")
    from django.core.management import execute_from_command_line
    from django.db import OperationalError

    if sys.argv[1:] in ([], ["help"], ["--help"], ["-h"]):
        print("Retex:")
        for word, (_, text) in sorted(WORDS.items()):
            print("  %-9s %s" % (word, text))
        print("")
    try:
        execute_from_command_line(sys.argv)
    except OperationalError as error:
        from kb.supervisor.addresses import is_embedded

        # An answer of PostgreSQL has an SQLSTATE; without one, nobody answered.
        if getattr(error.__cause__, "sqlstate", None) or not is_embedded(os.environ):
            raise
        sys.exit(
            "Retex's database is not running. Start Retex with 'make run', or run this command alone "
            "with: python3 manage.py exec %s" % " ".join(sys.argv[1:])
        )


def install(lock: str) -> bool:
    """Make the environment hold what the lock file pins; False when it did already."""
    wanted = {name: fingerprint(name) for name in (RUN, DEVELOP)}
    if installed().get(lock) == wanted[lock] and works(PYTHON):
        return False
    refuse_foreign_folder()
    with locked():
        if installed().get(lock) == wanted[lock] and works(PYTHON):
            return True
        uv = find_uv()
        if not works(PYTHON):
            create(uv)
        fill(lock, uv)
        # The development lock holds every pin of the other one.
        done = (RUN, DEVELOP) if lock == DEVELOP else (RUN,)
        with open(STAMP, "w") as stamp:
            stamp.write("".join("%s %s\n" % (name, wanted[name]) for name in done))
    return True


def fingerprint(name: str) -> str:
    with open(os.path.join(ROOT, name), "rb") as lock:
        return hashlib.sha256(lock.read()).hexdigest()


def installed() -> Dict[str, str]:
    try:
        with open(STAMP) as stamp:
            return dict((line.split() + ["", ""])[:2] for line in stamp)
    except (OSError, ValueError):
        return {}


def refuse_foreign_folder() -> None:
    """Stop before touching a folder that is not a Python environment."""
    if os.path.isdir(ENVIRONMENT) and set(os.listdir(ENVIRONMENT)) - {".retex-lock"}:
        if not os.path.exists(os.path.join(ENVIRONMENT, "pyvenv.cfg")):
            sys.exit(
                "%s exists and is not a Python environment. Move it away, or name another place "
                "with RETEX_VENV." % ENVIRONMENT
            )
        if works(PYTHON, "import sys") and not works(PYTHON):
            sys.exit(
                "%s holds a Python that Retex does not run on (%d.%d to %d.%d are fine). Remove it, or "
                "name another place with RETEX_VENV." % ((ENVIRONMENT,) + OLDEST + NEWEST)
            )


class locked:
    """Two starts at once must not install into each other's feet."""

    def __enter__(self) -> None:
        import fcntl

        try:
            if not os.path.isdir(ENVIRONMENT):
                os.makedirs(ENVIRONMENT)
            self.file = open(os.path.join(ENVIRONMENT, ".retex-lock"), "a")
        except OSError as error:
            sys.exit("The Python environment cannot be written: %s" % error)
        try:
            fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            print("  Waiting for another start that is installing the environment ...")
            sys.stdout.flush()
            fcntl.flock(self.file, fcntl.LOCK_EX)

    def __exit__(self, *raised: object) -> None:
        self.file.close()


def create(uv: Optional[str]) -> None:
    """A new virtual environment; whatever a broken one held is thrown away."""
    python, version = find_python(needs_pip=uv is None)
    command = [python, "-m", "venv"]
    if os.path.exists(os.path.join(ENVIRONMENT, "pyvenv.cfg")):
        command.append("--clear")
    if uv:
        command.append("--without-pip")
    if not run("Python environment (%s)" % version, command + [ENVIRONMENT]):
        sys.exit("Python %s could not make a virtual environment in %s." % (version, ENVIRONMENT))


def fill(lock: str, uv: Optional[str]) -> None:
    """Install what the lock file pins, with uv when there is one, else with pip."""
    path = os.path.join(ROOT, lock)
    with open(path) as pins:
        number = sum(1 for line in pins if line[:1].isalnum())
    title = "Python packages (%d, checked against their hashes)" % number
    if uv:
        command = [uv, "pip", "install", "--quiet", "--compile-bytecode", "--python", PYTHON]
        if run(title, command + ["--require-hashes", "-r", path], is_last=False):
            return
        print("  uv could not install them; trying pip, which may know your package index.")
    if subprocess.call(
        [PYTHON, "-m", "pip", "--version"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ):
        run("pip", [PYTHON, "-m", "ensurepip"])
    command = [PYTHON, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    if not run(title, command + ["--require-hashes", "-r", path]):
        sys.exit(
            "The packages Retex needs could not be installed; pip's words are above. The package "
            "index must be reachable for the first start."
        )


def find_python(needs_pip: bool) -> Tuple[str, str]:
    """Path and version of an interpreter that fits, or the end with a sentence that says what to do."""
    chosen = os.environ.get("RETEX_PYTHON")
    without_pip = ""
    for candidate in [chosen] if chosen else candidates():
        version, has_pip = probe(candidate)
        if OLDEST <= version <= NEWEST:
            if has_pip or not needs_pip:
                return candidate, "%d.%d" % version
            without_pip = without_pip or "%d.%d" % version
    if without_pip:
        sys.exit(
            "Python %s is here, but without its venv module. On Debian and Ubuntu: "
            "apt install python%s-venv" % (without_pip, without_pip)
        )
    if chosen:
        sys.exit(
            "RETEX_PYTHON=%s is not a Python from %d.%d to %d.%d." % ((chosen,) + OLDEST + NEWEST)
        )
    sys.exit(
        "Retex needs Python %d.%d to %d.%d, and none was found (this is %d.%d). Install one (apt "
        "install python3.13 python3.13-venv, brew install python@3.13, or uv python install 3.13), or "
        "name one: RETEX_PYTHON=/path/to/python3" % (OLDEST + NEWEST + sys.version_info[:2])
    )


def candidates() -> List[str]:
    """Places where an interpreter may be, best first. Only running one tells: pyenv's shims may be empty."""
    names = [sys.executable or "python3"]
    minors = ("3.13", "3.12", "3.14")
    names += ["python" + minor for minor in minors] + ["python3"]
    home = os.path.expanduser("~")
    for minor in minors:
        for pattern in (
            home + "/.pyenv/versions/%s*/bin/python3",
            home + "/.local/share/uv/python/cpython-%s*/bin/python3",
            home + "/.local/share/mise/installs/python/%s*/bin/python3",
            home + "/.asdf/installs/python/%s*/bin/python3",
            "/opt/homebrew/opt/python@%s/bin/python3",
            "/usr/local/opt/python@%s/bin/python3",
            "/Library/Frameworks/Python.framework/Versions/%s/bin/python3",
        ):
            names += sorted(glob.glob(pattern % minor), reverse=True)
    names += ["/opt/homebrew/bin/python3", "/usr/local/bin/python3", "/usr/bin/python3"]
    return list(dict.fromkeys(names))


def probe(candidate: str) -> Tuple[Tuple[int, int], bool]:
    """Version of an interpreter ((0, 0) when it does not run) and whether it can install pip."""
    try:
        process = subprocess.Popen(
            [candidate, "-c", PROBE], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        output = process.communicate()[0].decode("ascii", "replace").strip()
        major, minor = output.split(".")
        return (int(major), int(minor)), process.returncode == 0
    except (OSError, ValueError):
        return (0, 0), False


def works(python: str, code: str = FITS) -> bool:
    try:
        return (
            subprocess.call(
                [python, "-c", code], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            == 0
        )
    except OSError:
        return False


def find_uv() -> Optional[str]:
    """uv, when there is one that runs; it installs ten times faster than pip."""
    home = os.path.expanduser("~")
    named = [
        os.environ.get("UV"),
        shutil.which("uv"),
        home + "/.local/bin/uv",
        "/opt/homebrew/bin/uv",
    ]
    for path in named + sorted(glob.glob(home + "/.pyenv/versions/*/bin/uv"), reverse=True):
        try:
            if (
                path
                and subprocess.call(
                    [path, "--version"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
                )
                == 0
            ):
                return path
        except OSError:
            continue
    return None


def run(title: str, command: List[str], is_last: bool = True) -> bool:
    """Run quietly under a line that shows it goes on; what it said is shown when it fails."""
    began = time.time()
    told = began
    on_terminal = sys.stdout.isatty()
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
        )
        while process.poll() is None:
            time.sleep(0.1)
            if on_terminal and time.time() - told >= 1:
                told = time.time()
                show("\r" + line(title + " ...", told - began))
            elif not on_terminal and time.time() - told >= QUIET_SECONDS:
                told = time.time()
                show(line(title + " goes on", told - began) + "\n")
        if process.returncode == 0:
            show(("\r" if on_terminal else "") + line(title, time.time() - began) + "\n")
            return True
        show(("\r" if on_terminal else "") + line(title + " failed", time.time() - began) + "\n")
        if is_last:
            output.seek(0)
            show(output.read().decode("utf-8", "replace")[-4000:])
    return False


def line(title: str, seconds: float) -> str:
    return "  %-60s %6.1f s" % (title, seconds)


def show(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
