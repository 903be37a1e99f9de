"""What the process of a camera is doing at each moment, so that its end is charged to the picture that caused it."""

from __future__ import annotations

import contextlib
import faulthandler
import os
from typing import TYPE_CHECKING, Final

from plantimager.timelapse.drivers.cameras.base import CameraFault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from plantimager.timelapse.drivers.cameras.base import CameraPicture

_IN_USE: Final = slice(0, 1)
_IN_CHECK: Final = slice(8, 16)
_STACK: Final = slice(16, 1 << 16)
"""The places of the memory: whether the camera is in use, the number of the picture in its check plus 1, stacks."""

_CRASH: Final = b"Fatal Python error: "
"""What `faulthandler` writes before each stack."""


class Activity:
    """A memory that a camera's process shares with the daemon, which reads it when that process has ended.

    The process uses the camera on one thread, and checks pictures on another.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def record_crash(self) -> None:
        """Have the stack of the thread in which this process crashes written to the memory."""
        self._clear_stack()
        faulthandler.enable(self._descriptor, all_threads=False)

    @contextlib.contextmanager
    def using_camera(self) -> Iterator[None]:
        """Note that the camera is in use. After any error but its fault this process ends, and that was the cause."""
        self._note(_IN_USE, 1)
        try:
            yield
        except CameraFault:
            self._note(_IN_USE, 0)
            raise
        self._note(_IN_USE, 0)

    def run_check(self, number: int, check: Callable[..., CameraPicture], *arguments: object) -> CameraPicture:
        """Return the result of the check of the picture ``number``. Raises `CameraFault`, for any error.

        Another error would end this process only after the next check, which would seem to be the cause.
        """
        self._clear_stack()
        self._note(_IN_CHECK, number + 1)
        try:
            return check(*arguments)
        except CameraFault:
            raise
        except Exception as problem:  # such as MemoryError
            said = " ".join(f"{type(problem).__name__} {problem}".split())
            raise CameraFault(
                f"its picture can't be checked: {said}; that is a fault of the program, or a lack of memory"
            ) from problem
        finally:
            self._note(_IN_CHECK, 0)

    def _clear_stack(self) -> None:
        """Forget the stack of a process that this one has forked, which shares the memory and has crashed."""
        os.ftruncate(self._descriptor, _STACK.start)
        os.lseek(self._descriptor, _STACK.start, os.SEEK_SET)

    def _note(self, place: slice, value: int) -> None:
        os.pwrite(self._descriptor, value.to_bytes(place.stop - place.start, "big"), place.start)

    def picture_at_fault(self) -> int | None:
        """Return the number of the picture whose check has ended the process; None where something else has.

        Where it used the camera and checked a picture, the former is taken for the cause unless the stack of a crash
        says otherwise. That is so where it was killed, where a library ended it by ``exit``, and where one crashed in a
        thread of its own, as decoders have: nobody knows which it was. Such a crash is charged to no check at all.
        """
        memory = os.pread(self._descriptor, _STACK.stop, 0)
        number = int.from_bytes(memory[_IN_CHECK], "big")
        _, has_crashed, stack = memory[_STACK].rpartition(_CRASH)
        in_check = f" in {self.run_check.__name__}\n".encode() in stack
        return number - 1 if number and (in_check if has_crashed else not any(memory[_IN_USE])) else None
