"""The sink `heartbeat`: it pings a monitor while the schedule is kept, so that a dead rig is noticed by its silence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode, urlsplit, urlunsplit

import httpx
from msgspec import Struct

from plantimager.timelapse.channel.relay_status import SinkStatus
from plantimager.timelapse.relay.actions import RelayAction, log_relay
from plantimager.timelapse.relay.credentials import redact
from plantimager.timelapse.relay.http_exchange import HttpExchanges
from plantimager.timelapse.relay.schedule_watch import ScheduleState
from plantimager.timelapse.relay.sink import TimedSink
from plantimager.timelapse.support.text import one_line

if TYPE_CHECKING:
    from plantimager.timelapse.relay.schedule_watch import ScheduleWatch
    from plantimager.timelapse.relay.sink import NextLook, SinkHost
    from plantimager.timelapse.relay.store_view import StoreView
    from plantimager.timelapse.settings.relay_config import HeartbeatSettings
    from plantimager.timelapse.support.clock import Clock

NAME: Final = "heartbeat"
START, OK, FAIL = "start", "", "fail"
"""The signals that a monitor knows."""
IDLE: Final = "idle"
"""A good ping that says in words that nothing is scheduled. No monitor can be paused by a ping."""
PAUSE: Final = "pause"
"""The request by which a monitor's management API, such as Healthchecks', pauses it until its next ping."""
FIRST_RETRY: Final = 5.0
"""Seconds after a ping that didn't arrive; doubled until it is the interval."""
WORDS: Final = {OK: "kept", START: "begins", FAIL: "not kept", IDLE: "nothing is scheduled"}
MAX_REASON: Final = 200


class MonitorAccess(Struct, frozen=True):
    """Where a monitor takes pings, and how it is paused. All of it is secret."""

    url: str
    pause_url: str = ""
    """Empty where it isn't paused."""
    key: str = ""
    """What its management API asks for beside its address, if anything."""

    def __repr__(self) -> str:
        """Return a text that may be logged."""
        return "MonitorAccess()"


