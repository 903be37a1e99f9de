"""The secrets of the sinks: a credential of the unit, or a file that nobody else can read."""

from __future__ import annotations

import stat
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from plantimager.timelapse.support.durable import read_regular
from plantimager.timelapse.support.errors import FileUnusable

if TYPE_CHECKING:
    from collections.abc import Mapping

CREDENTIALS_VARIABLE: Final = "CREDENTIALS_DIRECTORY"
MAX_SECRET_BYTES: Final = 1 << 20


class Secret(Struct, frozen=True):
    """A password, an address, or rclone's configuration with all that is secret in it."""

    path: Path
    text: str

    def __repr__(self) -> str:
        """Return a text without the secret, which is safe in a log."""
        return f"Secret({self.path})"

    def latest(self) -> str:
        """Return the text that the file has by now; that of before where it can't be read, or is empty."""
        with suppress(OSError, UnicodeDecodeError):
            return _read(self.path) or self.text
        return self.text


def read_secret(credential: str, named: Path | None, environment: Mapping[str, str], *, key: str, what: str) -> Secret:
    """Return the secret in the file that is ``named``, else in the ``credential`` of the unit.

    ``key`` is the key that names the file, and ``what`` the secret in words.

    Raises
    ------
    FileUnusable
        There is none, others can read it, or it is empty.
    """
    directory = environment.get(CREDENTIALS_VARIABLE)
    if named is None and directory is None:
        raise FileUnusable(
            Path(credential), f"there is no such credential; write {key} = or see LoadCredential= of the unit"
        )
    path = named or Path(str(directory), credential)
    try:
        if named is not None and stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise FileUnusable(path, f"others can read this {what}; chmod 600 {path}")
        secret = _read(path)
    except OSError as problem:
        raise FileUnusable(path, f"the {what} can't be read: {(problem.strerror or str(problem)).lower()}") from problem
    except UnicodeDecodeError:
        raise FileUnusable(path, f"the {what} is not in UTF-8") from None
    if not secret:
        raise FileUnusable(path, f"the {what} is empty")
    return Secret(path, secret)


def _read(path: Path) -> str:
    return read_regular(path, MAX_SECRET_BYTES).decode("utf-8-sig").strip("\r\n")
