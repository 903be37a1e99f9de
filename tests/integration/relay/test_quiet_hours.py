"""Quiet hours end by the local clock, whatever a change of the clocks leaves out or has twice, in every zone."""

from datetime import UTC, datetime, time, timedelta

import pytest
from zones import CHANGING, host_zone

from plantimager.timelapse.relay.notify.notify_sink import _quiet_until

DAY, HOUR, MINUTE = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1)
NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)


def offset_at(instant):
    """Return by how much the local clock is ahead of UTC."""
    return instant.astimezone().utcoffset()


def changes():
    """Return the instants of a year at which the local clock changes."""
    found = []
    for day in range(365):
        before, after = NEW_YEAR + day * DAY, NEW_YEAR + (day + 1) * DAY
        if offset_at(before) != offset_at(after):
            old = offset_at(before)
            while after - before > MINUTE:
                middle = before + (after - before) // 2
                middle = middle.replace(second=0, microsecond=0)
                before, after = (middle, after) if offset_at(middle) == old else (before, middle)
            found.append(after)
    return found


def is_quiet(quiet, instant):
    """Whether a person at the local clock reads a time in the quiet hours."""
    begin, end = quiet
    shown = (instant + offset_at(instant)).time()
    return begin <= shown < end if begin < end else not end <= shown < begin


def end_by_arithmetic(quiet, now, change):
    """Return the earliest of what may end them: their end by the offset before and after a change, and the change."""
    ends = [change]
    for offset in {offset_at(change - HOUR), offset_at(change + HOUR)}:
        midnight = datetime.combine((now + offset).date(), time(), UTC) - offset
        ends += [midnight + day * DAY + timedelta(hours=quiet[1].hour, minutes=quiet[1].minute) for day in range(-1, 4)]
    return min(end for end in ends if end > now and not is_quiet(quiet, end))


@pytest.mark.parametrize("rule", CHANGING)
def test_quiet_hours_end_at_the_first_instant_at_which_the_local_clock_says_so(rule, monkeypatch):
    """Where they end or begin in the hour that is left out, that is the change itself; nothing comes an hour late."""
    with host_zone(rule, monkeypatch):
        found = changes()
        assert len(found) == 2
        for change in found:
            around = [(change + offset_at(change + step)) for step in (-MINUTE, timedelta(0))]
            middle = min(around) + abs(around[0] - around[1]) // 2
            edges = {(at + 15 * MINUTE * step).time() for at in (*around, middle) for step in (-1, 0, 1)}
            for edge in edges:
                for other in {time(22), (datetime.combine(NEW_YEAR, edge) - MINUTE).time()} - {edge}:
                    for quiet in ((edge, other), (other, edge)):
                        for since in (-3 * HOUR, -7 * MINUTE, timedelta(0), 7 * MINUTE):
                            now = change + since + timedelta(seconds=30)
                            expected = end_by_arithmetic(quiet, now, change) if is_quiet(quiet, now) else None
                            assert _quiet_until(quiet, now) == expected, (quiet, now)
