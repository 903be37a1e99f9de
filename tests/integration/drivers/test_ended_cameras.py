"""The process of a camera ends at each instant; the fault is that of the picture that ended it, where that is known.

The real process is killed, or crashes, while the check of one picture and the exposure of the next go on;
`faulty_gphoto2` holds each of the two where it is.
"""

import os
import signal
from pathlib import Path

import pytest
from grbl_scans import log_of
from raw_files import nef
from waiting import wait_until

from plantimager.timelapse.drivers.cameras import CameraOptions
from plantimager.timelapse.drivers.cameras.base import CameraFault, Exposure
from plantimager.timelapse.drivers.cameras.process import CameraProcess

EXPOSURE = Exposure(None, None, "jpeg", {}, 60.0)
KILLED, CRASHED = "its process was ended by SIGKILL", "its process was ended by SIGABRT"
LOST = "its picture was lost with its process, which ended before the picture was checked"


def never():
    """Nothing is cancelled."""
    return False


@pytest.fixture
def camera(faults):
    """Return a camera, whose process is ended afterwards."""
    made = CameraProcess(CameraOptions("top", "gphoto2", {}))
    yield made
    made.close()


def take(camera):
    """Return the number of a picture, whose check begins."""
    camera.trigger(EXPOSURE, never)
    return camera.fetch(EXPOSURE, never)


def wait_for(faults, word, times):
    """Wait until the camera's log says a word so often."""
    wait_until(lambda: len(log_of(faults, word)) >= times, within=60, what=f"the camera logs {word!r} {times} times")


def fault_of(action, *arguments):
    """Return the fault of a call, and whether it costs a try of its own picture."""
    with pytest.raises(CameraFault) as caught:
        action(*arguments)
    return str(caught.value).partition(";")[0], not caught.value.is_of_another


def killing(camera, is_time=lambda: True):
    """Return what is asked whether to stop, and kills the process when it is time."""
    process = camera._process

    def kill():
        if process.poll() is None and is_time():
            process.kill()
            process.wait()
        return False

    return kill


def test_killed_in_a_check_before_the_next_exposure_has_begun(camera, faults):
    """The request for it was on its way: the process is stopped, so that it doesn't read that."""
    (faults / "check long").write_text("1")
    number = take(camera)
    wait_for(faults, "checking", 1)
    os.kill(camera._process.pid, signal.SIGSTOP)
    assert fault_of(camera.trigger, EXPOSURE, killing(camera)) == (LOST, False)
    assert fault_of(camera.picture, number, never) == (KILLED, True)
    assert fault_of(camera.picture, number, never) == (LOST, False)  # told once


def test_killed_in_a_check_while_nothing_is_asked_of_the_camera(camera, faults):
    """The next exposure opens it again."""
    (faults / "check long").write_text("1")
    number = take(camera)
    wait_for(faults, "checking", 1)
    killing(camera)()
    camera.trigger(EXPOSURE, never)
    assert fault_of(camera.picture, number, never) == (KILLED, True)


def test_killed_in_a_check_while_its_picture_is_waited_for(camera, faults):
    """It is its own fault."""
    (faults / "check long").write_text("1")
    number = take(camera)
    is_time = lambda: bool(log_of(faults, "checking"))  # noqa: E731 - a word for it
    assert fault_of(camera.picture, number, killing(camera, is_time)) == (KILLED, True)


def test_killed_in_an_exposure_while_a_check_goes_on(camera, faults):
    """Nobody knows which of them was meant; the exposure counts, and the check is repeated alone."""
    (faults / "check long").write_text("1")
    (faults / "hang").write_text("2")
    number = take(camera)
    is_time = lambda: len(log_of(faults, "exposure")) == 2 and bool(log_of(faults, "checking"))  # noqa: E731 - likewise
    assert fault_of(camera.trigger, EXPOSURE, killing(camera, is_time)) == (KILLED, True)
    assert fault_of(camera.picture, number, never) == (LOST, False)


def test_killed_in_an_exposure_when_the_check_is_over(camera, faults):
    """The picture is lost all the same."""
    (faults / "hang").write_text("2")
    number = take(camera)
    wait_for(faults, "over", 1)
    is_time = lambda: len(log_of(faults, "exposure")) == 2  # noqa: E731 - likewise
    assert fault_of(camera.trigger, EXPOSURE, killing(camera, is_time)) == (KILLED, True)
    assert fault_of(camera.picture, number, never) == (LOST, False)


def test_killed_when_the_check_is_over(camera, faults):
    """Whoever hears of it first, it is the fault of the picture that was asked for."""
    number = take(camera)
    wait_for(faults, "over", 1)
    assert camera.describe(number, never).content == b""
    killing(camera)()
    assert fault_of(camera.describe, number, never) == (KILLED, True)
    assert fault_of(camera.picture, number, never) == (KILLED, True)


def test_killed_between_two_exposures(camera, faults):
    """The check of the second picture goes on, that of the first is over."""
    (faults / "check long").write_text("2")
    first, second = take(camera), take(camera)
    wait_for(faults, "checking", 2)
    killing(camera)()
    assert fault_of(camera.picture, first, never) == (LOST, False)
    assert fault_of(camera.picture, second, never) == (KILLED, True)


