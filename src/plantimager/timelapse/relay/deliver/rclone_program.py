"""One run of the program rclone: usual troubles in our words, its end where it moves nothing or may send nothing."""

from __future__ import annotations

import re
from collections import deque
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self

from plantimager.timelapse.drivers.programs.environment import ProgramFault, ProgramMissing, basic_environment
from plantimager.timelapse.drivers.programs.run import run_program
from plantimager.timelapse.relay.credentials import rclone_secrets
from plantimager.timelapse.relay.deliver.delivery import FULL, NO_ROOM, Unreachable
from plantimager.timelapse.relay.deliver.pacing import Interrupted
from plantimager.timelapse.relay.http_exchange import least_speed
from plantimager.timelapse.support import json_text
from plantimager.timelapse.support.text import one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from plantimager.timelapse.relay.credentials import Secret
    from plantimager.timelapse.relay.deliver.pacing import TargetPace

RCLONE: Final = "rclone"
STOP_GRACE: Final = timedelta(seconds=5)
MAX_WORDS: Final = 200
"""The part of a message that is repeated."""
MAX_MESSAGES: Final = 20
"""Messages of one run that are kept, the last ones."""
KEPT_SECRETS: Final = 8
"""Of the sets of secrets that the configuration has had, the last ones, beside that of the start."""
STALLED: Final = 2
"""Time-outs without progress after which rclone is ended; after one it should have given up itself."""

SCRATCH: Final = "receipt-"
"""How the name of a temporary directory of ours begins."""
NOT_HASHED: Final = re.compile(r"hashes could not be checked|not using a hash")
_NO_HASHES: Final = re.compile(r"not using a hash")

USUAL_FAULTS: Final = {
    re.compile(pattern, re.IGNORECASE): words
    for pattern, words in {
        "no such host|name resolution": "no address is found for the server's name",
        "connection refused": "nothing answers at the address of the server",
        "network is unreachable|no route to host": "the network doesn't reach the server",
        "knownhosts|host key|key is unknown": "the server's key is not the one that is known of it",
        r"unable to authenticate|unauthori[sz]ed|invalid_grant|InvalidAccessKeyId|SignatureDoesNotMatch": (
            "the server doesn't accept the account or its password"
        ),
        "rate ?limit|quota metric|too many requests": "the server takes no more requests for now",
        "forbidden|access ?denied|SSH_FX_PERMISSION_DENIED": "the server doesn't allow this account to do it",
        rf"/{SCRATCH}[^:]*: no space left": "this host has no room left for temporary files",
        NO_ROOM.pattern: FULL,
        "SSH_FX_FAILURE": "the server gives no reason; it may have no room left",
        "method not allowed": "the server gives no reason; it may have no room left, or its url is no WebDAV server's",
        "timed? ?out|timeout|deadline exceeded": "the server doesn't answer in time",
        "find section in config": "rclone's configuration has no remote of this name",
        "(directory|object|bucket) (was )?not found|404 not found|NoSuchBucket": "it isn't there",
    }.items()
}
"""What rclone and its libraries say of usual troubles, and what is said before that; the first one counts."""

_PREAMBLE: Final = re.compile(r"^\d{4}/\d\d/\d\d \d\d:\d\d:\d\d (?:[A-Z]+ *: )?")
_FILE_SYSTEM: Final = re.compile(r'^Failed to (?:create file system for "[^"]*"|[a-z]+(?: with \d+ errors)?): ')
_USER: Final = re.compile(r"(?<=//)[^/@\s\"']+@")
_QUERY: Final = re.compile(r"(https?://[^\s?\"']+)\?[^\s\"']+")
_TIME_OF_DAY: Final = re.compile(r"(?<=\d{4}-\d\d-\d\d)T[\d:.]+Z?")
"""In what rclone says of certificates: a trouble with another time is no other trouble."""
_ENCRYPTED: Final = "unable to decrypt configuration"


class Remark(NamedTuple):
    """What rclone has said at one time."""

    words: str
    file: str = ""
    """The file that it is about; empty where it is about none."""

    def __str__(self) -> str:
        """Return ``0.jpg: Failed to copy``."""
        return f"{self.file}: {self.words}" if self.file else self.words


