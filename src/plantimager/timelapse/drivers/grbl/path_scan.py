"""One scan of a rig: along the path, with all cameras exposing at the same time at each pose.

Only moving, settling and open shutters exclude each other. The arm moves on as soon as every shutter is closed; the
transfer of the pictures, their check and their writing go on behind it, in a thread for each camera. Before the next
exposure all pictures of the position before are transferred. A check that isn't over by then goes on behind that
exposure and its transfer, and no further: of each camera one picture at most is left so. Where one has failed, all
others are finished, and the arm goes back to its position, from where it stands when that is known: at the next
position before the exposure, or after it, where the check failed meanwhile. From the position after that, and before
its exposure, only where a check lasts until the arm has left the next position.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from plantimager.timelapse.datasets.disk_space import require_free_space
from plantimager.timelapse.drivers.cameras import KINDS
from plantimager.timelapse.drivers.cameras.base import CameraFault, describe_picture, facts_for_metadata
from plantimager.timelapse.drivers.gantry.gantry_faults import GantryFault, Stopped
from plantimager.timelapse.drivers.gantry.motion import normalized_angle
from plantimager.timelapse.drivers.grbl.hardware import Overlap
from plantimager.timelapse.drivers.grbl.tries import Tries
from plantimager.timelapse.scan.pose import HOME, Pose
from plantimager.timelapse.support.durable import sync_directory
from plantimager.timelapse.support.errors import ScanCancelled, ScanFailed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from plantimager.timelapse.datasets.attempt import Attempt
    from plantimager.timelapse.datasets.plantdb_layout import PlantDbLayout
    from plantimager.timelapse.drivers.base import ScanMonitor
    from plantimager.timelapse.drivers.cameras.base import CameraPicture
    from plantimager.timelapse.drivers.grbl.hardware import GrblRig
    from plantimager.timelapse.scan.cameras import Camera


RAW: Final = "raw"
"""The directory of a dataset for the raw files of its pictures."""


@dataclass
class _Shot:
    """One picture on its way: of one camera at one position."""

    number: int
    """Of the position, from 0."""
    reached: Pose
    """Where the arm stands, as the board reports it, with the axes that it doesn't have as the path has them."""
    tries: Tries
    may_move_on: bool = True
    """Whether the arm leaves when the shutter is closed; not where the exposure is repeated."""
    closed: threading.Event = field(default_factory=threading.Event)
    """Set when the arm may move on."""
    next_is_due: threading.Event = field(default_factory=threading.Event)
    """Set when the arm stands at the next position; then the check goes on behind the next exposure."""
    fault: CameraFault | None = None
    """Why it wasn't taken. Set before `closed` where the shutter didn't close."""
    finished: Future[None] = field(default_factory=Future)

    def start(self, future: Future[None]) -> None:
        """Note that the picture is being taken; called before the arm waits for `closed`."""
        self.finished = future

    def close_shutter(self) -> bool:
        """Let the arm move on, if it may; return whether it does."""
        if self.may_move_on:
            self.closed.set()
        return self.may_move_on

    def fail(self, fault: CameraFault) -> None:
        """Note why it wasn't taken."""
        self.fault = fault

    def repeat(self, reached: Pose) -> None:
        """Begin again, where the arm came back to; it waits for the picture this time."""
        self.reached, self.may_move_on, self.fault = reached, False, None
        self.closed.clear()
        self.next_is_due.clear()


