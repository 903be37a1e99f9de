"""The keeper of the store, with real files: first the disk, then memory; memory alone while the disk fails."""

from __future__ import annotations

import errno
import json
import logging
import os
import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace
from virtual_time import VirtualClock

from plantimager.timelapse.daemon import store_file, store_keeper
from plantimager.timelapse.daemon.loop import SaveRetry
from plantimager.timelapse.daemon.store_keeper import StoreKeeper
from plantimager.timelapse.daemon.transition import Circumstances, Transition
from plantimager.timelapse.domain.events import AttemptStarted, DefinitionAccepted, events_between
from plantimager.timelapse.domain.states import RecordStatus, TimeLapseMode, TimeLapseState
from plantimager.timelapse.domain.timelapse import SlotRecord, TimeLapse
from plantimager.timelapse.store.loading import load_timelapse
from plantimager.timelapse.store.location import backup_path
from plantimager.timelapse.store.schema import Logbook
from plantimager.timelapse.store.stored_timelapse import new_stored_timelapse
from plantimager.timelapse.support import durable
from plantimager.timelapse.support.durable import file_stamp
from plantimager.timelapse.support.errors import StoreCorrupt

if TYPE_CHECKING:
    from pathlib import Path

AT = datetime(2026, 6, 22, 8, 0, 30, tzinfo=UTC)
LATER = AT + timedelta(minutes=1)
STAMP = "20260622T080030Z"


@pytest.fixture(autouse=True)
def said(caplog):
    """Return a function that gives the lines since its last call."""
    caplog.set_level(logging.DEBUG, "timelapsed")

    def since():
        lines = [record.getMessage() for record in caplog.records if record.name == "timelapsed"]
        caplog.clear()
        return lines

    return since


@pytest.fixture
def path(tmp_path):
    return tmp_path / "store.json"


@pytest.fixture
def keeper(path):
    """Return a keeper that has just begun a timelapse of three slots."""
    keeper = StoreKeeper(path)
    times = tuple(AT + timedelta(hours=slot) for slot in range(3))
    value = TimeLapse(id="tl", mode=TimeLapseMode.INTERVAL, state=TimeLapseState.SCHEDULED, schedule_times=times)
    keeper.start(new_stored_timelapse(value, {"ScanPath": {}}, "digest"), AT)
    return keeper


@pytest.fixture
def broken(monkeypatch):
    """Return a function that says with which error every fsync fails, or ``None``."""
    real, error = os.fsync, [None]

    def fsync(descriptor):
        if error[0] is not None:
            raise OSError(error[0], os.strerror(error[0]))
        real(descriptor)

    monkeypatch.setattr(durable.os, "fsync", fsync)
    return lambda number: error.__setitem__(0, number)


def on_disk(path):
    return load_timelapse(path, UTC).stored


def names(path):
    return sorted(entry.name for entry in path.parent.iterdir())


def foreign(path, name="theirs"):
    """Write a store over ours as another program does."""
    fresh = path.with_name("fresh")
    fresh.write_text(json.dumps({"timelapse_id": name}))
    fresh.replace(path)


# --- disk first -----------------------------------------------------------------------------------


def test_value_is_on_disk_before_it_is_held(keeper, path, monkeypatch):
    """A part that acts on the value can be sure that it is durable."""
    real, seen = store_file.write_durably, []

    def write(*arguments, **options):
        seen.append(keeper.timelapse.state)
        result = real(*arguments, **options)
        seen.append((keeper.timelapse.state, on_disk(path).timelapse.state))
        return result

    monkeypatch.setattr(store_file, "write_durably", write)
    keeper.commit(keeper.timelapse.begin(AT, "b"), AT)
    scheduled, running = TimeLapseState.SCHEDULED, TimeLapseState.RUNNING
    assert seen == [scheduled, (scheduled, running)]
    assert keeper.timelapse.state is running


