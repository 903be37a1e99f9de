"""The question to the person at the terminal before a command that changes the timelapse for good."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from msgspec import Struct

from plantimager.timelapse.channel.control_client import NotAllowed, NotTheService
from plantimager.timelapse.cli.snapshot_source import SnapshotSource
from plantimager.timelapse.support.errors import EXIT_USAGE, StoreUnreadable, TimelapsedError
from plantimager.timelapse.support.text import one_line, printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from plantimager.timelapse.cli.session import Session
    from plantimager.timelapse.domain.timelapse import TimeLapse


class NobodyToAsk(TimelapsedError):
    """A person sits at a terminal, and would not see a question."""

    exit_code = EXIT_USAGE


class NotConfirmed(TimelapsedError):
    """The person has thought better of it."""


class Question(Struct, frozen=True, kw_only=True):
    """The words of a command that asks."""

    command: str
    done: str
    """``cancelled``."""
    at_stake: str
    """What the lines before the question say, where it can't be known: ``what would be lost``."""
    text: str


def confirm(
    question: Question,
    session: Session,
    describe: Callable[[TimeLapse], Iterable[str]],
    *,
    name: str = "the timelapse",
    is_asked: bool = True,
) -> TimeLapse | None:
    """Return the timelapse that the daemon keeps, once the person has said yes to what ``describe`` says of it.

    ``None`` where the daemon will refuse, and says why; and where it can't be seen, after the same question about
    ``name``. Raises `NotConfirmed` or `NobodyToAsk`.
    """
    try:
        snapshot = SnapshotSource(session).take()
    except (NotAllowed, NotTheService, StoreUnreadable):
        return None
    except (TimelapsedError, OSError) as unseen:
        timelapse, lines = None, [f"{question.at_stake} isn't known: {one_line(str(unseen))}"]
    else:
        timelapse = snapshot.timelapse
        if snapshot.daemon is None or timelapse is None or not timelapse.state.is_active:
            return None
        name, lines = timelapse.id, [*describe(timelapse)]
    if is_asked and not _is_confirmed(question, name, lines):
        raise NotConfirmed(f"{name} is not {question.done}, and goes on")
    return timelapse


def _is_confirmed(question: Question, name: str, lines: Iterable[str]) -> bool:
    """Whether the person at the terminal says yes; nobody is asked where standard input is no terminal."""
    if not sys.stdin.isatty():
        return True  # a script, which would hang
    screen = next((stream for stream in (sys.stderr, sys.stdout) if stream.isatty()), None)
    if screen is None or _is_in_background(sys.stdin.fileno()):
        hint = f"say --yes: timelapsectl {question.command} --yes"
        raise NobodyToAsk(f"nobody can be asked whether to {question.command} {name}", hint=hint)
    screen.write(printable("\n".join((*lines, f"{question.text} [y/N] "))))
    screen.flush()
    with suppress(UnicodeDecodeError):  # of a terminal with another encoding
        return sys.stdin.readline().strip().lower() in ("y", "yes")
    return False


def _is_in_background(terminal: int) -> bool:
    with suppress(OSError):
        return os.tcgetpgrp(terminal) != os.getpgrp()  # reading would stop this process
    return False
