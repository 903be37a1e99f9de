"""When and how fast a target is sent something, on a clock of the test."""

import hashlib
import os
import threading
from contextlib import closing
from datetime import UTC, datetime, timedelta
from math import inf

import pytest
from msgspec import Struct

from plantimager.timelapse.domain.states import TimeLapseMode, TimeLapseState
from plantimager.timelapse.domain.timelapse import TimeLapse
from plantimager.timelapse.relay.deliver.outgoing import OutgoingFile
from plantimager.timelapse.relay.deliver.pacing import LOOK, PIECE, Interrupted, TargetPace
from plantimager.timelapse.relay.sealed_dataset import DatasetGone
from plantimager.timelapse.relay.sink import SinkHost, WorksOnLatest
from plantimager.timelapse.relay.store_view import DaemonFacts, StoreView
from plantimager.timelapse.relay.taken_scans import TakenScans
from plantimager.timelapse.store.schema import Logbook
from plantimager.timelapse.store.stored_timelapse import StoredTimelapse


class FakeClock:
    """A monotonic clock that the waits of `FakeStop` move."""

    def __init__(self):
        self.at = 100.0

    def monotonic(self):
        return self.at


class FakeStop(threading.Event):
    """An event whose waits take no time."""

    def __init__(self, clock):
        super().__init__()
        self.clock = clock

    def wait(self, timeout=None):
        self.clock.at += timeout
        return self.is_set()


class Host(Struct):
    """What a pace is made of."""

    clock: FakeClock
    stop: FakeStop


@pytest.fixture
def host():
    clock = FakeClock()
    return Host(clock, FakeStop(clock))


