"""A `StatusSnapshot` for people: state, progress, next slot, the last slots, troubles."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from plantimager.timelapse.cli.terminal import Style, align, fit, flow, pad, text_width, truncate
from plantimager.timelapse.domain.durations import format_duration, format_stopwatch
from plantimager.timelapse.domain.pausing import describe_pause, next_to_take, pause_at
from plantimager.timelapse.domain.states import Reason, RecordStatus, TimeLapseState
from plantimager.timelapse.domain.wording import describe_end_of_pause, describe_schedule, format_local_time, ordinal
from plantimager.timelapse.support.text import format_count, one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from plantimager.timelapse.cli.service_state import ServiceState
    from plantimager.timelapse.cli.snapshot import SlotFacts, StatusSnapshot
    from plantimager.timelapse.cli.terminal import Screen
    from plantimager.timelapse.domain.timelapse import TimeLapse
    from plantimager.timelapse.support.clock_evidence import ClockEvidence

GAP: Final = "   "
SIMULATED: Final = "simulated"
"""The default driver. Its pictures show no real plant, so the screen says which driver it is."""
BAR_MARGIN: Final = 14
"""Columns beside the progress bar: its brackets and ``17 of 48``."""

MAX_ASIDE: Final = 5
"""Things that stand aside and are named."""

TABLE_HEAD: Final = (" slot", "scheduled", "began", "took", "outcome", "")
NUMBERS: Final = (0, 3)
"""The columns of the table that are aligned to the right."""
EXPENDABLE: Final = (3, 2)
"""The columns that a narrow terminal does without, the first before the second."""

STATE_STYLES: Final = {
    TimeLapseState.CONFIGURED: (Style.DIM,),
    TimeLapseState.SCHEDULED: (Style.BOLD, Style.CYAN),
    TimeLapseState.RUNNING: (Style.BOLD, Style.BLUE),
    TimeLapseState.COMPLETED: (Style.BOLD, Style.GREEN),
    TimeLapseState.FAILED: (Style.BOLD, Style.RED),
    TimeLapseState.CANCELLED: (Style.BOLD, Style.YELLOW),
}

OUTCOMES: Final = {
    RecordStatus.FAILED: ("failed", Style.RED),
    RecordStatus.INTERRUPTED: ("interrupted", Style.MAGENTA),
    RecordStatus.SKIPPED: ("skipped", Style.YELLOW),
    RecordStatus.RUNNING: ("scanning", Style.BLUE),
    RecordStatus.PENDING: ("waiting", Style.YELLOW),
    RecordStatus.SUCCEEDED: ("taken", Style.GREEN),
}
"""Word and colour of each outcome of a slot, the worst first: it gives a cell of the bar its colour."""


def status_lines(snapshot: StatusSnapshot, screen: Screen, records: int) -> list[str]:
    """Return the screen with the last ``records`` slots; no line is wider than it."""
    return [*fit(_lines(snapshot, screen, records), screen.columns)]


def _lines(snapshot: StatusSnapshot, screen: Screen, records: int) -> list[str]:
    timelapse = snapshot.timelapse
    if timelapse is None:
        return [f"no timelapse in {snapshot.store}; define one with timelapsectl start FILE", *_foot(snapshot, screen)]
    lines = [_head(snapshot, timelapse, screen), _bar(timelapse, screen), *_counts(snapshot, timelapse, screen)]
    if timelapse.ending is not None:
        ending = timelapse.ending
        lines.append(
            snapshot.redact(f"ended {format_local_time(ending.at, snapshot.at)} by {ending.who}: {ending.why}")
        )
    pause = pause_at(timelapse, snapshot.at)
    if pause is not None:
        since = format_local_time(pause.since, snapshot.at)
        words = f"{describe_pause(pause)} since {since}, {describe_end_of_pause(pause.until, snapshot.at)}"
        lines.append(screen.paint(snapshot.redact(words), Style.YELLOW))
    shown = [facts for facts, _ in zip(snapshot.slots(), range(records), strict=False)]
    if shown:
        lines += ["", *_table(shown, snapshot, screen)]
    return [*lines, "", *_foot(snapshot, screen)]


def _head(snapshot: StatusSnapshot, timelapse: TimeLapse, screen: Screen) -> str:
    is_paused = pause_at(timelapse, snapshot.at) is not None and timelapse.state is TimeLapseState.SCHEDULED
    state = "paused" if is_paused else timelapse.state.value
    schedule = describe_schedule(timelapse.mode, timelapse.schedule_times, snapshot.at)
    name = truncate(timelapse.id, screen.width - len(state) - 2 * 2)
    columns = screen.width - text_width(name) - len(state) - 2 * 2
    schedule = pad(truncate(schedule, columns) if columns else "", columns)
    painted = screen.paint(state, *STATE_STYLES[timelapse.state])
    return f"{screen.paint(name, Style.BOLD)}  {schedule}  {painted}"


def _bar(timelapse: TimeLapse, screen: Screen) -> str:
    """Return the progress bar. A cell is one slot or more, in the colour of the worst of them."""
    n_slots, done = timelapse.n_slots, timelapse.tally.done
    count = f"{done} of {n_slots}"
    cells = min(max(screen.width - BAR_MARGIN, 10), screen.width - len(count) - 4)
    full = done * cells // n_slots if n_slots else cells
    if not screen.colour:
        bar = "■" * full
    else:
        bar = "".join(screen.paint("■", _colour_of_cell(timelapse, cell, cells)) for cell in range(full))
    return f"[{bar}{screen.paint('·' * (cells - full), Style.DIM)}]  {count}"


def _colour_of_cell(timelapse: TimeLapse, cell: int, cells: int) -> Style:
    first = cell * timelapse.n_slots // cells
    following = max((cell + 1) * timelapse.n_slots // cells, first + 1)
    records = (timelapse.records.get(slot) for slot in range(first, following))
    statuses = {record.status for record in records if record is not None}
    worst = next((status for status in OUTCOMES if status in statuses), RecordStatus.SUCCEEDED)
    return OUTCOMES[worst][1]


def _counts(snapshot: StatusSnapshot, timelapse: TimeLapse, screen: Screen) -> list[str]:
    tally = timelapse.tally
    counts = {"taken": tally.taken, "failed": tally.failed, "skipped": tally.skipped, "interrupted": tally.interrupted}
    parts = [f"{count} {word}" for word, count in counts.items() if count or word == "taken"]
    parts += [_next_slot(snapshot, timelapse)] if timelapse.state.is_active else []
    if snapshot.daemon is not None:
        simulated = " (simulated)" if snapshot.daemon.says.driver == SIMULATED else ""
        parts.append(f"rig: {snapshot.daemon.rig}{simulated}")
    return flow(parts, screen.width, GAP)


def _next_slot(snapshot: StatusSnapshot, timelapse: TimeLapse) -> str:
    slot = timelapse.next_idx
    if timelapse.state is TimeLapseState.RUNNING:
        if snapshot.daemon is None:
            return f"was taking slot {slot}"
        progress = snapshot.daemon.says.progress
        return f"now: slot {slot}{f', {progress}' if progress else ''}"
    following = next_to_take(timelapse)
    if following is None:
        return "next: none before timelapsectl resume" if timelapse.pause is not None else "no slot is left"
    next_at = timelapse.schedule_times[following]
    when = describe_wait(next_at - snapshot.at)
    return f"next: slot {following} at {format_local_time(next_at, snapshot.at)}, {when}"


def describe_wait(ahead: timedelta) -> str:
    """Return ``in 3 h``, or how late a slot is."""
    return f"in {format_duration(ahead)}" if ahead >= timedelta(0) else f"{format_duration(ahead)} late"


def _table(shown: Sequence[SlotFacts], snapshot: StatusSnapshot, screen: Screen) -> list[str]:
    rows = [TABLE_HEAD, *(_row(facts, snapshot) for facts in shown)]
    aligned = align(rows, NUMBERS)
    columns = [*range(len(TABLE_HEAD) - 1)]
    for expendable in EXPENDABLE:
        if sum(text_width(aligned[0][n]) + 2 for n in columns) - 2 > (screen.columns or screen.width):
            columns.remove(expendable)
    head, *cells = ([row[n] for n in columns] for row in aligned)
    lines = [screen.paint("  ".join(head).rstrip(), Style.DIM)]
    for (*start, outcome), row, facts in zip(cells, rows[1:], shown, strict=True):
        used = sum(text_width(cell) + 2 for cell in (*start, outcome))
        left = None if screen.columns is None else screen.columns - used
        details = truncate(row[-1], left) if left is None or left > 0 else ""
        painted = screen.paint(outcome, OUTCOMES[facts.record.status][1])
        lines.append("  ".join((*start, painted, details)).rstrip())
    return lines


def _row(facts: SlotFacts, snapshot: StatusSnapshot) -> tuple[str, ...]:
    record = facts.record
    scheduled = format_local_time(facts.scheduled_at, snapshot.at)
    if _waits_for_rig(facts, snapshot):
        following = f"{ordinal(record.attempt + 1)} attempt waits for the rig" if record.attempt else ""
        if record.attempt and record.started_at is not None:
            following += f" ({ordinal(record.attempt)} began {_began(facts, snapshot)})"
        words = ", ".join(part for part in (following, facts.error) if part)
        return str(record.slot), scheduled, "–", "–", OUTCOMES[RecordStatus.PENDING][0], words
    is_cut_off = record.status is RecordStatus.RUNNING and snapshot.daemon is None
    return (
        str(record.slot),
        scheduled,
        _began(facts, snapshot),
        format_stopwatch(record.took) if record.took is not None else "–",
        "cut off" if is_cut_off else OUTCOMES[record.status][0],
        _details(facts, snapshot),
    )


def _waits_for_rig(facts: SlotFacts, snapshot: StatusSnapshot) -> bool:
    """Whether the next slot waits for an attempt; what is on record of the attempt before is over."""
    timelapse, record = snapshot.timelapse, facts.record
    if timelapse is None or timelapse.state is not TimeLapseState.SCHEDULED or timelapse.next_idx != record.slot:
        return False
    return record.status is RecordStatus.PENDING or (
        record.status is RecordStatus.INTERRUPTED and snapshot.daemon is not None
    )


def _began(facts: SlotFacts, snapshot: StatusSnapshot) -> str:
    """Return the start to the second, with its day only where that differs from the scheduled one."""
    if facts.record.started_at is None:
        return "–"
    began = facts.record.started_at.astimezone()
    if began.date() != facts.scheduled_at.astimezone().date():
        return format_local_time(began, snapshot.at)
    return f"{began:%H:%M:%S}"


def _details(facts: SlotFacts, snapshot: StatusSnapshot) -> str:
    record, progress = facts.record, snapshot.daemon.says.progress if snapshot.daemon is not None else None
    is_running = record.status is RecordStatus.RUNNING
    parts = []
    if is_running and progress is not None:
        parts.append(str(progress))
    if record.pictures is not None:
        parts.append(format_count(record.pictures, "picture"))
    if record.attempt > 1:
        why = facts.last_error or (facts.error if is_running else "")
        why = why or ("interrupted" if record.interruptions else "")
        parts.append(f"{ordinal(record.attempt)} attempt{f' ({why})' if why else ''}")
    if record.status is not RecordStatus.SUCCEEDED and not is_running:
        if record.reason is Reason.CLOCK_MOVED and "clock" not in facts.error:
            parts.append("the clock was set over it")
        parts.append(facts.error)
    return ", ".join(part for part in parts if part)


def _foot(snapshot: StatusSnapshot, screen: Screen) -> list[str]:
    troubles = snapshot.troubles()
    lines = [screen.paint(f"trouble: {trouble}", Style.RED) for trouble in troubles]
    if snapshot.service is not None:
        lines += [screen.paint(line, Style.YELLOW) for line in service_lines(snapshot.service, snapshot.redact)]
    lines += [screen.paint(f"note: {note}", Style.YELLOW) for note in snapshot.notes()]
    lines += [f"aside: {snapshot.redact(f'{thing.path}: {thing.what}')}" for thing in snapshot.aside[:MAX_ASIDE]]
    if len(snapshot.aside) > MAX_ASIDE:
        lines.append(f"aside: {len(snapshot.aside) - MAX_ASIDE} more; timelapsectl status --json names them")
    parts = [] if troubles else ["trouble: none now."]
    if snapshot.saved_at is not None:
        parts.append(f"store: saved {_ago(snapshot.at - snapshot.saved_at)}.")
    parts += [f"clock: {_clock(snapshot)}.", f"daemon: {_daemon(snapshot)}."]
    return lines + [screen.paint(line, Style.DIM) for line in flow(parts, screen.width, GAP)]


def service_lines(service: ServiceState, redact: Callable[[str], str] = one_line) -> list[str]:
    """Return why no daemon runs, each fault of a file on a line of its own, and the command that mends it."""
    definition = [redact(f"definition: {service.definition}")] if service.definition else []
    first, *further = map(redact, service.why.split("\n"))
    head = f"service: {first}" if service.word in service.why else f"service: {service.word}: {first}"
    return [head, *(f"  {line}" for line in further), f"  hint: {service.remedy}", *definition]


def _ago(age: timedelta) -> str:
    return f"{format_duration(age)} ago" if age >= timedelta(0) else f"{format_duration(age)} ahead of the clock"


def _clock(snapshot: StatusSnapshot) -> str:
    if snapshot.daemon is not None and not snapshot.daemon.says.is_clock_trusted:
        return "not trusted yet"
    return describe_clock(snapshot.evidence)


def describe_clock(evidence: ClockEvidence) -> str:
    """Return how the clock was set, in words."""
    if evidence.kernel_synchronised:
        return "synchronised"
    return "not synchronised, but set from a real-time clock at boot" if evidence.set_from_rtc else "not synchronised"


def _daemon(snapshot: StatusSnapshot) -> str:
    daemon, boots = snapshot.daemon, snapshot.logbook.boots
    if daemon is None:
        seen_at = snapshot.seen.at
        return "not running" + (f", last sign of life {_ago(snapshot.at - seen_at)}" if seen_at is not None else "")
    boot = f" (boot {boots})" if boots else ""
    up = f"up {format_duration(snapshot.at - daemon.up_since)}" if daemon.up_since is not None else "ending"
    return f"{up}{boot}"
