"""Time zones for tests, independent of the zone files of the machine."""

from __future__ import annotations

import io
import struct
import time
from contextlib import contextmanager
from zoneinfo import ZoneInfo

EUROPE = "CET-1CEST,M3.5.0,M10.5.0/3"
"""Central Europe: forward from 02:00 to 03:00 on the last Sunday of March, back from 03:00 to 02:00 in October."""

LORD_HOWE = "<+1030>-10:30<+11>-11,M10.1.0,M4.1.0"
"""An island whose clocks change by half an hour."""


def zone(rule):
    """Return the zone of a POSIX rule such as `EUROPE`."""
    standard_offset = 3600 if rule == EUROPE else 37800
    block = struct.pack(">4sc15x6l", b"TZif", b"2", 0, 0, 0, 0, 1, 4) + struct.pack(">lbb", standard_offset, 0, 0)
    block += b"STD\0"
    return ZoneInfo.from_file(io.BytesIO(block + block + f"\n{rule}\n".encode()), key=rule)


@contextmanager
def host_zone(rule, monkeypatch):
    """Set the host's zone to that of a POSIX rule while the context lasts."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", rule)
        time.tzset()
        yield
    time.tzset()
