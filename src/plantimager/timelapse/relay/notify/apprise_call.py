"""One call of apprise, as a program of its own: a service that hangs can be ended, and the relay stays small.

It reads one `AppriseCall` from standard input and writes one `AppriseAnswer` for each URL to standard output. What
apprise logs isn't passed on but for its last complaint, without any part of the URL, which is a secret.
"""

from __future__ import annotations

import logging
import re
import sys
from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec import Struct

from plantimager.timelapse.relay.credentials import redact

if TYPE_CHECKING:
    from apprise import NotifyBase

READ_SECONDS: Final = 40
"""For the answer of a service that has taken the connection."""
PARTLY: Final = "not taken by all receivers"
"""How the problem begins where some of the receivers in one URL have the message: apprise has one answer for all."""


class AppriseCall(Struct, frozen=True):
    """What apprise shall do."""

    urls: tuple[str, ...]
    subject: str | None = None
    """``None`` only checks the URLs."""
    body: str = ""
    is_good: bool = False
    """Whether the message is a good one, which some services show in green."""
    picture: bytes = b""
    """A JPEG to attach, where the service takes attachments."""


class AppriseAnswer(Struct, frozen=True):
    """What became of one URL."""

    service: str
    """The service in words, such as ``ntfy``; empty where the URL is none of apprise."""
    problem: str = ""
    """Why the message was not sent; empty where it was."""


class _Log(logging.Handler):
    """The last complaint, and whether anybody took the message: of each receiver that did, there is a line."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.complaint, self.has_sent = "", False

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if record.levelno >= logging.WARNING:
            self.complaint = text
        elif text.startswith("Sent "):
            self.has_sent = True


def main() -> None:
    """Carry out the call on standard input."""
    call = msgspec.json.decode(sys.stdin.buffer.read(), type=AppriseCall)
    sys.stdout.buffer.write(msgspec.json.encode([_answer(url, call) for url in call.urls]))


def _answer(url: str, call: AppriseCall) -> AppriseAnswer:
    from apprise import Apprise, AppriseAsset, NotifyType, PersistentStoreMode  # noqa: PLC0415 - the extra
    from apprise.attachment.memory import AttachMemory  # noqa: PLC0415 - as above

    attach: Any = AttachMemory  # its constructor has no types

    log = _Log()
    logger = logging.getLogger("apprise")
    logger.setLevel(logging.INFO)
    logger.addHandler(log)
    asset = AppriseAsset(
        app_id="timelapsed", app_desc="timelapsed", async_mode=False, storage_mode=PersistentStoreMode.MEMORY
    )
    service: NotifyBase | None = Apprise.instantiate(_with_defaults(url), asset=asset)
    if service is None:
        return AppriseAnswer("", redact(log.complaint, url) or "no URL of apprise")
    name = str(service.service_name)
    if call.subject is None:
        return AppriseAnswer(name)
    kind = NotifyType.SUCCESS if call.is_good else NotifyType.WARNING
    picture = [attach(content=call.picture, name="last.jpg", mimetype="image/jpeg")] if call.picture else None
    try:
        sent = service.notify(body=call.body, title=call.subject, notify_type=kind, body_format="text", attach=picture)
    except Exception as problem:  # noqa: BLE001 - any of a hundred services; the relay goes on
        sent, why = False, f"{type(problem).__name__}: {problem}"
    else:
        why = log.complaint
    if sent:
        return AppriseAnswer(name)
    why = redact(why, url) or "not taken, no reason given"
    return AppriseAnswer(name, f"{PARTLY}: {why}" if log.has_sent else why)


def _with_defaults(url: str) -> str:
    """Return a URL with what a person has left out of it.

    That is more than apprise's 4 s for an answer: who is slow takes the message all the same. And a text that is longer
    than the service takes is cut off: it would be refused again and again.
    """
    for option in (f"rto={READ_SECONDS}", "overflow=truncate"):
        if not re.search(rf"(^|&){option.partition('=')[0]}=", url.partition("?")[2], re.IGNORECASE):
            url = f"{url}{'&' if '?' in url else '?'}{option}"
    return url


if __name__ == "__main__":
    main()
