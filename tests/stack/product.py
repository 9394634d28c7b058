"""One installation of the product, run as real processes, for the tests that need the whole of it."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import psutil
import redis

from kb.supervisor import addresses
from tests.kb.supervisor.programs import wait_until

MANAGE = [sys.executable, str(addresses.ROOT / "manage.py")]
PROCESSES = {"postgres", "valkey", "web", "worker", "models", "beat"}
STOP_SECONDS = 10
START_SECONDS = 240


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
