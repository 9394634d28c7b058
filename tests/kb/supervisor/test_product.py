"""`manage.py up` as an operator lives it: real processes on a free port, killed in every way."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path

import psutil
import psycopg
import pytest
import redis

from kb.supervisor import addresses
from tests.kb.supervisor.programs import wait_until

pytestmark = [pytest.mark.stack, pytest.mark.timeout(180)]

MANAGE = [sys.executable, str(addresses.ROOT / "manage.py")]
PROCESSES = {"postgres", "valkey", "web", "worker", "models", "beat"}
STOP_SECONDS = 10
START_SECONDS = 90


class Product:
    """One installation and whoever supervises it."""

    def __init__(self, data, port):
        self.data, self.port = data, port
        self.environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("RETEX_", "DATABASE_", "REDIS_", "DJANGO_"))
            and name != "SECRET_KEY"
        } | {
            "RETEX_BOOTSTRAP": "0",
            "RETEX_DATA_DIR": str(data),
            "RETEX_DEMO": "0",
            "RETEX_PORT": str(port),
        }
        self.log = data.parent / f"{data.name}.log"
        self.supervisor = None

    def start(self):
        """Start it and wait until it says that it runs."""
        with self.log.open("wb") as log:
            self.supervisor = subprocess.Popen(
                [*MANAGE, "up"], env=self.environment, stdout=log, stderr=subprocess.STDOUT
            )
        try:
            wait_until(self._has_started, START_SECONDS)
        except AssertionError:
            raise AssertionError(self.said()) from None

    def _has_started(self):
        assert self.supervisor.poll() is None
        return "Ctrl-C stops it" in self.said() and set(self.numbers()) >= PROCESSES

    def said(self):
        return self.log.read_text("utf-8")

    def numbers(self):
        """Process numbers by name, as the supervisor wrote them down."""
        try:
            record = json.loads((addresses.run_dir(self.data) / "processes.json").read_text())
        except FileNotFoundError:
            return {}
        return {name: entry["pid"] for name, entry in record["processes"].items()}

    def everybody(self):
        """The supervisor and all it has started, directly or not."""
        supervisor = psutil.Process(self.supervisor.pid)
        return [supervisor, *supervisor.children(recursive=True)]

    def kill(self, *names):
        """Kill these and wait until each has a successor."""
        former = self.numbers()
        for name in names:
            os.kill(former[name], signal.SIGKILL)
        wait_until(lambda: all(self.numbers()[name] != former[name] for name in names))

    def get(self, path):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return None

    def is_ready(self):
        return self.get("/readyz") == 200

    def becomes_ready(self):
        """Wait until database, broker and web serve again."""
        try:
            wait_until(self.is_ready)
        except AssertionError:
            raise AssertionError(self.said()) from None

    def beats(self):
        """True once the beat has rung again and the worker has answered it."""
        client = redis.Redis.from_url(addresses.redis_url(self.data))

        def rung():
            return client.info("commandstats").get("cmdstat_lpush", {"calls": 0})["calls"]

        before = wait_until(lambda: (answered(rung) or 0) + 1) - 1
        return wait_until(
            lambda: (answered(rung) or 0) > before and answered(lambda: client.llen("default") == 0)
        )

    def run(self, *words, feed=None):
        return subprocess.run(
            [*MANAGE, *words],
            env=self.environment,
            input=feed,
            capture_output=True,
            text=True,
            check=False,
        )

    def stop(self, number=signal.SIGINT):
        """Ask it to stop; exit code and seconds."""
        began = time.monotonic()
        self.supervisor.send_signal(number)
        return self.supervisor.wait(60), time.monotonic() - began


def answered(ask):
    try:
        return ask()
    except redis.RedisError:
        return None


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def ended(product):
    """End whatever a test has left running."""
    if product.supervisor is not None and product.supervisor.poll() is None:
        everybody = product.everybody()
        product.supervisor.send_signal(signal.SIGTERM)
        for process in psutil.wait_procs(everybody, STOP_SECONDS)[1]:
            process.kill()


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
