"""A camera behind a program that takes one picture and exits: ``rpicam-still``, ``fswebcam``, one of your own.

In its arguments ``{output}`` is the file to write, and ``{width}``, ``{height}`` and ``{encoding}`` are what the scan
asks for. ``config`` of the scan configuration is in the program's environment: ``{ shutter = 10000 }`` as
``CAMERA_SHUTTER``.
"""

from __future__ import annotations

import tempfile
import threading
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from plantimager.timelapse.drivers.cameras.base import CameraDevice, CameraFault, Capture
from plantimager.timelapse.drivers.cameras.pictures import is_meant_as_raw
from plantimager.timelapse.drivers.deadline import Deadline
from plantimager.timelapse.drivers.programs.environment import ProgramFault, basic_environment
from plantimager.timelapse.drivers.programs.run import run_program

if TYPE_CHECKING:
    from collections.abc import Mapping

    from plantimager.timelapse.drivers.cameras.base import Exposure

STOP_GRACE: Final = timedelta(seconds=1)
"""From SIGTERM to SIGKILL. Less than `CLOSE_TIMEOUT`."""

MEMORY_DIRECTORY: Final = "/dev/shm"  # noqa: S108 - the directory made in it is private
"""The directory for pictures if no disk is writable; only then, because systemd empties it when a user logs out."""


class CommandCamera(CameraDevice):
    """A camera behind a program."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        super().__init__(options)
        self._stopped = threading.Event()
        self._capture = Capture(b"")

    def stop(self) -> None:
        """Stop the program."""
        self._stopped.set()

    def trigger(self, exposure: Exposure) -> None:
        """Run the program, which exposes and transfers, and read the file that it wrote."""
        program = self.options["argv"][0]
        with _temporary_directory() as directory:
            output = Path(directory) / f"picture.{exposure.encoding}"
            words = {
                "{output}": str(output),
                "{width}": str(exposure.width or 0),
                "{height}": str(exposure.height or 0),
                "{encoding}": exposure.encoding,
            }
            argv = [_fill_in(word, words) for word in self.options["argv"]]
            own = {f"CAMERA_{name.upper()}": str(value) for name, value in exposure.config.items()}
            try:
                with Deadline(timedelta(seconds=exposure.seconds)) as deadline:
                    ended = run_program(
                        argv,
                        environment={**basic_environment(), **own},
                        stop_grace=STOP_GRACE,
                        should_stop=lambda: deadline.passed() or self._stopped.is_set(),
                    )
            except ProgramFault as problem:
                raise CameraFault(str(problem)) from problem
            if ended.stopped:
                raise CameraFault(f"{program} had not finished after {exposure.seconds:g} s")
            if ended.status != 0:
                raise CameraFault(f"{program} {ended}")
            try:
                self._capture = Capture(output.read_bytes(), _read_raws(output))
            except OSError:
                raise CameraFault(f"{program} exited with 0, but wrote no picture to {{output}}") from None

    def fetch(self) -> Capture:
        """Return the picture that the program wrote, and the raw files beside it."""
        return self._capture


def _read_raws(output: Path) -> dict[str, bytes]:
    """Return the raw files beside a picture, also cut ones, by their extension: ``rpicam-still --raw`` writes one."""
    beside = [path for path in sorted(output.parent.iterdir()) if path.is_file() and path != output]
    contents = {path.suffix[1:].lower(): path.read_bytes() for path in beside}
    return {extension: content for extension, content in contents.items() if is_meant_as_raw(content, extension)}


def _temporary_directory() -> tempfile.TemporaryDirectory[str]:
    try:
        place = tempfile.gettempdir()
    except FileNotFoundError:
        place = MEMORY_DIRECTORY
    try:
        return tempfile.TemporaryDirectory(prefix="timelapsed-camera-", dir=place)
    except OSError as problem:
        raise CameraFault(f"its picture can't be written to {place}: {problem.strerror}") from problem


def _fill_in(word: str, words: dict[str, str]) -> str:
    for name, value in words.items():
        word = word.replace(name, value)
    return word


CAMERA = CommandCamera