class HeartbeatSink(TimedSink):
    """Pings one monitor."""

    def __init__(
        self, settings: HeartbeatSettings, access: MonitorAccess, watch: ScheduleWatch, host: SinkHost
    ) -> None:
        super().__init__(NAME, host)
        self._settings, self._watch = settings, watch
        self._monitor = _Monitor(settings.kind, access, settings.timeout.total_seconds(), host.clock)
        self._last: tuple[str, float] | None = None
        """The last signal that arrived, and when."""
        self._failures = 0
        self._retry_at = 0.0
        pauses = ", pauses the monitor while nothing is scheduled" if access.pause_url else ""
        self.status = SinkStatus(name=NAME, what=f"pings every {settings.interval.total_seconds():g} s{pauses}")

    def _is_news(self, before: StoreView, view: StoreView) -> bool:
        """Whether the store or the daemon is another; else there is nothing else to signal."""
        is_other = (before.is_stale, before.daemon) != (view.is_stale, view.daemon)
        return is_other or before.stored is not view.stored

    def run(self) -> None:
        """Ping until the relay stops."""
        super().run()
        self._monitor.close()

    def _work(self, view: StoreView) -> NextLook:
        """Send the signal that is due."""
        judgement = self._watch.judge(view)
        left = self._seconds_until(self._signal(judgement.state, view))
        if left is not None and left <= 0:
            self._send(self._signal(judgement.state, view))
            left = self._seconds_until(self._signal(judgement.state, view))
        seconds = [wait for wait in (judgement.within, left) if wait is not None]
        return judgement.until, min(seconds, default=None)

    def _signal(self, state: ScheduleState, view: StoreView) -> str | None:
        """Return what the monitor shall hear while the schedule is in a state; ``None`` for silence."""
        if state is ScheduleState.UNKNOWN:
            return None
        if state in (ScheduleState.OVERDUE, ScheduleState.WAITS_FOR_RIG):
            return FAIL if self._monitor.knows_signals else None
        if state is ScheduleState.NOTHING_SCHEDULED:
            if not self._monitor.can_pause:
                return IDLE
            # Without a store its disk may not be mounted; a new rig's check raises no alarm before its first ping.
            return PAUSE if view.timelapse is not None else None
        begins = self._last is None or self._last[0] in (IDLE, PAUSE)
        return START if begins and self._monitor.knows_start else OK

    def _seconds_until(self, signal: str | None) -> float | None:
        """Return in how many seconds a signal is to be sent; ``None`` for never."""
        now = self._host.clock.monotonic()
        if signal is None or (self._last is not None and self._last[0] == signal in (FAIL, PAUSE)):
            return None
        if self._failures:
            return self._retry_at - now
        if signal not in (OK, IDLE) or self._last is None or self._last[0] != signal:
            return 0.0
        return self._last[1] + self._settings.interval.total_seconds() - now

    def _send(self, signal: str | None) -> None:
        if signal is None:
            return
        clock, interval = self._host.clock, self._settings.interval.total_seconds()
        problem = self._monitor.send(signal)
        if problem:
            self._retry_at = clock.monotonic() + min(FIRST_RETRY * 2 ** min(self._failures, 20), interval)
            self._failures += 1
            if problem != self.status.trouble:
                log_relay(RelayAction.HEARTBEAT_STUCK, f"{problem}; it is tried again", target=NAME)
            self._show(problem)
            return
        if self._failures:
            log_relay(RelayAction.HEARTBEAT_RESUMED, "the monitor takes pings again", target=NAME)
        self._last, self._failures = (signal, clock.monotonic()), 0
        self._show("")

    def _show(self, trouble: str) -> None:
        worked_at = self.status.worked_at if trouble else self._host.clock.now()
        self.status = SinkStatus(name=NAME, what=self.status.what, worked_at=worked_at, trouble=trouble)
        self._host.report()


class _Monitor:
    """The address of the monitor, and its dialect."""

    def __init__(self, kind: str, access: MonitorAccess, timeout: float, clock: Clock) -> None:
        self._kind, self._access, self.can_pause = kind, access, bool(access.pause_url)
        self._http = HttpExchanges(timeout, clock, headers={"User-Agent": "timelapse-relay"})
        self.knows_signals, self.knows_start = kind != "plain", kind == "healthchecks"

    def send(self, signal: str) -> str:
        """Send a signal; return why it did not arrive, empty where it did."""
        posts, access = self._kind == "healthchecks", self._access
        method, content = "POST" if posts or signal == PAUSE else "GET", WORDS.get(signal) if posts else None
        headers = {"X-Api-Key": access.key} if signal == PAUSE and access.key else {}
        try:  # what it says beside its code is not read
            with self._http.stream(method, self._address(signal), content=content, headers=headers) as answer:
                refused = f"the monitor answers {answer.status_code}{' to a pause' if signal == PAUSE else ''}"
                return "" if answer.is_success else refused
        except (httpx.HTTPError, httpx.InvalidURL) as problem:
            words = redact(one_line(str(problem)), access.pause_url if signal == PAUSE else access.url)
            words = words or type(problem).__name__
            return f"the monitor can't be reached: {words}"[:MAX_REASON]

    def _address(self, signal: str) -> str:
        if signal == PAUSE:
            return self._access.pause_url
        parts = urlsplit(self._access.url)
        if self._kind == "kuma":
            status = {"status": "down" if signal == FAIL else "up", "msg": WORDS[signal]}
            parts = parts._replace(query=urlencode(status))
        elif signal not in (OK, IDLE):
            parts = parts._replace(path=f"{parts.path.rstrip('/')}/{signal}")
        return urlunsplit(parts)

    def close(self) -> None:
        """Close the connection."""
        self._http.close()
