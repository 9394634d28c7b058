"""`manage.py up` as an operator lives it: real processes on a free port, killed in every way."""

import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
from contextlib import suppress
from pathlib import Path

import psutil
import psycopg
import pytest

from kb.supervisor import addresses
from tests.kb.supervisor.programs import wait_until
from tests.stack.product import MANAGE, STOP_SECONDS, Product, ended, free_port

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]


@pytest.fixture
def product(data):
    made = Product(data / "var", free_port())
    yield made
    ended(made)


@pytest.fixture(scope="module")
def running():
    """A product that runs, in a folder with a long name, and that every test leaves running."""
    with tempfile.TemporaryDirectory(prefix="retex-") as folder:
        made = Product(Path(folder).resolve() / ("v" * 90), free_port())
        made.start()
        yield made
        ended(made)
        shutil.rmtree(addresses.socket_dir(made.data))


def test_its_own_processes_are_replaced_when_they_are_killed(running):
    running.kill("web", "worker", "models", "beat")

    running.becomes_ready()
    assert running.beats()


def test_a_killed_broker_comes_back_and_the_clock_goes_on(running):
    running.kill("valkey")

    running.becomes_ready()
    assert running.beats()


def test_a_killed_database_comes_back_without_an_error_page(running):
    running.kill("postgres")

    running.becomes_ready()
    assert [running.get("/readyz") for _ in range(40)] == [200] * 40


def test_a_killed_web_worker_is_replaced_by_the_web_server(running):
    web = psutil.Process(running.numbers()["web"])
    victim = web.children()[0]

    victim.kill()

    wait_until(lambda: len(web.children()) == 2 and victim not in web.children())
    assert running.is_ready()
    assert running.numbers()["web"] == web.pid


def test_a_second_start_on_the_same_folder_is_refused(running):
    second = running.run("up")

    number = running.supervisor.pid
    assert second.returncode == 1
    assert f"already running on {running.data} (process {number})" in second.stderr
    assert running.is_ready()


def test_another_terminal_reaches_the_running_product(running, data):
    made = running.run("create_user", "ada@example.com", "--role", "admin")
    backup = running.run("backup", str(data / "today.retex"))
    too_early = running.run("restore", str(data / "today.retex"))
    elsewhere = Product(data / "elsewhere", free_port())
    restored = elsewhere.run("restore", str(data / "today.retex"))
    token = elsewhere.run("exec", "create_token", "ada@example.com", "--name", "after the move")

    assert made.returncode == 0, made.stderr
    assert backup.returncode == 0, backup.stderr
    assert (too_early.returncode, "already running" in too_early.stderr) == (1, True)
    assert restored.returncode == 0, restored.stderr
    assert re.search(r"^rtx_[\w-]{43}$", token.stdout, re.MULTILINE), token.stderr
    assert (elsewhere.data / "secret-key").read_text() == (running.data / "secret-key").read_text()


def test_nothing_acknowledged_is_lost_when_everything_is_killed(running):
    acknowledged = []

    def insert_until_the_end():
        with (
            suppress(psycopg.OperationalError),
            psycopg.connect(addresses.database_url(running.data), autocommit=True) as connection,
        ):
            connection.execute("CREATE TABLE ledger (n int)")
            while True:
                connection.execute("INSERT INTO ledger VALUES (%s)", [len(acknowledged)])
                acknowledged.append(len(acknowledged))

    writer = threading.Thread(target=insert_until_the_end)
    writer.start()
    wait_until(lambda: len(acknowledged) > 50)
    for process in running.everybody():
        with suppress(psutil.NoSuchProcess):
            process.kill()
    running.supervisor.wait()
    writer.join()
    (addresses.run_dir(running.data) / "beat-schedule").write_bytes(b"garbage" * 1_000)

    running.start()

    with psycopg.connect(addresses.database_url(running.data)) as connection:
        kept = {n for (n,) in connection.execute("SELECT n FROM ledger")}
    assert kept >= set(acknowledged)
    assert running.beats()
    assert "beat ended" not in running.said()


def test_a_killed_supervisor_leaves_nothing_that_stands_in_the_way(running):
    former = running.everybody()
    running.supervisor.kill()
    running.supervisor.wait()

    running.start()

    assert running.is_ready()
    assert [process for process in former if process.is_running()] == []


def test_ten_seconds_after_a_request_to_stop_everything_has_ended(running):
    everybody = running.everybody()

    code, seconds = running.stop(signal.SIGINT)

    assert (code, seconds < STOP_SECONDS) == (0, True)
    assert [process for process in everybody if process.is_running()] == []
    running.start()


def test_a_taken_port_is_told_before_anything_starts(product):
    with socket.create_server(("127.0.0.1", product.port)):
        refused = product.run("up")

    assert refused.returncode == 1
    assert refused.stdout == ""
    assert f"Port {product.port} of 127.0.0.1 is in use" in refused.stderr
    assert "RETEX_PORT=" in refused.stderr
    assert not (product.data / "postgres18").exists()


def test_stopping_during_the_start_is_quick_and_leaves_nothing(product):
    with product.log.open("wb") as log:
        product.supervisor = subprocess.Popen(
            [*MANAGE, "up"], env=product.environment, stdout=log, stderr=subprocess.STDOUT
        )
    wait_until(lambda: "prepare" in product.numbers())
    everybody = product.everybody()

    code, seconds = product.stop()

    assert code == 0
    assert seconds < STOP_SECONDS
    assert [process for process in everybody if process.is_running()] == []


def test_servers_of_others_are_used_and_no_demo_is_loaded(product, data):
    product.environment |= {
        "DATABASE_URL": "postgres://nobody@127.0.0.1:1/retex",
        "REDIS_URL": "redis://127.0.0.1:1/0",
    }

    refused = product.run("prepare")

    assert refused.returncode == 1
    assert "SECRET_KEY: is missing" in refused.stderr
    assert not (product.data / "postgres18").exists()


def test_a_command_without_a_database_says_how_to_get_one(product):
    lonely = product.run("create_user", "ada@example.com")

    assert lonely.returncode == 1
    assert "manage.py exec create_user ada@example.com" in lonely.stderr
