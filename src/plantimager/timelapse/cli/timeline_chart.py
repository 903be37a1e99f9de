"""The chart of a timelapse as plain values: a row a day, a mark a slot, and the times in which the rig was off."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime, time, timedelta
from enum import Enum
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from plantimager.timelapse.domain.states import Reason, RecordStatus
from plantimager.timelapse.domain.wording import describe_mode, describe_zone

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from plantimager.timelapse.cli.snapshot import StatusSnapshot
    from plantimager.timelapse.domain.absence import Span
    from plantimager.timelapse.domain.timelapse import TimeLapse

LATE_FROM: Final = timedelta(minutes=1)
"""A slot that began so much after its time is shown as late; a smaller delay is invisible at this scale."""


class MarkKind(Enum):
    """The outcome of a slot, as the legend names it."""

    TAKEN = "taken"
    LATE = "late"
    FAILED = "failed"
    SKIPPED = "skipped"
    PAUSED = "paused"
    INTERRUPTED = "interrupted"
    RUNNING = "being taken"
    CUT_OFF = "cut off"
    TO_COME = "to come"


class Scale(Struct, frozen=True):
    """The time that a row of the chart covers: a day, or less for a short timelapse."""

    row: timedelta
    tick: timedelta
    """From one number of the axis to the next."""
    numbered: int
    """The difference between two numbers of the axis: 3 (hours), 10 (minutes, seconds)."""
    axis: str
    """The format of such a number."""
    label: str
    """The format of a row's beginning, as for `datetime.strftime`."""
    span: timedelta
    """The shortest timelapse that is drawn at this scale."""


SCALES: Final = (
    Scale(timedelta(days=1), timedelta(hours=3), 3, "{:02}", "%a %d %b %Y", timedelta(hours=6)),
    Scale(timedelta(hours=1), timedelta(minutes=10), 10, ":{:02}", "%d %b %H:00", timedelta(minutes=6)),
    Scale(timedelta(minutes=1), timedelta(seconds=10), 10, ":{:02}", "%d %b %H:%M", timedelta(0)),
)


class Mark(Struct, frozen=True):
    """One slot on its row."""

    slot: int
    at: datetime
    """Its scheduled time, UTC."""
    position: float
    """From 0, the beginning of the row, to 1, by the wall clock."""
    kind: MarkKind


class Row(Struct, frozen=True):
    """A day, or the shorter time of the scale."""

    label: str
    marks: tuple[Mark, ...]
    off: tuple[tuple[float, float], ...]
    """The times in which the rig was off, as positions on the row."""
    unknown: tuple[tuple[float, float], ...]
    """The times in which it may have been off."""


class Chart(Struct, frozen=True):
    """The whole chart."""

    title: str
    subtitle: str
    zone: str
    scale: Scale
    rows: tuple[Row, ...]

    @property
    def counts(self) -> dict[MarkKind, int]:
        """The number of marks of each kind that occurs."""
        kinds = [mark.kind for row in self.rows for mark in row.marks]
        return {kind: count for kind in MarkKind if (count := kinds.count(kind))}

    @property
    def ticks(self) -> Iterator[tuple[float, str]]:
        """Position and text of each number of the axis."""
        for index in range(self.scale.row // self.scale.tick + 1):
            yield index * self.scale.tick / self.scale.row, self.scale.axis.format(index * self.scale.numbered)


def build_chart(snapshot: StatusSnapshot, timelapse: TimeLapse, boots: Sequence[Span] = ()) -> Chart:
    """Return the chart of a timelapse, in the host's local time; ``boots`` are those that the journal knows."""
    slots = timelapse.schedule_times
    span = slots[-1] - slots[0] if slots else timedelta(0)
    scale = next(scale for scale in SCALES if span >= scale.span) if len(slots) > 1 else SCALES[0]
    marks: dict[datetime, list[Mark]] = {}
    for slot, at in enumerate(slots):
        start, position = _locate(at, scale)
        marks.setdefault(start, []).append(Mark(slot, at, position, _mark_kind(snapshot, timelapse, slot)))
    present = snapshot.absence()
    known = narrow_by_boots((*snapshot.logbook.outages, *present.outage), boots)
    unknown = narrow_by_boots((*snapshot.logbook.uncertain, *present.uncertain), boots)
    rows_off, rows_unknown = (_cut_at_rows(spans, scale, set(marks)) for spans in (known, unknown))
    rows = tuple(
        Row(start.strftime(scale.label), tuple(marks[start]), tuple(rows_off[start]), tuple(rows_unknown[start]))
        for start in sorted(marks)
    )
    ends = [
        slot.astimezone().strftime("%-d %b %Y %H:%M:%S").removesuffix(":00") for slot in (*slots[:1], *slots[1:][-1:])
    ]
    when = " → ".join(dict.fromkeys(ends))
    subtitle = f"{describe_mode(timelapse.mode, slots)}, {when}; {timelapse.state.value}, {timelapse.tally}"
    return Chart(timelapse.id, subtitle, describe_zone(slots), scale, rows)


def _mark_kind(snapshot: StatusSnapshot, timelapse: TimeLapse, slot: int) -> MarkKind:
    record = timelapse.records.get(slot)
    if record is None or record.status is RecordStatus.PENDING:
        return MarkKind.TO_COME
    match record.status:
        case RecordStatus.SUCCEEDED:
            return MarkKind.LATE if snapshot.slot(timelapse, record).late >= LATE_FROM else MarkKind.TAKEN
        case RecordStatus.FAILED:
            return MarkKind.FAILED
        case RecordStatus.SKIPPED:
            return MarkKind.PAUSED if record.reason is Reason.PAUSED else MarkKind.SKIPPED
        case RecordStatus.RUNNING:
            return MarkKind.RUNNING if snapshot.daemon is not None else MarkKind.CUT_OFF
        case _:
            return MarkKind.INTERRUPTED


def narrow_by_boots(spans: Iterable[Span], boots: Sequence[Span]) -> list[Span]:
    """Return spans without the times in which the machine is known to have run: it wrote its journal before and after.

    The daemon may not have run all the same; but the rig was on.
    """
    narrowed = [*spans]
    for first, last in boots:
        pieces = [((start, min(end, first)), (max(start, last), end)) for start, end in narrowed]
        narrowed = [(start, end) for both in pieces for start, end in both if start < end]
    return narrowed


def _locate(at: datetime, scale: Scale) -> tuple[datetime, float]:
    """Return the beginning of an instant's row (local, naive), and its position on that row."""
    local = at.astimezone().replace(tzinfo=None)
    into = (local - datetime.combine(local.date(), time.min)) % scale.row
    return local - into, into / scale.row


def _cut_at_rows(
    spans: Iterable[Span], scale: Scale, rows: set[datetime]
) -> defaultdict[datetime, list[tuple[float, float]]]:
    """Return spans cut at the ends of rows: for each of ``rows`` the pieces that fall on it."""
    pieces: defaultdict[datetime, list[tuple[float, float]]] = defaultdict(list)
    for start, end in spans:
        (row, position), (last_row, last_position) = _locate(start, scale), _locate(end, scale)
        while row < last_row:
            if row in rows:
                pieces[row].append((position, 1.0))
            row, position = row + scale.row, 0.0
        if row == last_row and row in rows and position < last_position:
            pieces[row].append((position, last_position))
    return pieces
