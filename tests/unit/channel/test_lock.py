"""The instance lock: one daemon per store."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys

import pytest

from plantimager.timelapse.channel import lock as lock_module
from plantimager.timelapse.channel.lock import InstanceLock, lock_path, process_start, running_daemon
from plantimager.timelapse.support.errors import AlreadyRunning, LocksMissing

HOLDER = """
import pathlib, sys
from plantimager.timelapse.channel.lock import InstanceLock
lock = InstanceLock(pathlib.Path(sys.argv[1]))
lock.acquire()
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


def test_error_of_a_second_holder_names_the_first(store, holder):
    """The hint says how to run two rigs."""
    with pytest.raises(AlreadyRunning) as raised:
        InstanceLock(store).acquire()
    assert str(raised.value) == f"{lock_path(store)}: a timelapsed already runs on this store (PID {holder.pid})"
    assert "PI3_TIMELAPSE_FILE_NAME" in raised.value.hint


def test_lock_of_a_killed_holder_is_free_at_once(store, holder):
    """The signature that it left in the file counts no longer."""
    assert running_daemon(store) == holder.pid
    holder.kill()
    holder.wait()
    assert running_daemon(store) is None
    lock = InstanceLock(store)
    lock.acquire()
    assert running_daemon(store) == os.getpid()
    lock.release()
    assert running_daemon(store) is None


def test_lock_file_is_private_and_stays(store):
    """Without the file two daemons could lock two files of one name."""
    lock = InstanceLock(store)
    lock.acquire()
    inode = lock.path.stat().st_ino
    lock.release()
    lock.release()
    lock.acquire()
    assert (lock.path.stat().st_ino, stat.S_IMODE(lock.path.stat().st_mode)) == (inode, 0o600)
    lock.release()


def test_looking_for_the_daemon_takes_no_lock(store, holder):
    """A command that looks at the wrong moment must not stop a daemon from starting."""
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
    """The PID of a daemon that has ended may belong to another process by now."""
    lock_path(store).write_bytes(os.fsencode(text))
    assert running_daemon(store) is None


def test_missing_lock_names_no_daemon(store):
    """No daemon has ever run on this store."""
    assert running_daemon(store) is None


def test_lock_is_held_though_the_disk_is_full(store, monkeypatch):
    """A daemon that can't sign still scans, and no second daemon starts."""

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(lock_module.os, "pwrite", full)
    lock = InstanceLock(store)
    lock.acquire()
    with pytest.raises(AlreadyRunning, match="another process"):
        InstanceLock(store).acquire()
    lock.release()


def test_lock_is_held_though_the_disk_is_read_only(store, monkeypatch):
    """A memory card may turn read-only after many power cuts; the lock file of an earlier run serves."""
    InstanceLock(store).acquire()
    real = os.open

    def read_only(path, flags, *mode):
        if flags & os.O_RDWR:
            raise OSError(errno.EROFS, "Read-only file system")
        return real(path, flags, *mode)

    monkeypatch.setattr(lock_module.os, "open", read_only)
    with pytest.raises(AlreadyRunning):
        InstanceLock(store).acquire()


@pytest.mark.parametrize("refusal", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def test_file_system_without_locks_is_named_with_the_cure(store, monkeypatch, refusal):
    """A network disk may have none; the bare words of the system, "No locks available", would help nobody."""

    def refuse(*_):
        raise OSError(refusal, os.strerror(refusal))

    monkeypatch.setattr(lock_module.fcntl, "flock", refuse)
    with pytest.raises(LocksMissing, match="has no locks") as missing:
        InstanceLock(store).acquire()
    assert str(store.parent) in str(missing.value)
    assert "a disk of this machine" in missing.value.hint


@pytest.mark.parametrize("target", ["elsewhere", "missing"])
def test_lock_that_is_a_symbolic_link_is_refused(store, tmp_path, target):
    """A link could make the daemon write into another file."""
    (tmp_path / "elsewhere").write_text("precious")
    lock_path(store).symlink_to(tmp_path / target)
    with pytest.raises(OSError, match="symbolic links"):
        InstanceLock(store).acquire()
    assert (tmp_path / "elsewhere").read_text() == "precious"


def test_start_of_a_process_is_the_same_each_time():
    """PID and start together identify one process for good."""
    assert process_start(os.getpid()) == process_start(os.getpid())
    with pytest.raises(OSError):
        process_start(2**22 + 1)
