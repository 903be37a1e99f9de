"""The course of the demo: a first scan, a timelapse whose daemon is killed in mid-scan, its resume and its end.

A real daemon on the simulated rig, in a directory of its own, is killed with SIGKILL while it takes a picture, and is
started again. Nothing depends on the speed of the machine: the first scan is measured and the slots are spaced by it,
every wait is for something that the daemon did, and at the end the claims are checked against the store.
"""

from __future__ import annotations

import signal
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from plantimager.timelapse.cli.demo_daemon import DemoDaemon, DemoFailed
from plantimager.timelapse.cli.demo_home import N_SLOTS, POSITIONS, SLOTS, TIMELAPSE_ID, Home, slot_interval
from plantimager.timelapse.cli.snapshot import StatusSnapshot, take_snapshot
from plantimager.timelapse.cli.status_view import status_lines
from plantimager.timelapse.cli.terminal import Style
from plantimager.timelapse.cli.timeline import draw_rows
from plantimager.timelapse.cli.timeline_chart import build_chart
from plantimager.timelapse.domain.durations import format_duration
from plantimager.timelapse.domain.states import RecordStatus, TimeLapseState
from plantimager.timelapse.support.errors import EXIT_FAILED

if TYPE_CHECKING:
    import argparse

    from plantimager.timelapse.cli.session import Session
    from plantimager.timelapse.cli.terminal import Screen
    from plantimager.timelapse.domain.timelapse import TimeLapse
    from plantimager.timelapse.support.clock import Clock

FIRST_CUT_SLOT: Final = 2
"""The first slot in which the power may be cut: two slots are taken by then."""
MIN_CUT_PICTURES: Final = 4
"""Pictures that the scan has at least when the power is cut."""


class Cut(Struct, frozen=True):
    """The moment of the power cut."""

    slot: int
    attempt: int
    picture: int


def run_demo(_: argparse.Namespace, session: Session) -> int:
    """Show the demo; return 1 if one of its claims isn't true."""
    _end_like_ctrl_c()
    home = Home.make(session.environment)
    screen = session.screen
    try:
        cut = play(home, session.clock, screen)
    except DemoFailed as failure:
        raise DemoFailed(*failure.args, hint=f"everything is left in {home.directory}") from failure
    snapshot = take_snapshot(home.store, session.clock)
    _show_end(snapshot, home, screen)
    false_claims = find_false_claims(snapshot.timelapse, home, cut)
    for claim in false_claims:
        screen.write(screen.paint(f"NOT TRUE: {claim}", Style.RED))
    if false_claims:
        return EXIT_FAILED
    _show_next_steps(screen)
    return 0


def _end_like_ctrl_c() -> None:
    """End like Ctrl-C when the terminal closes, so that the daemon ends too; an ignored signal (nohup) stays so."""
    for number in (signal.SIGHUP, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler)


def play(home: Home, clock: Clock, screen: Screen) -> Cut:
    """Run the timelapse to its end, with a power cut in one of its scans; return when, or raise `DemoFailed`."""
    _narrate(screen, f"a first scan on a simulated rig, to measure it; all of it is in {home.directory} (… below)")
    with DemoDaemon(home, clock, screen) as daemon:
        first_scan = _measure_first_scan(daemon, home, clock)
        interval = slot_interval(first_scan)
        apart = f"{N_SLOTS} slots, {format_duration(interval)} apart"
        _narrate(screen, f"it took {format_duration(first_scan)}; now a timelapse of {apart}")
        home.define(SLOTS.format(interval=interval.total_seconds()))
        daemon.reload()
        cut = _cut_power(daemon, home, clock, screen)
    _resume(home, clock, screen)
    return cut


def _measure_first_scan(daemon: DemoDaemon, home: Home, clock: Clock) -> timedelta:
    """Return how long a scan takes on this machine, by the record of the first one."""
    begun = clock.monotonic()
    daemon.wait_until(lambda: _is_idle(take_snapshot(home.store, clock)))
    timelapse = take_snapshot(home.store, clock).timelapse
    record = timelapse.records.get(0) if timelapse is not None else None
    if record is None or record.status is not RecordStatus.SUCCEEDED or record.took is None:
        raise DemoFailed(f"the first scan failed: {record.error_text if record is not None else 'it has no record'}")
    # The clock may have been set meanwhile, which changes the record's times and not this one.
    return min(record.took, timedelta(seconds=clock.monotonic() - begun))