def test_what_is_held_is_what_is_on_disk(keeper, path):
    """After every commit, with the time of the save, and with the generation before as ``.bak``."""
    first = keeper.timelapse
    running = first.begin(AT, "b")
    assert keeper.commit(running, LATER)
    assert on_disk(path).timelapse == keeper.timelapse == running
    assert on_disk(path).logbook == keeper.logbook
    assert replace(keeper.logbook, recent=()) == Logbook(saved_at=LATER, definition_digest="digest")
    assert on_disk(backup_path(path)).timelapse == first
    assert names(path) == ["store.json", "store.json.bak"]


def test_logbook_of_a_commit_is_kept(keeper):
    """The next commit saves it, too."""
    keeper.commit(keeper.timelapse, AT, logbook=keeper.logbook.came_back("boot"))
    keeper.commit(keeper.timelapse, LATER)
    assert (keeper.logbook.boot_id, keeper.logbook.boots, keeper.logbook.saved_at) == ("boot", 1, LATER)


def test_keeper_that_holds_nothing_has_nothing_to_save(path):
    """To ask for it is a mistake of the program."""
    keeper = StoreKeeper(path)
    assert (keeper.timelapse, keeper.logbook) == (None, Logbook())
    assert keeper.retry(AT)
    with pytest.raises(LookupError):
        keeper.archive("tl", path.parent / "history", AT)
    assert names(path) == []


# --- the order of a transition --------------------------------------------------------------------


def test_transition_is_saved_adopted_acted_on_and_then_announced(keeper, path):
    """In this order, so that a power cut undoes nothing that was done or announced."""
    steps = []
    running = keeper.timelapse.begin(AT, "b")

    def act():
        steps.append("act")
        assert on_disk(path).timelapse == keeper.timelapse == running

    keeper.subscribe(lambda _: steps.append("first"))
    keeper.subscribe(lambda _: steps.append("second"))
    keeper.commit(running, AT, act=act)
    assert steps == ["act", "first", "second"]


def test_subscribers_are_given_the_events_of_every_transition(keeper):
    """With both values, the time, and what the values don't hold."""
    seen = []
    keeper.subscribe(seen.append)
    before = keeper.timelapse
    running = before.begin(AT, "b")
    keeper.commit(running, AT, Circumstances(is_repeated=True))
    keeper.retry(LATER)
    started, retried = seen
    assert started == Transition(
        before, running, AT, (AttemptStarted(running.current),), Circumstances(is_repeated=True)
    )
    assert (retried.before, retried.after, retried.events) == (running, running, ())


def test_timelapse_that_begins_is_a_transition_too(keeper):
    """Its value before is the timelapse that made room for it."""
    seen = []
    keeper.subscribe(seen.append)
    ended = keeper.timelapse.cancel(AT, "ada", "why")
    keeper.commit(ended, AT)
    following = replace(
        keeper.stored,
        timelapse=replace(ended, id="next", state=TimeLapseState.SCHEDULED, next_idx=0, records={}, ending=None),
    )
    keeper.start(following, LATER)
    assert seen[-1].before == ended
    assert seen[-1].events == (DefinitionAccepted(),)


def test_transition_whose_save_fails_is_acted_on_and_announced_all_the_same(keeper, broken):
    """The scan goes on; the daemon is degraded."""
    steps = []
    keeper.subscribe(lambda transition: steps.append(transition.events))
    broken(errno.ENOSPC)
    keeper.commit(keeper.timelapse.begin(AT, "b"), AT, act=lambda: steps.append("act"))
    assert steps == ["act", (AttemptStarted(keeper.timelapse.current),)]


# --- when the disk fails --------------------------------------------------------------------------


