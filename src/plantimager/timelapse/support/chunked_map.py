"""A frozen mapping of many values, of which the next one shares all that doesn't change."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain, compress
from operator import is_not
from typing import TYPE_CHECKING, Any, Final, TypeVar, overload

if TYPE_CHECKING:
    from collections.abc import ItemsView, Iterable, Iterator, ValuesView

_V = TypeVar("_V")
_D = TypeVar("_D")

KEYS_IN_CHUNK: Final = 32
"""Few enough for a chunk to be made again in no time, many enough for a hundred thousand keys to have few chunks."""


class ChunkedMap(Mapping[int, _V]):
    """A mapping by whole numbers from 0 on, in chunks of neighbours; never changed once it is made.

    One that evolves from another has its chunks, but for those with a changed value. So a change costs a chunk, however
    many values there are, and what changed is found by the identity of chunks.
    """

    __slots__ = ("chunks",)

    def __init__(self, values: Mapping[int, _V], chunks: Mapping[int, Mapping[int, _V]] | None = None) -> None:
        """Hold ``values``, or what is in ``chunks``; the chunks of another such mapping are shared."""
        self.chunks = chunks if chunks is not None else _in_chunks(values)
        """Chunks by their number: chunk 2 has the keys from 64 on."""

    def evolved(self, changes: Mapping[int, _V]) -> ChunkedMap[_V]:
        """Return the mapping with other values for some keys."""
        changed = {number: {**self.chunks.get(number, {}), **chunk} for number, chunk in _in_chunks(changes).items()}
        return ChunkedMap({}, {**self.chunks, **changed})

    def changed_keys(self, before: ChunkedMap[_V]) -> Iterator[int]:
        """Yield the keys whose values are not the same objects as ``before``, those that are gone included."""
        now, then = self.chunks, before.chunks
        changed = compress(now, map(is_not, now.values(), map(then.get, now)))
        for number in (*changed, *(then.keys() - now.keys())):
            values, others = now.get(number, {}), then.get(number, {})
            yield from (key for key in values.keys() | others.keys() if values.get(key) is not others.get(key))

    def select(self, keys: Iterable[int]) -> list[_V]:
        """Return the values of those keys that there are, in their order."""
        chunks, none = self.chunks, dict[int, _V]()
        chunks_of_keys = ((key, chunks.get(key // KEYS_IN_CHUNK, none)) for key in keys)
        return [chunk[key] for key, chunk in chunks_of_keys if key in chunk]

    def __getitem__(self, key: int) -> _V:
        return self.chunks[key // KEYS_IN_CHUNK][key]

    @overload
    def get(self, key: int) -> _V | None: ...
    @overload
    def get(self, key: int, default: _V | _D) -> _V | _D: ...

    def get(self, key: int, default: Any = None) -> Any:
        """Return a value; a mapping's own way takes ten times as long where there is none."""
        chunk = self.chunks.get(key // KEYS_IN_CHUNK)
        return default if chunk is None else chunk.get(key, default)

    def __contains__(self, key: object) -> bool:
        return isinstance(key, int) and key in self.chunks.get(key // KEYS_IN_CHUNK, ())

    def __iter__(self) -> Iterator[int]:
        return chain.from_iterable(self.chunks.values())

    def __len__(self) -> int:
        return sum(map(len, self.chunks.values()))

    def values(self) -> ValuesView[_V]:
        """Return the values; a mapping's own way asks for each."""
        return self._flat().values()

    def items(self) -> ItemsView[int, _V]:
        """Return the keys with their values."""
        return self._flat().items()

    def _flat(self) -> dict[int, _V]:
        flat: dict[int, _V] = {}
        for chunk in self.chunks.values():
            flat.update(chunk)
        return flat

    def __repr__(self) -> str:
        return f"ChunkedMap({self._flat()})"


def _in_chunks(values: Mapping[int, _V]) -> Mapping[int, Mapping[int, _V]]:
    if isinstance(values, ChunkedMap):
        return values.chunks
    chunks: dict[int, dict[int, _V]] = {}
    for key, value in values.items():
        chunks.setdefault(key // KEYS_IN_CHUNK, {})[key] = value
    return chunks
