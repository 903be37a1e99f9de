"""Answers to ``timelapsectl notify --test``: a message to each service, and what became of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from plantimager.timelapse.channel.trial_message import TrialAnswer, pending_trial, write_trial_answer
from plantimager.timelapse.relay.told import Message

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from pathlib import Path

    from plantimager.timelapse.relay.outbox import Outbox

BODY = "This is a test by timelapsectl notify. Messages of this rig arrive here."


class Trials:
    """The test messages that people ask for. One thread; `is_asked_for` is for any."""

    def __init__(self, directory: Path, outbox: Outbox) -> None:
        self._directory, self._outbox = directory, outbox
        self._answered: str | None = None
        """The last one: its request may stay, where the disk refuses to delete it."""

    @property
    def is_asked_for(self) -> bool:
        """Whether a request waits."""
        return pending_trial(self._directory) not in (None, self._answered)

    def answer(self, now: datetime, make_picture: Callable[[str], bytes]) -> None:
        """Send the message that is asked for to all services; do nothing where none is."""
        stamp = pending_trial(self._directory)
        if stamp is None or stamp == self._answered:
            return
        self._answered = stamp
        message = Message(now, f"{self._outbox.rig}: a test", BODY, ("test",))
        sent: list[tuple[str, str]] = []
        for service in self._outbox.services:
            sent.append((service.name, self._outbox.send(service, message, make_picture(""))))
            write_trial_answer(self._directory, TrialAnswer(stamp, (*sent,)))
        write_trial_answer(self._directory, TrialAnswer(stamp, (*sent,), is_done=True))
        if self._outbox.told is not None and not all(problem for _, problem in sent):
            self._outbox.keep(replace(self._outbox.told, worked_at=now))
