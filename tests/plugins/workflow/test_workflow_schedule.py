"""The instants of a schedule, and what is decided about each of them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from kastra_core.api.meta import rfc3339
from kastra_core.serde import structure
from kastra_plugin_workflow.schedule import (
    MOST_MISSED,
    ON_TIME_S,
    Note,
    Schedule,
    ScheduleError,
    ScheduleState,
    decide,
    run_name,
)
from kastra_plugin_workflow.spec import ScheduleSpec
from kastra_plugin_workflow.values import instant_of

HOUR_S, DAY_S = 3600.0, 86400.0


def at(text: str, zone: str = "UTC", fold: int = 0) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold).timestamp()


def instants(cron: str, zone: str, since: float, until: float) -> list[float]:
    found, more = Schedule(cron, zone).newest(since, until, 10_000)
    assert not more
    return found


# ------------------------------------------------------------------------------------------ instants


@pytest.mark.parametrize(
    ("cron", "zone", "since", "expected"),
    [
        ("0 3 * * *", "UTC", "2026-01-05T03:00", "2026-01-06T03:00"),
        ("0 3 * * *", "Europe/Berlin", "2026-01-05T00:00", "2026-01-05T02:00"),
        ("0 3 * * *", "Europe/Berlin", "2026-07-05T00:00", "2026-07-05T01:00"),
        ("*/15 8-18 * * MON-FRI", "UTC", "2026-01-09T18:45", "2026-01-12T08:00"),
        ("0 0 29 2 *", "UTC", "2026-01-01T00:00", "2028-02-29T00:00"),
        ("0 12 L * *", "UTC", "2026-02-01T00:00", "2026-02-28T12:00"),
        ("5 4 * * SUN#2", "UTC", "2026-01-01T00:00", "2026-01-11T04:05"),
    ],
)
def test_the_next_instant_follows_the_cron_line(cron: str, zone: str, since: str, expected: str) -> None:
    found = Schedule(cron, zone).next_after(at(since))
    assert found is not None
    assert rfc3339(found) == rfc3339(at(expected))


def test_a_line_that_never_comes_has_no_next() -> None:
    never = Schedule("0 0 LW * */7")  # the last weekday of the month, if it is a Sunday
    assert never.next_after(NOON) is None
    assert never.newest(NOON - 400 * DAY_S, NOON, 5) == ([], False)


@pytest.mark.parametrize(
    ("cron", "zone", "said"),
    [
        ("0 3 * *", "UTC", r"spec.schedule.cron: expected five fields .*, found 4 in '0 3 \* \*'"),
        ("0 0 3 * * *", "UTC", "expected five fields .*, found 6"),
        ("", "UTC", "expected five fields .*, it is empty"),
        ("61 * * * *", "UTC", "spec.schedule.cron: .* the field minute is wrong; write for example"),
        ("0 25 * * *", "UTC", "the field hour is wrong"),
        ("0 0 30 2 *", "UTC", "the field day-of-month is wrong"),
        ("0 3 * * FUNDAY", "UTC", "the field day-of-week is wrong"),
        ("0 3 * * *", "Mars/Olympus", "spec.schedule.timeZone: there is no time zone 'Mars/Olympus'; write an IANA"),
        ("0 3 * * *", "../../etc/passwd", "spec.schedule.timeZone: there is no time zone"),
        ("0 3 * * *", "", "spec.schedule.timeZone: there is no time zone"),
    ],
)
def test_a_wrong_line_is_told_what_is_wrong_with_it(cron: str, zone: str, said: str) -> None:
    with pytest.raises(ScheduleError, match=said):
        Schedule(cron, zone)


BERLIN = "Europe/Berlin"
"""2026: 29 March 02:00 is 03:00; 25 October 03:00 is 02:00."""


@pytest.mark.parametrize(
    ("cron", "expected"),
    [
        # A time of day that does not exist comes when the gap is over; the same instant comes once.
        ("30 2 * * *", ["2026-03-28T01:30:00Z", "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"]),
        ("0,30 2 * * *", ["2026-03-28T01:00:00Z", "2026-03-28T01:30:00Z", "2026-03-29T01:00:00Z"]),
        ("0 2,3 * * *", ["2026-03-28T01:00:00Z", "2026-03-28T02:00:00Z", "2026-03-29T01:00:00Z"]),
        # Lines that begin with a star go by the clock: there is no such hour that day.
        ("*/30 2 * * *", ["2026-03-28T01:00:00Z", "2026-03-28T01:30:00Z", "2026-03-30T00:00:00Z"]),
    ],
)
def test_a_local_time_that_the_clock_jumps_over(cron: str, expected: list[str]) -> None:
    found = instants(cron, BERLIN, at("2026-03-28T00:00"), at("2026-03-31T00:00"))
    assert [rfc3339(instant) for instant in found[:3]] == expected


def test_hours_go_on_through_the_jump() -> None:
    found = instants("0 * * * *", BERLIN, at("2026-03-28T22:30"), at("2026-03-29T03:30"))
    assert found == [at("2026-03-28T23:00") + HOUR_S * n for n in range(5)]


@pytest.mark.parametrize(
    ("cron", "expected"),
    [
        # A time of day that comes twice counts the first time, at 00:30 UTC, not again at 01:30.
        ("30 2 * * *", ["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]),
        (
            "*/30 2 * * *",
            ["2026-10-25T00:00:00Z", "2026-10-25T00:30:00Z", "2026-10-25T01:00:00Z", "2026-10-25T01:30:00Z"],
        ),
    ],
)
def test_a_local_time_that_comes_twice(cron: str, expected: list[str]) -> None:
    found = instants(cron, BERLIN, at("2026-10-24T12:00"), at("2026-10-26T12:00"))
    assert [rfc3339(instant) for instant in found[: len(expected)]] == expected


def test_begun_in_the_second_of_two_equal_hours_the_first_is_not_given_again() -> None:
    second = at("2026-10-25T02:10", BERLIN, fold=1)
    assert Schedule("30 2 * * *", BERLIN).next_after(second) == at("2026-10-26T02:30", BERLIN)


LORD_HOWE = "Australia/Lord_Howe"
ZONES = ["UTC", BERLIN, "America/New_York", LORD_HOWE, "America/Havana", "Asia/Kolkata", "Africa/Cairo"]


def expected_by_the_minute(minute: int, hour: int | None, zone: str, since: float, until: float) -> list[float]:
    """What Debian's cron does, minute by minute of the time that passes."""
    tz = ZoneInfo(zone)
    out, done = [], set[datetime]()
    instant = since - since % 60 - 3 * HOUR_S
    before: datetime | None = None
    while instant <= until:
        local = datetime.fromtimestamp(instant, tz).replace(tzinfo=None)
        steps = [local]
        if hour is not None and before is not None and local > before + timedelta(minutes=1):
            # The clock jumped: what it jumped over comes now.
            steps = [before + timedelta(minutes=n + 1) for n in range(int((local - before).total_seconds() // 60))]
        hit = False
        for step in steps:
            if step.minute == minute and (hour is None or step.hour == hour) and (hour is None or step not in done):
                done.add(step)
                hit = True
        if hit and since < instant <= until:
            out.append(instant)
        before = local
        instant += 60
    return out


@settings(max_examples=150)
@given(
    minute=st.integers(0, 59),
    hour=st.one_of(st.none(), st.integers(0, 4)),
    zone=st.sampled_from(ZONES),
    day=st.sampled_from(
        ["2026-03-07", "2026-03-28", "2026-04-04", "2026-04-23", "2026-10-03", "2026-10-24", "2026-10-30"]
    ),
    offset_min=st.integers(0, 1440),
)
def test_instants_are_those_of_a_clock_watched_minute_by_minute(
    minute: int, hour: int | None, zone: str, day: str, offset_min: int
) -> None:
    assume(hour is not None or zone != LORD_HOWE)  # see the test below
    since = at(day) + offset_min * 60
    until = since + 2 * DAY_S
    cron = f"{minute} {'*' if hour is None else hour} * * *"
    assert instants(cron, zone, since, until) == expected_by_the_minute(minute, hour, zone, since, until)


def test_an_hourly_line_counts_a_half_hour_that_comes_twice_once() -> None:
    # The one zone that is set back by half an hour: 5 April 2026, 02:00 (+11) is 01:30 (+10:30).
    found = instants("30 * * * *", LORD_HOWE, at("2026-04-04T13:00"), at("2026-04-04T17:30"))
    assert [rfc3339(instant)[11:16] for instant in found] == ["13:30", "14:30", "16:00", "17:00"]


@given(
    cron=st.builds(
        " ".join,
        st.tuples(
            st.sampled_from(["*", "0", "*/7", "5,35", "10-20"]),
            st.sampled_from(["*", "0", "2", "*/5", "1-3"]),
            st.sampled_from(["*", "1", "25-31"]),
            st.sampled_from(["*", "3", "10"]),
            st.sampled_from(["*", "SUN", "1-5"]),
        ),
    ),
    zone=st.sampled_from(ZONES),
    since=st.integers(1_700_000_000, 1_900_000_000),
    most=st.integers(1, 5),
)
def test_the_newest_instants_are_the_last_that_next_would_give(cron: str, zone: str, since: int, most: int) -> None:
    schedule = Schedule(cron, zone)
    until = since + 3 * DAY_S
    one_by_one: list[float] = []
    instant = schedule.next_after(since)
    while instant is not None and instant <= until:
        one_by_one.append(instant)
        instant = schedule.next_after(instant)
    assert all(since < instant <= until for instant in one_by_one)
    assert schedule.newest(since, until, most) == (one_by_one[-most:], len(one_by_one) > most)


def test_years_of_minutes_cost_no_more_than_the_last_hundred() -> None:
    found, more = Schedule("* * * * *").newest(0, 1_800_000_000, 100)
    assert (len(found), found[-1], more) == (100, 1_800_000_000, True)


def test_the_name_of_a_run_follows_from_workflow_and_instant() -> None:
    assert run_name("nightly", at("2026-01-05T03:00")) == "nightly-20260105-0300"
    long = "w" * 250
    assert len(run_name(long, 0)) <= 253
    assert run_name(long, 0) != run_name(long[:-1] + "x", 0)


@pytest.mark.parametrize("value", [None, 3, "soon", "2026-01-05T03:00:00", ["x"]])
def test_what_is_no_instant_is_none(value: Any) -> None:
    assert instant_of(value) is None
    assert instant_of("2026-01-05T03:00:00Z") == at("2026-01-05T03:00")


# ------------------------------------------------------------------------------------------ decisions

NOON = at("2026-01-05T12:00")


def spec_of(**changes: Any) -> ScheduleSpec:
    return structure({"cron": "0 * * * *", **changes}, ScheduleSpec)


def decided(
    spec: ScheduleSpec, since: float, now: float, *, pending: Sequence[float] = (), active: Sequence[str] = ()
) -> tuple[list[float], float, list[Note]]:
    state = ScheduleState(
        cron=spec.cron, time_zone=spec.time_zone, suspended=spec.suspend, until_s=since, pending=tuple(pending)
    )
    after, notes = decide(state, spec, Schedule.of(spec), now, active)
    return list(after.pending), after.until_s, notes


def hours(*numbers: int) -> list[float]:
    return [NOON + HOUR_S * number for number in numbers]


def test_an_instant_that_comes_is_started_and_decided_once() -> None:
    assert decided(spec_of(), NOON - 1, NOON + 2) == ([NOON], NOON, [])
    assert decided(spec_of(), NOON, NOON + 2) == ([], NOON, [])


def test_latest_makes_up_for_the_last_missed_one_and_tells_of_the_others() -> None:
    pending, until, [note] = decided(spec_of(), NOON, NOON + 3.5 * HOUR_S)
    assert (pending, until) == (hours(3), hours(3)[0])
    assert (note.type, note.reason) == ("Warning", "MissedSchedule")
    assert note.message == (
        "2 instants (the 2 runs of 2026-01-05T13:00:00Z to 2026-01-05T14:00:00Z) passed while no process kept the "
        "schedule; the run of 2026-01-05T15:00:00Z will be started (missedRunPolicy Latest)"
    )


def test_all_makes_up_for_each() -> None:
    pending, until, notes = decided(spec_of(missedRunPolicy="All"), NOON, NOON + 3.5 * HOUR_S)
    assert (pending, until, notes) == (hours(1, 2, 3), hours(3)[0], [])


def test_all_makes_up_for_a_hundred_at_most_and_tells_of_it() -> None:
    pending, until, notes = decided(spec_of(missedRunPolicy="All"), NOON, NOON + 1000.5 * HOUR_S)
    assert pending == hours(*range(1000 - MOST_MISSED + 1, 1001))
    assert until == hours(1000)[0]
    assert "more than 100 instants passed" in notes[0].message


def test_skip_makes_up_for_none_but_starts_what_is_on_time() -> None:
    pending, until, [note] = decided(spec_of(missedRunPolicy="Skip"), NOON, NOON + 3.5 * HOUR_S)
    assert (pending, until) == ([], hours(3)[0])
    assert "none is made up for (missedRunPolicy Skip)" in note.message
    pending, _, [note] = decided(spec_of(missedRunPolicy="Skip"), NOON, NOON + 3 * HOUR_S + ON_TIME_S)
    assert pending == hours(3)
    assert note.message.startswith("2 instants")
    assert "none is made up for (missedRunPolicy Skip); the run of" in note.message
    assert note.message.endswith(f"{rfc3339(hours(3)[0])} is on time")


def test_what_is_later_than_the_deadline_is_missed_for_good() -> None:
    spec = spec_of(missedRunPolicy="All", startingDeadline="90m")
    pending, until, [note] = decided(spec, NOON, NOON + 3.5 * HOUR_S)
    assert (pending, until) == (hours(2, 3), hours(3)[0])
    assert note.message == "the run of 2026-01-05T13:00:00Z missed the startingDeadline of 1h30m"


def test_what_could_not_be_started_until_the_deadline_is_missed_for_good() -> None:
    spec = spec_of(startingDeadline="10m")
    assert decided(spec, NOON, NOON + 599, pending=[NOON]) == ([NOON], NOON, [])
    pending, _, [note] = decided(spec, NOON, NOON + 601, pending=[NOON])
    assert pending == []
    assert note.message == "the run of 2026-01-05T12:00:00Z missed the startingDeadline of 10m"


def test_what_could_not_be_started_gives_way_to_the_next() -> None:
    pending, _, [note] = decided(spec_of(), NOON, NOON + HOUR_S, pending=[NOON])
    assert pending == hours(1)
    assert note.message == "the run of 2026-01-05T12:00:00Z could not be started until 2026-01-05T13:00:00Z came"


def test_with_all_what_could_not_be_started_waits_on() -> None:
    spec = spec_of(missedRunPolicy="All")
    assert decided(spec, NOON, NOON + HOUR_S, pending=[NOON]) == (hours(0, 1), hours(1)[0], [])


def test_forbid_skips_an_instant_while_a_run_is_not_over() -> None:
    spec = spec_of(concurrencyPolicy="Forbid")
    pending, until, [note] = decided(spec, NOON, NOON + HOUR_S, active=["w-20260105-1200"])
    assert (pending, until) == ([], hours(1)[0])
    assert (note.type, note.reason) == ("Normal", "SkippedSchedule")
    assert note.message == (
        "the run of 2026-01-05T13:00:00Z is skipped: run/w-20260105-1200 is not over (concurrencyPolicy Forbid)"
    )
    assert decided(spec, NOON, NOON + HOUR_S) == (hours(1), hours(1)[0], [])


def test_forbid_with_all_makes_up_for_missed_ones_one_after_the_other() -> None:
    spec = spec_of(concurrencyPolicy="Forbid", missedRunPolicy="All")
    assert decided(spec, NOON, NOON + 2.5 * HOUR_S, active=["x"])[0] == hours(1, 2)
    pending, until, [note] = decided(spec, NOON + 2 * HOUR_S, NOON + 3 * HOUR_S, pending=hours(2))
    assert (pending, until) == (hours(2), hours(3)[0])
    assert "the run of 2026-01-05T15:00:00Z is skipped: the run of 2026-01-05T14:00:00Z comes first" in note.message


def test_replace_starts_only_the_last_of_several() -> None:
    spec = spec_of(concurrencyPolicy="Replace", missedRunPolicy="All")
    pending, _, [note] = decided(spec, NOON, NOON + 3 * HOUR_S, active=["x"])
    assert pending == hours(3)
    assert note.reason == "Replaced"


def test_a_suspended_schedule_decides_nothing() -> None:
    assert decided(spec_of(suspend=True), NOON, NOON + 3 * HOUR_S) == ([], NOON, [])


def state_of(spec: ScheduleSpec, status: dict[str, Any], now: float) -> tuple[ScheduleState, list[Note]]:
    return ScheduleState.of(spec, status, created_s=NOON, now_s=now)


def test_a_state_is_read_as_it_is_written() -> None:
    spec = spec_of()
    state, notes = state_of(spec, {}, NOON + 5)
    assert (state.until_s, notes) == (NOON, [])  # nobody looked at it since it was made
    kept, _ = decide(state, spec, Schedule.of(spec), NOON + HOUR_S, ())
    assert kept.pending == (NOON + HOUR_S,)
    again, notes = state_of(spec, {"observedGeneration": 1, "schedule": kept.to_status()}, NOON + HOUR_S)
    assert (again, notes) == (kept, [])


def test_a_schedule_that_is_new_in_a_known_workflow_counts_from_now() -> None:
    state, _ = state_of(spec_of(), {"observedGeneration": 3}, NOON + 5 * HOUR_S)
    assert state.until_s == NOON + 5 * HOUR_S


@pytest.mark.parametrize("change", [{"cron": "*/5 * * * *"}, {"timeZone": BERLIN}])
def test_another_line_does_not_make_up_for_what_its_instants_would_have_been(change: dict[str, str]) -> None:
    before, _ = state_of(spec_of(), {}, NOON)
    state, _ = state_of(spec_of(**change), {"schedule": before.to_status()}, NOON + 5 * HOUR_S)
    assert state.until_s == NOON + 5 * HOUR_S


def test_the_time_of_a_suspension_is_not_made_up_for() -> None:
    suspended, _ = state_of(spec_of(suspend=True), {}, NOON)
    assert suspended.suspended
    state, _ = state_of(spec_of(), {"schedule": suspended.to_status()}, NOON + 5 * HOUR_S)
    assert (state.until_s, state.suspended) == (NOON + 5 * HOUR_S, False)


def test_a_suspension_takes_back_what_was_not_started_yet() -> None:
    kept = {"cron": "0 * * * *", "timeZone": "UTC", "decidedUntil": rfc3339(NOON), "pending": [rfc3339(NOON)]}
    state, [note] = state_of(spec_of(suspend=True), {"schedule": kept}, NOON + 1)
    assert (state.pending, note.reason) == ((), "Suspended")


def test_a_clock_set_back_starts_no_instant_twice() -> None:
    spec = spec_of()
    kept = {"cron": "0 * * * *", "timeZone": "UTC", "decidedUntil": rfc3339(NOON)}
    for back_s in (1, 600, 5 * HOUR_S):
        state, notes = state_of(spec, {"schedule": kept}, NOON - back_s)
        assert decide(state, spec, Schedule.of(spec), NOON, ()) == (state, [])
        assert [note.reason for note in notes] == (["ClockSetBack"] if back_s > 120 else [])
    assert decide(state, spec, Schedule.of(spec), NOON + HOUR_S, ())[0].pending == (NOON + HOUR_S,)


def test_a_clock_set_back_is_told_once_with_the_time_from_which_runs_are_started_again() -> None:
    spec = spec_of()
    kept = {"cron": "0 * * * *", "timeZone": "UTC", "decidedUntil": rfc3339(NOON)}
    state, [note] = state_of(spec, {"schedule": kept}, NOON - HOUR_S)
    assert (note.type, note.reason) == ("Warning", "ClockSetBack")
    assert f"no further run is started until {rfc3339(NOON)} is over again" in note.message
    state, notes = state_of(spec, {"schedule": state.to_status()}, NOON - HOUR_S / 2)
    assert notes == []
    state, notes = state_of(spec, {"schedule": state.to_status()}, NOON + 1)
    assert (notes, "setBack" in state.to_status()) == ([], False)
    assert [note.reason for note in state_of(spec, {"schedule": state.to_status()}, NOON - HOUR_S)[1]] == [
        "ClockSetBack"
    ]


def test_a_clock_that_was_years_ahead_does_not_stop_the_schedule_for_years() -> None:
    kept = {"cron": "0 * * * *", "timeZone": "UTC", "decidedUntil": "2040-01-01T00:00:00Z"}
    state, [note] = state_of(spec_of(), {"schedule": kept}, NOON)
    assert (state.until_s, note.reason) == (NOON, "ClockSetBack")
    assert "2040-01-01T00:00:00Z" in note.message


@given(
    gaps=st.lists(st.floats(0, 10 * HOUR_S), min_size=1, max_size=20),
    missed=st.sampled_from(["Latest", "All", "Skip"]),
    concurrency=st.sampled_from(["Allow", "Forbid", "Replace"]),
    busy=st.booleans(),
)
def test_no_instant_is_decided_twice_however_the_time_is_looked_at(
    gaps: list[float], missed: str, concurrency: str, busy: bool
) -> None:
    spec = spec_of(cron="*/20 * * * *", missedRunPolicy=missed, concurrencyPolicy=concurrency)
    state, _ = state_of(spec, {}, NOON)
    started: list[float] = []
    now = NOON
    for gap in gaps:
        now += gap
        state, _ = decide(state, spec, Schedule.of(spec), now, ["x"] if busy else ())
        started += state.pending
        state = ScheduleState.of(
            spec,
            {
                "schedule": ScheduleState(
                    cron=state.cron, time_zone=state.time_zone, suspended=False, until_s=state.until_s
                ).to_status()
            },
            created_s=0,
            now_s=now,
        )[0]
    assert started == sorted(set(started))
    assert all(NOON < instant <= now for instant in started)
    assert datetime.fromtimestamp(state.until_s, UTC).second == 0
    if missed == "All" and concurrency == "Allow":
        assert len(started) == int(now // 1200 - NOON // 1200)
