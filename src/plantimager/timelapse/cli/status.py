"""``timelapsectl status``: the state of the timelapse, once or on every change."""

from __future__ import annotations

import json
import signal
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from msgspec import to_builtins
from msgspec.structs import asdict, replace

from plantimager.timelapse.cli.child_look import look_in_child
from plantimager.timelapse.cli.findings import (
    configured_driver,
    disk_line,
    estimate_bytes,
    held_timelapse,
    outlook_of_timelapse,
)
from plantimager.timelapse.cli.relay_request import look_at_relay
from plantimager.timelapse.cli.service_state import NOT_RUNNING, read_service_state
from plantimager.timelapse.cli.session import Scope
from plantimager.timelapse.cli.silent_storage import StorageSilent, read_state_by_systemd
from plantimager.timelapse.cli.snapshot import StatusSnapshot, UnseenRig, running_attempt
from plantimager.timelapse.cli.snapshot_source import SnapshotSource
from plantimager.timelapse.cli.status_json import snapshot_as_json, unseen_as_json
from plantimager.timelapse.cli.status_view import service_lines, status_lines
from plantimager.timelapse.cli.terminal import detect_screen, fit
from plantimager.timelapse.datasets.set_aside import SetAside, find_set_aside
from plantimager.timelapse.domain.states import TimeLapseState
from plantimager.timelapse.domain.wording import describe_slot, format_local_time, format_status_line
from plantimager.timelapse.settings.config import read_daemon_config
from plantimager.timelapse.support.errors import StoreUnreadable, TimelapsedError
from plantimager.timelapse.support.inotify import FileWatch
from plantimager.timelapse.support.text import one_line

if TYPE_CHECKING:
    import argparse

    from plantimager.timelapse.cli.service_state import ServiceState
    from plantimager.timelapse.cli.session import Session
    from plantimager.timelapse.cli.terminal import Screen
    from plantimager.timelapse.domain.timelapse import TimeLapse
    from plantimager.timelapse.settings.disk_plan import DiskOutlook

REFRESH_SECONDS: Final = 1.0
"""Longest time between two readings. No file shows that time passes, or that a daemon was killed."""

ASIDE_SECONDS: Final = 3.0
"""For the look at the datasets' directory, which may be another computer's."""

TABLE_LINES: Final = 3
"""Lines that the records take beside their own: a blank one, the head of the table, and the last one of the screen."""

SERVICE_AGE: Final = timedelta(seconds=5)
"""Between two questions to systemd, which take a process each."""

ENTER_SCREEN: Final = "\x1b[?1049h\x1b[?25l\x1b[?7l"
"""xterm's alternate screen, without a cursor; lines are cut at the right edge, not wrapped."""
LEAVE_SCREEN: Final = "\x1b[?7h\x1b[?25h\x1b[?1049l"
CURSOR_HOME, CLEAR_LINE, CLEAR_BELOW = "\x1b[H", "\x1b[K", "\x1b[J"
"""Codes to draw over the last screen without flicker."""


def run_status(options: argparse.Namespace, session: Session) -> int:
    """Show the status."""
    if session.silent is not None:
        silence = StorageSilent(session.store, f"{session.silent} doesn't answer")
        _show_unseen(options, session, silence)
        raise silence
    if options.follow:
        return _follow(options, session)
    try:
        snapshot = SnapshotSource(session).take()
    except (TimelapsedError, OSError) as problem:
        _show_unseen(options, session, problem)
        raise
    service = None if snapshot.daemon is not None else read_service_state(session)
    snapshot = replace(snapshot, aside=_find_aside(session, snapshot.timelapse), service=service)
    disk = _find_disk(session, snapshot.timelapse)
    if options.json:
        relay = look_at_relay(session).status
        facts = {
            **snapshot_as_json(snapshot, options.records),
            "disk": None if disk is None else asdict(disk),
            "doubtful": [] if relay is None else to_builtins(relay.doubts),
        }
        session.screen.write(json.dumps(facts, indent=2))
    else:
        further = (*([] if disk is None else [disk_line(disk, session.screen)]), *_relay_lines(session))
        session.screen.show(*status_lines(snapshot, session.screen, options.records), *further)
    return 0


def _show_unseen(options: argparse.Namespace, session: Session, problem: Exception) -> None:
    """Say at least what systemd knows, where the rig can't be looked at; the ``problem`` is an error's own sentence."""
    may_ask = (options.json or isinstance(problem, StoreUnreadable)) and session.scope is not Scope.OWN
    read = read_service_state if session.silent is None else read_state_by_systemd
    service = read(session) if may_ask else None
    if options.json:
        session.screen.write(json.dumps(unseen_as_json(_unseen(session, problem, service)), indent=2))
    elif service is not None and service.word != NOT_RUNNING:
        session.screen.show(*service_lines(service))


def _unseen(session: Session, problem: Exception, service: ServiceState | None) -> UnseenRig:
    return UnseenRig(at=session.clock.now(), store=session.store, error=one_line(str(problem)), service=service)


def _find_aside(session: Session, timelapse: TimeLapse | None) -> tuple[SetAside, ...]:
    """Return what stands aside, once for a command: that takes a while where there are many datasets.

    A disk that doesn't answer is left out: status is what a person looks at then.
    """
    running = running_attempt(timelapse)

    def find() -> tuple[SetAside, ...]:
        named = None
        with suppress(TimelapsedError):
            named = read_daemon_config(session.places.find_config())[0].datasets
        places = session.places
        directory = places.datasets_of(named, () if timelapse is None else timelapse.scan_ids)
        return (*find_set_aside(directory, session.store, owner=places.owner, running=running),)

    with suppress(OSError):
        return look_in_child(find, ASIDE_SECONDS, session.store.parent)
    return ()


