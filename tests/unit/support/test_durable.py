"""Bytes on disk: the old file or the new one, whole, whatever fails on the way."""

from __future__ import annotations

import errno
import os
import resource
import socket
import stat
import subprocess
import sys
import textwrap
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from plantimager.timelapse.support import durable
from plantimager.timelapse.support.durable import (
    FileTooLarge,
    keep_copy,
    make_private_directory,
    move_aside,
    read_regular,
    restore_file,
    sweep_temporaries,
    write_durably,
    write_refusal,
)

STAMP = "20260622T060030Z"


@pytest.fixture
def path(tmp_path):
    """Return where a store may be, in a directory with nothing else."""
    return tmp_path / "store.json"


def names(path):
    return sorted(entry.name for entry in path.parent.iterdir())


@contextmanager
def failing(monkeypatch, call, error, nth=1):
    """Have the ``nth`` call of a function of `os` fail, as a broken disk would."""
    calls = iter(range(1, 1000))
    real = getattr(os, call)

    def fail(*arguments, **options):
        if next(calls) == nth:
            raise OSError(error, os.strerror(error))
        return real(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(durable.os, call, fail)
        yield


# --- writing ------------------------------------------------------------------------------------


def test_written_file_is_whole_and_private(path):
    """0600: it may hold an api_token."""
    written = write_durably(path, b"new")
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert (written.st_ino, written.st_size, written.st_mtime_ns) == (
        path.stat().st_ino,
        path.stat().st_size,
        path.stat().st_mtime_ns,
    )
    assert names(path) == ["store.json"]


def test_previous_generation_is_kept_as_backup(path, tmp_path):
    """Always exactly one, and never a copy: it is the very file that was there."""
    backup = tmp_path / "store.json.bak"
    write_durably(path, b"1", backup=backup)
    assert not backup.exists()
    for generation in (b"2", b"3", b"4"):
        before, inode = path.read_bytes(), path.stat().st_ino
        write_durably(path, generation, backup=backup)
        assert (path.read_bytes(), backup.read_bytes(), backup.stat().st_ino) == (generation, before, inode)
    assert names(path) == ["store.json", "store.json.bak"]


def test_backup_that_already_is_this_generation_stays(path, tmp_path):
    """So it is after a save that got as far as the backup and no further."""
    backup = tmp_path / "store.json.bak"
    path.write_bytes(b"1")
    backup.hardlink_to(path)
    write_durably(path, b"2", backup=backup)
    assert (path.read_bytes(), backup.read_bytes()) == (b"2", b"1")
    assert names(path) == ["store.json", "store.json.bak"]


CALLS = [
    ("fsync", 1, b"old", b"older"),
    ("link", 1, b"old", b"older"),
    ("replace", 1, b"old", b"older"),  # of the backup
    ("replace", 2, b"old", b"old"),
    ("fsync", 2, b"new", b"old"),  # that of the directory: in place already
    ("fstat", 1, b"old", b"older"),
]


@pytest.mark.parametrize(("call", "nth", "left", "backed_up"), CALLS)
@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC, errno.EROFS])
def test_failed_write_leaves_a_whole_file_and_no_temporary_one(
    path, tmp_path, monkeypatch, call, nth, left, backed_up, error
):
    """At each step: the error comes out, and what is there is one generation or the other."""
    backup = tmp_path / "store.json.bak"
    path.write_bytes(b"old")
    backup.write_bytes(b"older")
    with failing(monkeypatch, call, error, nth), pytest.raises(OSError) as raised:
        write_durably(path, b"new", backup=backup)
    assert raised.value.errno == error
    assert (path.read_bytes(), backup.read_bytes()) == (left, backed_up)
    assert names(path) == ["store.json", "store.json.bak"]


@pytest.mark.parametrize("refusal", [errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK])
def test_file_system_without_hard_links_gets_a_copy(path, tmp_path, monkeypatch, refusal):
    """A FAT card has none; the backup is then written like any other file."""
    backup = tmp_path / "store.json.bak"
    path.write_bytes(b"old")
    for asked in (lambda: write_durably(path, b"new", backup=backup), lambda: keep_copy(path, "foreign", STAMP)):
        with failing(monkeypatch, "link", refusal):
            asked()
    assert (path.read_bytes(), backup.read_bytes()) == (b"new", b"old")
    assert (tmp_path / f"store.json.foreign-{STAMP}").read_bytes() == b"new"
    with failing(monkeypatch, "link", refusal):
        restore_file(path, backup)
    assert (path.read_bytes(), backup.read_bytes()) == (b"old", b"old")
    assert names(path) == ["store.json", "store.json.bak", f"store.json.foreign-{STAMP}"]


