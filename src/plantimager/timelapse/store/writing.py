"""Writing a store again and again: a save encodes what its transition changed, and nothing else.

The schedule never changes, and a transition changes one record of thousands. So the texts of the long lists are kept
in blocks, and only a block with a changed record in it is made again: records that evolved from those written last
share with them what did not change (`ChunkedMap`). Joined, the pieces are byte for byte the text of one plain dump.
"""

from __future__ import annotations

from bisect import bisect_left
from contextlib import suppress
from math import inf
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from zlib import adler32

import orjson

from plantimager.timelapse.store.conversion import scans_of
from plantimager.timelapse.store.raw_text import DIGITS, SCHEME, Sum, digits_of, joined, sum_of
from plantimager.timelapse.store.schema import DIGEST, OURS
from plantimager.timelapse.support.chunked_map import KEYS_IN_CHUNK, ChunkedMap
from plantimager.timelapse.support.json_text import OPTIONS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from plantimager.timelapse.domain.records import SlotRecord
    from plantimager.timelapse.store.stored_timelapse import StoredTimelapse

DIGITS_OF_BLOCK: Final = 2
"""Keys are sorted as texts, so those with the same first digits are neighbours: 12, 120 to 129, 1200 to 1299. Ten
thousand slots have a hundred blocks with the same two; of more slots, a block has the same number."""


class StoreWriter:
    """Encodes the values of a store one after the other. One thread.

    All that it keeps can be made again from the value.
    """

    def __init__(self) -> None:
        self._lists: _LongLists | None = None

    def encode(self, stored: StoredTimelapse) -> Sequence[bytes]:
        """Return what `StoredTimelapse.encode` returns, in pieces, most of which are there already."""
        if stored.exact:
            with suppress(orjson.JSONEncodeError):
                return self._encode_quickly(stored)
        return (stored.encode(),)

    def _encode_quickly(self, stored: StoredTimelapse) -> Sequence[bytes]:
        if self._lists is None or not self._lists.fit(stored):
            self._lists = _LongLists(stored)
        lists = self._lists
        lists.update(stored)
        own = {**stored.own(), DIGEST: _Text((b'"' + SCHEME, DIGITS, b'"')), "slots": _Text((lists.details.text(),))}
        document = {
            **stored.frame(),
            "schedule_times": _Text((lists.schedule,)),
            "scans": _Text((lists.scans.text(),)),
            "extra": _mapping({**stored.kept.extra, OURS: _mapping(own, 2)}, 1),
        }
        return _sealed(_mapping(document, 0).parts)


