"""``timelapsectl rig``: manual commands. The daemon carries them out where one runs, else this process does."""

from __future__ import annotations

import json
import re
import secrets
from typing import TYPE_CHECKING, Any, Final

from plantimager.timelapse.channel.inbox import clear_pictures, collect_picture, leave_request
from plantimager.timelapse.channel.live import read_live
from plantimager.timelapse.channel.lock import running_daemon
from plantimager.timelapse.cli.daemon_request import (
    ANSWER_SECONDS,
    DaemonNotThere,
    find_daemon,
    requester_name,
    signal_daemon,
    wait_for_answer,
)
from plantimager.timelapse.cli.terminal import Style
from plantimager.timelapse.drivers.base import Call
from plantimager.timelapse.drivers.manual_command import ManualAction, ManualCommand
from plantimager.timelapse.scan.pose import Pose
from plantimager.timelapse.support.errors import EXIT_FAILED, ManualCommandRefused
from plantimager.timelapse.support.text import one_line

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from plantimager.timelapse.cli.session import Session

RIG_STAYS_NOTE: Final = "no daemon runs, so the rig stays like this until one starts"

_SAFE_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*", re.ASCII)
"""Names that a picture may have. The daemon chooses the name: it must not lead to another directory."""

_Outcome = tuple[str, "Mapping[str, Any]", "Sequence[bytes]"]
"""The sentence, the details and the pictures."""


def run_rig(options: argparse.Namespace, session: Session) -> int:
    """Carry a manual command out and show its outcome; return 1 if a part doesn't answer.

    Raises
    ------
    ManualCommandRefused, DriverError, DriverBroken
        A scan comes first, the rig can't do it, or the driver doesn't offer it or fails.
    DaemonNotThere
        The daemon doesn't answer.
    OSError
        The request can't be left, or a picture can't be written.
    """
    command = _read_command(options, session)
    pid = find_daemon(session.store)
    sentence, details, pictures = _ask_daemon(command, session, pid) if pid is not None else _do_here(command, session)
    if command.action is ManualAction.CHECK:
        return _show_parts(details["parts"], session, as_json=options.json)
    if command.action is ManualAction.SNAPSHOT:
        for line in _write_pictures(details["pictures"], pictures, options.output, session):
            session.screen.write(line)
    else:
        session.screen.write(one_line(sentence))
    if pid is None and command.action is not ManualAction.TRY:
        session.screen.write(session.screen.paint(f"note: {RIG_STAYS_NOTE}", Style.DIM))
    return 0


def _read_command(options: argparse.Namespace, session: Session) -> ManualCommand:
    action, who = ManualAction(options.action), requester_name(session.environment)
    match action:
        case ManualAction.GOTO:
            return ManualCommand(action=action, pose=Pose(x=options.x, y=options.y, pan=options.pan), who=who)
        case ManualAction.SNAPSHOT:
            return ManualCommand(action=action, camera=options.camera, who=who)
        case ManualAction.LIGHTS:
            return ManualCommand(action=action, on=options.state == "on", who=who)
        case ManualAction.TRY:
            return ManualCommand(action=action, position=options.position, who=who)
    return ManualCommand(action=action, who=who)


def _do_here(command: ManualCommand, session: Session) -> _Outcome:
    from plantimager.timelapse.cli.rig_local import perform_locally  # noqa: PLC0415 - drivers and store, for this alone

    report = perform_locally(command, session)
    return report.sentence, report.details, [picture.content for picture in report.pictures]


def _ask_daemon(command: ManualCommand, session: Session, pid: int) -> _Outcome:
    request = leave_request(session.store, "rig", secrets.token_hex(8), json.dumps(command.body()).encode())
    answer = None
    try:
        answer = wait_for_answer(session, request, pid, lambda: read_live(session.store).get("rig") == Call.MANUAL)
    finally:
        if answer is None:  # also after Ctrl-C: the arm must stop then
            _withdraw(request, pid, session)
    if answer is None:
        is_running = running_daemon(session.store) == pid
        outcome = f"has not answered within {ANSWER_SECONDS:g} s" if is_running else "ended meanwhile"
        raise DaemonNotThere(
            f"the daemon (PID {pid}) {outcome}; nothing more is asked of the rig",
            hint="see what it does with timelapsectl status and timelapsectl log",
        )
    if not answer.accepted:
        raise ManualCommandRefused(answer.message)
    try:
        pictures = [collect_picture(request, number) for number, _ in enumerate(answer.details["pictures"])]
    finally:
        clear_pictures(request)
    return answer.message, answer.details, pictures


def _withdraw(request: Path, pid: int, session: Session) -> None:
    """Remove a request, and make the daemon notice that."""
    request.unlink(missing_ok=True)
    clear_pictures(request)
    signal_daemon(session.store, pid)


def _show_parts(parts: Sequence[Mapping[str, Any]], session: Session, *, as_json: bool) -> int:
    """Write a line for each part, and return the exit code."""
    screen = session.screen
    if as_json:
        screen.write(json.dumps({"parts": parts}))
    else:
        width = max(len(part["name"]) for part in parts)
        for part in parts:
            state = screen.paint("answers  ", Style.GREEN) if part["answers"] else screen.paint("no answer", Style.RED)
            screen.write(f"{one_line(part['name']).ljust(width)}   {state}   {one_line(part['says'])}")
    return 0 if all(part["answers"] for part in parts) else EXIT_FAILED


def _write_pictures(
    descriptions: Sequence[Mapping[str, Any]], pictures: Sequence[bytes], output: Path, session: Session
) -> Iterator[str]:
    """Write each picture to ``output`` (a directory for several) as the person's own file; yield a line for each."""
    into_directory = output.is_dir()
    if len(pictures) > 1 and not into_directory:
        raise ManualCommandRefused(
            f"{output} is no directory, and there are {len(pictures)} pictures",
            hint="name a directory that is there, or one --camera",
        )
    stamp = f"{session.clock.now().astimezone():%Y%m%d-%H%M%S}"
    for description, picture in zip(descriptions, pictures, strict=True):
        name = f"{description['camera']}-{stamp}.{description['extension']}"
        if not _SAFE_NAME.fullmatch(name):
            raise ManualCommandRefused(f"no picture can be called {one_line(name)}")
        path = output / name if into_directory else output
        path.write_bytes(picture)
        yield f"{path}: by {description['camera']}"
