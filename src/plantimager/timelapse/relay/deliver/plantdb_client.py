"""Requests to PlantDB's server, which answers by its own rules: see `PlantDbClient.call`."""

from __future__ import annotations

import contextlib
import json
import re
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import httpx
from httpx import codes
from msgspec import Struct
from tenacity import (
    RetryError,
    Retrying,
    retry_if_result,
    sleep_using_event,
    stop_after_delay,
    stop_when_event_set,
    wait_exponential_jitter,
)

from plantimager.timelapse.datasets.plantdb_metadata import FILESET, FILESET_METADATA, OURS
from plantimager.timelapse.relay.deliver.delivery import ServerFailed, Unreachable
from plantimager.timelapse.relay.deliver.plantdb_answers import (
    GATEWAY_ERRORS,
    NO_VALUE,
    Copy,
    asks_for_login,
    fail,
    read_bounded,
    value_of,
    words_of,
)
from plantimager.timelapse.relay.http_exchange import HttpExchanges
from plantimager.timelapse.support.text import one_line

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import BinaryIO

    from plantimager.timelapse.relay.deliver.outgoing import OutgoingDataset, OutgoingFile
    from plantimager.timelapse.relay.deliver.pacing import TargetPace

PREFIX: Final = "/api/v1"
DIGEST: Final = "digest"
"""The key below `OURS` that tells the datasets of two rigs apart whose timelapses have one name and the same times."""


_SYSTEMS_OWN: Final = re.compile(r"^\[(Errno -?\d+|SSL: \w+)\] | \(_ssl\.c:\d+\)$")

_TOKEN: Final = re.compile(r"[!-~]+")

MAX_WAIT: Final = 20.0
MAX_WAITS: Final = 150.0
"""Seconds between two tries of a request that came too early, and in all; the server counts by the minute."""


class Account(Struct, frozen=True):
    """How the server knows us: by a name and its password, or by a token."""

    user: str = ""
    password: str = ""
    token: str = ""

    def __repr__(self) -> str:
        """Return a text without the secrets, which is safe in a log."""
        return f"Account({self.user})"


