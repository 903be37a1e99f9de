"""How one target is tried again, and what is said of a disk that fails."""

import threading

import pytest
from pending import taken_scans

from plantimager.timelapse.channel.ledger import Ledger
from plantimager.timelapse.relay.deliver import backlog, deliver_sink
from plantimager.timelapse.relay.deliver.deliver_sink import (
    BETWEEN_STATUS,
    FIRST_WAIT,
    JITTER,
    LONGEST_WAIT,
    DeliverSink,
)
from plantimager.timelapse.relay.deliver.delivery import Delivered, Unreachable
from plantimager.timelapse.relay.sink import SinkHost
from plantimager.timelapse.relay.store_view import StoreView
from plantimager.timelapse.relay.taken_scans import TakenScans
from plantimager.timelapse.settings.deliver_config import DeliverTarget
from plantimager.timelapse.support.clock import SystemClock

MANY = 15
MONTH = 30 * 86_400
EACH = 6
"""Hours from one scan to the next."""


class Failing:
    """A way to a target that always fails, in one manner."""

    def __init__(self, problem):
        self.problem = problem

    def deliver(self, shipment):
        shipment.begin()
        raise self.problem

    def close(self):
        pass


@pytest.fixture
def said(monkeypatch):
    lines = []
    for module in (deliver_sink, backlog):
        monkeypatch.setattr(module, "log_relay", lambda action, sentence, **_: lines.append((action.word, sentence)))
    return lines


class SetClock(SystemClock):
    """A clock that a test sets forward."""

    at = 0.0

    def monotonic(self):
        return self.at


def sink_to(directory, problem, clock=None):
    """Return a sink of a target that fails, for which one dataset waits."""
    host = SinkHost(lambda _: directory, clock or SystemClock(), threading.Event(), lambda: None)
    ledgers = Ledger(directory / "lab.ledger"), Ledger(directory / "removed")
    sink = DeliverSink("lab", DeliverTarget(), Failing(problem), ledgers[0], host, ledgers[1])
    sink.update(StoreView(taken_scans(1)))
    return sink, host


def test_waits_grow_to_ten_minutes_and_differ_between_rigs(tmp_path, monkeypatch, said):
    """A server that is gone for a month is asked seldom, by no two rigs at once, and that is told once."""
    waits = {}
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        sink, host = sink_to(tmp_path / name, Unreachable("no route to host"))
        found = waits.setdefault(name, [])

        def sleep(seconds, found=found, host=host):
            found.append(seconds)
            if len(found) == MANY:
                host.stop.set()

        monkeypatch.setattr(sink, "_wait_until", lambda _, seconds, sleep=sleep: sleep(seconds))
        sink.run()
        for tries, wait in enumerate(found):
            least = min(FIRST_WAIT * 2**tries, LONGEST_WAIT)
            assert least <= wait <= least + JITTER
    assert not {*waits["one"]} & {*waits["other"]}
    assert [word for word, _ in said] == ["delivery_stuck"] * 2


def test_after_a_month_without_a_network_all_of_it_arrives_in_order(tmp_path, monkeypatch, said):
    """Scans go on meanwhile; the first try after it is ten minutes later at most."""
    clock, tries, arrived = SetClock(), [], []
    sink, host = sink_to(tmp_path, None, clock)
    scans = taken_scans(MONTH // 3600 + 1).scans[::EACH]

    def deliver(shipment):
        tries.append(clock.at)
        if clock.at < MONTH:
            raise Unreachable("no route to host")
        shipment.begin()
        arrived.append(shipment.scan.slot)
        return Delivered("file", 1, 1, 1, "0" * 64)

    def sleep(_, seconds):
        before, clock.at = clock.at, clock.at + seconds
        if before // (EACH * 3600) != clock.at // (EACH * 3600):
            sink.update(StoreView(TakenScans(scans[: 1 + int(clock.at // (EACH * 3600))])))

    monkeypatch.setattr(sink._delivery, "deliver", deliver)
    monkeypatch.setattr(sink, "_wait_until", sleep)
    monkeypatch.setattr(sink, "_wait", lambda *_: host.stop.set())
    sink.run()
    assert arrived == [scan.slot for scan in scans]
    assert min(tried for tried in tries if tried >= MONTH) <= MONTH + LONGEST_WAIT + JITTER
    assert [word for word, _ in said] == ["delivery_stuck", "delivery_resumed", *["delivered"] * len(arrived)]
    assert (sink.status.delivered, sink.status.waiting, sink.status.trouble) == (len(arrived), 0, "")


def test_what_is_on_its_way_is_in_the_status_until_it_is_there(tmp_path, monkeypatch, said):
    """A dataset of a slow network takes hours, in which nothing else changes."""
    sink, host = sink_to(tmp_path, None)
    shown = []

    def deliver(shipment):
        for done in range(2):
            sink._shown_at = -BETWEEN_STATUS  # a second later
            shipment.progress(done, 20)
            shown.append(sink.status)
        return Delivered("file", 20, 20, 5, "0" * 64)

    monkeypatch.setattr(sink._delivery, "deliver", deliver)
    monkeypatch.setattr(sink, "_wait", lambda *_: host.stop.set())
    sink.run()
    assert [status.sending for status in shown] == [f"sending tl_0: {done} of 20 files" for done in range(2)]
    assert f"sending tl_0: 1 of 20 files ({sink.name})" in shown[-1].describe(host.clock.now())
    assert sink.status.sending == ""


def test_nothing_is_on_its_way_while_the_next_try_is_waited_for(tmp_path, monkeypatch, said):
    """Also where the trouble is the one before, which is told once: ten minutes long it would seem to be sent."""
    sink, host = sink_to(tmp_path, None)
    waiting = []

    def deliver(shipment):
        sink._shown_at = -BETWEEN_STATUS  # a second later
        shipment.progress(3, 20)
        raise Unreachable("connection reset")

    def sleep(*_):
        waiting.append((sink.status.sending, sink.status.trouble))
        if len(waiting) == 2:
            host.stop.set()

    monkeypatch.setattr(sink._delivery, "deliver", deliver)
    monkeypatch.setattr(sink, "_wait_until", sleep)
    sink.run()
    assert waiting == [("", "connection reset")] * 2
    assert [word for word, _ in said] == ["delivery_stuck"]


def test_a_disk_that_fails_is_named_in_words(tmp_path, monkeypatch, said):
    """Without the number of the system; it holds up nothing else."""
    sink, host = sink_to(tmp_path, OSError(5, "Input/output error", "/srv/0.jpg"))
    monkeypatch.setattr(sink, "_wait", lambda *_: host.stop.set())
    sink.run()
    assert said == [
        (
            "dataset_gone",
            "not delivered to lab: /srv/0.jpg: Input/output error; was its disk pulled, or is it failing?",
        )
    ]
