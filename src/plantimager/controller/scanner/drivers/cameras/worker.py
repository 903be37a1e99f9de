"""The process in which a camera lives: ``python -m …cameras.worker KIND OPTIONS``, started by `process.CameraProcess`.

First it says whether the camera is open; then each line on stdin asks for an exposure. Every answer is a line of
JSON, ``{"length": N}`` or ``{"fault": "…"}``, and N bytes of picture. The end of stdin is the end of the daemon, and
so of this process, even in the middle of an exposure.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import threading
from queue import SimpleQueue
from typing import BinaryIO

from plantimager.controller.scanner.drivers import how_to_install
from plantimager.controller.scanner.drivers.cameras.base import Camera, CameraFault, Exposure
from plantimager.controller.scanner.drivers.cameras.pictures import fit

PACKAGE = "plantimager.controller.scanner.drivers.cameras"


def main(kind: str, options: str) -> None:
    """Serve one camera until stdin ends."""
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not get between the answers
    asked: SimpleQueue[Exposure] = SimpleQueue()
    threading.Thread(target=_listen, args=(asked,), daemon=True).start()
    try:
        camera = _open(kind, json.loads(options))
    except CameraFault as fault:
        _answer(out, fault=str(fault))
        return
    _answer(out)
    while True:
        exposure = asked.get()
        try:
            picture = fit(camera.expose(exposure), exposure)
        except CameraFault as fault:
            _answer(out, fault=str(fault))
        else:
            _answer(out, picture)


def _open(kind: str, options: dict[str, object]) -> Camera:
    try:
        camera_class = importlib.import_module(f"{PACKAGE}.{kind}").CAMERA
    except ImportError as missing:
        problem = f"can't be used without its library ({missing}); {how_to_install(kind)}"
        raise CameraFault(problem) from missing
    camera: Camera = camera_class(options)
    return camera


def _listen(asked: SimpleQueue[Exposure]) -> None:
    for line in sys.stdin.buffer:
        asked.put(Exposure(**json.loads(line)))
    os._exit(0)  # the camera's thread may hang


def _answer(out: BinaryIO, picture: bytes = b"", fault: str | None = None) -> None:
    head = {"length": len(picture)} if fault is None else {"fault": fault}
    out.write(json.dumps(head).encode() + b"\n" + picture)
    out.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
    os._exit(0)  # the thread that reads stdin holds a lock that Python's own way out waits for
