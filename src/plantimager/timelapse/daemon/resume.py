"""Resume: what a start makes of the store that it finds, before the rest of the schedule is armed.

`recover_interrupted` asks the driver what became of the slot that was being taken when the power went; then the daemon
is ready. `resume_schedule` skips the slots that are late by now, in one pass and one save: no start waits for that,
however many they are. After a kill in between, the next start finds the same store. Loop thread.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct

from plantimager.timelapse.daemon import reports
from plantimager.timelapse.daemon.journal import Action, log_event
from plantimager.timelapse.daemon.rig_thread import CallOutcome, call_with_timeout, make_call
from plantimager.timelapse.domain.states import TimeLapseState
from plantimager.timelapse.drivers.base import Call
from plantimager.timelapse.support.errors import DriverStalled

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from plantimager.timelapse.daemon.conductor import Conductor
    from plantimager.timelapse.domain.timelapse import TimeLapse
    from plantimager.timelapse.store.stored_timelapse import StoredTimelapse

RECOVER_LIMIT: Final = timedelta(minutes=5)
"""What a driver gets at most to say what became of an attempt; less than a service may take to start."""


class Found(Struct, frozen=True):
    """What `recover_interrupted` found."""

    before: TimeLapse
    """As it stands in the store."""
    since: datetime
    """From when on the daemon was there again, though it may have waited for the clock, and then for the driver."""
    settled: TimeLapse
    """Without an attempt that was cut off."""
    recovered: bool
    """Whether that attempt had in fact been finished."""
    configuration: Mapping[str, Any]


def recover_interrupted(
    conductor: Conductor, stored: StoredTimelapse, configuration: Mapping[str, Any], since: datetime
) -> Found:
    """Hold a timelapse that was read from the store, and find out what became of the attempt that was cut off."""
    conductor.configuration = configuration
    conductor.keeper.hold(stored)
    before = stored.timelapse
    for note in stored.notes:
        log_event(Action.STORE_FOUND, f"{before.id}: {note}", timelapse=before)
    settled, recovered = before, False
    if before.state is TimeLapseState.RUNNING:
        settled, recovered = _settle_running(conductor, before)
    return Found(before, since, settled, recovered, configuration)


def resume_schedule(conductor: Conductor, found: Found) -> None:
    """Have the conductor go on: what went by is settled and saved, what comes next is armed."""
    keeper, clock = conductor.keeper, conductor.clock
    now, boot_id = clock.now(), clock.boot_id()
    before, log = found.before, keeper.logbook
    settled = found.settled.reopen_slots(now)
    if not settled.state.is_active and settled is before:
        reports.store_held(before)
        conductor.settle_rig()
        return
    away = _away_words(log.boot_id, boot_id)
    since = min(found.since, now)  # the clock may have been set back
    absent = conductor.judge(settled, since, away)
    after = conductor.judge(absent, now)
    keeper.commit(after, now, logbook=log.came_back(now, boot_id))
    reports.resumed(before, after, now, _cut_words(log.boot_id, boot_id), recovered=found.recovered)
    reports.slots_given_back(before, after, now)
    reports.slots_passed(settled, absent, since, away)
    reports.slots_passed(absent, after, now)
    reports.timelapse_over(before, after, conductor.datasets)
    conductor.begin(found.configuration)


def _settle_running(conductor: Conductor, timelapse: TimeLapse) -> tuple[TimeLapse, bool]:
    """Find out what became of the attempt that was cut off: finished after all (and so recovered), or interrupted."""
    driver, config = conductor.driver, conductor.config
    request = conductor.scan_request(timelapse)
    limit = min(config.stall_timeout, RECOVER_LIMIT)
    try:
        outcome = call_with_timeout(limit, config.driver, lambda: make_call(driver, Call.RECOVER, request))
    except DriverStalled as stalled:
        outcome = CallOutcome(Call.RECOVER, request, problem=stalled)
        # What hangs holds the rig; the next process won't ask again, since the attempt counts as cut off now.
        conductor.abandoned = str(stalled)
    if outcome.problem is not None:  # then the attempt counts as cut off
        reports.rig_trouble(outcome.call, outcome.problem)
    if outcome.result is not None:
        return timelapse.succeed(conductor.clock.now(), outcome.result.pictures), True
    cut = _cut_words(conductor.keeper.logbook.boot_id, conductor.clock.boot_id())
    return timelapse.interrupt(None, f"{cut} while it was being taken"), False


def _cut_words(boot_then: str | None, boot_now: str) -> str:
    """Return what cut a scan off, to go behind "when"."""
    if boot_then is None:
        return "its controller ended"
    return "the daemon was killed" if boot_then == boot_now else "the power went"


def _away_words(boot_then: str | None, boot_now: str) -> str:
    """Return why slots went by, to go behind "while"."""
    if boot_then is None:
        return "no daemon kept the schedule"
    return "the daemon was not running" if boot_then == boot_now else "the rig was off"
