"""A JPEG's file: its segments, and whether all data of its picture are there."""

from __future__ import annotations

import contextlib
import io
import itertools
import re
import struct
import zlib
from typing import TYPE_CHECKING, Final

from PIL import Image, UnidentifiedImageError
from PIL.JpegImagePlugin import JpegImageFile

if TYPE_CHECKING:
    from collections.abc import Iterator

BEGINS: Final = b"\xff\xd8"
END: Final = b"\xff\xd9"

SCAN: Final = 0xDA
"""The marker of a scan's header; the picture's data follow."""
_HUFFMAN_TABLES, _QUANTISATION_TABLES = 0xC4, 0xDB
_SEQUENTIAL_FRAMES, _PROGRESSIVE_FRAME = (0xC0, 0xC1), 0xC2
"""The markers of the header of a frame, which is the picture."""
_OTHER_FRAMES: Final = frozenset(range(0xC3, 0xD0)) - {_HUFFMAN_TABLES, 0xC8, 0xCC}
"""Those of frames that no camera has, whose end can't be seen."""

_SEGMENT: Final = re.compile(rb"\x00*\xff+[^\x00\xff]")
"""The marker of a segment, with zeros and fill bytes before it, which every decoder skips."""
_RESTART: Final = re.compile(rb"\xff[\xd0-\xd7]")
_AFTER_DATA: Final = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
"""In a scan's data, what divides them, and what doesn't belong to them."""

_FILLINGS: Final = (
    bytes.fromhex("5a36c91d72e40b93") * 8,
    bytes.fromhex("a5c936e28d1bf46c") * 8,
    bytes.fromhex("b42d67938e51d26a") * 8,
    bytes(64),
)
"""Data that no picture has. The first bytes of the first two differ in every bit."""

_STEPS: Final = b"\xff\xdb" + struct.pack(">H", 262) + b"".join(bytes([table, 1]) + b"\4" * 63 for table in range(4))
"""Quantisation tables with which every difference of a coefficient is seen in the pixels."""

_ALL: Final = (1 << 64) - 1
"""The set of all coefficients of a block."""


def segments(jpeg: bytes) -> Iterator[tuple[int, int]]:
    """Yield where each segment begins and ends, up to the picture's end; the data of a scan follow its header.

    Raises
    ------
    IndexError, struct.error, ValueError
        The file is damaged.
    """
    at = _marker_at(jpeg, 2)
    while jpeg[at : at + 2] != END:
        (length,) = struct.unpack_from(">H", jpeg, at + 2)
        end = at + 2 + length
        yield at, end
        at = _marker_at(jpeg, _end_of_data(jpeg, end) if jpeg[at + 1] == SCAN else end)


def header_segments(jpeg: bytes) -> Iterator[tuple[int, int]]:
    """Yield where each segment before the first scan begins and ends; the rest is as for `segments`."""
    return itertools.takewhile(lambda at: jpeg[at[0] + 1] != SCAN, segments(jpeg))


def _marker_at(jpeg: bytes, start: int) -> int:
    """Return where the marker at ``start`` is, behind fill bytes. Raises `ValueError` where there is none."""
    marker = _SEGMENT.match(jpeg, start)
    if marker is None:
        raise ValueError("its end is missing")
    return marker.end() - 2


def _end_of_data(jpeg: bytes, start: int) -> int:
    """Return where a scan's data end. Raises `ValueError` where nothing ends them."""
    marker = _AFTER_DATA.search(jpeg, start)
    if marker is None:
        raise ValueError("its end is missing")
    end = marker.start()
    while end > start and jpeg[end - 1] == 0xFF:  # fill bytes belong to the marker
        end -= 1
    return end


def has_whole_header(content: bytes) -> bool:
    """Whether this is a JPEG whose segments before the picture are whole."""
    with contextlib.suppress(IndexError, struct.error, ValueError):
        return content.startswith(BEGINS) and any(content[start + 1] == SCAN for start, _ in segments(content))
    return False


def complete_frame(jpeg: bytes) -> bytes:
    """Return a frame of a webcam as a file that every program reads: many lack the usual tables, some their end.

    What is there of its data stays; `require_whole` tells whether it is all.
    """
    if not has_whole_header(jpeg):
        return jpeg
    if not _tables(jpeg):
        usual = io.BytesIO()
        Image.new("YCbCr", (8, 8)).save(usual, "JPEG")
        jpeg = BEGINS + _tables(usual.getvalue()) + jpeg[2:]
    try:
        for _ in segments(jpeg):
            pass
    except (IndexError, struct.error, ValueError):
        # Zeros that fill the buffer would count as data. The first may be the last of the data.
        return jpeg[: len(jpeg.rstrip(b"\0")) + 1] + END
    return jpeg


