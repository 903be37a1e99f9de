"""Words for people."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from msgspec.structs import replace
from zones import EUROPE, host_zone

from plantimager.timelapse.domain.states import Reason, TimeLapseMode, TimeLapseState
from plantimager.timelapse.domain.timelapse import TimeLapse
from plantimager.timelapse.domain.wording import (
    STATUS_LENGTH,
    describe_next_slot,
    describe_slot,
    describe_slots,
    describe_timelapse,
    format_local_time,
    format_status_line,
    ordinal,
)
from plantimager.timelapse.support.errors import ScanFailed

AT = datetime(2026, 6, 22, 6, tzinfo=UTC)
HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)


@pytest.fixture(autouse=True)
def central_europe(monkeypatch):
    """Have the host where 06:00 UTC is 08:00 in June."""
    with host_zone(EUROPE, monkeypatch):
        yield


def timelapse(n_slots=48, name="col0_ld", **changes):
    times = tuple(AT + HOUR * slot for slot in range(n_slots))
    values = {"id": name, "mode": TimeLapseMode.INTERVAL, "state": TimeLapseState.SCHEDULED, "schedule_times": times}
    return TimeLapse(**{**values, **changes})


def status(timelapse, now=AT - 12 * MINUTE, **options):
    return format_status_line(timelapse, now, **{"progress": None, "fresh": True, **options})


@pytest.mark.parametrize(
    ("at", "words"),
    [
        (AT, "08:00"),
        (AT + timedelta(seconds=30), "08:00:30"),
        (AT + 16 * HOUR, "23 Jun 00:00"),
        (AT - 9 * HOUR, "21 Jun 23:00"),
        (datetime(2027, 1, 5, 8, tzinfo=UTC), "5 Jan 2027 09:00"),
    ],
)
def test_times_are_those_of_the_wall(at, words):
    """The day only where it is another, the year only where it is another."""
    assert format_local_time(at, AT) == words


def test_slots_are_named_as_on_record():
    """Numbered from 0, as scan ids and the store have them."""
    value = timelapse()
    assert describe_slot(value, 5) == "slot 5 of 48"
    assert describe_slots(value, [5], AT) == "slot 5 (13:00)"
    assert describe_slots(value, [5, 6, 7], AT) == "3 slots from 13:00 to 15:00"
    assert describe_timelapse(value) == "col0_ld, 48 slots, 0 done"
    assert describe_timelapse(timelapse(1)) == "col0_ld, 1 slot, 0 done"


def test_next_slot():
    """It is ahead, late, or there is none."""
    assert describe_next_slot(timelapse(), AT - 17 * MINUTE) == "next slot 0 at 08:00 (in 17 min)"
    assert describe_next_slot(timelapse(), AT + MINUTE) == "next slot 0 at 08:00 (now, 1 min late)"
    assert describe_next_slot(timelapse().cancel(AT, "ada", "why"), AT) == "no slot is left"


@pytest.mark.parametrize(
    ("number", "word"), [(1, "1st"), (2, "2nd"), (3, "3rd"), (4, "4th"), (11, "11th"), (12, "12th"), (13, "13th"),
                         (21, "21st"), (22, "22nd"), (103, "103rd"), (111, "111th")],
)  # fmt: skip
def test_ordinals(number, word):
    """They end as English has them: 1st, 2nd, 11th."""
    assert ordinal(number) == word


def test_status_says_what_the_timelapse_is_at():
    """Each state has a line of its own."""
    done = timelapse().begin(AT, "b").succeed(AT)
    failed = done.begin(AT + HOUR, "b").fail_attempt(AT + HOUR, ScanFailed("x"))
    running = failed.begin(AT + 2 * HOUR, "b")
    now = AT + 2 * HOUR - 12 * MINUTE
    assert status(None) == "no timelapse; define one with timelapsectl start FILE"
    assert status(timelapse()) == "col0_ld: waiting for slot 0 of 48 at 08:00 (in 12 min); 0 taken"
    assert status(failed, now) == "col0_ld: waiting for slot 2 of 48 at 10:00 (in 12 min); 1 taken, 1 failed"
    assert status(running, now) == "col0_ld: scanning slot 2 of 48"
    assert status(running, now, progress=(17, 36)) == "col0_ld: scanning slot 2 of 48, picture 17 of 36"
    assert status(running.cancel(AT, "a", "b"), now) == (
        "col0_ld: cancelled; 1 taken, 1 failed, 45 skipped, 1 interrupted of 48 slots"
    )
    draft = replace(timelapse(), state=TimeLapseState.CONFIGURED)
    assert status(draft) == "col0_ld: configured, but not armed; left alone"


def test_status_that_is_not_refreshed_says_nothing_that_time_makes_false():
    """It must be true whenever it is read."""
    line = status(timelapse(), fresh=False)
    assert line == "col0_ld: waiting for slot 0 of 48 at 08:00; 0 taken"
    assert "(in" not in status(timelapse(), AT + MINUTE)


@pytest.mark.parametrize("name", ["x", "x" * 40, "x" * 64, "x" * 200])
@pytest.mark.parametrize(
    "value", [timelapse(), timelapse().begin(AT, "b"), timelapse().skip_late_slots(AT + 99 * HOUR, Reason.MISSED, "")]
)
def test_status_fits_a_terminal(name, value):
    """Counts give way first, then the name."""
    line = status(replace(value, id=name), AT - 200 * HOUR, progress=(1, 2))
    assert len(line) <= STATUS_LENGTH
    assert line.startswith("x")
    assert any(word in line for word in ("waiting for slot 0", "scanning slot 0", "completed"))
