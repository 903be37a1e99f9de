"""The driver that needs no hardware: it goes along the real path and takes pictures of a plant that grows.

The default driver, for a first look, for trying a definition out, and for tests: its options make it fail, stall and
be absent.
"""

# Annotations are evaluated here, since `SimulatedOptions` declares keys.

import threading
import time
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any, Final

from msgspec import Struct
from msgspec.structs import replace

from plantimager.timelapse.datasets import disk_space
from plantimager.timelapse.datasets.attempt import MAX_SILENCE, begin_attempt, find_finished
from plantimager.timelapse.datasets.disk_space import KEPT_BY, read_size
from plantimager.timelapse.datasets.plantdb_layout import PlantDbLayout
from plantimager.timelapse.domain.durations import format_duration, parse_duration
from plantimager.timelapse.drivers.base import Part, ScanMonitor, ScannerDriver
from plantimager.timelapse.drivers.manual_control import ManualControl, require_within_reach
from plantimager.timelapse.scan.cameras import DEFAULT_CAMERAS, FULL_SIZE, Camera, read_cameras
from plantimager.timelapse.scan.paths import path_of
from plantimager.timelapse.scan.pose import HOME, Pose
from plantimager.timelapse.scan.reach import check_reach
from plantimager.timelapse.scan.request import ScanRequest, ScanResult
from plantimager.timelapse.support.errors import FaultsFound, ScanCancelled, ScanFailed, ScannerNotReady
from plantimager.timelapse.support.faults import Fault, Table, boolean, number, whole_number
from plantimager.timelapse.support.keys import Key, read_table

TABLE: Final = "drivers.simulated"

ALL_ATTEMPTS: Final = 1_000_000
"""More attempts than a slot ever has."""

REACH: Final = {"x": (0.0, 740.0), "y": (0.0, 740.0)}
"""The reach of the simulated gantry, mm: that of the usual real one."""

SNAPSHOT_AGE: Final = timedelta(days=14)
"""Of the plant in a manual snapshot: it has some leaves."""


def _slots(value: object) -> frozenset[int]:
    if not isinstance(value, list):
        raise ValueError("write a list of slots, from 0: [2, 5]")  # noqa: TRY004 - readers raise ValueError
    return frozenset(map(whole_number(0), value))


def _days(value: object) -> float:
    days = number(value)
    if not 0 <= days <= 1000:
        raise ValueError("write days from 0 to 1000")
    return days


class SimulatedOptions(Struct, frozen=True, kw_only=True):
    """How the simulated rig scans, fails, stalls and is absent."""

    time_per_position: Annotated[timedelta, Key(parse_duration, "duration")] = timedelta(seconds=0.5)
    """How long the arm takes from one position to the next; 0 for at once."""
    image_width: Annotated[int, Key(whole_number(0, 10_000), "pixels")] = 640
    """How wide pictures are at most, 0 to 10000; 0 leaves them as wide as the camera's."""
    days_per_slot: Annotated[float | None, Key(_days, "days", "as the calendar has it")] = None
    """How many days the plant grows from slot to slot, 0 to 1000."""
    fail: Annotated[frozenset[int], Key(_slots)] = frozenset()
    """A list of slots that fail half-way."""
    stall: Annotated[frozenset[int], Key(_slots)] = frozenset()
    """A list of slots that stop half-way and report no more progress."""
    fail_attempts: Annotated[int, Key(whole_number(1), "attempts", "all of them")] = ALL_ATTEMPTS
    stall_attempts: Annotated[int, Key(whole_number(1), "attempts", "all of them")] = ALL_ATTEMPTS
    """How many of the first attempts at those slots do so, 1 or more."""
    deaf: Annotated[bool, Key(boolean)] = False
    """Whether a scan that has stopped ignores that it is cancelled."""
    absent: Annotated[frozenset[int], Key(_slots)] = frozenset()
    """A list of slots in which the rig is absent."""
    absent_for: Annotated[timedelta, Key(parse_duration, "duration")] = timedelta(0)
    """How long after the service's start the rig is absent, too."""
    keep_free: Annotated[int, Key(read_size, "size")] = KEPT_BY["simulated"]
    """With less than this free on the disk of the datasets no scan is begun."""


