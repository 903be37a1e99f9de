"""The file of a store as text and as a JSON object; unreadable and corrupt files are different errors."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any, Final

from plantimager.timelapse.support import json_text
from plantimager.timelapse.support.durable import FileTooLarge, read_regular
from plantimager.timelapse.support.errors import StoreCorrupt, StoreUnreadable

if TYPE_CHECKING:
    from pathlib import Path

MAX_STORE_BYTES: Final = 58_000_000
"""What is read and written at most: a hundred thousand slots with all their records take 28 MB."""


def read_text(path: Path) -> bytes | None:
    """Return the text of a file, whatever it holds; ``None`` where there is no file.

    Raises
    ------
    StoreUnreadable
        It can't be read now: permission, I/O, not a regular file. It may be fine.
    StoreCorrupt
        It is too large.

    """
    try:
        return read_regular(path, MAX_STORE_BYTES)
    except FileNotFoundError as problem:
        if path.is_symlink():  # perhaps the disk that it leads to isn't mounted yet
            raise StoreUnreadable(path, f"a symbolic link to {path.readlink()}, which isn't there") from problem
        return None
    except FileTooLarge as problem:
        raise StoreCorrupt(path, problem.strerror or "too large") from problem
    except OSError as problem:
        reason = "a loop of symbolic links" if problem.errno == errno.ELOOP else problem.strerror
        raise StoreUnreadable(path, f"can't be read: {reason}") from problem


def read_object(text: bytes, path: Path) -> json_text.LoadedJson:
    """Return the JSON object that the text of a file holds; its values are unchecked.

    Raises
    ------
    StoreCorrupt
        It holds none.

    """
    if not text.strip(b"\0 \t\r\n"):
        raise StoreCorrupt(path, "empty" if not text else f"{len(text)} bytes of nothing (a write that was cut off)")
    try:
        read = json_text.load(text)
    except ValueError as problem:
        raise StoreCorrupt(path, f"not JSON: {problem}") from None
    if not isinstance(read.value, dict):
        raise StoreCorrupt(path, f"holds a JSON {_kind(read.value)}, not an object")
    return read


def _kind(value: Any) -> str:
    kinds = {list: "array", str: "string", bool: "boolean", type(None): "null"}
    return kinds.get(type(value), "number")