class RcloneRun:
    """What one run has said."""

    def __init__(self) -> None:
        self.status = 0
        self.verdicts: dict[str, str] = {}
        """What ``check`` says of each file: = the same, + not there, * different, ! not known."""
        self.listed: list[str] = []
        """The lines that are no message."""
        self.has_named_file = False
        """Whether a message is about one file: then the remote itself is within reach."""
        self.moved = 0
        """Bytes, up to now."""
        self.files_sent = self.files_checked = 0
        self._messages: deque[Remark] = deque(maxlen=MAX_MESSAGES)

    def take(self, lines: Iterable[bytes]) -> bool:
        """Take lines of output; return whether they show progress."""
        before = self._progress
        for line in lines:
            text = line.decode(errors="surrogateescape")
            if text[1:2] == " " and text[:1] in "=+*!-":
                self.verdicts[text[2:]] = text[0]
            else:
                self._take_message(text)
        return before != self._progress

    @property
    def _progress(self) -> tuple[int, int, int]:
        return self.moved, self.files_done, len(self.verdicts)

    @property
    def files_done(self) -> int:
        """Files that were sent, or compared."""
        return self.files_sent + self.files_checked

    def _take_message(self, text: str) -> None:
        try:
            message: Any = json_text.loads(text.encode(errors="replace"))
            stats = message.get("stats")
        except (ValueError, AttributeError):
            self._messages.append(Remark(_PREAMBLE.sub("", text)))
            self.listed.append(text)
            return
        if isinstance(stats, dict):
            counts = (stats.get(name) for name in ("bytes", "checks", "transfers"))
            self.moved, self.files_checked, self.files_sent = (
                count if isinstance(count, int) else 0 for count in counts
            )
        elif isinstance(message.get("msg"), str):
            about = message.get("object")
            is_file = isinstance(about, str) and str(message.get("objectType")).endswith(".Object")
            self.has_named_file = self.has_named_file or is_file
            self._messages.append(Remark(message["msg"], about if is_file else ""))

    def ended_with(self, status: int) -> Self:
        """Take the exit status."""
        self.status = status
        return self

    def has_said(self, pattern: re.Pattern[str]) -> bool:
        """Return whether a message has this in it."""
        return any(pattern.search(message.words) for message in self._messages)

    @property
    def reason(self) -> Remark:
        """The last message, which names the cause of a failure."""
        return self.reason_of("")

    def reason_of(self, name: str) -> Remark:
        """Return the last message about a file, else the last one of all."""
        said = [message for message in self._messages if message.words.strip()]
        said = [message for message in said if name and message.file == name] or said
        if not said:
            return Remark(f"it ended with {self.status}")
        return said[-1]._replace(words=_FILE_SYSTEM.sub("", said[-1].words))


