"""The parts of a rig together: power and lights, the arm, the cameras."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from plantimager.timelapse.drivers.cameras.base import CameraFault, Exposure
from plantimager.timelapse.drivers.cameras.process import CameraProcess
from plantimager.timelapse.drivers.gantry.arm import Arm
from plantimager.timelapse.drivers.gantry.gantry_faults import GantryFault, Stopped
from plantimager.timelapse.drivers.gantry.move import wait_without_stop
from plantimager.timelapse.drivers.switches import Switchboard, SwitchFault
from plantimager.timelapse.scan.lights import RigPhase, Role
from plantimager.timelapse.support import json_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from plantimager.timelapse.drivers.base import ScanMonitor
    from plantimager.timelapse.drivers.cameras.base import CameraPicture
    from plantimager.timelapse.drivers.gantry.move import Wait
    from plantimager.timelapse.drivers.grbl.rig_options import RigOptions
    from plantimager.timelapse.drivers.grbl.tries import Tries

RIG_FAULTS: Final = (GantryFault, CameraFault, SwitchFault)
"""Errors of the parts, each worded for the person at the rig."""

REOPEN_PAUSE: Final = 2.0
"""Seconds before a camera is opened again, which may have left USB for a moment."""


@dataclass(frozen=True, slots=True)
class Overlap:
    """What goes on beside the taking of a picture; by default nothing does."""

    close_shutter: Callable[[], bool] = lambda: False
    """Called when the shutter is closed; returns whether the arm moves on."""
    finish_earlier: Callable[[], None] = lambda: None
    """Finishes the picture before it, whose check has gone on behind this one's exposure and transfer."""
    is_left: Callable[[], bool] = lambda: False
    """Whether the camera's next exposure is due, for which this picture is left in its check."""


ALONE: Final = Overlap()


