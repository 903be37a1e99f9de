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

CHANGING = f"""\
{EUROPE} {LORD_HOWE}
AEST-10AEDT,M10.1.0,M4.1.0/3 <+11>-11<+12>,M10.1.0,M4.1.0/3 <+1245>-12:45<+1345>,M9.5.0/2:45,M4.1.0/3:45
NZST-12NZDT,M9.5.0,M4.1.0/3 IST-1GMT0,M10.5.0,M3.5.0/1 IST-2IDT,M3.4.4/26,M10.5.0 EET-2EEST,M3.4.4/50,M10.4.4/50
EET-2EEST,M3.5.0,M10.5.0/3 EET-2EEST,M3.5.0/0,M10.5.0/0 EET-2EEST,M3.5.0/3,M10.5.0/4
EET-2EEST,M4.5.5/0,M10.5.4/24 ACST-9:30ACDT,M10.1.0,M4.1.0/3 GMT0BST,M3.5.0/1,M10.5.0
<+00>0<+02>-2,M3.5.0/1,M10.5.0/3 HST10HDT,M3.2.0,M11.1.0 <-01>1<+00>,M3.5.0/0,M10.5.0/1
<-02>2<-01>,M3.5.0/-1,M10.5.0/0 NST3:30NDT,M3.2.0,M11.1.0 <-03>3<-02>,M3.2.0,M11.1.0 AST4ADT,M3.2.0,M11.1.0
<-04>4<-03>,M9.1.6/24,M4.1.6/24 EST5EDT,M3.2.0,M11.1.0 CST5CDT,M3.2.0/0,M11.1.0/1 CST6CDT,M3.2.0,M11.1.0
<-06>6<-05>,M9.1.6/22,M4.1.6/22 MST7MDT,M3.2.0,M11.1.0 PST8PDT,M3.2.0,M11.1.0 AKST9AKDT,M3.2.0,M11.1.0
<+01>-1<+00>0,M2.3.0/3,M3.4.0/2
""".split()
"""Each rule of a zone that still changes its clocks, as of 2026; the last is Morocco's of that year."""


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
