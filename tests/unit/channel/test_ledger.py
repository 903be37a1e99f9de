"""The ledger says of a dataset only what was recorded of it, whatever happened to its file."""

import fcntl
import os
import shutil
import subprocess
import sys
import threading
import zlib
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tracing import Traced
from tree import SUPPORT
from waiting import wait_until

from plantimager.timelapse.channel.ledger import SPARE_LINES, Ledger, LedgerEntry, Outcome, _encode, forget_datasets

ENTRIES = [
    LedgerEntry(f"tl_{slot} 2026", Outcome.DELIVERED, "2026", files=slot, digest=f"{slot}" * 64) for slot in range(4)
]
BY_KEY = {entry.key: entry for entry in ENTRIES}


def read(path):
    """Return what a new reader finds, and whether it found damage."""
    ledger = Ledger(path)
    ledger.refresh()
    return ledger.entries, ledger.damaged_lines


@pytest.fixture
def path(tmp_path):
    return tmp_path / "relay" / "plantdb.ledger"


@pytest.fixture
def ledger(path):
    """Return a ledger of four datasets."""
    ledger = Ledger(path)
    ledger.refresh()
    for entry in ENTRIES:
        ledger.record(entry)
    return ledger


def test_what_was_recorded_is_read_again(ledger, path):
    """The file is for its owner alone."""
    assert read(path) == (BY_KEY, 0)
    assert path.stat().st_mode & 0o777 == 0o600


def test_the_last_outcome_counts(ledger, path):
    """A dataset that was refused may be delivered later."""
    later = LedgerEntry(ENTRIES[0].key, Outcome.REFUSED, "2027", why="it has changed")
    ledger.record(later)
    assert read(path)[0][later.key] == later


@given(st.data())
def test_a_file_that_ends_anywhere_loses_only_what_stood_there(tmp_path_factory, data):
    """As a power cut leaves it. The next line that is recorded is read, too."""
    path = tmp_path_factory.mktemp("ledger") / "l"
    ledger = Ledger(path)
    for entry in ENTRIES:
        ledger.record(entry)
    whole = path.read_bytes()
    end = data.draw(st.integers(0, len(whole)))
    path.write_bytes(whole[:end])
    n_whole = whole[: end + 1].count(b"\n") if end < len(whole) and whole[end] == 10 else whole[:end].count(b"\n")
    again = Ledger(path)
    again.refresh()
    assert again.entries == {entry.key: entry for entry in ENTRIES[:n_whole]}
    last = LedgerEntry("tl_9 2026", Outcome.BEGUN, "2026")
    again.record(last)
    assert read(path) == (again.entries, 0)
    assert again.entries[last.key] == last


@given(st.data())
def test_bytes_that_changed_make_no_other_claim(tmp_path_factory, data):
    """A line with other bytes is left out, and never counts as another dataset's."""
    path = tmp_path_factory.mktemp("ledger") / "l"
    ledger = Ledger(path)
    for entry in ENTRIES:
        ledger.record(entry)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 5))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    found, _ = read(path)
    assert found.items() <= BY_KEY.items()
    Ledger(path).refresh(mend=True)  # writes it again without the damage
    assert read(path) == (found, 0)


def test_a_writer_that_did_not_see_the_file_replaced_adds_to_the_new_one(ledger, path):
    """`timelapsectl deliver` and the relay have the file open at the same time."""
    other = Ledger(path)
    other.refresh()
    path.write_bytes(b"?\n" + path.read_bytes())
    ledger.refresh()
    Ledger(path).refresh(mend=True)  # compacts it into a new file
    ledger.record(LedgerEntry("a 1", Outcome.DELIVERED, "2026"))
    other.record(LedgerEntry("b 1", Outcome.DELIVERED, "2026"))
    assert read(path)[0].keys() == {*BY_KEY, "a 1", "b 1"}
    assert ledger.refresh()
    assert ledger.entries == read(path)[0]


def test_a_writer_that_waits_while_the_file_is_replaced_adds_to_the_new_one(ledger, path):
    """A line in the file that nobody sees any more would be lost."""
    entry = LedgerEntry("a 1", Outcome.DELIVERED, "2026")
    writer = threading.Thread(target=ledger.record, args=(entry,))
    with path.open("rb") as old:
        fcntl.flock(old, fcntl.LOCK_EX)
        writer.start()
        inode = f":{path.stat().st_ino} "
        locks = Path("/proc/locks")
        wait_until(lambda: any("->" in line and inode in line for line in locks.read_text().splitlines()), within=60)
        shutil.copy(path, path.with_name("new")).rename(path)
    writer.join()
    assert read(path)[0] == {**BY_KEY, entry.key: entry}


