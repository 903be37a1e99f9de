"""The quick way to read a store is quick where it matters, and never reads anything else than the careful one."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from tree import STORES

from plantimager.timelapse.domain.states import Reason, TimeLapseMode, TimeLapseState
from plantimager.timelapse.domain.timelapse import TimeLapse
from plantimager.timelapse.store.document import TimelapseStore
from plantimager.timelapse.store.logbook import Logbook
from plantimager.timelapse.store.quick_reader import read_quickly
from plantimager.timelapse.store.stored_timelapse import (
    LONG,
    StoredTimelapse,
    load_timelapse,
    new_stored_timelapse,
    read_timelapse,
)
from plantimager.timelapse.support.errors import ScanFailed
from plantimager.timelapse.support.json_text import dumps, load

BEGIN = datetime(2026, 6, 22, 8, tzinfo=UTC)
EVERY = timedelta(minutes=30)
YEAR = STORES / "interval-year-8760.json"


def read_carefully(text: bytes) -> StoredTimelapse:
    """Return what `load_timelapse` makes of a text that isn't read quickly."""
    read = load(text)
    return read_timelapse(TimelapseStore.from_mapping(read.value, "s.json"), None, exact=read.exact)


def kept(deeds: list[str], n_slots: int = 12) -> StoredTimelapse:
    """Return a document as the daemon has it after so many slots."""
    timelapse = TimeLapse(
        id="tl",
        mode=TimeLapseMode.INTERVAL,
        state=TimeLapseState.SCHEDULED,
        schedule_times=tuple(BEGIN + slot * EVERY for slot in range(n_slots)),
        scan_retries=1,
    )
    configuration = {"ScanPath": {"class_name": "Circle", "kwargs": {"radius": 350.5, "centre": [370, -0.0]}}}
    stored = new_stored_timelapse(timelapse, configuration, "c0ffee", "s.json")
    at, log = BEGIN, stored.logbook
    for action in deeds:
        if not timelapse.state.is_active:
            break
        at = max(at, timelapse.schedule_times[timelapse.next_idx])
        if action == "come back":
            log = replace(log, saved_at=at).came_back(at + EVERY, "boot")
        elif action == "miss":
            timelapse = timelapse.skip_late_slots(at + 3 * EVERY, Reason.MISSED, "the rig was off")
        elif action == "cancel":
            timelapse = timelapse.cancel(at, "anna", "wilted \N{SEEDLING}")
        elif timelapse.state is TimeLapseState.SCHEDULED:
            timelapse = timelapse.begin(at + timedelta(milliseconds=1), "boot")
        elif action == "interrupt":
            timelapse = timelapse.interrupt(at, "the power went")
        elif action == "not ready":
            timelapse = timelapse.rig_not_ready(ScanFailed("no camera"))
        elif action == "fail":
            timelapse = timelapse.fail_attempt(at + timedelta(seconds=9), ScanFailed("lens \x07 \\ufffd"))
        else:
            timelapse = timelapse.succeed(at + timedelta(minutes=5), 72)
    return stored.evolved(timelapse, log)


DEEDS = st.lists(st.sampled_from(["begin", "take", "take", "fail", "miss", "interrupt", "not ready", "come back"]))


@settings(max_examples=150, derandomize=True)
@given(deeds=DEEDS.map(lambda deeds: ["begin", *deeds]), cancelled=st.booleans(), n_slots=st.sampled_from([1, 2, 12]))
def test_all_that_the_daemon_writes_is_read_quickly_and_as_carefully_read(deeds, cancelled, n_slots):
    """Else a start with thousands of slots would be slow again, and no test would tell."""
    text = kept(deeds + ["cancel"] * cancelled, n_slots).encode()
    quick = read_quickly(text, "s.json")
    assert quick is not None
    assert quick == read_carefully(text)
    assert quick.encode() == text


def test_year_of_another_controller_is_read_quickly_and_as_carefully_read():
    """Its times naive, and without a configuration."""
    text = YEAR.read_bytes()
    quick = read_quickly(text, "s.json")
    assert quick == read_carefully(text)
    assert quick is not None
    assert len(quick.timelapse.records) == 4000