def _relay_lines(session: Session) -> list[str]:
    return [f"relay: {line}" for line in look_at_relay(session).lines]


def _find_disk(session: Session, timelapse: TimeLapse | None) -> DiskOutlook | None:
    """Return when the disk is full; ``None`` where that isn't known."""
    if timelapse is None:
        return None

    def estimate() -> int | None:
        held = held_timelapse(session.places)  # only it has the scan's configuration
        with configured_driver(session.places) as driver:
            return None if held is None else estimate_bytes(driver, held.configuration or {})

    return outlook_of_timelapse(timelapse, estimate, session.places, session.clock.now())


class _Looks:
    """Looks at a rig again and again. What takes long is looked for once, or now and then."""

    def __init__(self, session: Session) -> None:
        self._session, self._source = session, SnapshotSource(session)
        self._aside: tuple[SetAside, ...] | None = None
        """Found with the first snapshot."""
        self._service: ServiceState | None = None
        self._asked_at = datetime.min.replace(tzinfo=UTC)

    def take(self) -> StatusSnapshot | UnseenRig:
        """Return the state of the rig; out of sight it may be for a while, but the first look raises why."""
        try:
            snapshot = self._source.take()
        except (TimelapsedError, OSError) as problem:
            if self._aside is None:
                raise
            return _unseen(self._session, problem, self._find_service(self._session.clock.now()))
        if self._aside is None:
            self._aside = _find_aside(self._session, snapshot.timelapse)
        service = None if snapshot.daemon is not None else self._find_service(snapshot.at)
        return replace(snapshot, aside=self._aside, service=service)

    def _find_service(self, now: datetime) -> ServiceState | None:
        if not timedelta(0) <= now - self._asked_at < SERVICE_AGE:
            self._service, self._asked_at = read_service_state(self._session), now
        return self._service


def _follow(options: argparse.Namespace, session: Session) -> int:
    """Show the status on every change. Ctrl-C (or SIGTERM) is the usual end, not a failure."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    drawn = session.screen.interactive and not options.json
    looks = _Looks(session)
    with FileWatch(session.store.parent) as watch:
        try:
            if drawn:
                session.screen.stream.write(ENTER_SCREEN)
            before: object = None
            while True:
                seen = looks.take()
                if drawn:
                    _draw(options, session, seen)
                else:
                    before = _write_change(options, session, seen, before)
                watch.wait(REFRESH_SECONDS)
        except KeyboardInterrupt:
            pass
        finally:
            if drawn:
                session.screen.stream.write(LEAVE_SCREEN)
                session.screen.stream.flush()
    if drawn:
        session.screen.write(*_lines(looks.take(), session.screen, options.records))
    return 0


def _lines(seen: StatusSnapshot | UnseenRig, screen: Screen, records: int) -> list[str]:
    if isinstance(seen, StatusSnapshot):
        return status_lines(seen, screen, records)
    service = service_lines(seen.service) if seen.service is not None else []
    return [*fit([f"out of sight: {seen.error}", *service], screen.columns)]


def _draw(options: argparse.Namespace, session: Session, seen: StatusSnapshot | UnseenRig) -> None:
    """Draw over the last screen, in the present size of the terminal."""
    screen = detect_screen(session.screen.stream, session.environment)
    lines = screen.lines or 24
    relay = [*fit(_relay_lines(session), screen.columns)]
    beside = len(_lines(seen, screen, 0)) + len(relay) + TABLE_LINES
    shown = [*_lines(seen, screen, min(options.records, max(lines - beside, 1))), *relay]
    frame = "\r\n".join(f"{screen.showable(line)}{CLEAR_LINE}" for line in shown[: lines - 1])
    screen.stream.write(f"{CURSOR_HOME}{frame}{CLEAR_BELOW}")
    screen.stream.flush()


def _write_change(
    options: argparse.Namespace, session: Session, seen: StatusSnapshot | UnseenRig, before: object
) -> object:
    """Write one line if the state differs from ``before``; return the state to compare with next."""
    now: Any
    if options.json:
        now = snapshot_as_json(seen, options.records) if isinstance(seen, StatusSnapshot) else unseen_as_json(seen)
        # Computed from the clock at each reading, and so a little different each time.
        daemon = now.get("daemon") and {**now["daemon"], "up_since": None}
        compared = {**now, "at": None, "daemon": daemon}
        if compared != before:
            session.screen.write(json.dumps(now))
        return compared
    now = _status_sentence(seen) if isinstance(seen, StatusSnapshot) else _unseen_sentence(seen)
    if now != before:
        session.screen.write(f"{format_local_time(seen.at, seen.at)} {now}")
    return now


def _status_sentence(snapshot: StatusSnapshot) -> str:
    timelapse, daemon = snapshot.timelapse, snapshot.daemon
    if timelapse is not None and timelapse.state is TimeLapseState.RUNNING and daemon is None:
        line = f"{timelapse.id}: was taking {describe_slot(timelapse, timelapse.next_idx)}"
    else:
        progress = daemon.says.progress if daemon is not None else None
        steps = (progress.done, progress.total) if progress is not None else None
        line = format_status_line(timelapse, snapshot.at, progress=steps, fresh=False)
    return "; ".join((line, *(f"trouble: {trouble}" for trouble in snapshot.troubles())))


def _unseen_sentence(unseen: UnseenRig) -> str:
    service = unseen.service
    return f"out of sight: {unseen.error}" + (f"; service: {one_line(service.why)}" if service is not None else "")
