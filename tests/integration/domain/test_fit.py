"""What is said beforehand of a schedule that leaves its scans too little time, beside what a simulated daemon does."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from simulation import MINUTE, SECOND, Behaviour, World

from plantimager.timelapse.domain.fit import describe_misfit
from plantimager.timelapse.drivers.base import Call
from plantimager.timelapse.settings.config import Config, Missed

FIRST = datetime(2026, 6, 22, 6, tzinfo=UTC)


@pytest.mark.parametrize("missed", Missed)
@pytest.mark.parametrize("grace", [1, 30, 120, 400])
@pytest.mark.parametrize("scan_time", [59, 90, 125, 200, 301])
def test_daemon_misses_as_many_slots_as_was_said(tmp_path, scan_time, grace, missed):
    """The forecast is the daemon's own behaviour."""
    n = 20
    slots, lasts, may_wait = tuple(FIRST + MINUTE * slot for slot in range(n)), scan_time * SECOND, grace * SECOND
    world = World(tmp_path / "rig", Config(missed=missed))
    world.behaviour, world.slow = lambda _: Behaviour(takes=lasts), {Call.PREPARE: timedelta(0)}
    world.define(every=MINUTE, n=n, grace=may_wait, warmup=timedelta(0))
    world.live()
    run_latest = missed is Missed.RUN_LATEST
    said, taken = describe_misfit(slots, may_wait, lasts, run_latest=run_latest), world.taken()
    if said is None or said.startswith("slots will be"):
        assert len(taken) == n
    elif said == "every second slot will be missed":
        assert taken == list(range(0, n, 2))
    elif said.startswith("only every"):
        step = int("".join(filter(str.isdigit, said)))
        assert taken == list(range(0, n, step))
    else:
        assert said == f"{n - len(taken)} of {n} slots will be missed"
