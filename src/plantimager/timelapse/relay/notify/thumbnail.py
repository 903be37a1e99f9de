"""A small version of a picture that was taken, for messages. Made in memory; nothing is written."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Final

from plantimager.timelapse.datasets.contents import dataset_files
from plantimager.timelapse.support.side_call import SideCall

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from plantimager.timelapse.relay.taken_scans import TakenScan

WIDTH: Final = 640
"""Pixels, as a phone shows it."""
SECONDS: Final = 10.0
"""For a disk of datasets that may be another computer's; then the message goes without a picture."""


class Thumbnailer:
    """Makes one at a time. One thread; a disk that hangs holds another one."""

    def __init__(self, datasets_of: Callable[[Iterable[str]], Path]) -> None:
        self._datasets_of = datasets_of
        self._side = SideCall[bytes](SECONDS)

    def make(self, scans: Sequence[TakenScan], file: str = "") -> bytes:
        """Return a JPEG of a ``file`` below the directory of the datasets, else of the first picture of the last scan.

        It is empty where there is none, or it takes too long.
        """
        scan_id, _, wanted = file.partition("/")
        taken = scan_id or (scans[-1].scan_id if scans else "")
        return (self._side.make(lambda: self._make(taken, wanted)) if taken else None) or b""

    def _make(self, scan_id: str, wanted: str) -> bytes:
        try:
            from plantimager.timelapse.relay.look import look_picture  # noqa: PLC0415 - Pillow is for messages alone

            directory = self._datasets_of([scan_id]) / scan_id
            pictures = (path for path in dataset_files(directory) if path.suffix.lower() in look_picture.SUFFIXES)
            path = min(path for path in pictures if not wanted or path == directory / wanted)
            with path.open("rb") as file, look_picture.open_picture(file) as picture:
                picture.draft("RGB", (WIDTH, WIDTH))
                if picture.width * picture.height > look_picture.MAX_PIXELS:
                    return b""
                small = look_picture.narrow(picture).convert("RGB")
            small.thumbnail((WIDTH, WIDTH))
            output = io.BytesIO()
            small.save(output, "JPEG", quality=75)
        except Exception:  # noqa: BLE001 - a picture may be anything, and no message waits for it
            return b""
        return output.getvalue()
