"""An exchange with a server ends, whatever that does, and is cut off when it has to be."""

import socket
import ssl
import threading
from contextlib import closing

import httpx
import pytest
from descriptors import open_files

from plantimager.timelapse.relay import http_exchange
from plantimager.timelapse.relay.http_exchange import LEAST_SPEED, HttpExchanges, TooSlow, least_speed
from plantimager.timelapse.support.clock import SystemClock

TIMEOUT = 0.4
PROMPT = 0.02
"""Seconds between two looks of these tests, and between two pieces of a slow peer."""
LITTLE = 1 << 15
"""Bytes that a peer's system takes before the peer reads them, or about so many."""
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
WHOLE = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc"

KEY = """\
-----BEGIN EC PRIVATE KEY-----
MHcCAQEEICxmRMnxpFJ753mHobVnxtqDVWlDeTD4oddcCdfJaihgoAoGCCqGSM49
AwEHoUQDQgAEu0PrQrI5HKPEIII5fLkUalTioAy/B1LLN11GoMlsZx3ryI5oMri7
WuS1hleUbFN4hSjJihaUjlcGlfSo2TwfAQ==
-----END EC PRIVATE KEY-----
"""
"""Of nothing but these two certificates of 127.0.0.1, which sign themselves."""
EARLY = """\
-----BEGIN CERTIFICATE-----
MIIBUTCB+KADAgECAgEBMAoGCCqGSM49BAMCMA4xDDAKBgNVBAMMA3JpZzAiGA8y
MDkwMDEwMTAwMDAwMFoYDzIwOTkxMjMxMDAwMDAwWjAOMQwwCgYDVQQDDANyaWcw
WTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAAS7Q+tCsjkco8Qggjl8uRRqVOKgDL8H
Uss3XUagyWxnHevIjmgyuLta5LWGV5RsU3iFKMmKFpSOVwaV9KjZPB8Bo0MwQTAP
BgNVHREECDAGhwR/AAABMA8GA1UdEwEB/wQFMAMBAf8wHQYDVR0OBBYEFNHa1ltn
3zv/sOfmQiuXkKGGVdgPMAoGCCqGSM49BAMCA0gAMEUCIQDuHc3SQ1nSVEAVVjDQ
smOJHA25yoXrEpZYYpbkgCJkhgIgBcewOg6/zleBwJ7S0KgI6kHPq+echv5tHhSx
KIO3K2k=
-----END CERTIFICATE-----
"""
"""From 2090 on."""
LATE = """\
-----BEGIN CERTIFICATE-----
MIIBTTCB9KADAgECAgEBMAoGCCqGSM49BAMCMA4xDDAKBgNVBAMMA3JpZzAeFw0y
MDAxMDEwMDAwMDBaFw0yMDEyMzEwMDAwMDBaMA4xDDAKBgNVBAMMA3JpZzBZMBMG
ByqGSM49AgEGCCqGSM49AwEHA0IABLtD60KyORyjxCCCOXy5FGpU4qAMvwdSyzdd
RqDJbGcd68iOaDK4u1rktYZXlGxTeIUoyYoWlI5XBpX0qNk8HwGjQzBBMA8GA1Ud
EQQIMAaHBH8AAAEwDwYDVR0TAQH/BAUwAwEB/zAdBgNVHQ4EFgQU0drWW2ffO/+w
5+ZCK5eQoYZV2A8wCgYIKoZIzj0EAwIDSAAwRQIhAPv3cy5hsaDgMMgLXnQlIxjx
4O3oaup7bXwhnWkHefNcAiAYUVZ0gjmkKyc3t7SPZvMBLaK9t/Gi6zBwDtw4RdBc
Ig==
-----END CERTIFICATE-----
"""
"""Until 2020."""


@pytest.fixture(autouse=True)
def _often(monkeypatch):
    monkeypatch.setattr(http_exchange, "LOOK", PROMPT)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def connect():
    """Return a function that makes a client."""
    made = []

    def connect(timeout=60.0, rate=None, **options):
        made.append(HttpExchanges(timeout, clock, rate, **options))
        return made[-1]

    with closing(SystemClock()) as clock:
        yield connect
    for each in made:
        each.close()


