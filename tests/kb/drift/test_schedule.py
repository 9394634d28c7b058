import time
from datetime import UTC, date, datetime, timedelta
from itertools import islice, pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kb.drift.schedule import (
    InvalidSchedule,
    Schedule,
    jitter_seconds,
    looks_per_year,
    next_slot,
    parse,
    slots_between,
)

PARIS = ZoneInfo("Europe/Paris")
SPRING = date(2026, 3, 29)
"""02:00 becomes 03:00 in Paris, at 01:00 UTC."""
AUTUMN = date(2026, 10, 25)
"""03:00 becomes 02:00 in Paris, at 01:00 UTC."""
CHANGES = [date(2025, 3, 30), date(2025, 10, 26), SPRING, AUTUMN, date(2027, 3, 28)]
KEYS = st.sampled_from(["", *map(str, range(40))])


def utc(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def paris(text):
    return datetime.fromisoformat(text).replace(tzinfo=PARIS)


def local(slot):
    return slot.astimezone(PARIS).strftime("%Y-%m-%d %H:%M")


# --- reading -----------------------------------------------------------------------------------


def test_a_cron_expression_is_read_field_by_field():
    assert parse(" 0,30  6-8/2 1,15 */4 MON-fri ") == Schedule(
        text="0,30 6-8/2 1,15 */4 mon-fri",
        minutes=frozenset({0, 30}),
        hours=frozenset({6, 8}),
        days=frozenset({1, 15}),
        months=frozenset({1, 5, 9}),
        weekdays=frozenset({1, 2, 3, 4, 5}),
    )


@pytest.mark.parametrize(
    ("text", "canonical", "spread"),
    [
        ("manual", "manual", 0),
        (" Nightly ", "nightly", 4 * 3600),
        ("weekdays", "weekdays", 4 * 3600),
        ("weekly", "weekly", 4 * 3600),
        ("monthly", "monthly", 4 * 3600),
        ("HOURLY", "hourly", 3600),
        ("0 1 * * *", "0 1 * * *", 0),
    ],
)
def test_a_schedule_keeps_the_spelling_it_is_stored_in(text, canonical, spread):
    schedule = parse(text)

    assert (schedule.text, schedule.spread_seconds) == (canonical, spread)
    assert parse(schedule.text) == schedule


@pytest.mark.parametrize(
    ("field", "weekdays"),
    [
        ("fri-mon", {5, 6, 0, 1}),
        ("sun", {0}),
        ("0", {0}),
        ("6-1", {6, 0, 1}),
        ("*/2", {0, 2, 4, 6}),
        ("mon,wed-thu", {1, 3, 4}),
    ],
)
def test_weekdays_count_from_sunday_and_may_go_round(field, weekdays):
    assert parse(f"0 0 * * {field}").weekdays == weekdays


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "has 1 to 100 characters; this one has 0"),
        ("  ", "has 1 to 100 characters; this one has 2"),
        ("0 " * 51, "has 1 to 100 characters; this one has 102"),
        ("daily", "neither one of manual, hourly, nightly, weekdays, weekly, monthly nor a cron"),
        ("0 0 * *", "nor a cron expression with five fields"),
        ("0 0 * * * *", "nor a cron expression with five fields"),
        ("60 0 * * *", "'60' is not a minute. Write \\*, numbers from 0 to 59"),
        ("0 24 * * *", "'24' is not a hour"),
        ("0 0 0 * *", "'0' is not a day of the month"),
        ("0 0 32 * *", "'32' is not a day of the month"),
        ("0 0 * 13 *", "'13' is not a month.*1 to 12 or jan to dec"),
        ("0 0 * * 7", "'7' is not a day of the week.*0 to 6 or sun to sat"),
        ("mon 0 * * *", "'mon' is not a minute"),
        ("0 jan * * *", "'jan' is not a hour"),
        ("0 0 * mon *", "'mon' is not a month"),
        ("0 0 * * jan", "'jan' is not a day of the week"),
        ("1-5;rm 0 * * *", "is not a minute"),
        ("*/5x 0 * * *", "is not a minute"),
        ("*x 0 * * *", "is not a minute"),
        ("1,,2 0 * * *", "is not a minute"),
        ("*/0 0 * * *", "is not a minute"),
        ("5/10 0 * * *", "is not a minute"),
        ("-1 0 * * *", "is not a minute"),
        ("٣ 0 * * *", "is not a minute"),
        ("@daily", "nor a cron expression"),
    ],
)
def test_what_cannot_be_read_is_named_with_what_may_be_written(text, complaint):
    with pytest.raises(InvalidSchedule, match=complaint) as refusal:
        parse(text)

    assert refusal.value.text == text


