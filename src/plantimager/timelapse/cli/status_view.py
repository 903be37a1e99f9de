"""An `StatusSnapshot` for people: what state, how far, what comes next, the last slots, what is wrong."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from plantimager.timelapse.cli.terminal import Style, fitted, flowing
from plantimager.timelapse.cli.wording import describe_schedule, format_count
from plantimager.timelapse.domain.durations import format_duration, format_stopwatch
from plantimager.timelapse.domain.states import Reason, RecordStatus, TimeLapseState
from plantimager.timelapse.domain.wording import format_local_time, ordinal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from plantimager.timelapse.cli.snapshot import SlotFacts, StatusSnapshot
    from plantimager.timelapse.cli.terminal import Screen
    from plantimager.timelapse.domain.timelapse import TimeLapse
    from plantimager.timelapse.support.clock import ClockEvidence

GAP: Final = "   "
SIMULATED: Final = "simulated"
"""The driver that a service has until somebody names another: its pictures are of no plant."""
BAR_MARGIN: Final = 14
"""Columns beside the progress bar: its brackets, and ``17 of 48``."""

STATE_STYLES: Final = {
    TimeLapseState.CONFIGURED: (Style.DIM,),
    TimeLapseState.SCHEDULED: (Style.BOLD, Style.CYAN),
    TimeLapseState.RUNNING: (Style.BOLD, Style.BLUE),
    TimeLapseState.COMPLETED: (Style.BOLD, Style.GREEN),
    TimeLapseState.FAILED: (Style.BOLD, Style.RED),
    TimeLapseState.CANCELLED: (Style.BOLD, Style.YELLOW),
}

OUTCOMES: Final = {
    RecordStatus.PENDING: ("waiting", Style.YELLOW),
    RecordStatus.RUNNING: ("scanning", Style.BLUE),
    RecordStatus.SUCCEEDED: ("taken", Style.GREEN),
    RecordStatus.FAILED: ("failed", Style.RED),
    RecordStatus.SKIPPED: ("skipped", Style.YELLOW),
    RecordStatus.INTERRUPTED: ("interrupted", Style.MAGENTA),
}
"""How the outcome of a slot is called and coloured."""

_WORST_FIRST: Final = (
    RecordStatus.FAILED,
    RecordStatus.INTERRUPTED,
    RecordStatus.SKIPPED,
    RecordStatus.RUNNING,
    RecordStatus.PENDING,
    RecordStatus.SUCCEEDED,
)
"""Which of several slots gives its colour to a cell of the bar."""


def status_lines(overview: StatusSnapshot, screen: Screen, records: int) -> list[str]:
    """Return the whole screen, with as many ``records``."""
    timelapse = overview.timelapse
    if timelapse is None:
        return [f"no timelapse in {overview.store}; define one with timelapsectl start FILE", *_foot(overview, screen)]
    lines = [_head(overview, timelapse, screen), _bar(timelapse, screen), *_counts(overview, timelapse, screen)]
    if timelapse.ending is not None:
        ending = timelapse.ending
        lines.append(
            overview.harmless(f"ended {format_local_time(ending.at, overview.at)} by {ending.who}: {ending.why}")
        )
    shown = [facts for facts, _ in zip(overview.slots(), range(records), strict=False)]
    if shown:
        lines += ["", *_table(shown, overview, screen)]
    return [*lines, "", *_foot(overview, screen)]


def _head(overview: StatusSnapshot, timelapse: TimeLapse, screen: Screen) -> str:
    state = timelapse.state.value
    words = describe_schedule(timelapse.mode, timelapse.schedule_times, overview.at)
    name = fitted(timelapse.id, screen.width - len(state) - len(GAP))
    room = screen.width - len(name) - len(state) - 2 * 2
    words = fitted(words, room) if room > 0 else ""
    painted = screen.paint(state, *STATE_STYLES[timelapse.state])
    return f"{screen.paint(name, Style.BOLD)}  {words:<{max(room, 0)}}  {painted}"


def _bar(timelapse: TimeLapse, screen: Screen) -> str:
    """Return how far it is: a cell is one slot or more, in the colour of the worst of them."""
    n_slots, done = timelapse.n_slots, timelapse.tally.done
    cells = max(screen.width - BAR_MARGIN, 10)
    full = done * cells // n_slots if n_slots else cells
    if not screen.colour:
        bar = "■" * full
    else:
        bar = "".join(screen.paint("■", _colour_of_cell(timelapse, cell, cells)) for cell in range(full))
    return f"[{bar}{screen.paint('·' * (cells - full), Style.DIM)}]  {done} of {n_slots}"


def _colour_of_cell(timelapse: TimeLapse, cell: int, cells: int) -> Style:
    first = cell * timelapse.n_slots // cells
    following = max((cell + 1) * timelapse.n_slots // cells, first + 1)
    records = (timelapse.records.get(slot) for slot in range(first, following))
    there = {record.status for record in records if record is not None}
    worst = next((status for status in _WORST_FIRST if status in there), RecordStatus.SUCCEEDED)
    return OUTCOMES[worst][1]


def _counts(overview: StatusSnapshot, timelapse: TimeLapse, screen: Screen) -> list[str]:
    tally = timelapse.tally
    counts = {"taken": tally.taken, "failed": tally.failed, "skipped": tally.skipped, "interrupted": tally.interrupted}
    words = [f"{count} {word}" for word, count in counts.items() if count or word == "taken"]
    words += [_next(overview, timelapse)] if timelapse.state.is_active else []
    if overview.daemon is not None:
        simulated = " (simulated)" if overview.daemon.driver == SIMULATED else ""
        words.append(f"rig: {overview.daemon.rig}{simulated}")
    return flowing(words, screen.width, GAP)


def _next(overview: StatusSnapshot, timelapse: TimeLapse) -> str:
    slot = timelapse.next_idx
    if timelapse.state is TimeLapseState.RUNNING:
        if overview.daemon is None:
            return f"was taking slot {slot}"
        progress = overview.daemon.progress
        return f"now: slot {slot}{f', {progress[0]} of {progress[1]}' if progress else ''}"
    if timelapse.next_at is None:
        return "no slot is left"
    ahead = timelapse.next_at - overview.at
    when = f"in {format_duration(ahead)}" if ahead >= timedelta(0) else f"{format_duration(ahead)} late"
    return f"next: slot {slot} at {format_local_time(timelapse.next_at, overview.at)}, {when}"


def _table(shown: Sequence[SlotFacts], overview: StatusSnapshot, screen: Screen) -> list[str]:
    rows = [_row(facts, overview) for facts in shown]
    head = (" slot", "scheduled", "began", "took", "outcome", "")
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(5)]
    lines = [screen.paint(_join(head, widths).rstrip(), Style.DIM)]
    for row, facts in zip(rows, shown, strict=True):
        start = _join(row[:4], widths)
        outcome = screen.paint(f"{row[4]:<{widths[4]}}", OUTCOMES[facts.status][1])
        room = None if screen.columns is None else screen.columns - len(start) - 2 - widths[4] - 2
        lines.append(f"{start}  {outcome}  {fitted(row[5], room)}".rstrip())
    return lines


def _join(row: Sequence[str], widths: Sequence[int]) -> str:
    """Return the cells in their columns; slot and duration are numbers and stand to the right."""
    aligned = [
        f"{cell:>{width}}" if column in (0, 3) else f"{cell:<{width}}"
        for column, (cell, width) in enumerate(zip(row, widths, strict=False))
    ]
    return "  ".join([*aligned, *row[len(widths) :]])


def _row(facts: SlotFacts, overview: StatusSnapshot) -> tuple[str, ...]:
    return (
        str(facts.slot),
        format_local_time(facts.scheduled_at, overview.at),
        _began(facts, overview),
        format_stopwatch(facts.took) if facts.took is not None else "–",
        "cut off" if facts.status is RecordStatus.RUNNING and overview.daemon is None else OUTCOMES[facts.status][0],
        _details(facts, overview),
    )


def _began(facts: SlotFacts, overview: StatusSnapshot) -> str:
    """Return the time alone, to the second; the day only where it isn't that of the schedule."""
    if facts.started_at is None:
        return "–"
    began = facts.started_at.astimezone()
    if began.date() != facts.scheduled_at.astimezone().date():
        return format_local_time(facts.started_at, overview.at)
    return f"{began:%H:%M:%S}"