class Peer:
    """A server of one connection, on a thread: ``serve`` is its part, and `over` the end of the test."""

    def __init__(self, serve):
        self.over, self.ended = threading.Event(), threading.Event()
        self.heard = bytearray()
        self._serve = serve
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, LITTLE)
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen()
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self._thread.join(60)
        self._listener.close()

    def _run(self):
        connection, _ = self._listener.accept()
        with connection:
            try:
                self._serve(self, connection)
            except OSError:  # who asked has gone
                self.ended.set()


def dripping(at_once, drip):
    """Return the part of a server that answers something at once, and the rest in drips."""

    def serve(peer, connection):
        peer.heard += connection.recv(1 << 16)
        connection.sendall(at_once)
        while not peer.over.wait(PROMPT):
            connection.sendall(drip)

    return serve


def slow(peer, connection):
    """Take a request in pieces."""
    while not peer.over.wait(PROMPT):
        connection.recv(LITTLE)


def read(exchanges, peer, **about):
    """Read an answer to its end."""
    with exchanges.stream("GET", peer.url, **about) as answer:
        return b"".join(answer.iter_raw())


@pytest.mark.parametrize(
    ("at_once", "drip"),
    [(b"", b"H"), (b"HTTP/1.1 200 OK\r\nX: ", b"x"), (HEAD, b"x"), (CHUNKED, b"1\r\nx\r\n")],
    ids=["status", "header", "body", "chunks"],
)
def test_an_answer_in_drips_is_too_slow(connect, at_once, drip):
    """Each byte comes within the time-out of httpx, and all of them together never."""
    with Peer(dripping(at_once, drip)) as peer, pytest.raises(TooSlow, match="not over after"):
        read(connect(TIMEOUT), peer)


def test_an_upload_that_is_taken_in_drips_is_too_slow(connect, monkeypatch):
    """It has the time that its bytes may take at the least speed, and no more."""
    n_pieces = 10_000
    monkeypatch.setattr(http_exchange, "LEAST_SPEED", n_pieces * LITTLE / TIMEOUT)
    exchanges = connect(TIMEOUT)
    with (
        Peer(slow) as peer,
        pytest.raises(TooSlow),
        exchanges.stream("POST", peer.url, size=n_pieces * LITTLE, content=iter([bytes(LITTLE)] * n_pieces)),
    ):
        pass


def test_time_grows_with_what_is_moved_and_with_a_low_rate(connect):
    """A large picture over a slow line is no fault; nor is one over a line that a person makes slow."""
    assert connect().allowed(0) == 60
    assert connect().allowed(5_000_000) == 60 + 5_000_000 / LEAST_SPEED
    assert connect(rate=100).allowed(5000) == 160
    assert least_speed(10**9) == LEAST_SPEED


class Busy(Exception):
    """A reason to send nothing."""


OF_UNKNOWN_LENGTH = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nabc"
"""The beginning of an answer whose end is that of the connection: cut off, it looks whole."""


@pytest.mark.parametrize(
    ("at_once", "drip"),
    [(b"", b""), (HEAD, b""), (OF_UNKNOWN_LENGTH, b"x")],
    ids=["before the answer", "in it", "in one of unknown length"],
)
def test_what_is_under_way_is_cut_off(connect, at_once, drip):
    """Though no wait of it is over; the reason is raised where it was sent, and nothing counts as whole."""

    def check():
        if peer.heard:
            raise Busy

    with Peer(dripping(at_once, drip)) as peer, pytest.raises(Busy):
        read(connect(), peer, check=check)


def tls(side):
    """Return a context of TLS without certificates, for a peer on this host."""
    context = ssl.SSLContext(side)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("AECDH:@SECLEVEL=0")
    if side is ssl.PROTOCOL_TLS_CLIENT:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


@pytest.mark.parametrize(("certificate", "why"), [(EARLY, "is not yet valid"), (LATE, "has expired")])
def test_a_certificate_of_another_time_names_the_clock(connect, tmp_path, monkeypatch, certificate, why):
    """A rig without a battery wakes up in 1970, or where its last shutdown was; the server is all right."""
    trusted, own = tmp_path / "trusted.pem", tmp_path / "own.pem"
    trusted.write_text(certificate)
    own.write_text(KEY + certificate)
    monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(own)

    def serve(_, connection):
        context.wrap_socket(connection, server_side=True)

    exchanges = connect()
    with Peer(serve) as peer:
        peer.url = peer.url.replace("http:", "https:")
        with pytest.raises(httpx.HTTPError) as told:
            read(exchanges, peer)
    clock = f"this machine's clock, which says {exchanges.clock.now():%Y-%m-%d}"
    assert str(told.value) == f"the server's certificate {why} by {clock}"


