"""JSON text in pieces: a value that is text already is copied, not encoded again.

Joined, the pieces are byte for byte the text of one plain dump.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import orjson

from plantimager.timelapse.support.json_text import OPTIONS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_INDENT: Final = b"  "

_HOLE: Final = b"\0"
"""Stands for a text that is there already; no JSON holds such a byte otherwise."""


class Text:
    """A value that is text already, indented for its place; its pieces are joined only once, by the system call."""

    __slots__ = ("pieces",)

    def __init__(self, pieces: Sequence[bytes]) -> None:
        self.pieces = pieces


def array(values: Sequence[Any], depth: int) -> Text:
    """Return an array that stands ``depth`` levels deep in a JSON text.

    Raises
    ------
    orjson.JSONEncodeError
        orjson can't write it; likewise below.

    """
    return Text(_pieces_of(values, depth))


def mapping(values: Mapping[str, Any], depth: int) -> Text:
    """Return an object that stands ``depth`` levels deep; its values may be `Text`."""
    texts = [value for _, value in sorted(values.items()) if isinstance(value, Text)]
    hole = orjson.Fragment(_HOLE)
    frame = {key: hole if isinstance(value, Text) else value for key, value in values.items()}
    first, *others = _indented(frame, depth).split(_HOLE)
    pieces = [first]
    for text, after in zip(texts, others, strict=True):
        pieces += (*text.pieces, after)
    return Text(pieces)


def array_of_blocks(blocks: Iterable[bytes], others: Iterable[Any], depth: int) -> Text:
    """Return an array of the entries in ``blocks`` (see `without_brackets`), and ``others`` after them."""
    entries = [*((block,) for block in blocks), *(_pieces_of(other, depth + 1) for other in others)]
    return _enclosed(b"[]", entries, depth)


def mapping_of_blocks(blocks: Iterable[bytes], depth: int) -> Text:
    """Return an object of the entries in ``blocks``."""
    return _enclosed(b"{}", [(block,) for block in blocks], depth)


def without_brackets(entries: Sequence[Any] | Mapping[str, Any], depth: int) -> bytes:
    """Return the entries of an array or object that stands ``depth`` levels deep, at least one, as a block of text."""
    (text,) = _pieces_of(entries, depth)
    return text[1 : text.rindex(b"\n")].lstrip()


def _pieces_of(value: Any, depth: int) -> Sequence[bytes]:
    if isinstance(value, Text):
        return value.pieces
    return (_indented(value, depth),)


def _indented(value: Any, depth: int) -> bytes:
    """Return the text of a value as deep as it is to stand: written within as many arrays, which are cut off."""
    before = after = 0
    for level in range(depth):
        value = [value]
        before += len(b"[\n") + (level + 1) * len(_INDENT)
        after += len(b"\n]") + level * len(_INDENT)
    text = orjson.dumps(value, option=OPTIONS)
    return text[before : len(text) - after] if depth else text


def _enclosed(brackets: bytes, entries: Iterable[Sequence[bytes]], depth: int) -> Text:
    """Return entries, each on lines of its own, with brackets around them."""
    line = b"\n" + (depth + 1) * _INDENT
    pieces: list[bytes] = []
    for entry in entries:
        pieces += (b"," + line if pieces else brackets[:1] + line, *entry)
    return Text([*pieces, b"\n" + depth * _INDENT + brackets[1:]] if pieces else [brackets])
