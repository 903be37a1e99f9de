"""What is foreign in a request, the URL and the token, makes the server unreachable, and is no mistake of ours."""

import contextlib
import hashlib
import http.server
import json
import socket
import threading
from pathlib import Path

import pytest

from plantimager.timelapse.relay.credentials import Secret
from plantimager.timelapse.relay.deliver.delivery import ServerFailed
from plantimager.timelapse.relay.deliver.outgoing import OutgoingFile
from plantimager.timelapse.relay.deliver.pacing import TargetPace
from plantimager.timelapse.relay.deliver.plantdb_answers import MAX_ANSWER
from plantimager.timelapse.relay.deliver.plantdb_client import Account, PlantDbClient, Unreachable
from plantimager.timelapse.relay.deliver.plantdb_delivery import PlantDbDelivery
from plantimager.timelapse.settings.deliver_config import DeliverTarget
from plantimager.timelapse.support.clock import SystemClock

PASSWORD = "hunter2-secret"
LOGIN = (200, {}, b'{"access_token": "t0ken"}')


@pytest.fixture(autouse=True)
def _without_proxy(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,::1")


class Answering:
    """A server that answers every request with the same, but a login with a token; it keeps what it was asked."""

    def __init__(self, *answer, address="127.0.0.1", login=LOGIN):
        self.requests = []
        peer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                peer.requests.append(f"{self.command} {self.path}")
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                code, headers, body = login if self.path.endswith("/login") else answer
                with contextlib.suppress(OSError):  # who asked may have had enough
                    self.send_response(code)
                    for name, value in headers.items():
                        self.send_header(name, value)
                    self.end_headers()
                    self.wfile.write(body)

            do_POST = do_HEAD = do_GET  # noqa: N815 - its protocol

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            address_family = socket.AF_INET6 if ":" in address else socket.AF_INET

        self._server = Server((address, 0), Handler)
        host = f"[{address}]" if ":" in address else address
        self.url = f"http://{host}:{self._server.server_address[1]}"

    def __enter__(self):
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()


def client_of(url):
    return PlantDbClient(url, Account("rig", PASSWORD), 20, TargetPace(SystemClock(), threading.Event()))


@pytest.mark.parametrize(
    ("url", "token"),
    [
        ("http://h:abc", "t"),
        ("http://[::1", "t"),
        ("http://h\x01", "t"),
        (f"http://{'a' * 70}", "t"),
        ("db.example.org:5000", "t"),
        ("http://127.0.0.1:99999", "t"),
    ],
)
def test_a_url_or_a_token_that_is_none_is_an_unreachable_server(url, token):
    """As the community's controller may have left them in the store."""
    with pytest.raises(Unreachable):
        PlantDbClient(url, Account(token=token), 1, TargetPace(SystemClock(), threading.Event())).call("GET", "/scans")


@pytest.mark.parametrize("token", ["t0ken-secret\n", "ä-t0ken-secret", "t0ken secret"])
def test_a_token_that_fits_no_header_is_never_repeated(token):
    """It was written into the store with a newline, perhaps, or comes from a server that is none of PlantDB."""
    with Answering(200, {}, b"{}", login=(200, {}, json.dumps({"access_token": token}).encode())) as server:
        for account in (Account(token=token), Account("rig", PASSWORD)):
            with pytest.raises(Unreachable) as problem:
                PlantDbClient(server.url, account, 5, TargetPace(SystemClock(), threading.Event())).call(
                    "GET", "/scans"
                )
            assert "characters that no token has" in str(problem.value)
            assert "secret" not in str(problem.value)


@pytest.mark.parametrize(
    ("words", "n_logins"), [("Not enough segments", 2), ("no segments of the picture were found", 1)]
)
def test_a_500_asks_for_a_login_only_where_it_speaks_of_the_token(words, n_logins):
    """Any other is a fault of the server with this dataset, which doesn't stop the rest."""
    with Answering(500, {}, json.dumps({"error": words}).encode()) as server, contextlib.suppress(Unreachable):
        client_of(server.url).call("GET", "/scans")
    assert sum(request.endswith("/login") for request in server.requests) == n_logins


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("ALL_PROXY", "socks6://127.0.0.1:2"),
        ("HTTP_PROXY", "ftp://127.0.0.1:2"),
        ("HTTP_PROXY", "http://[::1"),
        ("SSL_CERT_FILE", "/nonexistent/ca.pem"),
        ("SSL_CERT_FILE", "/dev/null"),
    ],
)
def test_variables_of_the_environment_that_cannot_be_used_are_named(monkeypatch, variable, value):
    """They are no mistake of ours, and no dataset is called gone for a missing file of certificates."""
    monkeypatch.setenv(variable, value)
    with pytest.raises(Unreachable, match="environment"):
        client_of("https://db.example.org").call("GET", "/scans")


