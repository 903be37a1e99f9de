"""Attempts at a dataset, on a real disk."""

import ctypes
import errno
import itertools
import os
import stat
from datetime import UTC, datetime
from pathlib import Path
from unittest.mock import Mock

import pytest
from msgspec.structs import replace

from plantimager.timelapse.datasets import attempt as attempt_module
from plantimager.timelapse.datasets import receipt as receipt_module
from plantimager.timelapse.datasets import syncing
from plantimager.timelapse.datasets.attempt import (
    begin_attempt,
    find_finished,
)
from plantimager.timelapse.datasets.attempt_directory import is_attempt_directory, unfinished_attempts
from plantimager.timelapse.datasets.contents import NO_DIGESTS, find_differences
from plantimager.timelapse.datasets.receipt import FILES, RECEIPT, load_receipt, receipt_text
from plantimager.timelapse.datasets.syncing import make_group_directory, open_to_group
from plantimager.timelapse.drivers.testing import make_request
from plantimager.timelapse.scan.request import Observed, Owner, ScanResult
from plantimager.timelapse.support.errors import PicturesUnreadable, ScanFailed, ScannerNotReady


@pytest.fixture
def request_(tmp_path):
    """Return a request whose dataset is alone in a directory."""
    return make_request(tmp_path)


def take(request, *names):
    """Make a whole dataset of files with these names."""
    with begin_attempt(request) as attempt:
        for name in names:
            make_group_directory((attempt.directory / name).parent)
            (attempt.directory / name).write_text("a picture")
        return attempt.finish(ScanResult(pictures=len(names)))


def test_attempt_fills_a_hidden_directory_beside_the_dataset(request_):
    """A database that reads the datasets' directory ignores it."""
    with begin_attempt(request_) as attempt:
        assert attempt.directory == request_.dataset_dir.with_name(".col0_0.attempt-1")
        assert attempt.directory.is_dir()
        assert not request_.dataset_dir.exists()


def test_attempt_without_a_file_leaves_no_directory(request_, tmp_path):
    """A rig that isn't ready is called every few seconds."""
    with begin_attempt(request_) as attempt:
        (attempt.directory / "images").mkdir()
    assert [*tmp_path.iterdir()] == []


def test_pictures_of_an_interrupted_attempt_are_kept(request_, tmp_path):
    """A later attempt with the same number gets another directory."""
    for _ in range(3):
        with begin_attempt(request_) as attempt:
            (attempt.directory / "0.jpg").write_text("a picture")
    assert [path.name for path in unfinished_attempts(request_)] == [
        ".col0_0.attempt-1", ".col0_0.attempt-1.2", ".col0_0.attempt-1.3",
    ]  # fmt: skip
    take(request_, "0.jpg")
    assert len(unfinished_attempts(request_)) == 3


def test_unfinished_attempts_are_listed_oldest_first_or_by_number(tmp_path):
    """Ten comes after two, and those of another slot are left out."""
    for number in (10, 2, 1):
        with begin_attempt(make_request(tmp_path, attempt=number)) as attempt:
            (attempt.directory / "0.jpg").touch()
    with begin_attempt(make_request(tmp_path, index=1)) as attempt:
        (attempt.directory / "0.jpg").touch()
        (tmp_path / ".col0_0.attempt-x").mkdir()
        assert [path.name[-2:] for path in unfinished_attempts(make_request(tmp_path))] == ["-1", "-2", "10"]
        assert [path.name[-2:] for path in unfinished_attempts(make_request(tmp_path), 2)] == ["-2"]


def test_whole_dataset_is_found_with_its_result(request_):
    """The result is in its receipt."""
    assert find_finished(request_) is None
    take(request_, "0.jpg", "1.jpg")
    assert find_finished(request_) == ScanResult(pictures=2)


def test_interrupted_rename_is_completed(request_, tmp_path):
    """An attempt with a receipt is whole, wherever it is."""
    take(request_, "0.jpg")
    request_.dataset_dir.rename(tmp_path / ".col0_0.attempt-1")
    assert find_finished(request_) == ScanResult(pictures=1)
    assert (request_.dataset_dir / "0.jpg").exists()


@pytest.mark.parametrize("content", [b"", b"a pict", None])
def test_attempt_whose_disk_was_pulled_before_its_files_were_on_it_is_not_whole(request_, tmp_path, content):
    """The machine's boot is the same; the receipt was on disk, and the kernel has lost what was to follow."""
    take(request_, "0.jpg", "1.jpg")
    attempt = request_.dataset_dir.rename(tmp_path / ".col0_0.attempt-1")
    picture = attempt / "0.jpg"
    whole = picture.read_bytes()
    picture.unlink()
    if content is not None:
        picture.write_bytes(content)
    assert find_finished(request_) is None
    picture.unlink(missing_ok=True)
    picture.write_bytes(whole)
    assert find_finished(request_) == ScanResult(pictures=2)


