"""``timelapsectl preview``: the slots of a definition, as if it started now."""

from __future__ import annotations

from itertools import groupby, pairwise
from typing import TYPE_CHECKING, Final

from plantimager.timelapse.cli.findings import configured_driver, disk_line, outlook_of_definition, scan_fit_notes
from plantimager.timelapse.cli.terminal import Style, flow
from plantimager.timelapse.domain.durations import format_duration
from plantimager.timelapse.domain.states import OnScanFailed
from plantimager.timelapse.domain.wording import describe_schedule, describe_zone
from plantimager.timelapse.scan.cameras import read_cameras
from plantimager.timelapse.scan.paths import read_path
from plantimager.timelapse.settings.definition import read_definition
from plantimager.timelapse.support.errors import TimelapsedError
from plantimager.timelapse.support.text import format_count

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence
    from datetime import date, datetime

    from plantimager.timelapse.cli.session import Session
    from plantimager.timelapse.cli.terminal import Screen
    from plantimager.timelapse.domain.schedule import Schedule
    from plantimager.timelapse.settings.definition import Definition
    from plantimager.timelapse.settings.disk_plan import DiskOutlook
    from plantimager.timelapse.support.faults import Fault

FIRST_DAYS, LAST_DAYS = 4, 1
"""Days shown of a long timelapse."""
MAX_SLOTS_PER_DAY: Final = 24
"""A day with more slots is dense: only its first `FIRST_SLOTS` and the last one are shown."""
FIRST_SLOTS: Final = 4
"""Slots that fit the line of a dense day."""


def run_preview(options: argparse.Namespace, session: Session) -> int:
    """Show the schedule."""
    path = options.file or session.places.find_definition()
    if path is None:
        where = " or ".join(str(directory) for directory in session.places.config_directories)
        raise TimelapsedError(f"no definition in {where}", hint="name one: timelapsectl preview FILE")
    now = session.clock.now()
    definition = read_definition(path)
    schedule = definition.schedule(now)
    with configured_driver(session.places) as driver:
        fit = scan_fit_notes(definition, schedule.slots, driver, session.places)
        disk = outlook_of_definition(definition, schedule.slots, driver, session.places, now)
    schedule = schedule._replace(notes=(*schedule.notes, *fit))
    session.screen.show(*preview_lines(definition, schedule, now, session.screen, every_slot=options.all, disk=disk))
    return 0


def preview_lines(
    definition: Definition,
    schedule: Schedule,
    now: datetime,
    screen: Screen,
    *,
    every_slot: bool,
    disk: DiskOutlook | None = None,
) -> list[str]:
    """Return the screen; with ``every_slot`` a line for each slot instead of a paragraph for each day."""
    slots, notes = schedule
    days = len({slot.astimezone().date() for slot in slots})
    lasts = f" over {format_duration(slots[-1] - slots[0])}, on {format_count(days, 'day')}" if len(slots) > 1 else ""
    lines = [
        f"{screen.paint(definition.name, Style.BOLD)}  {describe_schedule(definition.mode, slots, now)}",
        f"{format_count(len(slots), 'slot')}{lasts}; times are local, {describe_zone(slots)}",
        _describe_scan(definition),
        *_describe_rig(definition, slots),
    ]
    if definition.start_at is None and not definition.dates:
        lines.append("the first slot is a warm-up after the start; shown as if that were now")
    if disk is not None:
        lines.append(disk_line(disk, screen))
    lines += [screen.paint(f"note: {note}", Style.YELLOW) for note in notes]
    return [*lines, "", *(_table(definition, slots, now, screen) if every_slot else _days(slots, screen))]


