"""The claims of the demo, checked against the store and the pictures on disk."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from plantimager.timelapse.cli.demo_home import POSITIONS
from plantimager.timelapse.domain.states import RecordStatus, TimeLapseState

if TYPE_CHECKING:
    from plantimager.timelapse.cli.demo_home import Home
    from plantimager.timelapse.domain.timelapse import TimeLapse


class Cut(Struct, frozen=True):
    """The moment of the power cut."""

    slot: int
    attempt: int
    picture: int


def find_false_claims(timelapse: TimeLapse | None, home: Home, cut: Cut) -> list[str]:
    """Return a sentence for each claim that isn't true.

    The claims: the timelapse is completed, every slot is taken and has all its pictures, and the attempt that the power
    cut hit was interrupted and followed by another one.
    """
    if timelapse is None:
        return ["the store holds no timelapse"]
    problems = [] if timelapse.state is TimeLapseState.COMPLETED else [f"it is {timelapse.state.value}, not completed"]
    for slot in range(timelapse.n_slots):
        record = timelapse.records.get(slot)
        if record is None or record.status is not RecordStatus.SUCCEEDED:
            status = record.status.value if record is not None else "not recorded"
            problems.append(f"slot {slot} is {status}, not taken")
        elif (pictures := len(home.pictures(record.scan_id))) != POSITIONS:
            problems.append(f"slot {slot} has {pictures} pictures, not {POSITIONS}")
    cut_record = timelapse.records.get(cut.slot)
    if cut_record is not None and (cut_record.attempt, cut_record.interruptions) != (cut.attempt + 1, 1):
        found = f"{cut_record.attempt} attempts, {cut_record.interruptions} of them interrupted"
        problems.append(f"slot {cut.slot} had {found}; not {cut.attempt + 1} and 1")
    return problems
