"""Writing a store again and again: a save encodes what its transition changed, and nothing else.

The schedule never changes, and a transition changes one record of thousands. So the texts of the long lists are kept
in blocks, and only a block with a changed record in it is made again: records that evolved from those written last
share with them what did not change (`ChunkedMap`). Joined, the pieces are byte for byte the text of one plain dump.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import orjson

from plantimager.timelapse.store.conversion import scans_of
from plantimager.timelapse.store.raw_text import DIGITS, SCHEME, digits_of, sums_of
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
        self._sums: dict[bytes, int] = {}
        """The share of each piece of the last text in its digest."""

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
        own = {**stored.own(), DIGEST: _Text([b'"' + SCHEME, DIGITS, b'"']), "slots": lists.details()}
        document = {
            **stored.frame(),
            "schedule_times": lists.schedule,
            "scans": lists.scans(),
            "extra": _mapping({**stored.kept.extra, OURS: _mapping(own, 2)}, 1),
        }
        pieces = [*_mapping(document, 0).pieces]
        place = pieces.index(DIGITS)
        pieces[place] = b""
        self._sums = sums_of(pieces, self._sums)
        pieces[place] = digits_of(pieces, self._sums)
        return pieces


class _LongLists:
    """The texts of what is long in one store: its schedule, its scans, and the details of its slots."""

    def __init__(self, stored: StoredTimelapse) -> None:
        self._schedule_times, self._kept = stored.timelapse.schedule_times, stored.kept
        self.schedule = _Text([_indented(self._schedule_times, 1)])
        digits = len(str(max(len(self._schedule_times) - 1, 0)))
        self._digits = max(min(digits - 1, DIGITS_OF_BLOCK), digits - DIGITS_OF_BLOCK, 1)
        self._records: ChunkedMap[SlotRecord] = ChunkedMap({})
        self._scans: dict[int, bytes] = {}
        self._details: dict[str, bytes] = {}

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
            _keep(self._scans, number, scans_of([chunk[slot] for slot in sorted(chunk)]), 1)
        detailed = stored.details_of(records.select(changed))  # of thousands of missed slots: none
        others = {self._first_digits(slot) for slot in changed} & self._details.keys()
        for digits in {slot[: self._digits] for slot in detailed} | others:
            neighbours = records.select(self._slots_beginning_with(digits))
            _keep(self._details, digits, stored.details_of(neighbours), 3)
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

    def scans(self) -> _Text:
        """Return the array of scans, in the order of their slots, and those that belong to none after them."""
        others = [_block(self._kept.scans, 1)] if self._kept.scans else []
        return _joined(b"[]", [*_in_order(self._scans), *others], 1)

    def details(self) -> _Text:
        """Return the object with the details of slots."""
        return _joined(b"{}", _in_order(self._details), 3)


def _in_order(blocks: Mapping[Any, bytes]) -> list[bytes]:
    return [text for _, text in sorted(blocks.items())]


def _keep(blocks: dict[Any, bytes], key: Any, entries: Sequence[Any] | Mapping[str, Any], depth: int) -> None:
    if entries:
        blocks[key] = _block(entries, depth)
    else:
        blocks.pop(key, None)


# --- JSON text in pieces ----------------------------------------------------------------------------

_INDENT: Final = b"  "

_HOLE: Final = b"\0"
"""Stands for a text that is there already; no JSON holds such a byte otherwise."""


class _Text:
    """A value that is text already, indented for its place; its pieces are joined only once, by the system call."""

    __slots__ = ("pieces",)

    def __init__(self, pieces: Sequence[bytes]) -> None:
        self.pieces = pieces


def _mapping(values: Mapping[str, Any], depth: int) -> _Text:
    """Return an object that stands ``depth`` levels deep in a JSON text; its values may be `_Text`.

    Raises
    ------
    orjson.JSONEncodeError
        orjson can't write it; likewise below.

    """
    texts = [value for _, value in sorted(values.items()) if isinstance(value, _Text)]
    hole = orjson.Fragment(_HOLE)
    frame = {key: hole if isinstance(value, _Text) else value for key, value in values.items()}
    first, *others = _indented(frame, depth).split(_HOLE)
    pieces = [first]
    for text, after in zip(texts, others, strict=True):
        pieces += (*text.pieces, after)
    return _Text(pieces)


def _block(entries: Sequence[Any] | Mapping[str, Any], depth: int) -> bytes:
    """Return the entries, at least one, of an array or object that stands ``depth`` levels deep: each after a comma."""
    text = _indented(entries, depth)
    return b"," + text[1 : text.rindex(b"\n")]


def _joined(brackets: bytes, blocks: Sequence[bytes], depth: int) -> _Text:
    """Return the array or object of the entries in ``blocks``."""
    if not blocks:
        return _Text([brackets])
    first, *others = blocks
    return _Text([brackets[:1] + first[1:], *others, b"\n" + depth * _INDENT + brackets[1:]])


def _indented(value: Any, depth: int) -> bytes:
    """Return the text of a value as deep as it is to stand: written within as many arrays, which are cut off."""
    before = after = 0
    for level in range(depth):
        value = [value]
        before += len(b"[\n") + (level + 1) * len(_INDENT)
        after += len(b"\n]") + level * len(_INDENT)
    text = orjson.dumps(value, option=OPTIONS)
    return text[before : len(text) - after] if depth else text
