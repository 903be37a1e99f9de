"""Where a user's files are: the directories by the XDG rules, and the store's name, as the environment says now."""

from __future__ import annotations

import os
import pwd
from pathlib import Path
from typing import TYPE_CHECKING, Final

from plantimager.timelapse.support.errors import FaultsFound
from plantimager.timelapse.support.faults import MISSING, Fault

if TYPE_CHECKING:
    from collections.abc import Mapping

APPLICATION: Final = "plant-imager3-app"
TIMELAPSE_STORAGE_JSON: Final = "timelapse_storage.json"
FILE_NAME_VARIABLE: Final = "PI3_TIMELAPSE_FILE_NAME"

BARE_FILE_NAME: Final = "write a bare file name, without a path separator"


def user_directory(environment: Mapping[str, str], variable: str, below_home: str) -> Path | None:
    """Return our directory in the one that a variable names, by default ``below_home``; None for a user without one.

    What is relative is ignored, as the XDG rules ask: a directory never depends on where a program was started.
    """
    named = Path(environment.get(variable, ""))
    if not named.is_absolute():
        home = Path(environment.get("HOME", ""))
        named = (home if home.is_absolute() else Path(_home_of_the_user())) / below_home
    return named / APPLICATION if named.is_absolute() else None


def _home_of_the_user() -> str:
    """Return the home directory that the user database names; systemd sets HOME, a bare ``env -i`` doesn't."""
    try:
        return pwd.getpwuid(os.getuid()).pw_dir
    except KeyError:
        return ""


def get_storage_dir() -> Path:
    """Return the directory of the store: ``$XDG_DATA_HOME/plant-imager3-app``, by default in ``~/.local/share``.

    A relative ``XDG_DATA_HOME`` is ignored, as the XDG rules ask. Raises `FaultsFound` where the user has no home.
    """
    directory = user_directory(os.environ, "XDG_DATA_HOME", ".local/share")
    if directory is None:
        problem = "missing, and this user has no home directory; write an absolute path"
        raise FaultsFound([Fault("", "XDG_DATA_HOME", MISSING, problem)], "environment")
    return directory


def get_file_name(environment: Mapping[str, str] = os.environ, default: str = TIMELAPSE_STORAGE_JSON) -> str:
    """Return the store's file name: ``$PI3_TIMELAPSE_FILE_NAME``, or else the default one.

    Raises `FaultsFound` where the variable holds a path.
    """
    name = environment.get(FILE_NAME_VARIABLE) or default
    if not is_bare_file_name(name):
        raise FaultsFound([Fault("", FILE_NAME_VARIABLE, name, BARE_FILE_NAME)], "environment")
    return name


def is_bare_file_name(name: str) -> bool:
    """Whether a name stays in its directory."""
    return "/" not in name and "\0" not in name and name not in ("", ".", "..")


def backup_path(path: Path) -> Path:
    """Return the path of the generation before ``path``."""
    return path.with_name(f"{path.name}.bak")


def follow_link(path: Path) -> Path:
    """Return the file that a symbolic link leads to, which a save replaces, with its ``.bak`` beside it."""
    return Path(os.path.realpath(path)) if path.is_symlink() else path
