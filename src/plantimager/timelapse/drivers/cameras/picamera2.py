"""The Raspberry Pi's own cameras, through picamera2.

Written to picamera2's documentation and NOT tested on hardware: library and camera need a Raspberry Pi. The library
comes with Raspberry Pi OS (``apt install python3-picamera2``), because it needs the libcamera of the same system.

``config`` of the scan configuration holds libcamera's controls:
``{ ExposureTime = 10000, AnalogueGain = 1.0, AwbEnable = false }``.
"""

from __future__ import annotations

import contextlib
import glob
import io
from typing import TYPE_CHECKING, Any, Final

from picamera2 import Picamera2

from plantimager.timelapse.drivers.cameras.base import CameraDevice, CameraFault, Capture, explain_refusal

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from plantimager.timelapse.drivers.cameras.base import Exposure

SETTLING_FRAMES: Final = 5
"""Frames that are dropped after a start, until exposure and white balance have settled."""

REPORTED: Final = ("ExposureTime", "AnalogueGain", "DigitalGain", "ColourGains", "ColourTemperature", "LensPosition")
"""Controls that are kept with every picture, beside those that the definition sets."""


class PiCamera(CameraDevice):
    """A camera on the Raspberry Pi's ribbon cable; untested on hardware."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        super().__init__(options)
        self._camera = _open(options.get("number", 0))
        self._configured: tuple[Any, ...] | None = None
        self._encoding = "jpeg"
        self._request: Any = None

    def trigger(self, exposure: Exposure) -> None:
        """Wait for the next frame at full quality. The camera runs on between two, so that its exposure stays settled.

        So there are frames that were begun while the arm moved: ``flush`` drops them.
        """
        self._release()
        self._configure(exposure)
        self._encoding = exposure.encoding
        with _translate_errors("no picture came"):
            self._request = self._camera.capture_request(flush=True)

    def fetch(self) -> Capture:
        """Return the frame, encoded, with what libcamera reports of it."""
        file = io.BytesIO()
        try:
            with _translate_errors("the picture can't be encoded"):
                self._request.save("main", file, format="jpeg" if self._encoding == "jpeg" else "png")
                reported = self._request.get_metadata()
        finally:
            self._release()
        wanted = {*REPORTED, *(self._configured or ((), (), ()))[2]}
        return Capture(file.getvalue(), settings={name: at for name, at in reported.items() if name in wanted})

    def require_answer(self) -> None:
        """Wait for a frame, where the camera runs."""
        if self._configured is not None:
            with _translate_errors("it doesn't answer"):
                self._camera.capture_metadata()

    def _release(self) -> None:
        if self._request is not None:
            self._request.release()
            self._request = None

    def _configure(self, exposure: Exposure) -> None:
        full_width, full_height = self._camera.sensor_resolution
        size = (exposure.width or full_width, exposure.height or full_height)
        wanted = (*size, dict(exposure.config))
        if wanted == self._configured:
            return
        try:
            if self._configured is not None:
                self._camera.stop()
            self._configured = None
            still = self._camera.create_still_configuration(main={"size": size}, controls=dict(exposure.config))
            self._camera.configure(still)
            self._camera.start()
            for _ in range(SETTLING_FRAMES):
                self._camera.capture_metadata()
        except (RuntimeError, ValueError, KeyError) as problem:
            what = f"it can't be set to {size[0]} × {size[1]} with {wanted[2]}: {problem}"
            raise CameraFault(what, is_lasting=not isinstance(problem, RuntimeError)) from problem
        self._configured = wanted

    def close(self) -> None:
        """Stop and release the camera."""
        self._release()
        self._camera.close()


def _open(number: int) -> Any:
    try:
        return Picamera2(number)
    except (IndexError, RuntimeError) as problem:
        said = " ".join(str(problem).split())
        devices = [*glob.glob("/dev/media*"), *glob.glob("/dev/dma_heap/*")]  # noqa: PTH207 - for os.open
        refusal = explain_refusal(devices, "video", "camera.conf")
        if refusal is not None:
            cure = refusal
        elif isinstance(problem, IndexError):
            cure = "check its ribbon cable and its number: `rpicam-hello --list-cameras` shows those that there are"
        elif "busy" in said.lower() or "acquire" in said.lower() or "did not complete" in said:
            cure = "another program has it (`sudo fuser /dev/media* /dev/video*` names it); end that"
        else:
            cure = "see what `rpicam-hello --list-cameras` says, and `journalctl -k -g imx`"
        raise CameraFault(f"camera {number} can't be opened ({said}); {cure}") from problem


@contextlib.contextmanager
def _translate_errors(what: str) -> Iterator[None]:
    try:
        yield
    except RuntimeError as problem:
        raise CameraFault(f"{what}: {problem}") from problem


CAMERA = PiCamera