def test_the_longest_schedule_allowed_is_read():
    text = f"{'0,' * 45}00 * * * *"

    assert len(text) == 100
    assert parse(text).minutes == {0}


@settings(deadline=None)
@given(st.text(alphabet="0123456789*/,- monfrijan", max_size=30))
def test_what_can_be_read_can_be_stored_and_read_again(text):
    try:
        schedule = parse(text)
    except InvalidSchedule:
        schedule = parse("manual")

    assert parse(schedule.text) == schedule


# --- ordinary days -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "after", "slot"),
    [
        ("nightly", "2026-07-01 12:00", "2026-07-02 01:00"),
        ("nightly", "2026-07-01 00:59", "2026-07-01 01:00"),
        ("nightly", "2026-07-01 01:00", "2026-07-02 01:00"),
        ("weekdays", "2026-07-03 12:00", "2026-07-06 01:00"),
        ("weekly", "2026-07-01 12:00", "2026-07-06 01:00"),
        ("monthly", "2026-07-01 12:00", "2026-08-01 01:00"),
        ("hourly", "2026-07-01 12:00", "2026-07-01 13:00"),
        ("*/20 * * * *", "2026-07-01 12:25", "2026-07-01 12:40"),
        ("30 6 * * *", "2026-12-31 06:30", "2027-01-01 06:30"),
        ("0 2 1-7 * mon", "2026-07-01 00:00", "2026-07-06 02:00"),
        ("0 0 29 2 *", "2026-07-01 00:00", "2028-02-29 00:00"),
        ("0 0 31 * *", "2026-08-31 12:00", "2026-10-31 00:00"),
    ],
)
def test_the_next_slot_is_the_first_one_later(text, after, slot):
    assert local(next_slot(parse(text), paris(after), PARIS)) == slot


def test_a_slot_is_given_in_utc():
    slot = next_slot(parse("nightly"), paris("2026-07-01 12:00"), PARIS)

    assert (slot, slot.tzinfo) == (utc("2026-07-01 23:00"), UTC)


def test_the_time_zone_decides():
    at_two = parse("0 2 * * *")
    after = utc("2026-01-10 00:00")

    slots = [
        next_slot(at_two, after, ZoneInfo(name)) for name in ("Asia/Tokyo", "America/Montreal")
    ]

    assert slots == [utc("2026-01-10 17:00"), utc("2026-01-10 07:00")]


def test_a_manual_schedule_is_never_due():
    manual = parse("manual")

    assert next_slot(manual, utc("2026-01-01"), PARIS) is None
    assert list(slots_between(manual, utc("2026-01-01"), utc("2027-01-01"), PARIS)) == []
    assert (looks_per_year(manual), manual.is_manual) == (0.0, True)


@pytest.mark.parametrize("text", ["0 0 30 2 *", "0 0 31 4,6,9,11 *", "0 0 30-31 feb *"])
def test_a_date_that_never_comes_is_never_due_and_found_out_at_once(text):
    began = time.process_time()

    assert next_slot(parse(text), utc("2026-01-01"), PARIS) is None
    assert looks_per_year(parse(text)) == 0.0
    assert time.process_time() - began < 0.5


