"""Whatever happens to a rig, its monitor raises an alarm where the schedule isn't kept, and never else."""

import random
import ssl
import threading
from datetime import timedelta
from functools import cache

import pytest
from example_timelapse import EVERY, FAILURE, GRACE, timelapse
from message_peers import Check
from virtual_time import ScriptEnded, VirtualClock

from plantimager.timelapse.domain.states import Reason, RecordStatus
from plantimager.timelapse.relay.heartbeat_sink import HeartbeatSink, MonitorAccess
from plantimager.timelapse.relay.schedule_watch import ScheduleWatch
from plantimager.timelapse.relay.sink import SinkHost
from plantimager.timelapse.relay.store_view import DaemonFacts, StoreView
from plantimager.timelapse.settings.relay_config import HeartbeatSettings
from plantimager.timelapse.store.schema import Logbook
from plantimager.timelapse.store.stored_timelapse import StoredTimelapse

MINUTE = timedelta(minutes=1)
PERIOD, PATIENCE = 10 * MINUTE, 10 * MINUTE
"""Of the check; its period is the interval of the pings."""
LONGEST_SCAN = 20 * MINUTE
SCAN = 5 * MINUTE
STORIES = [("healthchecks", pauses, seed) for pauses in (True, False) for seed in range(6)]
STORIES += [(kind, False, seed) for kind in ("kuma", "plain") for seed in range(2)]
"""The kind of monitor, whether it is paused, and what decides."""
LENGTH = 18 * 60
"""Minutes of a story."""


class Story:
    """A rig with its relay and its check; each minute something may happen to them."""

    def __init__(self, check, clock, dice, *, kind, pauses):
        self.check, self.clock, self.dice, self.kind, self.pauses = check, clock, dice, kind, pauses
        self.value, self.stored = None, None
        self.has_power = self.has_daemon = self.has_network = True
        self.disk_trouble = ""
        """Why the daemon can't write the store; what it did meanwhile is lost with it."""
        self.is_away, self.seen = False, None
        """Whether the disk of the store isn't there, and what the relay has last read of it."""
        self.sink, self.was_unheard = None, False
        self.minutes = []
        """Of each its time, whether the monitor hears that the schedule is kept, and whether it isn't."""
        for minute in range(LENGTH):
            clock.at(minute * MINUTE, self.pass_minute)

    def run(self):
        """Let the story happen."""
        try:
            while True:
                self.stop = threading.Event()
                host = SinkHost(lambda _: None, self.clock, self.stop, lambda: None)
                port = self.check.port
                access = MonitorAccess(f"http://127.0.0.1:{port}{Check.PUSH if self.kind == 'kuma' else Check.PING}")
                if self.pauses:
                    access = MonitorAccess(access.url, f"http://127.0.0.1:{port}{Check.PAUSE}", "key")
                watch = ScheduleWatch(self.clock, LONGEST_SCAN, PATIENCE)
                self.sink = HeartbeatSink(HeartbeatSettings(interval=PERIOD, kind=self.kind), access, watch, host)
                self.show()
                self.sink.run()
                while not self.has_power:
                    self.clock.wait(None, 60.0)
        except ScriptEnded:
            self.check.let_time_pass()

    def pass_minute(self):
        """Let chance decide, the daemon do its work, and write down how it is."""
        chance = self.dice.random()
        if chance < 0.004:
            self.has_power = not self.has_power
        elif chance < 0.008:
            self.has_daemon = not self.has_daemon
        elif chance < 0.012:
            self.has_network = not self.has_network
            self.check.answer_with(200 if self.has_network else 503)
        elif not (self.has_power and self.has_daemon and self.has_network) and chance < 0.04:
            self.has_power = self.has_daemon = self.has_network = True
            self.check.answer_with(200)
        elif 0.042 < chance < 0.048:
            self.disk_trouble = "" if self.disk_trouble else "disk full"
        elif 0.048 < chance < 0.053:
            self.is_away = not self.is_away
        known = self.stored.timelapse if self.stored is not None else None
        if self.has_power and self.has_daemon:
            self.work(chance)
        else:
            self.value, self.disk_trouble = known, ""
        if self.value is not known and not self.disk_trouble and not self.is_away:
            self.stored = StoredTimelapse(self.value, Logbook())
        if not self.has_power or 0.04 < chance < 0.042:
            self.seen = None if self.is_away else self.stored
            self.stop.set()  # the power is gone, or the relay is restarted
            self.sink.wake()
        else:
            self.show()
        self.write_down()

    def work(self, chance):
        """Do what the daemon does within a minute, and what a person asks of it."""
        now = self.clock.now()
        if self.value is None or self.value.state.is_terminal:
            if chance > 0.99:
                n_slots = self.dice.randrange(1, 9)
                times = tuple(now + EVERY * slot + 3 * MINUTE for slot in range(n_slots))
                self.value = timelapse(n_slots, schedule_times=times)
            return
        if chance > 0.995:
            self.value = self.value.cancel(now, "ada", "wilted")
            return
        self.value = self.value.skip_late_slots(now - SCAN, Reason.MISSED, "")
        if self.value.state.is_active and now >= self.value.next_at + SCAN:
            begun = self.value.begin(now - SCAN, "b")
            self.value = begun.succeed(now, 72) if chance < 0.8 else begun.fail_attempt(now, FAILURE)

    @property
    def view(self):
        """What there is to see of it."""
        facts = DaemonFacts(7, is_live=True, degraded="no disk" if self.is_away else self.disk_trouble)
        daemon = facts if self.has_daemon and self.has_power else None
        return StoreView(stored=self.seen, daemon=daemon, fault="no disk" if self.is_away else "")

    def show(self):
        """Show the relay what there is."""
        self.seen = self.seen if self.is_away else self.stored
        self.sink.update(self.view)

    def is_overdue(self, now):
        """Whether the store, as the relay has seen it, should have another record, or should be there, by now."""
        seen = self.seen.timelapse if self.seen is not None else None
        if seen is None or not seen.state.is_active:
            return self.is_away
        if self.has_power and self.has_daemon and (self.disk_trouble or self.is_away):
            return False  # the daemon's word counts
        slot = min(slot for slot in range(seen.n_slots) if slot not in seen.records)
        is_known = any(record.status is RecordStatus.SUCCEEDED for record in seen.records.values())
        return now >= seen.schedule_times[slot] + GRACE + (2 * SCAN if is_known else LONGEST_SCAN) + MINUTE

    def write_down(self):
        """Note how it is in this minute."""
        now, is_heard = self.clock.now(), self.has_power and self.has_network
        is_active = self.stored is not None and self.stored.timelapse.state.is_active
        is_watched = is_active or not self.pauses
        # That a timelapse ended, or began, can't be known there without a network.
        self.was_unheard = not is_heard and (self.was_unheard or is_watched)
        is_broken = self.is_overdue(now) or self.was_unheard
        self.minutes.append((now, is_watched and not is_broken, is_broken))