def test_earlier_outcomes_do_not_fill_the_disk(path):
    """The file is written again when most of it says nothing any more."""
    ledger = Ledger(path)
    entry = ENTRIES[0]
    ledger.record(*[entry] * (SPARE_LINES + 4))
    ledger = Ledger(path)
    ledger.refresh(mend=True)
    assert ledger.entries == {entry.key: entry}
    assert path.read_bytes().count(b"\n") == 1


def test_a_forgotten_dataset_is_unknown(ledger, path):
    """It is compared again."""
    assert forget_datasets(Ledger(path), lambda entry: entry.scan_id == "tl_1", "2027") == [ENTRIES[1]]
    assert read(path)[0].keys() == BY_KEY.keys() - {ENTRIES[1].key}
    assert ledger.refresh()
    assert not ledger.refresh()


def test_a_damaged_line_brings_back_nothing_that_it_may_have_taken_back(ledger, path):
    """What was begun or removed stays: the one is compared in any case, the other can't be any more."""
    begun = LedgerEntry("tl_7 2026", Outcome.BEGUN, "2026")
    removed = LedgerEntry("tl_8 2026", Outcome.REMOVED, "2026", why="lab")
    ledger.record(begun, removed)
    size = path.stat().st_size
    forget_datasets(Ledger(path), lambda entry: entry.scan_id == "tl_1", "2027")
    content = path.read_bytes()
    late = LedgerEntry("tl_9 2026", Outcome.DELIVERED, "2026")
    path.write_bytes(content[:size] + content[size:].replace(b"tl_1", b"tl_?") + _encode(late))
    for _ in range(2):
        assert read(path)[0] == {entry.key: entry for entry in (begun, removed, late)}


def test_what_a_later_version_wrote_costs_comparing(ledger, path):
    """A field is left out; an outcome that nobody knows yet counts as damage, before which nothing is believed."""
    entry = msgspec.json.encode({"key": "tl_9 2027", "outcome": "delivered", "at": "2027", "new": [1]})
    path.write_bytes(path.read_bytes() + b"%s\t%08x\n" % (entry, zlib.crc32(entry)))
    assert read(path) == ({**BY_KEY, "tl_9 2027": LedgerEntry("tl_9 2027", Outcome.DELIVERED, "2027")}, 0)
    entry = entry.replace(b"delivered", b"transposed")
    path.write_bytes(path.read_bytes() + b"%s\t%08x\n" % (entry, zlib.crc32(entry)))
    assert read(path) == ({}, 1)


@pytest.mark.usefixtures("ledger")
@pytest.mark.parametrize("part", [b'"why": "\xff"', b'"new": %b%b' % (b"[" * 9999, b"]" * 9999)])
def test_a_line_that_can_not_be_read_is_damaged_whatever_its_checksum(path, part):
    """What has written it is not known."""
    entry = b'{"key": "tl_9 2027", "outcome": "delivered", "at": "2027", %b}' % part
    path.write_bytes(path.read_bytes() + b"%s\t%08x\n" % (entry, zlib.crc32(entry)))
    assert read(path) == ({}, 1)


@pytest.mark.parametrize("torn", [b"t", b"x" * 9999, b"\0" * 4096])
def test_a_torn_line_is_cut_off_by_the_next_record(ledger, path, torn):
    """The file has no damage then, and nothing before it is doubted."""
    path.write_bytes(path.read_bytes() + torn)
    last = LedgerEntry("tl_9 2026", Outcome.DELIVERED, "2026")
    Ledger(path).record(last)
    assert read(path) == ({**BY_KEY, last.key: last}, 0)


def test_whoever_only_looks_leaves_the_damage_to_the_one_who_tells_of_it(ledger, path):
    """A person or the relay's control thread doesn't mend: the sink, which compares again, would find a sound file."""
    content = b"?\n" + path.read_bytes()
    path.write_bytes(content)
    assert read(path) == (BY_KEY, 1)
    assert path.read_bytes() == content
    ledger.refresh(mend=True)
    assert ledger.damaged_lines == 1
    assert read(path) == (BY_KEY, 0)


def test_what_another_has_forgotten_is_noticed_after_a_record_of_our_own(ledger, path):
    """`timelapsectl deliver --retry` is noticed while the relay delivers."""
    forget_datasets(Ledger(path), lambda entry: entry.scan_id == "tl_1", "2027")
    ledger.record(LedgerEntry("tl_9 2026", Outcome.DELIVERED, "2026"))
    assert ledger.has_changed
    ledger.record(LedgerEntry("tl_8 2026", Outcome.DELIVERED, "2026"))
    assert ledger.refresh()
    assert ledger.entries.keys() == {*BY_KEY, "tl_8 2026", "tl_9 2026"} - {ENTRIES[1].key}
    ledger.record(ENTRIES[1])
    assert not ledger.has_changed


