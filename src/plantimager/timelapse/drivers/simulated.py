"""The rig that needs no hardware: walks the real path and takes pictures of a plant that grows.

The default driver, for a first look, for trying a definition out, and for tests: its options make it fail, stall and
be absent.
"""

from __future__ import annotations

import threading
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from msgspec.structs import replace

from plantimager.timelapse.datasets import disk_space
from plantimager.timelapse.datasets.attempt import begin_attempt, find_finished
from plantimager.timelapse.datasets.plant_scan import PlantScan
from plantimager.timelapse.domain.durations import format_duration
from plantimager.timelapse.drivers.base import Part, ScanMonitor, ScannerDriver
from plantimager.timelapse.drivers.manual_control import ManualControl, check_reach_of
from plantimager.timelapse.drivers.simulated_options import TABLE, SimulatedOptions
from plantimager.timelapse.scan.cameras import DEFAULT_CAMERAS, read_cameras
from plantimager.timelapse.scan.paths import DEFAULT_PATH, HOME, Pose, check_reach, read_path
from plantimager.timelapse.scan.request import ScanRequest, ScanResult
from plantimager.timelapse.support.errors import FaultsFound, ScanCancelled, ScanFailed, ScannerNotReady
from plantimager.timelapse.support.keys import read_table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from plantimager.timelapse.scan.cameras import Camera
    from plantimager.timelapse.support.faults import Fault

REACH: Final = {"x": (0.0, 740.0), "y": (0.0, 740.0)}
"""What the simulated gantry reaches, mm: as much as the usual real one."""

SNAPSHOT_AGE: Final = timedelta(days=14)
"""Of the plant that a person takes a picture of: there are leaves to look at."""

PILLOW_NAMES: Final = {"jpg": "JPEG", "png": "PNG", "tif": "TIFF"}


