"""Daemons started on one store at the same moment: ``python tests/support/races.py DIRECTORY ROUNDS RUNNERS``.

A program of its own, since it forks. It prints for each round how many daemons run, and how many refused to.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from daemon_process import Place
from forked_daemons import ForkedDaemon, expect


class Runner(ForkedDaemon):
    """A daemon that waits for the start signal."""

    def __init__(self, place: Place, shot: int, trigger: int) -> None:
        super().__init__(place)
        self._shot, self._trigger = shot, trigger

    def body(self) -> None:
        """Wait until the trigger is closed, then run the daemon."""
        os.close(self._trigger)
        os.read(self._shot, 1)
        super().body()


def race(place: Place, runners: int) -> tuple[int, int]:
    """Start so many at once; return how many run, and how many refused because another one does."""
    shot, trigger = os.pipe()
    daemons = [Runner(place, shot, trigger) for _ in range(runners)]
    for daemon in daemons:
        daemon.start()
    os.close(trigger)
    os.close(shot)
    for daemon in daemons:
        daemon.wait_until(b"idle: ", b"already_running: ")
    standing = [daemon for daemon in daemons if b"idle: " in daemon.said]
    for daemon in standing:
        os.kill(daemon.pid, signal.SIGTERM)
    for daemon in daemons:
        _, status = os.waitpid(daemon.pid, 0)
        code = os.waitstatus_to_exitcode(status)
        expect(code == (0 if daemon in standing else 1), f"ended with {code}:\n{daemon.said.decode()}")
        daemon.close()
    return len(standing), runners - len(standing)


def main() -> int:
    directory, rounds, runners = sys.argv[1:]
    place = Place(Path(directory))
    place.configure('clock = "trust"\n')
    for _ in range(int(rounds)):
        print(*race(place, int(runners)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
