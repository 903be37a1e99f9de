"""``timelapsectl rig``: manual commands, which the daemon carries out."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

from plantimager.timelapse.channel.live import live_status_of
from plantimager.timelapse.cli.daemon_request import ask_daemon
from plantimager.timelapse.cli.own_file import write_own_file
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

_SAFE_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*", re.ASCII)
"""Names that a picture may have. The daemon chooses the name: it must not lead to another directory."""


def run_rig(options: argparse.Namespace, session: Session) -> int:
    """Carry a manual command out and show its outcome; return 1 if a part doesn't answer."""
    command = _read_command(options)
    answer = ask_daemon(session, "rig", command.body(), is_in_progress=lambda: _is_in_progress(session))
    if not answer.accepted:
        raise ManualCommandRefused(answer.message)
    if command.action is ManualAction.CHECK:
        return _show_parts(answer.details["parts"], session, as_json=options.json)
    if command.action is ManualAction.SNAPSHOT:
        for line in _write_pictures(answer.details["pictures"], answer.files, options.output, session):
            session.screen.write(line)
    else:
        session.screen.show(one_line(answer.message))
    return 0


def _is_in_progress(session: Session) -> bool:
    """Whether the daemon still carries a manual command out."""
    return live_status_of(ask_daemon(session, "status", {}).details).rig == Call.MANUAL


def _read_command(options: argparse.Namespace) -> ManualCommand:
    action = ManualAction(options.action)
    match action:
        case ManualAction.GOTO:
            return ManualCommand(action=action, pose=Pose(x=options.x, y=options.y, pan=options.pan))
        case ManualAction.SNAPSHOT:
            return ManualCommand(action=action, camera=options.camera or "")
        case ManualAction.LIGHTS:
            return ManualCommand(action=action, on=options.state == "on")
        case ManualAction.TRY:
            return ManualCommand(action=action, position=options.position)
    return ManualCommand(action=action)


def _show_parts(parts: Sequence[Mapping[str, Any]], session: Session, *, as_json: bool) -> int:
    screen = session.screen
    if as_json:
        screen.write(json.dumps({"parts": parts}))
    else:
        width = max(len(part["name"]) for part in parts)
        for part in parts:
            state = screen.paint("answers  ", Style.GREEN) if part["answers"] else screen.paint("no answer", Style.RED)
            screen.show(f"{one_line(part['name']).ljust(width)}   {state}   {one_line(part['says'])}")
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
        write_own_file(path, picture, is_new=into_directory)
        yield f"{path}: by {description['camera']}"
