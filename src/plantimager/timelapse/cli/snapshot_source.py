"""The snapshots of a rig and its archive: by the word of its daemon, which takes no sudo, and by the files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from plantimager.timelapse.channel.live import MARK, SEEN, live_status_of
from plantimager.timelapse.cli.acting import acting_as_owner
from plantimager.timelapse.cli.daemon_request import ServiceRefused, ask_daemon, connect_daemon
from plantimager.timelapse.cli.snapshot import RunningDaemon, StatusSnapshot, snapshot_of, take_snapshot, up_since
from plantimager.timelapse.store.loading import read_timelapse
from plantimager.timelapse.support.errors import StoreUnreadable, TimelapsedError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from plantimager.timelapse.channel.control_request import Answer
    from plantimager.timelapse.cli.session import Session
    from plantimager.timelapse.store.stored_timelapse import StoredTimelapse


class SnapshotSource:
    """Takes snapshots of one rig; what didn't change since the last one isn't sent again."""

    def __init__(self, session: Session, timeout: float | None = None) -> None:
        """Give the daemon ``timeout`` seconds to answer, else the usual time."""
        self._session, self._timeout = session, timeout
        self._mark = ""
        self._stored: StoredTimelapse | None = None

    def take(self) -> StatusSnapshot:
        """Return the state of the rig now: by its daemon, else as `take_snapshot`, and raise as that does."""
        session = self._session
        try:
            with connect_daemon(session, self._timeout) as daemon:
                if daemon is not None:
                    return self._by_daemon(daemon.ask("status", {SEEN: self._mark}), daemon.pid)
        except (TimelapsedError, OSError) as problem:
            try:
                return self._by_files()
            except StoreUnreadable:  # closed to this user: why the daemon doesn't answer counts
                raise problem from None
        return self._by_files()

    def _by_files(self) -> StatusSnapshot:
        with acting_as_owner(self._session.store.parent):
            return take_snapshot(self._session.store, self._session.clock)

    def _by_daemon(self, answer: Answer, pid: int) -> StatusSnapshot:
        if not answer.accepted:  # it is of another version, or has too many clients
            raise ServiceRefused(answer.message)
        if answer.files:
            self._stored = read_timelapse(answer.files[0], self._session.store)
        elif MARK not in answer.details:
            self._stored = None
        self._mark = str(answer.details.get(MARK, ""))
        clock = self._session.clock
        says = live_status_of(answer.details)
        daemon = RunningDaemon(pid=pid, up_since=up_since(pid, clock), says=says)
        return snapshot_of(self._stored, self._session.store, clock, daemon)


def archive_names(session: Session, timeout: float | None = None) -> list[str]:
    """Return the names of the timelapses in the archive; raise as `ask_files` where only the daemon may read it."""
    history = session.places.history
    try:
        with acting_as_owner(session.store.parent):
            return sorted(path.stem for path in history.iterdir() if path.suffix == ".json")
    except FileNotFoundError:
        return []
    except PermissionError:
        return archives_by_daemon(session, timeout)[0]


def archives_by_daemon(session: Session, timeout: float | None = None) -> tuple[list[str], int]:
    """Return the names that the daemon lists, and how many files there are; it raises what `ask_files` does."""
    details = ask_files(session, "archives", {}, timeout).details
    names, total = details.get("archives"), details.get("total")
    listed = [name for name in names if isinstance(name, str)] if isinstance(names, list) else []
    return listed, total if isinstance(total, int) else len(listed)


def archived_snapshot(session: Session, name: str) -> StatusSnapshot:
    """Return the state of a timelapse in the archive; without a timelapse where there is none of that name.

    Raises `StoreCorrupt` where it holds none, and as `ask_files` where only the daemon may read it.
    """
    path = session.places.history / f"{name}.json"
    try:
        with acting_as_owner(session.store.parent):
            return take_snapshot(path, session.clock)
    except (PermissionError, StoreUnreadable) as problem:
        if not isinstance(problem.__cause__ or problem, PermissionError):
            raise
    answer = ask_files(session, "archive", {"name": name})
    if not answer.files:
        raise ServiceRefused(f"the daemon's answer has no {path}")
    return snapshot_of(read_timelapse(answer.files[0], path), path, session.clock)


def ask_files(session: Session, command: str, body: Mapping[str, Any], timeout: float | None = None) -> Answer:
    """Ask the daemon for what is in its files; raise `ServiceRefused` where it doesn't say it, and as `ask_daemon`."""
    answer = ask_daemon(session, command, body, timeout=timeout)
    if not answer.accepted:
        raise ServiceRefused(answer.message)
    return answer
