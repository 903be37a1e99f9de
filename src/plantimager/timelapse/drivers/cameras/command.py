"""A camera behind a program that takes one picture and exits: ``rpicam-still``, ``fswebcam``, one of your own.

Options: ``argv``, in which ``{output}`` stands for the file to write, and ``{width}``, ``{height}`` and ``{encoding}``
for what the scan asks for. ``config`` of a scan is in the program's environment: ``{ shutter = 10000 }`` as
``CAMERA_SHUTTER``.
"""

from __future__ import annotations

import os
import tempfile
import threading
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from plantimager.timelapse.drivers.cameras.base import Camera, CameraFault
from plantimager.timelapse.drivers.deadline import Deadline
from plantimager.timelapse.drivers.programs.find import ProgramMissing
from plantimager.timelapse.drivers.programs.run import ProgramHung, run_program

if TYPE_CHECKING:
    from collections.abc import Mapping

    from plantimager.timelapse.drivers.cameras.base import Exposure

STOP_GRACE: Final = timedelta(seconds=1)
"""From SIGTERM to SIGKILL; a picture that is late is of no use. Less than `LEAVE`."""

MEMORY: Final = "/dev/shm"  # noqa: S108 - the directory made there is this user's alone
"""Where pictures are written if no disk is writable. Not always: when a user logs out, systemd empties theirs."""


class CommandCamera(Camera):
    """A program."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        super().__init__(options)
        self._leaving = threading.Event()

    def stop(self) -> None:
        """End the program."""
        self._leaving.set()

    def expose(self, exposure: Exposure) -> bytes:
        """Run it, and read what it wrote."""
        program = self.options["argv"][0]
        with _own_directory() as directory:
            output = Path(directory) / f"picture.{exposure.encoding}"
            told = {
                "{output}": str(output),
                "{width}": str(exposure.width),
                "{height}": str(exposure.height),
                "{encoding}": exposure.encoding,
            }
            argv = [_filled(word, told) for word in self.options["argv"]]
            own = {f"CAMERA_{name.upper()}": str(value) for name, value in exposure.config.items()}
            try:
                with Deadline(timedelta(seconds=exposure.seconds)) as deadline:
                    ended = run_program(
                        argv,
                        environment={**os.environ, **own},
                        stop_grace=STOP_GRACE,
                        should_stop=lambda: deadline.passed() or self._leaving.is_set(),
                    )
            except (ProgramMissing, ProgramHung) as problem:
                raise CameraFault(str(problem)) from problem
            except (OSError, ValueError) as problem:
                raise CameraFault(f"{program} can't be started: {problem}") from problem
            if ended.stopped:
                raise CameraFault(f"{program} had not finished after {exposure.seconds:g} s")
            if ended.status != 0:
                raise CameraFault(f"{program} {ended}")
            try:
                return output.read_bytes()
            except OSError:
                raise CameraFault(f"{program} exited with 0, but wrote no picture to {{output}}") from None


def _own_directory() -> tempfile.TemporaryDirectory[str]:
    try:
        place = tempfile.gettempdir()
    except FileNotFoundError:
        place = MEMORY
    try:
        return tempfile.TemporaryDirectory(prefix="timelapsed-camera-", dir=place)
    except OSError as problem:
        raise CameraFault(f"its picture can't be written to {place}: {problem.strerror}") from problem


def _filled(word: str, told: dict[str, str]) -> str:
    for name, value in told.items():
        word = word.replace(name, value)
    return word


CAMERA = CommandCamera
