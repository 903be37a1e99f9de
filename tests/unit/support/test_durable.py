"""Durable files: after any failure there is the old file or the new one, whole."""

from __future__ import annotations

import errno
import os
import resource
import socket
import stat
import subprocess
import sys
import textwrap
from contextlib import contextmanager, suppress
from types import SimpleNamespace

import pytest
from descriptors import open_files

from plantimager.timelapse.store.archive import archive_store
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
    """Return the path of a store in an empty directory."""
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
    """Its mode is 0600, since it may hold an api_token."""
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
    """There is always exactly one backup, and it is the old file itself, not a copy."""
    backup = tmp_path / "store.json.bak"
    write_durably(path, b"1", backup=backup)
    assert not backup.exists()
    for generation in (b"2", b"3", b"4"):
        before, inode = path.read_bytes(), path.stat().st_ino
        write_durably(path, generation, backup=backup)
        assert (path.read_bytes(), backup.read_bytes(), backup.stat().st_ino) == (generation, before, inode)
    assert names(path) == ["store.json", "store.json.bak"]


def test_backup_that_is_the_present_generation_stays(path, tmp_path):
    """That is the state after a save that was interrupted between the backup and the rename."""
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
    ("fsync", 2, b"new", b"old"),  # of the directory: the new file is in place
    ("fstat", 1, b"old", b"older"),
]


@pytest.mark.parametrize(("call", "nth", "left", "backed_up"), CALLS)
@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC, errno.EROFS])
def test_failed_write_leaves_a_whole_file_and_no_temporary_one(
    path, tmp_path, monkeypatch, call, nth, left, backed_up, error
):
    """At each step the error is raised, and each file is one whole generation."""
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
    """A FAT card has no hard links; the backup is then written like any other file."""
    backup = tmp_path / "store.json.bak"
    path.write_bytes(b"old")
    for act in (lambda: write_durably(path, b"new", backup=backup), lambda: keep_copy(path, "foreign", STAMP)):
        with failing(monkeypatch, "link", refusal):
            act()
    assert (path.read_bytes(), backup.read_bytes()) == (b"new", b"old")
    assert (tmp_path / f"store.json.foreign-{STAMP}").read_bytes() == b"new"
    with failing(monkeypatch, "link", refusal):
        restore_file(path, backup)
    assert (path.read_bytes(), backup.read_bytes()) == (b"old", b"old")
    assert names(path) == ["store.json", "store.json.bak", f"store.json.foreign-{STAMP}"]


def test_interrupted_write_leaves_the_old_file(path):
    """The kernel takes a part of the bytes and refuses the rest."""
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
    """The disk is a real file system of 64 KB in a mount namespace of its own."""
    command = 'mount -t tmpfs -o size=64k tmpfs "$1" && exec "$2" -c "$3" "$1"'
    arguments = [str(tmp_path), sys.executable, textwrap.dedent(FULL_DISK)]
    if subprocess.run(["unshare", "-rm", "true"], check=False, capture_output=True).returncode:
        pytest.skip("this machine gives no user namespaces")
    subprocess.run(["unshare", "-rm", "sh", "-ec", command, "sh", *arguments], check=True)


def test_owner_is_set_before_the_file_has_its_name(path, monkeypatch):
    """A reader that comes at once has permission. The owner here is the user of the test, which takes no privilege."""
    seen = []
    real = os.fchown
    monkeypatch.setattr(durable.os, "fchown", lambda *given: (seen.append((path.exists(), *given[1:])), real(*given)))
    write_durably(path, b"request", owner=(os.getuid(), os.getgid()))
    assert seen == [(False, os.getuid(), os.getgid())]


def test_made_directory_is_private_and_an_existing_one_keeps_its_mode(tmp_path):
    """A directory that somebody else made may be meant to be open."""
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
def test_file_that_is_not_regular_is_refused_at_once(tmp_path, monkeypatch, make, what):
    """A FIFO without a writer doesn't block the reader, and no descriptor stays open."""
    monkeypatch.chdir(tmp_path)  # a socket's path must be short
    path = tmp_path / "thing"
    make(path.relative_to(tmp_path) if make is a_socket else path)
    before = open_files()
    with pytest.raises(OSError, match=what):
        read_regular(path, 100)
    assert open_files() - before == set()


def test_file_is_read_up_to_the_limit(path):
    """A file with one byte more is refused before it is read."""
    path.write_bytes(b"x" * 100)
    assert len(read_regular(path, 100)) == 100
    with pytest.raises(FileTooLarge, match="100 bytes, at most 99 are read"):
        read_regular(path, 99)
    with pytest.raises(FileNotFoundError):
        read_regular(path.with_name("other"), 99)


# --- second names -------------------------------------------------------------------------------


def test_file_that_is_moved_aside_overwrites_nothing(path):
    """Several files in one second get names of their own."""
    for content in (b"1", b"2", b"3"):
        path.write_bytes(content)
        move_aside(path, "corrupt", STAMP)
    assert not path.exists()
    assert {entry.name: entry.read_bytes() for entry in path.parent.iterdir()} == {
        f"store.json.corrupt-{STAMP}": b"1",
        f"store.json.corrupt-{STAMP}-2": b"2",
        f"store.json.corrupt-{STAMP}-3": b"3",
    }


