"""What a person has the rig do between scans, with ``timelapsectl rig``: the wish, and how it is done.

`perform` serves both sides: the rig thread of a daemon and, where none runs, the command itself.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct

from plantimager.timelapse.drivers.manual_control import HandControl
from plantimager.timelapse.scan.paths import Pose, coordinate
from plantimager.timelapse.support.errors import FaultsFound, NotByHand
from plantimager.timelapse.support.faults import MISSING, Fault, Table, boolean, one_of, text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from plantimager.timelapse.drivers.base import Part, ScanMonitor, ScannerDriver

LONGEST_NAME: Final = 100
"""Characters of who asks, and of a camera."""


class Deed(StrEnum):
    """What can be asked for, in the words of the command."""

    CHECK = "check"
    HOME = "home"
    GOTO = "goto"
    SNAPSHOT = "snapshot"
    LIGHTS = "lights"


class Wish(Struct, frozen=True):
    """What a person asks for."""

    deed: Deed
    pose: Pose = Pose()
    """Of `Deed.GOTO`: x, y in mm, pan in degrees; what it leaves out stays as it is."""
    camera: str = ""
    """Of `Deed.SNAPSHOT`: which; empty for all."""
    on: bool = False
    """Of `Deed.LIGHTS`."""
    who: str = "somebody"

    def body(self) -> dict[str, Any]:
        """Return the JSON object of a request, which `read_wish` understands."""
        body: dict[str, Any] = {"action": self.deed.value, "who": self.who}
        if self.deed is Deed.GOTO:
            goal = {"x": self.pose.x, "y": self.pose.y, "pan": self.pose.pan}
            body |= {axis: at for axis, at in goal.items() if at is not None}
        elif self.deed is Deed.SNAPSHOT and self.camera:
            body["camera"] = self.camera
        elif self.deed is Deed.LIGHTS:
            body["on"] = self.on
        return body

    def __str__(self) -> str:
        match self.deed:
            case Deed.GOTO:
                return " ".join(f"{self.deed} {self.pose}".split())
            case Deed.LIGHTS:
                return f"{self.deed} {'on' if self.on else 'off'}"
        return f"{self.deed} {self.camera}".rstrip()


def read_wish(body: Mapping[str, Any], source: str) -> Wish:
    """Return what a request asks for; it may come from anybody who can write a file.

    Raises
    ------
    FaultsFound
        With all that is wrong with it.

    """
    faults: list[Fault] = []
    table = Table(body, "", faults)
    deed = Deed(table.take("action", one_of(*Deed)) or Deed.CHECK)
    who = table.take("who", _name, "somebody")
    pose, camera, on = Pose(), "", False
    if deed is Deed.GOTO:
        pose = Pose(**{axis: table.take(axis, coordinate, None) for axis in ("x", "y", "pan")})
        if not faults and pose == Pose():
            faults.append(Fault("", "x", MISSING, "write x, y or pan, or several of them"))
    elif deed is Deed.SNAPSHOT:
        camera = table.take("camera", _name, "")
    elif deed is Deed.LIGHTS:
        on = bool(table.take("on", boolean))
    table.finish()
    if faults:
        raise FaultsFound(faults, source)
    return Wish(deed=deed, pose=pose, camera=camera, on=on, who=who)


def _name(value: object) -> str:
    name = text(value)
    if len(name) > LONGEST_NAME or not name.isprintable():
        raise ValueError(f"write at most {LONGEST_NAME} characters, on one line")
    return name


# --- doing it --------------------------------------------------------------------------------------------


class Picture(Struct, frozen=True):
    """What a camera saw."""

    camera: str
    extension: str
    content: bytes


class Report(Struct, frozen=True):
    """What came of it."""

    sentence: str
    parts: tuple[Part, ...] = ()
    pictures: tuple[Picture, ...] = ()

    @property
    def details(self) -> dict[str, Any]:
        """Return the same as JSON, but for what is in the pictures; drivers say what they like."""
        parts = [{"name": str(part.name), "answers": bool(part.answers), "says": str(part.says)} for part in self.parts]
        pictures = [{"camera": picture.camera, "extension": picture.extension} for picture in self.pictures]
        return {"parts": parts, "pictures": pictures}


def check_offered(driver: ScannerDriver, name: str, wish: Wish) -> None:
    """Raise `NotByHand` where a driver has no such thing to offer; ``name`` is that of the configuration."""
    if wish.deed is not Deed.CHECK:
        _controls_of(driver, name)


def _controls_of(driver: ScannerDriver, name: str) -> HandControl:
    if isinstance(driver, HandControl):
        return driver
    problem = NotByHand(f"the driver {name} has no control by hand")
    problem.hint = "timelapsectl rig check says what it knows of its rig"
    raise problem


def perform(
    driver: ScannerDriver, name: str, wish: Wish, configuration: Mapping[str, Any], monitor: ScanMonitor
) -> Report:
    """Do it, and return what came of it. The thread that the driver is called on.

    Raises
    ------
    NotByHand
        The driver doesn't offer it.
    DriverError
        The rig can't do it, or ``monitor`` broke it off.

    """
    if wish.deed is Deed.CHECK:
        return _examine(driver, name)
    hands = _controls_of(driver, name)
    match wish.deed:
        case Deed.HOME:
            return Report(str(hands.home(monitor)))
        case Deed.GOTO:
            return Report(str(hands.go_to(wish.pose, monitor)))
        case Deed.LIGHTS:
            hands.light(on=wish.on)
            return Report("the light is that of a scan" if wish.on else "the plant has its own light again")
        case Deed.SNAPSHOT:
            return _snapshot(hands, wish.camera, configuration, monitor)


def _examine(driver: ScannerDriver, name: str) -> Report:
    parts = tuple(driver.examine())
    if not parts:
        raise NotByHand(f"the driver {name} can't say how its rig is")
    silent = [part.name for part in parts if not part.answers]
    if silent:
        return Report(f"no answer of {', '.join(silent)}", parts)
    return Report("everything answers", parts)


def _snapshot(hands: HandControl, name: str, configuration: Mapping[str, Any], monitor: ScanMonitor) -> Report:
    cameras = {camera.name: camera for camera in hands.cameras(configuration)}
    if name and name not in cameras:
        raise NotByHand(f"the rig has no camera {name}; it has {', '.join(cameras)}")
    chosen = [cameras[name]] if name else [*cameras.values()]
    pictures = tuple(Picture(camera.name, camera.extension, hands.snapshot(camera, monitor)) for camera in chosen)
    return Report(f"a picture of {', '.join(camera.name for camera in chosen)}", pictures=pictures)
