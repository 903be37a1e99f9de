"""The file system that a path is on."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from plantimager.timelapse.support import file_system
from plantimager.timelapse.support.file_system import (
    describe_disk_error,
    find_mount,
    identify_file_system,
    is_another,
    is_on_same_device,
    is_there,
    lock_reason,
    memory_reason,
    names_in,
    walk,
)

ROOT = "22 1 8:2 / / rw,relatime shared:1 - ext4 /dev/sda2 rw\n"
DISK = "40 22 8:17 / /mnt/the\\040disk rw,nosuid shared:9 - xfs /dev/sdb1 rw,attr2\n"
NFS = "41 22 0:44 / /srv/nas rw shared:8 - nfs4 nas:/export/scans rw,vers=4.2\n"
RUN = "25 22 0:23 / /run rw,nosuid - tmpfs tmpfs rw,size=800k\n"
RW = "26 22 0:25 / /media/root-rw rw - tmpfs tmpfs-root rw\n"
OVERLAY = (
    "22 1 0:24 / / rw - overlay overlayroot rw,lowerdir=/media/root-ro,upperdir=/media/root-rw/overlay,workdir=/w\n"
)
CONTAINER = "22 1 0:24 / / rw - overlay overlay rw,lowerdir=/l,upperdir=/var/lib/docker/diff,workdir=/w\n"


@pytest.fixture
def host(tmp_path, monkeypatch):
    """Return how to give the host other mounts, another database of udev, another command line of the kernel."""

    def make(mounts, uuids=(), command_line=""):
        for name, text in (("MOUNTS", mounts), ("KERNEL_COMMAND_LINE", command_line)):
            (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
            monkeypatch.setattr(file_system, name, tmp_path / name)
        for device, uuid in dict(uuids).items():
            (tmp_path / f"b{device}").write_text(f"S:disk/by-uuid/{uuid}\nE:ID_FS_UUID={uuid}\nE:ID_FS_TYPE=xfs\n")
        monkeypatch.setattr(file_system, "UDEV", tmp_path)

    return make


@pytest.mark.parametrize(
    ("mounts", "command_line", "path", "reason"),
    [
        (ROOT + RUN, "", "/var/lib/x", None),
        (ROOT + RUN, "", "/run/x", "/run is in memory (tmpfs)"),
        (ROOT + RUN, "", "/runner/x", None),
        (OVERLAY + RW, "", "/var/lib/x", "/ is an overlay whose changes are in memory"),
        (OVERLAY + RW + DISK, "", "/mnt/the disk/x", None),
        (CONTAINER, "", "/var/lib/x", None),
        (CONTAINER, "quiet boot=overlay", "/var/lib/x", "/ is an overlay whose changes are in memory"),
        (CONTAINER, "overlayroot=tmpfs:recurse=0", "/var/lib/x", "/ is an overlay whose changes are in memory"),
        ("", "", "/var/lib/x", None),
    ],
)
def test_storage_in_memory_is_found(host, mounts, command_line, path, reason):
    """That is a tmpfs, or an overlay whose upper layer is in one; the kernel's command line says so."""
    host(mounts, command_line=command_line)
    assert memory_reason(Path(path)) == reason


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ("rw,vers=4.2,proto=tcp,local_lock=none,addr=192.0.2.1", None),
        ("rw,vers=3,local_lock=posix", None),
        ("rw,vers=3,nolock,proto=tcp,local_lock=all", "/srv/nas is mounted with nolock"),
        ("rw,vers=3,local_lock=all", "/srv/nas is mounted with local_lock=all"),
        ("rw,vers=3,local_lock=flock", "/srv/nas is mounted with local_lock=flock"),
        ("rw,vers=3.1.1,nobrl", "/srv/nas is mounted with nobrl"),
    ],
)
def test_locks_that_no_other_machine_sees_are_found(host, options, reason):
    """The kernel names the option by which they are this machine's own; the store's lock is one of flock."""
    host(ROOT + NFS.replace("rw,vers=4.2", options))
    assert lock_reason(Path("/srv/nas/store")) == reason
    assert lock_reason(Path("/var/lib")) is None


def test_last_of_several_mounts_on_a_directory_counts():
    """It hides the others, as an automount point is hidden by its disk."""
    mounts = file_system.read_mounts(ROOT + DISK.replace("xfs", "autofs") + DISK)
    assert find_mount(Path("/mnt/the disk/scans"), mounts).type == "xfs"


@pytest.mark.parametrize("break_", ["\u2028", "\x85", "\x0c", "\x1c", "\r", "\udcff"])
def test_name_of_a_mount_may_have_what_python_takes_for_a_line_break(host, break_):
    """Whoever may mount a disk, or has it mounted under its label, chooses the name."""
    host((ROOT + DISK.replace("disk", f"di{break_}sk") + NFS).encode("utf-8", "surrogateescape"))
    assert lock_reason(Path("/srv/nas")) is None
    points = [mount.point for mount in file_system.mounts_now()]
    assert points == ["/", f"/mnt/the di{break_}sk", "/srv/nas"]


def test_line_on_mounts_that_can_not_be_read_is_passed_over(host):
    """The others count."""
    host(f"?\n{ROOT}40 22 8:17 / /mnt/x rw - xfs\n{NFS}")
    assert [mount.point for mount in file_system.mounts_now()] == ["/", "/srv/nas"]


