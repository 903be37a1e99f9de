"""A driver as another distribution has it: a rig that draws a picture for each pose of the path."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from PIL import Image

from plantimager.timelapse.datasets import disk_space
from plantimager.timelapse.datasets.attempt import begin_attempt, find_finished
from plantimager.timelapse.datasets.plantdb_layout import PlantDbLayout
from plantimager.timelapse.drivers.base import ScannerDriver
from plantimager.timelapse.scan.cameras import Camera
from plantimager.timelapse.scan.paths import path_of
from plantimager.timelapse.scan.pose import HOME
from plantimager.timelapse.scan.request import ScanRequest, ScanResult
from plantimager.timelapse.support.errors import FaultsFound, ScanCancelled, ScanFailed, ScannerNotReady
from plantimager.timelapse.support.faults import Fault, Table, one_of, whole_number

if TYPE_CHECKING:
    from collections.abc import Mapping

    from plantimager.timelapse.drivers.base import ScanMonitor

CAMERA = Camera(name="paper", res_x=4, res_y=3, encoding="png")


class PaperDriver(ScannerDriver):
    """The rig; the option ``behave`` has it fail in the ways that the contract tests."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        super().__init__(options)
        faults: list[Fault] = []
        table = Table(dict(options), "drivers.paper", faults)
        self._behave = table.read("behave", one_of("well", "fail", "absent", "hang"), "well")
        self._keep_free = table.read("keep_free_mb", whole_number(0), 0) * disk_space.MEGABYTE
        table.finish()
        if faults:
            raise FaultsFound(faults)

    def prepare(self) -> None:
        """Be ready, unless the rig is absent."""
        if self._behave == "absent":
            raise ScannerNotReady("the paper has not been delivered yet")

    def scan(self, request: ScanRequest, monitor: ScanMonitor) -> ScanResult:
        """Draw a picture for each pose."""
        finished = find_finished(request)
        if finished is not None:
            return finished
        self.prepare()
        poses = path_of(request.configuration, [])
        if poses is None:
            raise ScanFailed("there is no such path")
        disk_space.check_disk_space(request, disk_space.max_picture_bytes([CAMERA]) * len(poses), self._keep_free)
        with begin_attempt(request) as attempt:
            layout, arm = PlantDbLayout(attempt.directory, request), HOME
            for shot, pose in enumerate(poses):
                if monitor.cancelled or (shot and self._behave == "hang" and monitor.wait(3600)):
                    raise ScanCancelled(f"cancelled after {shot} pictures")
                if shot and self._behave == "fail":
                    raise ScanFailed("the pencil broke")
                arm = pose.completed_from(arm)
                layout.add(CAMERA, shot, arm, _drawing())
                monitor.progress(layout.pictures, len(poses), f"picture {layout.pictures} of {len(poses)}")
            layout.complete()
            return attempt.finish(ScanResult(pictures=layout.pictures))

    def recover(self, request: ScanRequest) -> ScanResult | None:
        """Return the result of an attempt that finished."""
        return find_finished(request)

    def standby(self) -> None:
        """Do nothing: paper needs no power."""


def _drawing() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (CAMERA.res_x, CAMERA.res_y), "green").save(file, "PNG")
    return file.getvalue()
