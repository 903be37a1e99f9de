"""One scan of a rig: along the path, with all cameras exposing at the same time at each pose."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from plantimager.timelapse.drivers.cameras.base import CameraFault
from plantimager.timelapse.drivers.gantry.motion import normalized_angle
from plantimager.timelapse.drivers.gantry.port import GantryFault
from plantimager.timelapse.drivers.gantry.protocol import Stopped
from plantimager.timelapse.scan.pose import HOME, Pose
from plantimager.timelapse.support.errors import ScanCancelled, ScanFailed

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from plantimager.timelapse.datasets.plantdb_layout import PlantDbLayout
    from plantimager.timelapse.drivers.base import ScanMonitor
    from plantimager.timelapse.drivers.grbl.hardware import GrblRig
    from plantimager.timelapse.scan.cameras import Camera


class PathScan:
    """The scan of a path with some cameras of a rig. Its calls raise `ScanCancelled` and `ScanFailed`."""

    def __init__(self, rig: GrblRig, monitor: ScanMonitor, poses: Sequence[Pose], cameras: Sequence[Camera]) -> None:
        self._rig, self._monitor = rig, monitor
        self._poses, self._cameras = poses, cameras

    def run(self, layout: PlantDbLayout, datasets: Path) -> None:
        """Add all pictures to ``layout``, as long as the disk of ``datasets`` has enough left."""
        asked, total = HOME, len(self._poses) * len(self._cameras)
        with ThreadPoolExecutor(max_workers=len(self._cameras), thread_name_prefix="exposure") as pool:
            for shot, pose in enumerate(self._poses):
                asked = pose.completed_from(asked)
                reached = self._go(asked, pose)
                if self._monitor.wait(self._rig.options.settle.total_seconds()):
                    raise ScanCancelled(f"cancelled after {shot} of {len(self._poses)} positions")
                pictures = self._expose(pool)
                self._rig.require_free_space(datasets)
                for camera, picture in zip(self._cameras, pictures, strict=True):
                    layout.add(camera, shot, reached, picture)
                self._monitor.progress(layout.pictures, total, f"picture {layout.pictures} of {total}")

    def _go(self, asked: Pose, pose: Pose) -> Pose:
        """Go to a pose; return the pose that was reached, with z and tilt as ``asked``: the arm has no such axes."""
        arm = self._rig.arm
        try:
            x, y, pan = arm.go(arm.goal_of(pose), self._monitor.wait)
        except Stopped:
            raise ScanCancelled("cancelled on the way; the arm was brought to a stand") from None
        except GantryFault as fault:
            raise ScanFailed(str(fault)) from fault
        return Pose(round(x, 3), round(y, 3), asked.z, normalized_angle(pan), asked.tilt)

    def _expose(self, pool: ThreadPoolExecutor) -> Sequence[bytes]:
        """Return a picture of each camera, all taken at the same time; one that fails fails the attempt."""
        futures = [pool.submit(self._rig.expose, camera, lambda: self._monitor.cancelled) for camera in self._cameras]
        pictures, problems = [], []
        for future in futures:
            try:
                pictures.append(future.result())
            except CameraFault as fault:
                problems.append(str(fault))
        if problems and self._monitor.cancelled:
            raise ScanCancelled(f"cancelled in an exposure ({'; '.join(problems)})")
        if problems:
            raise ScanFailed("; ".join(problems))
        return pictures