def test_temporary_receipt_of_a_killed_process_is_no_file_of_the_dataset(request_, tmp_path):
    """It was killed while it added the digests; the next process completes the dataset without it."""
    take(request_, "0.jpg")
    attempt = request_.dataset_dir.rename(tmp_path / ".col0_0.attempt-1")
    (attempt / f"{RECEIPT}.ab12_xyz.tmp").write_bytes(b"{")
    assert find_finished(request_) == ScanResult(pictures=1)
    assert sorted(path.name for path in request_.dataset_dir.iterdir()) == ["0.jpg", RECEIPT]
    assert find_differences(request_.dataset_dir) == []


@pytest.mark.parametrize("boot", ["another boot", None])
@pytest.mark.parametrize("has_digests", [True, False])
def test_after_a_power_cut_a_sealed_attempt_is_whole_where_its_files_have_their_digests(
    request_, tmp_path, monkeypatch, boot, has_digests
):
    """Without digests, as in receipts of earlier versions, it is unknown which pictures reached the disk."""
    take(request_, "0.jpg")
    boot_id = tmp_path / "boot_id"
    if boot:
        boot_id.write_text(boot)
    if not has_digests:
        receipt = load_receipt(request_.dataset_dir)
        del receipt[FILES]
        (request_.dataset_dir / RECEIPT).write_bytes(receipt_text(receipt))
    assert find_finished(request_) == ScanResult(pictures=1)
    attempt = request_.dataset_dir.rename(tmp_path / ".col0_0.attempt-1")
    assert (find_finished(replace(request_, index=1)), attempt.exists()) == (None, True)
    monkeypatch.setattr(receipt_module, "BOOT_ID", boot_id)
    assert find_finished(request_) == (ScanResult(pictures=1) if has_digests else None)


def test_without_a_boot_id_an_attempt_without_digests_is_not_whole(request_, tmp_path, monkeypatch):
    """Two boots without an id need not be the same boot."""
    monkeypatch.setattr(receipt_module, "BOOT_ID", tmp_path / "hidden")
    with begin_attempt(request_) as attempt:
        (attempt.directory / "0.jpg").write_text("a picture")
        attempt.seal(ScanResult(pictures=1))
    assert find_finished(request_) is None


def test_attempt_of_very_many_files_is_whole_after_a_power_cut_where_they_are_on_the_disk(
    request_, tmp_path, monkeypatch
):
    """Its receipt has one digest of them all."""
    monkeypatch.setattr(receipt_module, "MAX_RECEIPT_BYTES", 600)
    take(request_, *(f"{number}.jpg" for number in range(9)))
    attempt = request_.dataset_dir.rename(tmp_path / ".col0_0.attempt-1")
    monkeypatch.setattr(receipt_module, "BOOT_ID", tmp_path / "hidden")
    (attempt / "0.jpg").write_text("\0" * 9)
    assert find_finished(request_) is None
    (attempt / "0.jpg").write_text("a picture")
    assert find_finished(request_) == ScanResult(pictures=9)


@pytest.mark.parametrize(
    "receipt", [b"", b"{", b"[]", b"null", b"{}", b'{"timelapse_id": "col0", "index": 0}', b"\xff", b"[" * 100_000]
)
def test_dataset_with_a_damaged_receipt_is_not_whole(request_, receipt):
    """It raises nothing, either."""
    request_.dataset_dir.mkdir()
    (request_.dataset_dir / RECEIPT).write_bytes(receipt)
    assert find_finished(request_) is None


@pytest.mark.parametrize(
    "other",
    [
        {"timelapse_id": "col1"},
        {"index": 1, "scan_id": "col0_0"},
        {"scheduled_at": datetime(2026, 6, 23, 8, tzinfo=UTC)},
    ],
)
def test_dataset_of_another_slot_with_the_same_name_does_not_count(request_, tmp_path, other):
    """It is kept under another name when this slot is finished."""
    take(make_request(tmp_path, **{**other, "dataset_dir": request_.dataset_dir}), "old.jpg")
    assert find_finished(request_) is None
    take(request_, "new.jpg")
    assert (request_.dataset_dir / "new.jpg").exists()
    assert (tmp_path / "col0_0.earlier-1" / "old.jpg").exists()


def test_anything_in_the_place_of_a_dataset_is_kept(request_, tmp_path):
    """A file, a dangling link, a name that is taken already."""
    request_.dataset_dir.symlink_to("nowhere")
    (tmp_path / "col0_0.earlier-1").write_text("mine")
    take(request_, "0.jpg")
    assert (tmp_path / "col0_0.earlier-1").read_text() == "mine"
    assert (tmp_path / "col0_0.earlier-2").is_symlink()
    assert find_finished(request_)


def test_links_and_fifos_in_a_dataset_do_not_block_its_end(request_):
    """A program may leave some; they are not synced."""
    with begin_attempt(request_) as attempt:
        os.mkfifo(attempt.directory / "fifo")
        (attempt.directory / "link").symlink_to("/dev/zero")
        (attempt.directory / "deep").mkdir()
        (attempt.directory / "deep" / "0.jpg").write_text("a picture")
        attempt.finish(ScanResult())
    assert stat.S_ISFIFO((request_.dataset_dir / "fifo").lstat().st_mode)


