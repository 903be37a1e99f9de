"""A message on the control socket: one line of JSON, then the bytes of files whose lengths the line counts.

Both directions have the same form. What comes from the other side is not trusted: it is read within limits, and in a
time that grows with its length alone.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct

from plantimager.timelapse.support.errors import TimelapsedError
from plantimager.timelapse.support.json_text import load

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PROTOCOL_VERSION: Final = 1
"""Of what is said on the socket; a daemon that was updated may meet a command of before, and the other way round."""

MAX_REQUEST_LINE_BYTES: Final = 2**16
"""The line of a request holds a command and a few names."""
MAX_ANSWER_LINE_BYTES: Final = 2**20
"""That of an answer may hold the live status, or the faults of many definitions."""
MAX_FILES: Final = 64
CHUNK_BYTES: Final = 2**16
"""Read from the socket at a time, and written to it."""


class MessageFaulty(TimelapsedError):
    """What came over the socket can't be understood, so nothing is done about it."""


class ControlMessage(Struct, frozen=True):
    """One message, whole."""

    line: Mapping[str, Any]
    """The JSON object."""
    files: tuple[bytes, ...] = ()


def encode_message(line: Mapping[str, Any], files: Sequence[bytes] = ()) -> list[bytes]:
    """Return the pieces of a message, to be sent one after the other. A value that JSON doesn't have becomes a text."""
    counted = {"version": PROTOCOL_VERSION, **line, "files": [len(content) for content in files]}
    return [json.dumps(counted, default=str).encode() + b"\n", *files]


class MessageReader:
    """Puts a message together from the bytes as they come."""

    def __init__(self, max_line: int = MAX_REQUEST_LINE_BYTES, max_files_bytes: int = 0) -> None:
        self._max_line, self._max_files_bytes = max_line, max_files_bytes
        self._came = bytearray()
        self._line: dict[str, Any] | None = None
        self._lengths: tuple[int, ...] = ()

    @property
    def size(self) -> int:
        """How many bytes are kept, of those that have come."""
        return len(self._came)

    def feed(self, more: bytes) -> ControlMessage | None:
        """Take the next bytes; return the message once it is whole. Bytes behind its end are left out.

        Raises
        ------
        MessageFaulty
            This is no message, or one beyond the limits.
        """
        begin = len(self._came)
        self._came += more
        if self._line is None:
            end = self._came.find(b"\n", begin)
            if max(end, len(self._came) if end < 0 else 0) > self._max_line:
                raise MessageFaulty(f"the line is longer than {self._max_line} bytes")
            if end < 0:
                return None
            self._line = _read_line(bytes(self._came[:end]))
            self._lengths = self._read_lengths(self._line.pop("files", []))
            del self._came[: end + 1]
        if len(self._came) < sum(self._lengths):
            return None
        files, start = [], 0
        for length in self._lengths:
            files.append(bytes(self._came[start : start + length]))
            start += length
        return ControlMessage(self._line, tuple(files))

    def _read_lengths(self, value: object) -> tuple[int, ...]:
        if not isinstance(value, list) or len(value) > MAX_FILES or any(type(n) is not int or n < 0 for n in value):
            raise MessageFaulty("files: write the lengths of the files that follow")
        if sum(value) > self._max_files_bytes:
            raise MessageFaulty(f"the files have {sum(value)} bytes, at most {self._max_files_bytes} are taken")
        return tuple(value)


def _read_line(text: bytes) -> dict[str, Any]:
    try:
        value = load(text).value
    except ValueError as problem:
        raise MessageFaulty(f"not JSON: {problem}") from None
    if not isinstance(value, dict):
        raise MessageFaulty("not a JSON object")
    return value