@pytest.mark.parametrize("part", ["exposure", "transfer"])
def test_crash_of_a_check_while_the_camera_works(camera, faults, part):
    """The stack that the crash leaves says which of the two it was."""
    (faults / "check long").write_text("1")
    (faults / "check fatal").write_text("1")
    (faults / {"exposure": "hang", "transfer": "wait"}[part]).write_text("2")
    number = take(camera)

    def let_crash():
        if len(log_of(faults, part)) == 2:
            (faults / "check go").touch()
        return False

    if part == "transfer":
        camera.trigger(EXPOSURE, never)
        assert fault_of(camera.fetch, EXPOSURE, let_crash) == (LOST, False)
    else:
        assert fault_of(camera.trigger, EXPOSURE, let_crash) == (LOST, False)
    assert fault_of(camera.picture, number, never) == (CRASHED, True)


def test_crash_of_an_exposure_while_a_check_goes_on(camera, faults):
    """The picture in its check is lost, and costs none of its tries."""
    (faults / "check long").write_text("1")
    (faults / "crash").write_text("2")
    number = take(camera)
    wait_for(faults, "checking", 1)
    assert fault_of(camera.trigger, EXPOSURE, never) == (CRASHED, True)
    assert fault_of(camera.picture, number, never) == (LOST, False)


def test_crash_of_a_check_at_its_begin_is_its_own(camera, faults):
    """Whether the answer of the transfer has arrived by then, or not."""
    (faults / "check fatal").write_text("1")
    camera.trigger(EXPOSURE, never)

    def fetch_and_check():
        camera.picture(camera.fetch(EXPOSURE, never), never)

    assert fault_of(fetch_and_check) == (CRASHED, True)


def test_crash_of_a_thread_of_a_library_is_charged_to_no_check(camera, faults):
    """Nothing is asked of the camera meanwhile; the crash leaves no stack that says whose it was."""
    (faults / "check long").write_text("1")
    (faults / "check alone").write_text("1")
    number = take(camera)
    wait_for(faults, "checking", 1)
    (faults / "check go").touch()
    camera._process.wait(60)
    camera.trigger(EXPOSURE, never)
    assert fault_of(camera.picture, number, never) == (LOST, False)


def test_crash_of_a_process_that_a_check_has_forked_is_not_its_own(camera, faults):
    """It leaves its stack in the same memory; the crash of the exposure comes after it."""
    (faults / "check child").write_text("1")
    (faults / "check long").write_text("1")
    (faults / "crash").write_text("2")
    number = take(camera)
    wait_for(faults, "forked", 1)
    assert fault_of(camera.trigger, EXPOSURE, never) == (CRASHED, True)
    assert fault_of(camera.picture, number, never) == (LOST, False)


def test_crash_of_a_process_that_a_check_has_forked_is_forgotten_in_the_next_check(camera, faults):
    """What ends the exposure behind that one leaves no stack."""
    (faults / "check child").write_text("1")
    (faults / "check long").write_text("2")
    (faults / "hang").write_text("3")
    first = take(camera)
    assert camera.picture(first, never) is not None
    second = take(camera)
    is_time = lambda: len(log_of(faults, "exposure")) == 3 and len(log_of(faults, "checking")) == 2  # noqa: E731 - likewise
    assert fault_of(camera.trigger, EXPOSURE, killing(camera, is_time)) == (KILLED, True)
    assert fault_of(camera.picture, second, never) == (LOST, False)


def test_error_of_a_check_is_its_own_and_ends_no_process(camera, faults):
    """The process would end only after the next check, and be charged to that if it was killed meanwhile."""
    (faults / "raw").write_bytes(nef())
    (faults / "check odd").write_text("1")
    (faults / "check long").write_text("2")
    first, second = take(camera), take(camera)
    wait_for(faults, "checking", 2)
    assert fault_of(camera.picture, first, never) == ("its picture can't be checked: MemoryError", True)
    assert camera.is_open
    (faults / "check go").touch()
    assert camera.picture(second, never) is not None


def test_raw_files_of_a_refused_picture_are_given_once(camera, faults):
    """Whoever only looks at a picture hears its fault without them: they may be large."""
    (faults / "raw").write_bytes(nef())
    (faults / "short").write_text("1")
    number = take(camera)
    wait_for(faults, "over", 1)
    with pytest.raises(CameraFault, match="its picture is incomplete") as looked:
        camera.describe(number, never)
    with pytest.raises(CameraFault, match="its picture is incomplete") as given:
        camera.picture(number, never)
    assert (looked.value.raws, given.value.raws) == ({}, {"nef": nef()})


def test_memory_of_the_activity_is_closed_in_programs(camera):
    """A library may start one, which would hold it, and write to it."""
    camera.open()
    flags = Path(f"/proc/{camera._process.pid}/fdinfo/{camera._process.args[-1]}").read_text().split()[3]
    assert int(flags, 8) & os.O_CLOEXEC
