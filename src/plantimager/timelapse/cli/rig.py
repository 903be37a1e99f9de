"""``timelapsectl rig``: try the rig by hand. The daemon does it where one runs, and this process where none does.

Without a daemon the rig is left as the person put it: arm, power and lights stay, so that one command can build on the
last. `check` alone leaves it in standby, as it changes nothing that anybody would want to keep.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import signal
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

from plantimager.timelapse.channel.inbox import clear_pictures, collect_picture, leave_request
from plantimager.timelapse.channel.live import read_live
from plantimager.timelapse.channel.lock import InstanceLock, running_daemon
from plantimager.timelapse.cli.requests import PATIENCE, DaemonNotThere, ask, daemon_to_ask, nudge, who_asks
from plantimager.timelapse.cli.terminal import Style
from plantimager.timelapse.drivers import load_driver
from plantimager.timelapse.drivers.base import Call, EventMonitor
from plantimager.timelapse.drivers.manual_command import ManualAction, ManualCommand, perform
from plantimager.timelapse.drivers.manual_control import ManualControl
from plantimager.timelapse.scan.paths import Pose
from plantimager.timelapse.settings.acceptance import scan_configuration_for
from plantimager.timelapse.settings.config import read_config
from plantimager.timelapse.store.loading import load_timelapse
from plantimager.timelapse.support.durable import make_private_directory
from plantimager.timelapse.support.errors import (
    EXIT_FAILED,
    AlreadyRunning,
    DriverBroken,
    DriverError,
    FaultsFound,
    ManualCommandRefused,
    TimelapsedError,
)
from plantimager.timelapse.support.text import one_line

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from plantimager.timelapse.cli.session import Session
    from plantimager.timelapse.drivers.base import ScannerDriver
    from plantimager.timelapse.settings.config import Config

LEFT: Final = "no daemon runs, so the rig stays like this until one starts"

_SAFE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*", re.ASCII)
"""What a picture may be called that the daemon's words name: nothing that leads elsewhere."""


def run_rig(options: argparse.Namespace, session: Session) -> int:
    """Have the rig do something, and show what came of it; 1 if a part doesn't answer.

    Raises
    ------
    NotByHand, DriverError, DriverBroken
        It isn't done: a scan comes first, the rig can't, or the driver doesn't offer it, or fails.
    DaemonNotThere
        The daemon doesn't answer.
    OSError
        It can't be asked for, or a picture can't be written.

    """
    command = _command(options, session)
    pid = daemon_to_ask(session.store)
    if pid is not None:
        sentence, details, pictures = _ask_daemon(command, session, pid)
    else:
        sentence, details, pictures = _do_it_here(command, session)
    if command.action is ManualAction.CHECK:
        return _show_parts(details["parts"], session, as_json=options.json)
    if command.action is ManualAction.SNAPSHOT:
        for line in _write_pictures(details["pictures"], pictures, options.output, session):
            session.screen.write(line)
    else:
        session.screen.write(one_line(sentence))
    if pid is None:
        session.screen.write(session.screen.paint(f"note: {LEFT}", Style.DIM))
    return 0


def _command(options: argparse.Namespace, session: Session) -> ManualCommand:
    action, who = ManualAction(options.action), who_asks(session.environment)
    match action:
        case ManualAction.GOTO:
            return ManualCommand(action=action, pose=Pose(x=options.x, y=options.y, pan=options.pan), who=who)
        case ManualAction.SNAPSHOT:
            return ManualCommand(action=action, camera=options.camera, who=who)
        case ManualAction.LIGHTS:
            return ManualCommand(action=action, on=options.state == "on", who=who)
    return ManualCommand(action=action, who=who)


# --- by the daemon ---------------------------------------------------------------------------------------

_Outcome = tuple[str, "Mapping[str, Any]", "Sequence[bytes]"]
"""The sentence, the details and the pictures."""


def _ask_daemon(command: ManualCommand, session: Session, pid: int) -> _Outcome:
    request = leave_request(session.store, "rig", secrets.token_hex(8), json.dumps(command.body()).encode())
    answered = False
    try:
        answer = ask(session, request, pid, lambda: read_live(session.store).get("rig") == Call.MANUAL)
        answered = answer is not None
    finally:
        if not answered:  # also after Ctrl-C: then the arm must not go on
            _withdraw(request, pid, session)
    if answer is None:
        words = f"has not answered within {PATIENCE:g} s" if running_daemon(session.store) == pid else "ended meanwhile"
        problem = DaemonNotThere(f"the daemon (PID {pid}) {words}; nothing more is asked of the rig")
        problem.hint = "see what it does with timelapsectl status and timelapsectl log"
        raise problem
    if not answer.accepted:
        raise ManualCommandRefused(answer.message)
    try:
        pictures = [collect_picture(request, number) for number, _ in enumerate(answer.details["pictures"])]
    finally:
        clear_pictures(request)
    return answer.message, answer.details, pictures


