"""Still cameras on USB, through libgphoto2.

The options ``port``, ``model`` and ``serial`` choose among several cameras; without any, there has to be only one.
``config`` of the scan configuration holds libgphoto2's own settings, by the names of ``gphoto2 --list-config``.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Final

import gphoto2

from plantimager.timelapse.drivers.cameras.base import CameraDevice, CameraFault, Capture, explain_refusal
from plantimager.timelapse.drivers.cameras.pictures import is_meant_as_raw

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from plantimager.timelapse.drivers.cameras.base import Exposure

CURES: Final = {
    gphoto2.GP_ERROR_IO_USB_CLAIM: "another program has it; systemctl --user mask gvfs-gphoto2-volume-monitor",
    gphoto2.GP_ERROR_IO_USB_FIND: "it isn't on USB any more; check cable and battery, and that it never sleeps",
    gphoto2.GP_ERROR_MODEL_NOT_FOUND: "no camera was found; is it switched on, and not asleep?",
    gphoto2.GP_ERROR_IO: "it doesn't answer on USB; switch it off and on",
    gphoto2.GP_ERROR_IO_LOCK: "another program has locked it; end that",
    gphoto2.GP_ERROR_CAMERA_BUSY: "it is busy; is its dial on a mode that lets it be controlled, and its memory free?",
    gphoto2.GP_ERROR_NO_SPACE: "its card is full; empty it",
    gphoto2.GP_ERROR_NO_MEMORY: "its memory is full, or its library's; it is opened again",
    gphoto2.GP_ERROR_TIMEOUT: "it didn't answer in time; is it asleep, or does it find no focus?",
    gphoto2.GP_ERROR: "it refused; see its own screen: focus (set it to manual), card, battery, its dial",
    gphoto2.GP_ERROR_BAD_PARAMETERS: "it has no such setting; `gphoto2 --list-config` names those that it has",
    gphoto2.GP_ERROR_CAMERA_ERROR: "it reports a fault; see its own screen: focus, card, battery",
}

USB_DEVICE: Final = "/dev/bus/usb/{}/{}"

FURTHER_FILES: Final = 100
"""Milliseconds without an event, after which the camera has no further file of the same exposure."""

SECOND_FILE: Final = 3_000
"""The same, where it is set to make two: it may need so long to write the second one to its card."""

QUALITY: Final = ("imagequality", "imageformat")
"""The settings that say whether it makes two: ``NEF+Fine``, ``RAW + Large Fine JPEG``."""

MAX_EVENTS: Final = 50
"""Events of one exposure that are read at most."""

REPORTED: Final = ("iso", "shutterspeed", "f-number", "aperture", "whitebalance", "focallength", "batterylevel")
"""Settings that are kept with every picture, beside those that the definition sets; not every camera has them all."""

_SERIAL: Final = "serialnumber"


class Gphoto2Camera(CameraDevice):
    """A camera that libgphoto2 supports."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        super().__init__(options)
        self._applied: dict[str, Any] = {}
        self._absent: set[str] = set()
        """Settings that it doesn't have."""
        self._files: list[tuple[str, str]] = []
        """Folder and name of those of the last exposure."""
        with _translate_errors("it can't be opened"):
            self._camera = self._find()

    def _find(self) -> Any:
        """Return the camera that the options choose, initialised."""
        ports = gphoto2.PortInfoList()
        ports.load()
        abilities = gphoto2.CameraAbilitiesList()
        abilities.load()
        found = abilities.detect(ports)
        there = [(found.get_name(i), found.get_value(i)) for i in range(len(found))]
        chosen = [
            (model, port)
            for model, port in there
            if self.options.get("port", port) == port and self.options.get("model", model) == model
        ]
        serial = self.options.get("serial")
        problem: Exception | None = None
        for model, port in chosen if serial or len(chosen) == 1 else ():
            camera = gphoto2.Camera()
            camera.set_port_info(ports[ports.lookup_path(port)])
            camera.set_abilities(abilities[abilities.lookup_model(model)])
            try:
                camera.init()
                # Not every camera has a serial number.
                if serial is None or serial == camera.get_single_config(_SERIAL).get_value():
                    return camera
            except gphoto2.GPhoto2Error as error:  # maybe by another camera of this rig: the right one may be next
                refusal = explain_refusal([_device(port)], "plugdev", "usb-camera.conf")
                problem = CameraFault(f"it can't be opened: {refusal}") if refusal else error
            with contextlib.suppress(gphoto2.GPhoto2Error):
                camera.exit()
        if problem is not None:
            raise problem
        seen = ", ".join(f"{model} at {port}" for model, port in there)
        if len(chosen) > 1 and not serial:
            raise CameraFault(f"there are {seen}; choose one by its serial, by its model, or by its port")
        raise CameraFault(f"not found; there is {seen or 'none at all: is it switched on, and not asleep?'}")

    def trigger(self, exposure: Exposure) -> None:
        """Set the settings that have changed, and release the shutter."""
        for name, value in exposure.config.items():
            if self._applied.get(name) != value:
                self._set(name, value)
        with _translate_errors("the picture was not taken"):
            for _ in self._events(0):  # a file that was announced late is the picture before
                pass
            where = self._camera.capture(gphoto2.GP_CAPTURE_IMAGE)
        self._files = [(where.folder, where.name)]

    def fetch(self) -> Capture:
        """Fetch all files of the exposure: a camera set to RAW+JPEG makes two, and may announce either one first."""
        with _translate_errors("the picture can't be fetched"):
            makes_two = any("+" in str(self._get(name)) for name in QUALITY)
            for kind, file in self._events(SECOND_FILE if makes_two else FURTHER_FILES):
                if kind == gphoto2.GP_EVENT_FILE_ADDED and (file.folder, file.name) not in self._files:
                    self._files.append((file.folder, file.name))
                    if makes_two:
                        break
            contents = {}
            for place in self._files:
                file = self._camera.file_get(*place, gphoto2.GP_FILE_TYPE_NORMAL)
                contents[place] = bytes(file.get_data_and_size())
        raws: dict[str, tuple[str, str]] = {}
        pictures = []
        for place, content in contents.items():
            extension = place[1].rpartition(".")[2].lower()
            if is_meant_as_raw(content, extension):
                raws.setdefault(extension, place)
            else:
                pictures.append(place)
        picture = pictures[0] if pictures else next(iter(raws.values()))
        beside = raws if pictures else {}
        reported = {name: self._get(name) for name in (*REPORTED, *self._applied)}
        return Capture(
            contents[picture],
            {extension: contents[place] for extension, place in beside.items()},
            {name: value for name, value in reported.items() if value is not None},
            on_camera=[picture, *beside.values()],
        )

    def discard(self, files: Iterable[tuple[str, str]]) -> None:
        """Delete from the card what `fetch` returned; a bracket's further files have no copy, and stay there."""
        for folder, name in files:
            with contextlib.suppress(gphoto2.GPhoto2Error):  # it may be in the camera's memory only
                self._camera.file_delete(folder, name)

    def require_answer(self) -> None:
        """Ask for the camera's summary, which a sleeping one doesn't give."""
        with _translate_errors("it doesn't answer"):
            self._camera.get_summary()

    def _events(self, milliseconds: int) -> Iterator[tuple[int, Any]]:
        """Yield the camera's events, until there was none for so long."""
        for _ in range(MAX_EVENTS):
            kind, data = self._camera.wait_for_event(milliseconds)
            if kind == gphoto2.GP_EVENT_TIMEOUT:
                return
            yield kind, data

    def _get(self, name: str) -> Any:
        """Return a setting as the camera reports it, None where it has no such setting."""
        try:
            return None if name in self._absent else self._camera.get_single_config(name).get_value()
        except gphoto2.GPhoto2Error as problem:
            if problem.code == gphoto2.GP_ERROR_BAD_PARAMETERS:
                self._absent.add(name)
            return None

    def _set(self, name: str, value: Any) -> None:
        with _translate_errors(f"{name} can't be set to {value!r}"):
            widget = self._camera.get_single_config(name)
            kind = widget.get_type()
            if kind in (gphoto2.GP_WIDGET_RADIO, gphoto2.GP_WIDGET_MENU):
                choices = list(widget.get_choices())
                if str(value) not in choices:
                    problem = f"{name} can't be set to {value!r}; it knows {', '.join(choices)}"
                    raise CameraFault(problem, is_lasting=True)
            if widget.get_readonly():
                problem = f"{name} can't be set on this camera, it says {widget.get_value()!r}"
                raise CameraFault(problem, is_lasting=True)
            if kind == gphoto2.GP_WIDGET_RANGE:
                widget.set_value(float(value))
            elif kind in (gphoto2.GP_WIDGET_TOGGLE, gphoto2.GP_WIDGET_DATE):
                widget.set_value(int(value))
            else:
                widget.set_value(str(value))
            self._camera.set_single_config(name, widget)
        self._applied[name] = value

    def close(self) -> None:
        """Release the camera for other programs."""
        with contextlib.suppress(gphoto2.GPhoto2Error):
            self._camera.exit()


def _device(port: str) -> str:
    """Return the device of a port such as ``usb:001,004``."""
    return USB_DEVICE.format(*port.removeprefix("usb:").split(",")) if port.startswith("usb:") else port


@contextlib.contextmanager
def _translate_errors(what: str) -> Iterator[None]:
    """Raise `CameraFault` for an error of libgphoto2; ``what`` is what failed, for a person."""
    try:
        yield
    except gphoto2.GPhoto2Error as problem:
        is_lasting = problem.code == gphoto2.GP_ERROR_BAD_PARAMETERS
        raise CameraFault(f"{what}: {CURES.get(problem.code, problem.string)}", is_lasting=is_lasting) from problem
    except ValueError as problem:
        raise CameraFault(f"{what}: {problem}", is_lasting=True) from problem


CAMERA = Gphoto2Camera
