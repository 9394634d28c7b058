"""The embedded servers for real: started, killed, and started again on what they left."""

import os
import pwd
import shutil
import signal
import subprocess
import sys

import psycopg
import pytest
import redis

from kb.supervisor import addresses, postgres
from kb.supervisor.commands import running_servers
from kb.supervisor.data_folder import make_data_folder
from kb.supervisor.terminal import CannotStart
from kb.supervisor.valkey import valkey_dir
from tests.kb.supervisor.programs import SLEEPS, wait_until

pytestmark = pytest.mark.stack

CONFUSING = {"PGPORT": "1", "PGHOST": "192.0.2.1", "PGDATA": "/nowhere"}
"""libpq's variables, as somebody's shell may hold them for another database."""


@pytest.fixture
def servers(terminal):
    """Starts the servers of a data folder."""

    def start(data, is_durable=False):
        make_data_folder(data)
        return running_servers(terminal, data, os.environ | CONFUSING, is_durable=is_durable)

    return start


def ask(data, *questions):
    """The rows that the last question finds."""
    with psycopg.connect(addresses.database_url(data), autocommit=True) as connection:
        return [connection.execute(question) for question in questions][-1].fetchall()


def broker(data):
    return redis.Redis.from_url(addresses.redis_url(data))


def forbid_namespaces(monkeypatch):
    """As a container does."""
    can_run = postgres._can_run
    monkeypatch.setattr(
        postgres, "_can_run", lambda runner: "--user" in runner.options and can_run(runner)
    )
    postgres._runner.cache_clear()


def postmaster(data):
    return int((postgres.cluster_dir(data) / "postmaster.pid").read_text().split()[0])


@pytest.mark.parametrize("name", ["var", "a folder named in words " + "x" * 90])
def test_what_the_servers_were_told_is_there_after_a_stop(data, servers, terminal, name):
    data = data / name
    with servers(data):
        ask(data, "CREATE TABLE kept AS SELECT 'ÉTÉ' AS word", "SELECT")
        broker(data).set("bell", "rung")

    with servers(data):
        words = ask(data, "SELECT lower(word) FROM kept")
        bell = broker(data).get("bell")
        sockets = [path for path in addresses.socket_dir(data).iterdir() if path.is_socket()]
        modes = {path.name: path.stat().st_mode & 0o777 for path in sockets}

    assert (words, bell) == ([("été",)], b"rung")
    assert modes == {".s.PGSQL.5432": 0o700, "valkey.sock": 0o700}
    assert terminal.text.count("a new cluster") == 1
    assert not (addresses.run_dir(data) / "processes.json").exists()
    shutil.rmtree(addresses.socket_dir(data))


def test_a_killed_postgresql_starts_though_its_number_belongs_to_somebody_else(data, servers):
    lock_file = postgres.cluster_dir(data) / "postmaster.pid"
    stranger = subprocess.Popen([sys.executable, "-c", SLEEPS], stdout=subprocess.DEVNULL)
    with servers(data, is_durable=True):
        ask(data, "CREATE TABLE ledger AS SELECT 1 AS n", "SELECT")
        os.kill(postmaster(data), signal.SIGKILL)
        wait_until(lambda: not list(postgres._users_of(postgres.cluster_dir(data))))
    first_line, rest = lock_file.read_text().split("\n", 1)
    lock_file.write_text(f"{stranger.pid}\n{rest}")

    with servers(data):
        rows = ask(data, "SELECT n FROM ledger")

    assert first_line != str(stranger.pid)
    assert rows == [(1,)]
    assert stranger.poll() is None
    stranger.kill()
    stranger.wait()


def test_a_cluster_that_another_postgresql_uses_is_left_alone(data, servers, monkeypatch):
    monkeypatch.setattr(postgres, "_STRAGGLER_SECONDS", 0.1)
    with servers(data):
        number = postmaster(data)

        with pytest.raises(
            CannotStart, match=rf"Another PostgreSQL .*{postgres.cluster_dir(data)}"
        ):
            postgres.Postgres(data, os.environ).program()

        assert postmaster(data) == number
        assert ask(data, "SELECT 1") == [(1,)]


def test_a_cluster_that_was_half_made_is_made_again(data, servers):
    half = postgres.cluster_dir(data).with_suffix(".new")
    half.mkdir()
    (half / "PG_VERSION").write_text("18\n")

    with servers(data):
        assert ask(data, "SELECT 1") == [(1,)]


def test_a_broker_with_torn_files_starts_empty_and_says_so(data, servers, terminal):
    with servers(data):
        broker(data).set("bell", "rung")
    for file in valkey_dir(data).rglob("*.aof"):
        file.write_bytes(b"*3\r\n$garbage" + file.read_bytes())

    with servers(data):
        bell = broker(data).get("bell")

    assert bell is None
    assert "unreadable files moved to valkey.unreadable" in terminal.text


def test_a_broker_with_much_to_load_is_ready_when_all_of_it_is_loaded(data, servers):
    with servers(data):
        broker(data).set("bell", "rung")
    (written,) = valkey_dir(data).rglob("*.incr.aof")
    with written.open("ab") as file:
        file.writelines(b"*3\r\n$3\r\nSET\r\n$7\r\n%07d\r\n$1\r\n1\r\n" % n for n in range(500_000))

    with servers(data):
        size = broker(data).dbsize()

    assert size == 500_001


def test_a_server_that_cannot_start_shows_its_own_words(data, servers):
    with servers(data):
        pass
    (postgres.cluster_dir(data) / "postgresql.conf").write_text("nonsense = 1\n")

    with (
        pytest.raises(CannotStart, match=r'(?s)postgres\.log ends with:.*"nonsense"'),
        servers(data),
    ):
        pass


@pytest.mark.skipif(os.geteuid() != 0, reason="only root needs somebody else to run PostgreSQL")
def test_root_hands_postgresql_to_an_ordinary_user_where_namespaces_are_forbidden(
    data, servers, monkeypatch
):
    data.chmod(0o755)
    parents = {path: path.stat().st_mode for path in data.parents}
    place = data / ("long" * 23)
    with servers(place):
        ask(place, "CREATE TABLE kept AS SELECT 1 AS n", "SELECT")
        owner_inside = postgres.cluster_dir(place).stat().st_uid
    forbid_namespaces(monkeypatch)

    try:
        with servers(place):
            rows = ask(place, "SELECT n FROM kept")
            owner_outside = postgres.cluster_dir(place).stat().st_uid
    finally:
        postgres._runner.cache_clear()
        shutil.rmtree(addresses.socket_dir(place))

    assert rows == [(1,)]
    assert owner_inside == 0
    assert owner_outside in {
        entry.pw_uid for entry in pwd.getpwall() if entry.pw_name in postgres.ORDINARY_USERS
    }
    assert oct(place.stat().st_mode & 0o777) == "0o711"
    assert {path: path.stat().st_mode for path in data.parents} == parents


@pytest.mark.skipif(os.geteuid() != 0, reason="only root needs somebody else to run PostgreSQL")
def test_root_is_told_when_nobody_can_run_postgresql_for_it(data, servers, monkeypatch):
    forbid_namespaces(monkeypatch)
    closed = data / "closed" / "var"
    closed.parent.mkdir(mode=0o700)

    with pytest.raises(CannotStart, match=f"no ordinary user here can reach both .* {closed}"):
        servers(closed).__enter__()
    postgres._runner.cache_clear()
