"""The interface of a camera for its worker process: it is opened, exposes, and is closed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

CLOSE_TIMEOUT: Final = timedelta(seconds=2)
"""The time for a camera's process to close its camera before it is killed; that of `command` takes over a second."""


@dataclass(frozen=True, slots=True)
class Exposure:
    """The request for one picture."""

    width: int
    """Pixels."""
    height: int
    """Pixels."""
    encoding: str
    """``jpeg``, ``png`` or ``tiff``."""
    config: Mapping[str, Any]
    """The camera's own settings, from the scan configuration: ``{"shutterspeed": "1/100"}``."""
    seconds: float
    """The longest that it may take."""


class CameraFault(Exception):
    """The camera doesn't answer, or didn't take the picture; worded for the person at the rig."""


class CameraDevice(ABC):
    """One camera, open from its construction until `close`."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        """Open it.

        Raises
        ------
        CameraFault
            It doesn't answer, or another program has it open.

        """
        self.options = options

    @abstractmethod
    def expose(self, exposure: Exposure) -> bytes:
        """Take a picture and return its file, in any encoding and size: the worker converts it.

        Raises
        ------
        CameraFault
            The picture could not be taken.

        """

    def stop(self) -> None:  # noqa: B027 - of most kinds an exposure can't be interrupted
        """Interrupt the exposure, and each that follows, where possible. Called before `close`, from another thread."""

    def close(self) -> None:  # noqa: B027 - a camera that holds nothing has nothing to release
        """Release the camera."""
