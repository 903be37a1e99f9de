"""The process in which a camera lives: ``python -m …cameras.worker KIND OPTIONS``, started by `process.CameraProcess`.

First it says whether the camera is open; then each line on stdin asks for an exposure. Every answer is a line of
JSON, ``{"length": N}`` or ``{"fault": "…"}``, and N bytes of picture. At the end of stdin the camera is of no more use,
or the daemon is gone: an exposure is cut short, the camera closed, and the process ends within `LEAVE`, also if
the camera hangs.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import sys
import threading
from queue import SimpleQueue
from typing import TYPE_CHECKING, BinaryIO

from plantimager.timelapse.drivers import install_hint
from plantimager.timelapse.drivers.cameras.base import LEAVE, Camera, CameraFault, Exposure
from plantimager.timelapse.drivers.cameras.pictures import fit

if TYPE_CHECKING:
    from collections.abc import Sequence

PACKAGE = "plantimager.timelapse.drivers.cameras"


def main(kind: str, options: str) -> None:
    """Serve one camera until stdin ends."""
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not get between the answers
    asked: SimpleQueue[Exposure | None] = SimpleQueue()
    opened: list[Camera] = []
    threading.Thread(target=_listen, args=(asked, opened), daemon=True).start()
    with contextlib.suppress(BrokenPipeError):  # nobody waits for the answer any more
        try:
            opened.append(_open(kind, json.loads(options)))
        except CameraFault as fault:
            _answer(out, fault=str(fault))
        else:
            _serve(opened[0], asked, out)
    for camera in opened:
        camera.close()


def _serve(camera: Camera, asked: SimpleQueue[Exposure | None], out: BinaryIO) -> None:
    _answer(out)
    while (exposure := asked.get()) is not None:
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
        problem = f"can't be used without its library ({missing}); {install_hint(kind)}"
        raise CameraFault(problem) from missing
    camera: Camera = camera_class(options)
    return camera


def _listen(asked: SimpleQueue[Exposure | None], opened: Sequence[Camera]) -> None:
    for line in sys.stdin.buffer:
        asked.put(Exposure(**json.loads(line)))
    asked.put(None)
    for camera in opened:
        camera.stop()
    threading.Event().wait(LEAVE.total_seconds())
    os._exit(1)  # the camera's thread hangs


def _answer(out: BinaryIO, picture: bytes = b"", fault: str | None = None) -> None:
    head = {"length": len(picture)} if fault is None else {"fault": fault}
    out.write(json.dumps(head).encode() + b"\n" + picture)
    out.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
    os._exit(0)  # the thread that reads stdin holds a lock that Python's own way out waits for
