"""The interface of a camera for its worker process: it is opened, exposes, gives its picture, and is closed."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from plantimager.timelapse.drivers.device_access import cure_of_refusal
from plantimager.timelapse.scan.secrets import without_secrets
from plantimager.timelapse.support import json_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from plantimager.timelapse.scan.cameras import Camera
    from plantimager.timelapse.scan.pose import Pose
    from plantimager.timelapse.scan.request import ScanRequest

CLOSE_TIMEOUT: Final = timedelta(seconds=2)
"""The time for a camera's process to close its camera before it is killed; that of `command` takes over a second."""


PICTURE_LOST: Final = "its picture was lost with its process, which ended before the picture was checked"
"""The fault of a picture whose camera's process was ended by something else."""


@dataclass(frozen=True, slots=True)
class Exposure:
    """The request for one picture."""

    width: int | None
    """Pixels; None is what the camera has."""
    height: int | None
    """Pixels; None is what the camera has."""
    encoding: str
    """``jpeg``, ``png`` or ``tiff``."""
    config: Mapping[str, Any]
    """The camera's own settings, from the scan configuration: ``{"shutterspeed": "1/100"}``."""
    seconds: float
    """The longest that it may take, and the longest that the transfer of its picture may take."""
    description: str = ""
    """What the picture shows, on one line, for its EXIF."""


@dataclass(frozen=True, slots=True)
class Capture:
    """The files of one exposure, as the camera made them."""

    content: bytes
    """The file of the picture, in any encoding and size."""
    raws: Mapping[str, bytes] = field(default_factory=dict)
    """The raw files of the same exposure, by their extension."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """The settings that the camera reports, by their names."""
    way_out: str = ""
    """What else can be done about a picture that is damaged, for its fault."""
    on_camera: Sequence[tuple[str, str]] = ()
    """Folder and name of these files on the camera, which may delete them once they are on the disk of this host."""


@dataclass(frozen=True, slots=True)
class CameraPicture:
    """A picture as it was asked for, and what is known of it."""

    content: bytes
    facts: Mapping[str, Any]
    """For its metadata, JSON values: times, size, rotation, settings that the camera reports."""
    raws: Mapping[str, bytes] = field(default_factory=dict)
    """The raw files of the same exposure, by their extension."""
    digest: str = ""
    """Of the camera's own file, where that has the time of its exposure: no two exposures have the same."""


class CameraFault(Exception):
    """The camera doesn't answer, or didn't take the picture; worded for the person at the rig."""

    def __init__(
        self,
        problem: str,
        *,
        is_lasting: bool = False,
        is_of_another: bool = False,
        raws: Mapping[str, bytes] | None = None,
    ) -> None:
        super().__init__(problem)
        self.is_lasting = is_lasting
        """Whether the same request would fail again, as with a setting that the camera doesn't have."""
        self.is_of_another = is_of_another
        """Whether another picture was the cause, so that it costs none of this one's tries."""
        self.raws = raws or {}
        """The raw files that were made all the same, by their extension; nobody else may have them."""


class CameraDevice(ABC):
    """One camera, open from its construction until `close`.

    An exposure has two parts, so that the arm can move on between them: `trigger` ends with a closed shutter, `fetch`
    with the picture on this host. A camera that has only one operation for both does it in `trigger`.
    """

    def __init__(self, options: Mapping[str, Any]) -> None:
        """Open it.

        Raises
        ------
        CameraFault
            It doesn't answer, or another program has it open.
        """
        self.options = options

    @abstractmethod
    def trigger(self, exposure: Exposure) -> None:
        """Expose, and return when the shutter is closed. Raises `CameraFault` where that failed."""

    @abstractmethod
    def fetch(self) -> Capture:
        """Return the picture of the last `trigger`, as the camera made it. Raises `CameraFault` where that failed."""

    def discard(self, files: Iterable[tuple[str, str]]) -> None:  # noqa: B027 - most kinds keep no files
        """Delete files from the camera, see `Capture.on_camera`: they are on the disk of this host."""

    def require_answer(self) -> None:  # noqa: B027 - a program has nothing to ask
        """Ask the camera something harmless. Raises `CameraFault` where it doesn't answer."""

    def stop(self) -> None:  # noqa: B027 - of most kinds an exposure can't be interrupted
        """Interrupt the exposure, and each that follows, where possible. Called before `close`, from another thread."""

    def close(self) -> None:  # noqa: B027 - a camera that holds nothing has nothing to release
        """Release the camera."""


def describe_picture(request: ScanRequest, camera: Camera, number: int, pose: Pose) -> str:
    """Return what a picture shows, on one line, for its EXIF."""
    asked = ", ".join(f"{name} {value}" for name, value in without_secrets(dict(camera.config)).items())
    what = f"{request.scan_id} {camera.name} {number:05d}, attempt {request.attempt}"
    return "; ".join(filter(None, (what, str(pose).replace("°", ""), asked)))


def facts_for_metadata(
    request: ScanRequest, camera: Camera, arm: Pose, facts: Mapping[str, Any], retries: int = 0
) -> dict[str, Any]:
    """Return what the metadata of a picture says of its taking: ``facts`` of it, and how it was asked for."""
    ours = {
        **facts,
        "settings_asked": without_secrets(json_text.jsonable(dict(camera.config))),
        "arm_pose": list(arm),
        "attempt": request.attempt,
        "retries": retries,
    }
    return {"timelapsed": ours}


def explain_refusal(devices: Iterable[str], group: str, drop_in: str) -> str | None:
    """Return why this process may not open one of ``devices``, with the cure; None where it may, or there are none."""
    for device in devices:
        try:
            os.close(os.open(device, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC))
        except OSError as problem:
            cure = cure_of_refusal(problem.errno, group, drop_in)
            if cure is not None:
                return f"{device}: {cure}"
    return None
