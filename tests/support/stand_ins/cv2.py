"""A stand-in for OpenCV over a video device: four frames that the kernel filled before the request are buffered."""

import io
import time
from types import SimpleNamespace

from PIL import Image

CAP_PROP_POS_MSEC, CAP_PROP_FRAME_WIDTH, CAP_PROP_FRAME_HEIGHT = 0, 3, 4
BUFFERED = 4


class Frame(str):
    __slots__ = ()
    dtype = SimpleNamespace(itemsize=1)


class VideoCapture:
    def __init__(self, source):
        self._grabbed = 0
        self._opened = time.clock_gettime(time.CLOCK_MONOTONIC)

    def isOpened(self):  # noqa: N802 - its own name
        return True

    def getBackendName(self):  # noqa: N802 - its own name
        return "V4L2"

    def set(self, number, value):
        return True

    def get(self, number):
        stale = self._grabbed <= BUFFERED
        return 1000 * (self._opened if stale else time.clock_gettime(time.CLOCK_MONOTONIC))

    def grab(self):
        self._grabbed += 1
        return True

    def retrieve(self):
        return True, Frame("red" if self._grabbed <= BUFFERED else "lime")

    def release(self):
        pass


def imencode(suffix, frame):
    file = io.BytesIO()
    Image.new("RGB", (64, 48), frame).save(file, "PNG")
    return True, SimpleNamespace(tobytes=file.getvalue)
