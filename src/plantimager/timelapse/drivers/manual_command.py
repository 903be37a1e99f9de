"""Manual commands, which a person gives the rig between scans with ``timelapsectl rig``: reading, carrying out.

`perform` is called on the rig thread of the daemon.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct

from plantimager.timelapse.drivers.manual_control import ManualControl
from plantimager.timelapse.drivers.trial import Trial, take_trial
from plantimager.timelapse.scan.pose import Pose
from plantimager.timelapse.scan.values import MAX_POSITIONS, coordinate
from plantimager.timelapse.support.errors import FaultsFound, ManualCommandRefused
from plantimager.timelapse.support.faults import MISSING, Fault, Table, boolean, one_of, text, whole_number

if TYPE_CHECKING:
    from collections.abc import Mapping

    from plantimager.timelapse.drivers.base import Part, ScanMonitor, ScannerDriver

MAX_NAME: Final = 100
"""Characters of the name of a camera."""


class ManualAction(StrEnum):
    """The actions of manual commands, in the words of the command line."""

    CHECK = "check"
    HOME = "home"
    GOTO = "goto"
    SNAPSHOT = "snapshot"
    LIGHTS = "lights"
    TRY = "try"


class ManualCommand(Struct, frozen=True):
    """A manual command with its values."""

    action: ManualAction
    pose: Pose = Pose()
    """Of `ManualAction.GOTO`: x, y in mm, pan in degrees; an axis that it leaves out stays as it is."""
    camera: str = ""
    """Of `ManualAction.SNAPSHOT`: the name of one; empty for all."""
    on: bool = False
    """Of `ManualAction.LIGHTS`."""
    position: int = 0
    """Of `ManualAction.TRY`: one of the path, counted from 1; 0 for all."""
    who: str = "somebody"
    """The name of the person, which no request says itself."""

    def body(self) -> dict[str, Any]:
        """Return the command as the JSON object of a request, which `read_manual_command` reads."""
        values = {
            "action": self.action.value,
            **{axis: getattr(self.pose, axis) for axis in ("x", "y", "pan")},
            "camera": self.camera or None,
            "on": self.on if self.action is ManualAction.LIGHTS else None,
            "position": self.position or None,
        }
        return {key: value for key, value in values.items() if value is not None}

    def __str__(self) -> str:
        match self.action:
            case ManualAction.GOTO:
                return " ".join(f"{self.action} {self.pose}".split())
            case ManualAction.LIGHTS:
                return f"{self.action} {'on' if self.on else 'off'}"
            case ManualAction.TRY:
                return f"{self.action} {self.position or ''}".rstrip()
        return f"{self.action} {self.camera}".rstrip()


def read_manual_command(body: Mapping[str, Any], source: str) -> ManualCommand:
    """Return the command in a request; ``source`` names the request in faults. It is not trusted.

    Raises `FaultsFound` with every fault of the request.
    """
    faults: list[Fault] = []
    table = Table(body, "", faults)
    action = ManualAction(table.read("action", one_of(*ManualAction)) or ManualAction.CHECK)
    pose, camera, on, position = Pose(), "", False, 0
    if action is ManualAction.GOTO:
        pose = Pose(**{axis: table.read(axis, coordinate, None) for axis in ("x", "y", "pan")})
        if not faults and pose == Pose():
            faults.append(Fault("", "x", MISSING, "write x, y or pan, or several of them"))
    elif action is ManualAction.SNAPSHOT:
        camera = table.read("camera", _name, "")
    elif action is ManualAction.LIGHTS:
        on = bool(table.read("on", boolean))
    elif action is ManualAction.TRY:
        position = table.read("position", whole_number(1, MAX_POSITIONS), 0)
    table.finish()
    if faults:
        raise FaultsFound(faults, source)
    return ManualCommand(action=action, pose=pose, camera=camera, on=on, position=position)


def _name(value: object) -> str:
    name = text(value)
    if len(name) > MAX_NAME or not name.isprintable():
        raise ValueError(f"write at most {MAX_NAME} characters, on one line")
    return name


# --- carrying it out --------------------------------------------------------------------------------------------


class Picture(Struct, frozen=True):
    """A picture of a snapshot."""

    camera: str
    extension: str
    """Of its file, without the dot."""
    content: bytes
    """The file."""


class ManualReport(Struct, frozen=True):
    """The result of a manual command."""

    sentence: str
    """For the person who asked."""
    parts: tuple[Part, ...] = ()
    pictures: tuple[Picture, ...] = ()

    @property
    def details(self) -> dict[str, Any]:
        """Return parts and pictures as JSON values, without their content. The types of a driver aren't trusted."""
        parts = [{"name": str(part.name), "answers": bool(part.answers), "says": str(part.says)} for part in self.parts]
        pictures = [{"camera": str(picture.camera), "extension": str(picture.extension)} for picture in self.pictures]
        return {"parts": parts, "pictures": pictures}


