import os
import stat
import subprocess
import sys

import pytest

from kb.supervisor import data_folder
from kb.supervisor.addresses import socket_dir
from kb.supervisor.data_folder import AlreadyHeld, held, make_data_folder
from kb.supervisor.terminal import CannotStart


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_the_folder_is_made_for_its_owner_alone(data):
    folder = data / "new" / "var"

    make_data_folder(folder)
    make_data_folder(folder)

    assert (mode(folder), mode(folder / "run")) == (0o700, 0o700)


def test_a_folder_with_a_long_name_gets_its_short_place_for_sockets(data):
    folder = data / ("long" * 23)

    make_data_folder(folder)

    place = socket_dir(folder)
    assert mode(place) == 0o700
    place.rmdir()


def test_a_place_for_sockets_that_others_may_write_is_refused(data):
    folder = data / ("long" * 23)
    folder.mkdir()
    place = socket_dir(folder)
    place.mkdir()
    place.chmod(0o777)

    with pytest.raises(CannotStart, match=f"{place} was made by somebody else"):
        make_data_folder(folder)
    place.rmdir()


def test_a_link_is_no_place_for_sockets(data):
    folder = data / ("long" * 23)
    folder.mkdir()
    place = socket_dir(folder)
    place.symlink_to(data)

    with pytest.raises(CannotStart):
        make_data_folder(folder)
    place.unlink()


def test_a_folder_of_somebody_else_is_refused_by_name(data, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 4_242_424)

    with pytest.raises(CannotStart, match=f"{data} belongs to .*RETEX_DATA_DIR"):
        make_data_folder(data)


def test_a_file_in_its_place_is_refused_by_name(data):
    file = data / "var"
    file.write_text("")

    with pytest.raises(CannotStart, match=f"{file} cannot be used: File exists"):
        make_data_folder(file)


def test_only_one_supervisor_holds_a_folder(data):
    make_data_folder(data)

    with held(data), pytest.raises(AlreadyHeld, match=f"process {os.getpid()}"), held(data):
        pass

    with held(data):
        assert (data / "run" / "lock").read_text() == str(os.getpid())


def test_a_killed_holder_holds_nothing(data):
    make_data_folder(data)
    code = (
        "import os, sys; from pathlib import Path; from kb.supervisor.data_folder import held\n"
        "with held(Path(sys.argv[1])): os.kill(os.getpid(), 9)"
    )

    killed = subprocess.run([sys.executable, "-c", code, str(data)], check=False)

    assert killed.returncode == -9
    with held(data):
        pass
    assert data_folder.run_dir(data).is_dir()
