"""What a camera is to its worker: something that is opened, exposes, and is closed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

LEAVE: Final = timedelta(seconds=2)
"""What a camera's process gets to stop and close its camera before it is killed; `command`'s takes a good second."""


@dataclass(frozen=True, slots=True)
class Exposure:
    """What a picture is to be like."""

    width: int
    height: int
    encoding: str
    """``jpeg``, ``png`` or ``tiff``."""
    config: Mapping[str, Any]
    """The camera's own settings by their own names, of the scan's configuration: ``{"shutterspeed": "1/100"}``."""
    seconds: float
    """How long it may take."""


class CameraFault(Exception):
    """The camera isn't there, or didn't take the picture; worded for the person at the rig."""


class Camera(ABC):
    """One camera, open from its making to `close`."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        """Open it.

        Raises
        ------
        CameraFault
            It isn't there, or another program has it.

        """
        self.options = options

    @abstractmethod
    def expose(self, exposure: Exposure) -> bytes:
        """Take a picture and return it as a file's bytes, in any encoding and size; the worker fits it.

        Raises
        ------
        CameraFault
            It could not be taken.

        """

    def stop(self) -> None:  # noqa: B027 - of most kinds an exposure can't be cut short
        """Cut an exposure short, and each that follows, if it can be: before `close`, from another thread."""

    def close(self) -> None:  # noqa: B027 - a camera that holds nothing has nothing to let go of
        """Let go of it."""