@pytest.mark.parametrize("call", ["lstat", "stat"])
def test_name_that_the_disk_can_not_look_up_is_not_free(path, monkeypatch, call):
    """A store that was put aside earlier, or an archived one, may have it."""
    earlier = path.with_name(f"store.json.corrupt-{STAMP}")
    archived = path.with_name("ended.json")
    for file in (path, earlier, archived):
        file.write_bytes(file.name.encode())
    real = getattr(os, call)

    def refuse(of, **named):
        if str(of) in {str(earlier), str(archived)}:
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(of))
        return real(of, **named)

    with monkeypatch.context() as disk:
        disk.setattr(os, call, refuse)
        with suppress(OSError):
            move_aside(path, "corrupt", STAMP)
        with suppress(OSError):
            archive_store(b"another", "ended", path.parent, STAMP)
    assert [file.read_bytes() for file in (earlier, archived)] == [earlier.name.encode(), archived.name.encode()]


def test_dangling_link_counts_as_a_taken_name(path):
    """Another person made it, so it is not replaced."""
    path.write_bytes(b"1")
    path.with_name(f"store.json.corrupt-{STAMP}").symlink_to("nowhere")
    assert move_aside(path, "corrupt", STAMP).name.endswith("Z-2")


def test_kept_copy_leaves_the_file_in_its_place(path):
    """The file has two names until a write replaces it."""
    path.write_bytes(b"theirs")
    aside = keep_copy(path, "foreign", STAMP)
    assert aside.samefile(path)
    write_durably(path, b"ours")
    assert (path.read_bytes(), aside.read_bytes()) == (b"ours", b"theirs")


def test_restored_backup_is_the_previous_generation_of_the_next_write(path, tmp_path):
    """The restored file and the backup are one file, and the next write keeps it."""
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
    "store.json.0123abcd.tmp",  # a restored backup
    "store.json.bak.0123abcd.tmp",  # the backup of a save
    f"store.json.foreign-{STAMP}.ab12_xyz.tmp",  # a kept copy, without hard links
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
    """Those of timelapsed and of the community's controller go; no file of another store or of a person does."""
    for name in (*OURS, *OTHERS):
        path.with_name(name).write_bytes(b"")
    path.with_name("store.json.direktor.tmp").mkdir()
    assert sorted(deleted.name for deleted in sweep_temporaries(path)) == sorted(OURS)
    assert names(path) == sorted([*OTHERS, "store.json.direktor.tmp"])


def test_sweeping_a_missing_directory_does_nothing(tmp_path):
    """At the first start the storage directory may not exist."""
    assert sweep_temporaries(tmp_path / "absent" / "store.json") == []


@pytest.mark.parametrize("call", ["fsync", "link", "replace"])
def test_temporary_files_of_a_killed_write_are_swept(path, monkeypatch, call):
    """The names are those that the code really makes."""

    class Killed(BaseException):
        pass

    def kill(*_, **__):
        raise Killed

    path.write_bytes(b"old")
    with monkeypatch.context() as patch:
        patch.setattr(durable.os, call, kill)
        patch.setattr(durable.os, "unlink", lambda _: None)  # a killed process cleans nothing up
        with pytest.raises(Killed):
            write_durably(path, b"new", backup=path.with_name("store.json.bak"))
    assert sweep_temporaries(path)
    assert {"store.json"} <= {*names(path)} <= {"store.json", "store.json.bak"}
    assert path.read_bytes() == b"old"


# --- directories that can't be written -------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["", "to be made", "to/be/made"])
def test_directory_that_can_be_written_or_made_has_no_refusal(tmp_path, path):
    """Asking doesn't make the directory."""
    assert write_refusal(tmp_path / path) is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("path", ["file", "file/scans", "file/scans/of/mine"])
def test_path_below_a_file_is_refused(tmp_path, path):
    """The kernel's own words say why."""
    (tmp_path / "file").touch()
    assert write_refusal(tmp_path / path) == "Not a directory"


@pytest.mark.parametrize(
    ("target", "why"),
    [
        ("x" * 300, "File name too long"),
        ("nowhere", "it is gone; was its disk pulled, or did another program remove it?"),
        ("link", "Too many levels of symbolic links"),
    ],
)
def test_broken_link_is_refused_without_an_exception(tmp_path, target, why):
    """The daemon that asks must go on, whatever the kernel answers."""
    link = tmp_path / "link"
    link.symlink_to(target)
    assert write_refusal(link) == why
    assert write_refusal(link / "scans") == why


def test_missing_permission_is_distinguished_from_a_read_only_disk(tmp_path, monkeypatch):
    """The answers of the kernel are made up here, since root is refused only by a read-only disk."""
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert write_refusal(tmp_path) == "Permission denied"
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_flag=os.ST_RDONLY))
    assert write_refusal(tmp_path) == "Read-only file system"
