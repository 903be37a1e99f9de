"""The tree of errors, each worded for the person at the rig.

An error carries data and words itself from it. Only the command line prints errors: the ``hint`` gets a line of its
own, and the program exits with ``exit_code``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from plantimager.timelapse.support.text import format_count

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta
    from pathlib import Path

    from plantimager.timelapse.support.faults import Fault

MAX_DRIVER_MESSAGE_CHARS = 500
"""The part of a foreign driver's message that is repeated."""

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_UNAVAILABLE = 69
"""``EX_UNAVAILABLE`` of sysexits.h: the daemon is not there."""
EXIT_CONFIG = 78
"""``EX_CONFIG`` of sysexits.h: a configuration error; systemd does not restart on it."""


class TimelapsedError(Exception):
    """The base of all errors that timelapsed raises for a person to read."""

    exit_code: ClassVar[int] = EXIT_FAILED
    hint: str | None = None
    """The remedy, as a sentence without a full stop."""

    def __init__(self, *message: object, hint: str | None = None) -> None:
        super().__init__(*message)
        if hint is not None:
            self.hint = hint


def with_hint(problem: BaseException) -> str:
    """Return an error and its hint on one line, where the hint gets none of its own."""
    hint = getattr(problem, "hint", None)
    return f"{problem}; {hint}" if hint else str(problem)


class IllegalTransition(TimelapsedError):
    """The table of transitions has no row for an event in a state."""

    def __init__(self, state: str, event: str) -> None:
        self.state, self.event = state, event
        super().__init__(f"a timelapse that is {state} can't take the event {event}")


class ConfigurationError(TimelapsedError):
    """A file that a person wrote can't be used as it is; starting again does not help."""

    exit_code = EXIT_CONFIG


class FileUnusable(ConfigurationError):
    """A file that a person wrote can't be read at all, so its values are unknown."""

    def __init__(self, path: Path, problem: str) -> None:
        self.path, self.problem = path, problem
        super().__init__(f"{path}: {problem}")


class FaultsFound(ConfigurationError):
    """Values in a file that a person wrote are not acceptable; every fault is listed."""

    def __init__(self, faults: Sequence[Fault], source: str | Path = "") -> None:
        self.faults, self.source = tuple(faults), source
        count = format_count(len(self.faults), "fault")
        head = f"{source}: {count}" if source else count
        super().__init__("\n  ".join([head, *map(str, self.faults)]))

    def named(self, source: str | Path) -> FaultsFound:
        """Return the same faults under the name of their file."""
        return FaultsFound(self.faults, source)


class StoreError(TimelapsedError):
    """The store can't be used as it is."""

    def __init__(self, path: Path, problem: str) -> None:
        self.path, self.problem = path, problem
        super().__init__(f"{path}: {problem}")


class StoreUnreadable(StoreError):
    """The store may be valid, but it can't be read now (permission, I/O error, not a regular file)."""

    hint = "it is left as it is"


class StoreCorrupt(StoreError):
    """The store can be read, but doesn't hold a timelapse."""


class AlreadyRunning(TimelapsedError):
    """Another daemon holds the lock beside this store."""

    def __init__(self, lock: Path, pid: int | None) -> None:
        self.lock, self.pid = lock, pid
        who = f"PID {pid}" if pid else "another process"
        super().__init__(
            f"{lock}: a timelapsed already runs on this store ({who})",
            hint="stop it first, or give this rig a store of its own with PI3_TIMELAPSE_FILE_NAME",
        )


class LocksMissing(TimelapsedError):
    """The file system of the storage directory has no locks, so that two daemons could write one store."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        super().__init__(
            f"{directory}: the file system there has no locks, and without them two daemons could write one store",
            hint="put the storage directory on a disk of this machine; datasets may be on a network disk",
        )


class DefinitionRefused(TimelapsedError):
    """A definition has no faults, but can't be taken up now."""


class DriverBroken(TimelapsedError):
    """A driver can't be made, by a fault of its own; a further start may work."""

    def __init__(self, driver: str, problem: BaseException) -> None:
        self.driver, self.problem = driver, problem
        try:
            message = f": {problem}"[:MAX_DRIVER_MESSAGE_CHARS]
        except Exception:  # noqa: BLE001 - the driver's own __str__ may raise anything
            message = ""
        super().__init__(f"driver {driver} can't be used: {type(problem).__name__}{message}")


class DriverError(TimelapsedError):
    """The base of the errors by which a driver reports how an attempt ended."""


class ScannerNotReady(DriverError):
    """The rig is absent or still booting. The daemon waits and asks again; no attempt is used."""


class PicturesUnreadable(ScannerNotReady):
    """The disk fails under the pictures of an attempt that had taken them all: nobody knows whether it has them."""


class ScanFailed(DriverError):
    """This attempt failed; a further one may work."""


class ScanCancelled(DriverError):
    """The scan stopped at a safe point because its monitor was cancelled."""


class DriverStalled(ScanFailed):
    """The driver made no progress for ``stall_timeout`` and was cancelled, then abandoned if it did not react."""

    def __init__(self, driver: str, after: timedelta, *, abandoned: bool) -> None:
        self.driver, self.after, self.abandoned = driver, after, abandoned
        seconds = f"{after.total_seconds():g} s"
        end = ", didn't stop when cancelled, and was abandoned" if abandoned else " and was cancelled"
        super().__init__(f"driver {driver} made no progress for {seconds}{end}")


class ScanTimedOut(ScanFailed):
    """The attempt took longer than ``scan_timeout``."""

    def __init__(self, driver: str, after: timedelta) -> None:
        self.driver, self.after = driver, after
        super().__init__(f"driver {driver} had not finished after {after.total_seconds():g} s and was cancelled")


class ManualCommandRefused(TimelapsedError):
    """A manual command can't be carried out now, or not with this rig."""