def test_save_that_fails_is_logged_once_and_the_value_adopted_all_the_same(keeper, path, broken, said):
    """A duplicate scan can be deleted, a missed time point can't be taken again."""
    said()
    before = path.read_bytes()
    broken(errno.ENOSPC)
    assert not keeper.commit(keeper.timelapse.begin(AT, "b"), AT)
    assert not keeper.retry(LATER)
    assert keeper.timelapse.state is TimeLapseState.RUNNING
    assert keeper.trouble == "No space left on device"
    assert said() == [
        f"store_not_saved: {path} can't be written (No space left on device); scans go on, and saving is tried again"
    ]
    assert path.read_bytes() == before
    assert names(path) == ["store.json"]


def test_another_reason_is_logged_again(keeper, broken, said):
    """It may have another cure."""
    for number in (errno.ENOSPC, errno.EROFS, errno.EROFS):
        broken(number)
        keeper.retry(AT)
    assert [line.partition(": ")[0] for line in said()[-2:]] == ["store_not_saved", "store_not_saved"]
    assert keeper.trouble == "Read-only file system"


def test_store_is_brought_up_to_date_when_the_disk_works_again(keeper, path, broken, said):
    """With everything that happened meanwhile, in one save."""
    broken(errno.EIO)
    keeper.commit(keeper.timelapse.begin(AT, "b"), AT)
    keeper.commit(keeper.timelapse.succeed(LATER, 9), LATER)
    said()
    broken(None)
    assert keeper.retry(LATER)
    assert on_disk(path).timelapse == keeper.timelapse
    assert on_disk(path).timelapse.tally.taken == 1
    assert (keeper.trouble, said()) == (None, [f"store_saved_again: {path} is up to date again"])


def test_store_whose_directory_could_not_be_synced_is_still_ours(keeper, path, broken, said, monkeypatch):
    """The new file is in place: the next save must not take it for another program's."""
    calls = []
    real = durable.sync_directory

    def sync(directory):
        calls.append(directory)
        if len(calls) == 1:
            raise OSError(errno.EIO, "Input/output error")
        real(directory)

    monkeypatch.setattr(durable, "sync_directory", sync)
    assert not keeper.commit(keeper.timelapse.begin(AT, "b"), AT)
    assert on_disk(path).timelapse == keeper.timelapse
    said()
    assert keeper.retry(LATER)
    assert said() == [f"store_saved_again: {path} is up to date again"]
    assert names(path) == ["store.json", "store.json.bak"]


def test_failed_save_is_tried_again_every_ten_seconds(keeper, path, broken):
    """And not any more once it has succeeded."""
    clock = VirtualClock(AT)
    retry = SaveRetry(keeper, clock)
    assert retry.watch() is None
    broken(errno.EIO)
    keeper.commit(keeper.timelapse.begin(AT, "b"), AT)
    assert retry.watch() == 10.0
    clock.pass_time(timedelta(seconds=4))
    assert retry.watch() == 6.0
    clock.pass_time(timedelta(seconds=6))
    assert retry.watch() == 10.0
    broken(None)
    clock.pass_time(timedelta(seconds=10))
    assert retry.watch() is None
    assert on_disk(path).timelapse == keeper.timelapse


# --- other programs -------------------------------------------------------------------------


def test_store_that_another_program_wrote_is_kept_aside(keeper, path, said):
    """The timelapse goes on, their version is kept, and the ``.bak`` is still our generation before."""
    keeper.commit(keeper.timelapse.begin(AT, "b"), AT)
    foreign(path)
    said()
    keeper.commit(keeper.timelapse.succeed(LATER), AT)
    aside = path.with_name(f"store.json.foreign-{STAMP}")
    assert json.loads(aside.read_bytes()) == {"timelapse_id": "theirs"}
    assert on_disk(path).timelapse == keeper.timelapse
    assert on_disk(backup_path(path)).timelapse.id == "tl"
    assert said() == [f"store_changed: {path} was written by somebody else; that version is kept as {aside.name}"]
    keeper.commit(keeper.timelapse, LATER)
    assert said() == []
    assert on_disk(backup_path(path)).timelapse == keeper.timelapse


