"""Each kind of monitor is pinged in its own way; when and when not is in tests/integration/relay, too."""

import socket
import threading
from contextlib import closing, suppress
from datetime import timedelta
from functools import partial

import pytest
from example_timelapse import GRACE, at, taken, timelapse
from http_receiver import HttpReceiver
from virtual_time import ScriptEnded, VirtualClock

from plantimager.timelapse.domain.states import Reason
from plantimager.timelapse.relay import http_exchange
from plantimager.timelapse.relay.heartbeat_sink import HeartbeatSink, MonitorAccess
from plantimager.timelapse.relay.schedule_watch import ScheduleWatch
from plantimager.timelapse.relay.sink import SinkHost
from plantimager.timelapse.relay.store_view import DaemonFacts, StoreView
from plantimager.timelapse.settings.relay_config import HeartbeatSettings
from plantimager.timelapse.store.schema import Logbook
from plantimager.timelapse.store.stored_timelapse import StoredTimelapse
from plantimager.timelapse.support.clock import SystemClock

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
PATH = "/api/push/token"
DAEMON = DaemonFacts(7, is_live=True)
DUE = 20 * MINUTE + GRACE + MINUTE
"""When the first slot is overdue: the longest scan, its grace period, and a minute."""


@pytest.fixture
def receiver():
    with HttpReceiver() as server:
        yield server


def beats(receiver, until, *changes, value=None, daemon=DAEMON, pause_url="", **settings):
    """Return what a monitor hears ``until`` then, and the sink; each change is when, and a timelapse or a view."""
    clock = VirtualClock(limit=until)
    host = SinkHost(lambda _: None, clock, threading.Event(), lambda: None)
    settings = HeartbeatSettings(interval=10 * MINUTE, **settings)
    watch = ScheduleWatch(clock, 20 * MINUTE, 10 * MINUTE)
    access = MonitorAccess(f"http://127.0.0.1:{receiver.port}{PATH}?old=1", pause_url)
    sink = HeartbeatSink(settings, access, watch, host)

    def show(value):
        stored = StoredTimelapse(value, Logbook()) if value is not None else None
        sink.update(value if isinstance(value, StoreView) else StoreView(stored=stored, daemon=daemon))

    show(value or timelapse(48))
    for after, later in changes:
        clock.at(after, partial(show, later))
    with pytest.raises(ScriptEnded):
        sink.run()
    heard = []
    while not receiver.requests.empty():
        request = receiver.next()
        heard.append((request.method, request.path.removeprefix(PATH)))
    return heard, sink


def test_healthchecks_hears_start_success_and_one_failure(receiver):
    """By POST; what the address has behind its path stays."""
    heard, _ = beats(receiver, 3 * DUE)
    expected = ["/start", "", "", "", "/fail"]
    assert heard == [("POST", f"{signal}?old=1") for signal in expected]


def test_uptime_kuma_hears_up_and_down(receiver):
    """By the words of its push monitors."""
    heard, _ = beats(receiver, 3 * DUE, kind="kuma")
    assert [path for _, path in heard] == ["?status=up&msg=kept"] * 3 + ["?status=down&msg=not+kept"]


def test_a_plain_monitor_hears_nothing_but_its_address(receiver):
    """Silence is its only alarm."""
    heard, _ = beats(receiver, 3 * DUE, kind="plain")
    assert heard == [("GET", "?old=1")] * 3


def test_a_monitor_that_answers_in_drips_has_no_more_than_its_time(monkeypatch):
    """Each byte comes within the time-out; all of them together would end with the relay."""
    monkeypatch.setattr(http_exchange, "LOOK", 0.02)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    stop = threading.Event()

    def drip(listener):
        connection, _ = listener.accept()
        with connection, suppress(OSError):
            for byte in b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100 + b"\r\nContent-Length: 0\r\n\r\n":
                connection.sendall(bytes([byte]))
                stop.wait(0.02)

    def report():
        stop.set()
        clock.wake()

    with socket.create_server(("127.0.0.1", 0)) as listener, closing(SystemClock()) as clock:
        thread = threading.Thread(target=drip, args=[listener])
        thread.start()
        sink = HeartbeatSink(
            HeartbeatSettings(interval=10 * MINUTE, kind="plain", timeout=timedelta(seconds=0.4)),
            MonitorAccess(f"http://127.0.0.1:{listener.getsockname()[1]}"),
            ScheduleWatch(clock, 20 * MINUTE, 10 * MINUTE),
            SinkHost(lambda _: None, clock, stop, report),
        )
        ended = StoredTimelapse(timelapse(48).cancel(at(0), "ada", "wilted"), Logbook())
        sink.update(StoreView(stored=ended, daemon=DAEMON))
        sink.run()
        thread.join(60)
    assert sink.status.trouble.startswith("the monitor can't be reached: the exchange was not over after ")


