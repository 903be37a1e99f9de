"""Damage is seen: no store with a changed bit is accepted with other content without a word."""

from __future__ import annotations

from datetime import UTC
from zlib import adler32

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tree import STORES

from plantimager.timelapse.store.loading import load_timelapse, read_timelapse
from plantimager.timelapse.store.raw_text import adler32_of, fits_digest, seal, sum_of
from plantimager.timelapse.support.errors import StoreCorrupt
from plantimager.timelapse.support.json_text import dumps, loads
from stores import PATH, read

SMALL, MIDDLE, LARGE = "one-shot-pending", "interval-utc-interrupted", "interval-year-8760"
SWEPT = (SMALL, MIDDLE, "fixed-times-dst", "interval-completed", "interval-naive-midrun")
"""Of these every bit is tried."""
SAMPLE = 10_007
"""Of the bits of the large store every so many-th is tried: a prime, so that all places in a byte are among them."""


def text_of(name: str) -> bytes:
    """Return a store as the daemon writes it when it has read a real one."""
    return read_timelapse((STORES / f"{name}.json").read_bytes(), PATH, UTC).encode()


def accepted(text: bytes) -> bool:
    """Whether the strict reader takes a text for a store."""
    try:
        read_timelapse(text, PATH, UTC)
    except StoreCorrupt:
        return False
    return True


@pytest.mark.parametrize("name", [*SWEPT, LARGE])
def test_store_as_it_was_written_fits_its_digest(name: str) -> None:
    """Nothing is said about a version without one: another program's, or an older one."""
    assert fits_digest(text_of(name)) is True
    assert fits_digest((STORES / f"{name}.json").read_bytes()) is None


@pytest.mark.parametrize(("name", "step"), [*((name, 1) for name in SWEPT), (LARGE, SAMPLE)])
def test_no_flipped_bit_is_accepted_without_a_word(name: str, step: int) -> None:
    """It is found in the digest itself, its key and that of what is ours as well."""
    text = text_of(name)
    flipped = bytearray(text)
    unseen = []
    for bit in range(0, 8 * len(text), step):
        flipped[bit // 8] ^= 1 << bit % 8
        if fits_digest(bytes(flipped)) is not False and accepted(bytes(flipped)):
            unseen.append(bit)
        flipped[bit // 8] = text[bit // 8]
    assert unseen == []


@given(start=st.floats(0, 1), length=st.integers(1, 4096), filling=st.binary(min_size=1, max_size=8))
@example(start=0.03910198836931889, length=32, filling=b" ")  # just the line of the digest
@settings(max_examples=200)
def test_no_overwritten_block_is_accepted_without_a_word(start: float, length: int, filling: bytes) -> None:
    """A sector that a card returns as zeros, or as another file's."""
    text = text_of(MIDDLE)
    first = int(start * (len(text) - 1))
    damaged = text[:first] + (filling * length)[: len(text[first : first + length])] + text[first + length :]
    assert damaged == text or fits_digest(damaged) is False or not accepted(damaged)


@given(parts=st.lists(st.binary(max_size=300), max_size=20))
def test_digest_of_a_text_follows_from_those_of_its_parts(parts: list[bytes]) -> None:
    """A save has to add up only what it changed."""
    whole = adler32_of(map(sum_of, parts))
    assert whole == adler32(b"".join(parts))


def test_text_that_was_laid_out_anew_does_not_fit() -> None:
    """Its digest can't be checked any more, and whoever did it may have changed more than the layout."""
    raw = loads(text_of(MIDDLE))
    assert fits_digest(dumps(raw)) is True
    assert fits_digest(dumps(raw).replace(b"\n", b"\r\n")) is False
    assert fits_digest(dumps(raw).replace(b"  ", b" ")) is False
    del raw["extra"]["timelapsed"]["digest"]
    assert fits_digest(dumps(raw)) is False
    del raw["extra"]["timelapsed"]["uncertain"]  # an earlier version wrote neither
    assert fits_digest(dumps(raw)) is None


def test_sealed_text_fits_again() -> None:
    """What is changed by intent through our own code is no damage; a text without a digest gets none."""
    raw = loads(text_of(MIDDLE))
    changed = dumps({**raw, "next_idx": 1})
    assert fits_digest(changed) is False
    assert fits_digest(seal(changed)) is True
    assert loads(seal(changed))["next_idx"] == 1
    theirs = (STORES / f"{MIDDLE}.json").read_bytes()
    assert seal(theirs) == theirs


def test_keys_of_others_with_our_names_are_not_taken_for_ours() -> None:
    """They may stand at any depth, before and after ours."""
    digest = {"digest": "adler32:00000000"}
    raw = {**loads(text_of(MIDDLE)), "a": {"timelapsed": digest}, "z": digest}
    raw["extra"] |= {"config_snapshot": {**digest, "timelapsed": digest}, "zz": {"timelapsed": digest, **digest}}
    written = read(raw).encode()
    assert fits_digest(written) is True
    assert fits_digest(written.replace(b'"next_idx": ', b'"next_idx":  ')) is False


def test_damaged_store_is_read_as_altered(tmp_path) -> None:
    """The reader goes on with what is sound, and says that it may not be what was written."""
    path = tmp_path / "store.json"
    text = text_of(MIDDLE)
    for content, is_altered in ((text, False), (text.replace(b"2026", b"3026", 1), True)):
        path.write_bytes(content)
        loaded = load_timelapse(path, UTC)
        assert loaded is not None
        assert loaded.is_altered is is_altered


@pytest.mark.parametrize("name", [SMALL, MIDDLE])
def test_no_line_of_blanks_is_accepted_without_a_word(name: str) -> None:
    """Blanks are found whichever lines of a store they replace, the one of the digest included."""
    lines = text_of(name).splitlines(keepends=True)
    for first in range(len(lines)):
        for count in (1, 2, 3, 8):
            blank = [b" " * (len(line) - 1) + b"\n" for line in lines[first : first + count]]
            text = b"".join((*lines[:first], *blank, *lines[first + count :]))
            assert text == text_of(name) or fits_digest(text) is False or not accepted(text), (first, count)