def test_what_another_adds_before_a_compaction_is_kept(ledger, path, monkeypatch):
    """It has been read neither by us nor into the new file."""
    path.write_bytes(b"?\n" + path.read_bytes())
    compact = ledger._compact
    late = LedgerEntry("tl_9 2026", Outcome.DELIVERED, "2026")

    def add_first():
        with path.open("ab") as file:
            file.write(_encode(late))
        compact()

    monkeypatch.setattr(ledger, "_compact", add_first)
    ledger.refresh(mend=True)
    assert ledger.has_changed
    assert read(path)[0] == {**BY_KEY, late.key: late}


@pytest.mark.parametrize("what", ["record", "compact"])
def test_a_kill_at_any_system_call_loses_nothing_that_was_recorded(tmp_path, what):
    """And the next run records as if nothing had been."""
    program = [sys.executable, __file__, what, tmp_path]
    done = subprocess.run(program, env={"PYTHONPATH": str(SUPPORT)}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 3


def kill_everywhere(what: str, directory: Path) -> int:
    """Kill a process at each of its system calls on a ledger; return at how many."""
    for at in range(1, 1000):
        path = directory / f"{at}.ledger"
        Ledger(path).record(*ENTRIES)
        if what == "compact":
            path.write_bytes(b"?\n" + path.read_bytes())
        body = Ledger(path)
        last = LedgerEntry("tl_9 2026", Outcome.DELIVERED, "2026")
        run = Traced(lambda body=body, last=last: body.refresh(mend=True) if what == "compact" else body.record(last))
        was_killed = run.go_on(at)
        found, _ = read(path)
        assert {**BY_KEY, last.key: last}.items() >= found.items() >= BY_KEY.items(), (at, found)
        Ledger(path).record(last)
        assert read(path)[0] == {**BY_KEY, last.key: last}
        if not was_killed:
            assert run.exit_status == 0
            return at
    raise AssertionError("it never ends")


if __name__ == "__main__":
    print(kill_everywhere(sys.argv[1], Path(sys.argv[2])))


def test_a_dataset_costs_few_bytes_in_the_ledger_however_often_it_is_recorded(path):
    """A year of a scan every hour stays below 2 MB, and is compacted to one line for each dataset."""
    ledger = Ledger(path)
    key, at = "drought-2026_{} 2026-06-22T08:00:00+02:00", "2026-06-22T08:01:02+00:00"
    for slot in range(20):
        about = {"files": 74, "size": 98_765_432, "digest": "5f" * 32}
        for entry in (
            LedgerEntry(key.format(slot), Outcome.BEGUN, at),
            LedgerEntry(key.format(slot), Outcome.DELIVERED, at, **about),
        ):
            ledger.record(entry)
    assert path.stat().st_size / 20 < 400
    ledger._compact()
    assert path.stat().st_size / 20 < 240
    assert read(path) == (ledger.entries, 0)


@pytest.mark.parametrize("room", [0, 20])
@pytest.mark.parametrize("before", [b"", b"torn"])
@pytest.mark.parametrize("is_new", [True, False])
def test_what_a_full_disk_refuses_counts_in_memory_and_leaves_nothing_torn(
    ledger, path, tmp_path, monkeypatch, room, before, is_new
):
    """The relay would deliver it again and again, and each time forget the one before."""
    if is_new:
        path, ledger = tmp_path / "new", Ledger(tmp_path / "new")
    elif before:
        path.write_bytes(path.read_bytes() + before)
        ledger.refresh()
    write, entry = os.write, LedgerEntry("a 1", Outcome.DELIVERED, "2026")

    def write_little(descriptor, content):
        if not room:
            raise OSError(28, "No space left on device")
        return write(descriptor, content[:room])

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", write_little)
        with pytest.raises(OSError, match=r"disk is full|No space left"):
            ledger.record(entry)
    assert not ledger.refresh()
    known = {} if is_new else BY_KEY
    assert ledger.entries == {**known, entry.key: entry}
    assert read(path) == (known, 0)
    assert path.read_bytes().endswith(b"\n") is not is_new
    later = LedgerEntry("b 1", Outcome.DELIVERED, "2026")
    ledger.record(later)
    assert read(path) == ({**known, later.key: later}, 0)
    assert not ledger.refresh()
