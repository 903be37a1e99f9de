"""Where an operator's program is found, and what it sees: the same by hand as under systemd."""

from __future__ import annotations

import os
import pwd
import shutil
from typing import Final

SEARCH_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""Where programs without a directory are searched."""


class ProgramMissing(Exception):
    """The program does not exist now, or isn't executable."""


def find_program(program: str) -> str:
    """Return the path of a program.

    Raises
    ------
    ProgramMissing
        It does not exist, or isn't executable.
    """
    path = shutil.which(program, path=SEARCH_PATH)
    if path is None:
        is_there = os.path.isfile(program)  # noqa: PTH113 - a Path raises where the directory is closed to us
        problem = "is not executable" if is_there else "is not there"
        raise ProgramMissing(f"{program} {problem}")
    return path


def basic_environment() -> dict[str, str]:
    """Return the variables that every program is given, whichever part of a rig it is."""
    environment = {"PATH": SEARCH_PATH, "LANG": "C.UTF-8"}
    try:
        user = pwd.getpwuid(os.getuid())
    except KeyError:  # a user without an entry, as in some containers
        return {**environment, "HOME": "/"}
    return {**environment, "HOME": user.pw_dir, "USER": user.pw_name, "LOGNAME": user.pw_name}
