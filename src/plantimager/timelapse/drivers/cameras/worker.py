"""The process of a camera: ``python -m …cameras.worker KIND OPTIONS``, started by `process.CameraProcess`.

The first answer says whether the camera is open. Then each line on stdin is a request, ``[WORD, …]``: ``ask`` whether
the camera answers, ``trigger`` with an exposure, ``fetch`` its picture from the camera, ``judge`` what was fetched,
``discard`` the camera's own files of it. An answer is a line of JSON, ``{"lengths": [N, …], …}`` or ``{"fault": "…",
…}``, and so many bytes: that of ``judge`` has the picture and its raw files. The end of stdin means that the camera
isn't needed any more, or that the daemon was killed: the exposure is interrupted, the camera closed, and the process
ends within `CLOSE_TIMEOUT`, even if the camera hangs.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import sys
import threading
from datetime import UTC, datetime
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from plantimager.timelapse.drivers.cameras import explain_missing
from plantimager.timelapse.drivers.cameras.base import (
    CLOSE_TIMEOUT,
    CameraDevice,
    CameraFault,
    CameraPicture,
    Capture,
    Exposure,
)
from plantimager.timelapse.drivers.cameras.exif import add_exif
from plantimager.timelapse.drivers.cameras.pictures import judge, raw_extension
from plantimager.timelapse.support.distribution import DISTRIBUTION, installed_version

if TYPE_CHECKING:
    from collections.abc import Sequence

PACKAGE: Final = "plantimager.timelapse.drivers.cameras"


class _Server:
    """The requests of one camera, carried out one after the other."""

    def __init__(self, camera: CameraDevice) -> None:
        self._camera = camera
        self._exposure = Exposure(None, None, "jpeg", {}, 0.0)
        self._capture = Capture(b"")
        self._began = self._ended = datetime.fromtimestamp(0, UTC)

    def carry_out(self, word: str, *arguments: Any) -> CameraPicture | None:
        """Return the result of a request. Raises `CameraFault`."""
        match word:
            case "ask":
                self._camera.require_answer()
            case "trigger":
                (asked,) = arguments
                earlier = asked.pop("earlier_size")
                self._exposure = Exposure(**asked, earlier_size=earlier and tuple(earlier))
                self._began = _now()
                self._camera.trigger(self._exposure)
                self._ended = _now()
            case "fetch":
                self._capture = self._camera.fetch()
            case "judge":
                capture, self._capture = self._capture, Capture(b"")
                return self._picture(capture)
            case "discard":
                self._camera.discard()
        return None

    def _picture(self, capture: Capture) -> CameraPicture:
        try:
            content, facts = judge(capture.content, self._exposure, capture.way_out)
        except CameraFault as fault:
            extension = raw_extension(capture.content)
            raws = {**capture.raws, **({} if extension is None else {extension: capture.content})}
            raise CameraFault(str(fault), is_lasting=fault.is_lasting, raws=raws) from fault
        with contextlib.suppress(Exception):  # EXIF that can't be extended stays as it is; the metadata has it all
            software = f"{DISTRIBUTION} {installed_version()}"
            content = add_exif(content, self._exposure.description, self._began, software)
        facts |= {
            "taken_at": self._began.isoformat(),
            "shutter_closed_at": self._ended.isoformat(),
            "settings_reported": dict(capture.settings),
        }
        return CameraPicture(content, facts, capture.raws)


def main(kind: str, options: str) -> None:
    """Serve one camera until stdin ends."""
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # so that the output of a library doesn't get between the answers
    requests: SimpleQueue[list[Any] | None] = SimpleQueue()
    opened: list[CameraDevice] = []
    threading.Thread(target=_listen, args=(requests, opened), daemon=True).start()
    with contextlib.suppress(BrokenPipeError):  # the daemon was killed
        try:
            opened.append(_open(kind, json.loads(options)))
        except CameraFault as fault:
            _answer_fault(out, fault)
        else:
            _answer(out, None)
            server = _Server(opened[0])
            while (request := requests.get()) is not None:
                try:
                    picture = server.carry_out(*request)
                except CameraFault as fault:
                    _answer_fault(out, fault)
                else:
                    _answer(out, picture)
    for camera in opened:
        camera.close()


def _open(kind: str, options: dict[str, object]) -> CameraDevice:
    try:
        camera_class = importlib.import_module(f"{PACKAGE}.{kind}").CAMERA
    except Exception as missing:  # a library that doesn't fit another raises anything
        raise CameraFault(explain_missing(kind, missing), is_lasting=True) from missing
    camera: CameraDevice = camera_class(options)
    return camera


def _listen(requests: SimpleQueue[list[Any] | None], opened: Sequence[CameraDevice]) -> None:
    for line in sys.stdin.buffer:
        requests.put(json.loads(line))
    requests.put(None)
    for camera in opened:
        camera.stop()
    threading.Event().wait(CLOSE_TIMEOUT.total_seconds())
    os._exit(1)  # the camera's thread hangs


def _answer(out: BinaryIO, picture: CameraPicture | None) -> None:
    if picture is None:
        _send(out, {}, [])
    else:
        head = {"facts": picture.facts, "raws": list(picture.raws)}
        _send(out, head, [picture.content, *picture.raws.values()])


def _answer_fault(out: BinaryIO, fault: CameraFault) -> None:
    head = {"fault": str(fault), "is_lasting": fault.is_lasting, "raws": list(fault.raws)}
    _send(out, head, [*fault.raws.values()])


def _send(out: BinaryIO, head: dict[str, Any], contents: Sequence[bytes]) -> None:
    out.write(json.dumps({**head, "lengths": [len(content) for content in contents]}, default=str).encode() + b"\n")
    out.writelines(contents)
    out.flush()


def _now() -> datetime:
    return datetime.now(UTC)  # noqa: TID251 - a process of its own, which the daemon's clock doesn't reach; for metadata


if __name__ == "__main__":
    main(*sys.argv[1:])
    os._exit(0)  # a regular exit would wait for a lock of the thread that reads stdin
