"""How long a scan takes over its physical limit, and what a picture costs beside the bare write of its bytes.

Run it on a machine that does nothing else::

    python tests/benchmarks/bench_scan.py [--positions 36] [--pictures 20] [--check 1.4] [--json FILE]

A circle of positions, two cameras, with the real driver: a board on a pseudo-terminal whose moves take the time that
its settings give (a trapezoid), and cameras in their real processes, with a stand-in for their library that keeps the
shutter open for 0.2 s and takes 0.8 s for the transfer. The limit is what nothing can make shorter: moves, rests of the
arm, open shutters. Beside it stands the sequential way, in which the arm waits for every picture.

Two further scans are those of a slower board, on which the check of a picture takes ``--check`` seconds, longer than a
move. A stand-in sleeps for so long in place of the check, so that processors are no part of it. In the second of them
the next exposure of a camera waits for the check.

Then the CPU time and the peak memory of a picture of 12 megapixels, from the camera's process to the disk, without any
shutter, transfer or move, beside the bare write of the same bytes.
"""

from __future__ import annotations

import math
import os
import resource
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from grbl_stand_in import SETTINGS, Board, StandIn
from measuring import memory, options_for, write_numbers
from PIL import Image

from plantimager.timelapse.datasets.plantdb_layout import PlantDbLayout
from plantimager.timelapse.drivers.cameras import CameraOptions
from plantimager.timelapse.drivers.cameras.base import Exposure
from plantimager.timelapse.drivers.cameras.process import CameraProcess
from plantimager.timelapse.drivers.gantry.board_settings import BoardSettings
from plantimager.timelapse.drivers.grbl import path_scan
from plantimager.timelapse.drivers.grbl.driver import GrblDriver
from plantimager.timelapse.drivers.testing import RecordingMonitor, make_request
from plantimager.timelapse.scan.cameras import Camera
from plantimager.timelapse.scan.pose import HOME

if TYPE_CHECKING:
    from collections.abc import Callable

SHUTTER, TRANSFER, SETTLE = 0.2, 0.8, 0.2
"""Seconds."""
CAMERAS = ("left", "right")
TARGET = 1.05
"""Times the limit that a scan may take where a transfer is shorter than a move."""

NUMBERS = BoardSettings({number: float(value) for number, value in SETTINGS.items()})


@dataclass
class TimedBoard(Board):
    """A board whose moves take real time."""

    moving: float = 0.0
    """Seconds of all moves so far."""
    _arrival: float = 0.0

    def _begin(self, place: tuple[float | None, ...]) -> str:
        before = self.machine
        said = super()._begin(place)
        seconds = NUMBERS.move_time(before, self.goal or before, None)
        self.moving += seconds
        self._arrival = time.perf_counter() + seconds
        return said

    def _move_on(self) -> str:
        self.polls = 0 if time.perf_counter() >= self._arrival else 10**9
        return super()._move_on()


class WaitingShot(path_scan._Shot):
    """A picture for which the arm waits until it is kept."""

    def close_shutter(self) -> bool:
        """Let the arm stay."""
        return False


class CheckedShot(path_scan._Shot):
    """A picture for whose check the next exposure waits."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.next_is_due.set = lambda: None  # type: ignore[method-assign]  # nothing is due


def scan(directory: Path, positions: int, kind: type[path_scan._Shot] = path_scan._Shot) -> dict[str, float]:
    """Return how long a scan took, and its limit, in seconds."""
    datasets = Path(tempfile.mkdtemp(dir=directory))
    circle = {"center_x": 375, "center_y": 375, "z": 0, "tilt": 0, "radius": 350, "n_points": positions}
    configuration = {"ScanPath": {"class_name": "Circle", "kwargs": circle}, **{name: {} for name in CAMERAS}}
    shot = path_scan._Shot
    with StandIn(TimedBoard()) as stand_in:
        options: dict[str, Any] = {"port": stand_in.port, "settle": SETTLE, "keep_free": "1 MB"}
        options["cameras"] = {name: {"kind": "gphoto2", "serial": name} for name in CAMERAS}
        driver = GrblDriver(options)
        driver.prepare()
        path_scan._Shot = kind
        begin = time.perf_counter()
        try:
            result = driver.scan(make_request(datasets, configuration=configuration), RecordingMonitor())
        finally:
            path_scan._Shot = shot
        took = time.perf_counter() - begin
        driver.close()
        assert result.pictures == positions * len(CAMERAS), result
        moving = stand_in.board.moving
    return {"took": took, "limit": moving + positions * (SETTLE + SHUTTER), "moving": moving}


def cost_of_pictures(directory: Path, picture: bytes, count: int) -> dict[str, float]:
    """Return the CPU seconds and the peak memory in MB of a picture, and of the bare write of its bytes."""
    target = directory / "bare"
    before = forget_peak()
    bare_cpu = cpu_of(lambda: [target.write_bytes(picture) for _ in range(count)]) / count
    bare_mb = max(memory()["peak"] - before, 0) / 1000
    before = forget_peak()
    camera = CameraProcess(CameraOptions(CAMERAS[0], "gphoto2", {"serial": CAMERAS[0]}))
    camera.open()
    worker = camera._process.pid  # type: ignore[union-attr]  # it is open
    empty = memory(worker)["now"]
    layout = PlantDbLayout(directory / "layout", make_request(directory))
    exposure = Exposure(None, None, "jpeg", {}, 30.0)

    def take() -> None:
        for number in range(count):
            camera.trigger(exposure, lambda: False)
            taken = camera.picture(camera.fetch(exposure, lambda: False), lambda: False)
            layout.add(Camera(name=CAMERAS[0]), number, HOME, taken.content, taken.facts)

    ours = cpu_of(take, worker) / count
    numbers = {
        "bare_cpu": bare_cpu,
        "bare_mb": bare_mb,
        "cpu": ours,
        "daemon_mb": (memory()["peak"] - before) / 1000,
        "worker_mb": (memory(worker)["peak"] - empty) / 1000,
        "picture_mb": len(picture) / 1e6,
    }
    camera.close()
    return numbers


def forget_peak() -> int:
    """Begin a new peak of this process's memory; return what it has now, in kB."""
    Path("/proc/self/clear_refs").write_text("5")
    return memory()["now"]