class _LongLists:
    """The texts of what is long in one store: its schedule, its scans, and the details of its slots."""

    def __init__(self, stored: StoredTimelapse) -> None:
        self._schedule_times, self._kept = stored.timelapse.schedule_times, stored.kept
        schedule = _indented(self._schedule_times, 1)
        self.schedule = _LongText((schedule,), (sum_of(schedule),))
        digits = len(str(max(len(self._schedule_times) - 1, 0)))
        self._digits = max(min(digits - 1, DIGITS_OF_BLOCK), digits - DIGITS_OF_BLOCK, 1)
        self._records: ChunkedMap[SlotRecord] = ChunkedMap({})
        self.scans, self.details = _Blocks(b"[]", 1), _Blocks(b"{}", 3)
        self.scans.keep(inf, stored.kept.scans)  # those that belong to no slot are the last

    def fit(self, stored: StoredTimelapse) -> bool:
        """Whether these are the lists of that store, some records of which may have changed."""
        return self._schedule_times is stored.timelapse.schedule_times and self._kept is stored.kept

    def update(self, stored: StoredTimelapse) -> None:
        """Make the texts those of the records as they are now.

        Raises
        ------
        orjson.JSONEncodeError
            orjson can't write one of them.

        """
        records = stored.timelapse.records
        records = records if isinstance(records, ChunkedMap) else ChunkedMap(records)
        changed = [*records.changed_keys(self._records)]
        self._records = ChunkedMap({})  # if one of them can't be written, all are made the next time
        for number in {slot // KEYS_IN_CHUNK for slot in changed}:
            chunk = records.chunks.get(number, {})
            self.scans.keep(number, scans_of([chunk[slot] for slot in sorted(chunk)]))
        detailed = stored.details_of(records.select(changed))  # of thousands of missed slots: none
        others = {self._first_digits(slot) for slot in changed} & {*self.details.keys}
        for digits in {slot[: self._digits] for slot in detailed} | others:
            neighbours = records.select(self._slots_beginning_with(digits))
            self.details.keep(digits, stored.details_of(neighbours))
        self._records = records

    def _first_digits(self, slot: int) -> str:
        return str(slot)[: self._digits]

    def _slots_beginning_with(self, digits: str) -> list[int]:
        number, width = int(digits), 1
        if len(digits) < self._digits or not number:  # no longer number begins with these, or with a zero
            return [number]
        found: list[int] = []
        while number * width < len(self._schedule_times):
            found += range(number * width, (number + 1) * width)
            width *= 10
        return found


# --- JSON text in pieces ----------------------------------------------------------------------------

_INDENT: Final = b"  "

_HOLE: Final = b"\0"
"""Stands for a text that is there already; no JSON holds such a byte otherwise."""


class _LongText(NamedTuple):
    """Pieces of a text that are there already, and what its digest needs to know of each."""

    pieces: Sequence[bytes]
    sums: Sequence[Sum]


class _Text(NamedTuple):
    """A value that is text already, indented for its place; its parts are joined only once, by the system call."""

    parts: Sequence[bytes | _LongText]


class _Blocks:
    """The entries of a long array or object, in blocks that are made one by one, in the order of their keys."""

    def __init__(self, brackets: bytes, depth: int) -> None:
        """Begin with none; ``depth`` is how many levels deep the array or object stands."""
        self._brackets, self._depth = brackets, depth
        self.keys: list[Any] = []
        self._blocks: list[bytes] = []
        self._sums: list[Sum] = []

    def keep(self, key: Any, entries: Sequence[Any] | Mapping[str, Any]) -> None:
        """Make the block with a key anew; without entries there is none.

        Raises
        ------
        orjson.JSONEncodeError
            orjson can't write it; likewise below.

        """
        blocks = [self._block(entries)] if entries else []
        place = bisect_left(self.keys, key)
        there = slice(place, place + (self.keys[place : place + 1] == [key]))
        self.keys[there], self._blocks[there] = [key][: len(blocks)], blocks
        self._sums[there] = map(sum_of, blocks)

    def _block(self, entries: Sequence[Any] | Mapping[str, Any]) -> bytes:
        """Return the text of some entries, each after a comma."""
        text = _indented(entries, self._depth)
        return b"," + text[1 : text.rindex(b"\n")]

    def text(self) -> _LongText:
        """Return the array or object."""
        if not self._blocks:
            return _LongText((self._brackets,), (sum_of(self._brackets),))
        first = self._brackets[:1] + self._blocks[0][1:]
        end = b"\n" + self._depth * _INDENT + self._brackets[1:]
        return _LongText((first, *self._blocks[1:], end), (sum_of(first), *self._sums[1:], sum_of(end)))


def _mapping(values: Mapping[str, Any], depth: int) -> _Text:
    """Return an object that stands ``depth`` levels deep in a JSON text; its values may be `_Text`."""
    texts = [value for _, value in sorted(values.items()) if isinstance(value, _Text)]
    hole = orjson.Fragment(_HOLE)
    frame = {key: hole if isinstance(value, _Text) else value for key, value in values.items()}
    first, *others = _indented(frame, depth).split(_HOLE)
    parts: list[bytes | _LongText] = [first]
    for text, after in zip(texts, others, strict=True):
        parts += (*text.parts, after)
    return _Text(parts)


def _sealed(parts: Sequence[bytes | _LongText]) -> Sequence[bytes]:
    """Return the pieces of a whole text with its digest in it."""
    pieces: list[bytes] = []
    digest, place = adler32(b""), 0
    for part in parts:
        if isinstance(part, _LongText):
            digest = joined(digest, part.sums)
            pieces += part.pieces
        else:
            if part is DIGITS:
                place = len(pieces)
            else:
                digest = adler32(part, digest)
            pieces.append(part)
    pieces[place] = digits_of(digest)
    return pieces


def _indented(value: Any, depth: int) -> bytes:
    """Return the text of a value as deep as it is to stand: written within as many arrays, which are cut off."""
    before = after = 0
    for level in range(depth):
        value = [value]
        before += len(b"[\n") + (level + 1) * len(_INDENT)
        after += len(b"\n]") + level * len(_INDENT)
    text = orjson.dumps(value, option=OPTIONS)
    return text[before : len(text) - after] if depth else text