def test_receipt_is_written_first_and_everything_is_synced_before_the_rename(request_, monkeypatch):
    """A kill after the receipt loses nothing; a power cut leaves a whole dataset, or none in its place."""
    order = []
    fsync, rename = os.fsync, type(request_.dataset_dir).rename

    def noted_fsync(descriptor):
        order.append(os.path.basename(os.readlink(f"/proc/self/fd/{descriptor}")))  # noqa: PTH115, PTH119 - a bare text
        fsync(descriptor)

    def noted_rename(path, target):
        order.append("rename")
        return rename(path, target)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(type(request_.dataset_dir), "rename", noted_rename)
    take(request_, "0.jpg")
    assert order[0].startswith(RECEIPT)
    assert order[1] == ".col0_0.attempt-1"
    assert order[2].startswith(RECEIPT)  # again, with the digests
    place = ".col0_0.attempt-1"
    assert order[3:] == [place, "0.jpg", place, "rename", request_.dataset_dir.parent.name]


def test_rig_is_not_ready_while_the_disk_takes_no_directory(request_):
    """The error has path and reason. Here the datasets' directory is a file."""
    request_.dataset_dir.parent.rmdir()
    request_.dataset_dir.parent.write_text("")
    with pytest.raises(ScannerNotReady, match=r"attempt-1: Not a directory"), begin_attempt(request_):
        pass


def test_attempt_fails_where_the_disk_refuses_a_later_write(request_):
    """The pictures are lost, so that the attempt is used up."""

    def lose_everything() -> None:
        with begin_attempt(request_) as attempt:
            attempt.directory.rmdir()
            attempt.finish(ScanResult())

    with pytest.raises(ScanFailed, match=r"it is gone; was its disk pulled"):
        lose_everything()


@pytest.mark.parametrize(("on_disk", "found"), [("a picture", ScanResult(pictures=1)), ("\0" * 9, None)])
def test_attempt_whose_sync_was_refused_is_whole_only_where_the_disk_has_it(
    request_, tmp_path, monkeypatch, on_disk, found
):
    """The kernel reports a failed write once, and the process that was told may have ended: the files show it."""
    fsync = os.fsync

    def fsync_all_but_pictures(descriptor):
        if os.readlink(f"/proc/self/fd/{descriptor}").endswith(".jpg"):  # noqa: PTH115 - a bare text
            raise OSError(errno.EIO, "Input/output error")
        fsync(descriptor)

    with monkeypatch.context() as disk:
        disk.setattr(os, "fsync", fsync_all_but_pictures)
        with pytest.raises(ScanFailed, match="Input/output error"):
            take(request_, "0.jpg")
    (tmp_path / ".col0_0.attempt-1" / "0.jpg").write_text(on_disk)
    assert find_finished(request_) == found
    assert request_.dataset_dir.exists() == (found is not None)


@pytest.mark.parametrize("largest", [receipt_module.MAX_RECEIPT_BYTES, 400], ids=["each digest", "one digest of all"])
def test_sealed_attempt_that_its_disk_has_damaged_is_not_whole_however_often_it_is_asked_about(
    request_, monkeypatch, largest
):
    """It was killed before its receipt had digests. They are made of what memory has, which is then given up."""
    monkeypatch.setattr(receipt_module, "MAX_RECEIPT_BYTES", largest)
    with begin_attempt(request_) as attempt:
        for name in ("0.jpg", "1.jpg"):
            (attempt.directory / name).write_text("a picture")
        attempt.seal(ScanResult(pictures=2))
    assert FILES not in load_receipt(attempt.directory)
    give_up = syncing.forget_cached

    def lose(directory):
        give_up(directory)
        (directory / "0.jpg").write_text("\0" * 9)

    with monkeypatch.context() as disk:
        disk.setattr(attempt_module, "forget_cached", lose)
        assert find_finished(request_) is None
    assert (FILES in load_receipt(attempt.directory)) == (largest > 400)
    assert find_finished(request_) is None
    (attempt.directory / "0.jpg").write_text("a picture")
    assert find_finished(request_) == ScanResult(pictures=2)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("is_killed", [False, True])
def test_disk_that_is_full_once_the_pictures_are_on_it_loses_no_time_point(request_, monkeypatch, number, is_killed):
    """Each further attempt would meet the same full disk. `find_differences` says that there are no digests."""
    with begin_attempt(request_) as attempt:
        (attempt.directory / "0.jpg").write_text("a picture")
        attempt.seal(ScanResult(pictures=1))
        with monkeypatch.context() as disk:
            disk.setattr(attempt_module, "write_durably", Mock(side_effect=OSError(number, "full")))
            taken = find_finished(request_) if is_killed else attempt.finish(ScanResult(pictures=1))
    assert taken == find_finished(request_) == ScanResult(pictures=1)
    assert find_differences(request_.dataset_dir) == [NO_DIGESTS]


