"""``timelapsectl timeline``: planned against taken, a row a day and a mark a slot, and the hours that the rig was off.

`chart_of` makes the picture of plain values; `timeline_text` and `timeline_svg` draw it.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Final

from plantimager.timelapse.cli.snapshot import StatusSnapshot, take_snapshot
from plantimager.timelapse.cli.wording import describe_mode, describe_zone
from plantimager.timelapse.domain.states import RecordStatus
from plantimager.timelapse.store.field_types import is_safe_name
from plantimager.timelapse.support.errors import StoreError, TimelapsedError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Iterator

    from plantimager.timelapse.cli.session import Session
    from plantimager.timelapse.domain.timelapse import TimeLapse

LATE_FROM: Final = timedelta(minutes=1)
"""A slot that began so much after its time is shown as late: less than that can't be seen at this scale."""

MOST_NAMES: Final = 20
"""Archived timelapses that are offered to one who asked for another: a rig has hundreds after some years."""

STANDARD_OUTPUT: Final = Path("-")


class Kind(Enum):
    """What a mark says of its slot."""

    TAKEN = "taken"
    LATE = "late"
    FAILED = "failed"
    SKIPPED = "skipped"
    INTERRUPTED = "interrupted"
    RUNNING = "being taken"
    CUT_OFF = "cut off"
    TO_COME = "to come"


WORST_FIRST: Final = (
    Kind.FAILED,
    Kind.INTERRUPTED,
    Kind.CUT_OFF,
    Kind.SKIPPED,
    Kind.LATE,
    Kind.RUNNING,
    Kind.TAKEN,
    Kind.TO_COME,
)
"""Which of several marks is seen where they fall together."""


@dataclass(frozen=True, slots=True)
class Scale:
    """How much time a row of the chart is: a day, or less for a timelapse that is over sooner."""

    row: timedelta
    tick: timedelta
    """From one number of the axis to the next."""
    numbered: int
    """By how much the numbers of the axis rise: 3 (hours), 10 (minutes, seconds)."""
    axis: str
    """How one of them is written."""
    label: str
    """How the beginning of a row is written, as for `datetime.strftime`."""
    span: timedelta
    """The shortest timelapse that is drawn at this scale."""


SCALES: Final = (
    Scale(timedelta(days=1), timedelta(hours=3), 3, "{:02}", "%a %d %b %Y", timedelta(hours=6)),
    Scale(timedelta(hours=1), timedelta(minutes=10), 10, ":{:02}", "%d %b %H:00", timedelta(minutes=6)),
    Scale(timedelta(minutes=1), timedelta(seconds=10), 10, ":{:02}", "%d %b %H:%M", timedelta(0)),
)


@dataclass(frozen=True, slots=True)
class Mark:
    """One slot on its row."""

    slot: int
    at: datetime
    """When it was planned, UTC."""
    place: float
    """From 0, the beginning of the row, to 1, by the wall clock."""
    kind: Kind


@dataclass(frozen=True, slots=True)
class Row:
    """A day (or what the scale makes of it)."""

    label: str
    marks: tuple[Mark, ...]
    off: tuple[tuple[float, float], ...]
    """The spans without a daemon, places as those of marks."""


