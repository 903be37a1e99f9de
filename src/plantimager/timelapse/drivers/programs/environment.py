"""Where an operator's program is found, and what it sees: the same by hand as under systemd."""

from __future__ import annotations

import os
import pwd
import re
import shutil
from typing import Final

SEARCH_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""Where programs without a directory are searched."""

MAX_FIRST_LINE: Final = 256
"""Bytes that the kernel reads of a script to find its interpreter."""


class ProgramFault(Exception):
    """The program can't be started, or can't be ended; worded for people, with its name."""


class ProgramMissing(ProgramFault):
    """The program does not exist now, or isn't executable."""


def find_program(program: str) -> str:
    """Return the path of a program.

    Raises
    ------
    ProgramMissing
        It does not exist, or isn't executable, or the interpreter is not there that its first line names.
    """
    path = shutil.which(program, path=SEARCH_PATH)
    if path is None:
        is_there = os.path.isfile(program)  # noqa: PTH113 - a Path raises where the directory is closed to us
        problem = "is not executable" if is_there else "is not there"
        raise ProgramMissing(f"{program} {problem}")
    interpreter = _find_absent_interpreter(path)
    if interpreter is not None:
        raise ProgramMissing(f"{program} can't be run: {interpreter}, which its first line names, is not there")
    return path


def _find_absent_interpreter(path: str) -> str | None:
    """Return what a script is to be run by, directly or through env(1), where that is not there."""
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - a Path costs more, and this is asked before each program
            first = file.readline(MAX_FIRST_LINE)
    except OSError:  # a program that may be run and not read
        return None
    if not first.startswith(b"#!"):
        return None
    words = [word for word in re.split("[ \t\n]", os.fsdecode(first[2:])) if word]
    needed = words[:1]
    if needed and needed[0].rpartition("/")[2] == "env":
        needed += [word for word in words[1:] if not word.startswith("-") and "=" not in word][:1]
    absent = next((word for word in needed if shutil.which(word, path=SEARCH_PATH) is None), None)
    return absent and (f"{absent[:-1]} with a line end of Windows" if absent.endswith("\r") else absent)


def basic_environment() -> dict[str, str]:
    """Return the variables that every program is given, whichever part of a rig it is."""
    environment = {"PATH": SEARCH_PATH, "LANG": "C.UTF-8"}
    try:
        user = pwd.getpwuid(os.getuid())
    except KeyError:  # a user without an entry, as in some containers
        return {**environment, "HOME": "/"}
    return {**environment, "HOME": user.pw_dir, "USER": user.pw_name, "LOGNAME": user.pw_name}