def check_supported(driver: ScannerDriver, name: str, command: ManualCommand) -> None:
    """Raise `ManualCommandRefused` where a driver doesn't offer a command; ``name`` is the driver's."""
    if command.action not in (ManualAction.CHECK, ManualAction.TRY):
        _manual_control_of(driver, name)


def _manual_control_of(driver: ScannerDriver, name: str) -> ManualControl:
    if isinstance(driver, ManualControl):
        return driver
    raise ManualCommandRefused(
        f"the driver {name} has no control by hand",
        hint="timelapsectl rig check says what it knows of its rig, and timelapsectl rig try takes a scan",
    )


def perform(
    driver: ScannerDriver,
    name: str,
    command: ManualCommand,
    configuration: Mapping[str, Any],
    monitor: ScanMonitor,
    trial: Trial,
) -> ManualReport:
    """Carry out a command, and return its result. It has to run on the thread that calls the driver.

    Raises `ManualCommandRefused` where the driver doesn't offer it, and `DriverError` where the rig can't do it or
    ``monitor`` was cancelled.
    """
    if command.action is ManualAction.CHECK:
        return _examine(driver, name, configuration, monitor)
    if command.action is ManualAction.TRY:
        return ManualReport(take_trial(driver, configuration, command.position, monitor, trial))
    control = _manual_control_of(driver, name)
    match command.action:
        case ManualAction.HOME:
            return ManualReport(str(control.home(monitor)))
        case ManualAction.GOTO:
            return ManualReport(str(control.go_to(command.pose, monitor)))
        case ManualAction.LIGHTS:
            control.light(on=command.on)
            return ManualReport("the light is that of a scan" if command.on else "the plant has its own light again")
        case _:
            return _snapshot(control, command.camera, configuration, monitor)


def _examine(driver: ScannerDriver, name: str, configuration: Mapping[str, Any], monitor: ScanMonitor) -> ManualReport:
    parts = tuple(driver.examine())
    if isinstance(driver, ManualControl):
        parts = tuple(driver.try_part(part, configuration, monitor) if part.answers else part for part in parts)
    if not parts:
        raise ManualCommandRefused(f"the driver {name} can't say how its rig is")
    silent = [part.name for part in parts if not part.answers]
    if silent:
        return ManualReport(f"no answer of {', '.join(silent)}", parts)
    return ManualReport("everything answers", parts)


def _snapshot(
    control: ManualControl, name: str, configuration: Mapping[str, Any], monitor: ScanMonitor
) -> ManualReport:
    cameras = {camera.name: camera for camera in control.cameras(configuration)}
    if name and name not in cameras:
        raise ManualCommandRefused(f"the rig has no camera {name}; it has {', '.join(cameras)}")
    chosen = [cameras[name]] if name else [*cameras.values()]
    pictures = tuple(Picture(camera.name, camera.extension, control.snapshot(camera, monitor)) for camera in chosen)
    return ManualReport(f"a picture of {', '.join(camera.name for camera in chosen)}", pictures=pictures)
