"""The driver for the Plant Imager: an arm behind a GRBL board, cameras on it, lights and power around it.

`rig_options` and `gantry.arm_options` declare the keys of its table ``[drivers.grbl]``.

The deadline of a move follows from its length and from the speeds and accelerations of the board, so that no option
can contradict the board.

A gantry without limit switches (``homing = false``) has to stand at its zero when it is switched on, see
`gantry.position`. So the driver brings the arm back to its zero after every scan that isn't cancelled, and in `prepare`
and `standby`. Where the board was switched off or restarted while the arm was elsewhere, the rig isn't ready until a
person has moved the arm to its zero by hand, switched the gantry off and on, and then restarted the service.

The growth light is released after the last exposure of every scan, however it ends; in `standby` and `close`, which is
at every regular exit; in `recover`, which the daemon calls after a crash for a scan that was interrupted; and in every
`prepare`. From the kill of a daemon until systemd has started it again (seconds) only the ExecStopPost of a unit can
release it: see `switches`.
"""

from __future__ import annotations

import contextlib
import math
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from msgspec.structs import replace

from plantimager.timelapse.datasets import disk_space
from plantimager.timelapse.datasets.attempt import MAX_SILENCE, begin_attempt, find_finished
from plantimager.timelapse.datasets.plantdb_layout import PlantDbLayout
from plantimager.timelapse.drivers.base import Part, ScanMonitor, ScannerDriver
from plantimager.timelapse.drivers.gantry.board_settings import MAX_HOMING_TIME, BoardSettings
from plantimager.timelapse.drivers.gantry.gantry_faults import Alarm, Stopped
from plantimager.timelapse.drivers.gantry.motion import ZERO, position_of
from plantimager.timelapse.drivers.gantry.move import wait_without_stop
from plantimager.timelapse.drivers.grbl.hardware import RIG_FAULTS, GrblRig, collecting
from plantimager.timelapse.drivers.grbl.manual import ManualRigControl, examine
from plantimager.timelapse.drivers.grbl.path_scan import PathScan
from plantimager.timelapse.drivers.grbl.rig_options import TABLE, read_rig_options
from plantimager.timelapse.drivers.programs.processes import DESCENDANTS
from plantimager.timelapse.drivers.programs.unmet import find_unmet
from plantimager.timelapse.drivers.switches import PROGRAM_TIMEOUT, SwitchFault
from plantimager.timelapse.scan.cameras import Camera, read_cameras
from plantimager.timelapse.scan.paths import path_of
from plantimager.timelapse.scan.reach import check_reach, find_out_of_reach
from plantimager.timelapse.scan.request import ScanRequest, ScanResult
from plantimager.timelapse.support.errors import DriverError, FaultsFound, ScanCancelled, ScanFailed, ScannerNotReady
from plantimager.timelapse.support.faults import MISSING, Fault
from plantimager.timelapse.support.needs import Need, needs_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from plantimager.timelapse.drivers.gantry.arm_options import ArmOptions
    from plantimager.timelapse.drivers.grbl.rig_options import RigOptions
    from plantimager.timelapse.scan.pose import Pose

EXPOSURE: Final = timedelta(seconds=2)
"""What a camera takes for an exposure and its transfer, roughly; all cameras expose at the same time."""


