"""The password of a target: a credential of the unit, or a file that nobody else can read."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import TYPE_CHECKING, Final

from plantimager.timelapse.support.durable import read_regular
from plantimager.timelapse.support.errors import FileUnusable

if TYPE_CHECKING:
    from collections.abc import Mapping

CREDENTIALS_VARIABLE: Final = "CREDENTIALS_DIRECTORY"
MAX_PASSWORD_BYTES: Final = 10_000


def read_password(target: str, named: Path | None, environment: Mapping[str, str]) -> str:
    """Return the password in the file that is ``named``, else in the credential ``deliver-TARGET`` of the unit.

    Raises
    ------
    FileUnusable
        There is none, others can read it, or it is empty.

    """
    directory = environment.get(CREDENTIALS_VARIABLE)
    if named is None and directory is None:
        raise FileUnusable(
            Path(f"deliver-{target}"),
            "there is no such credential; write password_file = or see LoadCredential= of the unit",
        )
    path = named or Path(str(directory), f"deliver-{target}")
    try:
        if named is not None and stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise FileUnusable(path, f"others can read this password; chmod 600 {path}")
        password = read_regular(path, MAX_PASSWORD_BYTES).decode().strip("\r\n")
    except OSError as problem:
        raise FileUnusable(
            path, f"the password can't be read: {(problem.strerror or str(problem)).lower()}"
        ) from problem
    except UnicodeDecodeError:
        raise FileUnusable(path, "the password is not in UTF-8") from None
    if not password:
        raise FileUnusable(path, "the password is empty")
    return password
