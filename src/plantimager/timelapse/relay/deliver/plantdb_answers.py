"""The answers of PlantDB's server: which of them asks for a login, and what they say in words."""

from __future__ import annotations

import hashlib
import re
from typing import Any, Final, NoReturn

import httpx
from httpx import codes

from plantimager.timelapse.relay.deliver.delivery import FULL, NO_ROOM, ServerFailed
from plantimager.timelapse.support.text import one_line

GATEWAY_ERRORS: Final = range(502, 505)
"""What a proxy answers for a server that is not there."""

_LOGIN_NEEDED: Final = re.compile(r"Signature|not active|Not enough segments")
"""In the text of a 500: the token has expired, is unknown since the server restarted, or is none."""

NO_VALUE: Final = (ValueError, KeyError, TypeError, RecursionError)
"""What an answer that isn't the JSON of PlantDB raises."""
MAX_ANSWER: Final = 1 << 25
"""Bytes of an answer that is kept in memory: metadata and lists; pictures aren't."""
MAX_WORDS: Final = 200
"""The part of an answer that is repeated."""


def asks_for_login(answer: httpx.Response) -> bool:
    """Return whether an answer means that the token is none, or none any more."""
    if answer.status_code == codes.UNAUTHORIZED:
        return True
    if answer.request.method == "HEAD":  # its errors have no text
        return answer.status_code == codes.INTERNAL_SERVER_ERROR
    return answer.status_code == codes.INTERNAL_SERVER_ERROR and _LOGIN_NEEDED.search(words_of(answer)) is not None


def read_bounded(answer: httpx.Response) -> httpx.Response:
    """Return an answer with its body in memory, as it was sent: none is asked for compressed.

    Raises
    ------
    httpx.HTTPError
        It is larger than anything that PlantDB says, or cut off.
    """
    body = bytearray()
    for piece in answer.iter_raw():
        body += piece
        if len(body) > MAX_ANSWER:
            raise httpx.ReadError("an answer without an end")
    headers = [(name, value) for name, value in answer.headers.raw if name.lower() != b"content-encoding"]
    return httpx.Response(answer.status_code, headers=headers, content=bytes(body), request=answer.request)


def words_of(answer: httpx.Response) -> str:
    """Return what the server says of an error, with the number of its kind."""
    if answer.has_redirect_location:
        place = answer.headers["location"].partition("?")[0]
        return f"{answer.status_code}, another address: {one_line(place)[:MAX_WORDS]}; is that the url to write?"
    try:
        words = str(answer.json()["error"])
    except NO_VALUE:
        words = answer.text
    return f"{f'{FULL}; ' * bool(NO_ROOM.search(words))}{answer.status_code} {one_line(words)[:MAX_WORDS]}"


def value_of(answer: httpx.Response, key: str) -> Any:
    """Return a value of a good answer.

    Raises
    ------
    ServerFailed
        It isn't good, or has none.
    """
    if answer.status_code != codes.OK:
        fail(answer)
    try:
        return answer.json()[key]
    except NO_VALUE:
        raise ServerFailed(f"the answer is none of PlantDB: {words_of(answer)}") from None


def fail(answer: httpx.Response) -> NoReturn:
    """Raise `ServerFailed` with what an answer says."""
    raise ServerFailed(f"{answer.request.method} {answer.request.url.path}: {words_of(answer)}")


class Copy:
    """The digest of a picture as the server has it: of no more than it takes to see that it is a longer one."""

    def __init__(self, size: int) -> None:
        self.digest, self._left = hashlib.sha256(), size

    def take(self, piece: bytes) -> bool:
        """Take the next bytes; return whether more may follow."""
        self.digest.update(piece)
        self._left -= len(piece)
        return self._left >= 0
