"""The place of the store: the directory and the file name, as the environment says at the time of the call."""

from __future__ import annotations

import os
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


def get_storage_dir() -> Path:
    """Return the directory of the store: ``$XDG_DATA_HOME/plant-imager3-app``, by default in ``~/.local/share``.

    A relative ``XDG_DATA_HOME`` is ignored, as the XDG rules ask. Raises `FaultsFound` where the user has no home.
    """
    named = Path(os.environ.get("XDG_DATA_HOME", ""))
    if named.is_absolute():  # as in each unit; a start of the service saves the time of loading platformdirs
        return named / APPLICATION
    from platformdirs import user_data_path  # noqa: PLC0415 - see above

    try:
        return user_data_path(APPLICATION)
    except RuntimeError:
        problem = "missing, and this user has no home directory; write an absolute path"
        raise FaultsFound([Fault("", "XDG_DATA_HOME", MISSING, problem)], "environment") from None


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