class Rclone:
    """The program with one configuration. One thread."""

    def __init__(self, configuration: Secret, timeout: timedelta, rate: int | None) -> None:
        self._configuration, self._timeout, self._rate = configuration, timeout, rate
        self._first = rclone_secrets(configuration.text)
        self._later: deque[set[str]] = deque([self._first], KEPT_SECRETS)
        self.has_hashes = True
        """Whether the remote may have some, by what rclone has said until now."""

    def run(
        self, pace: TargetPace, *words: str, names: Sequence[str], on_files: Callable[[int], None] = lambda _: None
    ) -> RcloneRun:
        """Run a command on some files, to its end; ``on_files`` is called with those that are done.

        Raises
        ------
        Interrupted
            See `TargetPace.in_turn`; rclone was ended.
        Unreachable
            rclone isn't installed, doesn't start, or makes too little progress.
        """
        return pace.in_turn(partial(self._run, pace, words, names, on_files))

    def _run(
        self, pace: TargetPace, words: Sequence[str], names: Sequence[str], on_files: Callable[[int], None]
    ) -> RcloneRun:
        self._learn_secrets()
        if self._configuration.is_private and self._configuration.fault:
            raise Unreachable(self._configuration.fault)
        result = RcloneRun()
        stop = _Stop(pace, self._timeout.total_seconds() * STALLED, least_speed(self._rate), result)

        def take(lines: list[bytes]) -> None:
            if result.take(lines):
                stop.renew()
                on_files(result.files_done)

        try:
            ended = run_program(
                [RCLONE, *words, *self._options()],
                environment={**basic_environment(), **_NO_SURPRISES},
                stop_grace=STOP_GRACE,
                should_stop=stop.is_due,
                stdin="".join(f"{name}\n" for name in names).encode(errors="surrogateescape"),
                on_output=take,
            )
        except ProgramMissing as absent:
            raise Unreachable(f"{absent}; apt install rclone") from None
        except ProgramFault as problem:
            raise Unreachable(str(problem)) from None
        if stop.interruption:
            # What was copied stays; a comparison begins anew.
            raise Interrupted(stop.interruption, got_further=words[0] == "copy" and result.files_sent > 0)
        if ended.stopped:
            raise Unreachable(f"rclone made {stop.progress}, and was ended")
        self.has_hashes = self.has_hashes and not result.has_said(_NO_HASHES)
        return result.ended_with(ended.status)

    def _options(self) -> Sequence[str]:
        seconds = f"{self._timeout.total_seconds():g}s"
        limit = () if self._rate is None else ("--bwlimit", f"{self._rate}B")
        return (
            *("--config", str(self._configuration.path), "--ask-password=false", "--files-from-raw", "-"),
            # Once: the relay itself tries again, and says so.
            *("--retries", "1", "--low-level-retries", "2", "--contimeout", seconds, "--timeout", seconds),
            *("--use-json-log", "--log-file", "/dev/stdout", "--log-level", "NOTICE"),
            *("--stats", "1s", "--stats-log-level", "NOTICE", *limit),
        )

    def in_words(self, message: Remark) -> str:
        """Return a message of rclone on one line, bounded, without what its configuration keeps secret.

        Before it goes what a trouble of a usual kind is; the file's name says nothing of that.
        """
        self._learn_secrets()
        words = self._without_secrets(message.words)
        kind = next((f"{usual}; " for pattern, usual in USUAL_FAULTS.items() if pattern.search(words)), "")
        return f"{kind}rclone: {self._without_secrets(str(message))[:MAX_WORDS]}"

    def _learn_secrets(self) -> None:
        """Take up those that the configuration has by now: rclone writes new tokens into it, and a person anything."""
        self._configuration = self._configuration.latest()
        if (secrets := rclone_secrets(self._configuration.text)) != self._later[-1]:
            self._later.append(secrets)

    def _without_secrets(self, words: str) -> str:
        for secret in sorted(self._first.union(*self._later), key=len, reverse=True):
            words = words.replace(secret, "…")
        if _ENCRYPTED in words:
            words = f"{_ENCRYPTED}, and nobody can be asked for its password; take that off with rclone config"
        return one_line(_TIME_OF_DAY.sub("", _QUERY.sub(r"\1", _USER.sub("", words))))


_NO_SURPRISES: Final = {"RCLONE_CACHE_DIR": "/nonexistent", "RCLONE_SFTP_DISABLE_CONCURRENT_WRITES": "true"}
"""rclone needs no cache for this, and its user may have no home.

A file that was cut off must be the beginning of ours: what several writers send may have holes.
"""


class _Stop:
    """Whether a run is to be ended."""

    def __init__(self, pace: TargetPace, seconds: float, speed: float, run: RcloneRun) -> None:
        self._pace, self._seconds, self._speed, self._run = pace, seconds, speed, run
        self._began = pace.clock.monotonic()
        self.interruption = self.progress = ""
        self.renew()

    def renew(self) -> None:
        """Take note of progress."""
        self._since = self._pace.clock.monotonic()

    def is_due(self) -> bool:
        """Return whether to end it now; afterwards `interruption` or `progress` says why.

        One that goes on byte by byte has so long as its bytes may take at the least speed, and its files by themselves.
        """
        now, run = self._pace.clock.monotonic(), self._run
        self.interruption = self.interruption or self._pace.interruption
        if now - self._since > self._seconds:
            self.progress = f"no progress for {self._seconds:g} s"
        elif now - self._began > self._seconds * (1 + run.files_done) + run.moved / self._speed:
            self.progress = f"too little progress in {now - self._began:.0f} s"
        return bool(self.interruption or self.progress)
