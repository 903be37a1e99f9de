"""Writing a store again and again: a save encodes what its transition changed, and nothing else.

The schedule never changes, and a transition changes one record of thousands. So the texts of the long lists are kept
in blocks, and only a block with a changed record in it is made again: records that evolved from those written last
share with them what did not change (`ChunkedMap`).
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from orjson import JSONEncodeError

from plantimager.timelapse.store.conversion import scans_of
from plantimager.timelapse.store.schema import OURS
from plantimager.timelapse.store.text_blocks import (
    Text,
    array,
    array_of_blocks,
    mapping,
    mapping_of_blocks,
    without_brackets,
)
from plantimager.timelapse.support.chunked_map import KEYS_IN_CHUNK, ChunkedMap

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from plantimager.timelapse.domain.records import SlotRecord
    from plantimager.timelapse.store.stored_timelapse import StoredTimelapse

DETAILS_IN_BLOCK: Final = 111
"""Keys are sorted as texts, so those with the same first digits are neighbours: 12, 120 to 129, 1200 to 1299. There are
so many of them where the first digits are all but two of the longest number."""


class StoreWriter:
    """Encodes the values of a store one after the other. One thread.

    All that it keeps can be made again from the value.
    """

    def __init__(self) -> None:
        self._lists: _LongLists | None = None

    def encode(self, stored: StoredTimelapse) -> Sequence[bytes]:
        """Return what `StoredTimelapse.encode` returns, in pieces, most of which are there already."""
        if stored.exact:
            with suppress(JSONEncodeError):
                return self._encode_quickly(stored)
        return (stored.encode(),)

    def _encode_quickly(self, stored: StoredTimelapse) -> Sequence[bytes]:
        if self._lists is None or not self._lists.fit(stored):
            self._lists = _LongLists(stored)
        lists = self._lists
        lists.update(stored)
        own = mapping({**stored.own(), "slots": lists.details()}, 2)
        document = {
            **stored.frame(),
            "schedule_times": lists.schedule,
            "scans": lists.scans(),
            "extra": mapping({**stored.kept.extra, OURS: own}, 1),
        }
        return mapping(document, 0).pieces


class _LongLists:
    """The texts of what is long in one store: its schedule, its scans, and the details of its slots."""

    def __init__(self, stored: StoredTimelapse) -> None:
        self._schedule_times, self._kept = stored.timelapse.schedule_times, stored.kept
        self.schedule = array(self._schedule_times, 1)
        digits = len(str(max(len(self._schedule_times) - 1, 0)))
        self._digits = max(digits - (len(str(DETAILS_IN_BLOCK)) - 1), 1)
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
        detailed = stored.details_of([*filter(None, map(records.get, changed))])  # of thousands of missed slots: none
        others = {self._first_digits(slot) for slot in changed} & self._details.keys()
        for digits in {slot[: self._digits] for slot in detailed} | others:
            neighbours = filter(None, map(records.get, self._slots_beginning_with(digits)))
            _keep(self._details, digits, stored.details_of([*neighbours]), 3)
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

    def scans(self) -> Text:
        """Return the array of scans, in the order of their slots, and those that belong to none after them."""
        return array_of_blocks((text for _, text in sorted(self._scans.items())), self._kept.scans, 1)

    def details(self) -> Text:
        """Return the object with the details of slots."""
        return mapping_of_blocks((text for _, text in sorted(self._details.items())), 3)


def _keep(blocks: dict[Any, bytes], key: Any, entries: Sequence[Any] | Mapping[str, Any], depth: int) -> None:
    if entries:
        blocks[key] = without_brackets(entries, depth)
    else:
        blocks.pop(key, None)