@pytest.mark.parametrize(
    ("is_killed", "is_told"), [(False, True), (True, True), (True, False)], ids=["finished", "asked", "read back"]
)
def test_full_disk_that_refuses_the_pictures_too_keeps_no_receipt(request_, monkeypatch, is_killed, is_told):
    """Without digests, nobody would know afterwards that they were refused."""
    with begin_attempt(request_) as attempt:
        (attempt.directory / "0.jpg").write_text("a picture")
        attempt.seal(ScanResult(pictures=1))

    def lose(directory, *_):
        (directory / "0.jpg").write_text("\0" * 9)
        if is_told:
            raise OSError(errno.ENOSPC, "full")

    with monkeypatch.context() as disk:
        disk.setattr(attempt_module, "write_durably", Mock(side_effect=OSError(errno.ENOSPC, "full")))
        disk.setattr(attempt_module, "sync_tree" if is_told else "forget_cached", lose)
        if is_killed:
            assert find_finished(request_) is None
        else:
            with pytest.raises(OSError, match="full"):
                attempt.finish(ScanResult(pictures=1))
    assert find_finished(request_) is None
    assert (attempt.directory / "0.jpg").exists()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.ETIMEDOUT])
@pytest.mark.parametrize("lasts", [True, False])
@pytest.mark.parametrize("call", ["fsync", "open", "write", "chmod", "rename", "mkdir", "unlink", "scandir"])
def test_disk_that_refuses_anything_at_any_step_leaves_a_whole_dataset_or_none(
    request_, tmp_path, monkeypatch, call, lasts, number
):
    """For once, or from then on. A picture whose sync it refuses is lost; the next attempt is taken all the same."""
    real, failed_at, names = getattr(os, call), 0, ("0.jpg", "images/1.jpg")
    while True:
        calls, failed_at, lost = itertools.count(1), failed_at + 1, []
        request = replace(request_, dataset_dir=tmp_path / f"{failed_at}")

        def refuse(*arguments, calls=calls, failed_at=failed_at, lost=lost, **named):
            at = next(calls)
            if at == failed_at or (lasts and at > failed_at):
                if call == "fsync":
                    lost.append(Path(os.readlink(f"/proc/self/fd/{arguments[0]}")))  # noqa: PTH115 - of a link in /proc
                raise OSError(number, os.strerror(number), str(arguments[0]))
            return real(*arguments, **named)

        with monkeypatch.context() as disk:
            disk.setattr(os, call, refuse)
            try:
                taken = take(request, *names)
            except (ScanFailed, ScannerNotReady):
                taken = None
        is_over = next(calls) <= failed_at
        sound = [[], [NO_DIGESTS]] if number == errno.ENOSPC else [[]]
        assert taken is None or find_differences(request.dataset_dir) in sound
        for path in lost:
            if path.suffix == ".jpg":
                path.write_text("\0" * 9)
        found = find_finished(request) or take(replace(request, attempt=2), *names)
        assert found.pictures == 2
        assert [(request.dataset_dir / name).read_text() for name in names] == ["a picture"] * 2
        assert find_differences(request.dataset_dir) in sound
        if is_over:
            break


@pytest.mark.parametrize("call", ["open", "listdir"])
@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.EUCLEAN, errno.EMFILE, errno.ENOMEM, errno.EACCES])
def test_disk_that_can_not_be_read_does_not_say_that_no_attempt_was_finished(request_, monkeypatch, call, number):
    """The scan would be taken twice, or recorded as cut off. In a directory closed to this user nothing is its own."""
    with begin_attempt(request_) as attempt:
        (attempt.directory / "0.jpg").write_text("a picture")
        attempt.seal(ScanResult(pictures=1))

    def refuse(path, *_, **__):
        raise OSError(number, os.strerror(number), str(path))

    with monkeypatch.context() as disk:
        disk.setattr(os, call, refuse)
        if (call, number) == ("listdir", errno.EACCES):
            assert find_finished(request_) is None
        else:
            with pytest.raises(ScannerNotReady, match=os.strerror(number)):
                find_finished(request_)
    assert find_finished(request_) == ScanResult(pictures=1)


UNREADABLE = [errno.EIO, errno.ESTALE, errno.ENODEV, errno.EUCLEAN, errno.EBADMSG, errno.EREMOTEIO, errno.EACCES]
UNREADABLE += [errno.EPERM, errno.EMFILE, errno.ENOMEM]


@pytest.mark.parametrize("number", UNREADABLE)
def test_attempt_whose_receipt_can_not_be_read_may_be_whole(request_, monkeypatch, number):
    """However often it is asked about; what it says is known when the disk gives it."""
    seal(request_)
    for _ in range(2):
        with monkeypatch.context() as disk:
            failing_disk(disk, "open", number, f".attempt-1/{RECEIPT}")
            with pytest.raises(PicturesUnreadable, match=f"{os.strerror(number)}.*; where that lasts, move .*-1 away"):
                find_finished(request_)
    assert find_finished(request_) == ScanResult(pictures=1)