def _details(facts: SlotFacts, overview: StatusSnapshot) -> str:
    progress = overview.daemon.progress if overview.daemon is not None else None
    parts = []
    if facts.status is RecordStatus.RUNNING and progress is not None:
        parts.append(f"{progress[0]} of {progress[1]}")
    if facts.pictures is not None:
        parts.append(format_count(facts.pictures, "picture"))
    if facts.attempt > 1:
        why = facts.last_error or (facts.error if facts.status is RecordStatus.RUNNING else "")
        why = why or ("interrupted" if facts.interruptions else "")
        parts.append(f"{ordinal(facts.attempt)} attempt{f' ({why})' if why else ''}")
    if facts.status not in (RecordStatus.SUCCEEDED, RecordStatus.RUNNING):
        if facts.reason is Reason.CLOCK_MOVED and "clock" not in facts.error:
            parts.append("the clock was set over it")
        parts.append(facts.error)
    return ", ".join(part for part in parts if part)


def _foot(overview: StatusSnapshot, screen: Screen) -> list[str]:
    troubles = overview.troubles()
    lines = [screen.paint(f"trouble: {trouble}", Style.RED) for trouble in troubles]
    words = [] if troubles else ["trouble: none now."]
    if overview.saved_at is not None:
        words.append(f"store: saved {_ago(overview.at - overview.saved_at)}.")
    words += [f"clock: {_clock(overview)}.", f"daemon: {_daemon(overview)}."]
    return lines + [screen.paint(line, Style.DIM) for line in flowing(words, screen.width, GAP)]


def _ago(age: timedelta) -> str:
    return f"{format_duration(age)} ago" if age >= timedelta(0) else f"{format_duration(age)} ahead of the clock"


def _clock(overview: StatusSnapshot) -> str:
    if overview.daemon is not None and not overview.daemon.clock_trusted:
        return "not trusted yet"
    return clock_words(overview.evidence)


def clock_words(evidence: ClockEvidence) -> str:
    """Return what the clock goes by."""
    if evidence.kernel_synchronised:
        return "synchronised"
    return "not synchronised, but set from a real-time clock at boot" if evidence.set_from_rtc else "not synchronised"


def _daemon(overview: StatusSnapshot) -> str:
    daemon, boots = overview.daemon, overview.logbook.boots
    if daemon is None:
        return "not running"
    boot = f" (boot {boots})" if boots else ""
    up = f"up {format_duration(overview.at - daemon.up_since)}" if daemon.up_since is not None else "ending"
    return f"{up}{boot}"
