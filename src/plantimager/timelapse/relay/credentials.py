"""The secrets of the sinks: a credential of the unit, or a file that nobody else can read."""

from __future__ import annotations

import re
import stat
from configparser import ConfigParser
from configparser import Error as NoConfiguration
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, quote_plus, unquote

from msgspec import Struct
from msgspec.structs import replace

from plantimager.timelapse.scan.secrets import MIN_SECRET_LENGTH
from plantimager.timelapse.support.durable import read_regular
from plantimager.timelapse.support.errors import FileUnusable

if TYPE_CHECKING:
    from collections.abc import Mapping

CREDENTIALS_VARIABLE: Final = "CREDENTIALS_DIRECTORY"
MAX_SECRET_BYTES: Final = 1 << 20
MIN_PART: Final = 3
"""Characters of a part of a URL that is kept out of what is reported."""
_OPEN_KEYS: Final = frozenset("type vendor provider region env_auth host port user url endpoint remote".split())  # noqa: SIM905 - as one line
"""The keys of a remote whose values are in many messages, and no secrets."""


class Secret(Struct, frozen=True):
    """A password, an address, or rclone's configuration with all that is secret in it."""

    path: Path
    text: str
    what: str = "secret"
    is_private: bool = False
    """Whether nobody else may read the file; the mode of a unit's credential is systemd's."""
    fault: str = ""
    """Why the file can't be used now, so that ``text`` is that of before."""

    def __repr__(self) -> str:
        """Return a text without the secret, which is safe in a log."""
        return f"Secret({self.path})"

    def latest(self) -> Secret:
        """Return the secret that the file has by now; this one, and the `fault`, where it has none that can be used."""
        try:
            return replace(self, text=_read(self.path, self.what, is_private=self.is_private), fault="")
        except FileUnusable as problem:
            return replace(self, fault=str(problem))


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
    is_private = named is not None
    return Secret(path, _read(path, what, is_private=is_private), what, is_private)


def _read(path: Path, what: str, *, is_private: bool) -> str:
    try:
        if is_private and stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise FileUnusable(path, f"others can read this {what}; chmod 600 {path}")
        text = read_regular(path, MAX_SECRET_BYTES).decode("utf-8-sig").strip("\r\n")
    except OSError as problem:
        raise FileUnusable(path, f"the {what} can't be read: {(problem.strerror or str(problem)).lower()}") from problem
    except UnicodeDecodeError:
        raise FileUnusable(path, f"the {what} is not in UTF-8") from None
    if not text:
        raise FileUnusable(path, f"the {what} is empty")
    return text


def rclone_secrets(configuration: str) -> set[str]:
    """Return the values in a configuration of rclone that no message may repeat."""
    parser = ConfigParser(interpolation=None, strict=False)
    try:
        parser.read_string(configuration)
    except NoConfiguration:  # encrypted, or faulty, which rclone says itself
        return {line for line in configuration.splitlines() if len(line) >= MIN_SECRET_LENGTH}
    values = {value for name in parser.sections() for key, value in parser.items(name) if key not in _OPEN_KEYS}
    return {value for value in values - {"true", "false"} if len(value) >= MIN_SECRET_LENGTH}


def redact(text: str, url: str) -> str:
    """Return a text without any part of a URL but its scheme, however a library writes it."""
    rest = url.partition("://")[2]
    # A password may have any character, and what stands where a host does is in small letters.
    password = rest.rpartition("@")[0].partition(":")[2]
    plain = {*map(unquote, [password, *re.split(r"[/?&=:@]+", rest)])}
    parts = {*re.split(r"[^\w.~-]+", rest), *plain, *(quote(part, "") for part in plain), *map(quote_plus, plain)}
    secrets = sorted((part for part in parts if len(part) >= MIN_PART), key=len, reverse=True)
    return re.sub("|".join(map(re.escape, secrets)), "…", text, flags=re.IGNORECASE) if secrets else text
