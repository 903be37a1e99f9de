"""The question to the person at the terminal before something that can't be undone."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from plantimager.timelapse.support.errors import EXIT_USAGE, TimelapsedError
from plantimager.timelapse.support.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterable


class NobodyToAsk(TimelapsedError):
    """A person sits at a terminal, and would not see a question."""

    exit_code = EXIT_USAGE


def is_confirmed(command: str, name: str, lines: Iterable[str], question: str) -> bool:
    """Whether the person at the terminal says yes to a command; nobody is asked where standard input is no terminal.

    Raises
    ------
    NobodyToAsk
        There is a terminal to read from, and none to write the question to, or it is another process's turn there.
    """
    if not sys.stdin.isatty():
        return True  # a script, which would hang
    screen = next((stream for stream in (sys.stderr, sys.stdout) if stream.isatty()), None)
    if screen is None or _is_in_background(sys.stdin.fileno()):
        hint = f"say --yes: timelapsectl {command} --yes"
        raise NobodyToAsk(f"nobody can be asked whether to {command} {name}", hint=hint)
    screen.write(printable("\n".join((*lines, f"{question} [y/N] "))))
    screen.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _is_in_background(terminal: int) -> bool:
    with suppress(OSError):
        return os.tcgetpgrp(terminal) != os.getpgrp()  # reading would stop this process
    return False
