"""JSON that loses nothing, whichever of the two parsers took it."""

from __future__ import annotations

import json
import math
import re

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plantimager.timelapse.support.json_text import MAX_LEVELS, dumps, is_exact, load, loads

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text()
    | st.text(st.characters(categories=["Cs"]))
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4), max_leaves=20
)


def same(one, other):
    """Compare as JSON does: by type too, and NaN with NaN."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


@given(VALUES)
def test_whatever_is_written_is_read_back(value):
    """NaN, huge integers and lone surrogates included."""
    assert same(loads(dumps(value)), value)


@given(VALUES)
def test_whatever_json_writes_is_read_as_json_reads_it(value):
    """The fast parser never changes a value."""
    text = json.dumps(value).encode()
    assert same(loads(text), json.loads(text))


@given(VALUES)
def test_what_is_exact_is_known_from_the_reading_alone(value):
    """Without a look at each value: what the fast parser takes, the fast writer writes as it is."""
    read = load(json.dumps(value).encode())
    assert is_exact(read.value) or not read.exact
    assert read.exact or not is_exact(value) or has_long_numbers(value)


@given(VALUES)
def test_both_writers_lay_text_out_alike(value):
    """Byte for byte as the documented ``save`` does, but for the spelling of floats: indent 2, sorted keys."""
    if is_exact(value) and not has_floats(value):
        assert dumps(value, exact=True) == dumps(value, exact=False)
        assert dumps(value) == json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False).encode()


def has_long_numbers(value):
    return re.search(r"\d{19}", json.dumps(value)) is not None


def has_floats(value):
    if isinstance(value, dict):
        return has_floats(list(value.values()))
    return any(map(has_floats, value)) if isinstance(value, list) else isinstance(value, float)


@pytest.mark.parametrize(
    "text",
    [
        b"NaN", b"[Infinity, -Infinity]", b"18446744073709551616", b"-9223372036854775809", b"9223372036854775808",
        b"[9999999999999999999, -9999999999999999999]", b'"\\ud800"', b'"a\\udfff\\ud800b"', b"\xef\xbb\xbf[1]",
        b"1e400", b"-0", b"-0.0", b"1E5", b"0.10000000000000000555", b'{"a": 1, "a": 2}', b'{"": {"": []}}',
        b'"\\u0000"', b"\xff\xfe[\x001\x00]\x00", b'{"t": "1234567890123456789012"}', b'"\xed\xa0\x80"',
    ],
)  # fmt: skip
def test_whatever_json_can_read_is_read_and_kept(text):
    """Both ways, and it is the same after a save and the next start."""
    value = json.loads(text)
    assert same(loads(text), value)
    assert same(loads(dumps(loads(text))), value)


@pytest.mark.parametrize("before", range(2**16 - 24, 2**16 + 2))
def test_huge_integer_is_seen_wherever_in_a_long_text_it_stands(before):
    """Also across two of the parts that the text is looked through by."""
    text = b" " * before + b"18446744073709551616" + b" " * 2**16
    assert loads(text) == 2**64


@pytest.mark.parametrize("digest", ["0" * 64, "c0ffee" + "0123456789" * 5 + "a" * 8])
def test_digest_of_many_digits_is_no_huge_integer(digest):
    """One in four hundred has as many in a row as a number of 64 bits; its store is read as fast as any."""
    assert load(json.dumps({"definition": digest}).encode()).exact


@pytest.mark.parametrize("text", [b"", b" ", b"[1,]", b"{'a': 1}", b"\xff", b"[1", b'{"a":1}\0\0', b"nul", b'"\n"'])
def test_what_is_not_json_is_refused(text):
    """With a ValueError, which the caller words."""
    with pytest.raises(ValueError):
        loads(text)


@pytest.mark.parametrize("deep", [MAX_LEVELS + 1, 255, 600, 1000, 1025, 100_000])
@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}")])
def test_what_is_nested_too_deeply_is_refused(deep, opening, closing):
    """Else it could be read and never be written again: every save would fail."""
    with pytest.raises(ValueError, match="nested deeper than 200 levels"):
        loads(opening * deep + b"1" + closing * deep)


@pytest.mark.parametrize("innermost", [b"", b"NaN"])
def test_what_is_nested_as_deeply_as_allowed_can_be_written(innermost):
    """By either writer."""
    text = b"[" * MAX_LEVELS + innermost + b"]" * MAX_LEVELS
    assert b"".join(dumps(loads(text)).split()) == text


@pytest.mark.parametrize("branches", [1, 2])
def test_value_that_holds_itself_is_refused(branches):
    """A program that hands one in gets an error, not a hang."""
    endless = []
    endless.extend([endless] * branches)
    with pytest.raises(ValueError, match="nested deeper"):
        dumps(endless)


@pytest.mark.parametrize("value", [object(), {1, 2}, {"a": object()}, b"bytes"])
def test_what_is_not_json_is_not_written(value):
    """No string stands in for it unasked."""
    with pytest.raises(TypeError):
        dumps(value)


@pytest.mark.parametrize(
    "value", [math.nan, math.inf, 2**64, -(2**63) - 1, "\ud800", {1: 2}, {"\ud800": 1}, [[{"a": math.nan}]]]
)
def test_values_that_orjson_would_change_or_refuse_are_not_exact(value):
    """They take the slow path."""
    assert not is_exact(value)


@pytest.mark.parametrize("value", [None, True, 0, 2**64 - 1, -(2**63), 1.5, "", "ö", [], {}, {"a": (1, [2.0])}])
def test_usual_values_are_exact(value):
    """They take the fast path."""
    assert is_exact(value)
    assert loads(orjson.dumps(value)) == json.loads(json.dumps(value))


def test_value_that_turns_out_not_to_be_exact_is_written_all_the_same():
    """A caller that is wrong about a text must not make a store unwritable."""
    assert loads(dumps({"a": "\ud800", "b": 2**70}, exact=True)) == {"a": "\ud800", "b": 2**70}