def _tables(jpeg: bytes) -> bytes:
    """Return the segments of a JPEG that have Huffman's tables, up to its first scan."""
    return b"".join(jpeg[start:end] for start, end in header_segments(jpeg) if jpeg[start + 1] == _HUFFMAN_TABLES)


def require_whole(jpeg: bytes) -> None:
    """Decode a JPEG several times, with other data behind those of each scan: a whole one needs none of them.

    Twice where it has one scan, else four times. A decoder that comes to the end too early paints the rest grey,
    without a word.

    Raises
    ------
    ValueError, OSError
        Data are missing, or damaged so that it can't be decoded.
    UnidentifiedImageError
        It is of a kind of which that can't be seen.
    """
    scans = _scans_of(jpeg)
    # One of several scans has data of fewer kinds, which two fillings may happen to be alike for.
    if len({_checksum(scans, filling) for filling in _FILLINGS[: 2 if len(scans) == 1 else None]}) > 1:
        raise ValueError("its data end too early")


def _scans_of(jpeg: bytes) -> list[tuple[bytes, bytes]]:
    """Return each scan of a JPEG with all that is before it, and the restart marker that would be its next.

    Raises
    ------
    ValueError
        Data are missing.
    UnidentifiedImageError
        Its frame is none of those whose end can be seen.
    """
    scans, copied, is_sequential = list[tuple[bytes, bytes]](), 0, False
    sharp = dict[int, int]()  # by component, the coefficients that are there with all their bits
    needed, tables = set[int](), set[int]()  # of quantisation
    try:
        for start, end in segments(jpeg):
            marker, body = jpeg[start + 1], jpeg[start + 4 : end]
            if marker in _OTHER_FRAMES:
                raise UnidentifiedImageError("its coding is not Huffman's")
            if marker in (*_SEQUENTIAL_FRAMES, _PROGRESSIVE_FRAME):
                needed = {*body[8::3]}
                sharp, is_sequential = dict.fromkeys(body[6::3], 0), marker != _PROGRESSIVE_FRAME
            if marker == _QUANTISATION_TABLES:
                tables |= _numbers_of_tables(body)
            if marker == SCAN:
                first, last, bits = body[-3:]  # some encoders leave them zero where they are always the same
                in_full = _ALL if is_sequential else 0 if bits & 15 else (2 << last) - (1 << first)
                for component in body[1:-3:2]:
                    sharp[component] |= in_full
                data_end = _end_of_data(jpeg, end)
                restart = bytes([0xFF, 0xD0 + len(_RESTART.findall(jpeg, end, data_end)) % 8])
                scans.append((jpeg[copied:start] + _STEPS + jpeg[start:data_end], restart))
                copied = data_end
    except (IndexError, KeyError, struct.error) as problem:
        raise ValueError("its end is missing") from problem
    if not needed <= tables or any(coefficients != _ALL for coefficients in sharp.values()):
        raise ValueError("a part of its data is missing")
    return scans


def _numbers_of_tables(body: bytes) -> set[int]:
    """Return the numbers of the quantisation tables in a segment."""
    numbers, at = set[int](), 0
    while at < len(body):
        numbers.add(body[at] & 15)
        at += 129 if body[at] >> 4 else 65  # steps of 16 bits, or of 8
    return numbers


def _checksum(scans: list[tuple[bytes, bytes]], filling: bytes) -> int:
    """Return a number for the pixels of a JPEG; after each scan come its next restart marker and ``filling``."""
    file = b"".join([part for scan, restart in scans for part in (scan, filling, restart, filling)] + [END])
    checksum = 0
    with JpegImageFile(io.BytesIO(file)) as image:
        if not _has_rgb(image):
            image.draft("YCbCr", image.size)  # RGB has no place for some differences of colours
        image.load()
        for top in range(0, image.height, 64):  # a copy of all would take as much memory again
            band = image.crop((0, top, image.width, min(top + 64, image.height)))
            checksum = zlib.crc32(band.tobytes(), checksum)
    return checksum


def _has_rgb(image: JpegImageFile) -> bool:
    """Whether the components of a JPEG are red, green and blue, by the rules of libjpeg."""
    if "jfif" in image.info:
        return False
    names = bytes(name for name, *_ in image.layer)
    return image.info["adobe_transform"] == 0 if "adobe_transform" in image.info else names == b"RGB"
