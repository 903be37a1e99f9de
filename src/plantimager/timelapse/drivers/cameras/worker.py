"""The process of a camera: ``python -m …cameras.worker KIND OPTIONS``, started by `process.CameraProcess`.

The first answer says whether the camera is open; then each line on stdin asks for an exposure. Every answer is a line
of JSON, ``{"length": N}`` or ``{"fault": "…"}``, and N bytes of picture. The end of stdin means that the camera isn't
needed any more, or that the daemon was killed: the exposure is interrupted, the camera closed, and the process ends
within `CLOSE_TIMEOUT`, even if the camera hangs.
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
from plantimager.timelapse.drivers.cameras.base import CLOSE_TIMEOUT, CameraDevice, CameraFault, Exposure
from plantimager.timelapse.drivers.cameras.pictures import fit

if TYPE_CHECKING:
    from collections.abc import Sequence

PACKAGE = "plantimager.timelapse.drivers.cameras"


def main(kind: str, options: str) -> None:
    """Serve one camera until stdin ends."""
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # so that the output of a library doesn't get between the answers
    requests: SimpleQueue[Exposure | None] = SimpleQueue()
    opened: list[CameraDevice] = []
    threading.Thread(target=_listen, args=(requests, opened), daemon=True).start()
    with contextlib.suppress(BrokenPipeError):  # the daemon was killed
        try:
            opened.append(_open(kind, json.loads(options)))
        except CameraFault as fault:
            _answer(out, fault=str(fault))
        else:
            _serve(opened[0], requests, out)
    for camera in opened:
        camera.close()


def _serve(camera: CameraDevice, requests: SimpleQueue[Exposure | None], out: BinaryIO) -> None:
    _answer(out)
    while (exposure := requests.get()) is not None:
        try:
            picture = fit(camera.expose(exposure), exposure)
        except CameraFault as fault:
            _answer(out, fault=str(fault))
        else:
            _answer(out, picture)


def _open(kind: str, options: dict[str, object]) -> CameraDevice:
    try:
        camera_class = importlib.import_module(f"{PACKAGE}.{kind}").CAMERA
    except ImportError as missing:
        problem = f"can't be used without its library ({missing}); {install_hint(kind)}"
        raise CameraFault(problem) from missing
    camera: CameraDevice = camera_class(options)
    return camera


def _listen(requests: SimpleQueue[Exposure | None], opened: Sequence[CameraDevice]) -> None:
    for line in sys.stdin.buffer:
        requests.put(Exposure(**json.loads(line)))
    requests.put(None)
    for camera in opened:
        camera.stop()
    threading.Event().wait(CLOSE_TIMEOUT.total_seconds())
    os._exit(1)  # the camera's thread hangs


def _answer(out: BinaryIO, picture: bytes = b"", fault: str | None = None) -> None:
    head = {"length": len(picture)} if fault is None else {"fault": fault}
    out.write(json.dumps(head).encode() + b"\n" + picture)
    out.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
    os._exit(0)  # a regular exit would wait for a lock of the thread that reads stdin
