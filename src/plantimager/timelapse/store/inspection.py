"""The inspection of one file of a store: whether it holds a timelapse, and is as it was written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import Struct

from plantimager.timelapse.domain.wording import describe_timelapse
from plantimager.timelapse.store.differences import describe_alteration
from plantimager.timelapse.store.loading import load_generation
from plantimager.timelapse.store.public_copy import redacted, secrets_of
from plantimager.timelapse.support.errors import StoreError, StoreUnreadable

if TYPE_CHECKING:
    from pathlib import Path

    from plantimager.timelapse.domain.timelapse import TimeLapse


PRESENT: Final = "store"
BACKUP: Final = "backup"
ARCHIVED: Final = "archive/"
"""How a request names the files of the present store, and what it puts before the name of an archived one."""


class Inspection(Struct, frozen=True):
    """The result of looking at one thing."""

    subject: str
    words: str
    damage: bool = False
    """Else it is fine, or a note on something that a person may want to know."""


def inspect_store(path: Path) -> tuple[Inspection | None, TimeLapse | None]:
    """Return the result on one file, without its secrets, and what it holds; nothing where there is no file.

    Raises `StoreUnreadable` where this user may not read it.
    """
    try:
        loaded = load_generation(path)
    except StoreError as problem:
        if isinstance(problem, StoreUnreadable) and isinstance(problem.__cause__, PermissionError):
            raise
        return Inspection(str(path), problem.problem, damage=True), None
    if loaded is None:
        return None, None
    timelapse = loaded.stored.timelapse
    words = describe_timelapse(timelapse)
    if loaded.is_altered:
        how = redacted(describe_alteration(loaded), secrets_of(loaded.stored))
        words += f"; edited by hand, or damaged: {how}"
    return Inspection(str(path), words, damage=loaded.is_altered), timelapse
