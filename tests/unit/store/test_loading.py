"""Reading a store strictly: files in today's spelling, files in older ones, and files that hold no timelapse."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from store_strategies import files
from tree import STORES
from zones import EUROPE, zone

from plantimager.timelapse.domain.absence import Absence
from plantimager.timelapse.domain.states import Reason, TimeLapseMode, TimeLapseState
from plantimager.timelapse.domain.timelapse import TimeLapse
from plantimager.timelapse.store import loading
from plantimager.timelapse.store.loading import load_timelapse, read_timelapse
from plantimager.timelapse.store.location import backup_path
from plantimager.timelapse.store.raw_text import MAX_STORE_BYTES
from plantimager.timelapse.store.stored_timelapse import StoredTimelapse, new_stored_timelapse
from plantimager.timelapse.support.errors import ScanFailed, StoreCorrupt, StoreUnreadable
from plantimager.timelapse.support.json_text import dumps, loads
from stores import PATH, read, read_again

BEGIN = datetime(2026, 6, 22, 8, tzinfo=UTC)
EVERY = timedelta(minutes=30)
YEAR = STORES / "interval-year-8760.json"


def read_directly(text: bytes) -> StoredTimelapse | None:
    """Return what is read of a text in today's spelling, which nothing was rewritten for; ``None`` for any other."""
    contents = loading._decode_todays(text)
    return None if contents is None else loading._as_timelapse(contents)


def read_rewritten(text: bytes) -> StoredTimelapse:
    """Return what is read of a text that was rewritten first, whatever its spelling."""
    return loading._as_timelapse(loading._decode_older(text, PATH, None))


def after(steps: list[str], n_slots: int = 12) -> StoredTimelapse:
    """Return what the daemon holds after so many steps of a timelapse."""
    timelapse = TimeLapse(
        id="tl",
        mode=TimeLapseMode.INTERVAL,
        state=TimeLapseState.SCHEDULED,
        schedule_times=tuple(BEGIN + slot * EVERY for slot in range(n_slots)),
        scan_retries=1,
    )
    configuration = {"ScanPath": {"class_name": "Circle", "kwargs": {"radius": 350.5, "centre": [370, -0.0]}}}
    stored = new_stored_timelapse(timelapse, configuration, "c0ffee")
    at, log = BEGIN, stored.logbook
    for step in steps:
        if not timelapse.state.is_active:
            break
        at = max(at, timelapse.schedule_times[timelapse.next_idx])
        if step == "come back":
            span = (at, at + EVERY)
            log = replace(log, saved_at=at).came_back("boot", Absence((span,), (span,)))
        elif step == "miss":
            timelapse = timelapse.skip_late_slots(at + 3 * EVERY, Reason.MISSED, "the rig was off")
        elif step == "cancel":
            timelapse = timelapse.cancel(at, "anna", "wilted \N{SEEDLING}")
        elif timelapse.state is TimeLapseState.SCHEDULED:
            timelapse = timelapse.begin(at + timedelta(milliseconds=1), "boot")
        elif step == "interrupt":
            timelapse = timelapse.interrupt(at, "the power went")
        elif step == "not ready":
            timelapse = timelapse.rig_not_ready(ScanFailed("no camera"))
        elif step == "fail":
            timelapse = timelapse.fail_attempt(at + timedelta(seconds=9), ScanFailed("lens \x07 \\ufffd"))
        else:
            timelapse = timelapse.succeed(at + timedelta(minutes=5), 72)
    return stored.evolved(timelapse, log)


STEPS = st.lists(st.sampled_from(["begin", "take", "take", "fail", "miss", "interrupt", "not ready", "come back"]))


# --- today's spelling -----------------------------------------------------------------------------


@settings(max_examples=150, deadline=None, derandomize=True)
@given(steps=STEPS.map(lambda steps: ["begin", *steps]), cancelled=st.booleans(), n_slots=st.sampled_from([1, 2, 12]))
def test_all_that_the_daemon_writes_is_read_without_being_rewritten(steps, cancelled, n_slots):
    """Rewriting would change nothing of it, and make a start with thousands of slots slow."""
    text = after(steps + ["cancel"] * cancelled, n_slots).encode()
    directly = read_directly(text)
    assert directly is not None
    assert directly == read_rewritten(text)
    assert directly.encode() == text


