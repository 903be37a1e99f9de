"""Still cameras on USB, through libgphoto2.

The options ``port``, ``model`` and ``serial`` choose among several cameras; without any, there has to be only one.
``config`` of the scan configuration holds libgphoto2's own settings, by the names of ``gphoto2 --list-config``.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Final

import gphoto2

from plantimager.timelapse.drivers.cameras.base import CameraDevice, CameraFault

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from plantimager.timelapse.drivers.cameras.base import Exposure

CURES: Final = {
    gphoto2.GP_ERROR_IO_USB_CLAIM: "another program has it; systemctl --user mask gvfs-gphoto2-volume-monitor",
    gphoto2.GP_ERROR_IO_USB_FIND: "it isn't on USB any more; check the cable and its battery",
    gphoto2.GP_ERROR_MODEL_NOT_FOUND: "no camera was found; is it switched on, and not asleep?",
    gphoto2.GP_ERROR_IO: "it doesn't answer on USB; switch it off and on",
    gphoto2.GP_ERROR_IO_LOCK: "this user may not open it; see systemd/examples/usb-camera.conf",
    gphoto2.GP_ERROR_CAMERA_BUSY: "it is busy; is its dial on a mode that lets it be controlled?",
}

_SERIAL: Final = "serialnumber"


class Gphoto2Camera(CameraDevice):
    """A camera that libgphoto2 supports."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        super().__init__(options)
        self._applied: dict[str, Any] = {}
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
                problem = error
            with contextlib.suppress(gphoto2.GPhoto2Error):
                camera.exit()
        if problem is not None:
            raise problem
        seen = ", ".join(f"{model} at {port}" for model, port in there)
        if len(chosen) > 1 and not serial:
            raise CameraFault(f"there are {seen}; choose one with port, model or serial")
        raise CameraFault(f"not found; there is {seen or 'none at all: is it switched on, and not asleep?'}")

    def expose(self, exposure: Exposure) -> bytes:
        """Set the settings that have changed, release the shutter, fetch the picture and delete it from the card."""
        for name, value in exposure.config.items():
            if self._applied.get(name) != value:
                self._set(name, value)
        with _translate_errors("the picture was not taken"):
            where = self._camera.capture(gphoto2.GP_CAPTURE_IMAGE)
            file = self._camera.file_get(where.folder, where.name, gphoto2.GP_FILE_TYPE_NORMAL)
            picture = bytes(file.get_data_and_size())
        with contextlib.suppress(gphoto2.GPhoto2Error):  # it may be in the camera's memory only
            self._camera.file_delete(where.folder, where.name)
        return picture

    def _set(self, name: str, value: Any) -> None:
        with _translate_errors(f"{name} can't be set to {value!r}"):
            widget = self._camera.get_single_config(name)
            kind = widget.get_type()
            if kind in (gphoto2.GP_WIDGET_RADIO, gphoto2.GP_WIDGET_MENU):
                choices = list(widget.get_choices())
                if str(value) not in choices:
                    raise CameraFault(f"{name} can't be set to {value!r}; it knows {', '.join(choices)}")
            if widget.get_readonly():
                raise CameraFault(f"{name} can't be set on this camera, it says {widget.get_value()!r}")
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


@contextlib.contextmanager
def _translate_errors(what: str) -> Iterator[None]:
    """Raise `CameraFault` for an error of libgphoto2; ``what`` is what failed, for a person."""
    try:
        yield
    except gphoto2.GPhoto2Error as problem:
        raise CameraFault(f"{what}: {CURES.get(problem.code, problem.string)}") from problem
    except ValueError as problem:
        raise CameraFault(f"{what}: {problem}") from problem


CAMERA = Gphoto2Camera
