"""A stand-in for picamera2 in a camera's process: frames are green, except those that must not be used.

The first after a start are black: exposure and white balance have not settled. A frame that began before the request
is red. A request that isn't released keeps the only buffer. With the variable ``PICAMERA2_FAULT`` no camera opens, and
the error has that text; it is an IndexError where the text is of a list.
"""

import os

from PIL import Image

UNSETTLED = 3


class Picamera2:
    sensor_resolution = (4056, 3040)

    def __init__(self, number):
        if fault := os.environ.get("PICAMERA2_FAULT"):
            raise (IndexError if "list" in fault else RuntimeError)(fault)
        self._frames = self._held = 0

    def create_still_configuration(self, *, main, controls):
        return {"main": main, "controls": controls}

    def configure(self, configuration):
        self.size = configuration["main"]["size"]

    def start(self):
        self._frames = 0

    def stop(self):
        pass

    def close(self):
        pass

    def capture_metadata(self):
        self.capture_request().release()
        return {}

    def capture_request(self, *, flush=None):
        if self._held:
            raise RuntimeError("no buffer is free")
        self._held += 1
        self._frames += 1
        colour = "black" if self._frames <= UNSETTLED else "lime" if flush else "red"
        return _Request(self, colour)

    def capture_file(self, file, *, format):  # noqa: A002 - its own name
        request = self.capture_request()
        request.save("main", file, format=format)
        request.release()


class _Request:
    def __init__(self, camera, colour):
        self._camera, self._colour = camera, colour

    def save(self, name, file, *, format):  # noqa: A002 - its own name
        Image.new("RGB", self._camera.size, self._colour).save(file, format)

    def get_metadata(self):
        return {"ExposureTime": 9998, "AnalogueGain": 1.0, "SensorTimestamp": 1}

    def release(self):
        self._camera._held -= 1