def test_the_interval_counts_from_ping_to_ping_whatever_happens_between(receiver):
    """A store that is written often is no reason to ping."""
    values = [timelapse(48, scan_retries=retries) for retries in range(1, 10)]
    heard, _ = beats(receiver, 21 * MINUTE, *((n * MINUTE, value) for n, value in enumerate(values)), kind="plain")
    assert len(heard) == 3


def test_a_monitor_that_can_not_be_paused_is_pinged_on_by_an_idle_rig(receiver):
    """It would raise an alarm after each timelapse."""
    ended = timelapse(48).cancel(at(0), "ada", "wilted")
    heard, _ = beats(receiver, 60 * MINUTE, value=ended, kind="plain")
    assert len(heard) == 7


def test_only_a_store_that_says_so_pauses_the_monitor(receiver):
    """Where there is none, its disk may not be mounted: silence is an alarm there, and none at a rig that is new."""
    pause = f"http://127.0.0.1:{receiver.port}/pause"
    heard, _ = beats(receiver, HOUR, (5 * MINUTE, None), pause_url=pause)
    assert [path for _, path in heard] == ["/start?old=1", "?old=1"]
    ended = timelapse(48).cancel(at(0), "ada", "wilted")
    heard, _ = beats(receiver, HOUR, (5 * MINUTE, ended), (10 * MINUTE, None), pause_url=pause)
    assert [path for _, path in heard] == ["/start?old=1", "?old=1", "/pause"]


def test_a_store_that_can_not_be_read_any_more_is_a_failure_also_while_the_monitor_is_paused(receiver):
    """Another timelapse may be in it."""
    ended = StoredTimelapse(timelapse(48).cancel(at(0), "ada", "wilted"), Logbook())
    known = StoreView(stored=ended, daemon=DAEMON)
    unread = StoreView(stored=ended, daemon=DAEMON, fault="store.json: Input/output error")
    pause = f"http://127.0.0.1:{receiver.port}/pause"
    heard, _ = beats(receiver, HOUR, (5 * MINUTE, unread), (9 * MINUTE, known), value=known, pause_url=pause)
    assert [path for _, path in heard] == ["/pause", "/fail?old=1", "/pause"]


def test_a_daemon_that_can_not_write_the_store_has_its_word_until_it_is_dead(receiver):
    """Its scans go on."""
    first = StoredTimelapse(timelapse(48), Logbook())
    degraded = StoreView(stored=first, daemon=DaemonFacts(7, is_live=True, degraded="disk full"))
    dead = StoreView(stored=first)
    heard, _ = beats(receiver, 2 * HOUR, (5 * MINUTE, degraded), (HOUR + 5 * MINUTE, dead))
    assert [path for _, path in heard] == ["/start?old=1", *["?old=1"] * 7, "/fail?old=1"]


def test_after_the_end_of_a_timelapse_a_monitor_that_nobody_pauses_stays_calm(receiver):
    """By default; it hears at once that nothing is scheduled, and of the next schedule's beginning."""
    ended = timelapse(48).cancel(at(0), "ada", "wilted")
    changes = (5 * MINUTE, ended), (20 * MINUTE, taken(timelapse(48)))
    heard, _ = beats(receiver, 25 * MINUTE, *changes)
    assert [path.removesuffix("?old=1") for _, path in heard] == ["/start", "", "", "", "/start", ""]
    heard, _ = beats(receiver, 25 * MINUTE, *changes, kind="kuma")
    words = [path.partition("msg=")[2] for _, path in heard]
    assert words == ["kept", "nothing+is+scheduled", "nothing+is+scheduled", "kept"]


def test_a_record_in_time_keeps_the_pings_going_without_a_word_of_failure(receiver):
    """Also where the slot failed: that is on record, and told by messages."""
    kept = taken(timelapse(48))
    heard, _ = beats(receiver, 32 * MINUTE, (10 * MINUTE, kept))
    assert "/fail?old=1" not in [path for _, path in heard]


