"""Messages of the control socket, put together from what comes in any pieces."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plantimager.timelapse.channel.message import MAX_FILES, MessageFaulty, MessageReader, encode_message

LIMIT = 1000


@given(st.lists(st.binary(max_size=50), max_size=5), st.integers(1, 40), st.binary(max_size=9))
def test_message_is_whole_at_its_last_byte(files, size, rest):
    """However it is cut, and whatever comes behind it."""
    text = b"".join(encode_message({"command": "x", "text": "ö\n"}, files))
    reader, came = MessageReader(max_files_bytes=LIMIT), None
    for start in range(0, len(text), size):
        assert came is None
        came = reader.feed(text[start : start + size] + (rest if start + size >= len(text) else b""))
    assert (came.line, came.files) == ({"version": 1, "command": "x", "text": "ö\n"}, tuple(files))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (b"{\n", "not JSON"),
        (b"\xff\n", "not JSON"),
        (b"[]\n", "not a JSON object"),
        (b"3\n", "not a JSON object"),
        (b"\n", "not JSON"),
        (b"[" * 60_000 + b"\n", "not JSON"),
        (b'{"x":' * 10_000 + b"\n", "not JSON"),
        (b"x" * 2**17, "longer than 65536 bytes"),
        (b'{"x":"' + b"x" * 2**17 + b'"}\n', "longer than 65536 bytes"),
        (b'{"files": 3}\n', "write the lengths"),
        (b'{"files": [-1]}\n', "write the lengths"),
        (b'{"files": [true]}\n', "write the lengths"),
        (b'{"files": [1.5]}\n', "write the lengths"),
        (b'{"files": [1000000000000000000000000000000]}\n', "at most 1000"),
        (b'{"files": [600, 600]}\n', "at most 1000"),
        (b'{"files": [%s]}\n' % b", ".join([b"0"] * (MAX_FILES + 1)), "write the lengths"),
    ],
)
def test_what_is_no_message_is_refused(text, problem):
    """As soon as that is certain, in one line."""
    with pytest.raises(MessageFaulty, match=problem) as refused:
        MessageReader(max_files_bytes=LIMIT).feed(text)
    assert str(refused.value).isprintable()
