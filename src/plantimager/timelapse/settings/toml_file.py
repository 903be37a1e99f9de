"""Reading a TOML file that a person wrote, or saying in one line why that can't be done."""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct

from plantimager.timelapse.support.durable import FileTooLarge, read_regular
from plantimager.timelapse.support.errors import FileUnusable
from plantimager.timelapse.support.faults import format_value

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LARGEST: Final = 8 * 1024 * 1024
"""Bytes; a definition that lists the greatest number of slots one by one has three million."""

DEEPEST: Final = 50
"""Tables within tables; far more than any rig needs, and few enough for every reader after this one."""

_INT_64: Final = range(-(2**63), 2**63)

_BOM: Final = b"\xef\xbb\xbf"
_WHERE: Final = r"(?s)(?P<what>.*) \(at (?:line (?P<line>\d+), column (?P<column>\d+)|end of document)\)"
_PERHAPS_UNQUOTED: Final = ("Invalid value", "Expected newline or end of document after a statement")


class TomlFile(Struct, frozen=True):
    """What stood in a file when it was read."""

    path: Path
    values: dict[str, Any]
    content: bytes

    @property
    def digest(self) -> str:
        """SHA-256 of the bytes, in hexadecimal digits: whether a file is still the one that was read."""
        from hashlib import sha256  # noqa: PLC0415 - because it loads OpenSSL, and most files are read without it

        return sha256(self.content).hexdigest()


def load_toml(path: Path) -> TomlFile:
    """Read a regular file of UTF-8 TOML; never waits, whatever ``path`` names.

    Raises
    ------
    FileUnusable
        It can't be read, is larger than `LARGEST`, or isn't TOML; says where and what.

    """
    content = _read(path)
    text = _decode(path, content)
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as refusal:
        raise FileUnusable(path, _where_and_what(text, str(refusal))) from None
    except RecursionError:
        raise _too_deep(path) from None
    except ValueError:  # int() refuses it, tomllib doesn't say where
        raise FileUnusable(path, "holds a number of thousands of digits") from None
    if _is_deeper(values, DEEPEST):
        raise _too_deep(path)
    beyond = next(_beyond_64_bits(values), None)
    if beyond is not None:
        raise FileUnusable(path, f"{format_value(beyond)} is an integer of more than 64 bits, and TOML has none")
    return TomlFile(path, values, content)


def _read(path: Path) -> bytes:
    try:
        content = read_regular(path, LARGEST)
    except FileTooLarge:
        raise _too_large(path) from None
    except OSError as refusal:
        raise FileUnusable(path, f"can't be read: {_uncapitalised(refusal.strerror or str(refusal))}") from refusal
    if len(content) > LARGEST:
        raise _too_large(path)
    return content


def _decode(path: Path, content: bytes) -> str:
    if content.startswith(_BOM):
        raise FileUnusable(path, "begins with a byte order mark; save it as UTF-8 without BOM")
    try:
        return content.decode()
    except UnicodeDecodeError as refusal:
        line = content.count(b"\n", 0, refusal.start) + 1
        byte = content[refusal.start]
        raise FileUnusable(path, f"line {line}: byte 0x{byte:02x} is not UTF-8; save the file as UTF-8") from None


def _where_and_what(text: str, refusal: str) -> str:
    """Say what tomllib says, the place first and the line itself after it."""
    match = re.fullmatch(_WHERE, refusal)
    if match is None:
        return f"not TOML: {refusal}"
    lines = text.rstrip().split("\n")
    line = int(match["line"] or len(lines))
    column = int(match["column"] or len(lines[-1]) + 1)
    what = match["what"]
    advice = "; texts stand in quotes" if what in _PERHAPS_UNQUOTED else ""
    return f"line {line}, column {column}: {_uncapitalised(what)}{advice}: {format_value(lines[line - 1].strip())}"


def _uncapitalised(sentence: str) -> str:
    return sentence[:1].lower() + sentence[1:]


def _is_deeper(values: dict[str, Any], deepest: int) -> bool:
    """Whether tables and lists are nested deeper than that; without recursion, since dotted keys nest without end."""
    level: list[Any] = [values]
    for _ in range(deepest):
        level = [inner for outer in level for inner in _members(outer)]
        if not level:
            return False
    return True


def _members(value: Any) -> list[Any]:
    inner = value.values() if isinstance(value, dict) else value
    return [item for item in inner if isinstance(item, dict | list)]


def _beyond_64_bits(value: Any, key: str = "") -> Iterator[str]:
    """Find integers that TOML doesn't have, though tomllib reads them, and give the keys that they stand under."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield from _beyond_64_bits(item, f"{key}.{name}" if key else name)
    elif isinstance(value, list):
        for item in value:
            yield from _beyond_64_bits(item, key)
    elif isinstance(value, int) and value not in _INT_64:
        yield key


def _too_large(path: Path) -> FileUnusable:
    return FileUnusable(path, f"larger than {LARGEST // 1024**2} MB, which no file of this kind is")


def _too_deep(path: Path) -> FileUnusable:
    return FileUnusable(path, f"tables or lists are nested deeper than {DEEPEST} levels")