class SimulatedDriver(ScannerDriver, ManualControl):
    """A rig that exists on paper."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        super().__init__(options)
        faults: list[Fault] = []
        self._options = read_table(SimulatedOptions, options, TABLE, faults)
        if faults:
            raise FaultsFound(faults)
        self._at = HOME
        """Where a person has sent the arm."""
        self._closed = threading.Event()
        self._present = threading.Event()
        # A timer, not a look at the clock: the wall clock may be set meanwhile.
        self._plug = threading.Timer(self._options.absent_for.total_seconds(), self._present.set)
        self._plug.daemon = True
        if self._options.absent_for:
            self._plug.start()
        else:
            self._present.set()

    def check(self, configuration: Mapping[str, Any]) -> Sequence[Fault]:
        """Return where the path leaves the simulated gantry."""
        return check_reach(configuration, REACH)

    def prepare(self) -> None:
        """Be there."""
        if not self._present.is_set():
            raise ScannerNotReady("the simulated rig is still absent, as absent_for says")

    def scan(self, request: ScanRequest, monitor: ScanMonitor) -> ScanResult:
        """Walk the path, and paint a picture for each camera at each position."""
        finished = find_finished(request)
        if finished is not None:
            return finished
        self.prepare()
        if request.index in self._options.absent:
            raise ScannerNotReady(f"the simulated rig is absent in slot {request.index}, as it was told")
        poses, cameras = _read(request.configuration)
        cameras = [self._shrunk(camera) for camera in cameras]
        disk_space.check_disk_space(
            request, disk_space.max_picture_bytes(cameras) * len(poses), self._options.keep_free
        )
        with begin_attempt(request) as attempt:
            pictures = PlantScan(attempt.directory, request)
            self._walk(request, monitor, poses, cameras, pictures)
            pictures.complete()
            return attempt.finish(ScanResult(pictures=pictures.pictures))

    def _walk(
        self,
        request: ScanRequest,
        monitor: ScanMonitor,
        poses: Sequence[Pose],
        cameras: Sequence[Camera],
        pictures: PlantScan,
    ) -> None:
        at, age, total = HOME, self._age(request), len(poses) * len(cameras)
        for shot, goal in enumerate(poses):
            if shot == len(poses) // 2:
                self._misbehave(request, monitor)
            if monitor.wait(self._options.time_per_position.total_seconds()):
                raise ScanCancelled(f"cancelled after {shot} of {len(poses)} positions")
            at = goal.after(at)
            for camera in cameras:
                pictures.add(camera, shot, at, self._picture(request, camera, at, age))
            disk_space.check(request.dataset_dir.parent, 0, self._options.keep_free)
            monitor.progress(pictures.pictures, total, f"picture {pictures.pictures} of {total}")

    def _misbehave(self, request: ScanRequest, monitor: ScanMonitor) -> None:
        """Do what the options say of this slot, half-way, so that there is something to lose."""
        if request.index in self._options.fail and request.attempt <= self._options.fail_attempts:
            raise ScanFailed(f"the simulated rig fails in slot {request.index}, as it was told")
        if request.index in self._options.stall and request.attempt <= self._options.stall_attempts:
            if self._options.deaf:
                self._closed.wait()
            while not monitor.wait(3600):
                pass
            raise ScanCancelled(f"stalled in slot {request.index}, as it was told, until cancelled")

    def _picture(self, request: ScanRequest, camera: Camera, at: Pose, age: timedelta) -> bytes:
        due = f"{request.scheduled_at:%Y-%m-%d %H:%M:%S %Z}"
        caption = f"{request.timelapse_id}   slot {request.index}   {_day(age)}   {due}"
        return self._paint(camera, at, age, caption)

    def _shrunk(self, camera: Camera) -> Camera:
        """Return a camera whose pictures are no wider than the options let them be."""
        width = min(self._options.image_width, camera.res_x) or camera.res_x
        return replace(camera, res_x=width, res_y=max(1, round(width * camera.res_y / camera.res_x)))

    def _paint(self, camera: Camera, at: Pose, age: timedelta, caption: str) -> bytes:
        # Imported here, because Pillow takes as long to load as the rest of the daemon, and a rig with another driver
        # never needs it.
        from plantimager.timelapse.drivers import painted_plant  # noqa: PLC0415 - see above

        pose = at.shifted(camera.offset)
        view = painted_plant.View(
            width=camera.res_x,
            height=camera.res_y,
            pan=at.pan or 0.0,
            elevation=min(80.0, max(0.0, 32 + (pose.z or 0.0) / 8 + (pose.tilt or 0.0))),
        )
        captions = (caption, f"{camera.name}   {pose}")
        return painted_plant.paint(view, age / timedelta(days=1), captions, PILLOW_NAMES[camera.extension])

    def _age(self, request: ScanRequest) -> timedelta:
        """Return how long the plant has grown since the timelapse began."""
        if self._options.days_per_slot is not None:
            return timedelta(days=self._options.days_per_slot * request.index)
        timelapse = request.configuration.get("timelapse")
        try:
            start = datetime.fromisoformat(timelapse["start_at"]) if isinstance(timelapse, dict) else None
            return max(request.scheduled_at - start, timedelta(0)) if start else timedelta(days=request.index)
        except (KeyError, TypeError, ValueError):  # none, or none that can be compared: naive
            return timedelta(days=request.index)

    def recover(self, request: ScanRequest) -> ScanResult | None:
        """Look for the whole dataset; nothing of a simulated rig outlives its daemon."""
        return find_finished(request)

    def standby(self) -> None:
        """Have nothing to power down."""

    # --- in a person's hands --------------------------------------------------------------------------

    def examine(self) -> Sequence[Part]:
        """Say how a rig on paper is."""
        if not self._present.is_set():
            return [Part("gantry", answers=False, says="still absent, as absent_for says")]
        cameras = (Part(f"camera {camera.name}", answers=True, says="paints") for camera in DEFAULT_CAMERAS)
        return [Part("gantry", answers=True, says=f"simulated, standing at {_place(self._at)}"), *cameras]

    def home(self, monitor: ScanMonitor) -> str:
        """Take as long as to any other point."""
        return f"homed; {self.go_to(HOME, monitor)}"

    def go_to(self, pose: Pose, monitor: ScanMonitor) -> str:
        """Take the time of a position."""
        check_reach_of(pose, REACH)
        self.prepare()
        if monitor.wait(self._options.time_per_position.total_seconds()):
            raise ScanCancelled("broken off; the arm was brought to a stand")
        self._at = pose.after(self._at)
        return f"the arm stands at {_place(self._at)}"

    def cameras(self, configuration: Mapping[str, Any]) -> Sequence[Camera]:
        """Return whichever are asked for: on paper there is any camera."""
        return read_cameras(configuration, []) or DEFAULT_CAMERAS

    def snapshot(self, camera: Camera, monitor: ScanMonitor) -> bytes:
        """Paint the plant of two weeks."""
        self.prepare()
        del monitor  # it is painted before anybody could think better of it
        return self._paint(self._shrunk(camera), self._at, SNAPSHOT_AGE, "a snapshot by hand")

    def light(self, *, on: bool) -> None:
        """Switch nothing: paper needs no light."""
        del on
        self.prepare()

    def leave(self) -> None:
        """Leave nothing behind."""
        self.close()

    def close(self) -> None:
        """Let a deaf stall go, and forget about the plug."""
        self._plug.cancel()
        self._closed.set()


def _read(configuration: Mapping[str, Any]) -> tuple[Sequence[Pose], Sequence[Camera]]:
    """Return what a configuration asks for, or the usual where it doesn't say.

    Raises
    ------
    ScanFailed
        It names a path that can't be walked.

    """
    faults: list[Fault] = []
    poses = read_path(configuration["ScanPath"], faults) if "ScanPath" in configuration else DEFAULT_PATH
    if poses is None:
        raise ScanFailed(f"the path can't be walked: {'; '.join(map(str, faults))}")
    return poses, read_cameras(configuration, faults) or DEFAULT_CAMERAS


def _place(at: Pose) -> str:
    return f"x {at.x:g} y {at.y:g} pan {at.pan:g}"


def _day(age: timedelta) -> str:
    return (
        f"{format_duration(age)} old"
        if timedelta(0) < age < timedelta(hours=1)
        else f"day {age / timedelta(days=1):.1f}"
    )
