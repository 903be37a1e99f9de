"""Whether the schedule is kept, by what the store shows: the alarm of a dead rig comes from absence."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import Enum, auto
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from plantimager.timelapse.domain.pausing import next_to_take
from plantimager.timelapse.domain.states import Reason, RecordStatus, TimeLapseState
from plantimager.timelapse.store.archive import past_scans_of

if TYPE_CHECKING:
    from plantimager.timelapse.domain.timelapse import TimeLapse
    from plantimager.timelapse.relay.store_view import DaemonFacts, StoreView
    from plantimager.timelapse.support.clock import Clock

SLACK: Final = timedelta(minutes=1)
"""For a save, and for clocks that are read one after the other."""
START_ALLOWANCE: Final = timedelta(minutes=2)
"""After the machine's boot, a step of its clock, and the beginning of trust in it: the daemon first has to record what
it missed."""


class ScheduleState(Enum):
    """Whether the schedule is kept."""

    NOTHING_SCHEDULED = auto()
    KEPT = auto()
    WAITS_FOR_RIG = auto()
    """The next slot is past its grace period, and still waits for a rig that isn't ready."""
    OVERDUE = auto()
    """The store doesn't show what it should show by now."""
    UNKNOWN = auto()
    """It can't be judged yet: the machine has just started, or the clock was just set or isn't trusted."""


class Judgement(Struct, frozen=True):
    """One look at the schedule."""

    state: ScheduleState
    until: datetime | None = None
    """When it must be judged again, should no file change."""
    within: float | None = None
    """The same in seconds from now, where the wall clock is no measure."""


class ScheduleWatch:
    """Judges the schedule. One thread; nobody else asks its clock for steps."""

    def __init__(
        self,
        clock: Clock,
        longest_scan: timedelta,
        clock_wait: timedelta,
        *,
        slack: timedelta = SLACK,
        allowance: timedelta = START_ALLOWANCE,
    ) -> None:
        """Judge by the longest time that a scan, and the wait for a trusted clock, may take."""
        self._clock, self._longest_scan, self._slack = clock, longest_scan, slack
        self._clock_patience = clock_wait + slack
        self._allowance = allowance.total_seconds()
        self._judged_from = clock.monotonic() + self._allowance - clock.since_boot()
        self._untrusted_since: float | None = None
        self._scan_time_of: tuple[TimeLapse, timedelta] | None = None

    def judge(self, view: StoreView) -> Judgement:
        """Judge the schedule now.

        The next slot must have its record when its grace period is over, and a scan would be. A running attempt has
        that time from its own beginning; while its daemon runs, which would end it, it has all the time that is
        allowed. A slot that waits for its rig is on record, and not overdue while its daemon runs. A daemon that can't
        write the store keeps the schedule by its own word. One that waits for a trusted clock has ours, by which nobody
        knows what is late, or whether a pause is over; in one without an end nothing is late. Of a store that can't be
        read nobody knows whether another timelapse is scheduled.
        """
        now, timelapse = self._clock.monotonic(), view.timelapse
        step = self._clock.step()
        if step is not None and abs(step.shift) >= self._slack:
            self._judged_from = now + self._allowance
        is_waiting = view.daemon is not None and view.daemon.is_live and not view.daemon.clock_trusted
        if not is_waiting:
            if self._untrusted_since is not None:
                self._judged_from = now + self._allowance
            self._untrusted_since = None
        elif self._untrusted_since is None:
            self._untrusted_since = now
        if timelapse is None or not timelapse.state.is_active:
            nothing = Judgement(ScheduleState.NOTHING_SCHEDULED)
            return self._past(ScheduleState.OVERDUE, now) if view.is_stale else nothing
        if self._untrusted_since is not None and next_to_take(timelapse) is not None:
            left = self._untrusted_since + self._clock_patience.total_seconds() - now
            return Judgement(ScheduleState.OVERDUE) if left <= 0 else Judgement(ScheduleState.UNKNOWN, within=left)
        is_past, due = ScheduleState.OVERDUE, self.due_at(view)
        if view.daemon is not None and waits_for_rig(timelapse):
            latest = timelapse.latest_start(timelapse.next_idx)
            is_past, due = ScheduleState.WAITS_FOR_RIG, latest + timedelta.resolution
        if due is None or self._clock.now() < due:
            return Judgement(ScheduleState.KEPT, until=due)
        return self._past(is_past, now)

    def _past(self, state: ScheduleState, now: float) -> Judgement:
        """Return a judgement that isn't made right after a boot or a step of the clock."""
        left = self._judged_from - now
        return Judgement(state) if left <= 0 else Judgement(ScheduleState.UNKNOWN, within=left)

    def due_at(self, view: StoreView) -> datetime | None:
        """Return when the next slot must have its record; ``None`` where there is none, or nobody can write it.

        One that falls due in a pause must not: nobody misses it.
        """
        timelapse, daemon = view.timelapse, view.daemon if view.daemon is not None and view.daemon.is_live else None
        if timelapse is None or not timelapse.state.is_active or (daemon is not None and daemon.degraded):
            return None
        slot = next_to_take(timelapse)
        if slot is None:  # a person has it paused
            return None
        latest = timelapse.latest_start(slot)
        begun = timelapse.current.started_at if timelapse.current is not None else None
        if timelapse.state is TimeLapseState.RUNNING and begun is not None:
            latest = max(latest, begun)
            if daemon is not None:
                return latest + self._longest_scan + self._slack
        before = timelapse.records.get(timelapse.next_idx - 1)
        free_at = before.finished_at if before is not None and daemon is not None else None
        due = latest + self._scan_time(timelapse)
        return due if free_at is None else max(due, free_at + self._slack)  # slots that passed during a long scan

    def _scan_time(self, timelapse: TimeLapse) -> timedelta:
        """Return how long a scan may take: twice what the last ones took, or what the configuration allows."""
        if self._scan_time_of is None or self._scan_time_of[0] is not timelapse:
            past = past_scans_of(timelapse)
            longest = self._longest_scan if past is None else min(2 * past.took, self._longest_scan)
            self._scan_time_of = timelapse, longest + self._slack
        return self._scan_time_of[1]


def waits_for_rig(timelapse: TimeLapse) -> bool:
    """Whether the next slot waits for a rig that isn't ready; in a pause it isn't tried."""
    return timelapse.pause is None and has_found_no_rig(timelapse)


def has_found_no_rig(timelapse: TimeLapse) -> bool:
    """Whether the rig wasn't ready for the next slot when it was last tried."""
    record = timelapse.current
    return record is not None and record.status is RecordStatus.PENDING and record.reason is Reason.RIG_NOT_READY


def describe_service(daemon: DaemonFacts | None) -> str:
    """Return what is known of the daemon, in a sentence."""
    if daemon is None:
        return "The timelapse service isn't running; its journal says why."
    if not daemon.is_live:
        return "The timelapse service is starting, or can't write its status."
    if not daemon.clock_trusted:
        return "The timelapse service waits for a clock that it can trust."
    return "The timelapse service runs."
