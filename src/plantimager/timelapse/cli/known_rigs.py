"""The rigs of this host: those that have a store, a configuration or a unit."""

from __future__ import annotations

import os
import pwd
import re
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from plantimager.timelapse.cli.session import UNIT, Scope, session_places
from plantimager.timelapse.cli.unit_facts import ask
from plantimager.timelapse.settings.config import CONFIG_FILE_NAME, SITE_DIRECTORY
from plantimager.timelapse.settings.places import DEFINITION_FILE_NAME, RIG_NAME
from plantimager.timelapse.store.location import APPLICATION, FILE_NAME_VARIABLE
from plantimager.timelapse.support.errors import EXIT_CONFIG, TimelapsedError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from plantimager.timelapse.cli.session import Session

LINGER: Final = Path("/var/lib/systemd/linger")
"""A file for each user whose services run from boot on."""

DEFAULT: Final = "default"
"""What people read for the rig without a name."""

_STORED: Final = re.compile(rf"timelapse_storage(?:-({RIG_NAME}?))?\.json(?:\.(?:bak|lock|live))?", re.ASCII)
_ARCHIVE: Final = re.compile(rf"history-({RIG_NAME})", re.ASCII)
_UNIT_FILE: Final = re.compile(rf"{UNIT}(?:@({RIG_NAME}))?\.service", re.ASCII)


class RigUnknown(TimelapsedError):
    """A command names a rig that isn't there."""

    exit_code = EXIT_CONFIG


def check_rig_is_known(session: Session) -> None:
    """Refuse a rig's name that nothing on this host has; the hint lists those that there are."""
    with suppress(OSError):
        if session.store.exists():
            return
    names = find_rig_names(session)
    if session.places.rig is not None and session.places.rig not in names:
        known = [f"{DEFAULT} (without --rig)" if name is None else name for name in names]
        hint = (
            f"there are {', '.join(known)}" if known else "there is none at all; timelapsectl demo shows what one does"
        )
        raise RigUnknown(f"there is no rig {session.places.rig}", hint=hint)


def find_rig_names(session: Session) -> list[str | None]:
    """Return the names of the rigs of a session's scope, ``None`` for the one without a name, which is the first."""
    places = session_places(session.scope, _without_file_name(session))
    found = {*_names_of_files(session.store.parent), *_names_of_units(session)}
    for directory in places.config_directories:
        if session.scope is Scope.SYSTEM or directory != SITE_DIRECTORY:  # there are the machine's rigs, not a user's
            found |= {*_names_of_configurations(directory)}
    return sorted(found, key=lambda name: name or "")


def session_of(session: Session, rig: str | None) -> Session:
    """Return the session of another rig of the same scope."""
    places = session_places(session.scope, _without_file_name(session), rig=rig)
    store = session.store.parent / places.store.name
    return replace(session, places=replace(places, store=store))


def sessions_of_users(session: Session) -> Iterator[tuple[str, Session]]:
    """Yield the sessions of other users' own services, by the users' names, as far as this process may look."""
    sudo_user = {session.environment["SUDO_USER"]} if "SUDO_USER" in session.environment else set[str]()
    with suppress(OSError):
        sudo_user |= {path.name for path in LINGER.iterdir()}
    for name in sorted(sudo_user):
        with suppress(KeyError, OSError):
            user = pwd.getpwnam(name)
            storage = Path(user.pw_dir, ".local/share", APPLICATION)
            # A link on the way there leads to nobody else's.
            if user.pw_uid != os.getuid() and storage.stat().st_uid == user.pw_uid:
                environment = {"HOME": user.pw_dir, "PATH": session.environment.get("PATH", os.defpath)}
                places = session_places(Scope.USER, environment)
                places = replace(places, store=storage / places.store.name)
                yield name, replace(session, environment=environment, scope=Scope.USER, places=places)


def _without_file_name(session: Session) -> dict[str, str]:
    """Return the environment without the name of one store: that of another rig has another."""
    return {name: value for name, value in session.environment.items() if name != FILE_NAME_VARIABLE}


def _names_of_files(storage: Path) -> Iterator[str | None]:
    for name in _entries(storage):
        if found := _STORED.fullmatch(name) or _ARCHIVE.fullmatch(name):
            yield found[1]


def _names_of_configurations(directory: Path) -> Iterator[str | None]:
    for name in _entries(directory):
        if name in (CONFIG_FILE_NAME, DEFINITION_FILE_NAME):
            yield None
        elif re.fullmatch(RIG_NAME, name, re.ASCII):
            with suppress(OSError):
                if any((directory / name / file).exists() for file in (CONFIG_FILE_NAME, DEFINITION_FILE_NAME)):
                    yield name


def _names_of_units(session: Session) -> Iterator[str | None]:
    """Yield the rigs whose units systemd has loaded: they run, have failed, or are started at boot."""
    if session.scope is Scope.OWN:
        return
    options = ["--all", "--plain", "--no-legend", "--full", "--type=service"]
    for line in ask(session.environment, ["systemctl", *session.manager, "list-units", *options, f"{UNIT}*"]).split(
        "\n"
    ):
        unit, load, *_ = [*line.split(), "", ""]
        if load != "not-found" and (found := _UNIT_FILE.fullmatch(unit)):
            yield found[1]


def _entries(directory: Path) -> list[str]:
    with suppress(OSError):
        return [path.name for path in directory.iterdir()]
    return []