def test_year_of_another_controller_is_in_todays_spelling_once_it_was_written():
    """Its times are naive: the first start rewrites them, later ones need not."""
    text = YEAR.read_bytes()
    assert read_directly(text) is None
    stored = read_timelapse(text, PATH, None)
    assert len(stored.timelapse.records) == 4000
    assert read_directly(stored.encode()) == stored


SOUND = {
    "timelapse_id": "tl",
    "mode": "interval",
    "state": "standby",
    "schedule_times": ["2026-06-22T08:00:00+00:00", "2026-06-22T08:30:00+00:00"],
    "next_idx": 1,
    "scans": [{"scan_id": "tl_0", "started_at": "2026-06-22T08:00:00Z", "status": "failed"}],
    "extra": {"db_url": "http://127.0.0.1", "timelapsed": {"boots": 2, "slots": {"0": {"pictures": 3}}}},
}


def changed(**changes: object) -> bytes:
    """Return the text of a sound store with other values."""
    return json.dumps({**SOUND, **changes}).encode()


def with_scan(**changes: object) -> bytes:
    """Return it with another scan."""
    return changed(scans=[{**SOUND["scans"][0], **changes}])


def with_ours(**changes: object) -> bytes:
    """Return it with something else that is ours."""
    return changed(extra={**SOUND["extra"], "timelapsed": {**SOUND["extra"]["timelapsed"], **changes}})


AT_TEN = "2026-06-22T10:00:00+02:00"


@pytest.mark.parametrize(
    "text",
    [
        changed(), changed(next_idx=0), changed(version=2), changed(extra=None), changed(extra={}), changed(scans=[]),
        changed(extra={"timelapsed": {}}), changed(schedule_times=["2026-06-22T08:00:00Z", AT_TEN]),
        changed(schedule_times=["2026-06-22T09:00:00Z", "2026-06-22T08:30:00Z"]), changed(state="configured"),
        changed(start_at=AT_TEN, warmup_sec=0.5, scan_retries=2, on_scan_failed="fail_timelapse"),
        changed(current_idx=-1),
        with_scan(status="failed", error={"type": "ScanFailed", "msg": "dark", "late_sec": 1.5, "code": None}),
        with_scan(status="running", error="dark"), with_scan(status="pending", error="dark", finished_at=None),
        with_scan(finished_at=AT_TEN), with_scan(error=["dark", {"deep": {"er": 1}}]),
        with_ours(slots={"7": {"pictures": 1}, "-1": {}}), with_ours(slots={}, outages=[], ending=None),
        with_ours(outages=[["2026-06-22T08:00:00Z", AT_TEN]], ending={"at": AT_TEN, "who": "anna"}),
        with_ours(slots={"0": {"scan_id": "other"}}), with_ours(slots={"1": {"scan_id": "tl_0"}}),
        changed(scans=[{"scan_id": "other"}], extra={"timelapsed": {"slots": {"0": {"scan_id": "other"}}}}),
        json.dumps({key: SOUND[key] for key in ("timelapse_id", "mode", "state", "schedule_times")}).encode(),
    ],
)  # fmt: skip
def test_what_is_in_todays_spelling_is_read_as_it_is(text):
    """Rewriting changes nothing of it."""
    directly = read_directly(text)
    assert directly is not None
    assert directly == read_rewritten(text)
    assert directly.encode() == read_rewritten(text).encode()


