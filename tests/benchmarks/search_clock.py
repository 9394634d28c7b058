"""Measures requests: whole, their part in the database, and their statements alone.

Runs inside a house; Django is set up by whoever imports this.
"""

from __future__ import annotations

import http.client
import itertools
import random
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import timedelta
from importlib import import_module
from typing import Any

import psycopg
from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.db import connection
from django.test import Client

from accounts.models import User
from tests.benchmarks.search_floor import FLOOR
from tests.benchmarks.search_questions import Question

ROUNDS = 4
"""Times each request is made; the first, which fills caches, is not counted."""
PEOPLE = 20
CONCURRENT_SECONDS = 60.0
PAUSES = (0.5, 1.5)
"""Seconds between two clicks of one of them: twenty quick readers."""
SLOW_SECONDS = 60.0
BIG_TABLE_ROWS = 5_000
"""Reading a table of this size from end to end is what an index should spare."""
_SESSION_DAYS = 1


@dataclass
class Timings:
    """Milliseconds of each counted request of one kind."""

    request: list[float] = field(default_factory=list)
    floor: list[float] = field(default_factory=list)
    database: list[float] = field(default_factory=list)
    bare: list[float] = field(default_factory=list)
    statements: list[int] = field(default_factory=list)
    full_reads: set[str] = field(default_factory=set)
    """Big tables that a statement read from end to end."""


@dataclass(frozen=True)
class Statement:
    """What a page asked of the database, and for how many milliseconds it waited."""

    sql: str
    values: Any
    milliseconds: float
    is_in_transaction: bool
    """Settings of the planner that a page makes for a transaction hold for its neighbours in it."""


class Visitor:
    """A signed-in person on one connection that stays open, as a browser's does."""

    def __init__(self, person: User, port: int) -> None:
        self._cookie = f"{settings.SESSION_COOKIE_NAME}={session_key(person)}"
        self._line = http.client.HTTPConnection("127.0.0.1", port, timeout=SLOW_SECONDS)
        self._host = f"localhost:{port}"

    def milliseconds(self, address: str) -> float:
        """Time from asking to the last byte. Raises OSError unless the answer is a page."""
        began = time.perf_counter()
        try:
            self._line.request("GET", address, headers={"Cookie": self._cookie, "Host": self._host})
            answer = self._line.getresponse()
            answer.read()
        except http.client.HTTPException as error:
            self._line.close()
            raise OSError(f"{address}: {error!r}") from error
        if answer.status != 200:
            raise OSError(f"{address} was answered with status {answer.status}.")
        return (time.perf_counter() - began) * 1000


def session_key(person: User) -> str:
    """A new session of this person, made as signing in makes it."""
    session = import_module(settings.SESSION_ENGINE).SessionStore()
    session[SESSION_KEY] = str(person.pk)
    session[BACKEND_SESSION_KEY] = settings.AUTHENTICATION_BACKENDS[0]
    session[HASH_SESSION_KEY] = person.get_session_auth_hash()
    session.set_expiry(timedelta(days=_SESSION_DAYS))
    session.create()
    return str(session.session_key)


def measure(questions: Iterable[Question], person: User, port: int) -> dict[str, Timings]:
    """Every request in turn, each beside the ceiling: whole, then its statements alone."""
    asked, found = list(questions), dict[str, Timings]()
    visitor, inside = Visitor(person, port), Client(SERVER_NAME="localhost")
    inside.cookies[settings.SESSION_COOKIE_NAME] = session_key(person)
    with psycopg.connect(
        **_address(), autocommit=True, cursor_factory=psycopg.ClientCursor
    ) as bare:
        for first in {question.kind: question for question in reversed(asked)}.values():
            visitor.milliseconds(first.address)  # a page that fails is told now, not after an hour
        for question in asked:
            timings = found.setdefault(question.kind, Timings())
            for turn in range(ROUNDS):
                request, floor = visitor.milliseconds(question.address), visitor.milliseconds(FLOOR)
                statements = statements_of(inside, question.address)
                alone = replayed(bare, statements)
                if turn:
                    timings.request.append(request)
                    timings.floor.append(floor)
                    timings.database.append(sum(one.milliseconds for one in statements))
                    timings.bare.append(alone)
                    timings.statements.append(len(statements))
            timings.full_reads |= full_reads(bare, statements)
    return found


