"""Reading a TOML file that a person wrote, or saying in one line why it can't be read."""

from __future__ import annotations

import hashlib
import re
import tomllib
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct

from plantimager.timelapse.support.durable import FileTooLarge, read_regular
from plantimager.timelapse.support.errors import FileUnusable
from plantimager.timelapse.support.faults import format_value
from plantimager.timelapse.support.json_text import is_deeper

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MAX_FILE_BYTES: Final = 8 * 1024 * 1024
"""A definition that lists the greatest number of slots one by one has three million."""

MAX_DEPTH: Final = 50
"""Tables within tables: far more than any rig needs, and few enough for all later readers, which are recursive."""

MAX_KEY_PARTS: Final = 16
"""Of ``a.b.c``."""
MAX_ENTRIES: Final = 500_000
"""Brackets, commas, dots and equals signs: a definition with the greatest number of slots has two hundred thousand."""
_SIGNS: Final = frozenset("[]{}.,=\n")

_PART: Final = r"""(?xs)
    \"{3} (?: [^"\\] | \\. | "(?!"") )*+ (?: "{3,5} | \Z )
    | '{3} (?: [^'] | '(?!'') )*+ (?: '{3,5} | \Z )
    | " (?: [^"\\\n] | \\[^\n] )*+ "?
    | ' [^'\n]*+ '?
    | \# [^\n]*+
    | [][{}.,=\n]
    """
"""What `_refuse_bomb` counts, and the texts and comments that it skips; those without an end go as far as they can."""

_INT_64: Final = range(-(2**63), 2**63)

_BOM: Final = b"\xef\xbb\xbf"
_TOMLLIB_ERROR: Final = r"(?s)(?P<what>.*) \(at (?:line (?P<line>\d+), column (?P<column>\d+)|end of document)\)"
_MAYBE_UNQUOTED: Final = ("Invalid value", "Expected newline or end of document after a statement")


class TomlFile(Struct, frozen=True):
    """The content of a file at the time of reading."""

    path: Path
    values: dict[str, Any]
    content: bytes

    @property
    def digest(self) -> str:
        """SHA-256 of the bytes, in hexadecimal digits."""
        return hashlib.sha256(self.content).hexdigest()


def load_toml(path: Path) -> TomlFile:
    """Return the content of a regular file of UTF-8 TOML; never waits, whatever ``path`` names.

    Raises as `parse_toml`, also where it can't be read.
    """
    try:
        content = read_regular(path, MAX_FILE_BYTES)
    except FileTooLarge:
        raise _too_large(path) from None
    except OSError as refusal:
        raise FileUnusable(path, f"can't be read: {_uncapitalised(refusal.strerror or str(refusal))}") from refusal
    return parse_toml(content, path)


def parse_toml(content: bytes, path: Path) -> TomlFile:
    """Return the content of a file that was read, or sent; ``path`` names it in faults.

    Raises `FileUnusable` with the place and the problem: larger than `MAX_FILE_BYTES`, no TOML, or too long to read.
    """
    if len(content) > MAX_FILE_BYTES:
        raise _too_large(path)
    text = _decode(path, content)
    _refuse_bomb(text, path)
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as refusal:
        raise FileUnusable(path, _describe_error(text, str(refusal))) from None
    except RecursionError:
        raise _too_deep(path) from None
    except ValueError:  # of int(); tomllib doesn't give the place
        raise FileUnusable(path, "holds a number of thousands of digits") from None
    if is_deeper(values, MAX_DEPTH):
        raise _too_deep(path)
    key = next(_keys_beyond_64_bits(values), None)
    if key is not None:
        raise FileUnusable(path, f"{format_value(key)} is an integer of more than 64 bits, and TOML has none")
    return TomlFile(path, values, content)


def _refuse_bomb(text: str, path: Path) -> None:
    """Refuse what would take minutes to read, or all memory, in a time that grows with the length alone.

    tomllib's own time grows with the square of the parts of a key, and every value takes a hundred bytes.
    """
    if text.count("[") + text.count("{") <= MAX_DEPTH and text.count(".") < MAX_KEY_PARTS and len(text) <= MAX_ENTRIES:
        return  # as in most files: however many of these are in texts and comments
    depth = parts = entries = 0
    for token in re.finditer(_PART, text):
        sign = token[0]
        if sign not in _SIGNS:  # a text or a comment
            continue
        depth += (sign in "[{") - (sign in "]}")
        parts = parts + 1 if sign == "." else 0
        entries += sign != "\n"
        if parts >= MAX_KEY_PARTS:
            line = text.count("\n", 0, token.start()) + 1
            raise FileUnusable(path, f"line {line}: a key has more than {MAX_KEY_PARTS} parts between dots")
        if depth > MAX_DEPTH:
            raise _too_deep(path)
        if entries > MAX_ENTRIES:
            raise FileUnusable(path, f"has more than {MAX_ENTRIES} brackets, commas, dots and equals signs")


def _decode(path: Path, content: bytes) -> str:
    if content.startswith(_BOM):
        raise FileUnusable(path, "begins with a byte order mark; save it as UTF-8 without BOM")
    try:
        return content.decode()
    except UnicodeDecodeError as refusal:
        line = content.count(b"\n", 0, refusal.start) + 1
        byte = content[refusal.start]
        raise FileUnusable(path, f"line {line}: byte 0x{byte:02x} is not UTF-8; save the file as UTF-8") from None


def _describe_error(text: str, refusal: str) -> str:
    """Return what tomllib reports: the place, the problem, and the line itself."""
    match = re.fullmatch(_TOMLLIB_ERROR, refusal)
    if match is None:
        return f"not TOML: {refusal}"
    lines = text.rstrip().split("\n")
    line = int(match["line"] or len(lines))
    column = int(match["column"] or len(lines[-1]) + 1)
    what = match["what"]
    advice = "; texts stand in quotes" if what in _MAYBE_UNQUOTED else ""
    return f"line {line}, column {column}: {_uncapitalised(what)}{advice}: {format_value(lines[line - 1].strip())}"


def _uncapitalised(sentence: str) -> str:
    return sentence[:1].lower() + sentence[1:]


def _keys_beyond_64_bits(value: Any, key: str = "") -> Iterator[str]:
    """Yield the keys of integers of more than 64 bits, which tomllib reads although TOML excludes them."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield from _keys_beyond_64_bits(item, f"{key}.{name}" if key else name)
    elif isinstance(value, list):
        for item in value:
            yield from _keys_beyond_64_bits(item, key)
    elif isinstance(value, int) and value not in _INT_64:
        yield key


def _too_large(path: Path) -> FileUnusable:
    return FileUnusable(path, f"larger than {MAX_FILE_BYTES // 1024**2} MB, which no file of this kind is")


def _too_deep(path: Path) -> FileUnusable:
    return FileUnusable(path, f"tables or lists are nested deeper than {MAX_DEPTH} levels")
