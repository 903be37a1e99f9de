"""Raw files as cameras write them: a small picture first, the sensor's data behind it."""

from __future__ import annotations

import itertools
import struct
import zlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image

_BYTE, _SHORT, _LONG = 1, 3, 4


def nef(width: int = 160, height: int = 120, *, order: str = "<") -> bytes:
    """Return a TIFF whose first image is a thumbnail, and whose other image, in a SubIFD, is the sensor's."""
    thumbnail = bytes((200, 30, 30)) * width * height
    sensor = struct.pack(f"{order}H", 4000) * (4 * width * 4 * height)
    first_entries, sub_entries = 10, 8
    first = 8
    bits = first + 2 + 12 * first_entries + 4
    sub = bits + 6
    at_thumbnail = sub + 2 + 12 * sub_entries + 4
    at_sensor = at_thumbnail + len(thumbnail)

    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", first)
    return (
        head
        + _directory(
            order,
            (254, _LONG, 1, 1),
            (256, _LONG, 1, width),
            (257, _LONG, 1, height),
            (258, _SHORT, 3, bits),
            (259, _SHORT, 1, 1),
            (262, _SHORT, 1, 2),
            (273, _LONG, 1, at_thumbnail),
            (277, _SHORT, 1, 3),
            (279, _LONG, 1, len(thumbnail)),
            (330, _LONG, 1, sub),
        )
        + struct.pack(f"{order}3H", 8, 8, 8)
        + _directory(
            order,
            (254, _LONG, 1, 0),
            (256, _LONG, 1, 4 * width),
            (257, _LONG, 1, 4 * height),
            (258, _SHORT, 1, 16),
            (259, _SHORT, 1, 1),
            (262, _SHORT, 1, 32803),
            (273, _LONG, 1, at_sensor),
            (279, _LONG, 1, len(sensor)),
        )
        + thumbnail
        + sensor
    )


def _directory(order: str, *entries: tuple[int, int, int, int]) -> bytes:
    """Return a directory of a TIFF."""
    packed = b"".join(
        struct.pack(f"{order}HHI", tag, kind, count)
        + (struct.pack(f"{order}HH", value, 0) if kind == _SHORT and count == 1 else struct.pack(f"{order}I", value))
        for tag, kind, count, value in entries
    )
    return struct.pack(f"{order}H", len(entries)) + packed + bytes(4)


def deep_tiff(samples: int = 3, bits: int = 16, *, order: str = "<", is_planar: bool = False) -> bytes:
    """Return a TIFF of 4 × 3 pixels of so many samples, of up to 16 bits: three are colours, a fourth has no meaning.

    ``is_planar`` is one colour after the other.
    """
    width, height = 4, 3
    values = [number * 997 % (1 << bits) for number in range(width * height * samples)]
    pixels = struct.pack(f"{order}{len(values)}{'B' if bits == 8 else 'H'}", *values)
    extra = [(284, _SHORT, 1, 2)] if is_planar else []
    extra += [(338, _SHORT, 1, 0)] if samples == 4 else []
    at_bits = 8 + 2 + 12 * (9 + len(extra)) + 4
    entries = [
        (256, _LONG, 1, width),
        (257, _LONG, 1, height),
        (258, _SHORT, samples, at_bits if samples > 2 else bits),
        (259, _SHORT, 1, 1),
        (262, _SHORT, 1, 2 if samples > 2 else 1),
        (273, _LONG, 1, at_bits + 2 * samples),
        (277, _SHORT, 1, samples),
        (278, _LONG, 1, height),
        (279, _LONG, 1, len(pixels)),
        *extra,
    ]
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", 8)
    depths = struct.pack(f"{order}{samples}H", *[bits] * samples)
    return head + _directory(order, *entries) + depths + pixels


def tiled_tiff(image: Image.Image, *, is_deflated: bool = False, is_dng: bool = False) -> bytes:
    """Return a TIFF of tiles of 16 × 16 pixels, the directory first; as a DNG, each value is one of a sensor's pixels.

    The sides of the ``image`` are multiples of 16.
    """
    boxes = [
        (x, y, x + 16, y + 16) for y, x in itertools.product(range(0, image.height, 16), range(0, image.width, 16))
    ]
    tiles = [image.crop(box).tobytes() for box in boxes]
    tiles = [zlib.compress(tile) if is_deflated else tile for tile in tiles]
    samples = len(image.getbands())
    own = [(50706, _BYTE, 4, 0x00000401)] if is_dng else []
    at_bits = 8 + 2 + 12 * (10 + len(own)) + 4
    at_offsets = at_bits + 2 * samples
    at_counts = at_offsets + 4 * len(tiles)
    offsets = itertools.accumulate(map(len, tiles[:-1]), initial=at_counts + 4 * len(tiles))
    return (
        b"II*\0\x08\0\0\0"
        + _directory(
            "<",
            (256, _LONG, 1, image.width),
            (257, _LONG, 1, image.height),
            (258, _SHORT, samples, at_bits if samples > 2 else 8),
            (259, _SHORT, 1, 8 if is_deflated else 1),
            (262, _SHORT, 1, 32803 if is_dng else 2 if samples == 3 else 1),
            (277, _SHORT, 1, samples),
            (322, _SHORT, 1, 16),
            (323, _SHORT, 1, 16),
            (324, _LONG, len(tiles), at_offsets),
            (325, _LONG, len(tiles), at_counts),
            *own,
        )
        + struct.pack(f"<{samples}H", *[8] * samples)
        + struct.pack(f"<{len(tiles)}I", *offsets)
        + struct.pack(f"<{len(tiles)}I", *map(len, tiles))
        + b"".join(tiles)
    )
