"""A TIFF's file: its directories, and whether all data of its images are there. Most raw files are TIFFs."""

from __future__ import annotations

import struct
from typing import Final, Literal

BEGINNINGS: Final = (b"II*\0", b"MM\0*")

SUB_IFDS: Final = 330
"""The tag of further images."""

_DATA: Final = ((273, 279), (324, 325))
"""Tags: where the strips of an image are, and their lengths; likewise of its tiles."""

_READ: Final = frozenset({SUB_IFDS, *(tag for pair in _DATA for tag in pair)})

_LETTERS: Final = {3: "H", 4: "I", 13: "I"}
"""How `struct` names the types of numbers that say where data are."""


def order_of(tiff: bytes) -> str:
    """Return the byte order of a TIFF, as `struct` writes it."""
    return "<" if tiff[:2] == b"II" else ">"


def first_tags(tiff: bytes) -> dict[int, int]:
    """Return the tags of a TIFF's first directory, with the value of those that are one number."""
    order: Literal["little", "big"] = "little" if tiff[:2] == b"II" else "big"

    def number(at: int, length: int) -> int:
        return int.from_bytes(tiff[at : at + length], order)

    start, tags = number(4, 4), dict[int, int]()
    for entry in range(start + 2, start + 2 + 12 * number(start, 2), 12):
        is_short = number(entry + 2, 2) == 3
        tags[number(entry, 2)] = number(entry + 8, 2 if is_short else 4)
    return tags


def require_data(tiff: bytes) -> None:
    """Raise `ValueError` where data of an image are missing that a directory of a TIFF names."""
    (first,) = struct.unpack_from(f"{order_of(tiff)}I", tiff, 4)
    waiting, seen = [(first, True)], {0}
    try:
        while waiting:
            start, is_in_chain = waiting.pop()
            if start in seen:
                continue
            seen.add(start)
            places, following = _directory(tiff, start)
            for offsets, lengths in _DATA:
                if not {offsets, lengths} <= places.keys():
                    continue
                if len(places[offsets]) != len(places[lengths]):
                    raise ValueError("it names more or fewer places than lengths of its data")
                pairs = zip(places[offsets], places[lengths], strict=True)
                if any(offset + length > len(tiff) for offset, length in pairs):
                    raise ValueError("its end is missing")
            waiting += [(sub, False) for sub in places.get(SUB_IFDS, ())]
            if is_in_chain:
                waiting.append((following, True))
    except struct.error as problem:
        raise ValueError("its end is missing") from problem


def _directory(tiff: bytes, start: int) -> tuple[dict[int, tuple[int, ...]], int]:
    """Return where a directory says that data are, and where the next one is, 0 for none. Raises `struct.error`.

    Other tags are left out: those of its maker may have any number, and point anywhere. What stands behind the
    directory of a further image isn't always a number either.
    """
    order, places = order_of(tiff), dict[int, tuple[int, ...]]()
    (entries,) = struct.unpack_from(f"{order}H", tiff, start)
    for entry in range(start + 2, start + 2 + 12 * entries, 12):
        tag, kind, count = struct.unpack_from(f"{order}HHI", tiff, entry)
        if tag in _READ and kind in _LETTERS:
            numbers = struct.Struct(f"{order}{count}{_LETTERS[kind]}")
            (at,) = (entry + 8,) if numbers.size <= 4 else struct.unpack_from(f"{order}I", tiff, entry + 8)
            places[tag] = numbers.unpack_from(tiff, at)
    (following,) = struct.unpack_from(f"{order}I", tiff, start + 2 + 12 * entries)
    return places, following
