"""What is foreign in a request, the URL and the token, makes the server unreachable, and is no mistake of ours."""

import threading

import pytest

from plantimager.timelapse.relay.plantdb_client import Account, PlantDbClient, Unreachable


@pytest.mark.parametrize(
    ("url", "token"),
    [
        ("http://h:abc", "t"),
        ("http://[::1", "t"),
        ("http://h\x01", "t"),
        (f"http://{'a' * 70}", "t"),
        ("db.example.org:5000", "t"),
        ("http://127.0.0.1:99999", "t"),
        ("http://127.0.0.1:1", "ä\n"),
    ],
)
def test_a_url_or_a_token_that_is_none_is_an_unreachable_server(url, token):
    """As the community's controller may have left them in the store."""
    with pytest.raises(Unreachable):
        PlantDbClient(url, Account(token=token), 1, threading.Event()).call("GET", "/scans")