class GrblRig:
    """A rig. Calls raise the `RIG_FAULTS` of the parts that they use, and `Stopped` where a ``wait`` returned True."""

    def __init__(self, options: RigOptions) -> None:
        self.options = options
        self.arm = Arm(options.arm)
        self.cameras = {name: CameraProcess(camera) for name, camera in options.cameras.items()}
        self.switchboard = Switchboard(options.switches)
        self.last_pictures: dict[str, CameraPicture] = {}
        """The digest of each camera's last picture in a scan, for the next scan: one position may be all it has."""
        self._in_use = False
        """Whether this object has moved, lit or powered anything since it was made, put into standby or released. One
        that has not must not switch off in `close` what another process uses."""

    # --- getting ready --------------------------------------------------------------------------------

    def make_ready(self, wait: Wait, cameras: Iterable[str], report: Callable[[str], None] = lambda _: None) -> None:
        """Power up, home where the position is unknown, and open cameras; ``report`` is called with each one's name."""
        self.power_up(wait)
        self.arm.make_ready(wait)
        for name in cameras:
            report(f"camera {name}")
            with naming_camera(name):
                self.open_camera(name)

    def power_up(self, wait: Wait, *, but: frozenset[Role] = frozenset()) -> None:
        """Set the switches for a rig at work, ``but`` for some roles, and wait until the board has started."""
        self._in_use = True
        powers_up = self.switchboard.has_to_power()
        self.switchboard.enter(RigPhase.WARM, but=but)
        if powers_up and wait(self.options.power_up.total_seconds()):
            raise Stopped

    def open_camera(self, name: str) -> None:
        """Open a camera, or ask an open one whether it answers."""
        self._in_use = True
        self.cameras[name].make_ready()

    def set_scan_light(self, *, on: bool) -> None:
        """Interrupt the growth light and switch the scan light on, or release the one and switch the other off."""
        self._in_use = True
        self.switchboard.enter(RigPhase.SCANNING if on else RigPhase.WARM)

    def release_growth_light(self) -> None:
        """Let the plant's timer decide again, after a crash too; power stays as it is."""
        self._in_use = True
        self.switchboard.release_growth_light()

    # --- at work --------------------------------------------------------------------------------------

    def take(
        self,
        tries: Tries,
        monitor: ScanMonitor,
        report: Callable[[str], None],
        overlap: Overlap = ALONE,
    ) -> CameraPicture | None:
        """Return a picture. Several cameras may take theirs at the same time, on threads.

        Where ``overlap`` lets the arm move on, a transfer or a check that fails is not followed by another try; else
        the exposure is repeated as often as ``tries`` allows, and ``report`` is called with a sentence each time. It is
        called after an opening, too. Where ``overlap`` leaves the picture in its check the result is None, and `finish`
        returns the picture.

        Raises `CameraFault` where it failed; `Tries.are_over` says whether for good.
        """
        self._in_use = True
        camera = self.cameras[tries.camera.name]
        exposure = Exposure(
            width=tries.camera.res_x,
            height=tries.camera.res_y,
            encoding=tries.camera.format,
            config=json_text.jsonable(dict(tries.camera.config)),
            seconds=self.options.exposure_timeout.total_seconds(),
            description=tries.description,
        )
        checking = f"camera {tries.camera.name}: checking its picture"
        while True:
            moves_on = False
            try:
                with naming_camera(tries.camera.name):
                    if not camera.is_open:
                        camera.open()
                        report(f"camera {tries.camera.name}: opened again")
                    camera.trigger(exposure, lambda: monitor.cancelled)
                    moves_on = overlap.close_shutter()
                    tries.note_transfer(camera.fetch(exposure, lambda: monitor.cancelled))
                overlap.finish_earlier()
                report(checking)
                return self._checked(tries, monitor, overlap.is_left)
            except CameraFault as fault:
                overlap.finish_earlier()  # before the camera is closed, which may have it still
                tries.note(fault, is_open=camera.is_open)
                if tries.reopens:
                    camera.close()
                if tries.are_over or moves_on or monitor.cancelled:
                    raise
                report(f"{fault}; the exposure is repeated")
                if not camera.is_open:
                    monitor.wait(REOPEN_PAUSE)

    def finish(self, tries: Tries, monitor: ScanMonitor) -> CameraPicture:
        """Return a picture that `take` has left in its check.

        Raises `CameraFault` where it failed. The camera is not closed, even where it has to be opened again: it may
        have another picture.
        """
        try:
            picture = self._checked(tries, monitor)
        except CameraFault as fault:
            tries.note(fault, is_open=self.cameras[tries.camera.name].is_open)
            raise
        assert picture is not None  # noqa: S101 - it isn't left again; this informs mypy
        return picture

    def is_refused(self, tries: Tries, monitor: ScanMonitor) -> bool:
        """Whether a picture that `take` has left in its check is known to have failed; `finish` raises its fault."""
        try:
            picture = self.cameras[tries.camera.name].describe(tries.number, lambda: monitor.cancelled)
            if picture is not None:
                tries.compare_with_earlier(picture)
        except CameraFault:
            return True
        return False

    def _checked(
        self, tries: Tries, monitor: ScanMonitor, is_left: Callable[[], bool] = lambda: False
    ) -> CameraPicture | None:
        with naming_camera(tries.camera.name):
            picture = self.cameras[tries.camera.name].picture(tries.number, lambda: monitor.cancelled, is_left)
            if picture is not None:
                tries.compare_with_earlier(picture)
        return picture

    def return_to_zero(self) -> None:
        """Bring an arm that can't home back to its zero: after a power cut elsewhere its position would be lost."""
        if self.arm.can_return:
            if self.switchboard.has_to_power():
                self.power_up(wait_without_stop)
            self.arm.go_to_zero(wait_without_stop)

    # --- standby and close ----------------------------------------------------------------------------

    def enter_standby(self) -> list[str]:
        """Release the growth light, park, close cameras and line, power down; return what went wrong on the way."""
        self._in_use = True
        problems: list[str] = []
        with collecting(problems):
            self.switchboard.release_growth_light()
        with collecting(problems):
            self._park()
        for camera in self.cameras.values():
            camera.close()
        self.arm.close()
        with collecting(problems):
            self.switchboard.enter(RigPhase.STANDBY)
        return problems

    def _park(self) -> None:
        """Go where the arm waits in standby; an arm whose position is unknown stays where it is."""
        self.return_to_zero()
        if self.options.park is not None and self.arm.position is not None:
            self.arm.go(self.arm.goal_of(self.options.park), wait_without_stop)

    def close(self) -> list[str]:
        """Enter standby if the rig is in use, and close everything; return what went wrong on the way."""
        try:
            return self.enter_standby() if self._in_use else []
        finally:
            self.release()

    def release(self) -> None:
        """Close everything and leave arm, power and lights as they are."""
        self._in_use = False
        for camera in self.cameras.values():
            camera.close()
        self.arm.close()
        self.switchboard.close()


@contextlib.contextmanager
def naming_camera(name: str) -> Iterator[None]:
    """Begin the message of a camera's fault with its name."""
    try:
        yield
    except CameraFault as fault:
        raise CameraFault(
            f"camera {name}: {fault}", is_lasting=fault.is_lasting, is_of_another=fault.is_of_another, raws=fault.raws
        ) from fault


@contextlib.contextmanager
def collecting(problems: list[str]) -> Iterator[None]:
    """Append the fault of a part to ``problems``, and go on."""
    try:
        yield
    except RIG_FAULTS as fault:
        problems.append(str(fault))