def test_store_that_was_changed_in_place_is_kept_aside(keeper, path, said):
    """Some editors write into the same file."""
    with path.open("ab") as file:
        file.write(b"\n")
    keeper.commit(keeper.timelapse, AT)
    assert "store_changed" in said()[-1]


def test_store_that_appeared_where_there_was_none_is_kept_aside(path, keeper, said, tmp_path):
    """Another program may have written one while the daemon was idle."""
    idle = StoreKeeper(tmp_path / "other.json")
    foreign(idle.file.path)
    idle.start(keeper.stored, AT)
    assert json.loads((tmp_path / f"other.json.foreign-{STAMP}").read_bytes()) == {"timelapse_id": "theirs"}
    assert on_disk(idle.file.path).timelapse == keeper.timelapse


def test_store_that_was_deleted_is_written_again(keeper, path, said):
    """One line says so."""
    path.unlink()
    said()
    assert keeper.commit(keeper.timelapse, AT)
    assert on_disk(path).timelapse == keeper.timelapse
    assert said() == [f"store_changed: {path} was deleted by somebody else; it is written again"]


def test_foreign_store_is_kept_once_though_saving_goes_on_to_fail(keeper, path, monkeypatch, said):
    """A copy every ten seconds would fill the disk."""
    foreign(path)
    said()
    with monkeypatch.context() as patch:
        patch.setattr(store_file, "write_durably", lambda *_, **__: (_ for _ in ()).throw(OSError(errno.EIO, "x")))
        for _ in range(3):
            assert not keeper.commit(keeper.timelapse, AT)
    assert keeper.retry(LATER)
    assert [name for name in names(path) if "foreign" in name] == [f"store.json.foreign-{STAMP}"]
    assert [line.partition(": ")[0] for line in said()] == ["store_changed", "store_not_saved", "store_saved_again"]


@pytest.mark.parametrize("make", [lambda path: path.mkdir(), os.mkfifo])
def test_store_path_that_is_no_file_never_hangs_the_daemon(keeper, path, make, said):
    """A directory keeps it degraded; a FIFO is kept aside like any foreign file."""
    path.unlink()
    make(path)
    keeper.commit(keeper.timelapse, AT)
    keeper.retry(AT)
    assert keeper.trouble in (None, "Is a directory")
    assert keeper.timelapse.id == "tl"


# --- a store that grows -----------------------------------------------------------------------


@pytest.mark.parametrize("error", ["x" * 900, {"type": "E", "msg": "y" * 900, "late_sec": 7}, [["z" * 900]]])
def test_store_that_would_be_too_large_to_be_read_again_is_cut_short_before_it_is_written(
    path, said, error, monkeypatch
):
    """Errors of others have any size. The oldest are cut first; what became of each slot and when is kept."""
    value, records = grown(error=error)
    stored = new_stored_timelapse(value, {}, None)
    limit = set_limit(monkeypatch, len(stored.encode()) - 5000)
    keeper = StoreKeeper(path)
    assert keeper.start(stored, AT)
    assert path.stat().st_size < limit
    (line,) = said()
    assert line.startswith(f"store_shortened: {path} would have ")
    found = on_disk(path).timelapse
    assert found == keeper.timelapse
    cut = [slot for slot in range(30) if found.records[slot].error != error]
    assert cut == [*range(len(cut))]
    assert 5 <= len(cut) < 15
    assert [replace(found.records[slot], error=error) for slot in range(30)] == [*records.values()]
    assert keeper.commit(keeper.timelapse.begin(value.schedule_times[30], "b"), AT)
    assert said() == [], "not again at once"