class SimulatedDriver(ScannerDriver, ManualControl):
    """A rig without hardware."""

    recover_silence = MAX_SILENCE

    def __init__(self, options: Mapping[str, Any]) -> None:
        super().__init__(options)
        faults: list[Fault] = []
        self._options = read_table(SimulatedOptions, Table(dict(options), TABLE, faults))
        if faults:
            raise FaultsFound(faults)
        self._arm = HOME
        """Where a person has moved the arm."""
        self._closed = threading.Event()
        self._present = threading.Event()
        # A timer and not a look at the clock: the wall clock may be set in the meantime.
        self._arrival = threading.Timer(self._options.absent_for.total_seconds(), self._present.set)
        self._arrival.daemon = True
        if self._options.absent_for:
            self._arrival.start()
        else:
            self._present.set()

    def check(self, configuration: Mapping[str, Any]) -> Sequence[Fault]:
        """Return where the path leaves the reach of the simulated gantry."""
        return check_reach(configuration, REACH)

    def estimate(self, configuration: Mapping[str, Any]) -> timedelta | None:
        """Return the time that the arm takes to all positions; painting is quick beside it."""
        poses = path_of(configuration, [])
        return None if poses is None else self._options.time_per_position * len(poses)

    def estimate_bytes(self, configuration: Mapping[str, Any]) -> int | None:
        """Return the most that the pictures take; a painted plant takes less."""
        cameras = [self._limit_width(camera) for camera in self.cameras(configuration)]
        return disk_space.max_scan_bytes(path_of(configuration, []), cameras)

    def prepare(self) -> None:
        """Do nothing, unless the rig is absent."""
        if not self._present.is_set():
            raise ScannerNotReady("the simulated rig is still absent, as absent_for says")

    def scan(self, request: ScanRequest, monitor: ScanMonitor) -> ScanResult:
        """Go along the path, and paint a picture for each camera at each pose."""
        finished = find_finished(request, lambda words: monitor.progress(0, 0, words))
        if finished is not None:
            return finished
        self.prepare()
        if request.index in self._options.absent:
            raise ScannerNotReady(f"the simulated rig is absent in slot {request.index}, as its options say")
        poses, cameras = _plan(request.configuration)
        cameras = [self._limit_width(camera) for camera in cameras]
        needed = disk_space.max_picture_bytes(cameras) * len(poses)
        disk_space.check_disk_space(request, needed, self._options.keep_free)
        total = len(poses) * len(cameras)
        with begin_attempt(request, lambda words: monitor.progress(total, total, words)) as attempt:
            layout = PlantDbLayout(attempt.directory, request)
            self._take_pictures(request, monitor, poses, cameras, layout)
            layout.complete()
            return attempt.finish(ScanResult(pictures=layout.pictures))

    def _take_pictures(
        self,
        request: ScanRequest,
        monitor: ScanMonitor,
        poses: Sequence[Pose],
        cameras: Sequence[Camera],
        layout: PlantDbLayout,
    ) -> None:
        arm, age, total = HOME, self._age(request), len(poses) * len(cameras)
        # Imported here, see `_paint`.
        from plantimager.timelapse.drivers.painted_plant import facts_of, with_exif  # noqa: PLC0415 - see above

        began, started = request.started_at or request.scheduled_at, time.perf_counter()  # the daemon has the clock
        due = f"{request.scheduled_at:%Y-%m-%d %H:%M:%S %Z}"
        caption = f"{request.timelapse_id}   slot {request.index}   {_format_age(age)}   {due}"
        for shot, pose in enumerate(poses):
            if shot == len(poses) // 2:
                self._fail_or_stall(request, monitor)
            if monitor.wait(self._options.time_per_position.total_seconds()):
                raise ScanCancelled(f"cancelled after {shot} of {len(poses)} positions")
            arm = pose.completed_from(arm)
            for camera in cameras:
                taken_at = began + timedelta(seconds=time.perf_counter() - started)
                painted, facts = self._paint(camera, arm, age, caption), facts_of(request, camera, arm, taken_at)
                layout.add(camera, shot, arm, with_exif(painted, request, camera, shot, arm, taken_at), facts)
            disk_space.require_free_space(request.dataset_dir.parent, 0, self._options.keep_free)
            monitor.progress(layout.pictures, total, f"picture {layout.pictures} of {total}")

    def _fail_or_stall(self, request: ScanRequest, monitor: ScanMonitor) -> None:
        """Fail or stall if the options say so for this slot; half-way, so that some pictures have been taken."""
        options = self._options
        if request.index in options.fail and request.attempt <= options.fail_attempts:
            raise ScanFailed(f"the simulated rig fails in slot {request.index}, as its options say")
        if request.index in options.stall and request.attempt <= options.stall_attempts:
            if options.deaf:
                self._closed.wait()
            while not monitor.wait(3600):
                pass
            raise ScanCancelled(f"stalled in slot {request.index}, as its options say, until cancelled")

    def _limit_width(self, camera: Camera) -> Camera:
        """Return a camera whose pictures are at most as wide as the option ``image_width``."""
        full_width, full_height = camera.res_x or FULL_SIZE[0], camera.res_y or FULL_SIZE[1]
        width = min(self._options.image_width, full_width) or full_width
        return replace(camera, res_x=width, res_y=max(1, round(width * full_height / full_width)))

    def _paint(self, camera: Camera, arm: Pose, age: timedelta, caption: str) -> bytes:
        # Imported here, because Pillow takes as long to load as the rest of the daemon, and a rig with another driver
        # never needs it.
        from plantimager.timelapse.drivers import painted_plant  # noqa: PLC0415 - see above

        pose = arm.shifted(camera.offset)
        view = painted_plant.View(
            width=camera.res_x or FULL_SIZE[0],
            height=camera.res_y or FULL_SIZE[1],
            pan=arm.pan or 0.0,
            elevation=min(80.0, max(0.0, 32 + (pose.z or 0.0) / 8 + (pose.tilt or 0.0))),
        )
        captions = (caption, f"{camera.name}   {pose}")
        return painted_plant.paint(view, age / timedelta(days=1), captions, camera.format.upper())

    def _age(self, request: ScanRequest) -> timedelta:
        """Return how long the plant has grown since the timelapse began."""
        if self._options.days_per_slot is not None:
            return timedelta(days=self._options.days_per_slot * request.index)
        timelapse = request.configuration.get("timelapse")
        try:
            start = datetime.fromisoformat(timelapse["start_at"]) if isinstance(timelapse, dict) else None
            return max(request.scheduled_at - start, timedelta(0)) if start else timedelta(days=request.index)
        except (KeyError, TypeError, ValueError):  # there is none, or it is naive and can't be compared
            return timedelta(days=request.index)

    def recover(self, request: ScanRequest) -> ScanResult | None:
        """Look for the whole dataset; nothing of a simulated rig outlives its daemon."""
        return find_finished(request)

    def standby(self) -> None:
        """Do nothing: there is no power to switch off."""

    # --- manual control -------------------------------------------------------------------------------

    def examine(self) -> Sequence[Part]:
        """Return the state of the gantry and the usual cameras."""
        if not self._present.is_set():
            return [Part("gantry", answers=False, says="still absent, as absent_for says")]
        cameras = (Part(f"camera {camera.name}", answers=True, says="paints") for camera in DEFAULT_CAMERAS)
        return [Part("gantry", answers=True, says=f"simulated, standing at {_format_pose(self._arm)}"), *cameras]

    def home(self, monitor: ScanMonitor) -> str:
        """Take as long as to any other pose."""
        return f"homed; {self.go_to(HOME, monitor)}"

    def go_to(self, pose: Pose, monitor: ScanMonitor) -> str:
        """Take the time of one position."""
        require_within_reach(pose, REACH)
        self.prepare()
        if monitor.wait(self._options.time_per_position.total_seconds()):
            raise ScanCancelled("broken off; the arm was brought to a stand")
        self._arm = pose.completed_from(self._arm)
        return f"the arm stands at {_format_pose(self._arm)}"

    def cameras(self, configuration: Mapping[str, Any]) -> Sequence[Camera]:
        """Return the cameras of the configuration: a simulated rig has any camera."""
        return read_cameras(configuration, []) or DEFAULT_CAMERAS

    def snapshot(self, camera: Camera, monitor: ScanMonitor) -> bytes:
        """Paint the plant at an age of two weeks; too quick to be cancelled."""
        del monitor
        self.prepare()
        return self._paint(self._limit_width(camera), self._arm, SNAPSHOT_AGE, "a snapshot by hand")

    def light(self, *, on: bool) -> None:
        """Do nothing: painting needs no light."""
        del on
        self.prepare()

    def leave(self) -> None:
        """Do as `close`."""
        self.close()

    def close(self) -> None:
        """End a stall that can't be cancelled, and the timer."""
        self._arrival.cancel()
        self._closed.set()


def _plan(configuration: Mapping[str, Any]) -> tuple[Sequence[Pose], Sequence[Camera]]:
    """Return the poses and cameras of a configuration, or the usual ones where it has none.

    Raises
    ------
    ScanFailed
        No path can be made of its table.
    """
    faults: list[Fault] = []
    poses = path_of(configuration, faults)
    if poses is None:
        raise ScanFailed(f"the path can't be walked: {'; '.join(map(str, faults))}")
    return poses, read_cameras(configuration, faults) or DEFAULT_CAMERAS


def _format_pose(pose: Pose) -> str:
    return f"x {pose.x:g} y {pose.y:g} pan {pose.pan:g}"


def _format_age(age: timedelta) -> str:
    return (
        f"{format_duration(age)} old"
        if timedelta(0) < age < timedelta(hours=1)
        else f"day {age / timedelta(days=1):.1f}"
    )
