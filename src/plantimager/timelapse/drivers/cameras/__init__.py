"""The cameras: one small interface, one module for each way of getting at a camera.

A camera's library may hang in the kernel, hold Python's lock while it does, or crash; none of that may reach the
daemon. So each camera lives in a process of its own (``worker``), which the driver (``process``) asks for one
exposure at a time and ends when it answers with a fault or not at all. The next exposure starts a new one. Several
cameras expose at the same time because they are several processes.

=============  ==================================================  ==========================================
kind           reached through                                     tested
=============  ==================================================  ==========================================
``gphoto2``    libgphoto2: still cameras on USB                    with libgphoto2's own virtual camera
``v4l2``       OpenCV: webcams, ``/dev/video*``                    with files that OpenCV plays as a camera
``picamera2``  picamera2 and libcamera: the Raspberry Pi's own     not on hardware: to its documentation alone
``command``    a program that writes a picture: ``rpicam-still``   with real programs
=============  ==================================================  ==========================================
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from plantimager.timelapse.support.faults import argv, text, whole_number

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


@dataclass(frozen=True, slots=True)
class CameraOptions:
    """One camera of the rig, of ``[drivers.grbl.cameras.NAME]``."""

    name: str
    kind: str
    """A key of `KINDS`."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """How to get at it: what its kind's keys were given."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What a kind of camera takes and needs."""

    keys: Mapping[str, Callable[[Any], Any]]
    """Its own keys, each with its reader."""
    required: tuple[str, ...] = ()
    library: str = ""
    """The module that it can't do without; its distribution is the extra of the kind's name."""


def _source(value: object) -> str | int:
    if isinstance(value, str) and value:
        return value
    try:
        return whole_number(0, 63)(value)
    except ValueError:
        raise ValueError('write a device, "/dev/video0", or its number') from None


def _argv(value: object) -> list[str]:
    words = argv(value)
    if not any("{output}" in word for word in words[1:]):
        raise ValueError('write where the picture goes as {output}: ["rpicam-still", "-n", "-o", "{output}"]')
    return list(words)


KINDS: Final[Mapping[str, Kind]] = MappingProxyType(
    {
        "gphoto2": Kind({"port": text, "model": text, "serial": text}, library="gphoto2"),
        "v4l2": Kind({"device": _source, "skip": whole_number(0, 100)}, ("device",), library="cv2"),
        "picamera2": Kind({"number": whole_number(0, 7)}, library="picamera2"),
        "command": Kind({"argv": _argv}, ("argv",)),
    }
)
