"""JSON without losses, by either of the two libraries."""

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
    """Compare two values as JSON texts: types count, and NaN equals NaN."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


@given(VALUES)
def test_every_written_value_is_read_back(value):
    """That includes NaN, huge integers and lone surrogates."""
    assert same(loads(dumps(value)), value)


@given(VALUES)
def test_text_of_json_is_read_as_json_reads_it(value):
    """A value that orjson reads is never changed by it."""
    text = json.dumps(value).encode()
    assert same(loads(text), json.loads(text))


@given(VALUES)
def test_reading_alone_shows_whether_a_value_is_exact(value):
    """Each value need not be checked: orjson writes without loss what it has read."""
    read = load(json.dumps(value).encode())
    assert is_exact(read.value) or not read.exact
    assert read.exact or not is_exact(value) or has_long_numbers(value)


@pytest.mark.parametrize("beside", [1, float("nan"), 10**30, "\ud800"])
def test_value_that_holds_itself_is_refused_at_once(beside):
    """It costs neither time nor memory, whatever is beside it and however often it holds itself."""
    endless = [beside]
    endless += [endless, (endless,), {"a": endless}]
    with pytest.raises(ValueError, match="nested deeper"):
        dumps(endless)


@given(VALUES)
def test_both_libraries_lay_text_out_alike(value):
    """The text equals that of the documented ``save`` byte for byte, except in the spelling of floats."""
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
def test_every_text_that_json_reads_survives_a_round_trip(text):
    """The value is the same after a save and the next start."""
    value = json.loads(text)
    assert same(loads(text), value)
    assert same(loads(dumps(loads(text))), value)


@pytest.mark.parametrize("before", range(2**16 - 24, 2**16 + 2))
def test_huge_integer_is_found_anywhere_in_a_long_text(before):
    """It may cross the border of two of the chunks in which the text is searched."""
    text = b" " * before + b"18446744073709551616" + b" " * 2**16
    assert loads(text) == 2**64


@pytest.mark.parametrize("digest", ["0" * 64, "c0ffee" + "0123456789" * 5 + "a" * 8])
def test_digest_of_many_digits_is_no_huge_integer(digest):
    """One digest in four hundred has as many digits in a row as a huge integer. Its store is read as fast as any."""
    assert load(json.dumps({"definition": digest}).encode()).exact


@pytest.mark.parametrize("text", [b"", b" ", b"[1,]", b"{'a': 1}", b"\xff", b"[1", b'{"a":1}\0\0', b"nul", b'"\n"'])
def test_text_that_is_not_json_is_refused(text):
    """The error is a ValueError, and the caller words it."""
    with pytest.raises(ValueError):
        loads(text)


@pytest.mark.parametrize("levels", [MAX_LEVELS + 1, 255, 600, 1000, 1025, 100_000])
@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}")])
def test_text_that_is_nested_too_deep_is_refused(levels, opening, closing):
    """It could be read but not written again, and every save would fail."""
    with pytest.raises(ValueError, match="nested deeper than 200 levels"):
        loads(opening * levels + b"1" + closing * levels)


@pytest.mark.parametrize("innermost", [b"", b"NaN"])
def test_text_with_the_greatest_nesting_can_be_written(innermost):
    """Both libraries write it."""
    text = b"[" * MAX_LEVELS + innermost + b"]" * MAX_LEVELS
    assert b"".join(dumps(loads(text)).split()) == text


@pytest.mark.parametrize("branches", [1, 2])
def test_value_that_contains_itself_is_refused(branches):
    """A caller that passes one gets an error, and doesn't hang."""
    endless = []
    endless.extend([endless] * branches)
    with pytest.raises(ValueError, match="nested deeper"):
        dumps(endless)


@pytest.mark.parametrize("value", [object(), {1, 2}, {"a": object()}, b"bytes"])
def test_value_without_a_form_in_json_is_refused(value):
    """No text is silently written in its place."""
    with pytest.raises(TypeError):
        dumps(value)


@pytest.mark.parametrize(
    "value", [math.nan, math.inf, 2**64, -(2**63) - 1, "\ud800", {1: 2}, {"\ud800": 1}, [[{"a": math.nan}]]]
)
def test_values_that_orjson_would_change_or_refuse_are_not_exact(value):
    """They are written by ``json``."""
    assert not is_exact(value)


@pytest.mark.parametrize("value", [None, True, 0, 2**64 - 1, -(2**63), 1.5, "", "ö", [], {}, {"a": (1, [2.0])}])
def test_usual_values_are_exact(value):
    """They are read and written by orjson."""
    assert is_exact(value)
    assert loads(orjson.dumps(value)) == json.loads(json.dumps(value))


def test_value_that_is_wrongly_called_exact_is_still_written():
    """A mistake of the caller must not make a store unwritable."""
    assert loads(dumps({"a": "\ud800", "b": 2**70}, exact=True)) == {"a": "\ud800", "b": 2**70}