@pytest.mark.parametrize(
    "text",
    [
        b"", b"{}", b"[]", b"[" * 100_000, changed()[:-1], b"\xef\xbb\xbf" + changed(),
        changed().decode().encode("utf-16"),
        changed(new_in_version_2=True), changed(next_idx=3), changed(next_idx=-1), changed(next_idx=1.0),
        changed(next_idx=2**64), changed(version=2**64), changed(mode="hourly"), changed(state="lost"),
        changed(timelapse_id="../tl"), changed(warmup_sec=-1), changed(grace_period=10**10), changed(start_at="noon"),
        changed(schedule_times=["2026-06-22"]), changed(schedule_times=["1969-12-31T23:59:59Z"]),
        changed(schedule_times=["2026-06-22T08:00"]), changed(schedule_times=[17]), changed(schedule_times=None),
        changed(schedule_times=["2026-06-22T08:00:00"]), changed(start_at="2026-06-22"),
        changed(scans=SOUND["scans"] * 2), changed(scans=[{}]), changed(scans={}), changed(extra=[]),
        changed(extra={"secret": float("nan")}), changed(extra={"huge": 2**64}), changed(extra={"half": "\ud800"}),
        changed(extra={"timelapsed": 3}), with_scan(scan_id="tl_2026-06-22T08:00:00+00:00"), with_scan(status="done"),
        with_scan(status="pending", finished_at=AT_TEN), with_scan(started_at="2026-06-22T08:00:00"),
        with_scan(operator="anna"), with_scan(error=float("inf")), with_scan(error={"huge": 2**64}),
        with_scan(started_at="9999-01-01T00:00:00Z"), with_ours(slots={"0": {"pictures": -1}}), with_ours(slots=[]),
        with_ours(slots={"0": 3}), with_ours(slots={"first": {}}), with_ours(boots=-1), with_ours(theirs=1),
        with_ours(slots={"0": {"theirs": 1}}),
    ],
)  # fmt: skip
def test_what_is_in_another_spelling_or_faulty_is_not(text):
    """It is rewritten first, and then read or reported as faulty."""
    assert read_directly(text) is None


@pytest.mark.parametrize("end", ["1970-01-01T00:30:00", "8999-12-31T23:30:00", "9000-01-01T00:30:00"])
@pytest.mark.parametrize("offset", ["", "Z", "+01:00", "-01:00", "+14:00", "-14:00"])
@pytest.mark.parametrize("place", ["schedule_times", "start_at", "started_at", "finished_at"])
def test_time_at_the_end_of_the_years_is_refused_or_read_again_as_it_was_written(end, offset, place):
    """A store that this start has read must not be refused by the next: the year counts in UTC, as it is written."""
    at = end + offset
    changes = {"schedule_times": {"schedule_times": [at, at]}, "start_at": {"start_at": at}}.get(place)
    text = changed(**changes) if changes else with_scan(**{place: at})
    year = datetime.fromisoformat(at if offset else f"{at}Z").astimezone(UTC).year
    if 1970 <= year < 9000:
        stored = read_timelapse(text, PATH, UTC)
        assert read_again(stored).timelapse == stored.timelapse
    else:
        with pytest.raises(StoreCorrupt, match="years 1970 to 8999"):
            read_timelapse(text, PATH, UTC)


@pytest.mark.parametrize("levels", range(195, 204))
def test_file_is_read_as_deep_in_any_spelling(levels):
    """What one start has read the next one doesn't call corrupt."""
    deep = json.loads("[" * levels + "]" * levels)
    for text in (changed(extra={"others": deep}), with_scan(error=deep)):
        try:
            rewritten = read_rewritten(text)
        except StoreCorrupt:
            rewritten = None
        assert read_directly(text) == rewritten


# --- any spelling ---------------------------------------------------------------------------------


@pytest.mark.parametrize("attempt", [10**18, 10**20])
def test_number_that_is_not_kept_has_no_say_in_how_the_kept_ones_are_spelled(attempt):
    """A second reading writes the same text."""
    raw = json.loads(
        changed(theirs=5.960464477539063e-08, extra={"timelapsed": {"slots": {"0": {"attempt": attempt}}}})
    )
    stored = read(raw)
    assert read_again(stored).encode() == stored.encode()