def broken_times(minutes):
    """Yield beginning and end of each time in which the schedule isn't kept, and whether it was for a while before."""
    begun, n_kept, kept_before = None, 0, False
    for now, is_kept, is_broken in minutes:
        if begun is None and is_broken:
            begun, kept_before = now, n_kept * MINUTE > PERIOD
        elif begun is not None and not is_broken:
            yield begun, now, kept_before
            begun = None
        n_kept = n_kept + 1 if is_kept else 0
    if begun is not None:
        yield begun, now, kept_before


@pytest.fixture(autouse=True)
def one_reading_of_certificates(monkeypatch):
    """Have each relay of a story take the same, which need a fifth of a second to be read."""
    monkeypatch.setattr(ssl, "create_default_context", cache(ssl.create_default_context))


@pytest.mark.parametrize(("kind", "pauses", "seed"), STORIES)
def test_the_monitor_raises_an_alarm_if_and_only_if_the_schedule_is_not_kept(kind, pauses, seed):
    """Power, network, daemon, relay, disk and its space come and go; timelapses end, are cancelled, and begin anew."""
    clock = VirtualClock(limit=LENGTH * MINUTE)
    with Check(clock, PERIOD, PATIENCE, "key") as check:
        story = Story(check, clock, random.Random(seed), kind=kind, pauses=pauses)
        story.run()
    broken = [*broken_times(story.minutes)]
    # After the network's return a ping is tried again within the interval.
    for alarm in check.alarms:
        assert any(begin <= alarm <= end + PERIOD for begin, end, _ in broken), f"a false alarm at {alarm}"
    for begin, end, was_kept in broken:
        if was_kept and end - begin > PERIOD + PATIENCE + MINUTE:
            assert any(begin <= alarm <= end for alarm in check.alarms), f"nothing was said of {begin} to {end}"
