"""The web server's address: is it free, does it answer?"""

from __future__ import annotations

import errno
import http.client
import os
import socket

import psutil

from kb.supervisor.terminal import CannotStart

_ANSWER_SECONDS = 5.0


def port_number(text: str) -> int:
    """The port that RETEX_PORT names. Raises CannotStart for what is none."""
    if text.isascii() and text.isdigit() and 1 <= int(text) <= 65_535:
        return int(text)
    raise CannotStart(f"RETEX_PORT={text} is not a port: give a number from 1 to 65535.")


def refuse_taken_address(host: str, port: int) -> None:
    """Raise CannotStart, naming who has it and what to do, when nobody could listen here."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen()
    except socket.gaierror as error:
        raise CannotStart(
            f"RETEX_BIND={host} is not an address of this machine: {error.strerror}"
        ) from error
    except OSError as error:
        raise CannotStart(_why_not(error, host, port)) from error


def answers(host: str, port: int, path: str, host_header: str) -> int | None:
    """Status of a GET on our own web server; None when nobody answers."""
    reachable = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)  # noqa: S104
    connection = http.client.HTTPConnection(reachable, port, timeout=_ANSWER_SECONDS)
    try:
        connection.request("GET", path, headers={"Host": host_header})
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def _why_not(error: OSError, host: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"Port {port} of {host} is in use{_by_whom(port)}. Stop that program, or choose another port: "
            f"RETEX_PORT={port + 1 if port < 65_535 else port - 1} make run"
        )
    if error.errno == errno.EACCES:
        return f"Port {port} is for root only. Choose one above 1023 with RETEX_PORT."
    return f"Retex cannot listen on {host}, port {port}: {os.strerror(error.errno or 0)}. See RETEX_BIND."


def _by_whom(port: int) -> str:
    try:
        for connection in psutil.net_connections("inet"):
            is_listening = connection.status == psutil.CONN_LISTEN
            if (
                is_listening
                and connection.laddr
                and connection.laddr.port == port
                and connection.pid
            ):
                return f" by {psutil.Process(connection.pid).name()} (process {connection.pid})"
    except (psutil.Error, OSError):
        pass  # not everybody may look
    return ""
