"""What can't be looked at now is tried again in time, stays a trouble until then, and keeps nothing else waiting."""

import random
import threading

import msgspec
import pytest
from looked_at import encode, put_dataset, take
from msgspec.structs import replace
from notify_rig import AHEAD
from waiting import wait_until

from plantimager.timelapse.channel.ledger import MAX_LEDGER_BYTES, Ledger
from plantimager.timelapse.channel.relay_status import RelayStatus, SinkStatus, write_relay_status
from plantimager.timelapse.relay.look import look_picture, look_sink
from plantimager.timelapse.relay.look.look_sink import LookSink
from plantimager.timelapse.relay.look.looked import Looked
from plantimager.timelapse.relay.look.verdict import PictureMeasures
from plantimager.timelapse.relay.sink import SinkHost
from plantimager.timelapse.relay.store_view import StoreView
from plantimager.timelapse.relay.taken_scans import taken_scans_of
from plantimager.timelapse.settings.relay_config import LookSettings
from plantimager.timelapse.support.clock import SystemClock
from stores import read, scan, store_of

SLOTS = AHEAD[:6]


class HeldClock(SystemClock):
    """A clock that goes on only as a test says, from when it sets it."""

    at = None

    def monotonic(self):
        return super().monotonic() if self.at is None else self.at


class World:
    """A sink whose relay sees the store again and again."""

    def __init__(self, tmp_path):
        self.stop, self.datasets = threading.Event(), tmp_path / "datasets"
        self.clock = HeldClock()
        host = SinkHost(lambda _: self.datasets, self.clock, self.stop, lambda: None)
        self.sink = LookSink(LookSettings(night=False), Ledger(tmp_path / "looked"), host)
        self.thread = threading.Thread(target=self.sink.run, daemon=True)
        self.stored = None

    def take(self, slot, *pictures):
        named = {(f"camera_{n}", 0): picture for n, picture in enumerate(pictures)}
        put_dataset(self.datasets, slot, named, SLOTS[slot])
        self.have(slot + 1)

    def have(self, n_slots):
        self.stored = read(store_of(*(scan(f"tl_{slot}") for slot in range(n_slots)), schedule_times=SLOTS))

    def see(self):
        self.sink.update(StoreView(stored=self.stored))

    def looks(self, until, what):
        """Wait, while the relay makes a new view of the same store ever more often than it is tried again."""
        if not self.thread.is_alive():
            self.thread.start()

        def holds():
            self.see()
            return until()

        wait_until(holds, within=60, what=what)

    def looked(self, n_scans):
        words = f"pictures of {n_scans} scan{'s' * (n_scans != 1)} looked at"
        return self.sink.status.what == words

    @property
    def trouble(self):
        return self.sink.status.trouble


@pytest.fixture
def world(tmp_path, monkeypatch):
    monkeypatch.setattr(look_sink, "AGAIN", 0.5)
    world = World(tmp_path)
    yield world
    world.stop.set()
    world.sink.wake()
    if world.thread.ident:
        world.thread.join(60)
    assert not world.thread.is_alive()


def good():
    """Return a new picture of the same scene."""
    return encode(take())


def test_a_dataset_that_was_not_there_is_looked_for_again_though_the_relay_sees_the_store_meanwhile(world):
    """As of a disk that is mounted late."""
    world.take(0, good())
    away = world.datasets.rename(world.datasets.with_name("away"))
    world.looks(lambda: world.looked(0), "nothing to look at")
    away.rename(world.datasets)
    world.looks(lambda: world.looked(1), "the dataset that came")


def test_datasets_that_are_gone_are_looked_for_together(world, monkeypatch):
    """There may be a thousand that somebody has removed."""
    tries, looks, right, right_look = [], [], look_sink.read_receipt_of, LookSink._look

    def read_receipt(*arguments):
        tries.append(len(looks))
        world.clock.at += 0.005
        return right(*arguments)

    def look(*arguments):
        looks.append(arguments)
        return right_look(*arguments)

    monkeypatch.setattr(look_sink, "read_receipt_of", read_receipt)
    monkeypatch.setattr(LookSink, "_look", look)
    world.have(6)
    world.clock.at = 0.0
    world.looks(lambda: len(world.sink._postponed) == 6, "a try of each")
    world.clock.at = 0.005 + look_sink.AGAIN  # when the first is due
    world.looks(lambda: len(tries) == 12, "another of each")
    assert [tries.count(look) for look in (1, 2)] == [6, 6]


def test_trouble_stays_until_it_is_over(world, monkeypatch):
    """Another slot is no end of it."""
    world.clock.at = 0.0
    world.take(0, good())
    faulty, right = [f"{world.datasets / 'tl_0'}"], look_sink.read_receipt_of

    def read_receipt(directory, scan):
        if str(directory) in faulty:
            raise OSError(5, "Input/output error", str(directory))
        return right(directory, scan)

    monkeypatch.setattr(look_sink, "read_receipt_of", read_receipt)
    world.looks(lambda: world.trouble.endswith("tl_0: Input/output error"), "the trouble")
    world.take(1, good())
    world.looks(lambda: world.looked(1), "the next slot")
    assert world.trouble.endswith("tl_0: Input/output error")
    faulty.clear()
    world.clock.at = look_sink.AGAIN
    world.looks(lambda: world.looked(2), "the first slot")
    assert world.trouble == ""


