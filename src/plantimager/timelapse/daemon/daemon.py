"""The daemon: start, loop, stop. It ties the parts together and does none of their work.

One thread, the loop's, decides and writes; the rig thread moves the rig. Signal handlers only
set a flag and wake the loop.
"""

from __future__ import annotations

import os
import signal
import time
from collections import deque
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from plantimager.timelapse.channel.inbox import Answer, Inbox, Request
from plantimager.timelapse.channel.lock import InstanceLock
from plantimager.timelapse.daemon.conductor import CANCEL_PATIENCE, Conductor
from plantimager.timelapse.daemon.journal import Action, log_event, set_level
from plantimager.timelapse.daemon.keeper import Keeper
from plantimager.timelapse.daemon.manual_hold import read_manual_request
from plantimager.timelapse.daemon.pickup import PickUp
from plantimager.timelapse.daemon.resume import RECOVER_LIMIT, recover_interrupted, resume_schedule
from plantimager.timelapse.daemon.rig_thread import CallOutcome, Rig, RigThread
from plantimager.timelapse.daemon.scheduler import WallClockScheduler
from plantimager.timelapse.daemon.trust import judge_clock
from plantimager.timelapse.domain.durations import format_duration
from plantimager.timelapse.domain.states import Reason, TimeLapseState
from plantimager.timelapse.domain.wording import format_local_time, format_status_line
from plantimager.timelapse.drivers import load_driver
from plantimager.timelapse.drivers.base import Call
from plantimager.timelapse.settings.acceptance import read_definition, scan_configuration_for
from plantimager.timelapse.settings.config import Config, read_config
from plantimager.timelapse.store.loading import LoadedTimelapse, load_timelapse
from plantimager.timelapse.support.durable import make_private_directory, sweep_temporaries
from plantimager.timelapse.support.errors import (
    ConfigurationError,
    DefinitionRefused,
    FaultsFound,
    ManualCommandRefused,
    StoreCorrupt,
    TimelapsedError,
)
from plantimager.timelapse.support.text import one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from plantimager.timelapse.channel.live import LiveFile
    from plantimager.timelapse.daemon.notify import Notifier
    from plantimager.timelapse.drivers.base import ScannerDriver
    from plantimager.timelapse.settings.places import Places
    from plantimager.timelapse.store.stored_timelapse import StoredTimelapse
    from plantimager.timelapse.support.clock import Clock, Wake

TRUST_INTERVAL: Final = 5.0
"""Seconds between two looks at the kernel's verdict on the clock; only while it isn't trusted, since no event tells."""
START_MARGIN: Final = timedelta(seconds=90)
"""What the start may take besides the wait for the clock."""
NEVER_IN_PRACTICE: Final = timedelta(days=3650)
STOP_PATIENCE: Final = CANCEL_PATIENCE * 2
"""What the running scan gets to come to its safe point, and then the rig to power down."""


