"""The construction of a rig's arm: the keys of ``[drivers.grbl]`` that the arm needs."""

# Annotations are evaluated here, since `ArmOptions` declares keys.

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Annotated, Final

from msgspec import Struct

from plantimager.timelapse.domain.durations import parse_duration
from plantimager.timelapse.drivers.gantry.motion import FIELDS, Limits
from plantimager.timelapse.drivers.gantry.port import USB_ID
from plantimager.timelapse.support.faults import boolean, number, text, whole_number
from plantimager.timelapse.support.keys import Key

_USUAL: Final = Limits()


def _device(value: object) -> str:
    path = text(value)
    if not path.startswith("/"):
        raise ValueError("write the device's whole path, such as /dev/serial/by-id/usb-1a86_…")
    return path


def _usb_id(value: object) -> str:
    usb_id = text(value)
    if not USB_ID.fullmatch(usb_id):
        raise ValueError("write vendor:product as lsusb shows them, 1a86:7523; where two are alike, and :serial")
    return usb_id


def _span(value: object) -> tuple[float, float]:
    if not isinstance(value, list) or len(value) != 2:
        raise ValueError("write the lowest and the highest: [0, 740]")
    low, high = map(number, value)
    if low >= high:
        raise ValueError("write the lowest first: [0, 740]")
    return low, high


def _turns(value: object) -> tuple[float, float] | None:
    if value == "endless":
        return None
    if not isinstance(value, list):
        raise ValueError('write how far the cables let it turn, in degrees, or "endless": [-360, 720]')  # noqa: TRY004 - readers raise ValueError
    low, high = _span(value)
    if high - low < 360:
        raise ValueError('write a whole turn or more, in degrees, or "endless": [-360, 720]')
    return low, high


def _axes(value: object) -> tuple[bool, bool, bool]:
    if not isinstance(value, list) or not all(axis in FIELDS for axis in value):
        raise ValueError(f"write a list of axes out of {', '.join(FIELDS)}")
    return FIELDS[0] in value, FIELDS[1] in value, FIELDS[2] in value


def _speed(value: object) -> float:
    speed = number(value)
    if not 1 <= speed <= 100_000:
        raise ValueError("write mm a minute, from 1 to 100000")
    return speed


def duration_between(shortest: str, longest: str) -> Callable[[object], timedelta]:
    """Return a reader of durations, both bounds included."""

    def read(value: object) -> timedelta:
        duration = parse_duration(value)
        if not parse_duration(shortest) <= duration <= parse_duration(longest):
            raise ValueError(f"write a duration from {shortest} to {longest}")
        return duration

    return read


class ArmOptions(Struct, frozen=True, kw_only=True):
    """The construction of a rig's arm, of ``[drivers.grbl]``."""

    port: Annotated[str, Key(_device, absent="Required, or else ``usb``")] = ""
    """The board's device, as a whole path, best one in ``/dev/serial/by-id``."""
    usb: Annotated[str, Key(_usb_id, absent="Required, or else ``port``")] = ""
    """Instead of ``port``: vendor:product as ``lsusb`` shows them, "1a86:7523"; where two are alike, with :serial
    behind."""
    baudrate: Annotated[int, Key(whole_number(1_200, 1_000_000), "bits a second")] = 115_200
    """The speed of the serial line, 1200 to 1000000."""
    x: Annotated[tuple[float, float], Key(_span, "mm")] = _USUAL.x
    y: Annotated[tuple[float, float], Key(_span, "mm")] = _USUAL.y
    """How far the arm reaches, lowest and highest; no scan path leaves it."""
    pan: Annotated[tuple[float, float] | None, Key(_turns, "degrees")] = _USUAL.pan
    """How far the cables let the turntable turn, a whole turn or more, or "endless"."""
    inverted: Annotated[
        tuple[bool, bool, bool] | None, Key(_axes, absent="those that the board's $3 names", name="invert")
    ] = None
    """A list of the axes that count the other way round, out of "x", "y" and "pan"."""
    homing: Annotated[bool, Key(boolean)] = True
    """Whether the gantry has limit switches. One without has to stand at its zero when it is switched on, and rests
    there between scans."""
    feed: Annotated[float | None, Key(_speed, "mm a minute", "as the board's $110 to $112 say")] = None
    """How fast it moves (the turntable: degrees a minute), 1 to 100000."""
    answer_timeout: Annotated[timedelta, Key(duration_between("0.1s", "30s"), "duration")] = timedelta(seconds=2)
    """The longest that the board takes to answer, "0.1s" to "30s"."""
    boot_timeout: Annotated[timedelta, Key(duration_between("0.1s", "60s"), "duration")] = timedelta(seconds=20)
    """The longest that the board takes to start when its port is opened, "0.1s" to "60s"."""
    dtr: Annotated[bool, Key(boolean)] = True
    """Whether DTR and RTS are raised when the port is opened. With false they stay low, for boards that start anew, or
    stay in their boot loader, when they rise."""
    expected: Mapping[int, float] = {}
    """Settings that the board must have, by number, of ``[drivers.grbl.settings]``; one that it doesn't report is taken
    from there."""

    @property
    def limits(self) -> Limits:
        """The limits of the arm."""
        return Limits(self.x, self.y, self.pan)
