"""Backup and restore, drilled on real servers: what comes back is what was there, or nothing changes."""

import os
import stat
import tarfile
import threading

import psycopg
import pytest
import redis

from kb.supervisor import addresses, backup
from kb.supervisor.backup import BackupError
from kb.supervisor.commands import running_servers
from kb.supervisor.data_folder import make_data_folder
from kb.supervisor.product import Installation
from kb.supervisor.terminal import Terminal

pytestmark = pytest.mark.stack

SCHEMA = """
    CREATE TABLE prompt (id serial PRIMARY KEY, title text NOT NULL);
    CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'history stays'; END $$;
    CREATE TRIGGER history BEFORE UPDATE OR DELETE ON prompt FOR EACH ROW EXECUTE FUNCTION refuse();
    INSERT INTO prompt (title) VALUES ('Résumer un contrat'), ('Draft a reply');
"""
TITLES = [("Draft a reply",), ("Résumer un contrat",)]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """The environment of an installation whose servers run."""
    data = tmp_path_factory.mktemp("installation").resolve()
    environ = {"PATH": os.environ["PATH"], "RETEX_DATA_DIR": str(data)}
    make_data_folder(data)
    environment = Installation.of(environ).environment(environ)
    with running_servers(Terminal(), data, environment, is_durable=False):
        yield environment


@pytest.fixture
def filled(place):
    """The same, with content in its database and its files, and nothing else."""
    ask(place, "DROP SCHEMA public CASCADE; CREATE SCHEMA public", SCHEMA)
    data = addresses.data_dir(place)
    (data / "mail").mkdir(exist_ok=True)
    (data / "mail" / "one.log").write_text("Bonjour")
    return place


def ask(place, *questions):
    """Run SQL; the rows of the last question, if it has any."""
    with psycopg.connect(place["DATABASE_URL"], autocommit=True) as connection:
        answers = [connection.execute(question) for question in questions]
        return answers[-1].fetchall() if answers[-1].description else None


def titles(place):
    return ask(place, "SELECT title FROM prompt ORDER BY title")


def files_of(archive):
    with tarfile.open(archive) as opened:
        return sorted(member.name for member in opened.getmembers() if member.isfile())


def test_a_backup_is_one_private_file_with_everything_that_cannot_be_made_again(filled, tmp_path):
    file = tmp_path / "today.retex"

    backup.write(file, filled)

    assert files_of(file) == [
        "database.dump",
        "files/mail/one.log",
        "files/secret-key",
        "manifest.json",
    ]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["today.retex"]


def test_a_restore_brings_rows_rules_and_files_back(filled, tmp_path):
    file, data = tmp_path / "today.retex", addresses.data_dir(filled)
    backup.write(file, filled)
    key = (data / "secret-key").read_text()
    ask(
        filled,
        "ALTER TABLE prompt DISABLE TRIGGER ALL; DELETE FROM prompt; CREATE TABLE later (n int)",
    )
    (data / "secret-key").write_text("another key")
    (data / "mail" / "one.log").unlink()
    redis.Redis.from_url(filled["REDIS_URL"]).set("message about a later row", "1")

    backup.restore(file, filled, replace=True)

    assert titles(filled) == TITLES
    assert ask(filled, "SELECT to_regclass('later')") == [(None,)]
    with pytest.raises(psycopg.errors.RaiseException, match="history stays"):
        ask(filled, "DELETE FROM prompt")
    assert ask(filled, "INSERT INTO prompt (title) VALUES ('next') RETURNING id") == [(3,)]
    assert (data / "secret-key").read_text() == key
    assert (data / "mail" / "one.log").read_text() == "Bonjour"
    assert redis.Redis.from_url(filled["REDIS_URL"]).dbsize() == 0
    assert not list(data.glob(".retex-*"))


def test_an_empty_installation_takes_a_backup_without_being_told_to_replace(filled, tmp_path):
    file = tmp_path / "today.retex"
    backup.write(file, filled)
    ask(filled, "DROP SCHEMA public CASCADE; CREATE SCHEMA public")

    backup.restore(file, filled, replace=False)

    assert titles(filled) == TITLES


def test_what_is_there_is_not_replaced_unasked(filled, tmp_path):
    file = tmp_path / "today.retex"
    backup.write(file, filled)
    ask(filled, "INSERT INTO prompt (title) VALUES ('Written since')")

    with pytest.raises(BackupError, match=r"not empty \(1 tables\).*--replace"):
        backup.restore(file, filled, replace=False)

    assert titles(filled) == [*TITLES, ("Written since",)]