def test_a_mistake_of_ours_is_tried_again_without_a_new_slot(world, monkeypatch):
    """The next one may be days away."""
    world.take(0, good())
    faults, right = [ZeroDivisionError()], LookSink._show

    def show(*arguments):
        if faults:
            raise faults.pop()
        return right(*arguments)

    monkeypatch.setattr(LookSink, "_show", show)
    world.looks(lambda: world.looked(1), "another try")


def test_a_picture_that_no_program_can_measure_costs_that_picture_alone(world, monkeypatch):
    """And isn't tried again: it stays as it is."""
    right, odd = look_picture.measure_picture, good()

    def measure(picture, content):
        if content == odd:
            raise ZeroDivisionError
        return right(picture, content)

    monkeypatch.setattr(look_picture, "measure_picture", measure)
    world.take(0, odd, encode(take(exposure=0.02)))
    world.take(1, good(), good())
    world.looks(lambda: world.looked(2), "both slots")
    assert [(doubt.camera, doubt.verdict) for doubt in world.sink.status.doubts] == [("camera_1", "dark")]
    assert world.trouble == ""


def test_a_dataset_that_no_program_can_read_keeps_no_other_waiting(world, monkeypatch):
    """It is a trouble, and is tried again."""
    right = look_sink.place_pictures
    world.clock.at = 0.0
    monkeypatch.setattr(look_sink, "place_pictures", lambda _: 1 // 0)
    world.take(0, good())
    world.looks(lambda: "tl_0: ZeroDivisionError" in world.trouble, "the trouble")
    monkeypatch.setattr(look_sink, "place_pictures", right)
    world.take(1, good())
    world.looks(lambda: world.looked(1), "the other")
    world.clock.at = look_sink.AGAIN
    world.looks(lambda: world.looked(2) and not world.trouble, "the first")


@pytest.mark.parametrize("reader", ["read_receipt_of", "dataset_files", "read_regular"])
def test_a_disk_that_hangs_is_a_trouble_until_it_answers(world, monkeypatch, reader):
    """It is another computer's; one thread at most waits for it."""
    goes_on, right, hung = threading.Event(), getattr(look_sink, reader), []

    def hang(*arguments):
        if not goes_on.is_set():
            hung.append(arguments)
            goes_on.wait(20)
        return right(*arguments)

    monkeypatch.setattr(world.sink._disk, "_seconds", 0.2)
    monkeypatch.setattr(look_sink, reader, hang)
    for slot in range(3):
        world.take(slot, good())
    world.looks(lambda: "the disk doesn't answer" in world.trouble, "the trouble")
    assert len(hung) == 1
    goes_on.set()
    world.looks(lambda: world.looked(3) and not world.trouble, "the answer")


def test_a_doubt_that_was_recorded_but_never_told_is_told_by_the_next_relay(world, tmp_path, caplog):
    """The relay is killed between the two; what was told is in its status."""
    world.take(0, good())
    world.take(1, encode(take(exposure=0.02)))
    world.looks(lambda: world.looked(2), "both slots")
    for shown, n_told in (((), 1), (world.sink.status.doubts, 0)):
        status = SinkStatus(name="look", what="pictures are looked at", doubts=shown)
        write_relay_status(tmp_path, RelayStatus(pid=1, sinks=(status,)))
        caplog.clear()
        after = World(tmp_path)
        assert after.sink.status.doubts == shown
        after.sink._look(StoreView(stored=world.stored))
        assert caplog.text.count("pictures_doubtful") == n_told


def test_no_timelapse_is_waited_for_without_work(world):
    """Though a dataset of the last one was to be looked for again."""
    world.have(1)
    world.looks(lambda: world.looked(0), "nothing to look at")
    world.stored = None
    world.looks(lambda: not world.sink._postponed, "nothing to try")


def looked_at_once(tmp_path):
    """Return a ledger in which the pictures of one slot were measured."""
    ledger = Ledger(tmp_path / "looked")
    looked = Looked(ledger, SystemClock(), "look")
    (taken,) = taken_scans_of(read(store_of(scan("tl_0"))).timelapse)
    measures = [
        PictureMeasures(
            "camera_0", str(n), f"images/camera_0-{n:05}.jpg", "", random.random(), f"{n * 10**14:016x}", "8x6"
        )
        for n in range(36)
    ]
    looked.record(taken, measures)
    return ledger, looked, taken, measures


def test_the_ledger_of_a_hundred_thousand_slots_can_be_read_again(tmp_path):
    """One that is too large would be lost, and all looked at again at each start."""
    ledger, looked, taken, measures = looked_at_once(tmp_path)
    assert (tmp_path / "looked").stat().st_size * 100_000 < MAX_LEDGER_BYTES
    assert ledger.entries[taken.key].why == ""
    assert [*looked.judged([taken])] == [(taken, measures)]


@pytest.mark.parametrize("is_packed", [False, True], ids=["the first version", "the second"])
def test_what_earlier_versions_have_measured_is_read(tmp_path, is_packed):
    """They had it in the field for the reason; nothing is looked at again after an update."""
    ledger, looked, taken, measures = looked_at_once(tmp_path)
    now = ledger.entries[taken.key]
    text = now.measured if is_packed else msgspec.json.encode(measures).decode()
    ledger.record(replace(now, why=text, measured=""))
    assert [*looked.judged([taken])] == [(taken, measures)]
