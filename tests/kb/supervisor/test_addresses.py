from pathlib import Path

import pytest

from kb.supervisor import addresses


def test_without_named_servers_the_installation_runs_its_own():
    assert addresses.is_embedded({}) is True
    assert addresses.is_embedded({"DATABASE_URL": "", "REDIS_URL": ""}) is True


@pytest.mark.parametrize(
    "name", ["DATABASE_URL", "REDIS_URL", "DATABASE_URL_FILE", "REDIS_URL_FILE"]
)
def test_one_named_server_is_enough_to_start_none(name):
    assert addresses.is_embedded({name: "anything"}) is False


def test_data_is_kept_in_the_clone_unless_the_environment_names_a_folder(tmp_path):
    assert addresses.data_dir({}) == addresses.ROOT / "var"
    assert addresses.data_dir({"RETEX_DATA_DIR": f"{tmp_path}/a/../b"}) == tmp_path.resolve() / "b"


def test_addresses_of_the_embedded_servers_follow_from_the_folder():
    data = Path("/srv/retex")

    assert addresses.database_url(data) == "postgres://retex@/retex?host=/srv/retex/run&port=5432"
    assert addresses.redis_url(data) == "unix:///srv/retex/run/valkey.sock?db=0"


@pytest.mark.parametrize("name", ["x" * 90, "with space", "données", "a?b", "100%"])
def test_long_and_unusual_folders_get_a_short_and_plain_place_for_sockets(tmp_path, name):
    data = tmp_path / name
    data.mkdir()

    place = addresses.socket_dir(data)

    assert place.parent == Path("/tmp")
    assert place.name.isascii()
    assert len(str(place)) < 50
    assert place == addresses.socket_dir(data)
    assert place != addresses.socket_dir(tmp_path / f"{name}2")


def test_a_url_may_come_from_a_file(tmp_path):
    file = tmp_path / "secret"
    file.write_text("postgres://a:b@db/retex\n")

    assert (
        addresses.named_url({"DATABASE_URL_FILE": str(file)}, "DATABASE_URL")
        == "postgres://a:b@db/retex"
    )
    assert (
        addresses.named_url({"DATABASE_URL": "postgres://x/y"}, "DATABASE_URL") == "postgres://x/y"
    )
    assert addresses.named_url({}, "REDIS_URL") == "redis://localhost:6379/0"
