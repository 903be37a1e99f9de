"""The live status, and what it says of a daemon that is gone."""

from __future__ import annotations

import itertools
import json
from datetime import UTC, datetime, timedelta

import pytest
from msgspec.structs import replace
from virtual_time import START, SYNCHRONISED, VirtualClock

from plantimager.timelapse.channel.live import (
    LiveFile,
    LiveStatus,
    ScanProgress,
    last_seen,
    live_path,
    live_status_of,
    read_last_sign,
    read_live,
    read_live_of,
)
from plantimager.timelapse.domain.absence import LastSign
from plantimager.timelapse.store.schema import Logbook
from plantimager.timelapse.support.text import one_line

AT = datetime(2026, 6, 22, 8, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def test_daemon_that_was_killed_leaves_the_time_at_which_it_last_showed_something(tmp_path):
    """What has not changed is not written again: the file is on an SD card."""
    store = tmp_path / "store.json"
    live = LiveFile(store)
    assert live.before == LastSign()
    live.show(LiveStatus(status="waiting"), AT)
    live.show(LiveStatus(status="waiting"), AT + MINUTE)
    assert LiveFile(store).before == LastSign(AT)
    live.show(LiveStatus(status="scanning"), AT + 2 * MINUTE)
    assert LiveFile(store).before == LastSign(AT + 2 * MINUTE)


def test_daemon_that_ended_by_itself_says_so(tmp_path):
    """Nothing else is left of its status."""
    store = tmp_path / "store.json"
    live = LiveFile(store)
    live.show(LiveStatus(pid=1, status="waiting"), AT)
    live.end(AT + MINUTE)
    assert read_last_sign(store) == LastSign(AT + MINUTE, has_ended=True)
    assert read_live(store) == LiveStatus()


WHOLE = LiveStatus(
    pid=7,
    status="scanning slot 3",
    rig="scanning",
    progress=ScanProgress(2, 36),
    trouble="disk full",
    degraded="disk full",
    datasets="not mounted",
    notes=("one", "two"),
    clock="trusted",
    driver="grbl",
)
FACTS = {
    "pid": 7,
    "status": "scanning slot 3",
    "rig": "scanning",
    "progress": {"done": 2, "total": 36},
    "trouble": "disk full",
    "degraded": "disk full",
    "datasets": "not mounted",
    "notes": ["one", "two"],
    "clock": "trusted",
    "driver": "grbl",
}
"""The same in the file, where daemon, commands and relay of other versions read it."""


def test_file_has_every_key_under_the_name_that_other_versions_read(tmp_path):
    """What there isn't is null, and the time is the file's own."""
    store = tmp_path / "store.json"
    live = LiveFile(store)
    live.show(WHOLE, AT)
    assert json.loads(live_path(store).read_text()) == {**FACTS, "at": "2026-06-22T08:00:00+00:00"}
    assert read_live(store) == WHOLE
    live.show(LiveStatus(), AT)
    assert json.loads(live_path(store).read_text()).keys() == {*FACTS, "at"}


TROUBLES = ("trouble", "degraded", "datasets")
TEXTS = ("status", "rig", *TROUBLES, "driver")
OTHERWISE = {key: {key: "[{'since': 3}]"} for key in TROUBLES}
"""What is read where each key has a value of another type; nothing for the others."""


@pytest.mark.parametrize("key", FACTS)
def test_daemon_of_another_version_is_understood_as_far_as_it_goes(key):
    """It says more, or lacks a key, or says one in another way: the others count."""
    without = replace(WHOLE, **{key: getattr(LiveStatus(), key)})
    assert live_status_of({**FACTS, "mood": "good"}) == WHOLE
    assert live_status_of({name: fact for name, fact in FACTS.items() if name != key}) == without
    assert live_status_of({**FACTS, key: [{"since": 3}]}) == replace(without, **OTHERWISE.get(key, {}))
    without_word = replace(without, **({key: ""} if key in TEXTS else {}))
    assert live_status_of({**FACTS, key: json.loads('"\\ud800"')}) == without_word


@pytest.mark.parametrize("key", TROUBLES)
@pytest.mark.parametrize(
    ("said", "read"), [(True, "True"), (["full"], "['full']"), (False, None), (0, None), ([], None), ("", "")]
)
def test_trouble_that_is_no_text_is_trouble(key, said, read):
    """No alarm is lost by the way in which another version words it."""
    assert live_status_of({**FACTS, key: said}) == replace(WHOLE, **{key: read})


def test_a_note_that_is_no_text_hides_no_other_note():
    """Each is read by itself."""
    said = json.loads('["one", {"two": 2}, "\\ud800two", null]')
    assert live_status_of({**FACTS, "notes": said}).notes == ("one", one_line("\ud800two"))
    assert live_status_of({**FACTS, "notes": {"one": 1}}).notes == ()


def test_texts_of_a_status_are_on_one_line():
    """They are shown on a terminal, and anybody may have written the file."""
    status = live_status_of({"status": "a\nb", "notes": ["c\x1b[2J\nd"]})
    assert (status.status, status.notes) == ("a b", ("c [2J d",))


def test_a_disk_that_takes_no_write_leaves_the_status_beside_the_control_socket(tmp_path):
    """That the store can't be written is what it says then; afterwards it is where it was."""
    store, control = tmp_path / "store.json", tmp_path / "run" / "control"
    control.parent.mkdir()
    live = LiveFile(store, control)
    live.show(LiveStatus(pid=7), AT)
    fresh = live_path(store).with_name(f"{live_path(store).name}.new")
    fresh.mkdir()
    live.show(LiveStatus(pid=7, degraded="disk full"), AT + MINUTE)
    assert read_live_of(7, store, control).degraded == "disk full"
    assert read_live_of(8, store, control) is None
    fresh.rmdir()
    live.show(LiveStatus(pid=7), AT + 2 * MINUTE)
    assert read_live_of(7, store, control) == LiveStatus(pid=7)
    assert [*control.parent.iterdir()] == []


def test_daemon_that_could_not_start_leaves_the_sign_of_the_one_before(tmp_path):
    """It has kept no schedule."""
    store = tmp_path / "store.json"
    LiveFile(store).show(LiveStatus(status="waiting"), AT)
    LiveFile(store).end(AT + MINUTE)
    assert read_last_sign(store) == LastSign(AT)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"{}",
        b'{"at": 3}',
        b'{"at": "x"}',
        b'{"at": "2026-06-22T08:00"}',
        b'{"at": null}',
        b'{"at": "0001-01-01T00:00+14:00"}',
    ],
)
def test_file_that_says_no_time_is_no_sign(tmp_path, content):
    """It is never fsynced, so that a power cut may leave anything; an older daemon wrote no time."""
    live_path(tmp_path / "store.json").write_bytes(content)
    assert read_last_sign(tmp_path / "store.json").at is None