@settings(deadline=None)
@given(raw=files())
def test_whatever_the_schema_allows_is_read_and_what_was_read_is_kept(raw):
    """Keys of every kind are kept, known or not, at the top, in extra and in the scans.

    It is read in any zone, and written again to the same text, which is that of a plain dump.
    """
    stored = read(raw)
    again = read_again(stored, zone(EUROPE))
    assert again.encode() == stored.encode() == dumps(loads(stored.encode()), exact=stored.exact)
    assert again.timelapse.tally == stored.timelapse.tally
    assert len(again.notes) == (stored.kept.version != 1) + goes_back(stored.timelapse)
    written = json.loads(stored.encode())
    unknown = {key: value for key, value in raw.items() if key.startswith("their ")}
    assert dumps({key: written[key] for key in unknown}) == dumps(unknown)
    theirs = {key: value for key, value in raw["extra"].items() if key != "timelapsed"}
    assert dumps({key: written["extra"][key] for key in theirs}) == dumps(theirs)
    assert all(key in written["extra"]["timelapsed"] for key in raw["extra"]["timelapsed"] if key.startswith("their "))
    assert count_unknown_keys(written["scans"]) == count_unknown_keys(raw["scans"])


def goes_back(timelapse):
    return list(timelapse.schedule_times) != sorted(timelapse.schedule_times)


def count_unknown_keys(scans):
    return sorted(key for scan in scans for key in scan if key.startswith("their "))


# --- files ----------------------------------------------------------------------------------------


@pytest.fixture
def path(tmp_path):
    return tmp_path / "store.json"


def put(path, value):
    path.write_bytes(value if isinstance(value, bytes) else json.dumps(value).encode())


def test_store_with_an_unknown_key_and_nan_is_loaded(path):
    """Both are still in the text of the next save."""
    raw = {**json.loads(YEAR.read_bytes()), "of a newer version": float("nan")}
    path.write_bytes(dumps(raw))
    loaded = load_timelapse(path)
    assert (loaded.path, loaded.trouble, loaded.stored.exact) == (path, None, False)
    assert loaded.stored.timelapse.next_idx == raw["next_idx"]
    assert b'"of a newer version": NaN' in loaded.stored.encode()


def test_secret_is_never_shown(path):
    """Neither ``repr`` nor an error shows it: an api_token is worth a database."""
    put(path, {**SOUND, "extra": {"api_token": "hunter2"}, "api_token": "hunter2"})
    assert "hunter2" not in repr(load_timelapse(path))
    for wrong in (["hunter2"], "hunter2", [{"api_token": "hunter2"}]):
        put(path, {**SOUND, "extra": wrong})
        with pytest.raises(StoreCorrupt, match="extra: write an object") as raised:
            load_timelapse(path)
        assert "hunter2" not in str(raised.value)


def test_keys_without_which_there_is_nothing_to_resume_are_required(path):
    """All other keys have a default."""
    put(path, {"timelapse_id": "tl"})
    with pytest.raises(StoreCorrupt, match=r"mode: required, but missing \(and 2 more\)"):
        load_timelapse(path)


def fifo(path):
    os.mkfifo(path)


def too_large(path):
    with path.open("wb") as file:
        file.truncate(MAX_STORE_BYTES + 10_000_000)