def test_write_that_breaks_off_in_the_middle_leaves_the_old_file(path):
    """The kernel takes a part of the bytes and no more."""
    path.write_bytes(b"old")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        with pytest.raises(OSError) as raised:
            write_durably(path, b"x" * 10_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert raised.value.errno == errno.EFBIG
    assert path.read_bytes() == b"old"
    assert names(path) == ["store.json"]


FULL_DISK = """
    import errno, pathlib, sys
    from plantimager.timelapse.support.durable import write_durably
    path = pathlib.Path(sys.argv[1], "store.json")
    write_durably(path, b"old")
    try:
        write_durably(path, b"x" * 200_000, backup=path.with_name("store.json.bak"))
    except OSError as problem:
        assert problem.errno == errno.ENOSPC, problem
    else:
        raise AssertionError("it fitted")
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in path.parent.iterdir()] == ["store.json"]
"""


def test_full_disk_leaves_the_old_file(tmp_path):
    """On a real file system of 64 KB, in a mount namespace of its own."""
    command = 'mount -t tmpfs -o size=64k tmpfs "$1" && exec "$2" -c "$3" "$1"'
    arguments = [str(tmp_path), sys.executable, textwrap.dedent(FULL_DISK)]
    if subprocess.run(["unshare", "-rm", "true"], check=False, capture_output=True).returncode:
        pytest.skip("this machine gives no user namespaces")
    subprocess.run(["unshare", "-rm", "sh", "-ec", command, "sh", *arguments], check=True)


def test_owner_is_set_before_the_file_has_its_name(path, monkeypatch):
    """Else its reader might come before it may read; here the owner stays ourselves, which everybody may do."""
    seen = []
    real = os.fchown
    monkeypatch.setattr(durable.os, "fchown", lambda *given: (seen.append((path.exists(), *given[1:])), real(*given)))
    write_durably(path, b"request", owner=(os.getuid(), os.getgid()))
    assert seen == [(False, os.getuid(), os.getgid())]


def test_made_directory_is_private_and_an_existing_one_stays_as_it_is(tmp_path):
    """0700 is ours to give only to what we make."""
    make_private_directory(tmp_path / "a" / "b")
    assert stat.S_IMODE((tmp_path / "a" / "b").stat().st_mode) == 0o700
    tmp_path.chmod(0o755)
    make_private_directory(tmp_path)
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755


# --- reading ------------------------------------------------------------------------------------


def a_socket(path):
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (lambda path: path.mkdir(), "not a regular file but a directory"),
        (os.mkfifo, "not a regular file but a FIFO"),
        (lambda path: path.symlink_to("/dev/null"), "not a regular file but a character device"),
        (lambda path: path.symlink_to(path), "Too many levels of symbolic links"),
        (a_socket, "No such device or address"),
    ],
)
def test_what_is_no_regular_file_is_refused_at_once(tmp_path, monkeypatch, make, what):
    """Nobody writes to that FIFO, and no descriptor stays open."""
    monkeypatch.chdir(tmp_path)  # a socket's path must be short
    path = tmp_path / "thing"
    make(path.relative_to(tmp_path) if make is a_socket else path)
    before = len([*Path("/proc/self/fd").iterdir()])
    with pytest.raises(OSError, match=what):
        read_regular(path, 100)
    assert len([*Path("/proc/self/fd").iterdir()]) == before


def test_file_is_read_up_to_the_limit(path):
    """One byte more is refused, before it is in memory."""
    path.write_bytes(b"x" * 100)
    assert len(read_regular(path, 100)) == 100
    with pytest.raises(FileTooLarge, match="100 bytes, at most 99 are read"):
        read_regular(path, 99)
    with pytest.raises(FileNotFoundError):
        read_regular(path.with_name("other"), 99)


# --- second names -------------------------------------------------------------------------------


def test_file_set_aside_has_another_name_and_overwrites_nothing(path):
    """Two in one second get names of their own."""
    for content in (b"1", b"2", b"3"):
        path.write_bytes(content)
        move_aside(path, "corrupt", STAMP)
    assert not path.exists()
    assert {entry.name: entry.read_bytes() for entry in path.parent.iterdir()} == {
        f"store.json.corrupt-{STAMP}": b"1",
        f"store.json.corrupt-{STAMP}-2": b"2",
        f"store.json.corrupt-{STAMP}-3": b"3",
    }


def test_dangling_link_counts_as_a_name_that_is_taken(path):
    """It is somebody's."""
    path.write_bytes(b"1")
    path.with_name(f"store.json.corrupt-{STAMP}").symlink_to("nowhere")
    assert move_aside(path, "corrupt", STAMP).name.endswith("Z-2")


