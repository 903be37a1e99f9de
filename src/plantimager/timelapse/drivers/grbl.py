"""The Plant Imager itself: an arm behind a GRBL board, cameras on it, lights and power around it.

Its options, ``[drivers.grbl]``, are declared in `grbl_options`, `gantry.options`, `cameras` and `switches`.

How long a move may take is reckoned from its length and the board's own speeds and accelerations, so that
there is nothing here that could contradict the board.

A gantry without limit switches, ``homing = false``, has to stand at its zero when it is switched on: its board counts
from there, and the arm crashes into its frame where that isn't so. So the driver brings the arm back to its zero after
every scan that isn't cancelled, and in `prepare` and `standby`: ``park`` is { x = 0, y = 0, pan = 0 } and nothing else,
and the limits must have it. Whoever sends the arm elsewhere by hand sends it back. Where the board was switched off or
restarted while the arm was elsewhere, the rig isn't ready, until somebody has moved the arm to its zero by hand,
switched the gantry off and on, and then restarted the service.

When the plant gets its growth light back: after the last exposure of every scan, however it ends; in `standby` and
`close`, that is at every orderly exit; in `recover`, which the daemon calls when it finds a scan that was cut off, that
is after a crash; and in every `prepare`. What a killed daemon leaves dark until systemd has started it again (seconds),
a unit's ExecStopPost gives back: see `switches`.
"""

from __future__ import annotations

import contextlib
import importlib.util
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from msgspec.structs import replace

from plantimager.timelapse.datasets import disk_space
from plantimager.timelapse.datasets.attempt import begin_attempt, find_finished
from plantimager.timelapse.datasets.plant_scan import PlantScan
from plantimager.timelapse.drivers import install_hint
from plantimager.timelapse.drivers.base import Part, ScanMonitor, ScannerDriver
from plantimager.timelapse.drivers.cameras import KINDS
from plantimager.timelapse.drivers.cameras.base import CameraFault, Exposure
from plantimager.timelapse.drivers.cameras.process import CameraProcess
from plantimager.timelapse.drivers.gantry.arm import Arm, never_stop, place_words
from plantimager.timelapse.drivers.gantry.motion import on_the_round
from plantimager.timelapse.drivers.gantry.port import GantryFault
from plantimager.timelapse.drivers.gantry.protocol import Alarm, Stopped
from plantimager.timelapse.drivers.grbl_options import TABLE, read_options
from plantimager.timelapse.drivers.manual_control import ManualControl, check_reach_of
from plantimager.timelapse.drivers.switches import Switchboard, SwitchFault
from plantimager.timelapse.scan.cameras import EXTENSIONS, Camera, read_cameras
from plantimager.timelapse.scan.lights import Phase, Role
from plantimager.timelapse.scan.paths import DEFAULT_PATH, HOME, Pose, check_reach, find_out_of_reach, read_path
from plantimager.timelapse.scan.request import ScanRequest, ScanResult
from plantimager.timelapse.support import json_text
from plantimager.timelapse.support.errors import (
    DriverError,
    FaultsFound,
    ScanCancelled,
    ScanFailed,
    ScannerNotReady,
)
from plantimager.timelapse.support.faults import MISSING, Fault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from plantimager.timelapse.drivers.gantry.arm import Wait

ENCODINGS: Final = {"jpg": "jpeg", "png": "png", "tif": "tiff"}
"""By file name extension, of which several encodings have the same."""

LIGHTS: Final = frozenset({Role.GROWTH_LIGHT, Role.SCAN_LIGHT})
"""What stays as it is while a person moves the arm: they may have switched it so, in a process before this one."""

_Faults = (GantryFault, CameraFault, SwitchFault)


