"""The Raspberry Pi's own cameras, through picamera2.

Written to picamera2's documentation and NOT tested on hardware: library and camera need a Raspberry Pi. Install it
with ``apt install python3-picamera2``, and make the service's environment with ``--system-site-packages``: it needs the
libcamera of the same system.

``config`` of the scan configuration holds libcamera's controls:
``{ ExposureTime = 10000, AnalogueGain = 1.0, AwbEnable = false }``.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, Final

from picamera2 import Picamera2

from plantimager.timelapse.drivers.cameras.base import CameraDevice, CameraFault

if TYPE_CHECKING:
    from collections.abc import Mapping

    from plantimager.timelapse.drivers.cameras.base import Exposure

SETTLING_FRAMES: Final = 5
"""Frames that are dropped after a start, until exposure and white balance have settled."""


class PiCamera(CameraDevice):
    """A camera on the Raspberry Pi's ribbon cable; untested on hardware."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        super().__init__(options)
        number = options.get("number", 0)
        try:
            self._camera = Picamera2(number)
        except (IndexError, RuntimeError) as problem:
            cure = "check its ribbon cable, and that `rpicam-hello --list-cameras` shows it"
            raise CameraFault(f"camera {number} can't be opened ({problem}); {cure}") from problem
        self._configured: tuple[Any, ...] | None = None

    def expose(self, exposure: Exposure) -> bytes:
        """Take a still at full quality. The camera runs on between two stills, so that its exposure stays settled.

        So there are frames that were begun while the arm moved: ``flush`` drops them.
        """
        self._configure(exposure)
        file = io.BytesIO()
        try:
            request = self._camera.capture_request(flush=True)
            try:
                request.save("main", file, format="jpeg" if exposure.encoding == "jpeg" else "png")
            finally:
                request.release()
        except RuntimeError as problem:
            raise CameraFault(f"no picture came: {problem}") from problem
        return file.getvalue()

    def _configure(self, exposure: Exposure) -> None:
        wanted = (exposure.width, exposure.height, dict(exposure.config))
        if wanted == self._configured:
            return
        try:
            if self._configured is not None:
                self._camera.stop()
            size = (exposure.width, exposure.height)
            still = self._camera.create_still_configuration(main={"size": size}, controls=dict(exposure.config))
            self._camera.configure(still)
            self._camera.start()
            for _ in range(SETTLING_FRAMES):
                self._camera.capture_metadata()
        except (RuntimeError, ValueError, KeyError) as problem:
            raise CameraFault(f"it can't be set to {wanted[0]} × {wanted[1]} with {wanted[2]}: {problem}") from problem
        self._configured = wanted

    def close(self) -> None:
        """Stop and release the camera."""
        self._camera.close()


CAMERA = PiCamera
