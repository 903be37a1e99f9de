"""Finding a program."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

SEARCH_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""Where programs without a directory are searched: the same by hand as under systemd."""


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
        problem = "is not executable" if Path(program).is_file() else "is not there"
        raise ProgramMissing(f"{program} {problem}")
    return path
