"""The process of a camera: ``python -m …cameras.worker KIND OPTIONS DESCRIPTOR``, started by `process.CameraProcess`.

The first answer says whether the camera is open. Then each line on stdin is a request, ``[WORD, …]``: ``ask`` whether
the camera answers, ``trigger`` with an exposure, ``fetch`` its picture from the camera, ``describe`` that picture, and
give the ``picture``, once it is checked, ``discard`` the camera's own files of it. An answer is a line of JSON,
``{"lengths": [N, …], …}`` or ``{"fault": "…", …}``, and so many bytes: that of ``picture`` has the picture and its raw
files, or nothing while the check goes on. The end of stdin means that the camera isn't needed any more, or that the
daemon was killed: the exposure is interrupted, the camera closed, and the process ends within `CLOSE_TIMEOUT`, even if
the camera hangs.

Pictures are checked on a thread of its own, one after the other, while the camera takes the next. Whoever fetches a
picture gives it a number, so that no other is ever taken for it.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import json
import os
import sys
import threading
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from plantimager.timelapse.drivers.cameras import explain_missing
from plantimager.timelapse.drivers.cameras.activity import Activity
from plantimager.timelapse.drivers.cameras.base import (
    CLOSE_TIMEOUT,
    PICTURE_LOST,
    CameraDevice,
    CameraFault,
    CameraPicture,
    Capture,
    Exposure,
)
from plantimager.timelapse.drivers.cameras.exif import add_exif, has_capture_time
from plantimager.timelapse.drivers.cameras.pictures import judge, raw_extension, require_whole_raw

if TYPE_CHECKING:
    from collections.abc import Sequence

PACKAGE: Final = "plantimager.timelapse.drivers.cameras"

MAX_IN_CHECK: Final = 2
"""Pictures that wait for their check, or for being asked for, at most. Older ones are of a scan that was given up."""

CHECK_WAIT: Final = 0.02
"""Seconds that a request for a picture waits for its check."""


@dataclass(frozen=True, slots=True)
class _Shutter:
    """One exposure, and when its shutter opened and closed."""

    exposure: Exposure
    began: datetime
    ended: datetime


@dataclass(frozen=True, slots=True)
class _Check:
    """A picture in its check."""

    picture: Future[CameraPicture]
    on_camera: Sequence[tuple[str, str]]


class _Server:
    """The requests of one camera, carried out one after the other."""

    def __init__(self, camera: CameraDevice, activity: Activity) -> None:
        self._camera, self._activity = camera, activity
        self._shutter: _Shutter
        """Of the exposure that was triggered last."""
        self._thread = ThreadPoolExecutor(max_workers=1)
        self._checks: dict[int, _Check] = {}
        """By the numbers of their pictures, the oldest first."""
        self._deletable: Sequence[tuple[str, str]] = ()
        """The camera's own files of the picture that was given last."""

    def carry_out(self, word: str, *arguments: Any) -> CameraPicture | None:
        """Return the result of a request. Raises `CameraFault`."""
        match word:
            case "picture":
                return self._give(*arguments)
            case "describe":
                return self._describe(*arguments)
        with self._activity.using_camera():
            self._use(word, *arguments)
        return None

    def _use(self, word: str, *arguments: Any) -> None:
        match word:
            case "ask":
                self._camera.require_answer()
            case "trigger":
                exposure, began = Exposure(**arguments[0]), _now()
                self._camera.trigger(exposure)
                self._shutter = _Shutter(exposure, began, _now())
            case "fetch":
                (number,) = arguments
                capture = self._camera.fetch()
                check = self._thread.submit(self._activity.run_check, number, _checked, capture, self._shutter)
                self._checks[number] = _Check(check, capture.on_camera)
                while len(self._checks) > MAX_IN_CHECK:
                    del self._checks[min(self._checks)]
            case "discard":
                # A camera may use a name again; that file's picture isn't on the host's disk yet.
                later = {file for check in self._checks.values() for file in check.on_camera}
                self._camera.discard([file for file in self._deletable if file not in later])

    def _give(self, number: int) -> CameraPicture | None:
        """Return a picture, None while its check goes on."""
        check = self._find(number)
        if not wait([check.picture], CHECK_WAIT).done:
            return None
        del self._checks[number]
        picture = check.picture.result()
        self._deletable = check.on_camera
        return picture

    def _describe(self, number: int) -> CameraPicture | None:
        """Return a picture without its files, None while its check goes on. Its fault has no files either."""
        picture = self._find(number).picture
        if not picture.done():
            return None
        try:
            return replace(picture.result(), content=b"", raws={})
        except CameraFault as fault:
            raise CameraFault(str(fault), is_lasting=fault.is_lasting, is_of_another=fault.is_of_another) from fault

    def _find(self, number: int) -> _Check:
        if number not in self._checks:
            raise CameraFault(PICTURE_LOST, is_of_another=True)
        return self._checks[number]


def _checked(capture: Capture, shutter: _Shutter) -> CameraPicture:
    """Return the picture of an exposure. Raises `CameraFault` where it isn't what was asked for."""
    try:
        content, facts = judge(capture.content, shutter.exposure, capture.way_out)
        for raw in capture.raws.values():
            require_whole_raw(raw)
    except CameraFault as fault:
        extension = raw_extension(capture.content)
        raws = {**capture.raws, **({} if extension is None else {extension: capture.content})}
        raise CameraFault(str(fault), is_lasting=fault.is_lasting, raws=raws) from fault
    with contextlib.suppress(Exception):  # EXIF that can't be extended stays as it is; the metadata has it all
        content = add_exif(content, shutter.exposure.description, shutter.began)
    facts |= {
        "taken_at": shutter.began.isoformat(),
        "shutter_closed_at": shutter.ended.isoformat(),
        "settings_reported": dict(capture.settings),
    }
    digest = hashlib.sha256(capture.content).hexdigest() if has_capture_time(capture.content) else ""
    return CameraPicture(content, facts, capture.raws, digest)


def main(kind: str, options: str, descriptor: str) -> None:
    """Serve one camera until stdin ends; the descriptor is that of its `Activity`."""
    os.set_inheritable(int(descriptor), False)  # so that nothing that a library starts holds it
    activity = Activity(int(descriptor))
    activity.record_crash()
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
            server = _Server(opened[0], activity)
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
        head = {"facts": picture.facts, "raws": list(picture.raws), "digest": picture.digest}
        _send(out, head, [picture.content, *picture.raws.values()])


def _answer_fault(out: BinaryIO, fault: CameraFault) -> None:
    cause = {"is_lasting": fault.is_lasting, "is_of_another": fault.is_of_another}
    _send(out, {"fault": str(fault), "cause": cause, "raws": list(fault.raws)}, [*fault.raws.values()])


def _send(out: BinaryIO, head: dict[str, Any], contents: Sequence[bytes]) -> None:
    out.write(json.dumps({**head, "lengths": [len(content) for content in contents]}, default=str).encode() + b"\n")
    out.writelines(contents)
    out.flush()


def _now() -> datetime:
    return datetime.now(UTC)  # noqa: TID251 - a process of its own, which the daemon's clock doesn't reach; for metadata


if __name__ == "__main__":
    main(*sys.argv[1:])
    os._exit(0)  # a regular exit would wait for a lock of the thread that reads stdin
