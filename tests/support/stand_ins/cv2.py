"""A stand-in for OpenCV over a video device: four frames that the kernel filled before the request are buffered.

A device with Y16 in its name, or that is set to it, has pixels of 16 bits, of which OpenCV gives the upper 8, unless it
is told not to. One that is set to MJPG has JPEGs, which it decodes unless it is told not to, and the first of which has
lost the end of its data. Of other pixels it then gives nothing.
"""

import io
import time
from types import SimpleNamespace

from PIL import Image

CAP_PROP_POS_MSEC, CAP_PROP_FRAME_WIDTH, CAP_PROP_FRAME_HEIGHT, CAP_PROP_FOURCC, CAP_PROP_CONVERT_RGB = 0, 3, 4, 6, 16
BUFFERED = 4
DEEP = 0x1234


class Frame(str):
    __slots__ = ()

    @property
    def dtype(self):
        return SimpleNamespace(itemsize=2 if self == "deep" else 1)

    @property
    def shape(self):
        return (48, 64)


class JpegFrame(bytes):
    __slots__ = ()
    dtype = SimpleNamespace(itemsize=1)

    @property
    def shape(self):
        return (1, len(self))

    def tobytes(self):
        return bytes(self)


def jpeg_without_tables():
    file = io.BytesIO()
    Image.linear_gradient("L").resize((64, 48)).save(file, "JPEG")
    jpeg = file.getvalue()
    while (at := jpeg.find(b"\xff\xc4")) >= 0:
        jpeg = jpeg[:at] + jpeg[at + 2 + int.from_bytes(jpeg[at + 2 : at + 4], "big") :]
    return jpeg


class VideoCapture:
    def __init__(self, source):
        self._grabbed, self._format, self._converts = 0, b"Y16 " if "Y16" in source else b"YUYV", True
        self._damaged = 1
        self._opened = time.clock_gettime(time.CLOCK_MONOTONIC)

    def isOpened(self):  # noqa: N802 - its own name
        return True

    def getBackendName(self):  # noqa: N802 - its own name
        return "V4L2"

    def set(self, number, value):
        if number == CAP_PROP_CONVERT_RGB:
            self._converts = bool(value)
        if number == CAP_PROP_FOURCC:
            self._format = int(value).to_bytes(4, "little")
        return True

    def get(self, number):
        if number == CAP_PROP_FOURCC:
            return float(int.from_bytes(self._format, "little"))
        stale = self._grabbed <= BUFFERED
        return 1000 * (self._opened if stale else time.clock_gettime(time.CLOCK_MONOTONIC))

    def grab(self):
        self._grabbed += 1
        return True

    def retrieve(self):
        if not self._converts and self._format == b"MJPG":
            jpeg, self._damaged = jpeg_without_tables(), self._damaged - 1
            return True, JpegFrame(jpeg if self._damaged < 0 else jpeg[:-60] + b"\xff\xd9")
        if not self._converts:
            return self._format == b"Y16 ", Frame("deep")
        return True, Frame("red" if self._grabbed <= BUFFERED else "lime")

    def release(self):
        pass


def imencode(suffix, frame):
    file = io.BytesIO()
    if frame == "deep":
        Image.new("I;16", (64, 48), DEEP).save(file, "TIFF")
    else:
        Image.new("RGB", (64, 48), frame).save(file, "PNG")
    return True, SimpleNamespace(tobytes=file.getvalue)