@pytest.mark.parametrize(
    ("text", "after", "slot"),
    [
        ("0 0 29 2 mon", "2026-01-01", "2044-02-29"),
        ("0 0 29 2 sun", "2096-03-01", "2128-02-29"),
        ("0 0 29 2 fri", "2096-03-01", "2104-02-29"),
        ("0 0 29 2 mon", "2072-03-01", "2112-02-29"),
    ],
)
def test_a_rare_date_is_found_however_far(text, after, slot):
    assert next_slot(parse(text), utc(after), UTC) == utc(slot)


def test_a_moment_without_a_time_zone_is_refused():
    with pytest.raises(ValueError, match="has no time zone"):
        next_slot(parse("nightly"), datetime(2026, 1, 1), PARIS)  # noqa: DTZ001


def test_slots_between_leaves_out_the_first_moment_and_keeps_the_last():
    slots = slots_between(parse("0 2 * * *"), utc("2026-01-01 02:00"), utc("2026-01-04 02:00"), UTC)

    assert list(slots) == [utc(f"2026-01-0{day} 02:00") for day in (2, 3, 4)]


def test_slots_between_two_equal_moments_are_none():
    moment = utc("2026-01-01 02:00")

    assert list(slots_between(parse("0 2 * * *"), moment, moment, UTC)) == []


# --- the clock changes -------------------------------------------------------------------------


def day_of(text, day, key=""):
    """The local times at which a schedule is due on one calendar day of Paris."""
    midnight = datetime.combine(day, datetime.min.time(), PARIS)
    end = datetime.combine(day + timedelta(days=1), datetime.min.time(), PARIS)
    slots = slots_between(
        parse(text),
        midnight - timedelta(seconds=1),
        end - timedelta(seconds=1),
        PARIS,
        jitter_key=key,
    )
    return [slot.astimezone(PARIS).strftime("%H:%M%z") for slot in slots]


def test_a_time_that_does_not_exist_happens_an_hour_later():
    assert day_of("30 2 * * *", SPRING) == ["03:30+0200"]


def test_a_time_moved_onto_another_one_is_not_doubled():
    assert day_of("30 2,3 * * *", SPRING) == ["03:30+0200"]


def test_a_time_that_exists_twice_happens_once_the_first_time():
    assert day_of("30 2 * * *", AUTUMN) == ["02:30+0200"]


def test_hourly_follows_the_hours_there_are():
    assert len(day_of("hourly", SPRING)) == 23
    assert len(day_of("hourly", AUTUMN)) == 25
    assert day_of("hourly", AUTUMN)[1:5] == ["01:00+0200", "02:00+0200", "02:00+0100", "03:00+0100"]
    assert day_of("hourly", SPRING)[1:3] == ["01:00+0100", "03:00+0200"]


@pytest.mark.parametrize("name", ["Europe/Paris", "America/Montreal", "Asia/Kolkata"])
def test_every_hour_schedules_are_evenly_spaced_whatever_the_clock_does(name):
    slots = slots_between(
        parse("*/15 * * * *"), utc("2026-01-01"), utc("2027-01-01"), ZoneInfo(name)
    )

    assert list(slots) == [
        utc("2026-01-01") + timedelta(minutes=15 * n) for n in range(1, 365 * 96 + 1)
    ]


