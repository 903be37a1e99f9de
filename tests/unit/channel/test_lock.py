"""One daemon a store."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys

import pytest

from plantimager.timelapse.channel import lock as lock_module
from plantimager.timelapse.channel.lock import InstanceLock, lock_path, process_start, running_daemon
from plantimager.timelapse.support.errors import AlreadyRunning

HOLDER = """
import pathlib, sys
from plantimager.timelapse.channel.lock import InstanceLock
lock = InstanceLock(pathlib.Path(sys.argv[1]))
lock.take()
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def store(tmp_path):
    return tmp_path / "store.json"


@pytest.fixture
def holder(store):
    """Return another process that holds the lock."""
    command = [sys.executable, "-c", HOLDER, store]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_second_holder_is_told_who_the_first_is(store, holder):
    """And what to do."""
    with pytest.raises(AlreadyRunning) as raised:
        InstanceLock(store).take()
    assert str(raised.value) == f"{lock_path(store)}: a timelapsed already runs on this store (PID {holder.pid})"
    assert "PI3_TIMELAPSE_FILE_NAME" in raised.value.hint


def test_holder_that_is_no_daemon_is_not_taken_for_one(store):
    """Nobody sends it a daemon's signals, and yet no daemon starts meanwhile."""
    lock = InstanceLock(store)
    lock.take(signed=False)
    assert running_daemon(store) is None
    with pytest.raises(AlreadyRunning, match="another process"):
        InstanceLock(store).take()
    lock.release()


def test_lock_of_a_killed_holder_is_free_at_once(store, holder):
    """However it ended; what it wrote into the file names nobody any more."""
    assert running_daemon(store) == holder.pid
    holder.kill()
    holder.wait()
    assert running_daemon(store) is None
    lock = InstanceLock(store)
    lock.take()
    assert running_daemon(store) == os.getpid()
    lock.release()
    assert running_daemon(store) is None


def test_lock_file_is_private_and_stays(store):
    """Removing it would let two daemons lock two files of one name."""
    lock = InstanceLock(store)
    lock.take()
    inode = lock.path.stat().st_ino
    lock.release()
    lock.release()
    lock.take()
    assert (lock.path.stat().st_ino, stat.S_IMODE(lock.path.stat().st_mode)) == (inode, 0o600)
    lock.release()


def test_looking_for_the_daemon_takes_no_lock(store, holder):
    """A command that looks at the wrong moment must not keep a daemon from starting."""
    before = lock_path(store).stat()
    assert running_daemon(store) == holder.pid
    assert lock_path(store).stat() == before or lock_path(store).stat().st_mtime_ns == before.st_mtime_ns


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "1",
        "0 0",
        "999999999 1",
        "1 0",
        pytest.param(f"{os.getpid()} 1", id="own PID"),
        "1 2 3",
        "\udcff",
        "9" * 99,
    ],
)
def test_lock_file_that_names_no_running_daemon_names_none(store, text):
    """A process of the same number that isn't ours is nobody, too."""
    lock_path(store).write_bytes(os.fsencode(text))
    assert running_daemon(store) is None


def test_missing_lock_names_no_daemon(store):
    """Nobody ever ran here."""
    assert running_daemon(store) is None


def test_lock_is_held_though_the_disk_is_full(store, monkeypatch):
    """A daemon that can't sign still scans; nobody else gets the lock."""

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(lock_module.os, "pwrite", full)
    lock = InstanceLock(store)
    lock.take()
    with pytest.raises(AlreadyRunning, match="another process"):
        InstanceLock(store).take()
    lock.release()


def test_lock_is_held_though_the_disk_is_read_only(store, monkeypatch):
    """The card of a rig that had too many power cuts: the file of an earlier run serves."""
    InstanceLock(store).take()
    real = os.open

    def read_only(path, flags, *mode):
        if flags & os.O_RDWR:
            raise OSError(errno.EROFS, "Read-only file system")
        return real(path, flags, *mode)

    monkeypatch.setattr(lock_module.os, "open", read_only)
    with pytest.raises(AlreadyRunning):
        InstanceLock(store).take()


@pytest.mark.parametrize("target", ["elsewhere", "missing"])
def test_lock_that_is_a_symbolic_link_is_refused(store, tmp_path, target):
    """Nobody has the daemon write into a file of their choice."""
    (tmp_path / "elsewhere").write_text("precious")
    lock_path(store).symlink_to(tmp_path / target)
    with pytest.raises(OSError, match="symbolic links"):
        InstanceLock(store).take()
    assert (tmp_path / "elsewhere").read_text() == "precious"


def test_start_of_a_process_is_the_same_each_time():
    """With its number it names one process for good, whatever its name is."""
    assert process_start(os.getpid()) == process_start(os.getpid())
    with pytest.raises(OSError):
        process_start(2**22 + 1)
