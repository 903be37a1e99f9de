"""Fixtures of one rig whose timelapse, time, zone and terminal are fixed."""

import io
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

import pytest
from msgspec.structs import replace
from virtual_time import SYNCHRONISED
from zones import EUROPE, host_zone

from plantimager.timelapse.channel.live import LiveStatus, ScanProgress
from plantimager.timelapse.cli.snapshot import RunningDaemon, StatusSnapshot
from plantimager.timelapse.cli.terminal import Screen
from plantimager.timelapse.domain.states import Reason, TimeLapseMode, TimeLapseState
from plantimager.timelapse.domain.timelapse import TimeLapse
from plantimager.timelapse.store.schema import Logbook
from plantimager.timelapse.support.errors import ScanFailed

FIRST = datetime(2026, 6, 22, 6, 0, tzinfo=UTC)
"""08:00 in central Europe."""
HALF_AN_HOUR = timedelta(minutes=30)


@pytest.fixture(autouse=True)
def central_europe(monkeypatch):
    """Put the host into central Europe, without variables about terminals."""
    for name in ("NO_COLOR", "COLUMNS", "TERM"):
        monkeypatch.delenv(name, raising=False)
    with host_zone(EUROPE, monkeypatch):
        yield


@pytest.fixture
def screen():
    """Return a function that makes a screen; by default it is no terminal."""
    return make_screen


def make_screen(**about):
    """Return a screen of a stream in memory."""
    return Screen(io.TextIOWrapper(io.BytesIO(), encoding="utf-8"), **about)


@cache
def schedule(n_slots, years):
    """Return so many instants, so many years later."""
    first = FIRST + timedelta(days=366 * years)
    return tuple(first + timedelta(minutes=index) for index in range(n_slots))


@pytest.fixture(scope="session")
def screen_of():
    """Return `screen`'s function, for properties, which share their fixtures."""
    return make_screen


@pytest.fixture(scope="session")
def half_way_at():
    """Return a function that makes a timelapse with one slot behind it, failed with that error."""

    def make(name, error, n_slots, years):
        times = schedule(n_slots, years)
        timelapse = TimeLapse(
            id=name, mode=TimeLapseMode.INTERVAL, state=TimeLapseState.SCHEDULED, schedule_times=times
        )
        return timelapse.begin(times[0], "boot").fail_attempt(times[0], ScanFailed(error), give_up=True)

    return make


@pytest.fixture(scope="session")
def snapshot_of():
    """Return a function that makes a snapshot of a timelapse at noon of its first day."""

    def make(timelapse, **more):
        now = FIRST + timedelta(hours=4)
        return StatusSnapshot(
            at=now, store=Path("/s"), timelapse=timelapse, saved_at=now, evidence=SYNCHRONISED, **more
        )

    return make


@pytest.fixture
def half_way():
    """Return a timelapse with 17 of 48 slots done: one late, one failed, one skipped."""
    timelapse = TimeLapse(
        id="col0_ld",
        mode=TimeLapseMode.INTERVAL,
        state=TimeLapseState.SCHEDULED,
        schedule_times=tuple(FIRST + HALF_AN_HOUR * index for index in range(48)),
        scan_retries=1,
    )
    for slot, due in enumerate(timelapse.schedule_times[:17]):
        if slot == 14:  # off from 14:41 to 15:21
            timelapse = timelapse.skip_late_slots(due + timedelta(minutes=21), Reason.MISSED, "while the rig was off")
            continue
        late = timedelta(seconds=100) if slot == 15 else timedelta(0)
        timelapse = timelapse.begin(due + late, "boot")
        if slot == 13:
            problem = ScanFailed("GRBL alarm 1: limit switch hit")
            timelapse = timelapse.fail_attempt(due + timedelta(seconds=62), problem, give_up=True)
            continue
        if slot == 15:
            timelapse = timelapse.fail_attempt(due + late, ScanFailed("camera time-out"))
        timelapse = timelapse.succeed(due + late + timedelta(seconds=388), 72)
    return timelapse


@pytest.fixture
def snapshot(half_way):
    """Return a snapshot at 16:18, with a running daemon."""
    now = FIRST + timedelta(hours=8, minutes=18)
    off = (FIRST + timedelta(hours=6, minutes=41), FIRST + timedelta(hours=7, minutes=21))
    return StatusSnapshot(
        at=now,
        store=Path("/var/lib/plant-imager3-app/timelapse_storage.json"),
        timelapse=half_way,
        logbook=Logbook(saved_at=now - timedelta(seconds=3), boots=3, outages=(off,)),
        saved_at=now - timedelta(seconds=3),
        daemon=RunningDaemon(
            pid=1234, up_since=now - timedelta(minutes=70), says=LiveStatus(rig="standby", driver="command")
        ),
        evidence=SYNCHRONISED,
    )


@pytest.fixture
def scanning(snapshot):
    """Return a snapshot of the same rig at 16:32, in the middle of slot 17."""
    now = FIRST + timedelta(hours=8, minutes=32)
    timelapse = snapshot.timelapse.begin(FIRST + HALF_AN_HOUR * 17, "boot")
    daemon = replace(snapshot.daemon, says=LiveStatus(rig="scanning", driver="command", progress=ScanProgress(17, 36)))
    return replace(snapshot, at=now, timelapse=timelapse, daemon=daemon)
