"""Raw files as cameras write them: a small picture first, the sensor's data behind it."""

from __future__ import annotations

import struct

_SHORT, _LONG = 3, 4


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

    def directory(*entries: tuple[int, int, int, int]) -> bytes:
        packed = b"".join(
            struct.pack(f"{order}HHI", tag, kind, count)
            + (
                struct.pack(f"{order}HH", value, 0)
                if kind == _SHORT and count == 1
                else struct.pack(f"{order}I", value)
            )
            for tag, kind, count, value in entries
        )
        return struct.pack(f"{order}H", len(entries)) + packed + bytes(4)

    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", first)
    return (
        head
        + directory(
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
        + directory(
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
