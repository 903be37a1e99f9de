"""The process between the daemon and a program that runs beside others: what the program leaves running is its own.

Orphans become children of the nearest subreaper above them. In the daemon those of several programs, and of a driver by
others, can't be told apart; here there is one program, and all that it has left is ended.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from plantimager.timelapse.drivers.programs.environment import ProgramFault
from plantimager.timelapse.drivers.programs.run import run_program

if TYPE_CHECKING:
    from collections.abc import Sequence

STOP_GRACE: Final = timedelta(seconds=1)
"""From SIGTERM to SIGKILL."""

NOT_STARTED: Final = 126
"""The exit status where the program can't be started, as a shell has it."""


UNENDED: Final = b"not ended: "
"""Begins the last line on stderr, where not all that the program has left could be ended."""


def alone(argv: Sequence[str]) -> list[str]:
    """Return the command that runs a program so."""
    return [sys.executable, "-P", "-m", __name__, *argv]


def main(argv: Sequence[str]) -> int:
    """Run a program to its end, or to SIGTERM; return its exit status, or end by the signal that it was ended by."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    out, said = sys.stdout.buffer, sys.stderr.buffer

    def write(chunk: bytes) -> None:
        out.write(chunk)

    try:
        ended = run_program(
            argv, environment=os.environ, stop_grace=STOP_GRACE, should_stop=stop.is_set, on_chunk=write
        )
    except (ProgramFault, OSError) as problem:
        said.write(str(problem).encode(errors="replace"))
        return NOT_STARTED
    said.write(ended.stderr_tail)
    if ended.remaining:
        said.write(b"\n" + UNENDED + ended.remaining.encode(errors="replace"))
    out.flush()
    if ended.status < 0:
        with contextlib.suppress(OSError):  # SIGKILL has no handler
            signal.signal(-ended.status, signal.SIG_DFL)
        said.flush()
        os.kill(os.getpid(), -ended.status)
    return ended.status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
