"""The doubts of the relay about pictures, as its status has them, and their words for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from plantimager.timelapse.channel.moment import Moment, WithMoments
from plantimager.timelapse.domain.wording import format_local_time
from plantimager.timelapse.support.text import format_count, one_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

MAX_POSITIONS_NAMED: Final = 5
"""Positions that are named; of more there is a count."""


class Doubt(WithMoments, frozen=True, kw_only=True):
    """The pictures of one camera that are doubtful in the same way, since they began to be so."""

    timelapse: str
    camera: str
    """Empty where the names of the files don't say it."""
    verdict: str
    """``dark``, ``bright``, ``flat``, ``blurred``, ``same``, ``unreadable``."""
    since: Moment
    """The scheduled time of the first slot."""
    until: Moment
    """That of the last one."""
    slot: int
    """The last one."""
    slots: int
    positions: tuple[str, ...]
    """The first of those that have or had such a picture."""
    n_positions: int
    of_positions: int
    """Positions that the camera has in a scan."""
    pictures: int
    """All pictures of the timelapse with this verdict, also of earlier times."""
    file: str
    """One of the last slot, below the directory of the datasets."""
    is_over: bool = False

    @property
    def name(self) -> str:
        """What it is known by; a later one of the same is the same trouble."""
        return f"{self.timelapse} {self.camera}: {self.verdict}"

    def describe_where(self) -> str:
        """Return ``camera_0, all 36 positions``."""
        if self.n_positions == self.of_positions:
            where = f"all {self.n_positions} positions" if self.n_positions > 1 else "its position"
        elif self.n_positions <= len(self.positions):
            where = f"position{'s' * (self.n_positions > 1)} {', '.join(self.positions)}"
        else:
            where = f"{self.n_positions} of {self.of_positions} positions"
        return one_line(f"{self.camera}, {where}" if self.camera else where)

    def describe_slots(self, now: datetime) -> str:
        """Return ``slot 5 (09:30)``, ``17 slots from 22:00 to 06:00``."""
        if self.slots == 1:
            return f"slot {self.slot} ({format_local_time(self.since, now)})"
        return f"{self.slots} slots from {format_local_time(self.since, now)} to {format_local_time(self.until, now)}"


def describe_doubts(doubts: Iterable[Doubt], now: datetime) -> Iterator[str]:
    """Yield ``2 slots doubtful (dark) since 14:00`` for each verdict that isn't over, whichever cameras have it.

    Where there are doubts about a timelapse that was just archived, too, each is named.
    """
    open_now = [doubt for doubt in doubts if not doubt.is_over]
    is_one = len({doubt.timelapse for doubt in open_now}) == 1
    by_verdict: dict[tuple[str, str], list[Doubt]] = {}
    for doubt in open_now:
        by_verdict.setdefault((doubt.timelapse, doubt.verdict), []).append(doubt)
    for (timelapse, verdict), alike in by_verdict.items():
        slots = format_count(max(doubt.slots for doubt in alike), "slot")
        where = slots if is_one else f"{slots} of {one_line(timelapse)}"
        yield f"{where} doubtful ({verdict}) since {format_local_time(min(doubt.since for doubt in alike), now)}"