class GrblDriver(ScannerDriver, ManualControl):
    """A real rig."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        super().__init__(options)
        faults: list[Fault] = []
        self._rig = read_options(options, faults)
        if faults:
            raise FaultsFound(faults)
        self._arm = Arm(self._rig.arm)
        self._cameras = {name: CameraProcess(camera) for name, camera in self._rig.cameras.items()}
        self._switchboard = Switchboard(self._rig.switches)
        self._touched = False
        """Whether this object ever moved, lit or powered anything. One that only checked must not switch off
        in `close` what the daemon's own uses."""

    # --- the contract -------------------------------------------------------------------------------

    def check(self, configuration: Mapping[str, Any]) -> Sequence[Fault]:
        """Return where the path leaves the gantry, which cameras the rig hasn't, which libraries are missing."""
        faults = check_reach(configuration, self._rig.arm.limits.reach)
        known = ", ".join(self._cameras)
        faults.extend(
            Fault("", camera.name, MISSING, f"the rig has no such camera; [{TABLE}.cameras] has {known}")
            for camera in read_cameras(configuration, [])
            if camera.name not in self._cameras
        )
        for name, camera in self._rig.cameras.items():
            library = KINDS[camera.kind].library
            if library and importlib.util.find_spec(library) is None:
                problem = f"{library} isn't installed; {install_hint(camera.kind)}"
                faults.append(Fault(f"{TABLE}.cameras.{name}", "kind", camera.kind, problem))
        return faults

    def prepare(self) -> None:
        """Power up, connect, home where the position is in doubt, open the cameras."""
        try:
            self._get_ready(never_stop, self._cameras)
            self._rest()
        except _Faults as fault:
            raise ScannerNotReady(str(fault)) from fault

    def scan(self, request: ScanRequest, monitor: ScanMonitor) -> ScanResult:
        """Walk the path, all cameras exposing at once at each position."""
        finished = find_finished(request)
        if finished is not None:
            return finished
        poses, cameras = self._plan(request.configuration)
        disk_space.check_disk_space(request, disk_space.max_picture_bytes(cameras) * len(poses), self._rig.keep_free)
        if monitor.cancelled:
            raise ScanCancelled("cancelled before it began")
        names, total = [camera.name for camera in cameras], len(poses) * len(cameras)
        monitor.progress(0, total, "getting ready")
        try:
            self._get_ready(monitor.wait, names, lambda what: monitor.progress(0, total, f"getting {what} ready"))
        except Stopped:
            raise ScanCancelled("cancelled while the rig got ready") from None
        except Alarm as alarm:  # the board is there, but it can't do its work
            raise ScanFailed(str(alarm)) from alarm
        except _Faults as fault:
            raise ScannerNotReady(str(fault)) from fault
        notes: list[str] = []
        with self._resting(notes), begin_attempt(request) as attempt:
            pictures = PlantScan(attempt.directory, request)
            with self._scan_light(notes):
                self._walk(monitor, poses, cameras, pictures, lambda: self._check_floor(request))
            pictures.complete()
            result = attempt.finish(ScanResult(pictures=pictures.pictures, note="; ".join(notes)))
        return replace(result, note="; ".join(notes))

    def recover(self, request: ScanRequest) -> ScanResult | None:
        """Give the plant its light back, and look for the whole dataset; the board ends a move that was begun."""
        self._touched = True
        self._arm.cut_off()
        with contextlib.suppress(SwitchFault):  # the next call of the driver tries again, and tells
            self._switchboard.reopen_slots()
        return find_finished(request)

    def standby(self) -> None:
        """Give the plant its light, park, let go of cameras and board, and power down.

        Raises
        ------
        DriverError
            With everything that could not be done; the rest was.

        """
        self._touched = True
        problems: list[str] = []
        with _noted(problems):
            self._switchboard.reopen_slots()
        with _noted(problems):
            self._park()
        for camera in self._cameras.values():
            camera.close()
        self._arm.close()
        with _noted(problems):
            self._switchboard.enter(Phase.STANDBY)
        if problems:
            raise DriverError("; ".join(dict.fromkeys(problems)))

    def close(self) -> None:
        """Leave the rig in standby, if it was ever touched, and let go of everything."""
        try:
            if self._touched:
                self.standby()
        finally:
            self._touched = False
            for camera in self._cameras.values():
                camera.close()
            self._arm.close()
            self._switchboard.close()

    # --- getting ready --------------------------------------------------------------------------------

    def _plan(self, configuration: Mapping[str, Any]) -> tuple[Sequence[Pose], Sequence[Camera]]:
        """Return the poses and cameras of a scan, before anything moves.

        Raises
        ------
        ScanFailed
            The rig can't take it.

        """
        faults: list[Fault] = []
        poses = read_path(configuration["ScanPath"], faults) if "ScanPath" in configuration else DEFAULT_PATH
        if poses is None:
            raise ScanFailed(f"the path can't be walked: {'; '.join(map(str, faults))}")
        outside = find_out_of_reach(poses, self._rig.arm.limits.reach)
        if outside is not None:
            raise ScanFailed(f"the path can't be walked: {outside}")
        cameras = read_cameras(configuration, faults) or tuple(Camera(name=name) for name in self._cameras)
        unknown = [camera.name for camera in cameras if camera.name not in self._cameras]
        if unknown:
            raise ScanFailed(f"the rig has no camera {', '.join(unknown)}; it has {', '.join(self._cameras)}")
        return poses, cameras

    def _check_floor(self, request: ScanRequest) -> None:
        """Raise OSError when others filled the disk meanwhile."""
        disk_space.check(request.dataset_dir.parent, 0, self._rig.keep_free)

    def _get_ready(self, wait: Wait, cameras: Iterable[str], say: Callable[[str], None] = lambda _: None) -> None:
        """Raise `Stopped`, or the fault of whatever isn't ready; ``say`` what is waited for."""
        self._power_up(wait)
        self._arm.ready(wait)
        for name in cameras:
            say(f"camera {name}")
            with _named(name):
                self._cameras[name].open()

    def _power_up(self, wait: Wait, *, but: frozenset[Role] = frozenset()) -> None:
        """Switch what a rig at work wants switched, and give the board the time to start. Raises as `_get_ready`."""
        self._touched = True
        powers_up = self._switchboard.has_to_power()
        self._switchboard.enter(Phase.WARM, but=but)
        if powers_up and wait(self._rig.power_up.total_seconds()):
            raise Stopped

    def _park(self) -> None:
        """Go where the rig waits; an arm that doesn't know where it is stays there."""
        self._rest()
        if self._rig.park is not None and self._arm.place is not None:
            self._arm.go(self._arm.goal_of(self._rig.park), never_stop)

    def _rest(self) -> None:
        """Bring an arm that can't home back to its zero: where it stood at a power cut, nobody would know else."""
        if self._arm.is_out:
            if self._switchboard.has_to_power():
                self._power_up(never_stop)
            self._arm.to_zero(never_stop)

    # --- scanning -------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _resting(self, notes: list[str]) -> Iterator[None]:
        """Have the arm `_rest` after a scan; that it could not doesn't undo the scan, but is told.

        Not after a cancellation, which has to come to its end soon: `standby` and `prepare` see to it.
        """
        cancelled = False
        try:
            yield
        except ScanCancelled:
            cancelled = True
            raise
        finally:
            if not cancelled:
                with _noted(notes):
                    self._rest()

    @contextlib.contextmanager
    def _scan_light(self, notes: list[str]) -> Iterator[None]:
        """Borrow the plant's light for a scan; that it could not be given back doesn't undo the scan, but is told."""
        try:
            self._switchboard.enter(Phase.SCANNING)
            yield
        except SwitchFault as fault:
            raise ScanFailed(str(fault)) from fault
        finally:
            with _noted(notes):
                self._switchboard.enter(Phase.WARM)

    def _walk(
        self,
        monitor: ScanMonitor,
        poses: Sequence[Pose],
        cameras: Sequence[Camera],
        pictures: PlantScan,
        check_floor: Callable[[], None],
    ) -> None:
        at, total = HOME, len(poses) * len(cameras)
        with ThreadPoolExecutor(max_workers=len(cameras), thread_name_prefix="exposure") as pool:
            for shot, pose in enumerate(poses):
                at = pose.after(at)
                stands = self._go(at, pose, monitor)
                if monitor.wait(self._rig.settle.total_seconds()):
                    raise ScanCancelled(f"cancelled after {shot} of {len(poses)} positions")
                taken = self._expose(pool, cameras, monitor)
                check_floor()
                for camera, picture in zip(cameras, taken, strict=True):
                    pictures.add(camera, shot, stands, picture)
                monitor.progress(pictures.pictures, total, f"picture {pictures.pictures} of {total}")

    def _go(self, at: Pose, pose: Pose, monitor: ScanMonitor) -> Pose:
        """Go to a pose; return where the arm really stands, with z and tilt, which it has none of, as asked."""
        try:
            x, y, pan = self._arm.go(self._arm.goal_of(pose), monitor.wait)
        except Stopped:
            raise ScanCancelled("cancelled on the way; the arm was brought to a stand") from None
        except GantryFault as fault:
            raise ScanFailed(str(fault)) from fault
        return Pose(round(x, 3), round(y, 3), at.z, on_the_round(pan), at.tilt)

    def _expose(self, pool: ThreadPoolExecutor, cameras: Sequence[Camera], monitor: ScanMonitor) -> Sequence[bytes]:
        """Return a picture of each camera, all taken at the same time; one that fails fails the attempt."""
        futures = [
            pool.submit(self._cameras[camera.name].expose, self._exposure(camera), lambda: monitor.cancelled)
            for camera in cameras
        ]
        taken, problems = [], []
        for camera, future in zip(cameras, futures, strict=True):
            try:
                taken.append(future.result())
            except CameraFault as fault:
                problems.append(f"camera {camera.name}: {fault}")
        if problems and monitor.cancelled:
            raise ScanCancelled(f"cancelled in an exposure ({'; '.join(problems)})")
        if problems:
            raise ScanFailed("; ".join(problems))
        return taken

    def _exposure(self, camera: Camera) -> Exposure:
        return Exposure(
            width=camera.res_x,
            height=camera.res_y,
            encoding=ENCODINGS[EXTENSIONS[camera.encoding]],
            config=json_text.jsonable(dict(camera.config)),
            seconds=self._rig.exposure_timeout.total_seconds(),
        )

    # --- in a person's hands --------------------------------------------------------------------------

    def examine(self) -> Sequence[Part]:
        """Ask switches, board and cameras how they are, and give the plant its light.

        Homes nothing; a position that is known stays known.
        """
        parts = [_ask("switches", self._examine_switches)] if self._rig.switches else []
        parts.append(_ask("gantry", self._arm.examine))
        return [*parts, *(_ask(f"camera {name}", partial(self._examine_camera, name)) for name in self._cameras)]

    def _examine_switches(self) -> str:
        self._power_up(never_stop)
        return f"switched: {', '.join(f'{switch.name} ({switch.role})' for switch in self._rig.switches)}"

    def _examine_camera(self, name: str) -> str:
        self._touched = True
        self._cameras[name].open()
        return f"{self._rig.cameras[name].kind}, open"

    def home(self, monitor: ScanMonitor) -> str:
        """Home, and say where the arm stands then."""
        with _by_hand():
            self._power_up(monitor.wait, but=LIGHTS)
            return f"homed; the arm stands at {place_words(self._arm.home(monitor.wait))}"

    def go_to(self, pose: Pose, monitor: ScanMonitor) -> str:
        """Go to a pose within the limits, homing first where need be; say where the arm stands then."""
        check_reach_of(pose, self._rig.arm.limits.reach)
        with _by_hand():
            self._power_up(monitor.wait, but=LIGHTS)
            self._arm.ready(monitor.wait)
            return f"the arm stands at {place_words(self._arm.go(self._arm.goal_of(pose), monitor.wait))}"

    def cameras(self, configuration: Mapping[str, Any]) -> Sequence[Camera]:
        """Return the cameras of the options."""
        settings = {camera.name: camera for camera in read_cameras(configuration, [])}
        return [settings.get(name, Camera(name=name)) for name in self._cameras]

    def snapshot(self, camera: Camera, monitor: ScanMonitor) -> bytes:
        """Return a picture from where the arm is and in the light there is; not even the position need be known."""
        if camera.name not in self._cameras:
            raise ScannerNotReady(f"the rig has no camera {camera.name}; it has {', '.join(self._cameras)}")
        self._touched = True
        with _by_hand(), _named(camera.name):
            return self._cameras[camera.name].expose(self._exposure(camera), lambda: monitor.cancelled)

    def light(self, *, on: bool) -> None:
        """Switch the scan light on, and the growth light off; or the other way round."""
        self._touched = True
        with _by_hand():
            self._switchboard.enter(Phase.SCANNING if on else Phase.WARM)

    def leave(self) -> None:
        """Let go without standby. A GPIO line that nobody drives any more may fall back, see `switches`."""
        self._touched = False
        self.close()


def _ask(part: str, ask: Callable[[], str]) -> Part:
    try:
        return Part(part, answers=True, says=ask())
    except _Faults as fault:
        return Part(part, answers=False, says=str(fault))


@contextlib.contextmanager
def _named(camera: str) -> Iterator[None]:
    """Put a camera's name before what it complains about."""
    try:
        yield
    except CameraFault as fault:
        raise CameraFault(f"camera {camera}: {fault}") from fault


@contextlib.contextmanager
def _noted(problems: list[str]) -> Iterator[None]:
    """Note what goes wrong, and go on."""
    try:
        yield
    except _Faults as fault:
        problems.append(str(fault))


@contextlib.contextmanager
def _by_hand() -> Iterator[None]:
    """Word for a person what may end a call of theirs."""
    try:
        yield
    except Stopped:
        raise ScanCancelled("broken off; the arm was brought to a stand") from None
    except _Faults as fault:
        raise ScannerNotReady(str(fault)) from fault