@pytest.mark.parametrize("number", UNREADABLE)
def test_unreadable_receipt_of_an_earlier_attempt_keeps_no_other_one_from_its_place(request_, monkeypatch, number):
    """Neither one that is to be made, nor one that is whole."""
    seal(request_)
    again = replace(request_, attempt=2)
    with monkeypatch.context() as disk:
        failing_disk(disk, "open", number, f".attempt-1/{RECEIPT}")
        assert find_finished(again) is None
        seal(again, "1.jpg")
        assert find_finished(again) == ScanResult(pictures=1)
    assert (request_.dataset_dir / "1.jpg").exists()
    assert [path.name for path in unfinished_attempts(request_)] == [".col0_0.attempt-1"]


def test_dataset_in_this_place_that_is_closed_to_this_user_is_not_of_this_rig(request_, monkeypatch):
    """The slot is taken all the same, and its pictures stay in the directory of their attempt."""
    take(request_, "0.jpg")
    failing_disk(monkeypatch, "open", errno.EACCES, f"{request_.dataset_dir}/{RECEIPT}")
    assert find_finished(request_) is None


def test_dataset_that_can_not_be_moved_into_place_does_not_count_yet(request_, tmp_path, monkeypatch):
    """Nobody looks for a dataset in a hidden directory once its slot is recorded as taken."""
    take(request_, "0.jpg")
    request_.dataset_dir.rename(tmp_path / ".col0_0.attempt-1")

    def refuse(source, _):
        raise OSError(errno.EBUSY, "Device or resource busy", str(source))

    with monkeypatch.context() as disk:
        disk.setattr(type(tmp_path), "rename", refuse)
        with pytest.raises(PicturesUnreadable, match="Device or resource busy"):
            find_finished(request_)
    assert find_finished(request_) == ScanResult(pictures=1)
    assert (request_.dataset_dir / "0.jpg").exists()


def seal(request, name="0.jpg"):
    """Make an attempt whose process is killed when its pictures are taken."""
    with begin_attempt(request) as attempt:
        (attempt.directory / name).write_text("a picture")
        attempt.seal(ScanResult(pictures=1))
    return attempt.directory


def failing_disk(monkeypatch, call, number, name):
    """Have a call fail that is made for a file of this name."""
    real = getattr(os, call)

    def refuse(target, *more, **named):
        path = os.readlink(f"/proc/self/fd/{target}") if isinstance(target, int) else os.fspath(target)  # noqa: PTH115 - os.fspath is used beside it
        if path.endswith(name):
            raise OSError(number, os.strerror(number), path)
        return real(target, *more, **named)

    monkeypatch.setattr(os, call, refuse)


REFUSALS = [errno.EIO, errno.ESTALE, errno.EROFS, errno.ETIMEDOUT, errno.EUCLEAN, errno.EBADMSG, errno.ENOMEM]


@pytest.mark.parametrize("number", [*REFUSALS, errno.EMFILE, errno.EREMOTEIO])
@pytest.mark.parametrize("call", ["open", "read", "fsync", "chmod", "stat", "rename"])
def test_disk_that_fails_under_the_pictures_does_not_say_that_they_are_not_whole(
    request_, tmp_path, monkeypatch, call, number
):
    """Their digests were on it. Whoever asks when it doesn't fail any more is told what it has, and nothing before."""
    take(request_, "0.jpg")
    request_.dataset_dir.rename(tmp_path / ".col0_0.attempt-1")
    at = ".col0_0.attempt-1" if call == "rename" else "0.jpg"
    for _ in range(3):
        with monkeypatch.context() as disk:
            failing_disk(disk, call, number, at)
            with pytest.raises(PicturesUnreadable, match=f"{os.strerror(number)}.*; where that lasts, move .*-1 away"):
                find_finished(request_)
        assert not request_.dataset_dir.exists()
    assert find_finished(request_) == ScanResult(pictures=1)
    assert find_differences(request_.dataset_dir) == []


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM])
@pytest.mark.parametrize("call", ["open", "stat", "rename"])
def test_own_pictures_that_are_closed_for_a_while_may_be_whole(request_, monkeypatch, call, number):
    """As by a file server whose ticket has expired. Only another user's file is left out of a dataset."""
    seal(request_)
    with monkeypatch.context() as disk:
        failing_disk(disk, call, number, ".attempt-1" if call == "rename" else "0.jpg")
        with pytest.raises(PicturesUnreadable, match=os.strerror(number)):
            find_finished(request_)
    assert find_finished(request_) == ScanResult(pictures=1)


def test_picture_whose_mode_can_not_be_changed_is_of_the_dataset(request_, monkeypatch):
    """Some file systems have no modes; it is readable all the same."""
    failing_disk(monkeypatch, "chmod", errno.EPERM, "0.jpg")
    take(request_, "0.jpg")
    assert [*load_receipt(request_.dataset_dir)[FILES]] == ["0.jpg"]


