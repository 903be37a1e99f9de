"""Writing a store again and again: a save encodes what its transition changed, and nothing else.

A transition changes one record of thousands, and the schedule only where it is an amendment, after which all is made
again. So the texts of the long lists are kept, and only the block of neighbours with a changed record in it is made
again: records that evolved from those written last share with them what did not change (`ChunkedMap`). Joined, the
pieces are byte for byte the text of one plain dump.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from typing import TYPE_CHECKING, Any, Final

import orjson
from msgspec import Struct

from plantimager.timelapse.store.conversion import scans_of
from plantimager.timelapse.store.raw_text import SCHEME, Sum, adler32_of, digits_of, sum_of, total
from plantimager.timelapse.support.chunked_map import KEYS_IN_CHUNK, ChunkedMap
from plantimager.timelapse.support.json_text import JSON_LAYOUT

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from plantimager.timelapse.domain.records import SlotRecord
    from plantimager.timelapse.store.stored_timelapse import StoredTimelapse

DIGITS_OF_BLOCK: Final = 2
"""Keys are sorted as texts, so those with the same first digits are neighbours: 12, 120 to 129, 1200 to 1299. Ten
thousand slots have a hundred blocks with the same two; of more slots, a block has the same number."""

FEW_SLOTS: Final = KEYS_IN_CHUNK
"""Up to so many the plain dump is the quicker way: all of their records are neighbours, written anew in any case."""

_HOLE: Final = b"\0"
"""Stands for a text that is there already; no JSON holds such a byte otherwise."""


class StoreWriter:
    """Encodes the values of a store one after the other. One thread.

    All that it keeps can be made again from the value.
    """

    def __init__(self) -> None:
        self._lists: _LongLists | None = None

    def encode(self, stored: StoredTimelapse) -> Sequence[bytes]:
        """Return what `StoredTimelapse.encode` returns, in pieces, most of which are there already."""
        if stored.exact and stored.timelapse.n_slots > FEW_SLOTS:
            try:
                return self._encode_quickly(stored)
            except orjson.JSONEncodeError:  # half a character, in the error of a driver
                self._lists = None
        return (stored.encode(),)

    def _encode_quickly(self, stored: StoredTimelapse) -> Sequence[bytes]:
        if self._lists is None or not self._lists.fit(stored):
            self._lists = _LongLists(stored)
        lists, hole = self._lists, orjson.Fragment(_HOLE)
        lists.update(stored)
        no_digest = orjson.Fragment(b'"' + SCHEME + _HOLE + b'"')
        document = stored.document(digest=no_digest, slots=hole, scans=hole, schedule_times=hole)
        start, to_slots, to_scans, to_times, end = map(_piece, orjson.dumps(document, option=JSON_LAYOUT).split(_HOLE))
        details, scans, times = lists.details.pieces(), lists.scans.pieces(), lists.schedule
        pieces = [start, to_slots, *details, to_scans, *scans, to_times, times, end]  # the keys are sorted
        digest = adler32_of(piece.sum for piece in pieces)
        return [start.text, digits_of(digest), *[piece.text for piece in pieces[1:]]]


class _Piece(Struct, frozen=True):
    """A piece of a text, and what the digest of the whole needs to know of it."""

    text: bytes
    sum: Sum


def _piece(text: bytes) -> _Piece:
    return _Piece(text, sum_of(text))


_NOTHING: Final = _piece(b"")
_COMMA: Final = _piece(b",")


class _LongLists:
    """The texts of what is long in one store: its schedule, its scans, and the details of its slots."""

    def __init__(self, stored: StoredTimelapse) -> None:
        self._schedule_times, self._kept = stored.timelapse.schedule_times, stored.kept
        self.schedule = _piece(_indented(self._schedule_times, 1))
        digits = len(str(max(len(self._schedule_times) - 1, 0)))
        self._digits = max(min(digits - 1, DIGITS_OF_BLOCK), digits - DIGITS_OF_BLOCK, 1)
        self._records: ChunkedMap[SlotRecord] = ChunkedMap({})
        self.scans, self.details = _LongText(b"[]", 1), _LongText(b"{}", 3)
        self.scans.change({inf: stored.kept.scans})  # those that belong to no slot are the last

    def fit(self, stored: StoredTimelapse) -> bool:
        """Whether these are the lists of that store, some records of which may have changed."""
        return self._schedule_times is stored.timelapse.schedule_times and self._kept is stored.kept

    def update(self, stored: StoredTimelapse) -> None:
        """Make the texts those of the records as they are now; raise as orjson does where it can't write one."""
        records = ChunkedMap(stored.timelapse.records)
        changed = [*records.changed_keys(self._records)]
        chunks = {number: records.chunks.get(number, {}) for number in {slot // KEYS_IN_CHUNK for slot in changed}}
        self.scans.change({number: scans_of([now[slot] for slot in sorted(now)]) for number, now in chunks.items()})
        noted = stored.details_of(records.select(changed))
        details: dict[str, dict[str, Any]] = {}
        for slot in map(str, changed):
            details.setdefault(slot[: self._digits], {})[slot] = noted.get(slot)
        self.details.change(details)
        self._records = records


class _LongText:
    """The text of a long array or object: a block of entries, and all before it and behind it in one piece each.

    One transition after the other changes the same block, so that a save looks at nothing else.
    """

    def __init__(self, brackets: bytes, depth: int) -> None:
        """Begin with no entries; ``depth`` is how many levels deep the array or object stands."""
        self._depth = depth
        self._empty, self._start = _piece(brackets), _piece(brackets[:1])
        self._end = _piece(b"\n" + depth * b"  " + brackets[1:])
        self._key: Any = None
        """That of the block that changed last."""
        self._before, self._block, self._behind = _NO_BLOCKS, _NOTHING, _NO_BLOCKS

    def change(self, entries: Mapping[Any, Sequence[Any] | Mapping[str, Any]]) -> None:
        """Change blocks: to other entries in an array, in some of an object; ``None`` is none. Raises as above."""
        blocks = {self._key: self._block}
        if not entries.keys() <= blocks.keys():
            blocks = dict([*self._before.blocks(), *blocks.items(), *self._behind.blocks()])
        for key, changed in entries.items():
            blocks[key] = self._text_of(_merged(blocks.get(key, _NOTHING), changed))
            self._key = key
        self._block = blocks.pop(self._key, _NOTHING)
        if blocks:
            keys = sorted(key for key, block in blocks.items() if block.text)
            self._before = _joined_blocks({key: blocks[key] for key in keys if key < self._key})
            self._behind = _joined_blocks({key: blocks[key] for key in keys if key > self._key})

    def pieces(self) -> list[_Piece]:
        """Return the array or object."""
        parts = [part for part in (self._before.piece, self._block, self._behind.piece) if part.text]
        if not parts:
            return [self._empty]
        return [self._start, *_with_commas(parts), self._end]

    def _text_of(self, entries: Sequence[Any] | Mapping[str, Any]) -> _Piece:
        text = _indented(entries, self._depth)
        return _piece(text[1 : text.rindex(b"\n")]) if entries else _NOTHING


class _JoinedBlocks(Struct, frozen=True):
    """Blocks in one piece, and the sums of each by its key, in their order."""

    piece: _Piece
    sums: Mapping[Any, Sum]

    def blocks(self) -> Iterator[tuple[Any, _Piece]]:
        """Yield the blocks with their keys."""
        start = 0
        for key, sums in self.sums.items():
            yield key, _Piece(self.piece.text[start : start + sums.length], sums)
            start += sums.length + len(_COMMA.text)


def _joined_blocks(blocks: Mapping[Any, _Piece]) -> _JoinedBlocks:
    return _JoinedBlocks(_join(blocks.values()), {key: block.sum for key, block in blocks.items()})


_NO_BLOCKS: Final = _JoinedBlocks(_NOTHING, {})


def _merged(block: _Piece, changed: Sequence[Any] | Mapping[str, Any]) -> Sequence[Any] | Mapping[str, Any]:
    """Return the entries of a block, where it is of an object, with some changed."""
    if not isinstance(changed, Mapping):
        return changed
    entries = orjson.loads(b"{%s}" % block.text) | changed
    return {key: entry for key, entry in entries.items() if entry is not None}


def _with_commas(pieces: Iterable[_Piece]) -> list[_Piece]:
    """Return pieces of a text with commas between them."""
    return [either for piece in pieces for either in (_COMMA, piece)][1:]


def _join(pieces: Iterable[_Piece]) -> _Piece:
    """Return pieces of a text with commas between them as one."""
    pieces = _with_commas(pieces)
    return _Piece(b"".join(piece.text for piece in pieces), total(piece.sum for piece in pieces))


def _indented(value: Any, depth: int) -> bytes:
    """Return the text of a value as deep as it is to stand: written within as many arrays, which are cut off."""
    before = after = 0
    for level in range(depth):
        value = [value]
        before += len(b"[\n") + (level + 1) * len(b"  ")
        after += len(b"\n]") + level * len(b"  ")
    text = orjson.dumps(value, option=JSON_LAYOUT)
    return text[before : len(text) - after]
