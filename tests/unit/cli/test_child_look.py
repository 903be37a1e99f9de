"""A look at a disk by a child, that may hang for as long as it likes."""

import os
import signal
import subprocess
import sys

import pytest

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
