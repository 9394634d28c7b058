import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time

import psutil
import pytest

from kb.supervisor.processes import (
    INSTANCE_VARIABLE,
    Child,
    ProcessRecord,
    born,
    end_leftovers,
    stop_all,
)
from tests.kb.supervisor.programs import SLEEPS, STUBBORN, python, wait_until

PARENT_OF_SLEEPER = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print("child", child.pid, flush=True)
time.sleep(600)
"""


@pytest.fixture
def started(terminal):
    """Starts programs and leaves none behind."""
    children = []

    def start(program):
        children.append(Child(program, terminal))
        return children[-1]

    yield start
    for child in children:
        child.kill()
        wait_until(child.has_ended)


@pytest.fixture
def stranger():
    """A process that no supervisor started."""
    process = subprocess.Popen([sys.executable, "-c", SLEEPS], stdout=subprocess.DEVNULL)
    yield process
    process.kill()
    process.wait()


def test_what_a_process_says_appears_under_its_name(started, terminal):
    child = started(python("web", "print('bonjour'); print(); print('\\x1b[2Jgone\\ttab')"))

    wait_until(child.has_ended)
    wait_until(lambda: "gone" in terminal.text)

    assert terminal.text == "     web | bonjour\n     web | \N{REPLACEMENT CHARACTER}[2Jgone\ttab\n"


def test_a_program_may_write_to_a_log_that_never_grows_without_end(started, tmp_path, monkeypatch):
    monkeypatch.setattr("kb.supervisor.processes._LARGEST_LOG", 3)
    log = tmp_path / "x.log"

    for text in ("first", "second", "third"):
        wait_until(started(python("x", f"print('{text}')", log=log)).has_ended)

    assert log.read_text() == "third\n"
    assert (tmp_path / "x.log.1").read_text() == "second\n"


def test_how_a_process_ended_is_said_in_words(started):
    by_itself, killed = started(python("a", "raise SystemExit(3)")), started(python("b", SLEEPS))

    os.kill(killed.pid, signal.SIGKILL)
    wait_until(by_itself.has_ended)
    wait_until(killed.has_ended)

    assert by_itself.ending() == "ended with exit code 3"
    assert killed.ending() == "was ended by SIGKILL"


def test_processes_stop_together_and_the_stubborn_after_their_patience(started, terminal):
    children = [
        started(python("kind", SLEEPS)),
        started(python("stubborn", STUBBORN, patience=0.5)),
    ]
    wait_until(lambda: terminal.text.count("up") == 2)

    stop_all(children, threading.Event())

    assert [child.ending() for child in children] == [
        "was ended by SIGTERM",
        "was ended by SIGKILL",
    ]


def test_in_a_hurry_nobody_is_waited_for(started, terminal):
    stubborn = started(python("stubborn", STUBBORN, patience=600))
    wait_until(lambda: "up" in terminal.text)
    hurry = threading.Event()
    hurry.set()

    stop_all([stubborn], hurry)

    assert stubborn.ending() == "was ended by SIGKILL"


def test_the_children_of_a_killed_process_end_with_it(started, terminal):
    parent = started(python("parent", PARENT_OF_SLEEPER))
    grandchild = int(wait_until(lambda: terminal.text).split()[-1])

    os.kill(parent.pid, signal.SIGKILL)
    wait_until(parent.has_ended)

    wait_until(lambda: born(grandchild) is None)


@pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux tells children of their parent's death"
)
def test_what_a_killed_supervisor_started_dies_with_it():
    code = """
        import signal, threading
        from kb.supervisor.processes import Child
        from kb.supervisor.terminal import Terminal
        from tests.kb.supervisor.programs import STUBBORN, python
        child = Child(python("x", STUBBORN, death_signal=signal.SIGKILL), Terminal())
        print("pid", child.pid, flush=True)
        threading.Event().wait()
    """
    supervisor = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True
    )
    lines = [supervisor.stdout.readline() for _ in range(2)]
    pid = next(int(line.split()[1]) for line in lines if line.startswith("pid"))

    supervisor.kill()
    supervisor.communicate()

    wait_until(lambda: born(pid) is None)


def test_a_process_is_told_from_a_later_one_of_its_number(stranger):
    birth = born(stranger.pid)

    assert birth == born(stranger.pid)
    assert birth != born(os.getpid())
    stranger.kill()
    wait_until(lambda: psutil.Process(stranger.pid).status() == psutil.STATUS_ZOMBIE)
    assert born(stranger.pid) is None
    stranger.wait()
    assert born(stranger.pid) is None


def test_leftovers_of_a_killed_supervisor_are_ended(started, terminal, tmp_path):
    record = ProcessRecord(tmp_path / "processes.json", "some-instance")
    child = started(python("web", STUBBORN))
    record.add(child)
    wait_until(lambda: "up" in terminal.text)

    monotonic = time.monotonic()
    end_leftovers(record.path, terminal)

    assert child.has_ended()
    assert child.ending() == "was ended by SIGKILL"
    assert time.monotonic() - monotonic < 8
    assert f"Ending web (process {child.pid})" in terminal.text
    assert not record.path.exists()


def test_children_that_outlived_a_leftover_are_ended(started, terminal, tmp_path):
    record = ProcessRecord(tmp_path / "processes.json", "instance-1")
    environment = {"PATH": os.environ["PATH"], INSTANCE_VARIABLE: "instance-1"}
    parent = started(python("worker", PARENT_OF_SLEEPER, environment=environment))
    record.add(parent)
    grandchild = int(wait_until(lambda: terminal.text).split()[-1])
    parent._process.kill()  # only itself, as a kill from outside does
    parent._process.wait()

    end_leftovers(record.path, terminal)

    wait_until(lambda: born(grandchild) is None)


def test_a_process_that_only_has_the_number_of_a_leftover_is_left_alone(
    stranger, terminal, tmp_path
):
    path = tmp_path / "processes.json"
    entry = {"pid": stranger.pid, "born": "another-boot:1", "stop_signal": int(signal.SIGTERM)}
    path.write_text(json.dumps({"instance": "i", "processes": {"web": entry}}))

    end_leftovers(path, terminal)

    assert stranger.poll() is None
    assert terminal.text == ""


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"instance": "x"}', '{"instance": 1, "processes": []}']
)
def test_an_unreadable_record_of_leftovers_stops_nobody(terminal, tmp_path, text):
    path = tmp_path / "processes.json"
    path.write_text(text)

    end_leftovers(path, terminal)

    assert terminal.text == ""


def test_the_record_follows_the_processes(started, tmp_path):
    record = ProcessRecord(tmp_path / "processes.json", "me")
    record.add(started(python("web", SLEEPS)))
    second, beat = started(python("web", SLEEPS)), started(python("beat", SLEEPS))

    record.add(second)
    record.add(beat)

    written = json.loads(record.path.read_text())
    assert written == {
        "instance": "me",
        "processes": {
            child.name: {"pid": child.pid, "born": born(child.pid), "stop_signal": 15}
            for child in (second, beat)
        },
    }
    record.forget()
    assert not record.path.exists()