@pytest.mark.parametrize("status", [RecordStatus.SUCCEEDED, RecordStatus.SKIPPED])
def test_records_that_are_cut_short_are_no_events(path, monkeypatch, status):
    """Else slots of days ago would be logged again, as if they were taken or missed now."""
    value, records = grown(error="x" * 900)
    value = replace(value, records={slot: replace(record, status=status) for slot, record in records.items()})
    stored = new_stored_timelapse(value, {}, None)
    keeper, seen = StoreKeeper(path), []
    assert keeper.start(stored, AT)
    set_limit(monkeypatch, len(stored.encode()) - 5000)
    keeper.subscribe(lambda transition: seen.append(transition.events))
    following = value.begin(value.schedule_times[30], "b")
    assert keeper.commit(following, AT)
    assert keeper.timelapse != following
    assert seen == [events_between(value, following)]


def test_keys_of_other_programs_stay_where_short_errors_are_enough(path, said, monkeypatch):
    """A weight that another program wrote can't be taken again."""
    value, records = grown(error="x" * 900, unknown_keys={"plant_weight": 3.5})
    stored = new_stored_timelapse(value, {}, None)
    set_limit(monkeypatch, len(stored.encode()) - 5000)
    assert StoreKeeper(path).start(stored, AT)
    found = on_disk(path).timelapse.records
    assert all(found[slot].unknown_keys == {"plant_weight": 3.5} for slot in records)
    (line,) = said()
    assert line.endswith(" slots are cut short, the oldest first; all else is kept")


def test_keys_of_other_programs_are_dropped_where_errors_are_not_enough_and_that_is_told(path, said, monkeypatch):
    """The oldest first; a store that can't be written is worse."""
    value, records = grown(error="x" * 150, unknown_keys={"note": "y" * 900})
    stored = new_stored_timelapse(value, {}, None)
    limit = set_limit(monkeypatch, len(stored.encode()) - 5000)
    assert StoreKeeper(path).start(stored, AT)
    assert path.stat().st_size < limit
    found = on_disk(path).timelapse.records
    lost = [slot for slot in records if not found[slot].unknown_keys]
    assert lost == [*range(len(lost))]
    assert 0 < len(lost) < 15
    (line,) = said()
    assert f"errors of 30 slots are cut short, and the keys of other programs in {len(lost)} slots are dropped" in line


def grown(**fields) -> tuple[TimeLapse, dict[int, SlotRecord]]:
    """Return a timelapse of 40 slots of which 30 have failed, and their records."""
    record = SlotRecord(slot=0, scan_id="", status=RecordStatus.FAILED, pictures=3, started_at=AT, **fields)
    records = {slot: replace(record, slot=slot, scan_id=f"tl_{slot}") for slot in range(30)}
    times = tuple(AT + timedelta(hours=slot) for slot in range(40))
    state, mode = TimeLapseState.SCHEDULED, TimeLapseMode.INTERVAL
    return TimeLapse(id="tl", mode=mode, state=state, schedule_times=times, next_idx=30, records=records), records


def set_limit(monkeypatch, limit: int) -> int:
    """Have stores of more bytes refused."""
    for module in (store_keeper, store_file):
        monkeypatch.setattr(module, "MAX_STORE_BYTES", limit)
    return limit


def test_store_that_can_not_be_cut_short_is_degraded_and_scans_go_on(path, keeper, said, monkeypatch):
    """The file that was there stays, and can be read."""
    before = path.read_bytes()
    said()
    for module in (store_keeper, store_file):
        monkeypatch.setattr(module, "MAX_STORE_BYTES", 100)
    assert not keeper.commit(keeper.timelapse.begin(AT, "b"), AT)
    assert [line.partition(": ")[0] for line in said()] == ["store_not_saved"]
    assert path.read_bytes() == before


# --- what a start finds changed -------------------------------------------------------------


def damaged(keeper: StoreKeeper, path: Path) -> StoreKeeper:
    """Return the keeper of a later daemon, after a slot was taken and its record was damaged on disk."""
    keeper.commit(keeper.timelapse.begin(AT, "b").succeed(LATER), AT)
    keeper.commit(keeper.timelapse, AT)
    path.write_bytes(path.read_bytes().replace(b"succeeded", b"cancelled").replace(b"cancelled", b"failed"))
    return StoreKeeper(path)


