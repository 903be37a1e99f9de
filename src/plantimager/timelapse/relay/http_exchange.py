"""HTTP exchanges that end.

httpx limits each wait alone, by which a peer that sends a byte a minute is never too slow; here all of them together
are limited, and another thread may cut them off.
"""

from __future__ import annotations

import re
import socket
import struct
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

import httpx

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from plantimager.timelapse.support.clock import Clock


_OUT_OF_DATE: Final = re.compile(r"certificate (is not yet valid|has expired)")
LEAST_SPEED: Final = 1000.0
"""Bytes per second that a connection must carry in the mean, beyond its first time-out. The slowest mobile ones do."""
LOOK: Final = 1.0
"""Seconds between two looks whether an exchange is to be cut off."""

_DROP_UNSENT: Final = struct.pack("ii", 1, 0)
"""SO_LINGER: what the system has not sent yet is dropped when the connection is closed."""
_CONNECTED: Final = (".connect_tcp.complete", ".start_tls.complete")
"""How the events of a new socket end; they begin with ``connection``, or with the kind of proxy."""


class TooSlow(httpx.TransportError):
    """An exchange had moved too little by its time."""


def least_speed(rate: float | None) -> float:
    """Return the bytes per second that are enough; ``rate`` are those that may be sent, ``None`` for any."""
    return LEAST_SPEED if rate is None else min(LEAST_SPEED, rate / 2)


class HttpExchanges:
    """A client of httpx. One thread; each exchange is watched by another as long as it takes."""

    def __init__(self, timeout: float, clock: Clock, rate: float | None = None, **options: Any) -> None:
        """Take the time-out of each wait, the rate at which the caller sends at most, and options of `httpx.Client`."""
        self.timeout, self.clock, self._speed = timeout, clock, least_speed(rate)
        self._options = options
        self._made: httpx.Client | None = None
        self._sockets: list[socket.socket] = []

    @contextmanager
    def stream(
        self, method: str, url: str, *, size: int = 0, check: Callable[[], None] = lambda: None, **contents: Any
    ) -> Iterator[httpx.Response]:
        """Send a request, and yield its answer, whose body is read with ``iter_raw``.

        ``size`` are the bytes that are sent. ``check``, called now and then on the watching thread, raises what is to
        end the exchange; so does a time-out in all, which grows with what was moved.

        Raises
        ------
        TooSlow, httpx.HTTPError
            No answer, or not all of it.
        """
        watch = _Watch(self, size, check)
        try:
            with watch, self._client().stream(method, url, extensions={"trace": self._trace}, **contents) as answer:
                watch.take(answer)
                yield answer
                if watch.reason is not None:  # an answer without a length ends as if it were whole
                    raise watch.reason
        except httpx.HTTPError as problem:
            raise watch.reason or self._by_clock(problem) from None

    def _client(self) -> httpx.Client:
        """Return the client of httpx, which the first request makes.

        Raises
        ------
        httpx.UnsupportedProtocol
            The address is none, or what the environment says of proxies and certificates can't be used.
        """
        if self._made is None:
            try:
                self._made = httpx.Client(timeout=self.timeout, **self._options)
            except httpx.InvalidURL:  # its words repeat what may be a part of a proxy's password
                raise httpx.UnsupportedProtocol("the url, or a proxy's in the environment, is none") from None
            except (ValueError, ImportError, OSError) as problem:
                sentence = f"the environment's proxy or SSL_CERT_FILE can't be used: {problem}"
                raise httpx.UnsupportedProtocol(sentence) from None
            # A small answer stays small, and a length is the file's.
            self._made.headers["Accept-Encoding"] = "identity"
        return self._made

    def _by_clock(self, problem: httpx.HTTPError) -> httpx.HTTPError:
        """Return a fault; one of a certificate's time names the clock, which may be the wrong one."""
        if found := _OUT_OF_DATE.search(str(problem)):
            clock = f"this machine's clock, which says {self.clock.now():%Y-%m-%d}"
            return httpx.ConnectError(f"the server's certificate {found[1]} by {clock}")
        return problem

    def allowed(self, moved: int) -> float:
        """Return the seconds that an exchange of so many bytes may take."""
        return self.timeout + moved / self._speed

    def cut(self) -> None:
        """End what is under way; what the system has not sent yet is never sent. Any thread."""
        for each in self._sockets:
            with suppress(OSError):  # it is closed already
                each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _DROP_UNSENT)
                socket.socket.shutdown(each, socket.SHUT_RDWR)  # not that of TLS, which isn't for two threads

    def close(self) -> None:
        """Close the connection."""
        if self._made is not None:
            self._made.close()

    def _trace(self, event: str, about: dict[str, Any]) -> None:
        """Take note of connections as httpx makes them, and leave nothing of a request on its way that has failed."""
        if event.endswith(_CONNECTED):
            self._sockets = [one for one in self._sockets if one.fileno() >= 0]
            self._sockets.append(about["return_value"].get_extra_info("socket"))
        elif event.endswith(".failed"):
            self.cut()


class _Watch:
    """The thread beside one exchange that cuts it off."""

    def __init__(self, exchanges: HttpExchanges, size: int, check: Callable[[], None]) -> None:
        self._exchanges, self._size, self._check = exchanges, size, check
        self._over, self._began = threading.Event(), exchanges.clock.monotonic()
        self._answer: httpx.Response | None = None
        self.reason: Exception | None = None
        """Why it was cut off."""

    def __enter__(self) -> None:
        threading.Thread(target=self._run, daemon=True).start()

    def __exit__(self, *_: object) -> None:
        self._over.set()

    def take(self, answer: httpx.Response) -> None:
        """Count what is read of the answer from now on."""
        self._answer = answer

    def _run(self) -> None:
        while not self._over.wait(LOOK):  # again and again: the connection may be made later
            try:
                self._check()
                self._check_speed()
            except Exception as problem:  # noqa: BLE001 - it is raised on the thread of the exchange
                self.reason = self.reason or problem
                self._exchanges.cut()

    def _check_speed(self) -> None:
        moved = self._size + (self._answer.num_bytes_downloaded if self._answer is not None else 0)
        seconds = self._exchanges.clock.monotonic() - self._began
        if seconds > self._exchanges.allowed(moved) + LOOK:  # a single wait that is too long ends by itself before
            raise TooSlow(f"the exchange was not over after {seconds:.0f} s")
