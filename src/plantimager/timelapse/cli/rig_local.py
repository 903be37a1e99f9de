"""A manual command in this process, where no daemon runs.

The rig is left as the person put it: arm, power and lights stay, so that one command can build on the last. `check`
leaves it in standby: it changes nothing that a next command could need. So does `try`: it is a whole slot.
"""

from __future__ import annotations

import os
import signal
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from plantimager.timelapse.channel.lock import InstanceLock
from plantimager.timelapse.drivers import load_driver
from plantimager.timelapse.drivers.base import EventMonitor
from plantimager.timelapse.drivers.manual_command import ManualAction, ManualCommand, perform
from plantimager.timelapse.drivers.manual_control import ManualControl
from plantimager.timelapse.drivers.programs.observe import ObserveProgram
from plantimager.timelapse.drivers.trial import Trial
from plantimager.timelapse.settings.acceptance import scan_configuration_for
from plantimager.timelapse.settings.config import read_config
from plantimager.timelapse.store.loading import load_timelapse
from plantimager.timelapse.support.durable import make_private_directory
from plantimager.timelapse.support.errors import (
    AlreadyRunning,
    DriverBroken,
    DriverError,
    FaultsFound,
    ManualCommandRefused,
    TimelapsedError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from plantimager.timelapse.cli.session import Session
    from plantimager.timelapse.drivers.base import ScannerDriver
    from plantimager.timelapse.drivers.manual_command import ManualReport
    from plantimager.timelapse.settings.config import Config


def perform_locally(command: ManualCommand, session: Session) -> ManualReport:
    """Carry a manual command out with a driver of our own.

    Raises
    ------
    ManualCommandRefused, DriverError, DriverBroken
        Another process uses the rig, the rig can't do it, or the driver doesn't offer it or fails.
    FileUnusable, FaultsFound
        The configuration has faults.
    OSError
        The lock can't be made.
    """
    path = session.places.find_config()
    config = read_config(path)
    try:
        driver = load_driver(config.driver, config.driver_options)
    except FaultsFound as found:
        raise found.named(path or "") from None
    with _rig_locked(session), _interruptible() as monitor:
        try:
            configuration, trial = _scan_configuration(command, config, session), _trial(config, session)
            return perform(driver, config.driver, command, configuration, monitor, trial)
        except (TimelapsedError, OSError):
            raise
        except Exception as problem:  # a driver by others may raise anything
            raise DriverBroken(config.driver, problem) from problem
        finally:
            _release(driver, command)
            if os.geteuid() == 0 and command.action is ManualAction.TRY:
                _give_to_service(trial, session)


def _trial(config: Config, session: Session) -> Trial:
    observe = None if config.observe is None else ObserveProgram(config.observe, config.observe_timeout)
    return Trial(
        at=session.clock.now(),
        datasets=session.places.datasets_in(config.datasets),
        owner=session.places.owner,
        monotonic=session.clock.monotonic,
        observe=observe,
    )


def _give_to_service(trial: Trial, session: Session) -> None:
    """Have what root has made belong to the service's user, who puts datasets beside it and may move it away."""
    storage = session.store.parent.stat()
    made = [trial.datasets, *trial.datasets.glob(f"*{trial.dataset.name}*")]
    for path in [*made, *(path for directory in made[1:] for path in directory.rglob("*"))]:
        if path.lstat().st_uid == 0:
            os.chown(path, storage.st_uid, storage.st_gid, follow_symlinks=False)


def _release(driver: ScannerDriver, command: ManualCommand) -> None:
    """Leave the rig as the person put it; in standby after a check or a trial."""
    if isinstance(driver, ManualControl) and command.action not in (ManualAction.CHECK, ManualAction.TRY):
        driver.leave()
        return
    with suppress(DriverError):  # of a part that doesn't answer; the check has shown it
        if command.action is ManualAction.TRY:
            driver.standby()
        driver.close()


def _scan_configuration(command: ManualCommand, config: Config, session: Session) -> Mapping[str, Any]:
    """Return the timelapse's configuration for a picture or a trial; the host's where its store can't be read."""
    if command.action in (ManualAction.SNAPSHOT, ManualAction.TRY):
        with suppress(TimelapsedError):
            loaded = load_timelapse(session.store)
            if loaded is not None:
                return scan_configuration_for(loaded.stored, None, config.scan)
    return config.scan


@contextmanager
def _rig_locked(session: Session) -> Iterator[None]:
    """Keep daemons and other manual commands from the rig meanwhile.

    Raises
    ------
    ManualCommandRefused
        One of them has it.
    """
    make_private_directory(session.store.parent)
    lock = InstanceLock(session.store)
    try:
        lock.take(signed=False)  # a signature would make others send this process the daemon's signals
    except AlreadyRunning:
        raise ManualCommandRefused(
            "somebody else is at the rig: another timelapsectl rig, or a daemon that is starting",
            hint="try again in a moment",
        ) from None
    try:
        if os.geteuid() == 0:  # the daemon's own user takes it next
            storage = session.store.parent.stat()
            lock.change_owner(storage.st_uid, storage.st_gid)
        yield
    finally:
        lock.release()


@contextmanager
def _interruptible() -> Iterator[EventMonitor]:
    """Yield a monitor that Ctrl-C cancels, so that the arm comes to a stand first."""
    monitor = EventMonitor()
    before = signal.signal(signal.SIGINT, lambda *_: monitor.cancel())
    try:
        yield monitor
    finally:
        signal.signal(signal.SIGINT, before)