@pytest.mark.parametrize(
    "url_of", [lambda url: url, lambda url: f"{url}/", lambda url: f"{url}/api/v1", lambda url: f"{url}/api/v1/"]
)
@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_a_url_may_end_in_any_way(address, url_of):
    """With a slash or the prefix of the calls, also with an IPv6 address."""
    try:
        server = Answering(404, {}, b"{}", address=address)
    except OSError:
        pytest.skip("this host has no IPv6")
    with server:
        assert client_of(url_of(server.url)).scan_metadata_there("tl_0") is None
    assert server.requests == ["POST /api/v1/auth/login", "GET /api/v1/scans/tl_0/metadata"]


@pytest.mark.parametrize(
    "body",
    [b"<html>welcome", b"", b"[]", b"5", b"{}", b"\xff", b"[" * 100_000, b'{"files": 5}', b'{"files": {"a": 1}}'],
)
def test_whatever_is_answered_with_200_instead_of_an_answer_is_the_server_s_fault(body):
    """As by the login page of a network: never taken for an answer, and no mistake of ours."""
    with Answering(200, {}, body) as server:
        client = client_of(server.url)
        with pytest.raises(ServerFailed, match="none of PlantDB"):
            client.files_there("tl_0")
    with Answering(404, {}, b"", login=(200, {}, body)) as server, pytest.raises(Unreachable, match="no login"):
        client_of(server.url).files_there("tl_0")


def test_no_password_or_token_follows_a_redirect_to_another_host():
    """A person is told the address, without what may be secret in it, and writes it where it is right."""
    with Answering(*LOGIN) as other:
        moved = 302, {"Location": f"{other.url}/x?key=s3cret"}, b""
        with (
            Answering(*moved) as server,
            pytest.raises(ServerFailed, match=f"302, another address: {other.url}/x; ") as told,
        ):
            client_of(server.url).files_there("tl_0")
        with Answering(*moved, login=moved) as server, pytest.raises(Unreachable, match="another address"):
            client_of(server.url).files_there("tl_0")
    assert other.requests == []
    assert "s3cret" not in str(told.value)


def test_an_answer_without_an_end_is_not_kept_in_memory():
    """Only pictures may be large, and are never kept."""
    with (
        Answering(200, {}, b" " * (MAX_ANSWER + (1 << 20))) as server,
        pytest.raises(Unreachable, match="without an end"),
    ):
        client_of(server.url).files_there("tl_0")


def test_a_picture_without_an_end_is_another_picture(tmp_path):
    """It is read no further than it takes to see that."""
    picture = tmp_path / "a.jpg"
    picture.write_bytes(b"ours")
    file = OutgoingFile("a", picture, "jpg", 4, hashlib.sha256(b"ours").hexdigest(), {})
    with Answering(200, {"Transfer-Encoding": "chunked"}, b"4\r\nours\r\n" * 10**6) as server:
        client = client_of(server.url)
        assert client.has_same("tl_0", file, by_length=False) is False
        client.close()


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "ALL_PROXY"])
def test_no_part_of_a_proxy_s_password_is_repeated(monkeypatch, variable):
    """A fault in its address comes with words of the library that have one."""
    monkeypatch.setenv(variable, "http://rig:s3cret/word@proxy.example.org:3128")
    with pytest.raises(Unreachable) as told:
        client_of("http://db.example.org").call("GET", "/scans")
    assert "s3cret" not in str(told.value)


@pytest.mark.parametrize("url", ["http://rig:s3cret@h", "http://rig:s3cret/word@h", "http://s3cret@h:x"])
def test_no_password_in_the_store_s_url_is_repeated(url):
    """The community's controller may have left one there."""
    delivery = PlantDbDelivery(DeliverTarget(), Secret(Path(), ""))
    pace = TargetPace(SystemClock(), threading.Event())
    with pytest.raises(Unreachable, match="has a user or a password in it") as told:
        delivery._client_to({"db_url": url, "api_token": "t"}, pace)
    assert "s3cret" not in str(told.value)


def test_a_fault_of_tls_is_said_in_words():
    """Without the numbers of the library."""
    with Answering(404, {}, b"") as server, pytest.raises(Unreachable) as told:
        client_of(server.url.replace("http:", "https:")).files_there("tl_0")
    assert "ssl" not in str(told.value)
    assert "[" not in str(told.value)
