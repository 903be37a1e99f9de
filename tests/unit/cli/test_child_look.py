"""A look at a disk by a child, that may hang for as long as it likes."""

import os
import signal
import subprocess
import sys

import pytest

from plantimager.timelapse.cli import child_look
from plantimager.timelapse.cli.child_look import look_in_child

SERVICE = 64_011
HANG = """
import signal, sys
from pathlib import Path
from plantimager.timelapse.cli.child_look import look_in_child
def hang():
    print("never seen", flush=True)
    signal.pause()
try:
    look_in_child(hang, 0.2, Path("/"))
except TimeoutError:
    print("went on")
"""

MANY = """
import os, signal
from pathlib import Path
from plantimager.timelapse.cli import child_look
from plantimager.timelapse.cli.child_look import look_in_child
child_look.KILLED_SECONDS = 60
for number in range(40):
    try:
        look_in_child((lambda: None, signal.pause, lambda: 1 // 0)[number % 3], (60, 0, 60)[number % 3], Path("/"))
    except OSError:
        pass
try:
    print(os.waitpid(-1, os.WNOHANG))
except ChildProcessError:
    print("no child")
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="root and another account are what it is about")
def test_all_of_a_look_is_made_as_the_owner(tmp_path):
    """What it returns comes back whole."""
    os.chown(tmp_path, SERVICE, SERVICE)
    assert look_in_child(lambda: (os.geteuid(), os.getgroups(), "é\udcff"), 60, tmp_path) == (
        SERVICE,
        [SERVICE],
        "é\udcff",
    )
    assert os.geteuid() == 0


def test_a_look_that_fails_is_an_error_of_the_disk(tmp_path):
    """Whatever it raises: it may be that of a driver by others."""
    with pytest.raises(OSError, match="the look at a disk has failed"):
        look_in_child(lambda: 1 // 0, 60, tmp_path)


def test_a_look_that_ends_without_an_answer_is_one_too(tmp_path):
    """As by the kernel, where memory runs out."""
    with pytest.raises(OSError, match="the look at a disk has failed"):
        look_in_child(lambda: os.kill(os.getpid(), signal.SIGKILL), 60, tmp_path)


def test_a_look_that_hangs_holds_no_pipe_open():
    """Whoever reads what a command writes sees its end."""
    done = subprocess.run([sys.executable, "-c", HANG], capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr) == ("went on\n", "")


def test_looks_leave_no_process_behind():
    """``status --follow`` makes them for days."""
    done = subprocess.run([sys.executable, "-c", MANY], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == "no child\n"


def test_no_second_look_waits_where_the_first_can_not_be_killed(tmp_path, monkeypatch):
    """It is in a call to a disk that hangs. When that returns the child is gone, and looks go on."""
    forked, fork = [], os.fork

    def noting_fork():
        forked.append(fork())
        return forked[-1]

    def hang():
        signal.pause()

    monkeypatch.setattr(child_look.os, "fork", noting_fork)
    monkeypatch.setattr(child_look, "KILLED_SECONDS", 60)
    with monkeypatch.context() as unkillable:
        unkillable.setattr(child_look, "KILLED_SECONDS", 0)
        unkillable.setattr(child_look.os, "kill", lambda *_: None)
        for _ in range(3):
            with pytest.raises(TimeoutError):
                look_in_child(hang, 0, tmp_path)
    assert len(forked) == 1
    assert look_in_child(lambda: "another look", 60, tmp_path) == "another look"
    os.kill(forked[0], signal.SIGKILL)
    os.waitid(os.P_PID, forked[0], os.WEXITED | os.WNOWAIT)
    with pytest.raises(TimeoutError):
        look_in_child(hang, 0, tmp_path)  # a new one
    with pytest.raises(ChildProcessError):
        os.waitpid(forked[0], os.WNOHANG)
    assert not child_look._hanging
