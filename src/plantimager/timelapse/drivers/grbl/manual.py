"""Manual control of a rig: what a person may do with it between scans."""

from __future__ import annotations

import contextlib
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from plantimager.timelapse.drivers.base import Part
from plantimager.timelapse.drivers.gantry.gantry_faults import Stopped
from plantimager.timelapse.drivers.gantry.motion import format_position
from plantimager.timelapse.drivers.gantry.move import wait_without_stop
from plantimager.timelapse.drivers.grbl.hardware import RIG_FAULTS
from plantimager.timelapse.drivers.grbl.tries import Tries
from plantimager.timelapse.drivers.manual_control import ManualControl, require_within_reach
from plantimager.timelapse.scan.cameras import Camera, read_cameras
from plantimager.timelapse.scan.lights import Role
from plantimager.timelapse.support.errors import ScanCancelled, ScannerNotReady

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from plantimager.timelapse.drivers.base import ScanMonitor
    from plantimager.timelapse.drivers.cameras.base import CameraPicture
    from plantimager.timelapse.drivers.grbl.hardware import GrblRig
    from plantimager.timelapse.scan.pose import Pose

LIGHTS: Final = frozenset({Role.GROWTH_LIGHT, Role.SCAN_LIGHT})
"""Switches that stay as they are while a person moves the arm: a process before this one may have set them."""


class ManualRigControl(ManualControl):
    """The calls of `ManualControl`, on the rig of the driver that inherits them."""

    _rig: GrblRig

    def home(self, monitor: ScanMonitor) -> str:
        """Home, and return where the arm stands then."""
        with _errors_for_a_person():
            self._rig.power_up(monitor.wait, but=LIGHTS)
            return f"homed; the arm stands at {format_position(self._rig.arm.home(monitor.wait))}"

    def go_to(self, pose: Pose, monitor: ScanMonitor) -> str:
        """Go to a pose within the limits, after homing where necessary; return where the arm stands then."""
        arm = self._rig.arm
        require_within_reach(pose, self._rig.options.arm.limits.reach)
        with _errors_for_a_person():
            self._rig.power_up(monitor.wait, but=LIGHTS)
            arm.make_ready(monitor.wait)
            return f"the arm stands at {format_position(arm.go(arm.goal_of(pose), monitor.wait))}"

    def cameras(self, configuration: Mapping[str, Any]) -> Sequence[Camera]:
        """Return the cameras of the options."""
        configured = {camera.name: camera for camera in read_cameras(configuration, [])}
        return [configured.get(name, Camera(name=name)) for name in self._rig.cameras]

    def snapshot(self, camera: Camera, monitor: ScanMonitor) -> bytes:
        """Return a picture from where the arm is and in the present light; the position may be unknown."""
        if camera.name not in self._rig.cameras:
            raise ScannerNotReady(f"the rig has no camera {camera.name}; it has {', '.join(self._rig.cameras)}")
        with _errors_for_a_person():
            return _take(self._rig, camera, monitor).content

    def try_part(self, part: Part, configuration: Mapping[str, Any], monitor: ScanMonitor) -> Part:
        """Take a picture with a camera, which has to be as the definition asks for it."""
        for camera in self.cameras(configuration):
            if part.name == f"camera {camera.name}":
                return _ask(part.name, partial(_try_camera, self._rig, camera, monitor))
        return part

    def light(self, *, on: bool) -> None:
        """Switch the scan light on and the growth light off; or the other way round."""
        with _errors_for_a_person():
            self._rig.set_scan_light(on=on)

    def leave(self) -> None:
        """Close everything without standby. A GPIO line may fall back when it is closed, see `switches`."""
        self._rig.release()


@contextlib.contextmanager
def _errors_for_a_person() -> Iterator[None]:
    """Raise the errors of `ManualControl` for those of the rig."""
    try:
        yield
    except Stopped:
        raise ScanCancelled("broken off; the arm was brought to a stand") from None
    except RIG_FAULTS as fault:
        raise ScannerNotReady(str(fault)) from fault


def examine(rig: GrblRig) -> Sequence[Part]:
    """Return the state of switches, board and cameras; for that the rig is powered up, and the growth light released.

    Homes nothing; a position that is known stays known.
    """
    parts = [_ask("switches", partial(_examine_switches, rig))] if rig.options.switches else []
    parts.append(_ask("gantry", rig.arm.examine))
    return [*parts, *(_ask(f"camera {name}", partial(_examine_camera, rig, name)) for name in rig.cameras)]


def _ask(part: str, ask: Callable[[], str]) -> Part:
    try:
        return Part(part, answers=True, says=ask())
    except RIG_FAULTS as fault:
        return Part(part, answers=False, says=str(fault))


def _examine_switches(rig: GrblRig) -> str:
    rig.power_up(wait_without_stop)
    return f"switched: {', '.join(f'{switch.name} ({switch.role})' for switch in rig.options.switches)}"


def _examine_camera(rig: GrblRig, name: str) -> str:
    rig.open_camera(name)
    return f"{rig.options.cameras[name].kind}, open"


def _try_camera(rig: GrblRig, camera: Camera, monitor: ScanMonitor) -> str:
    width, height = _take(rig, camera, monitor).facts["size"]
    return f"{rig.options.cameras[camera.name].kind}, took a picture of {width} × {height}"


def _take(rig: GrblRig, camera: Camera, monitor: ScanMonitor) -> CameraPicture:
    """Return a picture, which stays on the camera too: nobody knows yet whether it reaches a disk."""
    tries = Tries(camera, rig.options.exposure_retries)
    picture = rig.take(tries, monitor, lambda words: monitor.progress(0, 1, words))
    assert picture is not None  # noqa: S101 - it isn't left in its check; this informs mypy
    return picture