@settings(max_examples=50, deadline=None)
@given(
    st.sampled_from(CHANGES),
    st.integers(-72, 72),
    st.sets(st.integers(0, 23), min_size=1, max_size=5),
    st.sets(st.integers(0, 59), min_size=1, max_size=3),
)
def test_around_a_change_every_named_time_happens_once_on_every_day(change, offset, hours, minutes):
    """Against a slow search: every minute of the days around, asked what the clock shows."""
    listed = [",".join(map(str, sorted(numbers))) for numbers in (minutes, hours)]
    schedule = parse(f"{listed[0]} {listed[1]} * * *")
    start = datetime.combine(change, datetime.min.time(), UTC) + timedelta(hours=offset)
    end = start + timedelta(days=4)

    found = list(slots_between(schedule, start, end, PARIS))

    # A moment is due when the clock shows a named time for the first time, or would have shown
    # it had it not been moved.
    expected = []
    moment = start + timedelta(minutes=1)
    while moment <= end:
        here = moment.astimezone(PARIS)
        moved = here.replace(tzinfo=None) - timedelta(hours=1)
        is_named = here.hour in hours and here.minute in minutes and here.fold == 0
        stands_in = (
            moved.hour in hours
            and moved.minute in minutes
            and moved.replace(tzinfo=PARIS).astimezone(UTC) == moment
        )
        if is_named or stands_in:
            expected.append(moment)
        moment += timedelta(minutes=1)
    assert found == expected


@settings(deadline=None)
@given(st.sampled_from(CHANGES), st.integers(-60, 60), KEYS)
def test_next_slot_walks_through_slots_between(change, offset, key):
    schedule = parse("nightly")
    start = datetime.combine(change, datetime.min.time(), UTC) + timedelta(hours=offset)

    walked, moment = [], start
    for _ in range(5):
        moment = next_slot(schedule, moment, PARIS, jitter_key=key)
        walked.append(moment)
    listed = islice(
        slots_between(schedule, start, start + timedelta(days=9), PARIS, jitter_key=key), 5
    )

    assert walked == list(listed)
    assert walked == sorted(set(walked))


# --- spreading ---------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.sampled_from(CHANGES), st.integers(-3, 3), st.integers(0, 10_000))
def test_every_night_has_one_slot_between_one_and_five(change, offset, key):
    day = change + timedelta(days=offset)

    [slot] = day_of("nightly", day, str(key))

    assert "01:00" <= slot[:5] < "05:00"


def test_a_library_spreads_over_the_night():
    seconds = [jitter_seconds(parse("nightly"), str(key)) for key in range(1_200)]

    per_half_hour = [
        sum(n * 1_800 <= second < (n + 1) * 1_800 for second in seconds) for n in range(8)
    ]
    assert sum(per_half_hour) == 1_200
    assert min(per_half_hour) >= 110
    assert max(per_half_hour) <= 190


def test_a_monitor_keeps_its_place_from_one_release_to_the_next():
    nightly, hourly = parse("nightly"), parse("hourly")

    assert [jitter_seconds(nightly, key) for key in ("1", "2", "3")] == [9313, 4846, 7243]
    assert [jitter_seconds(hourly, key) for key in ("1", "2", "3")] == [2113, 1246, 43]


@pytest.mark.parametrize("text", ["0 1 * * *", "*/5 * * * *", "manual"])
def test_who_names_the_minute_gets_the_minute(text):
    assert jitter_seconds(parse(text), "any") == 0


def test_an_hourly_monitor_has_its_own_minute():
    schedule = parse("hourly")
    slots = list(
        slots_between(schedule, utc("2026-01-01"), utc("2026-01-02"), PARIS, jitter_key="7")
    )

    assert len(slots) == 24
    assert {later - earlier for earlier, later in pairwise(slots)} == {timedelta(hours=1)}
    assert (slots[0] - utc("2026-01-01")).seconds == jitter_seconds(schedule, "7")


# --- counting ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "looks"),
    [
        ("hourly", 8_766.0),
        ("nightly", 365.25),
        ("weekdays", 365.25 * 5 / 7),
        ("weekly", 365.25 / 7),
        ("monthly", 12.0),
        ("0 6,18 * * *", 730.5),
        ("* * * * *", 525_960.0),
        ("0 0 29 2 *", 0.25),
        ("0 0 29 2 mon", 1 / 28),
    ],
)
def test_looks_are_counted_for_an_average_year(text, looks):
    assert looks_per_year(parse(text)) == pytest.approx(looks)
