"""The archive of a rig, by its files where they may be read, and else by the word of its daemon."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from plantimager.timelapse.cli.acting import acting_as_owner
from plantimager.timelapse.cli.daemon_request import ask_daemon
from plantimager.timelapse.cli.snapshot import StatusSnapshot, snapshot_of, take_snapshot
from plantimager.timelapse.store.loading import read_timelapse
from plantimager.timelapse.support.errors import StoreUnreadable, TimelapsedError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from plantimager.timelapse.channel.control_request import Answer
    from plantimager.timelapse.cli.session import Session


class FilesRefused(TimelapsedError):
    """The daemon doesn't say what is in its files."""


def archive_names(session: Session, timeout: float | None = None) -> list[str]:
    """Return the names of the timelapses in the archive.

    Raises
    ------
    TimelapsedError
        This user may not read the directory, and no daemon answers.
    """
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

    Raises
    ------
    StoreCorrupt
        It holds none.
    TimelapsedError
        This user may not read it, and no daemon answers.
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
        raise FilesRefused(f"the daemon's answer has no {path}")
    return snapshot_of(read_timelapse(answer.files[0], path), path, session.clock)


def ask_files(session: Session, command: str, body: Mapping[str, Any], timeout: float | None = None) -> Answer:
    """Ask the daemon for what is in its files; raise `FilesRefused` where it doesn't say it, and as `ask_daemon`."""
    answer = ask_daemon(session, command, body, timeout=timeout)
    if not answer.accepted:
        raise FilesRefused(answer.message)
    return answer
