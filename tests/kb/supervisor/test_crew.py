import os
import signal
import threading
import time

import pytest

from kb.supervisor.crew import LONGEST_DELAY, Crew, Kept, keep_running
from kb.supervisor.processes import stop_all
from kb.supervisor.stopping import StopAsked, StopRequests
from kb.supervisor.terminal import CannotStart
from tests.kb.supervisor.programs import SLEEPS, python, wait_until


@pytest.fixture
def crew(tmp_path, terminal):
    return Crew(tmp_path / "processes.json", terminal, StopRequests())


@pytest.fixture
def kept(crew):
    one = Kept("web", lambda: python("web", SLEEPS), crew)
    yield one
    if one.child is not None:
        one.child.kill()
        wait_until(one.child.has_ended)


def test_a_process_that_ends_is_started_again(kept, terminal):
    first = kept.start()
    os.kill(first.pid, signal.SIGKILL)
    wait_until(lambda: kept.look_after(time.monotonic()) or kept.child is None)

    wait_until(lambda: kept.look_after(time.monotonic()) or kept.child is not None)

    assert kept.child.pid != first.pid
    assert "web was ended by SIGKILL; it is started again in 0.5 s" in terminal.text


def test_a_process_that_runs_is_left_alone(kept, terminal):
    child = kept.start()

    kept.look_after(time.monotonic())
    kept.look_after(time.monotonic() + 1_000)

    assert kept.child is child
    assert terminal.text == ""


def test_each_failure_doubles_the_delay_up_to_a_limit(crew, terminal):
    def refuse():
        raise CannotStart("the port is taken")

    kept, now = Kept("web", refuse, crew), 0.0
    for _ in range(9):
        kept.look_after(now)
        kept.look_after(now)  # too early: nothing happens
        now = kept._next_start

    delays = [line.rpartition("again in ")[2] for line in terminal.text.splitlines()]
    assert delays == ["0.5 s", "1 s", "2 s", "4 s", "8 s", "16 s", "30 s", "30 s", "30 s"]
    assert f"{LONGEST_DELAY:g} s" == delays[-1]
    assert "web did not start: the port is taken" in terminal.text


def test_a_process_that_ran_steadily_is_started_again_soon(kept, terminal):
    kept._ends = 5
    child = kept.start()
    os.kill(child.pid, signal.SIGKILL)
    wait_until(lambda: child.has_ended())

    kept.look_after(child.started + 61)

    assert "again in 0.5 s" in terminal.text


def test_looking_after_ends_when_somebody_asks_to_stop(kept, crew):
    kept.start()
    threading.Timer(0.1, crew.requests.stop.set).start()

    with pytest.raises(StopAsked):
        keep_running([kept], crew.requests)

    stop_all([kept.child], crew.requests.hurry)
    assert kept.child.ending() == "was ended by SIGTERM"


def test_the_first_request_stops_and_the_second_hurries():
    requests = StopRequests()

    requests._asked(signal.SIGINT, None)
    after_first = (requests.stop.is_set(), requests.hurry.is_set())
    requests._asked(signal.SIGINT, None)

    assert after_first == (True, False)
    assert requests.hurry.is_set()


def test_nohup_is_respected(monkeypatch):
    taken = []
    monkeypatch.setattr(signal, "getsignal", lambda number: signal.SIG_IGN)
    monkeypatch.setattr(signal, "signal", lambda number, handler: taken.append(number))

    StopRequests().listen()

    assert taken == [signal.SIGINT, signal.SIGTERM]