@pytest.mark.parametrize("number", [errno.ENOENT, errno.ENOTDIR])
@pytest.mark.parametrize("name", ["0.jpg", RECEIPT])
def test_attempt_that_somebody_moves_away_while_it_is_asked_about_is_not_whole(request_, monkeypatch, number, name):
    """That is a "no"."""
    seal(request_)
    failing_disk(monkeypatch, "open", number, f".attempt-1/{name}")
    assert find_finished(request_) is None


@pytest.mark.parametrize("number", [errno.EIO, errno.ENODEV])
def test_pictures_that_the_disk_refuses_before_anybody_knew_their_digests_are_never_taken(
    request_, monkeypatch, number
):
    """The kernel reports that once; memory may have given them up before, and the digests be those of what is left."""
    directory = seal(request_)
    with monkeypatch.context() as disk:
        failing_disk(disk, "fsync", number, "0.jpg")
        assert find_finished(request_) is None
    assert find_finished(request_) is None
    assert (directory / "0.jpg").exists()


@pytest.mark.parametrize("call", ["open", "read"])
def test_pictures_whose_digests_could_not_be_made_yet_may_be_whole(request_, monkeypatch, call):
    """Nothing was lost by that: they are read once more."""
    seal(request_)
    with monkeypatch.context() as disk:
        failing_disk(disk, call, errno.EIO, "0.jpg")
        with pytest.raises(PicturesUnreadable):
            find_finished(request_)
    assert find_finished(request_) == ScanResult(pictures=1)


@pytest.mark.parametrize("failed", [1, 2])
def test_disk_that_fails_while_attempts_are_listed_says_nothing(request_, monkeypatch, failed):
    """At whichever look at their directory."""
    seal(request_)
    real, calls = os.listdir, itertools.count(1)

    def refuse(path):
        if next(calls) == failed:
            raise OSError(errno.EIO, "Input/output error", str(path))
        return real(path)

    with monkeypatch.context() as disk:
        disk.setattr(os, "listdir", refuse)
        with pytest.raises(ScannerNotReady, match="Input/output error"):
            find_finished(request_)
    assert find_finished(request_) == ScanResult(pictures=1)


def test_unreadable_pictures_of_an_earlier_attempt_keep_no_other_one_from_being_made(request_, monkeypatch):
    """A driver looks for what is finished before it scans."""
    seal(request_)
    again = replace(request_, attempt=2)
    with monkeypatch.context() as disk:
        failing_disk(disk, "read", errno.EIO, ".attempt-1/0.jpg")
        assert find_finished(again) is None
        take(again, "1.jpg")
        assert find_finished(again) == ScanResult(pictures=1)
    assert [path.name for path in unfinished_attempts(request_)] == [".col0_0.attempt-1"]


def test_dataset_counts_as_taken_when_its_name_is_on_disk(request_, monkeypatch):
    """The process that gave it the name may have been killed before it was."""
    take(request_, "0.jpg")
    with monkeypatch.context() as disk:
        failing_disk(disk, "fsync", errno.EIO, request_.dataset_dir.parent.name)
        with pytest.raises(ScannerNotReady, match="Input/output error"):
            find_finished(request_)
    assert find_finished(request_) == ScanResult(pictures=1)


# --- rigs that share a directory ----------------------------------------------------------------------------

HERE = Owner(rig="a", store="/var/lib/a.json", host="pi", machine="1")


@pytest.fixture(
    params=[Owner(rig="b", store="/var/lib/b.json", host="pi", machine="1"), replace(HERE, machine="2")],
    ids=["another rig of this host", "the same rig of a cloned host"],
)
def other(request, request_):
    """Return the request of another rig for the same dataset."""
    return replace(request_, owner=request.param)


@pytest.fixture
def ours(request_):
    """Return our request for it."""
    return replace(request_, owner=HERE)


def test_dataset_of_another_rig_is_neither_taken_nor_moved(ours, other):
    """Our pictures stay in the directory of their attempt, and the fault says whose is what, and where."""
    take(other, "theirs.jpg")
    assert find_finished(ours) is None
    with pytest.raises(ScanFailed, match=rf"is a dataset of rig {other.owner.rig} on pi .*attempt-1~a-"):
        take(ours, "ours.jpg")
    assert {path.name for path in ours.dataset_dir.iterdir()} == {"theirs.jpg", RECEIPT}
    [aside] = unfinished_attempts(ours)
    assert (aside / "ours.jpg").read_text() == "a picture"
    assert find_finished(other) == ScanResult(pictures=1)


def test_next_attempt_does_not_take_again_what_only_lacks_its_place(ours, other):
    """The fault is repeated at once, before the rig moves; when the place is free, the dataset goes there."""
    take(other, "theirs.jpg")
    with pytest.raises(ScanFailed):
        take(ours, "ours.jpg")
    with pytest.raises(ScanFailed, match="is a dataset of rig"):
        find_finished(ours)
    other.dataset_dir.rename(other.dataset_dir.with_name("away"))
    assert find_finished(ours) == ScanResult(pictures=1)