def _withdraw(request: Path, pid: int, session: Session) -> None:
    """Take a request back, and have the daemon notice."""
    request.unlink(missing_ok=True)
    clear_pictures(request)
    nudge(session.store, pid)


# --- by ourselves ----------------------------------------------------------------------------------------


def _do_it_here(command: ManualCommand, session: Session) -> _Outcome:
    path = session.places.find_config()
    config = read_config(path)
    try:
        driver = load_driver(config.driver, config.driver_options)
    except FaultsFound as faulty:
        raise faulty.named(path or "") from None
    with _rig_locked(session), _interruptible() as monitor:
        try:
            report = perform(driver, config.driver, command, _scan_configuration(command, config, session), monitor)
        except (TimelapsedError, OSError):
            raise
        except Exception as problem:  # the driver may be anybody's
            raise DriverBroken(config.driver, problem) from problem
        finally:
            _let_go(driver, command)
    return report.sentence, report.details, [picture.content for picture in report.pictures]


def _let_go(driver: ScannerDriver, command: ManualCommand) -> None:
    """Leave the rig as the person put it; who only looked wants it as it was."""
    if isinstance(driver, ManualControl) and command.action is not ManualAction.CHECK:
        driver.leave()
        return
    with suppress(DriverError):  # of a part that doesn't answer: that was said
        driver.close()


def _scan_configuration(command: ManualCommand, config: Config, session: Session) -> Mapping[str, Any]:
    """Return how the timelapse has its cameras set; a store that can't be read keeps nobody from a picture."""
    if command.action is ManualAction.SNAPSHOT:
        with suppress(TimelapsedError):
            loaded = load_timelapse(session.store)
            if loaded is not None:
                return scan_configuration_for(loaded.stored, None, config.scan)
    return config.scan


@contextmanager
def _rig_locked(session: Session) -> Iterator[None]:
    """Keep daemons, and others with this command, from the rig meanwhile.

    Raises
    ------
    NotByHand
        One of them has it.

    """
    make_private_directory(session.store.parent)
    lock = InstanceLock(session.store)
    try:
        lock.take(signed=False)  # who isn't a daemon must not be taken for one, and be sent its signals
    except AlreadyRunning:
        problem = ManualCommandRefused(
            "somebody else is at the rig: another timelapsectl rig, or a daemon that is starting"
        )
        problem.hint = "try again in a moment"
        raise problem from None
    try:
        if os.geteuid() == 0:  # the daemon's own user takes it next
            storage = session.store.parent.stat()
            lock.give(storage.st_uid, storage.st_gid)
        yield
    finally:
        lock.release()


@contextmanager
def _interruptible() -> Iterator[EventMonitor]:
    """Give a monitor that Ctrl-C cancels, so that the arm comes to a stand first."""
    monitor = EventMonitor()
    before = signal.signal(signal.SIGINT, lambda *_: monitor.cancel())
    try:
        yield monitor
    finally:
        signal.signal(signal.SIGINT, before)


# --- showing it ------------------------------------------------------------------------------------------


def _show_parts(parts: Sequence[Mapping[str, Any]], session: Session, *, as_json: bool) -> int:
    """Write a line for each part, and return the exit code."""
    screen = session.screen
    if as_json:
        screen.write(json.dumps({"parts": parts}))
    else:
        width = max(len(part["name"]) for part in parts)
        for part in parts:
            word = screen.paint("answers  ", Style.GREEN) if part["answers"] else screen.paint("no answer", Style.RED)
            screen.write(f"{one_line(part['name']).ljust(width)}   {word}   {one_line(part['says'])}")
    return 0 if all(part["answers"] for part in parts) else EXIT_FAILED


def _write_pictures(
    abouts: Sequence[Mapping[str, Any]], pictures: Sequence[bytes], output: Path, session: Session
) -> Iterator[str]:
    """Write each picture where the person wants it, as their own file; yield what is said of it."""
    into_directory = output.is_dir()
    if len(pictures) > 1 and not into_directory:
        problem = ManualCommandRefused(f"{output} is no directory, and there are {len(pictures)} pictures")
        problem.hint = "name a directory that is there, or one --camera"
        raise problem
    stamp = f"{session.clock.now().astimezone():%Y%m%d-%H%M%S}"
    for about, picture in zip(abouts, pictures, strict=True):
        name = f"{about['camera']}-{stamp}.{about['extension']}"
        if not _SAFE.fullmatch(name):
            raise ManualCommandRefused(f"no picture can be called {one_line(name)}")
        path = output / name if into_directory else output
        path.write_bytes(picture)
        yield f"{path}: by {about['camera']}"