@dataclass(frozen=True, slots=True)
class Chart:
    """The whole picture."""

    title: str
    subtitle: str
    zone: str
    scale: Scale
    rows: tuple[Row, ...]

    @property
    def counts(self) -> dict[Kind, int]:
        """How many marks of each kind there are, of those there are any."""
        kinds = [mark.kind for row in self.rows for mark in row.marks]
        return {kind: count for kind in Kind if (count := kinds.count(kind))}

    @property
    def ticks(self) -> Iterator[tuple[float, str]]:
        """The axis: place and text of each number."""
        for index in range(self.scale.row // self.scale.tick + 1):
            yield index * self.scale.tick / self.scale.row, self.scale.axis.format(index * self.scale.numbered)


def run_timeline(options: argparse.Namespace, session: Session) -> int:
    """Draw it.

    Raises
    ------
    TimelapsedError
        There is no such timelapse, or its store can't be read.
    OSError
        The picture can't be written.

    """
    overview = take_snapshot(_store_of(options.name, session), session.clock)
    if overview.timelapse is None:
        session.screen.write(f"no timelapse in {overview.store}; define one with timelapsectl start FILE")
        return 0
    chart = chart_of(overview, overview.timelapse)
    if options.svg is not None:
        from plantimager.timelapse.cli.timeline_svg import svg_of  # noqa: PLC0415 - an XML library for this alone

        picture = svg_of(chart)
        if options.svg == STANDARD_OUTPUT:
            sys.stdout.buffer.write(picture)
            return 0
        options.svg.write_bytes(picture)
        session.screen.write(f"{options.svg}: {len(chart.rows)} rows, {sum(chart.counts.values())} slots")
        return 0
    from plantimager.timelapse.cli.timeline_text import text_of  # noqa: PLC0415 - as above

    session.screen.write(*text_of(chart, session.screen))
    return 0


def _store_of(name: str | None, session: Session) -> Path:
    """Return the store of a timelapse: the rig's present one, or one that was archived under its name."""
    if name is None:
        return session.store
    archived = session.places.history / f"{name}.json"
    is_archived = is_safe_name(name) and archived.exists()
    try:
        present = take_snapshot(session.store, session.clock).timelapse
    except StoreError:
        if not is_archived:
            raise
        present = None  # what becomes of it is another matter
    if present is not None and present.id == name:
        return session.store
    if is_archived:
        return archived
    kept = sorted(path.stem for path in session.places.history.glob("*.json"))
    refusal = TimelapsedError(f"no timelapse {name} in {session.store} or {session.places.history}")
    more = f" and {len(kept) - MOST_NAMES} more" if len(kept) > MOST_NAMES else ""
    refusal.hint = f"there are {', '.join(kept[:MOST_NAMES])}{more}" if kept else None
    raise refusal


# --- from the facts to the picture ---------------------------------------------------------------------


def chart_of(overview: StatusSnapshot, timelapse: TimeLapse) -> Chart:
    """Return the picture of a timelapse, in the host's local time."""
    slots = timelapse.schedule_times
    span = slots[-1] - slots[0] if slots else timedelta(0)
    scale = next(scale for scale in SCALES if span >= scale.span) if len(slots) > 1 else SCALES[0]
    marks: dict[datetime, list[Mark]] = {}
    for slot, at in enumerate(slots):
        start, place = _placed(at, scale)
        marks.setdefault(start, []).append(Mark(slot, at, place, kind_of(overview, timelapse, slot)))
    off: dict[datetime, list[tuple[float, float]]] = {}
    for start, piece in _pieces(_outages(overview, timelapse), scale, set(marks)):
        off.setdefault(start, []).append(piece)
    rows = tuple(
        Row(start.strftime(scale.label), tuple(marks[start]), tuple(off.get(start, ()))) for start in sorted(marks)
    )
    ends = [
        slot.astimezone().strftime("%-d %b %Y %H:%M:%S").removesuffix(":00") for slot in (*slots[:1], *slots[1:][-1:])
    ]
    when = " → ".join(dict.fromkeys(ends))
    subtitle = f"{describe_mode(timelapse.mode, slots)}, {when}; {timelapse.state.value}, {timelapse.tally}"
    return Chart(timelapse.id, subtitle, describe_zone(slots), scale, rows)


def kind_of(overview: StatusSnapshot, timelapse: TimeLapse, slot: int) -> Kind:
    """Return what became of a slot."""
    record = timelapse.records.get(slot)
    if record is None or record.status is RecordStatus.PENDING:
        return Kind.TO_COME
    match record.status:
        case RecordStatus.SUCCEEDED:
            return Kind.LATE if overview.slot(timelapse, record).late >= LATE_FROM else Kind.TAKEN
        case RecordStatus.FAILED:
            return Kind.FAILED
        case RecordStatus.SKIPPED:
            return Kind.SKIPPED
        case RecordStatus.RUNNING:
            return Kind.RUNNING if overview.daemon is not None else Kind.CUT_OFF
        case _:
            return Kind.INTERRUPTED


def _outages(overview: StatusSnapshot, timelapse: TimeLapse) -> Iterator[tuple[datetime, datetime]]:
    """Yield the spans without a daemon, in UTC; the present one, too."""
    yield from overview.logbook.outages
    saved_at = overview.logbook.saved_at
    if overview.daemon is None and timelapse.state.is_active and saved_at is not None and saved_at < overview.at:
        yield saved_at, overview.at


def _placed(at: datetime, scale: Scale) -> tuple[datetime, float]:
    """Return the beginning of an instant's row (local, naive), and its place on that row."""
    local = at.astimezone().replace(tzinfo=None)
    into = (local - datetime.combine(local.date(), time.min)) % scale.row
    return local - into, into / scale.row


def _pieces(
    spans: Iterable[tuple[datetime, datetime]], scale: Scale, rows: set[datetime]
) -> Iterator[tuple[datetime, tuple[float, float]]]:
    """Cut spans at the ends of rows; yield the pieces that fall on ``rows``."""
    for start, end in spans:
        (row, place), (last_row, last_place) = _placed(start, scale), _placed(end, scale)
        while row < last_row:
            if row in rows:
                yield row, (place, 1.0)
            row, place = row + scale.row, 0.0
        if row == last_row and row in rows and place < last_place:
            yield row, (place, last_place)
