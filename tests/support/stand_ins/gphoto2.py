"""A stand-in for gphoto2 in a camera's process: several cameras, each of which only one program may open.

They are files in the directory ``CAMERAS``: the name is the port, and the content the serial number, empty where the
camera doesn't report it. A camera is in use while ``PORT.taken`` exists, even if its program was killed. If the
directory has a file ``hang``, an exposure makes ``hangs`` and never ends. With the variable ``PICTURE`` every exposure
gives that file, after ``SHUTTER`` seconds for the exposure and ``TRANSFER`` seconds for its transfer. With ``CHECK`` a
sleep of so many seconds is its check.
"""

import os
import threading
import time
from pathlib import Path
from types import SimpleNamespace

from plantimager.timelapse.drivers.cameras import jpeg_file

GP_ERROR_IO, GP_ERROR_IO_USB_FIND, GP_ERROR_IO_USB_CLAIM, GP_ERROR_IO_LOCK = -7, -52, -53, -60
GP_ERROR_MODEL_NOT_FOUND, GP_ERROR_CAMERA_BUSY, GP_ERROR_NO_SPACE = -105, -110, -115
GP_ERROR, GP_ERROR_BAD_PARAMETERS, GP_ERROR_NO_MEMORY = -1, -2, -3
GP_ERROR_TIMEOUT, GP_ERROR_CAMERA_ERROR = -10, -113
GP_CAPTURE_IMAGE = GP_FILE_TYPE_NORMAL = GP_EVENT_TIMEOUT = 1
GP_EVENT_FILE_ADDED = 2

CAMERAS = Path(os.environ["CAMERAS"])

if "CHECK" in os.environ:
    jpeg_file.require_whole = lambda _: time.sleep(float(os.environ["CHECK"]))


class GPhoto2Error(Exception):
    def __init__(self, code):
        super().__init__(code)
        self.code, self.string = code, f"error {code}"


class PortInfoList:
    def load(self):
        pass

    def lookup_path(self, port):
        return port

    def __getitem__(self, port):
        return port


class CameraAbilitiesList:
    def load(self):
        pass

    def detect(self, ports):
        return _Found(path.name for path in sorted(CAMERAS.glob("usb*")) if not path.suffix)

    def lookup_model(self, model):
        return model

    def __getitem__(self, model):
        return model


class _Found(list):
    def get_name(self, index):
        return "Canon EOS 1100D"

    def get_value(self, index):
        return self[index]


class _Widget:
    def __init__(self, value):
        self._value = value

    def get_value(self):
        return self._value


class Camera:
    def set_port_info(self, port):
        self._path = CAMERAS / port

    def set_abilities(self, model):
        pass

    def init(self):
        try:
            self._path.with_suffix(".taken").touch(exist_ok=False)
        except FileExistsError:
            raise GPhoto2Error(GP_ERROR_IO_USB_CLAIM) from None
        self._taken = True

    def exit(self):
        if getattr(self, "_taken", False):
            self._path.with_suffix(".taken").unlink()

    def get_single_config(self, name):
        serial = self._path.read_text()
        if not serial:
            raise GPhoto2Error(GP_ERROR_IO)
        return _Widget(serial)

    def get_summary(self):
        return "a stand-in"

    def wait_for_event(self, milliseconds):
        return GP_EVENT_TIMEOUT, None

    def capture(self, kind):
        if (CAMERAS / "hang").exists():
            (CAMERAS / "hangs").touch()
            threading.Event().wait()
        if "PICTURE" not in os.environ:
            raise GPhoto2Error(GP_ERROR_IO)
        time.sleep(float(os.environ["SHUTTER"]))
        return SimpleNamespace(folder="/", name="capt0000.jpg")

    def file_get(self, folder, name, kind):
        time.sleep(float(os.environ["TRANSFER"]))
        return SimpleNamespace(get_data_and_size=Path(os.environ["PICTURE"]).read_bytes)

    def file_delete(self, folder, name):
        pass
