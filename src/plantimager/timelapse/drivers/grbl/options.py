"""The table ``[drivers.grbl]``: read whole, every fault at once."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from plantimager.timelapse.datasets import disk_space
from plantimager.timelapse.domain.durations import parse_duration
from plantimager.timelapse.drivers.cameras import KINDS, CameraOptions
from plantimager.timelapse.drivers.gantry.motion import FIELDS, Limits
from plantimager.timelapse.drivers.gantry.options import ArmOptions
from plantimager.timelapse.drivers.gantry.port import USB_ID
from plantimager.timelapse.drivers.switches import SwitchOptions, read_switch
from plantimager.timelapse.scan.pose import Pose
from plantimager.timelapse.support.faults import MISSING, Fault, Table, boolean, number, one_of, text, whole_number

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

TABLE: Final = "drivers.grbl"

_CAMERA: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class RigOptions:
    """A whole rig: its arm, its cameras, its switches."""

    arm: ArmOptions
    park: Pose | None
    """Where the arm waits in standby; None is wherever it stands. Always its zero where it can't home."""
    settle: timedelta
    """What the arm rests before an exposure."""
    power_up: timedelta
    """From the gantry's power switch to the first word with its board."""
    exposure_timeout: timedelta
    keep_free: int
    """Bytes of the datasets' disk that no scan may touch."""
    cameras: Mapping[str, CameraOptions]
    switches: tuple[SwitchOptions, ...]


def read_options(values: Mapping[str, Any], faults: list[Fault]) -> RigOptions:
    """Return the rig of ``[drivers.grbl]``, and add what is wrong with the table to ``faults``."""
    table = Table(dict(values), TABLE, faults)
    arm = _read_arm(table)
    options = RigOptions(
        arm=arm,
        park=_read_park(table, arm.limits) if arm.homing else _read_rest(table, arm.limits),
        settle=table.take("settle", parse_duration, timedelta(seconds=0.2)),
        power_up=table.take("power_up", parse_duration, timedelta(seconds=3)),
        exposure_timeout=table.take("exposure_timeout", _between("1s", "4m"), timedelta(seconds=30)),
        keep_free=disk_space.read_keep_free(table),
        cameras=_read_cameras(table.subtable("cameras"), table.has("cameras")),
        switches=_read_switches(table.subtable("switches")),
    )
    table.finish()
    return options


def _read_arm(table: Table) -> ArmOptions:
    port, usb = table.take("port", _device, ""), table.take("usb", _usb_id, "")
    if not table.has("port") and not table.has("usb"):
        problem = 'required, but missing; write port = "/dev/ttyUSB0", or usb = "1a86:7523"'
        table.faults.append(Fault(TABLE, "port", MISSING, problem))
    if table.has("port") and table.has("usb"):
        table.faults.append(Fault(TABLE, "usb", MISSING, "write port or usb, not both"))
    usual = Limits()
    limits = Limits(
        x=table.take("x", _span, usual.x),
        y=table.take("y", _span, usual.y),
        pan=table.take("pan", _turns, usual.pan),
    )
    return ArmOptions(
        port=port,
        usb=usb,
        baudrate=table.take("baudrate", whole_number(1_200, 1_000_000), 115_200),
        limits=limits,
        inverted=table.take("invert", _axes, None),
        homing=table.take("homing", boolean, default=True),
        feed=table.take("feed", _speed, None),
        expected=_read_settings(table.subtable("settings")),
        answer_timeout=table.take("answer_timeout", _between("0.1s", "30s"), timedelta(seconds=2)),
    )


def _read_park(table: Table, limits: Limits) -> Pose | None:
    park = table.subtable("park")
    if not table.has("park"):
        return None
    ends = dict(zip(FIELDS, limits.each(), strict=True))
    place = {name: park.take(name, _within(ends[name]), None) for name in FIELDS}
    park.finish()
    return Pose(**place)


def _read_rest(table: Table, limits: Limits) -> Pose:
    """Return where an arm without homing parks: at its zero and nowhere else, see `grbl`."""
    park = table.subtable("park")
    for name, ends in zip(FIELDS, limits.each(), strict=True):
        park.take(name, _zero, None)
        if ends is not None and not ends[0] <= 0 <= ends[1]:
            problem = "write limits with 0 between them, where the arm rests with homing = false"
            table.faults.append(Fault(table.name, name, list(ends), problem))
    park.finish()
    return Pose(x=0.0, y=0.0, pan=0.0)


def _read_settings(table: Table) -> Mapping[int, float]:
    expected = {}
    for name in table.rest():
        value = table.take(name, number)
        if not re.fullmatch(r"\$\d{1,3}", name, re.ASCII):
            table.faults.append(Fault(table.name, name, MISSING, 'not a setting of GRBL; write "$100" = 80'))
        elif value is not None:
            expected[int(name[1:])] = value
    return expected


def _read_cameras(table: Table, there: bool) -> Mapping[str, CameraOptions]:
    cameras = {}
    for name in table.rest():
        camera = table.subtable(name)
        kind = camera.take("kind", one_of(*KINDS))
        if not _CAMERA.fullmatch(name):
            problem = "not a camera's name; write letters, digits, _ and -, at most 64"
            table.faults.append(Fault(table.name, name, MISSING, problem))
        if kind is None:
            continue  # which keys it may have hangs on that
        values = {key: camera.take(key, read, None) for key, read in KINDS[kind].keys.items()}
        missing = [key for key in KINDS[kind].required if not camera.has(key)]
        table.faults.extend(Fault(camera.name, key, MISSING, "required, but missing") for key in missing)
        camera.finish()
        cameras[name] = CameraOptions(name, kind, {key: value for key, value in values.items() if value is not None})
    if not cameras and not any(fault.table.startswith(table.name) for fault in table.faults):
        problem = "names no camera" if there else "required, but missing"
        example = f'write [{TABLE}.cameras.NAME] with kind = "gphoto2"'
        table.faults.append(Fault(TABLE, "cameras", MISSING, f"{problem}; {example}"))
    return cameras


def _read_switches(table: Table) -> tuple[SwitchOptions, ...]:
    switches = (read_switch(name, table.subtable(name)) for name in table.rest())
    return tuple(switch for switch in switches if switch is not None)


# Readers for `Table.take`.


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


def _within(limits: tuple[float, float] | None) -> Callable[[object], float]:
    def read(value: object) -> float:
        at = number(value)
        if limits is not None and not limits[0] <= at <= limits[1]:
            raise ValueError(f"leaves the limits {limits[0]:g}-{limits[1]:g}")
        return at

    return read


def _zero(value: object) -> float:
    if number(value) != 0:
        raise ValueError("write 0, where the arm rests with homing = false")
    return 0.0


def _between(shortest: str, longest: str) -> Callable[[object], timedelta]:
    def read(value: object) -> timedelta:
        duration = parse_duration(value)
        if not parse_duration(shortest) <= duration <= parse_duration(longest):
            raise ValueError(f"write a duration from {shortest} to {longest}")
        return duration

    return read