class GrblDriver(ScannerDriver, ManualRigControl):
    """A real rig."""

    call_timeout = timedelta(seconds=MAX_HOMING_TIME) + timedelta(minutes=1)
    """Homing, and all that is opened before it."""
    recover_silence = MAX_SILENCE + PROGRAM_TIMEOUT
    """A program may release the growth light."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        super().__init__(options)
        faults: list[Fault] = []
        rig = read_rig_options(options, faults)
        if faults:
            raise FaultsFound(faults)
        self._rig = GrblRig(rig)

    def needs(self) -> Iterator[Need]:
        """Return the libraries and programs of cameras and switches."""
        return needs_of(self._rig.options, TABLE)

    def check(self, configuration: Mapping[str, Any]) -> Sequence[Fault]:
        """Return the faults of a configuration for this rig: reach, unknown cameras; and what it `needs` and lacks."""
        faults = check_reach(configuration, self._rig.options.arm.limits.reach)
        known = ", ".join(self._rig.cameras)
        faults.extend(
            Fault("", camera.name, MISSING, f"the rig has no such camera; [{TABLE}.cameras] has {known}")
            for camera in read_cameras(configuration, [])
            if camera.name not in self._rig.cameras
        )
        return [*faults, *find_unmet(self.needs())]

    def estimate(self, configuration: Mapping[str, Any]) -> timedelta | None:
        """Return the time of all moves, rests and exposures, where the options say how fast the board moves."""
        poses = path_of(configuration, [])
        return None if poses is None else _estimate_scan(self._rig.options, poses)

    def estimate_bytes(self, configuration: Mapping[str, Any]) -> int | None:
        """Return the most that the pictures take, where the definition gives the size of all."""
        return disk_space.max_scan_bytes(path_of(configuration, []), read_cameras(configuration, []))

    def examine(self) -> Sequence[Part]:
        """Return the state of switches, board and cameras; for that the rig is powered up. Nothing moves."""
        return examine(self._rig)

    def prepare(self) -> None:
        """Power up, connect, home where the position is unknown, open the cameras."""
        try:
            self._rig.make_ready(wait_without_stop, self._rig.cameras)
            self._rig.return_to_zero()
        except RIG_FAULTS as fault:
            raise ScannerNotReady(str(fault)) from fault

    def scan(self, request: ScanRequest, monitor: ScanMonitor) -> ScanResult:
        """Move along the path, with all cameras exposing at once at each pose."""
        finished = find_finished(request, lambda words: monitor.progress(0, 0, words))
        if finished is not None:
            return finished
        poses, cameras = self._plan(request.configuration)
        needed = disk_space.max_picture_bytes(cameras) * len(poses)
        disk_space.check_disk_space(request, needed, self._rig.options.keep_free)
        if monitor.cancelled:
            raise ScanCancelled("cancelled before it began")
        total = len(poses) * len(cameras)
        self._rig.arm.take_notes()  # those of other calls are not this scan's
        self._make_ready(monitor, cameras, total)
        notes: list[str] = []
        with (
            self._returning_to_zero(notes),
            begin_attempt(request, lambda words: monitor.progress(total, total, words)) as attempt,
        ):
            layout = PlantDbLayout(attempt.directory, request)
            with self._scan_light(notes):
                scan = PathScan(self._rig, monitor, layout, attempt)
                scan.run(poses, cameras)
            notes += scan.notes
            layout.complete()
            notes += self._rig.arm.take_notes()
            notes += filter(None, [DESCENDANTS.describe_remaining()])
            before = "; ".join(notes)
            result = attempt.finish(ScanResult(pictures=layout.pictures, note=before))
        moved = result.note.removeprefix(before).removeprefix("; ")
        return replace(result, note="; ".join(filter(None, (*notes, moved))))

    def recover(self, request: ScanRequest) -> ScanResult | None:
        """Release the growth light, and look for the whole dataset; the board ends a move that was begun."""
        self._rig.arm.note_interruption()
        with contextlib.suppress(SwitchFault):  # the next call of the driver tries again, and reports it
            self._rig.release_growth_light()
        return find_finished(request)

    def standby(self) -> None:
        """Release the growth light, park, close cameras and line, and power down.

        Raises `DriverError` with everything that went wrong; the rest was done.
        """
        _raise_if_any(self._rig.enter_standby())

    def close(self) -> None:
        """Leave the rig in standby, if it is in use, and close everything. Raises as `standby`."""
        _raise_if_any(self._rig.close())

    # --- a scan, step by step -------------------------------------------------------------------------

    def _plan(self, configuration: Mapping[str, Any]) -> tuple[Sequence[Pose], Sequence[Camera]]:
        """Return the poses and cameras of a scan, before anything moves.

        Raises `ScanFailed` where the rig can't take it.
        """
        faults: list[Fault] = []
        poses = path_of(configuration, faults)
        if poses is None:
            raise ScanFailed(f"the path can't be walked: {'; '.join(map(str, faults))}")
        outside = find_out_of_reach(poses, self._rig.options.arm.limits.reach)
        if outside is not None:
            raise ScanFailed(f"the path can't be walked: {outside}")
        cameras = read_cameras(configuration, faults) or tuple(Camera(name=name) for name in self._rig.cameras)
        unknown = [camera.name for camera in cameras if camera.name not in self._rig.cameras]
        if unknown:
            raise ScanFailed(f"the rig has no camera {', '.join(unknown)}; it has {', '.join(self._rig.cameras)}")
        return poses, cameras

    def _make_ready(self, monitor: ScanMonitor, cameras: Sequence[Camera], total: int) -> None:
        monitor.progress(0, total, "getting ready")
        try:
            self._rig.make_ready(
                monitor.wait,
                [camera.name for camera in cameras],
                lambda part: monitor.progress(0, total, f"getting {part} ready"),
            )
        except Stopped:
            raise ScanCancelled("cancelled while the rig got ready") from None
        except Alarm as alarm:  # the board answers, but it can't do its work
            raise ScanFailed(str(alarm)) from alarm
        except RIG_FAULTS as fault:
            raise ScannerNotReady(str(fault)) from fault

    @contextlib.contextmanager
    def _returning_to_zero(self, notes: list[str]) -> Iterator[None]:
        """Bring an arm that can't home back to its zero after a scan, which counts even where that fails.

        What failed or was repeated is added to ``notes``.
        Not after a cancellation, which has to end soon: `standby` and `prepare` do it then.
        """
        cancelled = False
        try:
            yield
        except ScanCancelled:
            cancelled = True
            raise
        finally:
            if not cancelled:
                with collecting(notes):
                    self._rig.return_to_zero()
                notes += self._rig.arm.take_notes()

    @contextlib.contextmanager
    def _scan_light(self, notes: list[str]) -> Iterator[None]:
        """Switch to the light of a scan, and back. A failure to switch back is added to ``notes``; the scan counts."""
        try:
            self._rig.set_scan_light(on=True)
            yield
        except SwitchFault as fault:
            raise ScanFailed(str(fault)) from fault
        finally:
            with collecting(notes):
                self._rig.set_scan_light(on=False)


def _raise_if_any(problems: Sequence[str]) -> None:
    if problems:
        raise DriverError("; ".join(dict.fromkeys(problems)))


def _estimate_scan(rig: RigOptions, poses: Sequence[Pose]) -> timedelta | None:
    """Return how long a scan takes; ``None`` where the options give neither ``feed`` nor the board's speeds."""
    board = _board_of(rig.arm)
    if board is None:
        return None
    moving, position = 0.0, ZERO
    for pose in poses:
        goal = position_of(pose, position, rig.arm.limits)
        moving += board.move_time(position, goal, rig.arm.feed)
        position = goal
    if not rig.arm.homing:
        moving += board.move_time(position, ZERO, rig.arm.feed)
    return timedelta(seconds=moving) + (rig.settle + EXPOSURE) * len(poses)


def _board_of(arm: ArmOptions) -> BoardSettings | None:
    """Return the speeds and accelerations that the options name; an acceleration that they don't costs no time."""
    speeds = {number: arm.expected.get(number, arm.feed) for number in (110, 111, 112)}
    accelerations = {number: arm.expected.get(number, math.inf) for number in (120, 121, 122)}
    known = {number: speed for number, speed in speeds.items() if speed is not None and speed > 0}
    if len(known) < len(speeds) or min(accelerations.values()) <= 0:
        return None
    return BoardSettings({**known, **accelerations})