def cpu_of(action: Callable[[], object], worker: int | None = None) -> float:
    """Return the CPU seconds of an action, in this process and in a worker."""

    def used() -> float:
        own = resource.getrusage(resource.RUSAGE_SELF)
        total = own.ru_utime + own.ru_stime
        if worker is not None:
            fields = Path(f"/proc/{worker}/stat").read_text().rpartition(")")[2].split()
            total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        return total

    before = used()
    action()
    return used() - before


def make_picture(path: Path) -> bytes:
    """Write a JPEG of 12 megapixels of the usual size, about 4 MB, and return it."""
    noise = Image.effect_noise((4000, 3000), 25)
    leaf = Image.radial_gradient("L").resize((4000, 3000))
    Image.merge("RGB", (noise, Image.blend(noise, leaf, 0.6), leaf)).save(path, quality=85)
    return path.read_bytes()


def main() -> None:
    """Measure, and print the table."""
    parser = options_for(__doc__ or "")
    parser.add_argument("--positions", type=int, default=36)
    parser.add_argument("--pictures", type=int, default=20)
    parser.add_argument("--check", type=float, default=1.4)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        picture = make_picture(directory / "picture.jpg")
        (directory / "usb").mkdir()
        for number, camera in enumerate(CAMERAS):
            (directory / "usb" / f"usb:001,00{number}").write_text(camera)
        stand_ins = Path(__file__).resolve().parents[1] / "support" / "stand_ins"
        timing = {"SHUTTER": str(SHUTTER), "TRANSFER": str(TRANSFER)}
        at_once = {"SHUTTER": "0", "TRANSFER": "0"}
        paths = [str(stand_ins), os.environ.get("PYTHONPATH", "")]
        os.environ |= {"CAMERAS": str(directory / "usb"), "PICTURE": str(directory / "picture.jpg")}
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
        os.environ |= timing
        ours = scan(directory, options.positions)
        sequential = scan(directory, options.positions, WaitingShot)
        os.environ["CHECK"] = str(options.check)
        slow = scan(directory, options.positions)
        checked = scan(directory, options.positions, CheckedShot)
        del os.environ["CHECK"]
        os.environ |= at_once
        cost = cost_of_pictures(directory, picture, options.pictures)
    ratio = ours["took"] / ours["limit"]
    a_move = ours["moving"] / options.positions
    print(
        f"{options.positions} positions, {len(CAMERAS)} cameras; a move takes {a_move:.2f} s, a transfer {TRANSFER} s"
    )
    print(f"  limit (moves, rests, shutters)   {ours['limit']:7.2f} s")
    ways = {
        "timelapsed": ours,
        "one after the other": sequential,
        f"a check takes {options.check:g} s": slow,
        "the next exposure waits for it": checked,
    }
    for way, found in ways.items():
        print(f"  {way:32} {found['took']:7.2f} s   {found['took'] / found['limit']:.3f} × the limit")
    print(f"a picture of 12 megapixels, {cost['picture_mb']:.1f} MB:")
    print(f"  CPU      {cost['cpu'] * 1000:6.0f} ms   bare write {cost['bare_cpu'] * 1000:6.0f} ms")
    print(
        f"  memory   daemon +{cost['daemon_mb']:.0f} MB, camera's process +{cost['worker_mb']:.0f} MB, "
        f"bare write +{cost['bare_mb']:.0f} MB"
    )
    numbers = {"scan": ours, "sequential": sequential, "slow": slow, "checked": checked, "check": options.check}
    write_numbers(options.json, **numbers, ratio=ratio, picture=cost)
    if not math.isfinite(ratio) or (ratio > TARGET and a_move > TRANSFER):
        print(f"over the target of {TARGET} × the limit")


if __name__ == "__main__":
    main()