def test_a_socks_proxy_of_the_environment_is_used_and_cut_off(connect, monkeypatch):
    """A site may let its machines out by nothing else; the name of the server is looked up there."""
    monkeypatch.delenv("NO_PROXY")

    def check():
        if b"GET / HTTP" in peer.heard:
            raise Busy

    def serve(peer, connection):
        for answer in (b"\5\0", b"\5\0\0\1" + bytes(6), HEAD):
            peer.heard += connection.recv(1 << 16)
            connection.sendall(answer)
        peer.over.wait(60)

    with Peer(serve) as peer:
        monkeypatch.setenv("ALL_PROXY", peer.url.replace("http:", "socks5:"))
        with pytest.raises(Busy), connect().stream("GET", "http://plantdb.invalid/", check=check) as answer:
            answer.read()
    assert b"plantdb.invalid" in peer.heard


@pytest.mark.parametrize(("variable", "value"), [("ALL_PROXY", "ftp://h"), ("SSL_CERT_FILE", "/nonexistent")])
def test_an_environment_that_cannot_be_used_is_a_fault_of_the_request(connect, monkeypatch, variable, value):
    """It ends neither a relay that starts nor its other sinks."""
    monkeypatch.setenv(variable, value)
    with pytest.raises(httpx.HTTPError, match="environment"), connect().stream("GET", "https://plantdb.invalid/"):
        pass


def test_what_goes_through_a_proxy_is_cut_off(connect):
    """A site's proxy connects to the server, and sees nothing of what it passes on."""
    sent = []

    def check():
        if sent:
            raise Busy

    def serve(peer, connection):
        connection.recv(1 << 16)
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        with tls(ssl.PROTOCOL_TLS_SERVER).wrap_socket(connection, server_side=True) as inner:
            inner.recv(1 << 16)
            inner.sendall(HEAD)
            while len(sent) < 100 and not peer.over.wait(PROMPT):
                inner.sendall(b"x")
                sent.append(b"x")

    with Peer(serve) as peer:
        exchanges = connect(proxy=peer.url, verify=tls(ssl.PROTOCOL_TLS_CLIENT))
        with pytest.raises(Busy), exchanges.stream("GET", "https://plantdb.invalid/", check=check) as answer:
            answer.read()
    assert len(sent) < 50


def test_of_a_request_that_fails_nothing_is_sent_later(connect):
    """What the system holds ready for the network is dropped."""
    size, failed = 20 * LITTLE, threading.Event()

    def content():
        yield bytes(size)
        raise Busy

    def serve(peer, connection):
        failed.wait(60)
        while piece := connection.recv(1 << 16):
            peer.heard += piece
        peer.ended.set()

    with Peer(serve) as peer:
        with pytest.raises(Busy), connect().stream("POST", peer.url, content=content()):
            pass
        failed.set()
        assert peer.ended.wait(60)
    assert len(peer.heard) < size


def test_no_answer_is_asked_for_compressed(connect):
    """A few bytes that unfold to gigabytes stay a few bytes, and the length of a file is that of the file."""
    with Peer(dripping(WHOLE, b"")) as peer:
        assert read(connect(), peer) == b"abc"
    assert b"accept-encoding: identity\r\n" in bytes(peer.heard).lower()


def test_a_fault_of_the_connection_is_the_library_s_own(connect):
    """Nobody cut it off."""
    with Peer(lambda _, connection: connection.recv(1 << 16)) as peer, pytest.raises(httpx.RemoteProtocolError):
        read(connect(), peer)


def test_exchanges_leave_no_file_open(connect):
    """A relay makes some each minute for years."""

    def serve(peer, connection):
        while connection.recv(1 << 16):
            connection.sendall(WHOLE)

    with Peer(serve) as peer:
        exchanges = connect()
        read(exchanges, peer)
        before = open_files()
        for _ in range(50):
            read(exchanges, peer)
        assert open_files() - before == set()
        exchanges.close()