def statements_of(client: Client, address: str) -> list[Statement]:
    """The statements of one page, which is made in this process. Raises OSError when it fails."""
    made: list[Statement] = []

    def note(execute: Any, sql: str, values: Any, many: bool, context: Mapping[str, Any]) -> Any:
        began = time.perf_counter()
        try:
            return execute(sql, values, many, context)
        finally:
            took = (time.perf_counter() - began) * 1000
            made.append(Statement(sql, values, took, connection.in_atomic_block))

    with connection.execute_wrapper(note):
        answer = client.get(address)
    if answer.status_code != 200:
        raise OSError(f"{address} was answered with status {answer.status_code}.")
    return made


def replayed(bare: psycopg.Connection[Any], statements: Sequence[Statement]) -> float:
    """Milliseconds the reading statements of a page take without Django, their rows fetched."""
    began = time.perf_counter()
    for one in _played(bare, statements):
        bare.execute(one.sql, one.values).fetchall()
    return (time.perf_counter() - began) * 1000


def full_reads(bare: psycopg.Connection[Any], statements: Sequence[Statement]) -> set[str]:
    """Big tables that the planner would read from end to end for one of these statements."""
    rows = bare.execute(
        "SELECT relname FROM pg_class WHERE relkind = 'r' AND reltuples >= %s", [BIG_TABLE_ROWS]
    )
    big = {name for (name,) in rows}
    found: set[str] = set()
    for one in _played(bare, statements):
        (plan,) = bare.execute(f"EXPLAIN (FORMAT JSON) {one.sql}", one.values).fetchall()[0]
        found |= big.intersection(_scanned(plan[0]["Plan"]))
    return found


def _played(bare: psycopg.Connection[Any], statements: Iterable[Statement]) -> Iterator[Statement]:
    """The reading statements in turn, within the transactions and under the settings of the page.

    Without those settings PostgreSQL would choose other plans than it does for the page.
    """
    for is_inside, together in itertools.groupby(statements, lambda one: one.is_in_transaction):
        with bare.transaction() if is_inside else nullcontext():
            for one in together:
                start = one.sql.lstrip(" \n(")
                if start.startswith("SET"):
                    bare.execute(one.sql, one.values)
                elif start.startswith(("SELECT", "WITH")):
                    yield one


def _scanned(node: Mapping[str, Any]) -> set[str]:
    """Tables under a node of a plan that are read from end to end."""
    mine = {str(node["Relation Name"])} if node["Node Type"] == "Seq Scan" else set()
    return mine.union(*(_scanned(child) for child in node.get("Plans", ())))


def _address() -> dict[str, Any]:
    """Where the database of this house is, in libpq's words."""
    wanted = connection.get_connection_params()
    return {
        name: wanted[name]
        for name in ("host", "port", "user", "dbname", "password")
        if wanted.get(name)
    }


def people() -> list[User]:
    """Those of the demonstration, with their own permissions."""
    return list(
        User.objects.filter(is_active=True, memberships__isnull=False).distinct().order_by("pk")
    )


@dataclass
class Crowd:
    """What many people at once met."""

    milliseconds: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    seconds: float = CONCURRENT_SECONDS


def crowd(questions: Sequence[Question], people: Sequence[User], port: int) -> Crowd:
    """PEOPLE persons who each click for a minute on whatever they like."""
    found, lock = Crowd(), threading.Lock()
    visitors = [Visitor(people[number % len(people)], port) for number in range(PEOPLE)]
    connection.close()
    deadline = time.monotonic() + CONCURRENT_SECONDS

    def stroll(number: int) -> None:
        chance = random.Random(number)
        while time.monotonic() < deadline:
            try:
                took = visitors[number].milliseconds(chance.choice(questions).address)
            except OSError as error:
                with lock:
                    found.errors.append(str(error))
            else:
                with lock:
                    found.milliseconds.append(took)
            time.sleep(chance.uniform(*PAUSES))

    threads = [threading.Thread(target=stroll, args=(number,)) for number in range(PEOPLE)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found
