"""Text of unknown origin, made safe for a terminal, a journal line and systemd; and numbers of things."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_UNDECODABLE: Final = 0xDC00
"""What Python adds to a byte of a file name that it can't decode (PEP 383)."""
_HIGH_BYTES: Final = range(0x80, 0x100)


def one_line(text: str) -> str:
    """Return ``text`` on one line, with a space for each run of characters that a terminal or systemd would obey."""
    return " ".join(printable(text).split())


def printable(text: str) -> str:
    r"""Return ``text`` with a space for each character that a terminal would obey, except line breaks.

    A byte of a file name that isn't UTF-8 becomes ``\xff``: no journal, terminal or file takes it as it is.
    """
    return text if text.isascii() and text.isprintable() else "".join(map(_printable_character, text))


def _printable_character(char: str) -> str:
    if char.isprintable() or char == "\n":
        return char
    code = ord(char) - _UNDECODABLE
    return f"\\x{code:02x}" if code in _HIGH_BYTES else " "


def format_count(number: int, noun: str, nouns: str | None = None) -> str:
    """Return ``1 slot``, ``2 slots``."""
    return f"{number} {noun if number == 1 else nouns or f'{noun}s'}"


def texts_in(value: object) -> Iterator[str]:
    """Yield all texts in a value of TOML."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list | tuple):
        for item in value.values() if isinstance(value, dict) else value:
            yield from texts_in(item)
