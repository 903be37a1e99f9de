"""The archive: the stores of timelapses that have ended, one file each in ``history/``."""

from __future__ import annotations

import itertools
import os
from typing import TYPE_CHECKING

from plantimager.timelapse.support.durable import make_private_directory, write_durably

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path


def archive_store(text: bytes, name: str, history: Path, stamp: str) -> Path:
    """Put the text of an ended timelapse's store into ``history``, over nothing that is there; return the file.

    Raises
    ------
    OSError
        It can't be written.

    """
    make_private_directory(history)
    names = itertools.chain([name, f"{name}-{stamp}"], (f"{name}-{stamp}-{number}" for number in itertools.count(2)))
    archived = next(path for stem in names if not os.path.lexists(path := history / f"{stem}.json"))
    write_durably(archived, text)
    return archived


def file_stamp(at: datetime) -> str:
    """Return an instant as file names have it: ``20260622T060030Z``."""
    return at.strftime("%Y%m%dT%H%M%SZ")
