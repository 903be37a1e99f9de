"""What systemd is told: ready, stopping, alive, and one line for ``systemctl status``.

A thin face over `sdnotify`, which sends to ``$NOTIFY_SOCKET`` and swallows every error: a service manager
that can't be reached is no reason to lose a time point. Outside systemd nothing is sent.
"""

from __future__ import annotations

import os
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from sdnotify import SystemdNotifier

from plantimager.timelapse.domain.wording import STATUS_LENGTH
from plantimager.timelapse.support.text import one_line

if TYPE_CHECKING:
    from collections.abc import Mapping

SEND_TIMEOUT: Final = 0.5
"""Seconds that a full queue may hold up the loop. PID 1 reads it in no time unless the machine is in trouble."""

_MICROSECOND: Final = timedelta(microseconds=1)


class Notifier:
    """The line to the service manager. Any thread."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        """Connect where ``environment``, which is the process's own, has a ``NOTIFY_SOCKET``."""
        # sdnotify reads os.environ itself, and leaks a socket when it finds nothing there.
        self._systemd = SystemdNotifier() if environment.get("NOTIFY_SOCKET") else None
        if self._systemd is not None and self._systemd.socket is not None:
            self._systemd.socket.settimeout(SEND_TIMEOUT)

    def ready(self, status: str | None = None) -> None:
        """Say that the schedule is kept from now on; with ``status`` after `reloading`, when it stands again."""
        self._send("READY=1", *([] if status is None else [f"STATUS={status_text(status)}"]))

    def status(self, text: str) -> None:
        """Show ``text`` in ``systemctl status``; it is cut to one line of `STATUS_LENGTH` characters."""
        self._send(f"STATUS={status_text(text)}")

    def reloading(self, monotonic: float) -> None:
        """Say that the configuration is being read again; `ready` ends that.

        ``monotonic`` is the time of now, seconds of ``CLOCK_MONOTONIC``: systemd tells by it which reload is meant.
        """
        self._send("RELOADING=1", f"MONOTONIC_USEC={round(monotonic * 1e6)}")

    def stopping(self) -> None:
        """Say that the end has begun."""
        self._send("STOPPING=1")

    def watchdog(self) -> None:
        """Say that the loop is alive, at least once every `watchdog_interval`."""
        self._send("WATCHDOG=1")

    def trigger_watchdog(self) -> None:
        """Have systemd act at once as if `watchdog` had been missing: for a process that can only be replaced."""
        self._send("WATCHDOG=trigger")

    def extend_timeout(self, by: timedelta) -> None:
        """Ask for so much time from now on to start, reload or stop before systemd gives up."""
        self._send(f"EXTEND_TIMEOUT_USEC={by // _MICROSECOND}")

    def close(self) -> None:
        """Hang up; what is said later is not sent."""
        if self._systemd is not None and self._systemd.socket is not None:
            self._systemd.socket.close()
        self._systemd = None

    def _send(self, *assignments: str) -> None:
        if self._systemd is not None:
            message = "\n".join(assignments).encode()
            self._systemd.notify(message.decode("latin-1"))  # which sdnotify turns into the same bytes again


def status_text(text: str) -> str:
    """Return ``text`` on one line of at most `STATUS_LENGTH` printable characters.

    A line break would end ``STATUS=`` and begin another assignment; half of a surrogate pair (an undecodable
    file name) would make systemd drop the line.
    """
    line = one_line(text)
    return line if len(line) <= STATUS_LENGTH else line[: STATUS_LENGTH - 1] + "…"


def watchdog_interval(environment: Mapping[str, str]) -> timedelta | None:
    """Return how long systemd lets this process be silent before it kills it; `None`: there is no watchdog.

    Feed it twice as often. Variables meant for another process, or that aren't numbers, count as none.
    """
    try:
        interval = int(environment["WATCHDOG_USEC"]) * _MICROSECOND
        pid = int(environment.get("WATCHDOG_PID", os.getpid()))
    except (KeyError, ValueError, OverflowError):
        return None
    return interval if interval > timedelta(0) and pid == os.getpid() else None