def _describe_scan(definition: Definition) -> str:
    """Return the numbers of positions, cameras and pictures of a slot."""
    faults: list[Fault] = []  # stays empty: the definition was read without faults
    cameras = read_cameras(definition.configuration, faults)
    path = definition.configuration.get("ScanPath")
    poses = read_path(path, faults) if path is not None else None
    parts = [format_count(len(poses), "position")] if poses else ["the driver's own path"]
    parts += [format_count(len(cameras), "camera")] if cameras else ["the driver's own cameras"]
    pictures = len(poses) * len(cameras) if poses else 0
    parts += [format_count(pictures, "picture")] if pictures else []
    return f"a slot: {', '.join(parts)}"


def _describe_rig(definition: Definition, slots: Sequence[datetime]) -> Iterator[str]:
    far = sum(late - early > definition.standby_threshold for early, late in pairwise(slots))
    warm = f"warmed up {format_duration(definition.warmup)} before" if definition.warmup else "not warmed up"
    standby = f"standby in {far} of {format_count(len(slots) - 1, 'pause')}" if len(slots) > 1 else "standby afterwards"
    grace = f"may start {format_duration(definition.grace)} late" if definition.grace else "must start in time"
    retries = f"{format_count(definition.scan_retries, 'retry', 'retries')}, then " if definition.scan_retries else ""
    goes_on = definition.on_scan_failed is OnScanFailed.SKIP_SCAN
    yield f"the rig: {warm}, {standby} (those longer than {format_duration(definition.standby_threshold)})"
    yield f"a slot {grace}; if it fails: {retries}the timelapse {'goes on' if goes_on else 'ends'}"


def _days(slots: Sequence[datetime], screen: Screen) -> Iterator[str]:
    """Yield a paragraph for each day, of a long schedule only for the first days and the last."""
    days = [(day, list(group)) for day, group in groupby(slots, key=lambda slot: slot.astimezone().date())]
    left_out = len(days) - FIRST_DAYS - LAST_DAYS
    shown = days if left_out <= 1 else [*days[:FIRST_DAYS], *days[-LAST_DAYS:]]
    seconds = any(slot.second for slot in slots)
    for index, (day, day_slots) in enumerate(shown):
        if left_out > 1 and index == FIRST_DAYS:
            yield f"{'…':<17}{left_out} more days (--all shows every slot)"
        yield from _day_lines(day, day_slots, screen, seconds=seconds)


def _day_lines(day: date, slots: Sequence[datetime], screen: Screen, *, seconds: bool) -> Iterator[str]:
    times = [_clock_time(slot, seconds=seconds) for slot in slots]
    if len(times) > MAX_SLOTS_PER_DAY:
        left_out = len(times) - FIRST_SLOTS - 1
        times = [*times[:FIRST_SLOTS], f"… {left_out} more …", times[-1]]
    for index, line in enumerate(flow(times, screen.width - 17, "  ")):
        yield f"{'' if index else f'{day:%a %d %b %Y}':<17}{line}"


def _table(definition: Definition, slots: Sequence[datetime], now: datetime, screen: Screen) -> Iterator[str]:
    seconds = any(slot.second for slot in slots)
    width = len(str(len(slots) - 1))
    yield screen.paint(f"{'slot':>{max(width, 4)}}  {'local time':<{24 if seconds else 21}}  UTC", Style.DIM)
    following = [*slots[1:], None]
    for index, (slot, later) in enumerate(zip(slots, following, strict=True)):
        local = f"{slot.astimezone():%a %d %b %Y} {_clock_time(slot, seconds=seconds)}"
        remark = "  already missed" if slot + definition.grace < now else ""
        if later is not None and later - slot > definition.standby_threshold:
            remark += "  then standby"
        yield f"{index:>{max(width, 4)}}  {local}  {slot:%Y-%m-%dT%H:%M:%SZ}{remark}"


def _clock_time(slot: datetime, *, seconds: bool) -> str:
    """Return the local time of day, with its offset in the hour that occurs twice in autumn."""
    local = slot.astimezone()
    text = f"{local:%H:%M:%S}" if seconds else f"{local:%H:%M}"
    first, second = (local.replace(tzinfo=None, fold=fold).timestamp() for fold in (0, 1))
    return text if first == second else f"{text}{local:%z}"
