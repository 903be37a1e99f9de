"""A JPEG's file: its segments, and the form in which decoding it fails where data are missing."""

from __future__ import annotations

import contextlib
import re
import struct
from typing import Final

BEGINS: Final = b"\xff\xd8"
END: Final = b"\xff\xd9"

_SCAN: Final = 0xDA
"""The marker of a scan's header; the picture's data follow."""
_MARKER: Final = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
"""In a scan's data, what doesn't belong to them."""

_NO_DATA: Final = bytes(64)
"""Enough for a decoder that looks ahead, and too little for a picture whose data have ended before."""


def segments(jpeg: bytes) -> list[tuple[int, int]]:
    """Return where each segment begins and ends, up to the header of the first scan.

    Raises
    ------
    IndexError, struct.error
        The file is damaged.
    """
    found, at = list[tuple[int, int]](), 2
    while True:
        if jpeg[at + 1] == 0xFF:  # a fill byte
            at += 1
            continue
        (length,) = struct.unpack_from(">H", jpeg, at + 2)
        found.append((at, at + 2 + length))
        if jpeg[at + 1] == _SCAN:
            return found
        at += 2 + length


def has_whole_header(content: bytes) -> bool:
    """Whether this is a JPEG whose segments before the picture are whole."""
    with contextlib.suppress(IndexError, struct.error):
        return content.startswith(BEGINS) and bool(segments(content))
    return False


def for_strict_decoding(content: bytes) -> bytes:
    """Return a JPEG such that decoding it fails where data are missing before its end; another file as it is.

    A decoder that comes to the end too early paints the rest grey. Without an end it asks for more data. A JPEG of
    several scans keeps its end, which its decoder needs.

    Raises
    ------
    ValueError
        It has no end.
    """
    if not has_whole_header(content):
        return content
    marker = _MARKER.search(content, segments(content)[-1][1])
    if marker is None:
        raise ValueError("its end is missing")
    return content[: marker.start()] + _NO_DATA if marker[0] == END else content
