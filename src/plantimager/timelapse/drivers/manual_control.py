"""What a person may do with a rig between scans: ``timelapsectl rig``, as far as a driver offers it.

A driver that does inherits from `ManualControl` beside `base.ScannerDriver`. The calls come like all others: one at a
time, on the rig thread where a daemon runs, and never while a scan is being taken. Afterwards the rig is warm, as after
`base.ScannerDriver.prepare`, and stays as the person left it until the daemon needs it or calls `standby`.

Whatever takes more than a moment takes a monitor, because the person may think better of it, and the next slot of the
timelapse doesn't wait.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from plantimager.timelapse.scan.reach import find_out_of_reach
from plantimager.timelapse.support.errors import ScannerNotReady

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from plantimager.timelapse.drivers.base import ScanMonitor
    from plantimager.timelapse.scan.cameras import Camera
    from plantimager.timelapse.scan.pose import Pose


def check_reach_of(pose: Pose, reach: Mapping[str, tuple[float, float]]) -> None:
    """Raise `ScannerNotReady` where a pose lies beyond how far the arm goes (axis to lowest and highest, mm)."""
    outside = find_out_of_reach([pose], reach)
    if outside is not None:
        low, high = outside.limits
        raise ScannerNotReady(f"{outside.axis} = {outside.value:g} mm leaves the gantry's {low:g}-{high:g} mm")


class ManualControl(ABC):
    """The rig in a person's hands. Every call may raise `ScannerNotReady`; those with a monitor `ScanCancelled`."""

    @abstractmethod
    def home(self, monitor: ScanMonitor) -> str:
        """Home the arm, doubt about its position or not; say where it stands then."""

    @abstractmethod
    def go_to(self, pose: Pose, monitor: ScanMonitor) -> str:
        """Go to a pose within the limits, homing first where need be; say where the arm stands then."""

    @abstractmethod
    def cameras(self, configuration: Mapping[str, Any]) -> Sequence[Camera]:
        """Return the rig's cameras, with the settings that a scan configuration has for them. Touches nothing."""

    @abstractmethod
    def snapshot(self, camera: Camera, monitor: ScanMonitor) -> bytes:
        """Return a picture, encoded as ``camera`` says, from where the arm is and in the light there is."""

    @abstractmethod
    def light(self, *, on: bool) -> None:
        """Switch to the light of a scan, or back to the plant's own."""

    @abstractmethod
    def leave(self) -> None:
        """Let go of everything as it is, in place of `close`: arm, power and lights stay as the person put them.

        Called last, and where no daemon runs: another process goes on.
        """