def test_a_restore_that_fails_changes_nothing(filled, tmp_path, monkeypatch):
    monkeypatch.setattr(backup, "_LOCK_SECONDS", 1)
    file, data = tmp_path / "today.retex", addresses.data_dir(filled)
    backup.write(file, filled)
    ask(filled, "INSERT INTO prompt (title) VALUES ('Written since')")
    (data / "secret-key").write_text("another key")

    with psycopg.connect(filled["DATABASE_URL"]) as busy:
        busy.execute("SELECT * FROM prompt")  # as a page being served
        with pytest.raises(BackupError, match=r"Stop Retex's processes first"):
            backup.restore(file, filled, replace=True)

    assert titles(filled) == [*TITLES, ("Written since",)]
    assert (data / "secret-key").read_text() == "another key"


def test_a_damaged_backup_is_refused_before_anything_changes(filled, tmp_path):
    file = tmp_path / "today.retex"
    backup.write(file, filled)
    raw = bytearray(file.read_bytes())
    with tarfile.open(file) as archive:
        raw[archive.getmember("database.dump").offset_data + 100] ^= 0xFF
    file.write_bytes(raw)

    with pytest.raises(BackupError, match="does not match its fingerprint"):
        backup.restore(file, filled, replace=True)

    assert titles(filled) == TITLES


@pytest.mark.parametrize("content", [b"", b"not a tar", b"\0" * 10_240])
def test_what_is_no_backup_is_refused_by_name(filled, tmp_path, content):
    file = tmp_path / "holiday.jpg"
    file.write_bytes(content)

    with pytest.raises(BackupError, match=r"holiday\.jpg is not a backup of Retex"):
        backup.restore(file, filled, replace=True)


def test_a_backup_that_would_write_elsewhere_is_refused(filled, tmp_path):
    file, victim = tmp_path / "evil.retex", tmp_path / "victim"
    victim.write_text("mine")
    with tarfile.open(file, "w") as archive:
        archive.add(victim, f"files/../../../..{victim}")

    with pytest.raises(BackupError, match=r"evil\.retex is not a backup of Retex"):
        backup.restore(file, filled, replace=True)


def test_a_backup_of_a_later_version_is_refused(filled, tmp_path, monkeypatch):
    file = tmp_path / "today.retex"
    monkeypatch.setattr(backup, "FORMAT", 2)
    backup.write(file, filled)
    monkeypatch.undo()

    with pytest.raises(BackupError, match="later version of Retex"):
        backup.restore(file, filled, replace=True)


def test_a_backup_never_overwrites_a_file(filled, tmp_path):
    file = tmp_path / "today.retex"
    file.write_text("yesterday's")

    with pytest.raises(BackupError, match=f"{file} exists already"):
        backup.write(file, filled)

    assert file.read_text() == "yesterday's"


def test_a_folder_that_is_not_there_is_told(filled, tmp_path):
    file = tmp_path / "missing" / "today.retex"

    with pytest.raises(BackupError, match=f"{file} cannot be written: No such file or directory"):
        backup.write(file, filled)


def test_a_backup_inside_the_data_folder_does_not_hold_itself(filled):
    file = addresses.data_dir(filled) / "today.retex"

    backup.write(file, filled)

    assert [name for name in files_of(file) if "retex" in name] == []
    file.unlink()


def test_a_backup_is_of_one_moment_whoever_is_writing(filled, tmp_path):
    ask(filled, "CREATE TABLE debit (n int); CREATE TABLE credit (n int)")
    file, is_done = tmp_path / "today.retex", threading.Event()

    def write():
        with psycopg.connect(filled["DATABASE_URL"]) as connection:
            while not is_done.is_set():
                connection.execute("INSERT INTO debit VALUES (1)")
                connection.execute("INSERT INTO credit VALUES (1)")
                connection.commit()

    writer = threading.Thread(target=write)
    writer.start()
    backup.write(file, filled)
    is_done.set()
    writer.join()
    backup.restore(file, filled, replace=True)

    counts = ask(filled, "SELECT (SELECT count(*) FROM debit), (SELECT count(*) FROM credit)")
    assert counts[0][0] == counts[0][1]


def test_an_address_that_libpq_cannot_read_is_told(filled, tmp_path):
    place = filled | {"DATABASE_URL": "postgres://retex@/retex?conn_max_age=5"}

    with pytest.raises(BackupError, match="cannot read DATABASE_URL"):
        backup.write(tmp_path / "x", place)


def test_the_password_of_the_database_is_not_in_the_command(monkeypatch, tmp_path):
    class Seen(Exception):
        pass

    seen = {}

    def run(command, env, **options):
        seen.update(command=command, password=env["PGPASSWORD"])
        raise Seen

    monkeypatch.setattr(backup.subprocess, "run", run)
    place = {"DATABASE_URL": "psql://retex:s3cret@db/retex", "RETEX_DATA_DIR": str(tmp_path)}

    with pytest.raises(Seen):
        backup.write(tmp_path / "x", place)

    assert seen["password"] == "s3cret"
    assert "s3cret" not in " ".join(seen["command"])