BOOTED = START - timedelta(hours=1)
"""When the machine of the virtual clock started."""


@pytest.mark.parametrize(
    ("boot_id", "kept_at", "counts"),
    [
        pytest.param("another", BOOTED - MINUTE, True, id="kept in the boot before"),
        pytest.param("another", BOOTED + MINUTE, False, id="kept since this boot"),
        pytest.param("this", BOOTED - MINUTE, False, id="the daemon ended in this boot"),
        pytest.param(None, BOOTED - MINUTE, False, id="the store of another program"),
    ],
)
def test_time_that_the_machine_kept_is_a_sign_of_life_in_the_boot_before(boot_id, kept_at, counts):
    """In this boot the machine runs on without its daemon."""
    clock = VirtualClock(evidence=replace(SYNCHRONISED, kept_at=kept_at), boot_id="this")
    saved_at = BOOTED - 30 * MINUTE
    seen = last_seen(LastSign(), Logbook(saved_at=saved_at, boot_id=boot_id), clock)
    assert seen == LastSign(kept_at if counts else saved_at)


def test_last_sign_of_life_is_the_latest():
    """Whichever that is; a store that was never saved by a daemon has none."""
    saved_at, shown_at, kept_at = (BOOTED - number * MINUTE for number in (1, 2, 3))
    for signs in itertools.permutations((saved_at, shown_at, kept_at)):
        clock = VirtualClock(evidence=replace(SYNCHRONISED, kept_at=signs[2]), boot_id="this")
        assert last_seen(LastSign(signs[1]), Logbook(saved_at=signs[0], boot_id="a"), clock) == LastSign(saved_at)
    assert last_seen(LastSign(), Logbook(), VirtualClock()) == LastSign()