class PlantDbClient:
    """A connection to one server, on which nothing goes out that the ``pace`` forbids. One thread."""

    def __init__(self, url: str, account: Account, timeout: float, pace: TargetPace) -> None:
        """Make no connection yet.

        Raises
        ------
        Unreachable
            The token is none.
        """
        self._account, self._pace = account, pace
        self._token = _checked_token(account.token, "the api_token in the store") if account.token else ""
        self._was_in = False
        base_url = url.rstrip("/").removesuffix(PREFIX) + PREFIX
        self._http = HttpExchanges(timeout, pace.clock, pace.rate, base_url=base_url)
        self._too_early = Retrying(
            retry=retry_if_result(lambda answer: answer.status_code == codes.TOO_MANY_REQUESTS),
            wait=wait_exponential_jitter(initial=1, max=MAX_WAIT),
            stop=stop_after_delay(MAX_WAITS) | stop_when_event_set(pace.stop),
            sleep=sleep_using_event(pace.stop),
        )

    def close(self) -> None:
        """Log out, since the server has room for ten sessions, and close the connection."""
        if self._token and not self._account.token and not self._pace.is_barred:
            with (
                contextlib.suppress(httpx.HTTPError),
                self._http.stream("POST", "/auth/logout", headers=self._headers(), timeout=1),
            ):
                pass
        self._http.close()

    def call(
        self,
        method: str,
        path: str,
        contents: Callable[[], dict[str, Any]] = dict,
        take: Callable[[bytes], bool] | None = None,
        size: int = 0,
    ) -> httpx.Response:
        """Return the answer to a request, after a login where the server asks for one.

        It asks by 401, and by a 500 that speaks of the token. A request that came too early (429), or that a scan has
        cut off, is repeated. Each try has ``contents`` of its own, of ``size`` bytes, since a file can be sent once.
        ``take`` is given a good answer's body in pieces, and returns whether it wants more.

        Raises
        ------
        Unreachable
            No connection, no answer in time, no login, or an address or an environment that can't be used.
        Interrupted
            See `TargetPace.in_turn`.
        """
        if not self._token:
            self._log_in()
        exchange = partial(self._exchange, method, path, contents, take, size)
        answer = self._try(exchange)
        if asks_for_login(answer):
            self._log_in()
            answer = self._try(exchange)
            if asks_for_login(answer):
                raise Unreachable(f"{self._account.user or 'the token'} has no access: {words_of(answer)}")
        return answer

    def _try(self, exchange: Callable[[], httpx.Response]) -> httpx.Response:
        try:
            answer: httpx.Response = self._too_early(self._pace.in_turn, exchange)
        except RetryError:
            raise Unreachable("too many requests") from None
        except (httpx.HTTPError, UnicodeError) as problem:  # the latter of a host name or a token, which are foreign
            raise Unreachable(self._reason(problem)) from None
        if answer.status_code in GATEWAY_ERRORS:
            raise Unreachable(words_of(answer))
        return answer

    def _exchange(
        self,
        method: str,
        path: str,
        contents: Callable[[], dict[str, Any]],
        take: Callable[[bytes], bool] | None = None,
        size: int = 0,
    ) -> httpx.Response:
        """Send a request once; the answer is read whole unless it is given to ``take``."""
        with self._http.stream(
            method, path, size=size, check=self._pace.check, headers=self._headers(), **contents()
        ) as answer:
            if take is None or answer.status_code != codes.OK:
                return read_bounded(answer)
            all(map(take, answer.iter_raw()))
        return answer

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._token}"} if self._token else {}

    def _log_in(self) -> None:
        if self._account.token:
            raise Unreachable("the api_token in the store is not accepted (any more)")
        self._token = ""
        account = {"username": self._account.user, "password": self._account.password}
        answer = self._try(partial(self._exchange, "POST", "/auth/login", lambda: {"json": account}))
        if answer.status_code == codes.UNAUTHORIZED:
            raise Unreachable(self._refusal)
        try:
            token = str(answer.json()["access_token"])
        except NO_VALUE:
            raise Unreachable(f"no login: {words_of(answer)}") from None
        self._token = _checked_token(token, "the token of the server")
        self._was_in = True

    @property
    def _refusal(self) -> str:
        """What a refused login means: the server says "Invalid credentials" as well where it has no session free."""
        if self._was_in:
            return f"the server has its ten sessions in use, or {self._account.user} has another password by now"
        return f"{self._account.user} or its password is refused, or the server has its ten sessions in use"

    def _reason(self, problem: Exception) -> str:
        """Return why there is no answer, in words without numbers of the system."""
        if isinstance(problem, httpx.TimeoutException):
            return f"no answer within {self._http.timeout:g} s"
        text = _SYSTEMS_OWN.sub("", one_line(str(problem))) or type(problem).__name__
        return text[:1].lower() + text[1:]

    # --- what a delivery asks for -----------------------------------------------------------------

    def scan_metadata_there(self, scan_id: str) -> dict[str, Any] | None:
        """Return the metadata of a scan on the server; ``None`` where it has no such scan."""
        answer = self.call("GET", f"/scans/{scan_id}/metadata")
        if answer.status_code == codes.NOT_FOUND:
            return None
        metadata = value_of(answer, "metadata")
        return metadata if isinstance(metadata, dict) else {}

    def files_there(self, scan_id: str) -> list[str] | None:
        """Return the ids of the pictures that the server has of a scan; ``None`` where it has no fileset for them."""
        answer = self.call("GET", f"/filesets/{scan_id}/{FILESET}/files")
        if answer.status_code == codes.NOT_FOUND:
            return None
        files = value_of(answer, "files")
        if not isinstance(files, list):
            raise ServerFailed(f"the answer is none of PlantDB: {words_of(answer)}")
        return [name for name in files if isinstance(name, str)]

    def file_metadata_there(self, scan_id: str, file: OutgoingFile) -> dict[str, Any]:
        """Return the metadata of a picture on the server, empty where it has none."""
        answer = self.call("GET", f"{_file_path(scan_id, file)}/metadata")
        metadata = value_of(answer, "metadata") if answer.status_code == codes.OK else {}
        return metadata if isinstance(metadata, dict) else {}

    def create(self, dataset: OutgoingDataset) -> bool:
        """Make the scan and its fileset, where they aren't there; return whether both are new.

        A picture must follow at once.
        """
        ours = {**dataset.metadata[OURS], DIGEST: dataset.digest}
        scan = {"metadata": {**dataset.metadata, OURS: ours}}
        fileset = {"metadata": FILESET_METADATA}
        is_new = True
        for path, body in ((f"/scans/{dataset.scan_id}", scan), (f"/filesets/{dataset.scan_id}/{FILESET}", fileset)):
            answer = self.call("POST", path, partial(dict, json=body))
            if answer.status_code not in (codes.CREATED, codes.CONFLICT):
                fail(answer)
            is_new = is_new and answer.status_code == codes.CREATED
        return is_new

    def upload(self, scan_id: str, file: OutgoingFile, open_file: Callable[[], BinaryIO]) -> str:
        """Send a picture; return what the server says against it, empty where it has taken it.

        What it says proves nothing: `has_same` looks.
        """
        opened: list[BinaryIO] = []

        def contents() -> dict[str, Any]:
            opened.append(open_file())
            form = {"ext": file.extension, "metadata": json.dumps(dict(file.metadata))}
            return {"data": form, "files": {"file": (file.path.name, opened[-1], "application/octet-stream")}}

        try:
            answer = self.call("POST", _file_path(scan_id, file), contents, size=file.size)
        finally:
            for one in opened:
                one.close()
        return "" if answer.status_code == codes.CREATED else words_of(answer)

    def has_same(self, scan_id: str, file: OutgoingFile, *, by_length: bool) -> bool | None:
        """Return whether the server has a picture as it is here; ``None`` where it has none of that id."""
        path = _file_path(scan_id, file)
        if by_length:
            answer = self.call("HEAD", path)
            length = answer.headers.get("content-length", "")
            if answer.status_code == codes.OK:
                return bool(length == str(file.size))
        else:
            copy = Copy(file.size)
            answer = self.call("GET", path, take=copy.take)
            if answer.status_code == codes.OK:
                return copy.digest.hexdigest() == file.digest
        if answer.status_code != codes.NOT_FOUND:
            fail(answer)
        return None


def _checked_token(token: str, what: str) -> str:
    """Return a token that a header can hold: else the message of a library repeats it.

    Raises
    ------
    Unreachable
        It is none.
    """
    if not _TOKEN.fullmatch(token):
        raise Unreachable(f"{what} has characters that no token has, such as a space or the end of a line")
    return token


def _file_path(scan_id: str, file: OutgoingFile) -> str:
    return f"/files/{scan_id}/{FILESET}/{file.file_id}"
