"""The states of a timelapse and of its slots, and the table of allowed transitions."""

from __future__ import annotations

from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from plantimager.timelapse.support.errors import IllegalTransition

if TYPE_CHECKING:
    from collections.abc import Mapping


class TimeLapseMode(StrEnum):
    """How the slots of a timelapse are laid out."""

    ONE_SHOT = "one_shot"
    INTERVAL = "interval"
    FIXED_TIMES = "fixed_times"


class TimeLapseState(StrEnum):
    """The state of a timelapse.

    The second and later names of a member are those that other programs import. They are
    aliases (``TimeLapseState.STANDBY is TimeLapseState.SCHEDULED``), and their words are read, too.
    """

    CONFIGURED = "configured"
    """A draft that was never armed; the daemon leaves it alone."""
    SCHEDULED = "scheduled"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    IDLE = "scheduled"
    ARMING = "scheduled"
    WAITING = "scheduled"
    STANDBY = "scheduled"
    COOLDOWN = "scheduled"
    SCANNING = "running"
    ERROR = "failed"

    @classmethod
    def _missing_(cls, value: object) -> TimeLapseState | None:
        """Return the state of an older controller's word: ``TimeLapseState("scanning") is RUNNING``."""
        if isinstance(value, str):
            member = cls.__members__.get(value.upper())
            if member is not None and value == value.lower():
                return member
        return None

    @property
    def is_terminal(self) -> bool:
        """Whether the timelapse has ended."""
        return self in (TimeLapseState.COMPLETED, TimeLapseState.FAILED, TimeLapseState.CANCELLED)

    @property
    def is_active(self) -> bool:
        """Whether the daemon has a schedule to keep."""
        return self in (TimeLapseState.SCHEDULED, TimeLapseState.RUNNING)


class RecordStatus(StrEnum):
    """What became of a slot."""

    PENDING = "pending"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    SKIPPED = "skipped"
    INTERRUPTED = "interrupted"

    @property
    def is_final(self) -> bool:
        """Whether the slot is closed for good; an interrupted slot may be attempted again."""
        return self in FINAL


FINAL: Final = (RecordStatus.SUCCEEDED, RecordStatus.FAILED, RecordStatus.SKIPPED)


class OnScanFailed(StrEnum):
    """What becomes of the timelapse when all attempts at a slot have failed."""

    SKIP_SCAN = "skip_scan"
    FAIL_TIMELAPSE = "fail_timelapse"


class Reason(StrEnum):
    """Why a slot was not taken."""

    MISSED = "missed"
    """It came later than its grace period: the rig was off, or a scan before it took too long."""
    RIG_NOT_READY = "rig_not_ready"
    """The rig could not be prepared, or the driver said `ScannerNotReady`, until the grace period was over."""
    CLOCK_MOVED = "clock_moved"
    """The clock was set forward over it."""
    NOT_RECORDED = "not_recorded"
    """An older controller passed over it without leaving a record."""
    PAUSED = "paused"
    """It fell due while the operator had the timelapse paused."""
    CANCELLED = "cancelled"
    """The operator cancelled the timelapse before it, or while it was being taken."""
    TIMELAPSE_FAILED = "timelapse_failed"
    """A slot before it failed, and ``on_scan_failed`` is ``fail_timelapse``."""

    @property
    def ends_timelapse(self) -> bool:
        """Whether the slot was given up together with the whole timelapse."""
        return self in (Reason.CANCELLED, Reason.TIMELAPSE_FAILED)


class Trigger(StrEnum):
    """What causes a transition."""

    SLOT_DUE = "slot due"
    SCAN_OK = "scan ok"
    ATTEMPT_FAILED = "attempt failed"
    RIG_NOT_READY = "rig not ready"
    EXHAUSTED = "attempts exhausted"
    SLOTS_LATE = "slots later than grace"
    INTERRUPTED = "interrupted"
    PAUSED = "paused by the operator"
    AMENDED = "amended by the operator"
    PAUSE_ENDED = "pause ended"
    CANCELLED = "cancelled by the operator"
    SLOTS_REOPENED = "slots reopened"
    CLOCK_SET = "clock set in mid-scan"
    WHOLE_AFTER_ALL = "scan is whole after all"


_S = TimeLapseState
_AFTER_A_SLOT: Final = (_S.SCHEDULED, _S.COMPLETED)

TRANSITIONS: Final[Mapping[tuple[TimeLapseState, Trigger], tuple[TimeLapseState, ...]]] = MappingProxyType(
    {
        (_S.SCHEDULED, Trigger.SLOT_DUE): (_S.RUNNING,),
        (_S.SCHEDULED, Trigger.RIG_NOT_READY): (_S.SCHEDULED,),
        (_S.RUNNING, Trigger.SCAN_OK): _AFTER_A_SLOT,
        (_S.RUNNING, Trigger.ATTEMPT_FAILED): (_S.RUNNING,),
        (_S.RUNNING, Trigger.RIG_NOT_READY): (_S.SCHEDULED,),
        (_S.RUNNING, Trigger.EXHAUSTED): (*_AFTER_A_SLOT, _S.FAILED),
        (_S.RUNNING, Trigger.INTERRUPTED): (_S.SCHEDULED,),
        (_S.RUNNING, Trigger.CANCELLED): (_S.CANCELLED,),
        (_S.RUNNING, Trigger.CLOCK_SET): (_S.RUNNING,),
        (_S.SCHEDULED, Trigger.SLOTS_LATE): _AFTER_A_SLOT,
        (_S.SCHEDULED, Trigger.AMENDED): (_S.SCHEDULED,),
        (_S.RUNNING, Trigger.AMENDED): (_S.RUNNING,),
        (_S.SCHEDULED, Trigger.PAUSED): (_S.SCHEDULED,),
        (_S.RUNNING, Trigger.PAUSED): (_S.RUNNING,),
        (_S.SCHEDULED, Trigger.PAUSE_ENDED): (_S.SCHEDULED,),
        (_S.RUNNING, Trigger.PAUSE_ENDED): (_S.RUNNING,),
        (_S.SCHEDULED, Trigger.CANCELLED): (_S.CANCELLED,),
        (_S.SCHEDULED, Trigger.SLOTS_REOPENED): (_S.SCHEDULED,),
        (_S.COMPLETED, Trigger.SLOTS_REOPENED): (_S.SCHEDULED,),
        (_S.SCHEDULED, Trigger.WHOLE_AFTER_ALL): _AFTER_A_SLOT,
        (_S.COMPLETED, Trigger.WHOLE_AFTER_ALL): (_S.COMPLETED,),
        (_S.FAILED, Trigger.WHOLE_AFTER_ALL): (_S.FAILED, *_AFTER_A_SLOT),
        (_S.CANCELLED, Trigger.WHOLE_AFTER_ALL): (_S.CANCELLED,),
    }
)
"""Every allowed transition: from (state, trigger) to the states that it may lead to."""


def check_transition(state: TimeLapseState, event: Trigger, to: TimeLapseState | None = None) -> None:
    """Raise `IllegalTransition` unless the table leads from ``state`` by ``event`` (to ``to``, where given)."""
    targets = TRANSITIONS.get((state, event))
    if targets is None or (to is not None and to not in targets):
        raise IllegalTransition(state.value, event.value)
