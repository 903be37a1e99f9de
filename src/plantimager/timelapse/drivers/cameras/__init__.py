"""The cameras: one small interface, one module for each way of getting at a camera.

A camera's library may hang in the kernel, hold Python's lock while it does, or crash; none of that may reach the
daemon. So each camera lives in a process of its own (``worker``), which the driver (``process``) asks for one
exposure at a time, and ends when it doesn't answer. Several cameras expose at the same time because they are several
processes.

=============  ==================================================  ==========================================
kind           reached through                                     tested
=============  ==================================================  ==========================================
``gphoto2``    libgphoto2: still cameras on USB                    with libgphoto2's own virtual camera
``v4l2``       OpenCV: webcams, ``/dev/video*``                    with files that OpenCV plays as a camera
``picamera2``  picamera2 and libcamera: the Raspberry Pi's own     not on hardware: to its documentation alone
``command``    a program that writes a picture: ``rpicam-still``   with real programs
=============  ==================================================  ==========================================
"""

# Annotations are evaluated here, since the kinds declare keys.

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, Any, Final

from msgspec import Struct

from plantimager.timelapse.drivers import install_hint
from plantimager.timelapse.support.faults import argv, one_of, text, whole_number
from plantimager.timelapse.support.keys import Key, keys_of
from plantimager.timelapse.support.needs import Need

SKIP: Final = 5
"""Pictures that a webcam throws away before each one that counts: its exposure adapts to the light with them."""


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


class Gphoto2Options(Struct, frozen=True):
    """The choice of a still camera on USB."""

    port: Annotated[str | None, Key(text, absent="the only one there is")] = None
    model: Annotated[str | None, Key(text, absent="the only one there is")] = None
    serial: Annotated[str | None, Key(text, absent="the only one there is")] = None
    """Which one of several: "usb:001,004", "Nikon DSC D750", its serial number. All that is given has to fit."""


class V4l2Options(Struct, frozen=True):
    """The device of a webcam, and the pictures for it to adapt to the light."""

    device: Annotated[str | int, Key(_source)]
    """Its path, best one in ``/dev/v4l/by-id``, or in ``/dev/v4l/by-path`` where webcams are alike; or its number, 0 to
    63, which changes."""
    skip: Annotated[int, Key(whole_number(0, 100), "pictures")] = SKIP
    """How many pictures are thrown away before each one that counts, 0 to 100."""


class Picamera2Options(Struct, frozen=True):
    """The choice among the Raspberry Pi's own cameras."""

    number: Annotated[int, Key(whole_number(0, 7))] = 0
    """Which one, 0 to 7, as ``rpicam-hello --list-cameras`` counts them."""


class CommandCameraOptions(Struct, frozen=True):
    """The program that takes a picture."""

    argv: Annotated[list[str], Key(_argv, is_program=True)]
    """The program. In its arguments {output} is the file to write, and has to be there; {width}, {height} and
    {encoding} are what the definition asks for, 0 where it asks for no size."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of camera."""

    options: type[Struct]
    """The keys of its table, beside ``kind``."""
    library: str = ""
    """The module that it needs; its distribution is the extra that has the name of the kind."""
    keeps_files: bool = False
    """Whether the camera keeps its pictures until `process.CameraProcess.discard`."""


KINDS: Final[Mapping[str, Kind]] = MappingProxyType(
    {
        "gphoto2": Kind(Gphoto2Options, library="gphoto2", keeps_files=True),
        "v4l2": Kind(V4l2Options, library="cv2"),
        "picamera2": Kind(Picamera2Options, library="picamera2"),
        "command": Kind(CommandCameraOptions),
    }
)


class CameraTable(Struct, frozen=True):
    """The table ``[drivers.grbl.cameras.NAME]``; the kind decides which further keys it has."""

    kind: Annotated[str, Key(one_of(*KINDS))]
    """How the camera is reached: "gphoto2", "v4l2", "picamera2" or "command"."""


class CameraOptions(Struct, frozen=True):
    """One camera of the rig, of ``[drivers.grbl.cameras.NAME]``."""

    name: str
    kind: str
    """A key of `KINDS`."""
    options: Mapping[str, Any] = {}
    """The values of the keys of its kind, as JSON can carry them."""

    @property
    def needs(self) -> Iterator[Need]:
        """The library of its kind, and its programs."""
        kind = KINDS[self.kind]
        if kind.library:
            yield Need("kind", self.kind, module=kind.library, extra=self.kind)
        for key in keys_of(kind.options).values():
            if key.is_program and key.name in self.options:
                words = self.options[key.name]
                yield Need(key.name, words, program=words[0])


# --- the libraries of the kinds ---------------------------------------------------------------------


def explain_missing(kind: str, problem: Exception) -> str:
    """Return why the library of a kind can't be loaded, and the cure, by what its import raised."""
    said = " ".join(str(problem).split())
    if isinstance(problem, ModuleNotFoundError):
        return f"can't be used without its library ({said}); {install_hint(kind)}"
    if "numpy" in said:
        cure, words = "remove that of the service's environment, which hides the system's", "uninstall numpy"
        if kind != "picamera2":
            cure, words = "install both again", "install --force-reinstall numpy opencv-python-headless"
        return f"its library was built for another numpy ({said}); {cure}: {_with_pip(words)}"
    if ".so" in said:
        return f"its library needs a file that isn't there ({said}); install the package that `apt-file search` names"
    return f"its library can't be loaded ({type(problem).__name__}: {said}); {install_hint(kind)}"


def _with_pip(words: str) -> str:
    """Return how a person runs pip for this environment, which has none of its own. Its link has no `pyvenv.cfg`."""
    return (
        f"sudo python3 -m pip --python {sys.executable} {words} (pip comes by: sudo apt install python3-pip; an update "
        "makes the environment anew)"
    )
