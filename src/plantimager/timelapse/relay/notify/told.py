"""What people were told already: the ledger of the sink `notify`, one small file that is replaced as a whole."""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003 - msgspec reads the annotations
from pathlib import Path  # noqa: TC003 - as above
from typing import Final

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from plantimager.timelapse.channel.moment import Moment, WithMoments
from plantimager.timelapse.support.durable import read_regular, write_durably

MAX_TOLD_BYTES: Final = 1 << 22
MAX_MARKS: Final = 50
"""Timelapses of which is known how far they were told; the store and the newest of the archive."""
MAX_WAITING: Final = 20
"""Messages that wait for one service with their words; of those before only the number is kept."""
MAX_RECENT: Final = 20


class ToldUpTo(Struct, frozen=True, omit_defaults=True):
    """How far one timelapse was told."""

    slot: int
    """Slots before this one were told, or there was nothing to say of them."""
    has_ended: bool = False


class OpenTrouble(Struct, frozen=True, omit_defaults=True):
    """A trouble that people were told of, and whose end they will be told of."""

    since: Moment
    lost: int = 0
    """Slots that it cost."""
    of_clock: bool = False
    """Whether it began as that of a clock that isn't trusted."""


class Message(Struct, frozen=True, omit_defaults=True):
    """A message as it is sent."""

    at: Moment
    subject: str
    body: str
    kinds: tuple[str, ...] = ()
    """The kinds of news in it."""
    picture: str = ""
    """The picture to attach, below the directory of the datasets; empty for the last one that was taken."""


class Waiting(Struct, frozen=True, omit_defaults=True):
    """The messages that one service hasn't got."""

    messages: tuple[Message, ...] = ()
    dropped: int = 0
    """Earlier ones, whose words are lost."""
    unknown: int = 0
    """Tries in a row of which nobody knows whether they arrived: the service hung, or the relay was killed."""

    def plus(self, message: Message) -> Waiting:
        """Return the value with one message more."""
        messages = (*self.messages, message)
        dropped = self.dropped + max(len(messages) - MAX_WAITING, 0)
        return replace(self, messages=messages[-MAX_WAITING:], dropped=dropped)

    def without_words(self) -> Waiting:
        """Return the value with the number alone of all messages: the next one will say it."""
        return Waiting((), self.dropped + len(self.messages))


class Told(WithMoments, frozen=True, omit_defaults=True):
    """All that was told, and what waits to be."""

    marks: Mapping[str, ToldUpTo] = {}
    archived: tuple[str, ...] = ()
    """The files of the archive that were looked at to their end. One that could not be is not among them."""
    open: Mapping[str, OpenTrouble] = {}
    recent: tuple[tuple[Moment, tuple[str, ...]], ...] = ()
    """The last messages: when, and of which kinds."""
    waiting: Mapping[str, Waiting] = {}
    """What each service hasn't got, by a digest of its URL."""
    worked_at: Moment | None = None
    """When a service last took a message."""


def read_told(path: Path) -> Told | None:
    """Return what the file says; ``None`` where there is none.

    Raises
    ------
    OSError
        It can't be read.
    ValueError
        It is damaged.
    """
    try:
        return msgspec.json.decode(read_regular(path, MAX_TOLD_BYTES), type=Told)
    except FileNotFoundError:
        return None
    except RecursionError:
        raise ValueError("nested too deep") from None


def write_told(path: Path, told: Told) -> None:
    """Put it on disk for good.

    Raises
    ------
    OSError
        It can't be written.
    """
    write_durably(path, [msgspec.json.encode(told)])