@pytest.fixture
def picture(tmp_path):
    """Return a picture of ten pieces."""
    path = tmp_path / "a.jpg"
    path.write_bytes(bytes(range(256)) * (10 * PIECE // 256))
    return OutgoingFile("a", path, "jpg", 10 * PIECE, hashlib.sha256(path.read_bytes()).hexdigest(), {})


def read_all(file):
    """Return the content, read as httpx reads it."""
    pieces = []
    with closing(file):
        while piece := file.read(1 << 20):
            assert len(piece) <= PIECE, "however much is asked for, memory is bounded"
            pieces.append(piece)
    return b"".join(pieces)


def test_a_rate_is_kept_over_the_whole_file(host, picture):
    """Ten pieces at a piece a second take nine seconds: the first goes at once."""
    pace = TargetPace(host.clock, host.stop, rate=PIECE)
    assert read_all(pace.open_paced(picture)) == picture.path.read_bytes()
    assert host.clock.at == pytest.approx(109.0)


def test_a_low_rate_is_kept_in_pieces_of_a_second(host, picture):
    """No burst that the line then carries for half a minute, while a scan may begin."""
    pace = TargetPace(host.clock, host.stop, rate=1000)
    file = pace.open_paced(picture)
    assert len(file.read(1 << 20)) == 1000
    file.close()


@pytest.mark.parametrize("rate", [None, 3])
def test_a_scan_that_begins_cuts_any_file_off(host, picture, rate):
    """Also in the wait of a rate: within a second."""
    scans = []
    pace = TargetPace(host.clock, host.stop, is_scanning=lambda: bool(scans), rate=rate)
    file = pace.open_paced(picture)
    file.read()
    scans.append(True)
    before = host.clock.at
    with pytest.raises(Interrupted):
        file.read()
    file.close()
    assert host.clock.at <= before + LOOK


@pytest.mark.parametrize("change", [b"", b"x", b"longer"])
def test_a_picture_that_has_changed_since_it_was_compared_is_never_sent_whole(host, picture, change):
    """PlantDB keeps for good what it has taken."""
    content = picture.path.read_bytes()
    picture.path.write_bytes(content + change if change == b"longer" else content[:-1] + change)
    with pytest.raises(DatasetGone, match="has changed while it was sent"):
        read_all(TargetPace(host.clock, host.stop).open_paced(picture))


def test_a_picture_that_is_cut_off_while_it_is_read_is_never_sent_whole(host, picture):
    """As by another program that writes it anew."""
    file = TargetPace(host.clock, host.stop).open_paced(picture)
    file.read()
    os.truncate(picture.path, PIECE)
    with pytest.raises(DatasetGone):
        read_all(file)


def test_what_a_scan_cuts_off_is_done_again_after_it_or_given_up(host):
    """As the pace was made: a question of retention doesn't wait for the end of a scan."""
    scans, done = [False, True, False, False], []

    def act():
        done.append(True)
        pace.check()
        return "answer"

    pace = TargetPace(host.clock, host.stop, is_scanning=lambda: scans.pop(0))
    assert pace.in_turn(act) == "answer"
    assert (scans, done) == ([], [True, True])
    with pytest.raises(Interrupted, match="a scan began"):
        TargetPace(host.clock, host.stop, is_scanning=lambda: True, waits=False).in_turn(act)
    assert done == [True, True]


def test_what_every_scan_cuts_off_is_reported_once_and_goes_on(host):
    """It may be done in a longer pause, or after the last slot."""
    cuts, told = [True, True, True, True, False], []

    def act():
        if cuts.pop(0):
            raise Interrupted
        return len(told)

    assert TargetPace(host.clock, host.stop, is_scanning=lambda: False, report=told.append).in_turn(act) == 1
    assert "polite = false" in told[0]


def test_what_gets_further_before_each_scan_is_not_reported(host):
    """As a run that brings some files of a dataset each time."""
    cuts, told = [True] * 5 + [False], []

    def act():
        if cuts.pop(0):
            raise Interrupted(got_further=True)

    TargetPace(host.clock, host.stop, is_scanning=lambda: False, report=told.append).in_turn(act)
    assert (cuts, told) == ([], [])


def test_a_turn_that_needs_time_comes_before_no_slot(host):
    """A scan without pictures at a server makes its list of all scans fail: none is begun just before a slot."""
    waits = [3.0, 2.0, 100.0, 99.0]
    TargetPace(host.clock, host.stop, next_slot_in=lambda: waits.pop(0)).wait_for_turn(10)
    assert waits == []


@pytest.mark.parametrize(
    "waits",
    [[61, 60], [50, 60, 59, 58], [50, 49, 55, 54, 53], [50, inf, inf, 20], [50, 3, 9, 8, 20, 19, 18]],
)
def test_a_turn_that_wishes_for_more_time_begins_after_a_slot_at_the_latest(host, waits):
    """Later there is no more time than then: what needs longer than the interval would never begin."""
    pace = TargetPace(host.clock, host.stop, next_slot_in=lambda: waits.pop(0))
    pace.wait_for_turn(10, 60)
    assert len(waits) == 1


def test_a_turn_that_a_slot_has_ended_looks_again_whether_its_scan_runs(host):
    """It is due, and the daemon has not said so yet."""
    waits, scans = [0.5, inf, inf, inf], [False, False, True, False]
    pace = TargetPace(host.clock, host.stop, is_scanning=lambda: scans.pop(0), next_slot_in=lambda: waits.pop(0))
    pace.wait_for_turn(10)
    assert scans == []


def test_a_turn_comes_when_the_scan_is_over(host):
    """Or never where the relay stops."""
    left = [True, True, False]
    TargetPace(host.clock, host.stop, is_scanning=lambda: left.pop(0)).wait_for_turn()
    assert left == []
    host.stop.set()
    with pytest.raises(Interrupted):
        TargetPace(host.clock, host.stop, is_scanning=lambda: True).wait_for_turn()


def test_a_stop_cuts_any_file_off(host, picture):
    """What is left is sent after the next start."""
    pace = TargetPace(host.clock, host.stop)
    host.stop.set()
    file = pace.open_paced(picture)
    with pytest.raises(Interrupted):
        file.read()
    file.close()


@pytest.mark.parametrize(
    ("minutes", "seconds_ahead", "waits"), [(60, 5, 5.0), (60, -5, inf), (0.5, 5, inf)], ids=["near", "late", "close"]
)
def test_the_next_slot_is_that_of_a_daemon_that_runs(minutes, seconds_ahead, waits):
    """One that is late may begin at any moment, and of close slots none is worth a wait."""
    now = datetime(2026, 6, 22, 8, tzinfo=UTC)
    times = tuple(now + timedelta(seconds=seconds_ahead, minutes=minutes * n) for n in (-1, 0))
    mode, state = TimeLapseMode.INTERVAL, TimeLapseState.SCHEDULED
    timelapse = TimeLapse(id="tl", mode=mode, state=state, schedule_times=times, next_idx=1)
    sink = WorksOnLatest(SinkHost(lambda _: None, VirtualNow(now), threading.Event(), lambda: None))
    for daemon, expected in ((DaemonFacts(1), waits), (None, inf)):
        sink.update(StoreView(TakenScans(), StoredTimelapse(timelapse, Logbook()), daemon=daemon))
        assert sink._next_slot_in() == expected


class VirtualNow(FakeClock):
    """A clock at one moment."""

    def __init__(self, at):
        super().__init__()
        self.wall = at

    def now(self):
        return self.wall
