"""The daemon as a whole: it takes the lock, puts the loop together, runs it, and leaves nothing behind.

One thread, the loop's, decides. Of the others the disk thread writes the store, the side thread the live status, the
log thread the lines, the control thread reads requests and writes answers, and the rig thread calls the driver.
Signal handlers only set a flag and wake the loop.
"""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from msgspec import Struct, field

from plantimager.timelapse.channel.control_server import ControlServer
from plantimager.timelapse.channel.lock import InstanceLock
from plantimager.timelapse.channel.served_client import Access
from plantimager.timelapse.daemon.active_config import ActiveConfig
from plantimager.timelapse.daemon.bounded_call import DiskThread
from plantimager.timelapse.daemon.call_supervisor import CallSupervisor
from plantimager.timelapse.daemon.common import Common
from plantimager.timelapse.daemon.dataset_probe import DatasetProbe
from plantimager.timelapse.daemon.definition_intake import DefinitionIntake
from plantimager.timelapse.daemon.driver_calls import RigThread
from plantimager.timelapse.daemon.journal import Action, log_event
from plantimager.timelapse.daemon.journal_events import EventJournal
from plantimager.timelapse.daemon.live_status import StatusAnswer, StatusPublisher
from plantimager.timelapse.daemon.loop import Loop, SaveRetry, Watchdog
from plantimager.timelapse.daemon.manual_hold import ManualHold
from plantimager.timelapse.daemon.phases import Lifecycle, Signals
from plantimager.timelapse.daemon.planner import RigPower
from plantimager.timelapse.daemon.previous_run import PreviousRun
from plantimager.timelapse.daemon.reload import ConfigReload, Reload
from plantimager.timelapse.daemon.request_handler import (
    ManualIntake,
    RequestHandler,
    answers_beside,
    change_commands,
    read_start,
)
from plantimager.timelapse.daemon.request_queue import RequestQueue
from plantimager.timelapse.daemon.resume import Resume
from plantimager.timelapse.daemon.rig import Rig
from plantimager.timelapse.daemon.scheduler import WallClockScheduler
from plantimager.timelapse.daemon.side_writes import SideLive, SideThread
from plantimager.timelapse.daemon.slot_runner import SlotRunner
from plantimager.timelapse.daemon.start import Start, log_start_notes
from plantimager.timelapse.daemon.stop import Stop
from plantimager.timelapse.daemon.store_keeper import StoreKeeper
from plantimager.timelapse.daemon.unsettled_attempts import UnsettledAttempts
from plantimager.timelapse.drivers import load_driver
from plantimager.timelapse.store.location import follow_link
from plantimager.timelapse.support.durable import make_private_directory, sweep_directory, sweep_temporaries

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from plantimager.timelapse.channel.live import LiveFile
    from plantimager.timelapse.daemon.driver_calls import CallOutcome
    from plantimager.timelapse.drivers.base import ScannerDriver
    from plantimager.timelapse.settings.config import Config
    from plantimager.timelapse.settings.places import Places
    from plantimager.timelapse.support.clock import Clock
    from plantimager.timelapse.systemd.notifier import Notifier


def make_control(places: Places, requests: RequestQueue, clock: Clock) -> ControlServer:
    """Return the server of a rig's control socket; the group may use that of a service of the machine."""
    access = Access(os.geteuid(), os.getegid() if places.is_shared else None)
    return ControlServer(places.control, access, requests.put, clock, requests.report)


class Host(Struct, frozen=True):
    """The surroundings of the daemon: the machine and its service manager, or their stand-ins in tests."""

    places: Places
    clock: Clock
    notifier: Notifier
    live: LiveFile
    make_driver: Callable[[str, Mapping[str, Any]], ScannerDriver] = load_driver
    make_thread: Callable[[Clock, Callable[[CallOutcome], None]], RigThread] = RigThread
    make_control: Callable[[Places, RequestQueue, Clock], ControlServer] = make_control
    side: SideThread = field(default_factory=SideThread)


