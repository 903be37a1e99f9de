"""When and how fast a target is sent something, on a clock of the test."""

import hashlib
import threading

import pytest
from msgspec import Struct

from plantimager.timelapse.relay.outgoing import OutgoingFile
from plantimager.timelapse.relay.pacing import PIECE, Interrupted, TargetPace


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
    while piece := file.read(1 << 20):
        assert len(piece) <= PIECE, "however much is asked for, memory is bounded"
        pieces.append(piece)
    file.close()
    return b"".join(pieces)


def test_a_rate_is_kept_over_the_whole_file(host, picture):
    """Ten pieces at a piece a second take nine seconds: the first goes at once."""
    pace = TargetPace(host.clock, host.stop, is_scanning=None, rate=PIECE)
    assert read_all(pace.open_paced(picture, whole=False)) == picture.path.read_bytes()
    assert host.clock.at == pytest.approx(109.0)


def test_a_scan_that_begins_cuts_a_file_off_unless_it_has_to_be_whole(host, picture):
    """The first picture of a scan has to: without it the server's list fails."""
    scans = []
    pace = TargetPace(host.clock, host.stop, is_scanning=lambda: bool(scans), rate=None)
    file = pace.open_paced(picture, whole=False)
    file.read()
    scans.append(True)
    with pytest.raises(Interrupted):
        file.read()
    file.close()
    assert read_all(pace.open_paced(picture, whole=True)) == picture.path.read_bytes()


def test_a_turn_comes_when_the_scan_is_over(host):
    """Or never where the relay stops."""
    left = [True, True, False]
    TargetPace(host.clock, host.stop, is_scanning=lambda: left.pop(0), rate=None).wait_for_turn()
    assert left == []
    host.stop.set()
    with pytest.raises(Interrupted):
        TargetPace(host.clock, host.stop, is_scanning=lambda: True, rate=None).wait_for_turn()


def test_a_stop_cuts_any_file_off(host, picture):
    """What is left is sent after the next start."""
    pace = TargetPace(host.clock, host.stop, is_scanning=None, rate=None)
    host.stop.set()
    file = pace.open_paced(picture, whole=True)
    with pytest.raises(Interrupted):
        file.read()
    file.close()
