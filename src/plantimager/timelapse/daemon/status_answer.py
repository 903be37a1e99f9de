"""The status as it is shown to people: in the live file, and in answers to those who ask at the control socket."""

from __future__ import annotations

import os
import zlib
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from plantimager.timelapse.channel.control_request import Answer
from plantimager.timelapse.daemon.bounded_call import read_within
from plantimager.timelapse.store.loading import load_timelapse
from plantimager.timelapse.store.public_copy import public_copy, redacted, secrets_of
from plantimager.timelapse.support.errors import TimelapsedError

if TYPE_CHECKING:
    from datetime import datetime

    from plantimager.timelapse.channel.control_request import Request
    from plantimager.timelapse.daemon.side_writes import SideLive
    from plantimager.timelapse.daemon.store_keeper import StoreKeeper
    from plantimager.timelapse.store.stored_timelapse import StoredTimelapse


READ_TIMEOUT: Final = timedelta(seconds=1)
"""For the store to be read for an answer: meanwhile nobody else is heard."""


class StatusAnswer:
    """The last status that the loop has shown. The loop shows, and the control thread answers from it."""

    def __init__(self, live: SideLive, keeper: StoreKeeper) -> None:
        self._live, self._keeper = live, keeper
        self._shown: tuple[dict[str, Any], StoredTimelapse | None] = ({}, None)
        """The view and the store of one moment."""
        self._text: tuple[StoredTimelapse | None, bytes] = (None, b"")
        self._is_reading = False

    def show(self, view: dict[str, Any], at: datetime) -> None:
        """Show a view, and the store as it is now. Loop thread."""
        self._shown = view, self._keeper.stored
        self._live.show(view, at)

    def answer(self, request: Request) -> Answer:
        """Return the status without secrets: the live view, and the store unless it was ``seen``. Control thread.

        Before the loop has read its store, it is read here; from a disk that doesn't answer only the view is shown.
        """
        is_known = self._keeper.is_known  # first: the loop may hold the store at any moment
        view, stored = self._shown
        stored = stored or self._keeper.stored  # held, and not shown yet: the driver is still asked about its attempt
        if stored is None and not is_known and not self._is_reading:
            with suppress(TimelapsedError, OSError):
                self._is_reading = True
                stored = read_within(READ_TIMEOUT, self._read)
        if stored is None:
            return Answer(accepted=True, message="", details=view)
        before, text = self._text
        if before is not stored:
            text = public_copy(stored).encode()
            self._text = stored, text
        mark = f"{os.getpid()}-{zlib.crc32(text):08x}"
        details = {**redacted(view, secrets_of(stored)), "mark": mark}
        return Answer(
            accepted=True, message="", details=details, files=() if request.body.get("seen") == mark else (text,)
        )

    def _read(self) -> StoredTimelapse | None:
        """Return what the store on disk holds; one call at a time, since one may never come back."""
        try:
            loaded = load_timelapse(self._keeper.file.path)
        finally:
            self._is_reading = False
        return None if loaded is None else loaded.stored