def test_store_that_does_not_fit_its_digest_is_taken_kept_and_described(keeper, path, said):
    """An edit and damage look alike: one WARNING, a copy, and the .bak of before stays."""
    later, before = damaged(keeper, path), backup_path(path).read_bytes()
    said()
    later.hold(later.salvage(later.file.load(), AT))
    aside = f"store.json.foreign-{STAMP}"
    (line,) = said()
    assert line.startswith(
        f"store_changed: {path} was edited while no daemon ran, or is damaged; unlike store.json.bak"
    )
    assert line.endswith(f"store.json.bak, one save older: slot 0: succeeded → failed; kept as {aside}")
    assert later.commit(later.timelapse, LATER)
    assert backup_path(path).read_bytes() == before
    assert not load_timelapse(path).is_altered
    assert later.commit(later.timelapse, LATER)
    assert names(path).count(aside) == 1
    assert said() == []


def test_store_that_does_not_fit_is_kept_before_it_is_written_over_where_the_disk_was_full(
    keeper, path, said, monkeypatch
):
    """The start says what it found, and the first save that succeeds has kept it."""
    later = damaged(keeper, path)
    said()
    with monkeypatch.context() as patch:
        patch.setattr(store_file, "keep_copy", lambda *_: (_ for _ in ()).throw(OSError(errno.ENOSPC, "full")))
        later.hold(later.salvage(later.file.load(), AT))
        assert not later.commit(later.timelapse, LATER)
    assert [line.partition(": ")[0] for line in said()] == ["store_changed", "store_not_saved"]
    assert later.retry(LATER)
    (aside,) = path.parent.glob("*.foreign-*")
    assert b"failed" in aside.read_bytes()


@pytest.mark.parametrize("disk", ["sound", "full"])
def test_backup_that_stands_in_and_does_not_fit_is_described_too(keeper, path, said, monkeypatch, disk):
    """Both versions are kept: the corrupt one, and what is gone on from."""
    later, backup = damaged(keeper, path), backup_path(path)
    path.replace(backup)
    path.write_bytes(b"{")
    said()
    with monkeypatch.context() as patch:
        if disk == "full":
            patch.setattr(store_file, "keep_copy", lambda *_: (_ for _ in ()).throw(OSError(errno.ENOSPC, "full")))
        later.hold(later.salvage(later.file.load(), AT))
    lines = said()
    (line,) = [line for line in lines if line.startswith("store_changed: ")]
    assert "there is no sound save before it to compare it with" in line
    assert later.commit(later.timelapse, LATER)
    kept = [aside.read_bytes() for aside in path.parent.glob("*.corrupt-*")]
    assert kept == [b"{"]
    assert len(said()) == (2 if disk == "full" else 0)


def test_backup_that_stands_in_and_does_not_fit_is_described_though_the_disk_stalled(keeper, path, said, monkeypatch):
    """All that a start sets aside is one write, which goes on when the disk does."""
    later, backup = damaged(keeper, path), backup_path(path)
    path.replace(backup)
    path.write_bytes(b"{")
    monkeypatch.setattr(store_keeper, "ASIDE_TIMEOUT", timedelta(milliseconds=10))
    goes_on, restore = threading.Event(), store_file.restore_file
    monkeypatch.setattr(store_file, "restore_file", lambda *paths: (goes_on.wait(60), restore(*paths)))
    later.hold(later.salvage(later.file.load(), AT))
    assert later.trouble.startswith("no answer from the disk")
    goes_on.set()
    later.finish(AT)
    assert [line for line in said() if line.startswith("store_changed: ")]
    assert later.trouble is None