def test_attempts_of_two_rigs_never_share_a_directory(ours, other):
    """Neither completes what the other has left."""
    with begin_attempt(ours) as mine, begin_attempt(other) as theirs:
        for attempt in (mine, theirs):
            (attempt.directory / "0.jpg").write_text("a picture")
            attempt.seal(ScanResult())
        assert (unfinished_attempts(ours), unfinished_attempts(other)) == ([mine.directory], [theirs.directory])
        assert (is_attempt_directory(ours, mine.directory), is_attempt_directory(ours, theirs.directory)) == (1, 0)


def test_dataset_that_can_not_be_read_is_not_moved(ours, monkeypatch):
    """It may be that of a rig under another user."""
    take(ours, "0.jpg")

    def refuse(*_):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(receipt_module, "read_regular", refuse)
    with pytest.raises(ScanFailed, match=r"somebody else \(Permission denied\)"):
        take(replace(ours, scheduled_at=datetime(2027, 1, 1, tzinfo=UTC)), "0.jpg")


def test_dataset_of_an_earlier_version_is_of_this_rig(ours):
    """Its receipt has no owner, and its attempt's directory no mark; nothing is lost at an update."""
    take(replace(ours, owner=None), "0.jpg")
    assert find_finished(ours) == ScanResult(pictures=1)
    ours.dataset_dir.rename(ours.dataset_dir.with_name(".col0_0.attempt-1"))
    assert find_finished(ours) == ScanResult(pictures=1)


def test_renamed_host_keeps_its_datasets(ours):
    """A network may give a host its name."""
    take(ours, "0.jpg")
    assert find_finished(replace(ours, owner=replace(HERE, host="pi-2", rig=""))) == ScanResult(pictures=1)


def test_what_is_moved_for_a_dataset_is_in_its_note(ours, tmp_path):
    """The journal has it."""
    (tmp_path / "col0_0").mkdir()
    with begin_attempt(ours) as attempt:
        (attempt.directory / "0.jpg").write_text("a picture")
        result = attempt.finish(ScanResult(note="a bit dark"))
    assert result.note == f"a bit dark; what was in {tmp_path}/col0_0 is now in col0_0.earlier-1"


def test_what_driver_and_observation_both_say_is_said_once(tmp_path):
    """Both look at what programs have left running."""
    observation = Mock()
    observation.result.return_value = Observed(note="5 processes still run")
    with begin_attempt(make_request(tmp_path, observe=lambda _: observation)) as attempt:
        (attempt.directory / "0.jpg").write_text("a picture")
        result = attempt.finish(ScanResult(note="5 processes still run"))
    assert result.note == "5 processes still run"


# --- evidence -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("files", "claimed", "fault"),
    [
        ({}, None, "left no file"),
        ({"0.jpg": ""}, None, "left no file"),
        ({"0.jpg": "x"}, 2, "took 2 pictures, and left 1 file"),
        ({"0.jpg": "x", "1.JPG": "x", "log.txt": "x"}, 3, "took 3 pictures, and left 2 pictures among 3 files"),
        ({"0.jpg": "x", "1.xyz": "x", "1.XMP": "x"}, 3, "took 3 pictures, and left 2 pictures among 3 files"),
        ({"files.json": "{}", "images.json": "{}"}, 2, "took 2 pictures, and left 0 pictures among 2 files"),
        ({"files.json": '{"filesets": [{"id": "images", "files": [{"file": "0.jpg"}]}]}'}, None, "lists images/0.jpg"),
    ],
)
def test_attempt_without_its_pictures_is_no_dataset(request_, files, claimed, fault):
    """Many programs exit with 0 after a failed capture."""

    def finish():
        with begin_attempt(request_) as attempt:
            for name, content in files.items():
                (attempt.directory / name).write_text(content)
            attempt.finish(ScanResult(pictures=claimed))

    with pytest.raises(ScanFailed, match=fault):
        finish()
    assert not request_.dataset_dir.exists()
    assert find_finished(request_) is None


@pytest.mark.parametrize(
    "names",
    [
        ("0.jpg", "1.xyz", "2"),  # a kind of raw file that nobody knows
        ("0.xyz", "0.jpg", "1.xyz", "1.jpg", "2.xyz", "log.txt"),
        ("0.csv", "1.csv", "2.csv", "about.json"),  # spectra
    ],
)
def test_files_of_an_unknown_kind_may_be_the_pictures(request_, names):
    """A whole scan is never refused for the names of its files."""
    with begin_attempt(request_) as attempt:
        for name in names:
            (attempt.directory / name).write_text("x")
        attempt.finish(ScanResult(pictures=3))
    assert find_finished(request_) == ScanResult(pictures=3)


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"filesets": 1}', '{"filesets": [{"files": [7]}]}', '{"filesets": [{"id": 1, "files": 1}]}'],
)
def test_list_of_files_in_another_form_is_no_fault(request_, text):
    """A program may call its file as it likes."""
    with begin_attempt(request_) as attempt:
        (attempt.directory / "0.jpg").write_text("a picture")
        (attempt.directory / "files.json").write_text(text)
        attempt.finish(ScanResult())
    assert find_finished(request_)


