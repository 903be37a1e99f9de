"""The text of a store kept in blocks: a save encodes what its transition changed, not what has stood there for weeks.

The schedule never changes, and a transition changes one record of thousands. So the texts of the
long lists are kept in blocks, and only a block with a new record in it is made again. The result
is byte for byte what one plain dump of the whole is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import orjson

from plantimager.timelapse.domain.timelapse import Records
from plantimager.timelapse.support.json_text import OPTIONS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from datetime import datetime

    from plantimager.timelapse.domain.timelapse import SlotRecord

SCANS_IN_BLOCK: Final = 32
"""Few enough to be made again in no time, many enough for a hundred thousand slots to have few blocks."""

DETAILS_IN_BLOCK: Final = 111
"""Keys are sorted as texts: those that begin with the same digits stand together, such as 12, 120 to 129, 1200 to 1299.
With as many digits as leave two to the longest number, they are so many."""

_INDENT: Final = b"  "

_HOLE: Final = b"\0"
"""Stands for a text that is there already; no JSON holds such a byte otherwise."""


class Text:
    """A value that is text already, indented for its place; in pieces, so that long ones are copied but once."""

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
    """Put brackets around entries, and each on lines of its own."""
    line = b"\n" + (depth + 1) * _INDENT
    pieces: list[bytes] = []
    for entry in entries:
        pieces += (b"," + line if pieces else brackets[:1] + line, *entry)
    return Text([*pieces, b"\n" + depth * _INDENT + brackets[1:]] if pieces else [brackets])


class LongLists:
    """The texts of what is long in a store: its schedule, its scan records, and what else is known of its slots.

    ``scans_of`` gives what stands for records in the array of scans, and ``details_of`` in the object of details.
    One thread. Any two are equal: what is kept here can be made again, and is no part of a value.
    """

    def __init__(
        self,
        schedule_times: Sequence[datetime],
        scans_of: Callable[[Sequence[SlotRecord]], Sequence[dict[str, Any]]],
        details_of: Callable[[Iterable[SlotRecord]], Mapping[str, dict[str, Any]]],
    ) -> None:
        self._schedule_times, self._scans_of, self._details_of = schedule_times, scans_of, details_of
        self._digits = max(len(str(max(len(schedule_times) - 1, 0))) - (len(str(DETAILS_IN_BLOCK)) - 1), 1)
        self._schedule: Text | None = None
        self._records: Mapping[int, SlotRecord] = {}
        self._scans: dict[int, bytes] = {}
        self._details: dict[str, bytes] = {}

    def __eq__(self, other: object) -> bool:
        """Whether the other is one, too."""
        return isinstance(other, LongLists)

    def __hash__(self) -> int:
        """Return the same for all."""
        return hash(LongLists)

    def schedule(self) -> Text:
        """Return the array of the schedule; one level deep."""
        if self._schedule is None:
            self._schedule = array(self._schedule_times, 1)
        return self._schedule

    def update(self, records: Mapping[int, SlotRecord]) -> None:
        """Make the texts those of ``records``."""
        changed = _changed(self._records, records)
        self._records = {}  # should one of them not be writable, all are looked at the next time
        for block in {slot // SCANS_IN_BLOCK for slot in changed}:
            slots = range(block * SCANS_IN_BLOCK, (block + 1) * SCANS_IN_BLOCK)
            _keep(self._scans, block, self._scans_of(_those_of(slots, records)), 1)
        detailed = self._details_of(_those_of(changed, records))  # of thousands that were missed: none
        others = {str(slot)[: self._digits] for slot in changed} if self._details else set()
        for digits in {slot[: self._digits] for slot in detailed} | (others & self._details.keys()):
            slots_here = self._slots_beginning_with(digits)
            _keep(self._details, digits, self._details_of(_those_of(slots_here, records)), 3)
        self._records = records

    def _slots_beginning_with(self, digits: str) -> list[int]:
        number, width = int(digits), 1
        if len(digits) < self._digits or not number:  # no longer number begins with these, or with a zero
            return [number]
        found: list[int] = []
        while number * width < len(self._schedule_times):
            found += range(number * width, (number + 1) * width)
            width *= 10
        return found

    def scans(self, others: Iterable[Any]) -> Text:
        """Return the array of scan records, in the order of their slots, and ``others`` after them; one level deep."""
        entries = [(text,) for _, text in sorted(self._scans.items())]
        return _enclosed(b"[]", [*entries, *(_pieces_of(other, 2) for other in others)], 1)

    def details(self) -> Text:
        """Return the object with what else is known of the slots; three levels deep."""
        return _enclosed(b"{}", [(text,) for _, text in sorted(self._details.items())], 3)


def _those_of(slots: Iterable[int], records: Mapping[int, SlotRecord]) -> list[SlotRecord]:
    return [*filter(None, map(records.get, slots))]


def _changed(before: Mapping[int, SlotRecord], after: Mapping[int, SlotRecord]) -> Iterable[int]:
    """Return the slots whose records differ."""
    if after is before:
        return ()
    if not before:
        return after.keys()
    if isinstance(before, Records) and isinstance(after, Records) and after.evolved_from is before.mark:
        return after.fresh.keys()  # as a rule, and there may be tens of thousands of others
    return {slot for slot in before.keys() | after.keys() if before.get(slot) is not after.get(slot)}


def _keep(blocks: dict[Any, bytes], key: Any, entries: Sequence[Any] | Mapping[str, Any], depth: int) -> None:
    """Keep entries as text without the brackets around them."""
    if entries:
        (text,) = _pieces_of(entries, depth)
        blocks[key] = text[1 : text.rindex(b"\n")].lstrip()
    else:
        blocks.pop(key, None)
