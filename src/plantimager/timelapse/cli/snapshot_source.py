"""The snapshots of a rig that is looked at once or again and again: its daemon is asked, which takes no sudo."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plantimager.timelapse.channel.live import MARK, SEEN, live_status_of
from plantimager.timelapse.cli.acting import acting_as_owner
from plantimager.timelapse.cli.daemon_request import connect_daemon
from plantimager.timelapse.cli.snapshot import StatusSnapshot, daemon_of, snapshot_of, take_snapshot, up_since
from plantimager.timelapse.store.loading import read_timelapse
from plantimager.timelapse.support.errors import StoreUnreadable, TimelapsedError

if TYPE_CHECKING:
    from plantimager.timelapse.channel.control_request import Answer
    from plantimager.timelapse.cli.session import Session
    from plantimager.timelapse.store.stored_timelapse import StoredTimelapse


class StatusRefused(TimelapsedError):
    """The daemon doesn't say how it is."""


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
            return self._from_files(problem)
        return self._by_files()

    def _by_files(self) -> StatusSnapshot:
        with acting_as_owner(self._session.store.parent):
            return take_snapshot(self._session.store, self._session.clock)

    def _from_files(self, problem: Exception) -> StatusSnapshot:
        """Return the state by the files, where the daemon doesn't answer; the ``problem`` counts if they are closed."""
        try:
            return self._by_files()
        except StoreUnreadable:
            raise problem from None

    def _by_daemon(self, answer: Answer, pid: int) -> StatusSnapshot:
        if not answer.accepted:  # it is of another version, or has too many clients
            raise StatusRefused(answer.message)
        if answer.files:
            self._stored = read_timelapse(answer.files[0], self._session.store)
        elif MARK not in answer.details:
            self._stored = None
        self._mark = str(answer.details.get(MARK, ""))
        clock = self._session.clock
        daemon = daemon_of(live_status_of(answer.details), pid, up_since(pid, clock))
        return snapshot_of(self._stored, self._session.store, clock, daemon)