class Daemon:
    """The long-running process, from `run` to its return."""

    def __init__(
        self,
        places: Places,
        config: Config,
        clock: Clock,
        notifier: Notifier,
        live: LiveFile,
        *,
        watchdog: timedelta | None = None,
        make_driver: Callable[[str, Mapping[str, Any]], ScannerDriver] = load_driver,
        make_rig: Callable[[Clock, Callable[[CallOutcome], None]], Rig] = RigThread,
    ) -> None:
        self.places, self.config, self.clock = places, config, clock
        self.notifier, self.live, self.watchdog = notifier, live, watchdog
        self.keeper = Keeper(places.store)
        self.lock = InstanceLock(places.store)
        self.inbox = Inbox(places.store)
        self.scheduler = WallClockScheduler(clock, turn=self._turn)
        self._mail: deque[CallOutcome] = deque()
        self._make_driver, self._make_rig = make_driver, make_rig
        self.conductor: Conductor
        self.pickup: PickUp
        self._signals: set[int] = set()
        self._standing = False
        """Whether the store was read by a clock that can be trusted: from then on the schedule is kept."""
        self._began = clock.since_boot()
        """When the start began, in seconds since boot: the wall clock may have been wrong."""
        self._waiting_for_clock = False
        self._config_trouble: str | None = None
        """Why the configuration in use isn't the one on disk."""
        self._was_active = False
        """Whether there was a schedule to keep at the end of the last turn."""
        self._loaded: LoadedTimelapse | StoreCorrupt | None = None
        self._stop_deadline: float | None = None
        self._powered_down = False
        self._status = ""
        self._said = ""

    # --- start ----------------------------------------------------------------------------------

    def run(self) -> int:
        """Keep the timelapse going until SIGTERM or SIGINT; return the exit code.

        Raises
        ------
        TimelapsedError
            It can't start: another daemon runs, the store can't be read, the driver is unknown.
        OSError
            The storage directory can't be used.

        """
        make_private_directory(self.places.store.parent)
        self.lock.take()
        try:
            self._start()
            self.scheduler.start()
        finally:
            self.live.remove()
            self.lock.release()
        return 1 if self.conductor.abandoned else 0

    def _start(self) -> None:
        swept = sweep_temporaries(self.places.store)
        if swept:
            log_event(Action.STORE_SWEPT, f"{len(swept)} temporary file(s) of a save that was cut off deleted")
        try:
            self.inbox.open()
        except OSError as problem:  # a disk that is full or read-only keeps nobody from scanning
            log_event(Action.REQUEST_REFUSED, f"{self.inbox.directory}: no request can be left: {problem.strerror}")
        driver = self._driver_of(self.config)
        rig = self._make_rig(self.clock, self._post)
        datasets = self.config.datasets or self.places.datasets
        self.conductor = Conductor(self.keeper, self.scheduler, rig, self.clock, driver, self.config, datasets)
        self.pickup = PickUp(self.places, self.conductor, requests=self.inbox.directory)
        where = self.config.source or "no configuration file"
        log_event(Action.STARTING, f"store {self.places.store}, driver {self.config.driver}, {where}")

    def _post(self, outcome: CallOutcome) -> None:
        """Hand an outcome over to the loop. Rig thread."""
        self._mail.append(outcome)
        self.clock.wake()

    def handle_signals(self) -> None:
        """Have SIGTERM and SIGINT stop the daemon and SIGHUP look again. Main thread, once."""
        signal.set_wakeup_fd(self.clock.wakeup_fd, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda received, _: self._signals.add(received))

    def request_stop(self) -> None:
        """Do what SIGTERM does. Any thread."""
        self._signals.add(signal.SIGTERM)
        self.clock.wake()

    def request_reload(self) -> None:
        """Do what SIGHUP does. Any thread."""
        self._signals.add(signal.SIGHUP)
        self.clock.wake()

    # --- loop -----------------------------------------------------------------------------------

    def _turn(self, _wake: Wake) -> float | None:
        """Do what is to be done besides the jobs; return in how many seconds to be called again. Loop thread."""
        time.tzset()  # or the zone would for ever be that of the process's first second, whatever timedatectl is told
        self._look_at_clock()  # before anything is judged by it
        while self._mail:
            self.conductor.rig_answered(self._mail.popleft())
        self._stop_if_asked()
        if self._stop_deadline is None:
            if signal.SIGHUP in self._signals:
                self._signals.discard(signal.SIGHUP)
                self._reload()
            if not self._standing:
                self._stand_up_if_trusted()
                self._look_at_clock()  # a start may take minutes, and a slot begin right after it
            self._begin_what_waited()
            self._stop_if_asked()  # meanwhile, and before the jobs: a scan would be begun to be broken off
        if self._stop_deadline is not None:
            self._stop_further()
        return self._look_after() if self.scheduler.running else None

    def _begin_what_waited(self) -> None:
        """Take up the definition that lies ready when a timelapse has ended: it may have waited for that.

        Not where the clock was set forward over slots: that may have been a lie, and then they come back.
        """
        was_active, self._was_active = self._was_active, self._is_active
        timelapse = self.keeper.timelapse
        if timelapse is None or self._was_active or not was_active or self.conductor.abandoned is not None:
            return
        why = self._why_not_by_itself()
        if why is not None:
            self.pickup.announce_what_lies_ready(why)
        else:
            self.pickup.take_up_what_lies_ready(quiet=True)

    def _why_not_by_itself(self) -> str | None:
        """Return why a person has to begin what lies ready, now that there is no schedule to keep."""
        timelapse = self.keeper.timelapse
        if timelapse is None or timelapse.state is not TimeLapseState.COMPLETED:
            return None
        if not any(record.reason is Reason.CLOCK_MOVED for record in timelapse.records.values()):
            return None
        return f"the clock was set forward over slots of {timelapse.id}, which come back should it be set right"

    @property
    def _is_active(self) -> bool:
        """Whether there is a schedule to keep."""
        return self.keeper.timelapse is not None and self.keeper.timelapse.state.is_active

    def _look_after(self) -> float | None:
        """Watch the rig and the disk, feed the watchdog, say what is going on."""
        waits = [self.conductor.watch()]
        if self.conductor.abandoned is not None:
            self._give_up()
        elif self.watchdog is not None and self._standing:
            self.notifier.watchdog()
            waits.append(self.watchdog.total_seconds() / 2)
        if not self._standing and self._stop_deadline is None:
            waits.append(TRUST_INTERVAL)
        if self._stop_deadline is not None:
            waits.append(max(self._stop_deadline - self.clock.monotonic(), 0.0))
        self._say(self._status_line())
        return min((wait for wait in waits if wait is not None), default=None)

    def _give_up(self) -> None:
        """End a process whose rig thread hangs: by the watchdog, which is not fed any more, or by ourselves."""
        if self.watchdog is not None and self._stop_deadline is None:
            self.notifier.trigger_watchdog()
            return
        self.scheduler.shutdown()

    # --- the clock --------------------------------------------------------------------------------

    def _stand_up_if_trusted(self) -> None:
        """Begin to act once the clock can be trusted: on this hangs everything that can't be taken back."""
        if not self._waiting_for_clock:
            self._loaded = self._read_store()
        now = self.clock.now()
        evidence = self.clock.evidence()
        last_write = _last_write(self._loaded)
        trust = judge_clock(
            self.config.clock, evidence, now, last_write, self.clock.since_boot(), self.config.clock_wait
        )
        if not trust.trusted:
            if not self._waiting_for_clock:
                self._waiting_for_clock = True
                until = trust.wait if trust.wait is not None else NEVER_IN_PRACTICE
                self.notifier.extend_timeout(min(until, NEVER_IN_PRACTICE) + START_MARGIN)
                log_event(
                    Action.CLOCK_WAIT, f"clock not trusted yet ({trust.why}; {evidence.detail}); nothing is decided"
                )
            self._status = f"clock not trusted yet ({trust.why}), nothing is decided"
            return
        log_event(Action.CLOCK_TRUSTED, f"{trust.why} ({evidence.detail})")
        if self._waiting_for_clock:
            self._waiting_for_clock = False
            self._say("clock trusted, looking back at what went by")
            self.notifier.extend_timeout(RECOVER_LIMIT + START_MARGIN)
            self._loaded = self._read_store()  # it may have changed while we waited
        self.clock.step()  # whatever it did before now was never acted on
        self.conductor.armed = True
        self._resume(self._loaded)
        self._loaded = None
        self.conductor.look_at_datasets()
        self._handle_requests()

    def _look_at_clock(self) -> None:
        """Have everything looked at afresh if the clock was set; what is trusted once stays trusted."""
        step = self.clock.step()
        if step is None or not self._standing or self._stop_deadline is not None:
            return
        now = self.clock.now()
        direction = "forward" if step.shift > timedelta(0) else "backward"
        before, after = format_local_time(step.before, now), format_local_time(step.after, now)
        words = f"{direction} by {format_duration(step.shift)} ({before} → {after})"
        log_event(Action.CLOCK_MOVED, f"{words}; schedule looked at afresh")
        self.conductor.clock_moved(step)
        if step.shift < timedelta(0) and not self._is_active:
            self.pickup.take_up_what_lies_ready(quiet=True)  # by a clock that was ahead, it may have been over

    # --- the store ----------------------------------------------------------------------------------

    def _read_store(self) -> LoadedTimelapse | StoreCorrupt | None:
        self.keeper.look()
        try:
            return load_timelapse(self.places.store)
        except StoreCorrupt as corrupt:
            return corrupt

    def _resume(self, loaded: LoadedTimelapse | StoreCorrupt | None) -> None:
        """Go on with what the store holds; what it can't hold is set aside, and a definition is looked for.

        Ready is who has read the store: from then on the schedule is kept.
        """
        stored, found = self._settle_store(loaded), None
        definition = self.pickup.look()
        if stored is not None:
            configuration = scan_configuration_for(stored, definition, self.config.scan)
            since = self.clock.now() - timedelta(seconds=self.clock.since_boot() - self._began)
            found = recover_interrupted(self.conductor, stored.with_configuration(configuration), configuration, since)
        self._standing = True
        self.notifier.ready()
        if found is not None:
            resume_schedule(self.conductor, found)
        if definition is not None:
            why = self._why_not_by_itself()
            if why is not None:
                self.pickup.announce_what_lies_ready(why)
            else:
                self.pickup.take_up_if_new(definition)
        if self.keeper.timelapse is None:
            self.conductor.settle_rig()
            log_event(Action.IDLE, f"no timelapse in {self.places.store}; define one with timelapsectl start FILE")

    def _settle_store(self, loaded: LoadedTimelapse | StoreCorrupt | None) -> StoredTimelapse | None:
        if loaded is None:
            return None
        if isinstance(loaded, StoreCorrupt):
            self.keeper.quarantine(loaded, self.clock.now())
            return None
        if loaded.trouble is not None:
            self.keeper.fall_back(loaded, self.clock.now())
        return loaded.stored

    # --- requests --------------------------------------------------------------------

    def _handle_requests(self) -> None:
        """Do what was asked for. While the clock isn't trusted only who waits at the rig is answered: with a no."""
        for request in self.inbox.pending():
            if not self._standing and request.kind != "rig":
                continue
            try:
                message = self._do(request)
            except (TimelapsedError, OSError) as refusal:
                hint = getattr(refusal, "hint", None)
                message = f"{refusal}{f'; {hint}' if hint else ''}"
                self.inbox.answer(request, Answer(accepted=False, message=message))
                said = message.removeprefix(f"{request.path}: ")  # a file that is gone by now
                log_event(Action.REQUEST_REFUSED, f"{request.kind}: {said}")
            else:
                if message is not None:
                    self.inbox.answer(request, Answer(accepted=True, message=message))

    def _do(self, request: Request) -> str | None:
        """Do what a request asks for; return how it is answered, None where that takes a while.

        Nothing begins under another configuration than the one that the person who asks has written.
        """
        if self._config_trouble is not None and request.kind != "cancel":
            raise ConfigurationError(self._config_trouble)
        if request.kind == "start":
            return self.pickup.take_up(read_definition(request.path))
        if request.kind == "rig":
            self._begin_manual_request(request)
            return None
        body = request.body()
        timelapse = self.keeper.timelapse
        if timelapse is None or not timelapse.state.is_active:
            raise DefinitionRefused("there is no active timelapse to cancel")
        wanted = body.get("timelapse_id", timelapse.id)
        if wanted != timelapse.id:
            raise DefinitionRefused(f"{wanted} is not active; {timelapse.id} is")
        who, why = body.get("who", "somebody"), body.get("why") or "no reason given"
        after = self.conductor.cancel(one_line(str(who)), one_line(str(why)))
        return f"{after.id} is cancelled; {after.tally}"

    def _begin_manual_request(self, request: Request) -> None:
        """Have the rig do what a person asks for.

        Raises
        ------
        NotByHand, FaultsFound
            It can't be asked for, or not now.

        """
        if not self._standing:
            raise ManualCommandRefused(f"{self._status}; until then nobody knows whether a scan is to be resumed")
        if self.conductor.manual_hold.has(request):
            return
        configuration = self.conductor.configuration or self.config.scan
        reply = partial(self.inbox.answer, request)
        manual = read_manual_request(request, reply, self.config.driver, configuration)
        self.conductor.run_manual(manual)

    def _reload(self) -> None:
        """Look again at configuration, definition and requests; what is faulty is told, and the old kept.

        While the clock isn't trusted, the configuration alone: it may say that it is. The rest waits.
        """
        if not self._standing:
            self._read_config_again()
            if self._waiting_for_clock:
                self._handle_requests()
            return
        self.notifier.reloading(self.clock.monotonic())
        self._read_config_again()
        self._handle_requests()  # first: a cancellation makes room for the definition that lies ready
        self.pickup.take_up_what_lies_ready()
        self._was_active = self._is_active
        self.conductor.plan()
        self.conductor.settle_rig()
        log_event(Action.RELOADED, "configuration, definition and requests were looked at")
        self.notifier.ready(self._status_line())

    def _read_config_again(self) -> None:
        try:
            self._adopt(read_config(self.places.find_config()))
        except TimelapsedError as faulty:
            log_event(Action.CONFIG_FAULTY, f"{faulty}\nthe configuration in use is kept")
            first, *_ = str(faulty).split("\n")
            self._config_trouble = f"{first}; the configuration before is in use, with the {self.config.driver} driver"
        else:
            self._config_trouble = None

    def _adopt(self, config: Config) -> None:
        """Use another configuration from now on; a running scan ends under the driver it began with.

        Raises
        ------
        FaultsFound, DriverBroken
            As `_driver_of`.

        """
        before = self.config
        if config == before:
            return
        if (config.driver, config.driver_options) != (before.driver, before.driver_options):
            driver = self._driver_of(config)
            self.conductor.rig.submit(self.conductor.driver, Call.CLOSE)
            self.conductor.driver = driver
            self.conductor.warm = None
        self.config = self.conductor.config = config
        self.conductor.datasets = config.datasets or self.places.datasets
        self.conductor.look_at_datasets()
        set_level(config.log_level)
        log_event(Action.CONFIG_LOADED, f"driver {config.driver}, {config.source or 'no configuration file'}")

    def _driver_of(self, config: Config) -> ScannerDriver:
        """Return the driver that a configuration asks for.

        Raises
        ------
        FaultsFound
            There is no such driver, or it refuses its options.
        DriverBroken
            It fails to be made.

        """
        try:
            return self._make_driver(config.driver, config.driver_options)
        except FaultsFound as faulty:
            raise faulty.named(config.source or "no configuration file") from faulty

    # --- stop -------------------------------------------------------------------------------------

    def _stop_if_asked(self) -> None:
        if self._signals & {signal.SIGTERM, signal.SIGINT}:
            self._signals -= {signal.SIGTERM, signal.SIGINT}
            self._stop()

    def _stop(self) -> None:
        if self._stop_deadline is not None:
            return
        self._stop_deadline = self.clock.monotonic() + STOP_PATIENCE.total_seconds()
        self.notifier.stopping()
        self.notifier.extend_timeout(STOP_PATIENCE + START_MARGIN)
        scanning = "; the running scan comes to its next safe point" if self.conductor.scanning else ""
        log_event(Action.STOPPING, f"stop is pause: the next start goes on{scanning}", timelapse=self.keeper.timelapse)
        self.conductor.stop()

    def _stop_further(self) -> None:
        """Go on stopping: wait for the scan, then for standby and close; end when done or out of patience."""
        conductor = self.conductor
        out_of_patience = self._stop_deadline is not None and self.clock.monotonic() >= self._stop_deadline
        busy = not conductor.rig.idle or self._mail  # in this order: what ends in between is in the mail
        if busy and not out_of_patience:
            return
        if not self._powered_down and not out_of_patience:
            self._powered_down = True
            conductor.record_stop()
            if conductor.warm is not False:
                conductor.rig.submit(conductor.driver, Call.STANDBY)
            conductor.rig.submit(conductor.driver, Call.CLOSE)
            return
        if not self._powered_down:
            conductor.record_stop()
        log_event(Action.STOPPED, self._status_line(), timelapse=self.keeper.timelapse)
        self.scheduler.shutdown()

    # --- telling ------------------------------------------------------------------------------------

    def _status_line(self) -> str:
        timelapse, now = self.keeper.timelapse, self.clock.now()
        if self._waiting_for_clock:
            return self._status
        if self.conductor.abandoned is not None:
            return self.conductor.abandoned
        if self.keeper.trouble is not None:
            return f"DEGRADED: store can't be written ({self.keeper.trouble}), scans go on"
        return format_status_line(timelapse, now, progress=self.conductor.progress, fresh=self.watchdog is not None)

    def _say(self, line: str) -> None:
        if line != self._said:
            self._said = line
            self.notifier.status(line)
        self.live.show(self._live_view(line))

    def _live_view(self, line: str) -> dict[str, Any]:
        conductor = self.conductor
        done, total = conductor.progress or (0, 0)
        return {
            "pid": os.getpid(),
            "status": line,
            "rig": _rig_word(conductor),
            "progress": {"done": done, "total": total} if total else None,
            "trouble": self.keeper.trouble or conductor.abandoned or self._config_trouble or conductor.datasets_trouble,
            "clock": "not trusted" if self._waiting_for_clock else "trusted",
            "driver": self.config.driver,
        }


def _rig_word(conductor: Conductor) -> str:
    if conductor.scanning:
        return "scanning"
    if conductor.manual_hold.manual is not None:
        return Call.MANUAL
    return {True: "warm", False: "standby", None: "unknown"}[conductor.warm]


def _last_write(loaded: LoadedTimelapse | StoreCorrupt | None) -> datetime | None:
    """Return when the store was last written, by its own word or else by its file's."""
    if not isinstance(loaded, LoadedTimelapse):
        return None
    return loaded.stored.logbook.saved_at or datetime.fromtimestamp(loaded.path.stat().st_mtime, tz=UTC)