class Daemon:
    """The long-running process, from `run` to its return."""

    def __init__(self, host: Host, config: Config, keeper: StoreKeeper | None = None) -> None:
        self.host, self.config = host, config
        self.keeper = keeper or StoreKeeper(host.places.store, DiskThread(host.clock.wake))
        self.lifecycle = Lifecycle()
        self.signals = Signals(host.clock)
        self.hold = ManualHold(host.clock)
        self.requests = RequestQueue(host.clock)

    def run(self) -> int:
        """Keep the timelapse going until SIGTERM or SIGINT; return the exit code.

        Raises
        ------
        TimelapsedError
            It can't start: another daemon runs, the store can't be read, the driver is unknown.
        OSError
            The storage directory can't be used.
        """
        store = self.host.places.store
        make_private_directory(store.parent)
        lock = InstanceLock(store)
        lock.acquire()
        control = self.host.make_control(self.host.places, self.requests, self.host.clock)
        try:
            self._sweep()
            loop = self._put_together()
            where = self.config.source or "no configuration file"
            log_event(Action.STARTING, f"store {store}, driver {self.config.driver}, {where}")
            self._serve(control)
            loop.run()
            self.keeper.finish(self.host.clock.now())
        finally:
            control.close()
            self.host.side.put("live", partial(self.host.live.end, self.host.clock.now()))
            self.host.side.finish()
            lock.release()
        return self.lifecycle.exit_code

    def _sweep(self) -> None:
        """Delete what writes that were cut off have left: of the store and in the archive."""
        store = self.host.places.store
        self._sweep_requests(store.with_name(f"{store.name}.requests"))
        swept = [*sweep_temporaries(follow_link(store)), *sweep_directory(self.host.places.history)]
        if swept:
            log_event(Action.STORE_SWEPT, f"{len(swept)} temporary file(s) of a write that was cut off deleted")

    def _sweep_requests(self, directory: Path) -> None:
        """Delete the directory in which earlier versions were left requests; those that still wait are dropped."""
        with suppress(OSError):
            waiting = [path.name for path in directory.iterdir() if path.suffix in {".json", ".toml"}]
            shutil.rmtree(directory)
            if waiting:
                log_event(Action.REQUEST_REFUSED, f"{directory}: left for an earlier version: {', '.join(waiting)}")

    def _serve(self, control: ControlServer) -> None:
        try:
            control.open()
        except OSError as problem:  # a disk that is full or read-only is no reason not to scan
            log_event(Action.REQUEST_REFUSED, f"{control.path}: no request can come: {problem.strerror or problem}")

    def _put_together(self) -> Loop:
        """Make the driver, the rig thread, and every part of the loop, in the order in which they need each other.

        Raises
        ------
        FaultsFound, DriverBroken
            The driver can't be made.
        """
        host, keeper, clock = self.host, self.keeper, self.host.clock
        active = ActiveConfig(host.places, self.config, host.make_driver, lambda: keeper.patience)
        rig = Rig(clock, active, host.make_thread)
        common = Common(clock, host.notifier, self.signals, self.lifecycle, keeper, active, rig, self.hold)
        scheduler = WallClockScheduler(clock, turn=lambda wake: loop.turn(wake))  # noqa: PLW0108 - made below

        power, probe = RigPower(common), DatasetProbe(common)
        supervisor = CallSupervisor(common, probe)
        attempts = UnsettledAttempts(common, probe)
        slots = SlotRunner(common, scheduler, power, supervisor, probe, attempts)
        planner = slots.planner
        intake = DefinitionIntake(common, host.places, planner, probe, attempts)
        config = ConfigReload(common, probe)
        commands = change_commands(common, host.places, planner, intake, self.requests)
        commands["rig"] = ManualIntake(common, probe).begin
        requests = RequestHandler(common, self.requests, config, planner, intake, commands)
        notes = log_start_notes(active.datasets, host.places.store.parent)
        shown = StatusAnswer(SideLive(host.live, host.side), keeper)
        status = StatusPublisher(common, shown, probe, lambda: (*notes, *intake.notes.values()))
        beside = answers_beside(host.places, keeper, clock, host.make_driver, self.requests.report_mistake)
        self.requests.begin(
            read_by={"start": read_start, "amend": read_start},
            answered_by={"status": shown.answer, **beside},
        )
        journal = EventJournal(active, rig)
        for subscriber in (journal, probe, intake, status):
            keeper.subscribe(subscriber.on_transition)

        stop = Stop(common, status)
        resume = Resume(common, planner, intake, probe, stop, PreviousRun(clock, host.live.before, host.places.history))
        start = Start(common, status, resume)
        reload = Reload(common, status, config, intake, planner)
        retry, watchdog = SaveRetry(keeper, clock), Watchdog(host.notifier, self.lifecycle)
        watched = (requests, retry, power, attempts, supervisor, planner, intake, journal, watchdog, start, stop)
        loop = Loop(scheduler, self.lifecycle, start, stop, reload, planner, slots, intake, status, watched)
        return loop
