"""``timelapsectl status``: how the timelapse goes; once, or for as long as somebody looks."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING, Any, Final

from plantimager.timelapse.cli.snapshot import StatusSnapshot, take_snapshot
from plantimager.timelapse.cli.status_json import snapshot_as_json
from plantimager.timelapse.cli.status_view import status_lines
from plantimager.timelapse.cli.terminal import screen_of
from plantimager.timelapse.domain.states import TimeLapseState
from plantimager.timelapse.domain.wording import describe_slot, format_local_time, format_status_line
from plantimager.timelapse.support.inotify import FileWatch

if TYPE_CHECKING:
    import argparse

    from plantimager.timelapse.cli.session import Session

TICK: Final = 1.0
"""Seconds between two looks at what no file tells: the time itself, and a daemon that was killed."""

FIXED_LINES: Final = 12
"""Of a screen, beside the records: head, bar, counts, the table's own, foot."""

ENTER: Final = "\x1b[?1049h\x1b[?25l\x1b[?7l"
"""xterm's alternate screen, without a cursor, and with lines that are cut at the right edge and not wrapped."""
LEAVE: Final = "\x1b[?7h\x1b[?25h\x1b[?1049l"
HOME, CLEAR_LINE, CLEAR_BELOW = "\x1b[H", "\x1b[K", "\x1b[J"
"""How to draw over what is there without a flicker."""


def run_status(options: argparse.Namespace, session: Session) -> int:
    """Show it.

    Raises
    ------
    StoreUnreadable, StoreCorrupt
        The store can't be shown.

    """
    if options.follow:
        return _follow(options, session)
    overview = take_snapshot(session.store, session.clock)
    if options.json:
        session.screen.write(json.dumps(snapshot_as_json(overview, options.records), indent=2))
    else:
        session.screen.write(*status_lines(overview, session.screen, options.records))
    return 0


def _follow(options: argparse.Namespace, session: Session) -> int:
    """Show it on every change until Ctrl-C (or SIGTERM), which is the usual end and no failure."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    drawn = session.screen.interactive and not options.json
    with FileWatch(session.store.parent) as watch:
        try:
            if drawn:
                session.screen.stream.write(ENTER)
            before: object = None
            while True:
                overview = take_snapshot(session.store, session.clock)
                if drawn:
                    _draw(options, session, overview)
                else:
                    before = _tell(options, session, overview, before)
                watch.wait(TICK)
        except KeyboardInterrupt:
            pass
        finally:
            if drawn:
                session.screen.stream.write(LEAVE)
                session.screen.stream.flush()
    if drawn:
        session.screen.write(
            *status_lines(take_snapshot(session.store, session.clock), session.screen, options.records)
        )
    return 0


def _draw(options: argparse.Namespace, session: Session, overview: StatusSnapshot) -> None:
    """Draw the screen over the last one, in the size that the terminal has by now."""
    screen = screen_of(session.screen.stream, session.environment)
    lines = screen.lines or 24
    shown = status_lines(overview, screen, min(options.records, max(lines - FIXED_LINES, 1)))
    frame = "\r\n".join(f"{line}{CLEAR_LINE}" for line in shown[: lines - 1])
    screen.stream.write(screen.encodable(f"{HOME}{frame}{CLEAR_BELOW}"))
    screen.stream.flush()


def _tell(options: argparse.Namespace, session: Session, overview: StatusSnapshot, before: object) -> object:
    """Write one line if there is something new; return what was told."""
    now: Any
    if options.json:
        now = snapshot_as_json(overview, options.records)
        # Worked out from the clock at each look, and so a little different each time.
        daemon = now["daemon"] and {**now["daemon"], "up_since": None}
        news = {**now, "at": None, "daemon": daemon}
        if news != before:
            session.screen.write(json.dumps(now))
        return news
    now = _sentence(overview)
    if now != before:
        session.screen.write(f"{format_local_time(overview.at, overview.at)} {now}")
    return now


def _sentence(overview: StatusSnapshot) -> str:
    timelapse, daemon = overview.timelapse, overview.daemon
    if timelapse is not None and timelapse.state is TimeLapseState.RUNNING and daemon is None:
        line = f"{timelapse.id}: was taking {describe_slot(timelapse, timelapse.next_idx)}"
    else:
        progress = daemon.progress if daemon is not None else None
        line = format_status_line(timelapse, overview.at, progress=progress, fresh=False)
    return "; ".join((line, *(f"trouble: {trouble}" for trouble in overview.troubles())))
