"""Webcams and everything else that Linux shows as ``/dev/video*``, through OpenCV.

A path in ``/dev/v4l/by-id/`` is better than a number, which changes when the cable was out. Webcams without a serial
number are alike there; those in ``by-path`` differ by their socket. Some frames are dropped before each picture: a
webcam delivers those that it buffered while the arm moved, and its exposure takes some to settle. ``config`` of the
scan configuration holds OpenCV's property names without ``CAP_PROP_``, in lower case:
``{ exposure = 157, auto_exposure = 1 }``.

OpenCV reduces pixels of 10 to 16 bits to 8, and makes a picture of a JPEG that lost data on its cable. So a camera that
gives such is set to ``convert_rgb = 0``, which leaves them as they are, unless ``config`` says otherwise.
"""

from __future__ import annotations

import errno
import glob
import os
import time
from typing import TYPE_CHECKING, Any, Final

import cv2

from plantimager.timelapse.drivers.cameras import SKIP
from plantimager.timelapse.drivers.cameras.base import CameraDevice, CameraFault, Capture
from plantimager.timelapse.drivers.cameras.jpeg_file import complete_frame
from plantimager.timelapse.drivers.device_access import cure_of_refusal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from plantimager.timelapse.drivers.cameras.base import Exposure

LARGEST: Final = 10_000
"""Pixels of a side that no webcam has: its driver takes the largest size instead."""

KEPT: Final = (b"Y10 ", b"Y12 ", b"Y16 ", b"MJPG", b"JPEG")
"""Linux's names of pixel formats that are taken as they are: with more than 8 bits a pixel, or JPEGs."""

WAY_OUT: Final = "or write convert_rgb = 1 in its config, with which OpenCV paints what is missing"
"""What can be done where a webcam gives no better frames."""

MAX_STALE_FRAMES: Final = 30
"""Frames that are dropped at most because they were begun before the request; the kernel buffers four or so."""


class V4l2Camera(CameraDevice):
    """A video device, used for single frames."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        super().__init__(options)
        self._source = options["device"]
        device = f"/dev/video{self._source}" if isinstance(self._source, int) else self._source
        if device.startswith("/dev/"):
            _require_access(device)
        self._capture = cv2.VideoCapture(self._source)
        if not self._capture.isOpened():
            cure = "another program may have it (`sudo fuser` names it), or it is one of a camera's further devices"
            raise CameraFault(f"{self._source}: OpenCV can't open it; {cure}, which give no pictures")
        self._applied: dict[str, Any] = {}
        self._encoding = "jpeg"

    def trigger(self, exposure: Exposure) -> None:
        """Set the properties that have changed, drop the frames that were begun before, and take one."""
        self._encoding = exposure.encoding
        size = {"frame_width": exposure.width or LARGEST, "frame_height": exposure.height or LARGEST}
        if "fourcc" in exposure.config:  # before it is asked for
            self._apply({"fourcc": exposure.config["fourcc"]})
        is_kept = self._gives_what_is_kept()
        conversion = {"convert_rgb": int(not is_kept)} if is_kept or "convert_rgb" in self._applied else {}
        self._apply({**size, **conversion, **exposure.config})
        for _ in range(self.options.get("skip", SKIP)):
            self._capture.grab()
        began = time.clock_gettime(time.CLOCK_MONOTONIC)  # the clock by which the kernel dates frames
        for _ in range(MAX_STALE_FRAMES):
            if not self._capture.grab():
                raise CameraFault(f"{self._source}: no picture came; check the cable, and what its USB port can supply")
            if not self._is_stale(began):
                break

    def _gives_what_is_kept(self) -> bool:
        """Whether the pixel format that OpenCV has chosen is one of those that it would make worse."""
        name = int(self._capture.get(cv2.CAP_PROP_FOURCC)).to_bytes(8, "little", signed=True)[:4]
        return self._capture.getBackendName() == "V4L2" and name in KEPT

    def _is_stale(self, began: float) -> bool:
        """Whether the kernel filled the frame before ``began``; only its own interface dates frames."""
        return self._capture.getBackendName() == "V4L2" and 0 < self._capture.get(cv2.CAP_PROP_POS_MSEC) < began * 1000

    def fetch(self) -> Capture:
        """Return the frame, encoded, with what the driver reports of the properties that were set."""
        taken, frame = self._capture.retrieve()
        if not taken:
            raise CameraFault(f"{self._source}: its frame can't be decoded; check what its USB port can supply")
        reported = {name: self._capture.get(_property(name, 0.0)) for name in self._applied}
        if frame.shape[0] == 1:  # the bytes of a JPEG
            return Capture(complete_frame(frame.tobytes()), settings=reported, way_out=WAY_OUT)
        # One of 16 bits would be all white as a JPEG: it is judged as it is.
        encoding = self._encoding if frame.dtype.itemsize == 1 else "tiff"
        encoded, picture = cv2.imencode(f".{encoding}", frame)
        if not encoded:
            raise CameraFault(f"{self._source}: the picture can't be encoded as {self._encoding}")
        return Capture(picture.tobytes(), settings=reported)

    def require_answer(self) -> None:
        """Take a frame from the kernel, where it is one that dates them: others would play on."""
        if self._capture.getBackendName() == "V4L2" and not self._capture.grab():
            raise CameraFault(f"{self._source}: it doesn't answer; check the cable")

    def _apply(self, properties: Mapping[str, Any]) -> None:
        """Set what isn't set yet. Most drivers don't report whether they obeyed; the size is checked on the picture."""
        for name, value in properties.items():
            if self._applied.get(name) != value:
                self._capture.set(_property(name, value), float(value))
                self._applied[name] = value

    def close(self) -> None:
        """Release the device."""
        self._capture.release()


def _property(name: str, value: Any) -> int:
    number: int | None = getattr(cv2, f"CAP_PROP_{name.upper()}", None)
    if number is None or isinstance(value, bool | str):
        raise CameraFault(f"{name} = {value!r} is no property of OpenCV with a number", is_lasting=True)
    return number


def _require_access(device: str) -> None:
    """Raise `CameraFault` where this process can't open a device, with the cause that the kernel gives."""
    try:
        os.close(os.open(device, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC))
    except FileNotFoundError:
        seen = ", ".join(sorted(glob.glob("/dev/v4l/by-id/*") + glob.glob("/dev/v4l/by-path/*")))  # noqa: PTH207 - names for people
        cure = f"there is {seen}; of two alike only those in by-path differ" if seen else "no video device is there"
        raise CameraFault(f"{device}: it isn't there; {cure}; check the cable") from None
    except OSError as problem:
        cure = "another program has it" if problem.errno == errno.EBUSY else "unplug it and plug it in again"
        refusal = cure_of_refusal(problem.errno, "video", "camera.conf")
        raise CameraFault(f"{device}: {refusal or f'{problem.strerror}; {cure}'}") from problem


CAMERA = V4l2Camera
