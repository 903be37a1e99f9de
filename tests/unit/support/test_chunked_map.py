"""A mapping in chunks is one like any other, and shares with the next one what doesn't change."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plantimager.timelapse.support.chunked_map import KEYS_IN_CHUNK, ChunkedMap

VALUES = st.dictionaries(st.integers(0, 200), st.integers(0, 3).map(lambda number: [number]), max_size=60)


@given(VALUES, VALUES)
def test_mapping_holds_what_a_dict_would_hold(before, changes):
    """That holds also after it evolved; the one before stays as it is."""
    held = ChunkedMap(before)
    evolved = held.evolved(changes)
    for found, expected in ((held, before), (evolved, {**before, **changes})):
        assert found == expected
        assert len(found) == len(expected)
        assert sorted(found) == sorted(expected)
        assert {key: found[key] for key in found} == dict(found.items()) == expected
        assert all(found.get(key) is expected.get(key) for key in range(-1, 202))
        assert all((key in found) == (key in expected) for key in (*range(-1, 202), "1", None))
        assert len(found.values()) == len(expected)


@given(VALUES, VALUES, st.sets(st.integers(0, 200)))
def test_changed_keys_are_those_with_another_object(before, changes, gone):
    """Equal ones included, and those that are there no more."""
    held = ChunkedMap(before)
    left = {key: value for key, value in {**before, **changes}.items() if key not in gone}
    expected = {key for key in before.keys() | left.keys() if before.get(key) is not left.get(key)}
    assert sorted(ChunkedMap(left).changed_keys(held)) == sorted(expected)
    assert sorted(held.evolved(changes).changed_keys(held)) == sorted(changes)


def test_evolved_mapping_shares_all_other_chunks():
    """A change so costs no more than a chunk."""
    held = ChunkedMap(dict.fromkeys(range(1000), "before"))
    evolved = held.evolved({500: "after"})
    unlike = [number for number, chunk in evolved.chunks.items() if chunk is not held.chunks[number]]
    assert unlike == [500 // KEYS_IN_CHUNK]


def test_absent_key_is_an_error():
    """It is one in any mapping; `get` has a default."""
    for held in (ChunkedMap({}), ChunkedMap({1: "x"})):
        with pytest.raises(KeyError):
            held[2]
        assert held.get(2, "other") == "other"
