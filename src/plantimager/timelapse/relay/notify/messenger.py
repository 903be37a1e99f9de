"""Sending by apprise, which runs in a process of its own; and the services, whose URLs are secrets."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from contextlib import suppress
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from plantimager.timelapse.relay.credentials import read_secret
from plantimager.timelapse.relay.notify.apprise_call import PARTLY, AppriseAnswer, AppriseCall
from plantimager.timelapse.support.errors import ConfigurationError, TimelapsedError
from plantimager.timelapse.support.text import one_line

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import timedelta
    from pathlib import Path

APPRISE: Final = (sys.executable, "-P", "-m", "plantimager.timelapse.relay.notify.apprise_call")
CREDENTIAL: Final = "notify"
NO_ANSWER, KILLED, NO_START = "no answer within", "apprise was ended by signal", "apprise can't be started"
MAY_HAVE_ARRIVED: Final = (NO_ANSWER, KILLED, PARTLY)
"""How the problems begin with which a message may have arrived all the same, at least with some of its receivers."""
MAX_REASON: Final = 200
CHECK_SECONDS: Final = 60.0
"""For apprise to be imported, on the slowest of boards."""


class Service(Struct, frozen=True):
    """One service that takes messages."""

    name: str
    """In words, without secrets: ``ntfy``, or ``ntfy 2`` for the second of its kind."""
    url: str

    @property
    def key(self) -> str:
        """What the ledger knows it by."""
        return hashlib.sha256(self.url.encode()).hexdigest()[:16]

    def __repr__(self) -> str:
        """Return a text that may be logged."""
        return f"Service({self.name})"


def find_services(urls_file: Path | None, environment: Mapping[str, str]) -> tuple[Service, ...]:
    """Return the services that the file or the credential names; nothing is sent.

    Raises
    ------
    ConfigurationError
        apprise is not installed, or a line is no URL of it.
    FileUnusable
        There are no URLs, or others can read them.
    TimelapsedError
        apprise doesn't answer now.
    """
    text = read_secret(CREDENTIAL, urls_file, environment, key="urls_file", what="list of services").text
    stripped = [(number, line.strip()) for number, line in enumerate(text.splitlines(), start=1)]
    lines = [(number, line) for number, line in stripped if line and not line.startswith("#")]
    if find_spec("apprise") is None:
        hint = "systemd/install --extras notify, or pip install 'plantimager-timelapse[notify]'"
        raise ConfigurationError("apprise is not installed", hint=hint) from ModuleNotFoundError("apprise")
    answers = _call(AppriseCall(tuple(url for _, url in lines)), CHECK_SECONDS)
    if isinstance(answers, str) and answers.startswith(NO_ANSWER):
        raise TimelapsedError(f"apprise gives {answers}")  # by a board that still boots; systemd starts the relay again
    if isinstance(answers, str) and answers.startswith((NO_START, KILLED)):
        raise TimelapsedError(answers)  # as for lack of memory
    if isinstance(answers, str):
        raise ConfigurationError(f"apprise can't be run: {answers}")
    faulty = [str(number) for (number, _), answer in zip(lines, answers, strict=True) if not answer.service]
    if faulty or not lines:
        where = urls_file or f"the credential {CREDENTIAL}"
        what = f"line {', '.join(faulty)}: no URL that apprise knows" if faulty else "no URL in it"
        raise ConfigurationError(f"{where}: {what}", hint="write one a line, as https://appriseit.com/services/ says")
    services: list[Service] = []
    for (_, url), answer in zip(lines, answers, strict=True):
        alike = sum(service.name.startswith(answer.service) for service in services)
        services.append(Service(f"{answer.service} {alike + 1}" if alike else answer.service, url))
    return tuple(services)


def send_message(service: Service, call: AppriseCall, timeout: timedelta) -> str:
    """Send to one service; return why it failed, empty where it did not."""
    answers = _call(replace(call, urls=(service.url,)), timeout.total_seconds())
    return one_line(answers if isinstance(answers, str) else answers[0].problem)[:MAX_REASON]


def _call(call: AppriseCall, seconds: float) -> Sequence[AppriseAnswer] | str:
    """Run apprise; return its answers, or why there are none."""
    try:
        process = subprocess.Popen(APPRISE, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    except OSError as problem:
        return f"{NO_START}: {problem.strerror or problem}"
    with process:
        try:
            output, _ = process.communicate(msgspec.json.encode(call), seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            return f"{NO_ANSWER} {seconds:g} s"
        finally:
            with suppress(OSError):
                process.kill()
    try:
        return msgspec.json.decode(output, type=list[AppriseAnswer])
    except (ValueError, RecursionError):
        code = process.returncode
        return f"{KILLED} {-code}" if code < 0 else f"apprise ended with code {code}"