@pytest.mark.parametrize(
    ("make", "line"),
    [
        (lambda path: path.mkdir(), "can't be read: not a regular file but a directory"),
        (fifo, "can't be read: not a regular file but a FIFO"),
        (lambda path: path.symlink_to(path), "can't be read: a loop of symbolic links"),
        (lambda path: path.symlink_to("/nowhere/s"), "a symbolic link to /nowhere/s, which isn't there"),
        (lambda path: path.symlink_to("/dev/zero"), "can't be read: not a regular file but a character device"),
    ],
    ids=["directory", "FIFO", "loop", "dangling", "device"],
)
def test_store_that_can_not_be_read_now_is_not_called_corrupt(path, make, line):
    """It may be sound: nothing may replace it, and ``.bak`` doesn't stand in for it."""
    put(backup_path(path), SOUND)
    make(path)
    with pytest.raises(StoreUnreadable) as raised:
        load_timelapse(path)
    assert str(raised.value) == f"{path}: {line}"


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"", "empty"),
        (b"\0" * 4096, "4096 bytes of nothing (a write that was cut off)"),
        (b" \n", "2 bytes of nothing (a write that was cut off)"),
        (too_large, f"{MAX_STORE_BYTES + 10_000_000} bytes, at most {MAX_STORE_BYTES} are read"),
        (b'{"a": ' * 100_000, "not JSON: nested deeper than 200 levels"),
        (b"[" * 100_000 + b"]" * 100_000, "not JSON: nested deeper than 200 levels"),
        (b"{}\0\0", "not JSON: Extra data: line 1 column 3 (char 2)"),
        (b'{"a": 1', "not JSON: Expecting ',' delimiter: line 1 column 8 (char 7)"),
        (b"\x80abc", "not JSON: 'utf-8' codec can't decode byte 0x80 in position 0: invalid start byte"),
        (b"9" * 5000, "not JSON: Exceeds the limit (4300 digits) for integer string conversion"),
        (b"[1]", "holds a JSON array, not an object"),
        (b'"a"', "holds a JSON string, not an object"),
        (b"NaN", "holds a JSON number, not an object"),
        (b"true", "holds a JSON boolean, not an object"),
        (b"null", "holds a JSON null, not an object"),
        (b"{}", "timelapse_id: required, but missing (and 3 more)"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_store_that_holds_no_timelapse_gets_one_line(path, content, line):
    """The line names the file and the fault; the file is left as it is."""
    content(path) if callable(content) else put(path, content)
    size = path.stat().st_size
    with pytest.raises(StoreCorrupt) as raised:
        load_timelapse(path)
    assert str(raised.value).startswith(f"{path}: {line}")
    assert "\n" not in str(raised.value)
    assert path.stat().st_size == size


def test_absent_store_is_none_to_the_daemon_even_beside_a_backup(path):
    """A person who deletes the store wants to start afresh."""
    put(backup_path(path), SOUND)
    assert load_timelapse(path) is None


def test_backup_stands_in_for_a_corrupt_store(path):
    """The result says what is wrong with the store."""
    put(backup_path(path), {**SOUND, "timelapse_id": "before"})
    put(path, b"{")
    loaded = load_timelapse(path)
    assert (loaded.stored.timelapse.id, loaded.path) == ("before", backup_path(path))
    assert str(path) in str(loaded.trouble)


@pytest.mark.parametrize("backup", [b"", b"{}", None])
def test_corrupt_store_without_a_sound_backup_is_corrupt(path, backup):
    """The error is that of the store itself."""
    if backup is not None:
        put(backup_path(path), backup)
    put(path, b"{")
    with pytest.raises(StoreCorrupt, match=r"store\.json: not JSON"):
        load_timelapse(path)


@pytest.mark.parametrize("file", ["one-shot-pending", "interval-completed", "interval-utc-interrupted"])
@pytest.mark.parametrize("tail", [b"", b"\0" * 64], ids=["truncated", "zero-filled"])
def test_store_cut_off_anywhere_falls_back_to_its_backup(path, file, tail):
    """A write without fsync may end at any byte after a power cut."""
    text = (STORES / f"{file}.json").read_bytes()
    backup_path(path).write_bytes(text)
    for length in range(0, len(text), len(text) // 500 + 1):
        path.write_bytes(text[:length] + tail)
        loaded = load_timelapse(path)
        assert loaded.path == backup_path(path)
        assert loaded.trouble is not None


@pytest.mark.parametrize("flip", [0x01, 0x20, 0x80])
def test_store_with_a_flipped_bit_anywhere_raises_nothing_but_a_store_error(path, flip):
    """A worn SD card returns such bytes: the file is read or refused."""
    text = (STORES / "fixed-times-dst.json").read_bytes()
    for position in range(0, len(text), 2):
        path.write_bytes(text[:position] + bytes([text[position] ^ flip]) + text[position + 1 :])
        try:
            load_timelapse(path)
        except StoreCorrupt as corrupt:
            assert str(corrupt).startswith(f"{path}: ")  # noqa: PT017 - either outcome is right, a third is not
