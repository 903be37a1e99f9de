"""Webcams and everything else that Linux shows as ``/dev/video*``, through OpenCV.

A path in ``/dev/v4l/by-id/`` is better than a number, which changes when the cable was out. Some frames are dropped
before each picture: a webcam delivers those that it buffered while the arm moved, and its exposure takes some to
settle. ``config`` of the scan configuration holds OpenCV's property names without ``CAP_PROP_``, in lower case:
``{ exposure = 157, auto_exposure = 1 }``.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

import cv2

from plantimager.timelapse.drivers.cameras import SKIP
from plantimager.timelapse.drivers.cameras.base import CameraDevice, CameraFault

if TYPE_CHECKING:
    from collections.abc import Mapping

    from plantimager.timelapse.drivers.cameras.base import Exposure

SUFFIXES: Final = {"jpeg": ".jpg", "png": ".png", "tiff": ".tif"}


class V4l2Camera(CameraDevice):
    """A video device, used for single frames."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        super().__init__(options)
        self._source = options["device"]
        if isinstance(self._source, str) and self._source.startswith("/dev/") and not os.access(self._source, os.R_OK):
            there = os.path.exists(self._source)  # noqa: PTH110 - os.access stands beside it
            cure = (
                "this user may not open it; add them to the group video" if there else "it isn't there; check the cable"
            )
            raise CameraFault(f"{self._source}: {cure}")
        self._capture = cv2.VideoCapture(self._source)
        if not self._capture.isOpened():
            raise CameraFault(f"{self._source}: OpenCV can't open it; does another program have it?")
        self._applied: dict[str, Any] = {}

    def expose(self, exposure: Exposure) -> bytes:
        """Set the properties that have changed, drop the buffered frames, and take one."""
        wanted = {**exposure.config, "frame_width": exposure.width, "frame_height": exposure.height}
        for name, value in wanted.items():
            if self._applied.get(name) != value:
                self._set(name, value)
        for _ in range(self.options.get("skip", SKIP)):
            self._capture.grab()
        taken, frame = self._capture.read()
        if not taken:
            raise CameraFault(f"{self._source}: no picture came; check the cable, and what its USB port can supply")
        encoded, picture = cv2.imencode(SUFFIXES[exposure.encoding], frame)
        if not encoded:
            raise CameraFault(f"{self._source}: the picture can't be encoded as {exposure.encoding}")
        return picture.tobytes()

    def _set(self, name: str, value: Any) -> None:
        number = getattr(cv2, f"CAP_PROP_{name.upper()}", None)
        if number is None or isinstance(value, bool | str):
            raise CameraFault(f"{name} = {value!r} is no property of OpenCV with a number")
        # Most drivers don't report whether they obeyed; the size is checked on the picture.
        self._capture.set(number, float(value))
        self._applied[name] = value

    def close(self) -> None:
        """Release the device."""
        self._capture.release()


CAMERA = V4l2Camera
