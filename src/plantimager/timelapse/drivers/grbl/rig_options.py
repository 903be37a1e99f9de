"""The table ``[drivers.grbl]`` and the tables in it; every fault is reported."""

# Annotations are evaluated here, since `RigOptions` declares keys.

import re
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Annotated, Any, Final

from msgspec import Struct

from plantimager.timelapse.datasets.disk_space import KEEP_FREE, read_size
from plantimager.timelapse.domain.durations import parse_duration
from plantimager.timelapse.drivers.cameras import KINDS, CameraOptions, CameraTable
from plantimager.timelapse.drivers.gantry.arm_options import ArmOptions, duration_between
from plantimager.timelapse.drivers.gantry.motion import Limits
from plantimager.timelapse.drivers.switches import SwitchOptions, read_switch
from plantimager.timelapse.scan.cameras import CAMERA_NAME
from plantimager.timelapse.scan.pose import Pose
from plantimager.timelapse.support.faults import Fault, Table, number, whole_number
from plantimager.timelapse.support.keys import Key, keys_of, read_key, read_keys

TABLE: Final = "drivers.grbl"


class Park(Struct, frozen=True):
    """The table ``[drivers.grbl.park]``. How it is read depends on the limits."""

    x: Annotated[float | None, Key(number, "mm", "as it stands")] = None
    y: Annotated[float | None, Key(number, "mm", "as it stands")] = None
    """Where the arm waits, within its reach."""
    pan: Annotated[float | None, Key(number, "degrees", "as it stands")] = None
    """How the turntable stands then."""


class RigOptions(Struct, frozen=True, kw_only=True):
    """A whole rig: its arm, its cameras, its switches."""

    arm: ArmOptions
    park: Pose | None
    """Where the arm waits in standby; None is where it stands. Always its zero where it can't home."""
    settle: Annotated[timedelta, Key(parse_duration, "duration")] = timedelta(seconds=0.2)
    """How long the arm rests before an exposure."""
    power_up: Annotated[timedelta, Key(parse_duration, "duration")] = timedelta(seconds=3)
    """How long the board takes to start, after a switch with the role gantry_power was switched on."""
    exposure_timeout: Annotated[timedelta, Key(duration_between("1s", "4m"), "duration")] = timedelta(seconds=30)
    """The longest that an exposure takes, and the longest that the transfer of its picture takes, "1s" to "4m"."""
    exposure_retries: Annotated[int, Key(whole_number(0, 10))] = 2
    """How often a failed exposure is repeated at its position, 0 to 10; then the camera is opened again, and it is
    tried as often once more, before the attempt has failed."""
    keep_free: Annotated[int, Key(read_size, "size")] = KEEP_FREE
    """What no scan may use up of the disk of the datasets; a scan begins only where pictures of the sizes asked fit."""
    cameras: Mapping[str, CameraOptions]
    switches: tuple[SwitchOptions, ...]


def read_rig_options(values: Mapping[str, Any], faults: list[Fault]) -> RigOptions:
    """Return the rig of ``[drivers.grbl]``, and add what is wrong with the table to ``faults``."""
    table = Table(dict(values), TABLE, faults)
    arm = _read_arm(table)
    options = RigOptions(
        arm=arm,
        park=_read_park(table, arm.limits, homing=arm.homing),
        **read_keys(RigOptions, table),
        cameras=_read_cameras(table),
        switches=_read_switches(table.subtable("switches")),
    )
    table.finish()
    return options


def _read_arm(table: Table) -> ArmOptions:
    values = read_keys(ArmOptions, table)
    if not table.has("port") and not table.has("usb"):
        table.add_fault("port", 'required, but missing; write port = "/dev/ttyUSB0", or usb = "1a86:7523"')
    if table.has("port") and table.has("usb"):
        table.add_fault("usb", "write port or usb, not both")
    return ArmOptions(**values, expected=_read_settings(table.subtable("settings")))


def _read_park(table: Table, limits: Limits, *, homing: bool) -> Pose | None:
    """Return where the arm waits: an arm without homing at its zero and nowhere else, see `grbl`."""
    park = table.subtable("park")
    place = {}
    for (name, key), ends in zip(keys_of(Park).items(), limits.each(), strict=True):
        place[name] = read_key(park, key, _within(ends) if homing else _zero)
        if not homing and ends is not None and not ends[0] <= 0 <= ends[1]:
            problem = "write limits with 0 between them, where the arm rests with homing = false"
            table.add_fault(key.name, problem, list(ends))
    park.finish()
    if not homing:
        return Pose(x=0.0, y=0.0, pan=0.0)
    return Pose(**place) if table.has("park") else None


def _read_settings(table: Table) -> Mapping[int, float]:
    expected = {}
    for name in table.rest():
        value = table.read(name, number)
        if not re.fullmatch(r"\$\d{1,3}", name, re.ASCII):
            table.add_fault(name, 'not a setting of GRBL; write "$100" = 80')
        elif value is not None:
            expected[int(name[1:])] = value
    return expected


def _read_cameras(rig: Table) -> Mapping[str, CameraOptions]:
    table = rig.subtable("cameras")
    cameras = {}
    for name in table.rest():
        camera = table.subtable(name)
        kind = read_keys(CameraTable, camera)["kind"]
        if not re.fullmatch(CAMERA_NAME, name):
            table.add_fault(name, "not a camera's name; write letters, digits, _ and -, at most 64")
        if kind is None:
            continue  # it decides which keys the table may have
        values = read_keys(KINDS[kind].options, camera)
        camera.finish()
        cameras[name] = CameraOptions(name, kind, {key: value for key, value in values.items() if value is not None})
    if not cameras and not any(fault.table.startswith(table.name) for fault in table.faults):
        problem = "names no camera" if rig.has("cameras") else "required, but missing"
        rig.add_fault("cameras", f'{problem}; write [{TABLE}.cameras.NAME] with kind = "gphoto2"')
    return cameras


def _read_switches(table: Table) -> tuple[SwitchOptions, ...]:
    switches = (read_switch(name, table.subtable(name)) for name in table.rest())
    return tuple(switch for switch in switches if switch is not None)


# Readers of keys that depend on the limits.


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
