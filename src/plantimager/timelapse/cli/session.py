"""Whom a command is about: one rig's places on this host, and the service that looks after them."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from plantimager.timelapse.cli.terminal import Screen, screen_of
from plantimager.timelapse.settings.config import APPLICATION, SITE_DIRECTORY
from plantimager.timelapse.settings.places import Places, find_places
from plantimager.timelapse.support.clock import Clock, SystemClock
from plantimager.timelapse.support.errors import TimelapsedError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

SYSTEM_STORAGE: Final = Path("/var/lib") / APPLICATION
"""Where the system service keeps its store."""

ABOUT_A_SERVICE: Final = ("start", "cancel", "status", "log", "timeline", "rig")
"""The commands that ask or show what a service does."""

UNIT: Final = "plant-imager-timelapsed"


class Scope(StrEnum):
    """Whose timelapse it is."""

    SYSTEM = "system"
    """The system service's."""
    USER = "user"
    """That of a user's own service."""
    OWN = "own"
    """One in a directory that ``XDG_DATA_HOME`` names: of a daemon that somebody started by hand."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """Everything that a command is given by the world around it."""

    environment: Mapping[str, str]
    scope: Scope
    places: Places
    clock: Clock
    screen: Screen

    @property
    def store(self) -> Path:
        """The rig's store."""
        return self.places.store

    @property
    def unit(self) -> str:
        """The rig's unit, as systemd calls it."""
        return UNIT if self.places.rig is None else f"{UNIT}@{self.places.rig}"

    @property
    def start_hint(self) -> str:
        """How to have the daemon run."""
        match self.scope:
            case Scope.SYSTEM:
                return f"systemctl start {self.unit}"
            case Scope.USER:
                return f"systemctl --user start {self.unit}"
            case Scope.OWN:
                rig = f" --rig {self.places.rig}" if self.places.rig is not None else ""
                return f"XDG_DATA_HOME={self.store.parent.parent} timelapsed{rig}"


def open_session(options: argparse.Namespace) -> Session:
    """Look at the world: environment, terminal, clock. Nothing below asks for them again.

    Raises
    ------
    FaultsFound
        As `places_of`.
    TimelapsedError
        As `refuse_what_is_the_machines`.

    """
    environment = dict(os.environ)
    asked = Scope(options.scope) if options.scope else None
    scope = choose_scope(environment, asked, os.getuid())
    places = places_of(scope, environment, rig=options.rig, config_file=options.config)
    if asked is None and options.command in ABOUT_A_SERVICE:
        refuse_what_is_the_machines(scope, places, SYSTEM_STORAGE)
    return Session(
        environment=environment,
        scope=scope,
        places=places,
        clock=SystemClock(),
        screen=screen_of(sys.stdout, environment),
    )


def choose_scope(environment: Mapping[str, str], asked: Scope | None, uid: int) -> Scope:
    """Return whose timelapse is meant: as ``asked``, else as ``XDG_DATA_HOME`` says, else by who runs this."""
    if asked is not None:
        return asked
    data_home = Path(environment.get("XDG_DATA_HOME", ""))
    if data_home.is_absolute():  # a relative one is ignored, as the XDG rules have it
        return Scope.SYSTEM if data_home / APPLICATION == SYSTEM_STORAGE else Scope.OWN
    return Scope.SYSTEM if uid == 0 else Scope.USER


def refuse_what_is_the_machines(scope: Scope, places: Places, system_storage: Path) -> None:
    """Refuse to look for a user's own service where there is none, but one of the machine: sudo was forgotten.

    Raises
    ------
    TimelapsedError
        So it is; the hint says what to do for either.

    """
    if scope is not Scope.USER or places.store.parent.exists() or not os.path.lexists(system_storage):
        return
    raise TimelapsedError(
        f"you have no service of your own ({places.store.parent}), but the machine has one",
        hint="put sudo before it, or --user behind timelapsectl for your own",
    )


def places_of(
    scope: Scope, environment: Mapping[str, str], *, rig: str | None = None, config_file: Path | None = None
) -> Places:
    """Return where the files of a rig are.

    Raises
    ------
    FaultsFound
        The rig's name, or a file name in the environment, can't be one.

    """
    storage = SYSTEM_STORAGE if scope is Scope.SYSTEM else None
    places = find_places(environment, rig=rig, config_file=config_file, storage=storage)
    if scope is not Scope.SYSTEM:
        return places
    # The service's own user has no configuration of its own, and root's isn't the service's.
    return replace(places, config_directories=(SITE_DIRECTORY / rig if rig is not None else SITE_DIRECTORY,))