def test_disk_is_known_by_its_uuid_whatever_its_name(host, tmp_path):
    """A disk in another socket has another device name and number."""
    here = f" {tmp_path} ".join
    host(here(["40 22 8:17 /", "rw - xfs /dev/sdb1 rw\n"]), {"8:17": "one", "8:33": "one", "8:49": "two"})
    before = identify_file_system(tmp_path / "not" / "made")
    assert before["uuid"] == "one"
    host(here(["40 22 8:33 /", "rw - xfs /dev/sdc1 rw\n"]))
    assert not is_another(before, identify_file_system(tmp_path))
    host(here(["40 22 8:49 /", "rw - xfs /dev/sdb1 rw\n"]))
    assert is_another(before, identify_file_system(tmp_path))


def test_network_disk_is_known_by_its_source(host, tmp_path):
    """It has no UUID."""
    host(NFS.replace("/srv/nas", str(tmp_path)))
    assert identify_file_system(tmp_path) == {"source": "nfs4:nas:/export/scans"}


@pytest.mark.parametrize(
    ("before", "now", "another"),
    [
        ({"uuid": "a", "fsid": "1"}, {"uuid": "a", "fsid": "2"}, False),
        ({"uuid": "a", "fsid": "1"}, {"fsid": "1"}, False),
        ({"uuid": "a", "fsid": "1"}, {"fsid": "2"}, True),
        ({"uuid": "a"}, {"source": "nfs4:nas:/x"}, True),
        ({"source": "nfs4:nas:/x"}, {"source": "nfs:nas:/x"}, False),
        ({"source": "nfs4:nas:/x"}, {"source": "nfs4:nas:/y"}, True),
        ({"uuid": "a"}, {}, False),
        ({}, {"uuid": "a"}, False),
    ],
)
def test_file_systems_differ_only_where_that_is_certain(before, now, another):
    """A slot isn't lost for a doubt."""
    assert is_another(before, now) is another


def test_paths_are_on_the_same_device_only_where_that_is_certain(host, tmp_path):
    """One of them may be still to be made; without a table of mounts nothing is certain."""
    disk = tmp_path / "disk"
    disk.mkdir()
    host(ROOT)
    assert is_on_same_device(tmp_path, disk / "not" / "made")
    host(ROOT + DISK.replace("/mnt/the\\040disk", str(disk)))
    assert not is_on_same_device(tmp_path, disk / "not" / "made")
    host("")
    assert not is_on_same_device(tmp_path, tmp_path)


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.ENOENT, "it is gone; was its disk pulled, or did another program remove it?"),
        (errno.EIO, "Input/output error; was its disk pulled, or is it failing?"),
        (errno.ENODEV, "No such device; was its disk pulled, or is it failing?"),
        (errno.ENOSPC, "No space left on device"),
    ],
)
def test_pulled_disk_is_named_as_the_cause(number, said):
    """The kernel's word for what it finds in its place would mislead a person."""
    assert describe_disk_error(OSError(number, os.strerror(number))) == said


def test_disk_that_an_automount_point_waits_for_is_named_whatever_the_error(tmp_path, monkeypatch):
    """The kernel's word depends on who asked first, and on the sandbox; another directory's errors keep theirs."""
    table = tmp_path / "mountinfo"
    table.write_text("1 0 0:1 / / rw - ext4 /dev/vda rw\n2 1 0:9 / /srv/scans rw - autofs systemd-1 rw\n")
    monkeypatch.setattr(file_system, "MOUNTS", table)

    def described(path):
        return describe_disk_error(OSError(errno.EROFS, os.strerror(errno.EROFS), path))

    assert described("/srv/scans/.tl.attempt-1") == "its disk isn't mounted: it was pulled, or isn't plugged in yet"
    assert described("/srv/other") == "Read-only file system"


def test_file_system_that_turned_read_only_is_told_from_a_sandbox(tmp_path, monkeypatch):
    """ext4 does so at an error of its disk, as when that is pulled; a sandbox makes the mount alone read-only."""
    table = tmp_path / "mountinfo"
    table.write_text("1 0 0:1 / / ro - ext4 /dev/vda rw\n2 1 8:0 / /srv/scans rw - ext4 /dev/sda ro,emergency_ro\n")
    monkeypatch.setattr(file_system, "MOUNTS", table)

    def described(path):
        return describe_disk_error(OSError(errno.EROFS, os.strerror(errno.EROFS), path))

    assert described("/srv/scans/.tl.attempt-1") == "Read-only file system; was its disk pulled, or is it failing?"
    assert described("/srv/other") == "Read-only file system"


def test_nothing_there_is_told_from_what_can_not_be_looked_at(tmp_path, monkeypatch):
    """A deletion, or a record, may depend on it."""
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("nowhere")
    assert names_in(tmp_path) == ["file", "link"]
    assert names_in(tmp_path / "none") == names_in(tmp_path / "file") == []
    assert [is_there(tmp_path / name) for name in ("file", "link", "none", "file/none")] == [True, True, False, False]

    def refuse(path, **_):
        raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))

    for call in ("stat", "lstat", "listdir", "scandir"):
        monkeypatch.setattr(os, call, refuse)
    for look in (is_there, names_in, lambda path: [*walk(path)]):
        with pytest.raises(OSError, match="Input/output error"):
            look(tmp_path)
