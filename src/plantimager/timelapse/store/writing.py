"""Writing a store again and again: a save encodes what its transition changed, and nothing else.

The schedule never changes, and a transition changes one record of thousands. So the texts of the long lists are kept
in blocks, and only a block with a changed record in it is made again: records that evolved from those written last
share with them what did not change (`ChunkedMap`). Joined, the pieces are byte for byte the text of one plain dump.
"""

from __future__ import annotations

from contextlib import suppress
from math import inf
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from zlib import adler32

import orjson

from plantimager.timelapse.store.conversion import scans_of
from plantimager.timelapse.store.raw_text import DIGITS, SCHEME, Sum, digits_of, joined, sum_of
from plantimager.timelapse.support.chunked_map import KEYS_IN_CHUNK, ChunkedMap
from plantimager.timelapse.support.json_text import OPTIONS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

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
            with suppress(orjson.JSONEncodeError):
                return self._encode_quickly(stored)
        return (stored.encode(),)

    def _encode_quickly(self, stored: StoredTimelapse) -> Sequence[bytes]:
        if self._lists is None or not self._lists.fit(stored):
            self._lists = _LongLists(stored)
        lists, hole = self._lists, orjson.Fragment(_HOLE)
        lists.update(stored)
        digest = orjson.Fragment(b'"' + SCHEME + _HOLE + b'"')
        document = stored.document(digest=digest, slots=hole, scans=hole, schedule_times=hole)
        start, end, *others = orjson.dumps(document, option=OPTIONS).split(_HOLE)
        pieces, total = [start, DIGITS, end], adler32(end, adler32(start))
        texts = (lists.details.text(), lists.scans.text(), lists.schedule)  # sorted by their keys, as the frame is
        for text, between in zip(texts, others, strict=True):
            total = adler32(between, joined(total, text.sums))
            pieces += (*text.pieces, between)
        pieces[1] = digits_of(total)
        return pieces


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
        records = ChunkedMap(stored.timelapse.records)
        changed = [*records.changed_keys(self._records)]
        self._records = ChunkedMap({})  # if one of them can't be written, all are made the next time
        for number in {slot // KEYS_IN_CHUNK for slot in changed}:
            chunk = records.chunks.get(number, {})
            self.scans.keep(number, scans_of([chunk[slot] for slot in sorted(chunk)]))
        details: dict[str, dict[str, Any]] = {}
        noted = stored.details_of(records.select(changed))
        for slot in map(str, changed):
            details.setdefault(slot[: self._digits], {})[slot] = noted.get(slot)
        for digits, now in details.items():
            entries = self.details.entries(digits) | now
            self.details.keep(digits, {slot: entry for slot, entry in entries.items() if entry is not None})
        self._records = records


class _LongText(NamedTuple):
    """Pieces of a text that are there already, and what its digest needs to know of each."""

    pieces: Sequence[bytes]
    sums: Sequence[Sum]


class _Blocks:
    """The entries of a long array or object, in blocks that are made one by one, in the order of their keys."""

    def __init__(self, brackets: bytes, depth: int) -> None:
        """Begin with none; ``depth`` is how many levels deep the array or object stands."""
        self._brackets, self._depth = brackets, depth
        self._blocks: dict[Any, tuple[bytes, Sum]] = {}

    def keep(self, key: Any, entries: Sequence[Any] | Mapping[str, Any]) -> None:
        """Make the block with a key anew, each entry after a comma; without entries there is none.

        Raises
        ------
        orjson.JSONEncodeError
            orjson can't write it.
        """
        self._blocks.pop(key, None)
        if entries:
            text = _indented(entries, self._depth)
            block = b"," + text[1 : text.rindex(b"\n")]
            self._blocks[key] = block, sum_of(block)

    def entries(self, key: Any) -> dict[str, Any]:
        """Return the entries of an object that the block with a key has."""
        block, _ = self._blocks.get(key, (b"", None))
        entries: dict[str, Any] = orjson.loads(b"{%s}" % block[1:])
        return entries

    def text(self) -> _LongText:
        """Return the array or object."""
        if not self._blocks:
            return _LongText((self._brackets,), (sum_of(self._brackets),))
        blocks, sums = zip(*[self._blocks[key] for key in sorted(self._blocks)], strict=True)
        first = self._brackets[:1] + blocks[0][1:]
        end = b"\n" + self._depth * b"  " + self._brackets[1:]
        return _LongText((first, *blocks[1:], end), (sum_of(first), *sums[1:], sum_of(end)))


def _indented(value: Any, depth: int) -> bytes:
    """Return the text of a value as deep as it is to stand: written within as many arrays, which are cut off."""
    before = after = 0
    for level in range(depth):
        value = [value]
        before += len(b"[\n") + (level + 1) * len(b"  ")
        after += len(b"\n]") + level * len(b"  ")
    text = orjson.dumps(value, option=OPTIONS)
    return text[before : len(text) - after]
