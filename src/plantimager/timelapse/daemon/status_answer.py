"""The status as it is shown to people: in the live file, and in answers to those who ask at the control socket."""

from __future__ import annotations

import os
import zlib
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from plantimager.timelapse.channel.control_request import Answer
from plantimager.timelapse.store.loading import load_timelapse
from plantimager.timelapse.store.public_copy import public_copy, redacted, secrets_of
from plantimager.timelapse.support.errors import TimelapsedError

if TYPE_CHECKING:
    from datetime import datetime

    from plantimager.timelapse.channel.control_request import Request
    from plantimager.timelapse.daemon.side_writes import SideLive
    from plantimager.timelapse.daemon.store_keeper import StoreKeeper
    from plantimager.timelapse.store.stored_timelapse import StoredTimelapse


class StatusAnswer:
    """The last status that the loop has shown. The loop shows, and the control thread answers from it."""

    def __init__(self, live: SideLive, keeper: StoreKeeper) -> None:
        self._live, self._keeper = live, keeper
        self._shown: tuple[dict[str, Any], StoredTimelapse | None] = ({}, None)
        """The view and the store of one moment."""
        self._text: tuple[StoredTimelapse | None, bytes] = (None, b"")

    def show(self, view: dict[str, Any], at: datetime) -> None:
        """Show a view, and the store as it is now. Loop thread."""
        self._shown = view, self._keeper.stored
        self._live.show(view, at)

    def answer(self, request: Request) -> Answer:
        """Return the status without secrets: the live view, and the store unless it was ``seen``. Control thread.

        Before the loop has read its store, it is read here.
        """
        view, stored = self._shown
        if stored is None:
            with suppress(TimelapsedError):
                loaded = load_timelapse(self._keeper.file.path)
                stored = None if loaded is None else loaded.stored
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
