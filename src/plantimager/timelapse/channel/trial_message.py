"""A test message that a person asks the relay for: a request beside its ledgers, and the answer to it.

The relay alone has the URLs of the services. Of the request it needs nothing but that it is there: root writes it, and
the service could not read it.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import Struct

from plantimager.timelapse.support.durable import PRIVATE_FILE, read_regular

if TYPE_CHECKING:
    from pathlib import Path

REQUEST: Final = "notify.request"
ANSWER: Final = "notify.answer"
MAX_TRIAL_ANSWER_BYTES: Final = 100_000


class TrialAnswer(Struct, frozen=True):
    """What became of a test message."""

    stamp: str
    """That of the request."""
    sent: tuple[tuple[str, str], ...] = ()
    """Each service, and why it took nothing; empty where it did."""
    is_done: bool = False
    """Whether all services were tried."""


def ask_for_trial(directory: Path) -> str:
    """Leave a request in the relay's state directory; return its stamp.

    Raises
    ------
    OSError
        It can't be written.

    """
    with suppress(FileNotFoundError):
        (directory / REQUEST).unlink()
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    os.close(os.open(directory / REQUEST, flags, PRIVATE_FILE))
    return str(pending_trial(directory))


def pending_trial(directory: Path) -> str | None:
    """Return the stamp of the request that is there; ``None`` where there is none."""
    try:
        status = (directory / REQUEST).lstat()
    except OSError:
        return None
    return f"{status.st_ino} {status.st_mtime_ns}"


def write_trial_answer(directory: Path, answer: TrialAnswer) -> None:
    """Answer a request; where all services were tried it goes."""
    path = directory / ANSWER
    fresh = path.with_name(f"{ANSWER}.new")
    with suppress(OSError):
        fresh.write_bytes(msgspec.json.encode(answer))
        fresh.chmod(PRIVATE_FILE)
        fresh.replace(path)
    if answer.is_done:
        with suppress(OSError):
            (directory / REQUEST).unlink()


def read_trial_answer(directory: Path, stamp: str) -> TrialAnswer | None:
    """Return what has become of a request by now."""
    try:
        answer = msgspec.json.decode(read_regular(directory / ANSWER, MAX_TRIAL_ANSWER_BYTES), type=TrialAnswer)
    except (OSError, msgspec.DecodeError):
        return None
    return answer if answer.stamp == stamp else None
