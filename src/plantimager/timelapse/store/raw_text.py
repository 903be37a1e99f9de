"""The file of a store as text and as a JSON object, and the digest in it; unreadable and corrupt are different errors.

The digest is an Adler-32 of the whole text but its own digits. It shows that a file was damaged, or edited by hand, and
protects from nobody: any change of a single byte is found, and of other changes all but one in four billion. That of a
text follows from those of its pieces by a few sums, so that a save adds up only what it changed.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any, Final
from zlib import adler32

from msgspec import Struct

from plantimager.timelapse.support import json_text
from plantimager.timelapse.support.durable import FileTooLarge, read_regular
from plantimager.timelapse.support.errors import StoreCorrupt, StoreUnreadable
from plantimager.timelapse.support.file_system import describe_denial

if TYPE_CHECKING:
    from collections.abc import Iterable
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
        whose = f"; {describe_denial(path)}" if isinstance(problem, PermissionError) else ""
        raise StoreUnreadable(path, f"can't be read: {reason}{whose}") from problem


def read_object(text: bytes, path: Path) -> json_text.LoadedJson:
    """Return the JSON object that the text of a file holds, its values unchecked; raise `StoreCorrupt` without one."""
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


# --- the digest -------------------------------------------------------------------------------------

SCHEME: Final = b"adler32:"
NO_DIGITS: Final = b"00000000"
"""Stand for the digest until it is known."""
NO_DIGEST: Final = (SCHEME + NO_DIGITS).decode()

_OWN_KEY: Final = b'\n    "timelapsed": {\n'
_KEY: Final = b'\n      "digest": '
_SINCE: Final = b'\n      "uncertain": '
_BEHIND: Final = b'\n  "scans": '
"""Lines of our layout, which no text in the file can hold: ``extra.timelapsed``, in it ``digest`` and a key that only
versions with a digest write, and what follows."""

_MODULUS: Final = 65521
"""The greatest prime number of 16 bits, as Adler-32 has it."""


def seal(text: bytes) -> bytes:
    """Return a text of our layout with its digest in the place of the one that it has; without one it stays as it is.

    So a text whose content was changed by intent, and has the digest of the one before, fits again.
    """
    start = _find_digits(text)
    if start is None:
        return text
    parts = text[:start], text[start + len(NO_DIGITS) :]
    return digits_of(adler32(parts[1], adler32(parts[0]))).join(parts)


def fits_digest(text: bytes) -> bool | None:
    """Return whether a text is as it was written; ``None`` where it has no digest: another program's, or an older one.

    A text that was laid out anew, or in which the digest itself was damaged, doesn't fit.
    """
    start = _find_digits(text)
    if start is None:
        had_one = SCHEME in text or _find_key(text) is not None or _find_key(text, _SINCE) is not None
        return False if had_one else None
    digits = text[start : start + len(NO_DIGITS)]
    return digits == digits_of(adler32(text[start + len(NO_DIGITS) :], adler32(memoryview(text)[:start])))


def digits_of(digest: int) -> bytes:
    """Return the digits of a digest."""
    return b"%08x" % digest


def _find_key(text: bytes, key: bytes = _KEY) -> int | None:
    """Return where the value of our key begins; of another's key of that name at the same depth it is not the first."""
    end = text.find(_BEHIND)  # a search through the megabytes behind it takes as long as their decoding
    end = len(text) if end < 0 else end
    start = text.find(key, max(text.find(_OWN_KEY, 0, end), 0), end)
    return None if start < 0 else start + len(key)


def _find_digits(text: bytes) -> int | None:
    start = _find_key(text)
    if start is None or not text.startswith(b'"' + SCHEME, start):
        return None
    return start + 1 + len(SCHEME)


class Sum(Struct, frozen=True):
    """What the Adler-32 of a longer text needs to know of a piece of it."""

    low: int
    high: int
    length: int


def sum_of(piece: bytes) -> Sum:
    """Return the `Sum` of a piece of text."""
    digest = adler32(piece, 0)
    return Sum(digest & 0xFFFF, digest >> 16, len(piece))


def total(pieces: Iterable[Sum]) -> Sum:
    """Return the `Sum` of pieces that follow each other."""
    low = high = length = 0
    for piece in pieces:
        high += piece.high + low * piece.length
        low += piece.low
        length += piece.length
    return Sum(low % _MODULUS, high % _MODULUS, length)


def adler32_of(pieces: Iterable[Sum]) -> int:
    """Return the Adler-32 of the text that the pieces are."""
    whole = total(pieces)
    return (whole.high + whole.length) % _MODULUS << 16 | (
        whole.low + 1
    ) % _MODULUS  # which begins with 1, where a sum begins with 0
