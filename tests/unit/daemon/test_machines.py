"""Machines as they are: what their clocks show after a power cut, and that no slot is lost or taken twice by it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from simulation import DAY, HOUR, MINUTE, SECOND, START, Boot, Life
from virtual_time import SYNCHRONISED

from plantimager.timelapse.support.clock_evidence import ClockEvidence, rtc_of_boot

if TYPE_CHECKING:
    from datetime import timedelta
    from pathlib import Path

OUTAGE = 90 * MINUTE
"""A power cut a minute before the first slot, in which two of three are missed."""
BOOTED_AT = START + 59 * MINUTE + OUTAGE


def machine(
    sysfs: Path, *, wrong_by: timedelta, rtc_says: datetime | None, ntp_after: timedelta | None, lies: bool = False
) -> Boot:
    """Return how a machine starts: its evidence is read from a tree like that of its kernel."""
    if rtc_says is not None:
        (sysfs / "rtc0").mkdir()
        (sysfs / "rtc0" / "hctosys").write_text("1\n")
        (sysfs / "rtc0" / "since_epoch").write_text(f"{rtc_says.timestamp():.0f}\n")
    set_from_rtc, words = rtc_of_boot(BOOTED_AT + wrong_by, sysfs)
    evidence = SYNCHRONISED if lies else ClockEvidence(False, set_from_rtc, f"kernel: unsynchronised; {words}")
    return Boot(wrong_by=wrong_by, evidence=evidence, ntp_after=ntp_after)


DEAD = datetime(2019, 1, 1, tzinfo=UTC)

MACHINES = {
    "Raspberry Pi 4, network at once": {"wrong_by": -OUTAGE, "rtc_says": None, "ntp_after": 5 * SECOND},
    "Raspberry Pi 4, network late": {"wrong_by": -OUTAGE, "rtc_says": None, "ntp_after": 7 * MINUTE},
    "Raspberry Pi 4 that restored nothing": {"wrong_by": -400 * DAY, "rtc_says": None, "ntp_after": 7 * MINUTE},
    "Raspberry Pi 5 without cell": {
        "wrong_by": -OUTAGE, "rtc_says": datetime(1970, 1, 1, 0, 0, 19, tzinfo=UTC), "ntp_after": 3 * MINUTE,
    },
    "Raspberry Pi 5 with cell, no network": {"wrong_by": 0 * SECOND, "rtc_says": BOOTED_AT, "ntp_after": None},
    "PC with a dead battery": {"wrong_by": -OUTAGE, "rtc_says": DEAD, "ntp_after": 3 * MINUTE},
    "network that lies before it is right": {
        "wrong_by": -2 * HOUR, "rtc_says": None, "ntp_after": 4 * MINUTE, "lies": True,
    },
}  # fmt: skip
"""``wrong_by`` is the clock after the boot: a restored time is that of the last shutdown."""


@pytest.mark.parametrize("name", MACHINES)
def test_slots_are_judged_by_the_true_time_after_a_power_cut(rig, tmp_path, name):
    """Missed slots are skipped and the other is taken at its time, whatever the clock showed at first."""
    world = rig()
    world.define(start=HOUR, every=HOUR, n=3, grace=MINUTE)
    world.live((59 * MINUTE, Life.kill))
    world.live(off=OUTAGE, boot=machine(tmp_path, **MACHINES[name]))
    assert world.statuses() == ["skipped", "skipped", "succeeded"]


def test_clock_that_nothing_vouches_for_is_used_when_the_wait_is_over(rig, tmp_path):
    """Without a network for ever, a restored time goes on from where it stopped; a slot within the wait is lost."""
    world = rig(clock_wait=10 * MINUTE)
    world.define(start=HOUR, every=HOUR, n=3, grace=MINUTE)
    world.live((59 * MINUTE, Life.kill))
    life = world.live(off=OUTAGE, boot=machine(tmp_path, wrong_by=-OUTAGE, rtc_says=DEAD, ntp_after=None))
    assert "nothing better came within 10 min of boot" in world.said("clock_trusted")[-1]
    assert "rtc0 says 2019-01-01, so it has no battery" in world.said("clock_trusted")[-1]
    assert life.notices.is_ready
    assert world.statuses() == ["skipped", "succeeded", "succeeded"]
