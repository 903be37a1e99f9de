"""The interface of a driver for manual control: what a person does with a rig between scans, by ``timelapsectl rig``.

A driver that offers it inherits from `ManualControl` beside `base.ScannerDriver`. The calls come as all others do: one
at a time, on the rig thread where a daemon runs, and never during a scan. Afterwards the rig is warm, as after
`base.ScannerDriver.prepare`, and stays as the person left it until the daemon needs it or calls `standby`.

Calls that take time have a monitor, because the person may cancel them, and the next slot doesn't wait.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from plantimager.timelapse.scan.reach import find_out_of_reach
from plantimager.timelapse.support.errors import ScannerNotReady

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from plantimager.timelapse.drivers.base import Part, ScanMonitor
    from plantimager.timelapse.scan.cameras import Camera
    from plantimager.timelapse.scan.pose import Pose


def require_within_reach(pose: Pose, reach: Mapping[str, tuple[float, float]]) -> None:
    """Check that the arm reaches a pose; ``reach`` is axis to lowest and highest, mm.

    Raises `ScannerNotReady` where it doesn't.
    """
    outside = find_out_of_reach([pose], reach)
    if outside is not None:
        low, high = outside.limits
        raise ScannerNotReady(f"{outside.axis} = {outside.value:g} mm leaves the gantry's {low:g}-{high:g} mm")


class ManualControl(ABC):
    """Manual control of a rig. Every call may raise `ScannerNotReady`; those with a monitor also `ScanCancelled`."""

    @abstractmethod
    def home(self, monitor: ScanMonitor) -> str:
        """Home the arm, whether or not its position is known; return a sentence: where it stands then."""

    @abstractmethod
    def go_to(self, pose: Pose, monitor: ScanMonitor) -> str:
        """Go to a pose within the limits, after homing where necessary; return a sentence: where it stands then."""

    @abstractmethod
    def cameras(self, configuration: Mapping[str, Any]) -> Sequence[Camera]:
        """Return the rig's cameras, with the settings of a scan configuration. Uses no hardware."""

    @abstractmethod
    def snapshot(self, camera: Camera, monitor: ScanMonitor) -> bytes:
        """Return a picture, encoded as ``camera`` says, from where the arm is and in the present light."""

    def try_part(self, part: Part, configuration: Mapping[str, Any], monitor: ScanMonitor) -> Part:
        """Return the state of a part that answers, after trying it: a camera with an exposure as a scan asks for it.

        Called by ``timelapsectl rig check`` for every part of `ScannerDriver.examine` that answers. Raises nothing.
        """
        del configuration, monitor
        return part

    @abstractmethod
    def light(self, *, on: bool) -> None:
        """Switch to the light of a scan, or back to the plant's own."""

    @abstractmethod
    def leave(self) -> None:
        """Close everything as it is, in place of `ScannerDriver.close`: arm, power and lights stay as they are.

        The last call where no daemon runs. Another process may use the rig afterwards.
        """
