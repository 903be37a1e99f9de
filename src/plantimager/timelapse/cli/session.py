"""The session of one command: whose timelapse it is about, one rig's places on this host, clock and screen."""

from __future__ import annotations

import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Final

from msgspec import Struct
from msgspec.structs import replace

from plantimager.timelapse.channel.lock import lock_path
from plantimager.timelapse.cli.terminal import Screen, detect_screen
from plantimager.timelapse.settings.config import SITE_DIRECTORY
from plantimager.timelapse.settings.places import Places, find_places
from plantimager.timelapse.store.location import APPLICATION, get_storage_dir
from plantimager.timelapse.support.clock import Clock, SystemClock

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Mapping, Sequence

SYSTEM_STORAGE: Final = Path("/var/lib") / APPLICATION
"""The storage directory of the system service."""

OF_NO_SERVICE: Final = ("rigs", "demo")
"""The commands that are about no one service; all others ask one, or show what it does."""

UNIT: Final = "plant-imager-timelapsed"


class Scope(StrEnum):
    """The owner of the timelapse that a command is about."""

    SYSTEM = "system"
    """The system service's."""
    USER = "user"
    """That of a user's own service."""
    OWN = "own"
    """That of a directory in ``XDG_DATA_HOME``: its daemon was started from a shell."""


class Session(Struct, frozen=True, kw_only=True):
    """Everything that a command takes from its surroundings."""

    environment: Mapping[str, str]
    scope: Scope
    places: Places
    clock: Clock
    screen: Screen
    silent: Path | None = None
    """The storage directory where it doesn't answer: nothing in it is looked at then. Only ``status`` asks."""

    @property
    def store(self) -> Path:
        """The rig's store."""
        return self.places.store

    @property
    def unit(self) -> str:
        """The name of the rig's unit in systemd."""
        return UNIT if self.places.rig is None else f"{UNIT}@{self.places.rig}"

    @property
    def start_hint(self) -> str:
        """The command that starts the daemon."""
        return self.hint_for("timelapsed", UNIT)

    def hint_for(self, program: str, unit: str) -> str:
        """Return the command that starts a service of the rig, or its program where it is none."""
        rig = self.places.rig
        if self.scope is Scope.OWN:
            return f"XDG_DATA_HOME={self.store.parent.parent} {program}{f' --rig {rig}' if rig is not None else ''}"
        return f"{self.systemctl} start {unit}{f'@{rig}' if rig is not None else ''}"

    @property
    def manager(self) -> Sequence[str]:
        """The option of systemd's programs for the manager of the service."""
        return ("--user",) if self.scope is Scope.USER else ()

    @property
    def systemctl(self) -> str:
        """The command that asks that manager."""
        return " ".join(("systemctl", *self.manager))


def open_session(options: argparse.Namespace) -> Session:
    """Return the session of a command; raise as `session_places`. Environment, terminal and clock are read here."""
    environment = dict(os.environ)
    requested = Scope(options.scope) if options.scope else None
    scope = choose_scope(environment, requested, os.getuid())
    silent = _find_silent_storage(scope, requested) if options.command == "status" else None
    if silent is not None:
        scope = Scope.SYSTEM if silent == SYSTEM_STORAGE else scope
        places = find_places(environment, rig=options.rig, config_file=options.config, storage=silent)
    else:
        places = session_places(scope, environment, rig=options.rig, config_file=options.config)
        is_open = requested is None and options.command not in OF_NO_SERVICE
        if is_open and is_for_the_machine(scope, places, SYSTEM_STORAGE):
            scope = Scope.SYSTEM
            places = session_places(scope, environment, rig=options.rig, config_file=options.config)
    return Session(
        environment=environment,
        scope=scope,
        places=places,
        clock=SystemClock(),
        screen=detect_screen(sys.stdout, environment),
        silent=silent,
    )


def _find_silent_storage(scope: Scope, requested: Scope | None) -> Path | None:
    """Return the storage directory that doesn't answer, of those by which the session is chosen."""
    from plantimager.timelapse.cli.child_look import find_silent  # noqa: PLC0415 - others don't need it

    own = [] if scope is Scope.SYSTEM else [get_storage_dir()]
    machines = [SYSTEM_STORAGE] if scope is Scope.SYSTEM or (scope is Scope.USER and requested is None) else []
    return find_silent([*own, *machines])


def choose_scope(environment: Mapping[str, str], requested: Scope | None, uid: int) -> Scope:
    """Return whose timelapse is meant: as ``requested``, else by ``XDG_DATA_HOME``, else by the user."""
    if requested is not None:
        return requested
    data_home = Path(environment.get("XDG_DATA_HOME", ""))
    if data_home.is_absolute():  # the XDG rules ignore a relative one
        return Scope.SYSTEM if data_home / APPLICATION == SYSTEM_STORAGE else Scope.OWN
    return Scope.SYSTEM if uid == 0 else Scope.USER


def is_for_the_machine(scope: Scope, places: Places, system_storage: Path) -> bool:
    """Whether a user who has nothing of their own for a rig means the machine's, which the group may ask without sudo.

    The storage directory alone says nothing: the community's controller has it, too.
    """
    if scope is not Scope.USER or not os.path.lexists(system_storage):
        return False
    return not any(os.path.lexists(path) for path in (places.store, lock_path(places.store), *_own_units(places)))


def _own_units(places: Places) -> Iterator[Path]:
    """Yield where a user's own unit would be, or the link that has it started."""
    name = f"{UNIT}.service" if places.rig is None else f"{UNIT}@{places.rig}.service"
    for directory in (places.store.parent, *places.config_directories[:1]):
        units = directory.parent / "systemd/user"
        yield units / name
        yield units / "default.target.wants" / name


def session_places(
    scope: Scope, environment: Mapping[str, str], *, rig: str | None = None, config_file: Path | None = None
) -> Places:
    """Return the places of a rig, those of the system service where the scope says so; raise as `find_places`."""
    storage = SYSTEM_STORAGE if scope is Scope.SYSTEM else None
    places = find_places(environment, rig=rig, config_file=config_file, storage=storage)
    if scope is not Scope.SYSTEM:
        return places
    # The service's own user has no configuration of its own, and root's isn't the service's.
    return replace(places, config_directories=(SITE_DIRECTORY / rig if rig is not None else SITE_DIRECTORY,))
