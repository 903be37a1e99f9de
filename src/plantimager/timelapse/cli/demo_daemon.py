"""The daemon of the demo: a real one, as a child process that is frozen, killed and stopped."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from typing import IO, TYPE_CHECKING, Final, Self, cast

from plantimager.timelapse.cli.terminal import Style
from plantimager.timelapse.support.errors import TimelapsedError
from plantimager.timelapse.support.inotify import FileWatch
from plantimager.timelapse.support.text import one_line

if TYPE_CHECKING:
    from collections.abc import Callable

    from plantimager.timelapse.cli.demo_home import Home
    from plantimager.timelapse.cli.terminal import Screen
    from plantimager.timelapse.support.clock import Clock

MAX_SILENCE_SECONDS: Final = 600.0
"""Time without a log line or a changed file after which the demo has failed; a slow machine needs minutes to start."""


class DemoFailed(TimelapsedError):
    """The demo could not show what it is for."""


class DemoDaemon:
    """A daemon on the demo's directory. Its log goes to the screen; the ``with`` statement ends the process."""

    def __init__(self, home: Home, clock: Clock, screen: Screen) -> None:
        self._clock, self._screen = clock, screen
        self._directory = str(home.directory)
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "plantimager.timelapse.daemon.main"],
            env=home.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C reaches the demo alone, which ends its daemon
        )
        self._log = cast("IO[bytes]", self._process.stderr)
        os.set_blocking(self._log.fileno(), False)
        self._rest = b""
        """The beginning of a log line whose end hasn't come yet."""
        self._watch = FileWatch(home.store.parent)
        self._watch.register(self._log.fileno())
        self.pid = self._process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self._watch.close()
        self._log.close()

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Show the daemon's log until ``condition`` is true; raise `DemoFailed` where it ends or is silent before."""
        active_at = self._clock.monotonic()
        while not condition():
            if self._process.poll() is not None:
                self._show_log()
                raise DemoFailed(f"the daemon ended with {self._process.returncode}")
            if self._clock.monotonic() - active_at > MAX_SILENCE_SECONDS:
                raise DemoFailed(f"the daemon has been silent for {MAX_SILENCE_SECONDS:g} s")
            if self._watch.wait(1.0):
                active_at = self._clock.monotonic()
                self._show_log()
        self._show_log()

    def reload(self) -> None:
        """Make the daemon look at its configuration and definition again."""
        self._process.send_signal(signal.SIGHUP)

    def freeze(self) -> None:
        """Stop all threads of the process, and wait until they have stopped."""
        self._process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WNOWAIT)

    def thaw(self) -> None:
        """Continue after `freeze`."""
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """End the process as a power cut does, if it still runs."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self._show_log()

    def stop(self) -> int:
        """End the process as systemd does; return its exit code, or raise `DemoFailed`."""
        self._process.terminate()
        try:
            self._process.wait(MAX_SILENCE_SECONDS)
        except subprocess.TimeoutExpired:
            raise DemoFailed(f"the daemon didn't stop within {MAX_SILENCE_SECONDS:g} s") from None
        self._show_log()
        return self._process.returncode

    def _show_log(self) -> None:
        arrived = self._log.read() or b""
        *lines, self._rest = (self._rest + arrived).split(b"\n")
        for line in lines:
            text = one_line(line.decode(errors="replace")).replace(self._directory, "…")
            self._screen.write(self._format_line(text))

    def _format_line(self, line: str) -> str:
        """Return a log line with its action in a column of its own."""
        match = re.fullmatch(r"(?:(?P<level>[A-Z]+) )?(?P<action>\w+): (?P<rest>.*)", line)
        if match is None:
            return f"  {self._screen.paint(line, Style.DIM)}"
        level, action, rest = match.groups()
        return f"  {self._screen.paint(f'{action:<19}', Style.YELLOW if level else Style.GREEN)} {rest}"