def test_store_without_a_digest_is_taken_without_a_warning(keeper, path, said):
    """That of another controller, or of an older version of this one."""
    raw = json.loads(path.read_bytes())
    del raw["extra"]["timelapsed"]["digest"]
    path.write_text(json.dumps(raw))
    later = StoreKeeper(path)
    said()
    later.hold(later.salvage(later.file.load(), AT))
    assert later.commit(later.timelapse, LATER)
    assert said() == []


# --- what can't be used ---------------------------------------------------------------------------


def test_store_that_can_not_be_used_is_moved_to_where_it_can_be_found(path, said):
    """With its ``.bak``, which can't be used either: a file that could not be read is never overwritten."""
    path.write_bytes(b"{")
    backup_path(path).write_bytes(b"[")
    keeper = StoreKeeper(path)
    assert keeper.salvage(keeper.file.load(), AT) is None
    assert {entry.name: entry.read_bytes() for entry in path.parent.iterdir()} == {
        f"store.json.corrupt-{STAMP}": b"{",
        f"store.json.bak.corrupt-{STAMP}": b"[",
    }
    (line,) = said()
    assert line.startswith(f"store_quarantined: {path}: not JSON: ")
    assert line.endswith(f"; kept as store.json.corrupt-{STAMP} and store.json.bak.corrupt-{STAMP}")


def test_store_without_a_backup_is_moved_alone(path, said):
    """There is nothing else to move."""
    path.write_bytes(b"{")
    StoreKeeper(path).salvage(StoreCorrupt(path, "not JSON"), AT)
    assert names(path) == [f"store.json.corrupt-{STAMP}"]
    assert said() == [f"store_quarantined: {path}: not JSON; kept as store.json.corrupt-{STAMP}"]


def test_backup_takes_the_place_of_a_store_that_can_not_be_used(keeper, path, said):
    """At once: the power may go again before anything is saved."""
    before = keeper.timelapse
    keeper.commit(before.begin(AT, "b"), AT)
    path.write_bytes(b"garbage")
    said()
    fresh, loaded = StoreKeeper(path), load_timelapse(path, UTC)
    fresh.salvage(loaded, AT)
    assert on_disk(path).timelapse == before
    assert path.with_name(f"store.json.corrupt-{STAMP}").read_bytes() == b"garbage"
    quarantined, going_on = said()
    assert quarantined.endswith(f"kept as store.json.corrupt-{STAMP}")
    assert going_on == f"store_from_backup: going on from {backup_path(path)}, one save older"
    fresh.hold(loaded.stored)
    fresh.commit(fresh.timelapse, AT)
    assert said() == []
    assert names(path) == ["store.json", "store.json.bak", f"store.json.corrupt-{STAMP}"]


def test_corrupt_store_on_a_disk_that_can_not_be_written_stays_until_it_can(keeper, path, said, broken):
    """A dying card may do both. The ``.bak`` is kept until then, and the timelapse goes on."""
    before = keeper.timelapse
    keeper.commit(before.begin(AT, "b"), AT)
    path.write_bytes(b"garbage")
    generation = backup_path(path).read_bytes()
    fresh, loaded = StoreKeeper(path), load_timelapse(path, UTC)
    broken(errno.EROFS)
    said()
    fresh.salvage(loaded, AT)
    not_saved, going_on = said()
    assert not_saved.endswith(" can't take its place (Read-only file system)")
    assert going_on.startswith("store_from_backup: ")
    fresh.hold(loaded.stored)
    assert not fresh.commit(fresh.timelapse, AT)
    assert fresh.trouble == "Read-only file system"
    assert backup_path(path).read_bytes() == generation
    broken(None)
    assert fresh.retry(LATER)
    assert fresh.trouble is None
    kept = [entry for entry in path.parent.iterdir() if ".corrupt-" in entry.name]
    assert [entry.read_bytes() for entry in kept] == [b"garbage"]
    assert backup_path(path).read_bytes() == generation
    assert on_disk(path).timelapse == before