class PathScan:
    """The scan of a path with some cameras of a rig. Its calls raise `ScanCancelled` and `ScanFailed`."""

    def __init__(self, rig: GrblRig, monitor: ScanMonitor, layout: PlantDbLayout, attempt: Attempt) -> None:
        """Add pictures to the ``layout`` of an attempt, whose directory has the raw files, too."""
        self._rig, self._monitor = rig, monitor
        self._layout, self._attempt = layout, attempt
        self._total = 0
        self._left: dict[str, _Shot] = {}
        """The picture of each camera whose check goes on behind the next exposure."""
        self._kept = dict(rig.last_pictures)
        """The last picture of each camera, without its content."""
        self._rotations: dict[str, int] = {}
        """Degrees by which each camera turns its pictures."""
        self._turns: list[str] = []
        self._faults: list[str] = []
        """Of the exposures that were repeated."""

    @property
    def notes(self) -> Sequence[str]:
        """What has to be told of a scan that succeeded."""
        count = len(self._faults)
        if not count:
            return self._turns
        return [
            *self._turns,
            f"{count} exposure{'' if count == 1 else 's'} repeated ({'; '.join(dict.fromkeys(self._faults))})",
        ]

    def run(self, poses: Sequence[Pose], cameras: Sequence[Camera]) -> None:
        """Add all pictures to the layout, as long as the disk has enough left."""
        asked, self._total = HOME, len(poses) * len(cameras)
        in_flight: Sequence[_Shot] = []
        with ThreadPoolExecutor(max_workers=len(cameras), thread_name_prefix="camera") as pool:
            for number, pose in enumerate(poses):
                asked = pose.completed_from(asked)
                reached = self._stand_at(pose, asked)
                for shot in in_flight:
                    shot.next_is_due.set()
                if self._collect(pool, in_flight):
                    reached = self._stand_at(pose, asked)
                shots = [_Shot(number, reached, self._tries(camera, number, reached)) for camera in cameras]
                in_flight = [*self._left.values(), *shots]
                self._expose(pool, shots)
                if any(shot.fault for shot in in_flight):  # the arm still stands there
                    self._collect(pool, in_flight)
            self._collect(pool, in_flight)

    def _tries(self, camera: Camera, number: int, reached: Pose) -> Tries:
        description = describe_picture(self._attempt.request, camera, number, reached)
        return Tries(camera, self._rig.options.exposure_retries, description, self._kept)

    def _stand_at(self, pose: Pose, asked: Pose) -> Pose:
        """Go to a pose and come to rest; return what was reached, with z and tilt as ``asked``: the arm has neither."""
        arm = self._rig.arm
        try:
            x, y, pan = arm.go(arm.goal_of(pose), self._monitor.wait)
        except Stopped:
            raise ScanCancelled("cancelled on the way; the arm was brought to a stand") from None
        except GantryFault as fault:
            raise ScanFailed(str(fault)) from fault
        if self._monitor.wait(self._rig.options.settle.total_seconds()):
            raise ScanCancelled(f"cancelled after {self._layout.pictures} of {self._total} pictures")
        return Pose(round(x, 3), round(y, 3), asked.z, normalized_angle(pan), asked.tilt)

    def _expose(self, pool: ThreadPoolExecutor, shots: Sequence[_Shot]) -> None:
        """Expose, and return when the arm may move on."""
        for shot in shots:
            shot.start(pool.submit(self._take, shot))
        for shot in shots:
            shot.closed.wait()

    def _collect(self, pool: ThreadPoolExecutor, shots: Sequence[_Shot]) -> bool:
        """Wait until every camera is free, and repeat what failed; return whether the arm went back for that."""
        for shot in shots:
            shot.finished.result()
        if not any(shot.fault for shot in shots):
            return False
        for name in [*self._left]:
            if not self._monitor.cancelled:  # each would have its own time left
                self._finish_left(name)
        for number, of_position in itertools.groupby(self._failed(shots), lambda shot: shot.number):
            self._repeat(pool, number, [*of_position])
        return True

    def _repeat(self, pool: ThreadPoolExecutor, number: int, failed: Sequence[_Shot]) -> None:
        """Go back to a position, and take pictures of it again."""
        for shot in failed:
            if shot.tries.reopens:
                self._rig.cameras[shot.tries.camera.name].close()
        # A stall is counted from the last report: the way, the reopening and each exposure may last long.
        self._report(f"{failed[0].fault}; going back to position {number + 1}")
        reached = self._stand_at(failed[0].reached, failed[0].reached)
        self._report(f"back at position {number + 1}")
        for shot in failed:
            shot.repeat(reached)
        self._expose(pool, failed)
        for shot in failed:
            shot.finished.result()
        self._failed(failed)

    def _failed(self, shots: Sequence[_Shot]) -> Sequence[_Shot]:
        """Return the shots that have to be repeated, by their positions."""
        failed = [shot for shot in shots if shot.fault is not None]
        if failed and self._monitor.cancelled:
            raise ScanCancelled(f"cancelled in an exposure ({'; '.join(str(shot.fault) for shot in failed)})")
        over = [shot for shot in failed if shot.tries.are_over]
        if over:
            raise ScanFailed("; ".join(f"{shot.fault} (position {shot.number + 1}, {shot.tries})" for shot in over))
        return failed

    # --- on the thread of a camera --------------------------------------------------------------------

    def _take(self, shot: _Shot) -> None:
        name = shot.tries.camera.name
        overlap = Overlap(lambda: self._close(shot), lambda: self._finish_left(name), shot.next_is_due.is_set)
        try:
            with self._failing(shot):
                picture = self._rig.take(shot.tries, self._monitor, self._report, overlap)
                if picture is None:
                    self._left[name] = shot
                else:
                    self._keep(shot, picture)
        finally:
            shot.closed.set()

    def _close(self, shot: _Shot) -> bool:
        """Let the arm move on, and report it: exposure and transfer may each last nearly as long as a stall."""
        name = shot.tries.camera.name
        left = self._left.get(name)
        if left is not None and self._rig.is_refused(left.tries, self._monitor):
            self._finish_left(name)  # before the arm may leave
        self._report(f"camera {name}: transferring position {shot.number + 1}")
        return shot.close_shutter()

    def _finish_left(self, name: str) -> None:
        """Finish the picture of a camera that was left in its check, if there is one."""
        shot = self._left.pop(name, None)
        if shot is not None:
            self._report(f"camera {name}: checking position {shot.number + 1}")  # it may last nearly as long as a stall
            with self._failing(shot):
                self._keep(shot, self._rig.finish(shot.tries, self._monitor))

    @contextlib.contextmanager
    def _failing(self, shot: _Shot) -> Iterator[None]:
        """Have a shot fail by the fault of its camera, which may have left raw files."""
        try:
            yield
        except CameraFault as fault:
            shot.fail(fault)
            self._keep_raws(shot, fault.raws)

    def _keep(self, shot: _Shot, picture: CameraPicture) -> None:
        """Write a picture and its raw files, and only then let the camera delete them."""
        require_free_space(self._attempt.request.dataset_dir.parent, 0, self._rig.options.keep_free)
        camera = self._rig.cameras[shot.tries.camera.name]
        asked, arm = shot.tries.camera, shot.reached
        facts = facts_for_metadata(self._attempt.request, asked, arm, picture.facts, len(shot.tries.faults))
        path = self._layout.add(asked, shot.number, arm, picture.content, facts)
        written = [path, *self._keep_raws(shot, picture.raws)]
        for refused in {*(self._attempt.directory / RAW).glob(f"{path.stem}.*")} - {*written}:
            refused.unlink()  # of an earlier try
        if KINDS[camera.options.kind].keeps_files and not self._monitor.cancelled:  # deleting may take long
            _make_durable(written, self._attempt.directory)
            camera.discard()
        self._kept[shot.tries.camera.name] = last = replace(picture, content=b"", raws={})
        self._rig.last_pictures[shot.tries.camera.name] = replace(last, facts={})  # the next scan may have another size
        self._note_rotation(shot, picture.facts["rotation"])
        self._faults += shot.tries.faults
        self._report(f"picture {self._layout.pictures} of {self._total}")

    def _note_rotation(self, shot: _Shot, degrees: int) -> None:
        name = shot.tries.camera.name
        if self._rotations.setdefault(name, degrees) != degrees:
            self._rotations[name] = degrees
            cure = "switch its automatic rotation off"
            self._turns.append(
                f"camera {name} turns its pictures by {degrees}° from position {shot.number + 1} on; {cure}"
            )

    def _keep_raws(self, shot: _Shot, raws: Mapping[str, bytes]) -> Sequence[Path]:
        """Write the raw files of a picture, or of an exposure that left no other: nobody else may have them."""
        directory = self._attempt.directory / RAW
        paths = [directory / f"{shot.tries.camera.name}-{shot.number:05d}.{extension}" for extension in raws]
        for path, content in zip(paths, raws.values(), strict=True):
            directory.mkdir(exist_ok=True)
            path.write_bytes(content)
        return paths

    def _report(self, words: str) -> None:
        self._monitor.progress(self._layout.pictures, self._total, words)


def _make_durable(files: Sequence[Path], dataset: Path) -> None:
    """Write files and their names to the disk: after a power cut a file without its name is lost."""
    for path in files:
        with path.open("rb") as file:
            os.fdatasync(file.fileno())
    for directory in (*sorted({path.parent for path in files}), dataset, dataset.parent):
        sync_directory(directory)
