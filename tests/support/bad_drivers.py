"""A driver that breaks its contract, registered like any other, from a distribution of its own."""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from datetime import timedelta
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from plantimager.timelapse.daemon import definition_intake
from plantimager.timelapse.drivers.base import ScannerDriver
from plantimager.timelapse.scan.request import ScanResult

if TYPE_CHECKING:
    from collections.abc import Mapping

MEGABYTE = 1_000_000
HOARD = 500
"""Megabytes."""


class Unprintable(Exception):
    """An error that can't even be shown."""

    def __str__(self) -> str:
        raise RuntimeError("not even this")

    __repr__ = __str__


def install(directory: Path) -> None:
    """Register `BadDriver` as ``bad`` for those who have ``directory`` and this one in PYTHONPATH."""
    about = directory / "bad_drivers-1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: bad-drivers\nVersion: 1\n")
    (about / "entry_points.txt").write_text("[plantimager.scanner_drivers]\nbad = bad_drivers:BadDriver\n")


RAISED: dict[str, object] = {
    "BaseException": lambda: BaseException("the end"),
    "SystemExit": lambda: SystemExit(3),
    "KeyboardInterrupt": KeyboardInterrupt,
    "GeneratorExit": GeneratorExit,
    "MemoryError": MemoryError,
    "RecursionError": lambda: RecursionError("deep"),
    "StopIteration": StopIteration,
    "an exception group": lambda: BaseExceptionGroup("both cameras", [OSError(5, "one"), KeyboardInterrupt()]),
    "a megabyte": lambda: ValueError("x" * MEGABYTE),
    "half a character": lambda: ValueError("camera \ud800 \x1b[2J\n\0 says no"),
    "an unprintable error": Unprintable,
}


class BadDriver(ScannerDriver):
    """Does in slot N what the N-th entry of ``does`` says: raises an exception, or calls one of the methods below."""

    def __init__(self, options: Mapping[str, object]) -> None:
        super().__init__(options)
        self._does = options["does"]
        self._raised = False
        self._do(options.get("make"))

    def check(self, configuration):
        return self._do(self.options.get("check")) or ()

    def prepare(self) -> None:
        self._do(self.options.get("prepare"))

    def scan(self, request, monitor):
        what = self._does[request.index % len(self._does)]
        if what == "count_in_fractions":  # as a library may, whose numbers JSON doesn't know
            monitor.progress(Fraction(1), Fraction(1))
            return ScanResult(pictures=Fraction(72), note=b"sharp")
        return self._do(what) or ScanResult(pictures=1)

    def recover(self, request):
        return self._do(self.options.get("recover"))

    def standby(self) -> None:
        self._do(self.options.get("standby"))

    def close(self) -> None:
        self._do(self.options.get("close"))

    def _do(self, what):
        if what in RAISED:
            problem = RAISED[what]()
            raise problem
        return getattr(self, what)() if what else None

    def return_nonsense(self):
        return {"pictures": 72}

    def leak_threads(self) -> None:
        for _ in range(100):
            threading.Thread(target=threading.Event().wait, daemon=False).start()

    def change_directory_and_mask(self) -> None:
        os.chdir("/proc")
        os.umask(0)

    def exit_once(self) -> None:
        """Call os._exit, the first time ever."""
        mark = Path(self.options["mark"])
        if not mark.exists():
            mark.touch()
            os._exit(23)

    def run_out_of_memory_once(self) -> None:
        """Use more than a control group has, the first time ever: the kernel kills the process."""
        mark = Path(self.options["mark"])
        if not mark.exists():
            mark.touch()
            (Path(self.options["group"]) / "cgroup.procs").write_text(str(os.getpid()))
            hoard = [b"x" * MEGABYTE for _ in range(HOARD)]
            raise AssertionError(f"{len(hoard)} MB were granted")

    def eat_memory(self) -> None:
        """Allocate more memory than there is."""
        hoard = []
        while True:
            hoard.append(bytearray(64 * MEGABYTE))

    def hang(self) -> None:
        """Never return."""
        threading.Event().wait()

    def work(self) -> None:
        """Do nothing wrong."""

    def be_patient(self) -> None:
        """Have the daemon wait for checks as long as a test may hold them up."""
        definition_intake.CHECK_TIMEOUT = timedelta(minutes=5)

    def wait_at_gate(self) -> None:
        """Return when somebody has opened and closed the pipe that is there; at once where none is."""
        with suppress(FileNotFoundError):
            Path(self.options["gate"]).read_bytes()