def test_file_kept_aside_stays_where_it_is(path):
    """It has two names until it is replaced."""
    path.write_bytes(b"theirs")
    aside = keep_copy(path, "foreign", STAMP)
    assert aside.samefile(path)
    write_durably(path, b"ours")
    assert (path.read_bytes(), aside.read_bytes()) == (b"ours", b"theirs")


def test_backup_is_put_back_without_a_moment_in_which_there_is_no_file(path, tmp_path):
    """After it the next save keeps it as the previous generation, as always."""
    backup = tmp_path / "store.json.bak"
    path.write_bytes(b"garbage")
    backup.write_bytes(b"1")
    restore_file(path, backup)
    assert path.samefile(backup)
    write_durably(path, b"2", backup=backup)
    assert (path.read_bytes(), backup.read_bytes()) == (b"2", b"1")
    assert names(path) == ["store.json", "store.json.bak"]


# --- sweeping -----------------------------------------------------------------------------------


OURS = [
    "store.json.ab12_xyz.tmp",  # a save
    "store.json.0123abcd.tmp",  # put back
    "store.json.bak.0123abcd.tmp",  # its backup
    f"store.json.foreign-{STAMP}.ab12_xyz.tmp",  # copied aside, without hard links
    f"store.json.corrupt-{STAMP}-2.ab12_xyz.tmp",
    "store.jsonab12_xyz.tmp",  # a save of the community's controller
]
OTHERS = [
    "store.json",
    "store.json.bak",
    "store.json.lock",
    "store.json.live.new",
    f"store.json.corrupt-{STAMP}",
    "store.json.tmp",
    "store.json.ab12_xy.tmp",
    "store.json.ab12_xyzz.tmp",
    "store.json.2.ab12_xyz.tmp",  # of a store called store.json.2
    "other.json.ab12_xyz.tmp",
    "xstore.json.ab12_xyz.tmp",
    "notes.tmp",
]


def test_only_temporary_files_of_this_store_are_swept(path):
    """Of ours and of the community's controller; nothing of another store, and nothing that a person made."""
    for name in (*OURS, *OTHERS):
        path.with_name(name).write_bytes(b"")
    path.with_name("store.json.direktor.tmp").mkdir()
    assert sorted(gone.name for gone in sweep_temporaries(path)) == sorted(OURS)
    assert names(path) == sorted([*OTHERS, "store.json.direktor.tmp"])


def test_sweeping_where_there_is_nothing_does_nothing(tmp_path):
    """The directory need not even exist."""
    assert sweep_temporaries(tmp_path / "absent" / "store.json") == []


@pytest.mark.parametrize("call", ["fsync", "link", "replace"])
def test_write_that_was_killed_leaves_only_what_is_swept(path, monkeypatch, call):
    """Names as they are really made, not as a test would spell them."""

    class Killed(BaseException):
        pass

    def kill(*_, **__):
        raise Killed

    path.write_bytes(b"old")
    with monkeypatch.context() as patch:
        patch.setattr(durable.os, call, kill)
        patch.setattr(durable.os, "unlink", lambda _: None)  # nobody is left to clean up
        with pytest.raises(Killed):
            write_durably(path, b"new", backup=path.with_name("store.json.bak"))
    assert sweep_temporaries(path)
    assert {"store.json"} <= {*names(path)} <= {"store.json", "store.json.bak"}
    assert path.read_bytes() == b"old"


# --- where nothing can be written -------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["", "to be made", "to/be/made"])
def test_directory_that_can_be_written_or_made_is_fine(tmp_path, path):
    """And isn't made."""
    assert write_refusal(tmp_path / path) is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("path", ["file", "file/scans", "file/scans/of/mine"])
def test_what_is_below_a_file_is_no_directory(tmp_path, path):
    """As where a disk's mount point has been taken for something else."""
    (tmp_path / "file").touch()
    assert write_refusal(tmp_path / path) == "Not a directory"


@pytest.mark.parametrize(
    ("target", "why"),
    [
        ("x" * 300, "File name too long"),
        ("nowhere", "No such file or directory"),
        ("link", "Too many levels of symbolic links"),
    ],
)
def test_link_that_leads_nowhere_is_a_reason_and_stops_nobody(tmp_path, target, why):
    """Whatever the kernel says of it: the daemon that asks goes on."""
    link = tmp_path / "link"
    link.symlink_to(target)
    assert write_refusal(link) == why
    assert write_refusal(link / "scans") == why


def test_directory_of_somebody_else_is_told_apart_from_a_read_only_disk(tmp_path, monkeypatch):
    """Whoever may do everything, as root may, is refused by nothing else."""
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert write_refusal(tmp_path) == "Permission denied"
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_flag=os.ST_RDONLY))
    assert write_refusal(tmp_path) == "Read-only file system"