SOUND = {
    "timelapse_id": "tl",
    "mode": "interval",
    "state": "standby",
    "schedule_times": ["2026-06-22T08:00:00+00:00", "2026-06-22T08:30:00+00:00"],
    "next_idx": 1,
    "scans": [{"scan_id": "tl_0", "started_at": "2026-06-22T08:00:00", "finished_at": "2026-06-22T08:05:00"}],
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


@pytest.mark.parametrize(
    "text",
    [
        changed(), changed(next_idx=0), changed(version=2), changed(extra=None), changed(extra={}), changed(scans=[]),
        changed(extra={"timelapsed": {}}), changed(schedule_times=["2026-06-22T08:00:00", "2026-06-22T09:30:00+02:00"]),
        changed(schedule_times=["2026-06-22T09:00:00Z", "2026-06-22T08:30:00Z"]), changed(state="configured"),
        changed(start_at="2026-06-22", warmup_sec=0.5, scan_retries=2, on_scan_failed="fail_timelapse"),
        with_scan(status="failed", error={"type": "ScanFailed", "msg": "dark", "late_sec": 1.5, "code": None}),
        with_scan(status="running", error="dark"), with_scan(status="pending", error="dark", started_at=None),
        with_ours(slots={"7": {"pictures": 1}, "-1": {}}), with_ours(slots={}, outages=[], ending={"at": "2026-06-22"}),
        json.dumps({key: SOUND[key] for key in ("timelapse_id", "mode", "state", "schedule_times")}).encode(),
    ],
)  # fmt: skip
def test_what_is_usual_is_read_quickly(text):
    """And as the careful way reads it."""
    quick = read_quickly(text, "s.json")
    assert quick is not None
    assert quick == read_carefully(text)
    assert quick.encode() == read_carefully(text).encode()


@pytest.mark.parametrize(
    "text",
    [
        b"", b"{}", b"[]", b"[" * 100_000, changed()[:-1], b"\xef\xbb\xbf" + changed(),
        changed().decode().encode("utf-16"),
        changed(new_in_version_2=True), changed(next_idx=3), changed(next_idx=-1), changed(next_idx=1.0),
        changed(next_idx=2**64), changed(current_idx=2**64), changed(mode="hourly"), changed(state="lost"),
        changed(timelapse_id="../tl"), changed(warmup_sec=-1), changed(grace_period=10**10), changed(start_at="noon"),
        changed(schedule_times=["2026-06-22"]), changed(schedule_times=["1969-12-31T23:59:59Z"]),
        changed(schedule_times=["2026-06-22T08:00"]), changed(schedule_times=[17]), changed(schedule_times=None),
        changed(scans=SOUND["scans"] * 3), changed(scans=[{}]), changed(scans={}), changed(extra=[]),
        changed(extra={"secret": float("nan")}), changed(extra={"huge": 2**64}), changed(extra={"half": "\ud800"}),
        changed(extra={"timelapsed": 3}), with_scan(scan_id="tl_2026-06-22T08:00:00+00:00"), with_scan(status="done"),
        with_scan(operator="anna"), with_scan(error=["dark"]), with_scan(error={"deep": {"er": 1}}),
        with_scan(error=float("inf")), with_scan(started_at="9999-01-01T00:00:00"), with_scan(error={"huge": 2**64}),
        with_ours(slots={"0": {"scan_id": "other"}}), with_ours(slots={"0": {"pictures": -1}}), with_ours(slots=[]),
        with_ours(slots={"0": 3}), with_ours(slots={"first": {}}), with_ours(boots=2**64),
    ],
)  # fmt: skip
def test_what_is_unusual_or_faulty_is_left_to_the_careful_way(text):
    """It understands it, or words what is wrong."""
    assert read_quickly(text, "s.json") is None


@pytest.mark.parametrize("levels", range(195, 204))
def test_extra_is_read_as_deep_as_the_careful_way_reads_it(levels):
    """What one start read and the next one called corrupt would be lost."""
    deep = json.loads("[" * levels + "]" * levels)
    for extra in ({"others": deep}, {"timelapsed": {"of a newer one": deep}}):
        text = changed(extra=extra)
        try:
            careful = read_carefully(text)
        except ValueError:
            careful = None
        assert read_quickly(text, "s.json") == careful


def test_long_store_is_read_quickly_and_a_short_one_without_the_means_for_that(tmp_path):
    """On a Pi a start with few slots needn't wait for what only many need."""
    program = (
        "import sys; from pathlib import Path\n"
        "from plantimager.timelapse.store.stored_timelapse import load_timelapse\n"
        "assert load_timelapse(Path(sys.argv[1])); print('plantimager.timelapse.store.quick_reader' in sys.modules)\n"
    )
    short, long = tmp_path / "short.json", tmp_path / "long.json"
    short.write_bytes(changed())
    long.write_bytes(YEAR.read_bytes())
    said = [
        subprocess.run([sys.executable, "-c", program, path], capture_output=True, text=True, check=True).stdout
        for path in (short, long)
    ]
    assert said == ["False\n", "True\n"]


def test_long_store_with_something_unusual_is_loaded_all_the_same(tmp_path):
    """The careful way takes over, and nothing of it is lost."""
    path, raw = tmp_path / "store.json", {**json.loads(YEAR.read_bytes()), "of a newer version": float("nan")}
    path.write_bytes(dumps(raw))
    assert path.stat().st_size > LONG
    loaded = load_timelapse(path)
    assert loaded is not None
    assert (loaded.path, loaded.trouble, loaded.stored.exact) == (path, None, False)
    assert loaded.stored.timelapse.next_idx == raw["next_idx"]
    assert b'"of a newer version": NaN' in loaded.stored.encode()


def test_logbook_survives(tmp_path):
    """When the store was written last is what the clock is judged by."""
    log = Logbook(
        saved_at=BEGIN, definition_digest="c0ffee", boot_id="boot", boots=3, outages=((BEGIN, BEGIN + EVERY),)
    )
    quick = read_quickly(kept([]).evolved(kept(["begin"]).timelapse, log).encode(), "s.json")
    assert quick is not None
    assert quick.logbook == log
