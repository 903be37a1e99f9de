"""The real gphoto2 binding, with a camera that fails as real ones do.

The directory ``FAULTS`` says how, with a file for each fault, whose content are the exposures that it hits, counted
from 1 over all processes: ``3 7``. What is done with the camera is written to its file ``log``.

==============  ===================================================================================
``refuse``      the exposure fails
``first``       the first exposure after each opening fails; the content doesn't matter
``short``       half of the picture arrives
``lost``        the transfer fails
``hang``        the exposure never ends; it makes the file ``hanging``
``crash``       the library crashes in the exposure
``asleep``      the camera answers nothing until it is opened again, which removes the file
``small``       the picture is another one, of 320 × 240
``wait``        likewise the transfer, until the file ``go`` is there
``raw``         the content is a raw file, which the camera makes beside every picture, announced later
``raw first``   likewise, but it is the picture that is announced later
``raw late``    likewise, but only to one who waits for over a second
``check``       the check of the picture goes on until the camera is asked for the next exposure;
                checks are counted, not exposures
``check long``  likewise, but until the file ``check go`` is there
``check fatal`` the library that decodes crashes in the check, once it goes on; checks are counted
``check alone`` likewise, but the library crashes in a thread of its own, which has no Python
``check child`` a process that the library has forked in the check crashes, before the check goes on
``check odd``   the check of the raw file finds no memory left; checks are counted
``long``        the exposure ends when all checks that have begun are over
``same name``   each picture has the name of the one before; the content doesn't matter
``further``     the content is a further picture of each exposure, announced later, as in a bracket
==============  ===================================================================================
"""

import ctypes
import os
import sys
import threading
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace

sys.path.remove(str(Path(__file__).parent))
del sys.modules["gphoto2"]
import gphoto2 as real  # noqa: E402 - the library of the same name that this one hides

from plantimager.timelapse.drivers.cameras import jpeg_file, tiff_file  # noqa: E402 - the binding first

FAULTS = Path(os.environ["FAULTS"])
FURTHER, SAME = "FURTHER.JPG", "CAPT0000.JPG"


def _log(words):
    with (FAULTS / "log").open("a") as file:
        file.write(f"{words}\n")


def _count(what="exposure"):
    return (FAULTS / "log").read_text().count(what) if (FAULTS / "log").exists() else 0


def _hits(fault, what="exposure"):
    file = FAULTS / fault
    return file.exists() and str(_count(what)) in file.read_text().split()


def _require_whole(jpeg, require_whole=jpeg_file.require_whole):
    _log("checking")
    if _hits("check child", "checking"):
        child = os.fork()
        if not child:
            os.abort()
        os.waitpid(child, 0)
        _log("forked")
    if _hits("check", "checking"):
        while _count() <= _count("checking"):
            threading.Event().wait(0.01)
    while _hits("check long", "checking") and not (FAULTS / "check go").exists():
        threading.Event().wait(0.01)
    if _hits("check fatal", "checking"):
        os.abort()
    if _hits("check alone", "checking"):
        abort = ctypes.cast(ctypes.CDLL(None).abort, ctypes.c_void_p)
        ctypes.CDLL(None).pthread_create(ctypes.byref(ctypes.c_ulong()), None, abort, None)
        threading.Event().wait()
    require_whole(jpeg)
    _log("checked")


def _require_data(tiff, require_data=tiff_file.require_data):
    if _hits("check odd", "checking"):
        raise MemoryError
    require_data(tiff)


jpeg_file.require_whole, tiff_file.require_data = _require_whole, _require_data


def _telling(note):
    """Have the end of a check be logged, once whoever asks for it hears of it."""

    def note_and_log(future, outcome):
        note(future, outcome)
        _log("over")

    return note_and_log


Future.set_result, Future.set_exception = map(_telling, (Future.set_result, Future.set_exception))


def _fail(code=real.GP_ERROR):
    raise real.GPhoto2Error(code)


class _Half:
    def __init__(self, file):
        self._content = bytes(file.get_data_and_size())

    def get_data_and_size(self):
        return self._content[: len(self._content) // 2]


class Camera(real.Camera):
    def init(self, *arguments):
        _log("opening")
        (FAULTS / "asleep").unlink(missing_ok=True)
        super().init(*arguments)
        self.is_new = True
        self.announced = []

    def get_summary(self, *arguments):
        if (FAULTS / "asleep").exists():
            _fail(real.GP_ERROR_IO)
        return super().get_summary(*arguments)

    def capture(self, kind, *arguments):
        _log("exposure")
        is_first, self.is_new = self.is_new, False
        if (FAULTS / "asleep").exists():
            _fail(real.GP_ERROR_IO)
        if _hits("refuse") or (is_first and (FAULTS / "first").exists()):
            _fail()
        if _hits("hang"):
            (FAULTS / "hanging").touch()
            threading.Event().wait()
        if _hits("crash"):
            os.abort()
        while _hits("long") and _count("over") < _count("checking"):
            threading.Event().wait(0.01)
        path = super().capture(kind, *arguments)
        if (FAULTS / "same name").exists():
            self.same, path = path, SimpleNamespace(folder="/", name=SAME)
        raw = SimpleNamespace(folder=path.folder, name=f"{path.name.partition('.')[0]}.NEF")
        if (FAULTS / "raw first").exists():
            self.announced.append(path)
            return raw
        if next(FAULTS.glob("raw*"), None):
            self.announced.append(raw)
        if (FAULTS / "further").exists():
            self.announced.append(SimpleNamespace(folder=path.folder, name=FURTHER))
        return path

    def get_single_config(self, name, *arguments):
        if name == "imagequality" and next(FAULTS.glob("raw*"), None):
            return SimpleNamespace(get_value=lambda: "NEF+Fine")
        return super().get_single_config(name, *arguments)

    def wait_for_event(self, milliseconds, *arguments):
        late = (FAULTS / "raw late").exists() and milliseconds < 1000
        if self.announced and not late:
            return real.GP_EVENT_FILE_ADDED, self.announced.pop(0)
        return super().wait_for_event(milliseconds, *arguments)

    def file_get(self, folder, name, *arguments):
        _log("transfer")
        if _hits("lost"):
            _fail(real.GP_ERROR_TIMEOUT)
        if _hits("wait"):
            (FAULTS / "hanging").touch()
            while not (FAULTS / "go").exists():
                threading.Event().wait(0.01)
        if name == SAME:
            folder, name = self.same.folder, self.same.name
        if name.endswith(".NEF"):
            there = next(FAULTS.glob("raw*"))
            return SimpleNamespace(get_data_and_size=there.read_bytes)
        if name == FURTHER:
            return SimpleNamespace(get_data_and_size=(FAULTS / "further").read_bytes)
        if _hits("small"):
            return SimpleNamespace(get_data_and_size=(FAULTS / "small.jpg").read_bytes)
        file = super().file_get(folder, name, *arguments)
        return _Half(file) if _hits("short") else file

    def file_delete(self, folder, name, *arguments):
        kept = len([file for file in FAULTS.parent.rglob("top-*.[jn]*") if file.suffix != ".json"])
        _log(f"deleting {name}, {kept} on disk")
        if not name.endswith(".NEF") and name not in (FURTHER, SAME):
            super().file_delete(folder, name, *arguments)


real.Camera = Camera