def _cut_power(daemon: DemoDaemon, home: Home, clock: Clock, screen: Screen) -> Cut:
    cut = None
    while cut is None:
        daemon.wait_until(lambda: _find_scan(home, clock) is not None or _is_over(_read_demo(home, clock)))
        # A frozen daemon can't finish the scan between the check and the kill, however slow this machine is.
        daemon.freeze()
        cut = _find_scan(home, clock)
        if cut is None:
            daemon.thaw()
            if _is_over(_read_demo(home, clock)):
                raise DemoFailed("all slots were taken before the power could be cut in one of them")
    _narrate(screen, f"POWER CUT: SIGKILL for PID {daemon.pid}, slot {cut.slot}, picture {cut.picture} of {POSITIONS}")
    daemon.kill()
    return cut


def _resume(home: Home, clock: Clock, screen: Screen) -> None:
    """Start a daemon on the store that the first one left, wait for the last slot, and stop it as systemd does."""
    left = _read_demo(home, clock)
    if left is None or left.state is not TimeLapseState.RUNNING:
        raise DemoFailed("the store doesn't say that a scan was running when the power went")
    _narrate(screen, f"the store says: running, slot {left.next_idx} of {left.n_slots}; the power comes back")
    with DemoDaemon(home, clock, screen) as daemon:
        daemon.wait_until(lambda: _is_over(_read_demo(home, clock)))
        code = daemon.stop()
    if code != 0:
        raise DemoFailed(f"the daemon ended with {code}")


def _find_scan(home: Home, clock: Clock) -> Cut | None:
    """Return the position of the running scan, if it is in its middle and its slot is late enough for the cut."""
    timelapse = _read_demo(home, clock)
    record = timelapse.current if timelapse is not None else None
    if record is None or record.status is not RecordStatus.RUNNING or record.slot < FIRST_CUT_SLOT:
        return None
    pictures = home.unfinished_pictures(record.scan_id)
    return Cut(record.slot, record.attempt, pictures) if MIN_CUT_PICTURES <= pictures < POSITIONS else None


def _read_demo(home: Home, clock: Clock) -> TimeLapse | None:
    """Return the timelapse of the slots; ``None`` while the store still holds the first scan."""
    timelapse = take_snapshot(home.store, clock).timelapse
    return timelapse if timelapse is not None and timelapse.id == TIMELAPSE_ID else None


def _is_idle(snapshot: StatusSnapshot) -> bool:
    """Whether the timelapse is over and the daemon has logged that: it has put the rig into standby."""
    return _is_over(snapshot.timelapse) and snapshot.daemon is not None and snapshot.daemon.rig == "standby"


def _is_over(timelapse: TimeLapse | None) -> bool:
    return timelapse is not None and timelapse.state.is_terminal


def _show_end(snapshot: StatusSnapshot, home: Home, screen: Screen) -> None:
    _narrate(screen, "this is what `timelapsectl status` and `timelapsectl timeline` show of it")
    screen.write("", *status_lines(snapshot, screen, N_SLOTS))
    if snapshot.timelapse is not None:
        screen.write("", *draw_rows(build_chart(snapshot, snapshot.timelapse), screen))
    screen.write("", f"pictures: {home.datasets}/demo_0 to demo_{N_SLOTS - 1}, each with {POSITIONS} in images/")


def _show_next_steps(screen: Screen) -> None:
    screen.write(
        "",
        screen.paint("For a real rig, two commands come next:", Style.BOLD),
        "  sudo systemd/install                                   # the service, up at every boot",
        "  timelapsectl start config/timelapse.toml               # a timelapse; change the file first",
        "Between them, name its driver in /etc/plant-imager3-app/timelapsed.toml, or the service simulates a rig;",
        "an example with every setting is beside it.",
        'The second takes sudo, or the group: sudo usermod -aG plant-imager "$USER", then log in again.',
    )


def _narrate(screen: Screen, sentence: str) -> None:
    """Write a sentence of the demo itself, marked among the daemon's log lines."""
    screen.write(screen.paint(f"» {sentence}", Style.BOLD, Style.CYAN))


def find_false_claims(timelapse: TimeLapse | None, home: Home, cut: Cut) -> list[str]:
    """Return a sentence for each claim that isn't true: that all is taken, and what the power cut hit taken again."""
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
