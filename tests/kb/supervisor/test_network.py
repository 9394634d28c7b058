import os
import socket
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from kb.supervisor import network
from kb.supervisor.network import answers, port_number, refuse_taken_address
from kb.supervisor.terminal import CannotStart


@pytest.fixture
def taken():
    """A port somebody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def free(taken):
    """A port nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


@pytest.mark.parametrize("text", ["0", "65536", "-1", "http", "80 ", "²", ""])
def test_what_is_no_port_is_refused_by_name(text):
    with pytest.raises(CannotStart, match=f"RETEX_PORT={text} is not a port"):
        port_number(text)


def test_ports_are_numbers():
    assert [port_number("1"), port_number("8000"), port_number("65535")] == [1, 8000, 65535]


def test_a_free_address_is_fine(free):
    refuse_taken_address("127.0.0.1", free)
    refuse_taken_address("0.0.0.0", free)


def test_a_taken_port_is_told_with_its_holder_and_the_way_out(taken):
    with pytest.raises(CannotStart) as refusal:
        refuse_taken_address("127.0.0.1", taken)

    assert f"Port {taken} of 127.0.0.1 is in use by " in str(refusal.value)
    assert f"(process {os.getpid()})" in str(refusal.value)
    assert f"RETEX_PORT={taken + 1} make run" in str(refusal.value)


def test_an_address_of_another_machine_is_refused_by_name(free):
    with pytest.raises(CannotStart, match=r"cannot listen on 192\.0\.2\.1.*RETEX_BIND"):
        refuse_taken_address("192.0.2.1", free)
    with pytest.raises(CannotStart, match=r"RETEX_BIND=nowhere\.invalid is not an address"):
        refuse_taken_address("nowhere.invalid", free)


def test_a_port_for_root_is_told(monkeypatch):
    text = network._why_not(PermissionError(13, "Permission denied"), "127.0.0.1", 80)

    assert text == "Port 80 is for root only. Choose one above 1023 with RETEX_PORT."


def test_asking_a_server_that_is_not_there_is_no_error(free):
    assert answers("127.0.0.1", free, "/readyz", "localhost") is None


def test_asking_names_the_host_people_use():
    heard = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            heard.append((self.path, self.headers["Host"]))
            self.send_error(503)

        def log_message(self, *args):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.handle_request).start()
        status = answers("0.0.0.0", server.server_port, "/readyz", "retex.example")

    assert (status, heard) == (503, [("/readyz", "retex.example")])