# --- on disk ------------------------------------------------------------------------------------------------


def test_every_file_and_every_chunk_on_disk_is_reported(request_, monkeypatch):
    """On a slow card the pictures of a scan take longer than a scan may go without progress."""
    monkeypatch.setattr(syncing, "BLOCK_BYTES", 2)
    monkeypatch.setattr(syncing, "CHUNK_BYTES", 4)
    reports = []
    with begin_attempt(request_, reports.append) as attempt:
        (attempt.directory / "0.jpg").write_text("a" * 40)
        (attempt.directory / "1.jpg").write_text("b")
        attempt.finish(ScanResult())
    kinds = ("reading file {} of 2", "putting file {} of 2 on disk")
    assert {words for words in reports if "of 2" in words} == {kind.format(n) for kind in kinds for n in (1, 2)}
    assert len(reports) > 4 + 20


def test_refused_part_of_a_file_fails_the_attempt(request_, monkeypatch):
    """The sync after it would succeed, since the kernel reports a failed write once."""

    def refuse(*_):
        ctypes.set_errno(errno.EIO)
        return -1

    monkeypatch.setattr(syncing, "CHUNK_BYTES", 4)
    monkeypatch.setattr(syncing, "_sync_file_range", lambda: refuse)
    with pytest.raises(ScanFailed, match="Input/output error"):
        take(request_, "0.jpg")


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_datasets_are_readable_by_the_group_alone(request_, umask):
    """Whatever the umask, and however private or public a program has made its files."""
    before = os.umask(umask)
    try:
        with begin_attempt(request_) as attempt:
            (attempt.directory / "images").mkdir()
            for mode in (0o600, 0o666, 0o400, 0o777):
                (attempt.directory / "images" / f"{mode:o}.jpg").write_text("a picture")
                (attempt.directory / "images" / f"{mode:o}.jpg").chmod(mode)
            attempt.finish(ScanResult())
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in request_.dataset_dir.rglob("*")}
    assert modes == {
        "images": 0o750, RECEIPT: 0o640, "600.jpg": 0o640, "666.jpg": 0o640, "400.jpg": 0o440, "777.jpg": 0o740,
    }  # fmt: skip
    assert stat.S_IMODE(request_.dataset_dir.stat().st_mode) == 0o750


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_directories_of_the_datasets_are_readable_by_the_group_alone(tmp_path, umask):
    """With their parents; one that was there keeps its mode, which somebody has chosen."""
    (tmp_path / "scans").mkdir(mode=0o700)
    before = os.umask(umask)
    try:
        for _ in range(2):
            make_group_directory(tmp_path / "scans" / "north" / "datasets")
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "scans").rglob("*")}
    assert modes == {"north": 0o750, "datasets": 0o750}
    assert stat.S_IMODE((tmp_path / "scans").stat().st_mode) == 0o700


@pytest.mark.parametrize("name", ["file", "link", "file/datasets"])
def test_file_in_place_of_the_datasets_is_an_error(tmp_path, name):
    """A link whose disk isn't mounted leads nowhere."""
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("nowhere/at/all")
    with pytest.raises(OSError, match=r"exists|Not a directory"):
        make_group_directory(tmp_path / name)


def test_change_of_a_dataset_is_found(request_):
    """Its receipt has the SHA-256 of every other file, whatever its name."""
    strange = os.fsdecode(b"\xff.jpg")
    take(request_, "0.jpg", "1.jpg", "2.jpg", strange)
    assert find_differences(request_.dataset_dir) == []
    (request_.dataset_dir / "0.jpg").write_text("another")
    (request_.dataset_dir / "1.jpg").unlink()
    (request_.dataset_dir / "late.txt").write_text("late")
    (request_.dataset_dir / strange).write_text("another")
    assert find_differences(request_.dataset_dir) == [
        "1.jpg is missing", "0.jpg has changed", "late.txt was added after the scan", f"{strange} has changed",
    ]  # fmt: skip


def test_receipt_is_read_again_however_many_files_there_are(request_, monkeypatch):
    """A receipt that is too large to read would be none."""
    monkeypatch.setattr(receipt_module, "MAX_RECEIPT_BYTES", 500)
    take(request_, *(f"{number}.jpg" for number in range(20)))
    assert find_finished(request_) == ScanResult(pictures=20)
    assert find_differences(request_.dataset_dir) == [NO_DIGESTS]


def test_directory_whose_group_is_inherited_stays_so_where_nothing_may_set_that_bit(tmp_path, monkeypatch):
    """A unit with RestrictSUIDSGID= refuses a chmod with the bit, also one that changes nothing."""
    directory = tmp_path / "attempt"
    directory.mkdir()
    directory.chmod(0o2750)
    refuse = Mock(side_effect=PermissionError(errno.EPERM, "Operation not permitted"))
    monkeypatch.setattr(Path, "chmod", refuse)
    open_to_group(directory)
    assert directory.stat().st_mode & 0o7777 == 0o2750
    refuse.assert_not_called()
