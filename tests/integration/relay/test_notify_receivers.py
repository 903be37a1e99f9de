"""A service with several receivers in its one URL isn't sent the same for ever, where one of them refuses."""

import threading
from datetime import UTC, datetime, timedelta

import pytest

from plantimager.timelapse.relay.notify.messenger import MAY_HAVE_ARRIVED, Service
from plantimager.timelapse.relay.notify.outbox import MAX_UNKNOWN, Outbox
from plantimager.timelapse.relay.notify.told import Message, Told, read_told
from plantimager.timelapse.settings.relay_config import NotifySettings
from plantimager.timelapse.support.clock import SystemClock

MESSAGE = Message(datetime(2026, 6, 22, 8, tzinfo=UTC), "bench: slot 8 failed", "why")


@pytest.fixture
def try_again(tmp_path):
    """Return what tries once more to send to a URL what waits for it, and says why that failed."""

    def send(url):
        settings = NotifySettings(gather=timedelta.resolution)
        box = Outbox(tmp_path / "ledger", [Service("it", url)], "bench", settings, SystemClock())
        told = box.load()
        if told is None:
            box.add(MESSAGE, Told())
        box.send_waiting(threading.Event(), lambda _: b"")
        return box.status.trouble

    return send


@pytest.fixture
def refused(mail):
    """Return whom the mail server refuses: Ben."""
    refused = {"ben@example.org"}

    async def handle_rcpt(_server, _session, envelope, address, _options):
        if address in refused:
            return "550 no such user"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    mail.handle_RCPT = handle_rcpt
    return refused


@pytest.mark.usefixtures("refused")
def test_who_took_a_mail_that_another_refused_is_sent_it_five_times_at_most(tmp_path, mail, try_again):
    """Apprise says of the two that it failed; the message is given up, and the next one says that there was one."""
    url = mail.url.replace("to=ada@", "to=anna@example.org,ben@")
    problems = [try_again(url) for _ in range(MAX_UNKNOWN + 1)]
    assert mail.mails.qsize() == MAX_UNKNOWN
    assert all(problem.startswith("it: not taken by all receivers: ") for problem in problems[:MAX_UNKNOWN])
    assert "ben" not in "".join(problems)
    (waiting,) = read_told(tmp_path / "ledger").waiting.values()
    assert (waiting.messages, waiting.dropped) == ((), 1)


def test_what_neither_of_two_receivers_has_taken_waits(tmp_path, mail, refused, try_again):
    """As in an outage: nothing is lost."""
    refused.add("anna@example.org")
    url = mail.url.replace("to=ada@", "to=anna@example.org,ben@")
    problems = [try_again(url) for _ in range(MAX_UNKNOWN + 1)]
    assert not any(problem.removeprefix("it: ").startswith(MAY_HAVE_ARRIVED) for problem in problems)
    refused.clear()
    try_again(url)
    assert mail.mails.qsize() == 2
    assert not read_told(tmp_path / "ledger").waiting


def test_a_topic_that_another_one_beside_it_fails_is_sent_the_same_five_times_at_most(receiver, try_again):
    """By HTTP it is as by mail."""
    take = receiver.hear
    receiver.hear = lambda request: 403 if request.json["topic"] == "ben" else take(request)
    for _ in range(MAX_UNKNOWN + 1):
        try_again(f"ntfy://127.0.0.1:{receiver.port}/anna/ben")
    assert receiver.requests.qsize() == MAX_UNKNOWN
