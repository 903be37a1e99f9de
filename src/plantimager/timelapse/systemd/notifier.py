"""Notices to systemd: ready, stopping, alive, and one line for ``systemctl status``.

`sdnotify` sends to ``$NOTIFY_SOCKET`` and swallows every error: a service manager that can't be reached is no reason to
lose a time point. Outside systemd nothing is sent.
"""

from __future__ import annotations

import os
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from sdnotify import SystemdNotifier

from plantimager.timelapse.domain.wording import STATUS_LENGTH
from plantimager.timelapse.support.clock import MICROSECOND
from plantimager.timelapse.support.text import one_line

if TYPE_CHECKING:
    from collections.abc import Mapping

SEND_TIMEOUT: Final = 0.5
"""Seconds that a full queue may hold up the loop; PID 1 reads it at once unless the machine is in trouble."""


class Notifier:
    """The line to the service manager. Any thread."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        """Connect where ``environment``, which is the process's own, has a ``NOTIFY_SOCKET``."""
        self.watchdog_interval = watchdog_interval(environment)
        self._status = ""
        # sdnotify reads os.environ itself, and leaks a socket when it finds nothing there.
        self._systemd = SystemdNotifier() if environment.get("NOTIFY_SOCKET") else None
        if self._systemd is not None and self._systemd.socket is not None:
            self._systemd.socket.settimeout(SEND_TIMEOUT)

    def ready(self, status: str | None = None) -> None:
        """Announce that the schedule is kept from now on; with ``status`` at the end of a `reloading`."""
        self._send("READY=1", *([] if status is None else [f"STATUS={status_text(status)}"]))

    def status(self, text: str) -> None:
        """Show ``text`` in ``systemctl status``, unless it is the last one; it is cut to `STATUS_LENGTH` characters."""
        if text != self._status:
            self._status = text
            self._send(f"STATUS={status_text(text)}")

    def reloading(self, monotonic: float) -> None:
        """Announce that the configuration is being read again; `ready` ends that.

        ``monotonic`` is the present time in seconds of ``CLOCK_MONOTONIC``, by which systemd identifies the reload.
        """
        self._send("RELOADING=1", f"MONOTONIC_USEC={round(monotonic * 1e6)}")

    def stopping(self) -> None:
        """Announce that the service stops."""
        self._send("STOPPING=1")

    def feed_watchdog(self) -> None:
        """Show that the loop is alive; wanted at least once every `watchdog_interval`."""
        self._send("WATCHDOG=1")

    def trigger_watchdog(self) -> None:
        """Have systemd act as if the watchdog had not been fed: for a process that can only be replaced."""
        self._send("WATCHDOG=trigger")

    def extend_timeout(self, by: timedelta) -> None:
        """Ask systemd to wait so long from now on for the start, reload or stop."""
        self._send(f"EXTEND_TIMEOUT_USEC={by // MICROSECOND}")

    def close(self) -> None:
        """Close the socket; later notices are not sent."""
        if self._systemd is not None and self._systemd.socket is not None:
            self._systemd.socket.close()
        self._systemd = None

    def _send(self, *assignments: str) -> None:
        if self._systemd is not None:
            message = "\n".join(assignments).encode()
            self._systemd.notify(message.decode("latin-1"))  # sdnotify encodes it into the same bytes again


def status_text(text: str) -> str:
    """Return ``text`` on one line of at most `STATUS_LENGTH` printable characters.

    A line break would end ``STATUS=`` and begin another assignment. Half of a surrogate pair (an undecodable
    file name) would make systemd drop the line.
    """
    line = one_line(text)
    return line if len(line) <= STATUS_LENGTH else line[: STATUS_LENGTH - 1] + "…"


def watchdog_interval(environment: Mapping[str, str]) -> timedelta | None:
    """Return how long systemd waits for a sign of life before it kills this process; `None`: there is no watchdog.

    Feed it twice as often. Variables for another process, or without a number, count as none.
    """
    try:
        interval = int(environment["WATCHDOG_USEC"]) * MICROSECOND
        pid = int(environment.get("WATCHDOG_PID", os.getpid()))
    except (KeyError, ValueError, OverflowError):
        return None
    return interval if interval > timedelta(0) and pid == os.getpid() else None