def test_corrupt_store_whose_backup_can_not_take_its_place_is_kept_once_and_written_over(keeper, path, said):
    """The ``.bak`` is gone by then: the value in memory is saved all the same."""
    keeper.commit(keeper.timelapse.begin(AT, "b"), AT)
    path.write_bytes(b"garbage")
    fresh, loaded = StoreKeeper(path), load_timelapse(path, UTC)
    backup_path(path).unlink()
    said()
    fresh.salvage(loaded, AT)
    fresh.hold(loaded.stored)
    assert [line.split(":")[0] for line in said()] == ["store_quarantined", "store_not_saved", "store_from_backup"]
    assert fresh.retry(LATER)
    assert names(path) == ["store.json", f"store.json.corrupt-{STAMP}"]
    assert fresh.trouble is None


# --- the archive's text ---------------------------------------------------------------------------


def archived(keeper, path):
    return keeper.archive("tl", path.parent / "history", AT).read_bytes()


def test_text_is_that_of_the_file_as_long_as_the_file_is_our_own(keeper, path):
    """A store that was only read is archived as it was written."""
    path.write_text(json.dumps(json.loads(path.read_bytes())))
    keeper.file.note_version()
    keeper.hold(on_disk(path))
    assert archived(keeper, path) == path.read_bytes()


def test_store_that_is_read_for_the_archive_holds_up_nobody_where_its_disk_stalls(keeper, path, monkeypatch):
    """It is read by the thread that writes."""
    readers, read = [], keeper.file.read_own
    monkeypatch.setattr(keeper.file, "read_own", lambda: readers.append(threading.current_thread().name) or read())
    archived(keeper, path)
    assert readers == ["disk"]


@pytest.mark.parametrize("spoil", ["foreign", "deleted", "degraded"])
def test_text_is_that_of_the_value_where_the_file_is_not_up_to_date(keeper, path, broken, spoil):
    """The archive has the last generation."""
    if spoil == "foreign":
        foreign(path)
    elif spoil == "deleted":
        path.unlink()
    else:
        broken(errno.EIO)
        keeper.commit(keeper.timelapse.cancel(AT, "ada", "why"), AT)
        broken(None)
    text = archived(keeper, path)
    assert text == keeper.stored.encode()
    assert json.loads(text)["state"] == keeper.timelapse.state


def test_stamp_is_sortable_and_fit_for_a_file_name():
    """UTC, to the second."""
    assert file_stamp(AT) == STAMP


def test_store_is_never_larger_than_what_is_read_again(keeper, path, monkeypatch):
    """The generation that can be read stays, and the daemon goes on, degraded."""
    before = path.read_bytes()
    monkeypatch.setattr(store_file, "MAX_STORE_BYTES", 10)
    assert not keeper.commit(keeper.timelapse.begin(AT, "boot"), LATER)
    assert "at most 10 are read again" in keeper.trouble
    assert keeper.is_scanning
    assert path.read_bytes() == before


def test_symbolic_link_stays_one_and_its_file_is_replaced(keeper, path, tmp_path):
    """The storage may be on another disk; the generation before is kept beside the file."""
    (tmp_path / "elsewhere").mkdir()
    target = path.rename(tmp_path / "elsewhere" / "kept.json")
    path.symlink_to(target)
    assert keeper.commit(keeper.timelapse.begin(AT, "boot"), LATER)
    assert path.is_symlink()
    assert load_timelapse(target).stored.timelapse == keeper.timelapse
    assert load_timelapse(backup_path(target)).stored.timelapse.state is TimeLapseState.SCHEDULED
    target.write_bytes(b"somebody else's")
    assert keeper.retry(LATER)
    assert path.is_symlink()
    (foreign,) = target.parent.glob("kept.json.foreign-*")
    assert foreign.read_bytes() == b"somebody else's"
