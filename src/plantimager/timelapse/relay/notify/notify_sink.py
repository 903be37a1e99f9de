"""The sink `notify`: it tells people what they have to know, on a thread of its own."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Final

from plantimager.timelapse.relay.actions import RelayAction, log_relay
from plantimager.timelapse.relay.notify.news import begin_telling, find_news
from plantimager.timelapse.relay.notify.notify_text import NO_CLOCK, word_news
from plantimager.timelapse.relay.notify.outbox import NAME, Outbox, Trials
from plantimager.timelapse.relay.notify.thumbnail import Thumbnailer
from plantimager.timelapse.relay.notify.troubles import next_alarm_at, onsets_of
from plantimager.timelapse.relay.sink import TimedSink

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from plantimager.timelapse.channel.control_request import Request
    from plantimager.timelapse.channel.relay_status import SinkStatus
    from plantimager.timelapse.relay.notify.messenger import Service
    from plantimager.timelapse.relay.notify.news import News
    from plantimager.timelapse.relay.schedule_watch import ScheduleWatch
    from plantimager.timelapse.relay.sink import NextLook, SinkHost
    from plantimager.timelapse.relay.store_view import StoreView
    from plantimager.timelapse.settings.relay_config import NotifyEvent, NotifySettings, Quiet

RECENT: Final = timedelta(days=1)
"""Messages of that time count as a row of the same."""
FACTOR, MAX_SPREAD = 4, 4
"""A message of the same kinds as those before comes four times as late as the last, four times over: by 4 h at most."""
MINUTE: Final = timedelta(minutes=1)
LEDGER_WAIT: Final = 60.0
"""Seconds between two tries to read the ledger, or to write it."""


class NotifySink(TimedSink):
    """Sends messages to all services."""

    def __init__(
        self,
        settings: NotifySettings,
        services: Sequence[Service],
        watch: ScheduleWatch,
        directory: Path,
        rig: str,
        host: SinkHost,
    ) -> None:
        super().__init__(NAME, host)
        self._settings, self._watch = settings, watch
        self._outbox = Outbox(directory / f"{NAME}.ledger", services, rig, settings, host.clock)
        self._trials = Trials(self._outbox)
        self._thumbnailer = Thumbnailer(host.datasets_of)
        self._news_since: float | None = None
        self._onsets: dict[NotifyEvent, datetime] = {}

    @property
    def status(self) -> SinkStatus:
        """What is set up, and when it last worked."""
        return self._outbox.status

    def _is_news(self, before: StoreView, view: StoreView) -> bool:
        """Whether there may be news; a scan's progress is none."""
        return _grounds_of(before) != _grounds_of(view)

    @property
    def trial_seconds(self) -> float:
        """The longest that a test message takes."""
        return self._settings.timeout.total_seconds() * len(self._outbox.services)

    def send_trial(self, request: Request) -> None:
        """Have a test message sent for a request."""
        self._trials.put(request)
        self._host.clock.wake()

    def _work(self, view: StoreView) -> NextLook:
        """Answer test messages, look, and send."""
        shown = self.status
        self._trials.answer(self._host.clock.now(), partial(self._make_picture, view))
        next_look = self._look(view)
        if self.status != shown:
            self._host.report()
        return next_look

    # --- one look ---------------------------------------------------------------------------------

    def _look(self, view: StoreView) -> NextLook:
        """Send what is to be said now; return when to look again."""
        clock, settings = self._host.clock, self._settings
        try:
            told = self._outbox.told or self._outbox.load()
        except OSError:
            return None, LEDGER_WAIT
        if told is None:
            if view.is_stale:  # what has happened before isn't known yet
                self._outbox.report_unknown()
                return None, None
            self._outbox.keep(begin_telling(view))
            return self._look(view)
        now, judgement = clock.now(), self._watch.judge(view)
        instants, seconds = [judgement.until, next_alarm_at(view, now)], [judgement.within]
        quiet_until = _quiet_until(settings.quiet, now)
        self._onsets = onsets_of(view, self._onsets, now)
        news = find_news(told, view, judgement, now, settings.events, self._onsets)
        if not news.kinds:
            self._news_since = None
            self._outbox.keep(news.told)
        else:
            left = self._seconds_until_told(news, now)
            if left <= 0 and quiet_until is None:
                self._tell(news, view, now)
            seconds.append(left if left > 0 else None)
        if quiet_until is None:
            seconds.append(self._outbox.send_waiting(self._host.stop, partial(self._make_picture, view)))
        seconds.append(LEDGER_WAIT if self._outbox.is_unwritten else None)
        instants.append(quiet_until)
        return (
            min((instant for instant in instants if instant is not None), default=None),
            min((left for left in seconds if left is not None), default=None),
        )

    def _seconds_until_told(self, news: News, now: datetime) -> float:
        """Return how long news wait for more of their kind: the longer, the more there was of it lately."""
        monotonic, gather = self._host.clock.monotonic(), self._settings.gather.total_seconds()
        if self._news_since is None:
            self._news_since = monotonic
        left = self._news_since + gather - monotonic
        recent = [(at, kinds) for at, kinds in news.told.recent if now - RECENT < at <= now]
        if recent and {*news.kinds} <= {kind for _, kinds in recent for kind in kinds}:
            spread = gather * FACTOR ** min(len(recent), MAX_SPREAD)
            left = max(left, spread - (now - recent[-1][0]).total_seconds())
        return left

    def _tell(self, news: News, view: StoreView, now: datetime) -> None:
        self._news_since = None
        message = word_news(news, view, self._outbox.rig, now)
        slot = next((alarm.slot for alarm in news.alarms if alarm.slot is not None), None)
        if slot is not None and view.timelapse is not None:
            words = f"slot {slot} of {view.timelapse.id} has no record, although it should"
            log_relay(RelayAction.OVERDUE, words, timelapse_id=view.timelapse.id, slot=slot)
        if any(alarm.of_clock for alarm in news.alarms) and view.timelapse is not None:
            words = f"{NO_CLOCK} for longer than clock_wait; nothing of {view.timelapse.id} is taken"
            log_relay(RelayAction.OVERDUE, words, timelapse_id=view.timelapse.id)
        self._outbox.add(message, news.told)

    def _make_picture(self, view: StoreView, file: str) -> bytes:
        return self._thumbnailer.make(view.taken.scans, file) if self._settings.picture else b""


def _grounds_of(view: StoreView) -> object:
    """Return what may be news in a look; the present store is the same object as long as its file is the same."""
    return id(view.stored), view.daemon, view.archived, view.targets, view.faults, view.doubts


def _quiet_until(quiet: Quiet | None, now: datetime) -> datetime | None:
    """Return when it is quiet no more, by local time; ``None`` where it isn't quiet now."""
    if quiet is None or not _is_quiet(quiet, now):
        return None
    # Minute by minute: an end that spring's change of the clocks leaves out is at that change, and one that autumn's
    # has twice comes twice.
    later = now.replace(second=0, microsecond=0)
    while _is_quiet(quiet, later):
        later += MINUTE
    return later


def _is_quiet(quiet: Quiet, now: datetime) -> bool:
    time, (begin, end) = now.astimezone().time(), quiet
    return begin <= time < end if begin < end else time >= begin or time < end
