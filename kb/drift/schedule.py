"""When a monitor is due: words and cron expressions, in a person's time zone. Pure.

A cron expression has the five usual fields: minute, hour, day of the month, month, day of the week
(0 to 6 or sun to sat). They are read by Celery's parser, and as there a day must fit the day of the
month and the day of the week, so that ``0 2 1-7 * mon`` is the first Monday of the month.

Clocks change. A time that does not exist on the night the clock goes forward happens as much later
as the clock was moved; a time that exists twice happens once, the first time. Schedules of every
hour simply follow the hours there are: 23, 24 or 25 that day.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from functools import lru_cache

from celery.schedules import ParseException, crontab_parser

MAX_LENGTH = 100
"""Characters; the longest expression anybody needs lists some minutes and hours."""
NIGHT_SECONDS = 4 * 3600
"""Nightly schedules spread from 01:00 to 05:00: people are away, vendors are least busy."""
HOUR_SECONDS = 3600
HORIZON_YEARS = 40
"""29 February on a given weekday returns within 40 years, even across a year like 2100."""
CALENDAR = (date(2001, 1, 1), date(2029, 1, 1))
"""28 years, after which weekdays and leap years repeat: the sample for `looks_per_year`."""
CALENDAR_YEARS = 28
MANUAL = "manual"
PRESETS = {
    "hourly": "0 * * * *",
    "nightly": "0 1 * * *",
    "weekdays": "0 1 * * mon-fri",
    "weekly": "0 1 * * mon",
    "monthly": "0 1 1 * *",
}
_FIELDS = (
    # name, how many values, the least one, the names that may stand for numbers
    ("minute", 60, 0, ()),
    ("hour", 24, 0, ()),
    ("day of the month", 31, 1, ()),
    (
        "month",
        12,
        1,
        ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"),
    ),
    ("day of the week", 7, 0, ("sun", "mon", "tue", "wed", "thu", "fri", "sat")),
)


class InvalidSchedule(ValueError):
    """A schedule that cannot be read. ``text`` is what was given."""

    def __init__(self, message: str, text: str) -> None:
        super().__init__(message)
        self.text = text


@dataclass(frozen=True, slots=True)
class Schedule:
    """What `parse` read. ``text`` is its canonical spelling, fit to be stored.

    Weekdays count from Sunday, 0. ``spread_seconds`` is the width of the window in which the
    due time of a monitor lies, 0 where the author named the minute.
    """

    text: str
    minutes: frozenset[int] = frozenset()
    hours: frozenset[int] = frozenset()
    days: frozenset[int] = frozenset()
    months: frozenset[int] = frozenset()
    weekdays: frozenset[int] = frozenset()
    spread_seconds: int = 0

    @property
    def is_manual(self) -> bool:
        """Whether it is never due by itself."""
        return self.text == MANUAL

    @property
    def is_every_hour(self) -> bool:
        """Whether it follows the hours there are instead of naming times of the clock."""
        return len(self.hours) == 24


def parse(text: str) -> Schedule:
    """Read ``manual``, ``hourly``, ``nightly``, ``weekdays``, ``weekly``, ``monthly`` or cron.

    Raises InvalidSchedule naming the field and what it may hold. A date that never comes, such as
    30 February, is no error here: `next_slot` is None and `looks_per_year` 0.
    """
    spelling = " ".join(text.lower().split()) if len(text) <= MAX_LENGTH else ""
    if not spelling:
        raise InvalidSchedule(
            f"A schedule has 1 to {MAX_LENGTH} characters; this one has {len(text)}.", text
        )
    if spelling == MANUAL:
        return Schedule(MANUAL)
    fields = PRESETS.get(spelling, spelling).split()
    if len(fields) != len(_FIELDS):
        raise InvalidSchedule(
            f"{text!r} is neither one of {MANUAL}, {', '.join(PRESETS)} nor a cron expression "
            f"with five fields, such as 30 6 * * mon-fri.",
            text,
        )
    minutes, hours, days, months, weekdays = (
        _values(field, *rules, text) for field, rules in zip(fields, _FIELDS, strict=True)
    )
    spread = 0
    if spelling in PRESETS:
        spread = HOUR_SECONDS if spelling == "hourly" else NIGHT_SECONDS
    return Schedule(spelling, minutes, hours, days, months, weekdays, spread)


def next_slot(
    schedule: Schedule, after: datetime, tz: tzinfo, *, jitter_key: str = ""
) -> datetime | None:
    """The first due time later than ``after``, in UTC; None when there is none.

    ``after`` must be aware. ``jitter_key`` names the monitor: the same key is always due at the
    same place of the window, different keys at different ones; empty means its beginning.
    """
    return next(_slots(schedule, after, tz, jitter_key), None)


def slots_between(
    schedule: Schedule, after: datetime, until: datetime, tz: tzinfo, *, jitter_key: str = ""
) -> Iterator[datetime]:
    """Every due time later than ``after`` and not later than ``until``, in order, in UTC."""
    for slot in _slots(schedule, after, tz, jitter_key):
        if slot > until:
            return
        yield slot


def looks_per_year(schedule: Schedule) -> float:
    """How often it is due in a year on average, leap years included: 365.25 for nightly."""
    return _due_days(schedule) * len(schedule.hours) * len(schedule.minutes) / CALENDAR_YEARS


def jitter_seconds(schedule: Schedule, key: str) -> int:
    """Where in the window of its schedule a monitor is due: 0 up to, not including, its width."""
    if not key or not schedule.spread_seconds:
        return 0
    digest = hashlib.sha256(key.encode("utf-8", "replace")).digest()
    return int.from_bytes(digest[:8]) % schedule.spread_seconds


def _values(
    field: str, name: str, count: int, least: int, words: tuple[str, ...], text: str
) -> frozenset[int]:
    """The numbers one field stands for, by Celery's parser.

    The parser reads a field from its beginning and passes over what follows a complete part, and
    knows the names of weekdays and months in every field; both are refused beforehand.
    """
    number = rf"(?:[0-9]{{1,2}}{''.join(f'|{word}' for word in words)})"
    part = rf"(?:\*|{number}(?:-{number})?)(?:/0*[1-9][0-9]?)?"
    if not re.fullmatch(rf"{part}(?:,{part})*", field):
        raise _invalid_field(field, name, count, least, words, text)
    # A single number with a step means "from here on" elsewhere; the parser would drop the step.
    if re.search(rf"(?:^|,){number}/", field):
        raise _invalid_field(field, name, count, least, words, text)
    try:
        return frozenset(crontab_parser(count, least).parse(field))
    except (ParseException, ValueError) as error:
        raise _invalid_field(field, name, count, least, words, text) from error


def _invalid_field(
    field: str, name: str, count: int, least: int, words: tuple[str, ...], text: str
) -> InvalidSchedule:
    allowed = f"{least} to {least + count - 1}"
    if words:
        allowed += f" or {words[0]} to {words[-1]}"
    return InvalidSchedule(
        f"{field!r} is not a {name}. Write *, numbers from {allowed}, ranges such as "
        f"{least}-{least + 3}, steps such as */2, or several of them with commas.",
        text,
    )


def _slots(schedule: Schedule, after: datetime, tz: tzinfo, jitter_key: str) -> Iterator[datetime]:
    if after.tzinfo is None:
        raise ValueError(f"{after} has no time zone.")
    if not _due_days(schedule):
        return
    jitter = timedelta(seconds=jitter_seconds(schedule, jitter_key))
    times = [
        time(hour, minute) for hour in sorted(schedule.hours) for minute in sorted(schedule.minutes)
    ]
    # From the day before: a time moved by a change of the clock may fall on the next day.
    first = after.astimezone(tz).date() - timedelta(days=1)
    latest = after.astimezone(UTC)
    for day in _days(schedule, first):
        instants = {
            instant
            for wall_time in times
            for instant in _instants(schedule, datetime.combine(day, wall_time) + jitter, tz)
        }
        for instant in sorted(instants):
            if instant > latest:
                latest = instant
                yield instant


def _days(schedule: Schedule, first: date) -> Iterator[date]:
    """The days that fit, from ``first`` on, up to the horizon."""
    for offset in range(HORIZON_YEARS * 366):
        day = first + timedelta(days=offset)
        if _fits(schedule, day):
            yield day


def _fits(schedule: Schedule, day: date) -> bool:
    return (
        day.month in schedule.months
        and day.day in schedule.days
        and day.isoweekday() % 7 in schedule.weekdays
    )


def _instants(schedule: Schedule, wall: datetime, tz: tzinfo) -> list[datetime]:
    """The moments, in UTC, at which the clock of ``tz`` shows ``wall``: none, one or two.

    For schedules that name times of the clock it is always one: see the top of this module.
    """
    moments = [wall.replace(tzinfo=tz, fold=fold).astimezone(UTC) for fold in (0, 1)]
    if not schedule.is_every_hour:
        return moments[:1]
    return [m for m in dict.fromkeys(moments) if m.astimezone(tz).replace(tzinfo=None) == wall]


@lru_cache(maxsize=256)
def _due_days(schedule: Schedule) -> int:
    """On how many days of the sample calendar it is due."""
    first, end = CALENDAR
    days = (first + timedelta(days=offset) for offset in range((end - first).days))
    return sum(_fits(schedule, day) for day in days)