def test_slots_that_passed_during_a_long_scan_are_no_failure_before_the_daemon_has_recorded_them(receiver):
    """It does so in the save after that of the scan."""
    times = tuple(at(0) + 2 * MINUTE * (slot - 5) for slot in range(48))
    quick = timelapse(48, schedule_times=times, grace=timedelta(seconds=30))
    for instant in times[:5]:
        quick = quick.begin(instant, "b").succeed(instant + MINUTE, 72)
    begun = quick.begin(at(0), "b")
    done = begun.succeed(at(0) + 15 * MINUTE, 72)
    recorded = done.skip_late_slots(at(0) + 15 * MINUTE, Reason.MISSED, "")
    changes = (MINUTE / 60, begun), (15 * MINUTE, done), (15 * MINUTE + MINUTE / 60, recorded)
    heard, _ = beats(receiver, 18 * MINUTE, *changes, value=quick)
    assert "/fail?old=1" not in [path for _, path in heard]
    heard, _ = beats(receiver, 18 * MINUTE, *changes[:2], value=quick)
    assert heard[-1] == ("POST", "/fail?old=1"), "where it never does, that is one"


def test_while_the_clock_is_not_trusted_nothing_is_claimed(receiver):
    """Neither that the schedule is kept, nor for the time of clock_wait that it isn't."""
    untrusted = DaemonFacts(7, is_live=True, clock_trusted=False)
    heard, _ = beats(receiver, 9 * MINUTE, daemon=untrusted)
    assert heard == []
    heard, _ = beats(receiver, 12 * MINUTE, daemon=untrusted)
    assert heard == [("POST", "/fail?old=1")]


@pytest.mark.parametrize("trusted", [True, False], ids=["a step", "the beginning of trust"])
def test_a_clock_that_is_set_is_no_failure_before_the_daemon_has_recorded_what_it_cost(receiver, trusted):
    """A rig without a clock of its own has both at each boot."""
    clock = VirtualClock(limit=20 * MINUTE)
    before = DaemonFacts(7, is_live=True, clock_trusted=trusted)
    skipped = timelapse(48).skip_late_slots(at(4), Reason.CLOCK_MOVED, "the clock was set forward by 2 h")
    sink = HeartbeatSink(
        HeartbeatSettings(interval=10 * MINUTE),
        MonitorAccess(f"http://127.0.0.1:{receiver.port}{PATH}"),
        ScheduleWatch(clock, 20 * MINUTE, 10 * MINUTE),
        SinkHost(lambda _: None, clock, threading.Event(), lambda: None),
    )

    def show(value, daemon):
        sink.update(StoreView(stored=StoredTimelapse(value, Logbook()), daemon=daemon))

    show(timelapse(48), before)
    clock.at(5 * MINUTE, partial(clock.shift, 2 * HOUR))
    clock.at(5 * MINUTE, partial(show, timelapse(48), DAEMON))
    clock.at(6 * MINUTE, partial(show, skipped, DAEMON))
    with pytest.raises(ScriptEnded):
        sink.run()
    heard = [receiver.next().path.removeprefix(PATH) for _ in range(receiver.requests.qsize())]
    assert heard[0] == "/start"
    assert {*heard[1:]} == {""}


def test_the_status_says_when_a_ping_last_arrived_and_why_none_does_now(receiver):
    """Without the address."""
    _, sink = beats(receiver, 15 * MINUTE)
    assert (sink.status.what, sink.status.trouble) == ("pings every 600 s", "")
    assert sink.status.worked_at is not None
    receiver.answer_with(404)
    _, sink = beats(receiver, 15 * MINUTE)
    assert (sink.status.worked_at, sink.status.trouble) == (None, "the monitor answers 404")


@pytest.mark.parametrize("code", [301, 302, 404, 410, 429, 503])
def test_a_monitor_that_sends_elsewhere_or_knows_nothing_of_the_address_is_a_trouble(receiver, code):
    """A ping that goes elsewhere says nothing; it is sent again, ever more seldom."""
    receiver.answer_with(code)
    _, sink = beats(receiver, HOUR)
    assert sink.status.trouble == f"the monitor answers {code}"
    assert sink.status.worked_at is None


def test_a_monitor_that_does_not_answer_in_time_holds_nothing_up(receiver):
    """The next ping is sent in its turn."""
    receiver.gate.clear()
    _, sink = beats(receiver, 5 * timedelta(seconds=1), timeout=timedelta(seconds=0.2))
    assert sink.status.trouble.startswith("the monitor can't be reached: ")
    receiver.gate.set()
