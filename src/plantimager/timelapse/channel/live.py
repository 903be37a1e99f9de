"""The live status: a small file beside the store with what the daemon does now, for ``timelapsectl status``.

It holds what is too short-lived for the store (a scan's progress, a save that fails). It is never fsynced. Once its
process has ended it is void, but for its time: the last sign of life of that daemon. While the disk takes no write it
is beside the control socket instead, in memory: then above all somebody has to know.
"""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from msgspec import Meta, Struct, convert, to_builtins
from msgspec.structs import FieldInfo, fields

from plantimager.timelapse.domain.absence import LastSign
from plantimager.timelapse.support.clock import boot_time
from plantimager.timelapse.support.durable import read_regular, replace_file
from plantimager.timelapse.support.json_text import dumps, loads
from plantimager.timelapse.support.text import one_line

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from plantimager.timelapse.store.schema import Logbook
    from plantimager.timelapse.support.clock import Clock

SCANNING: Final = "scanning"
"""The word for the rig while a scan runs."""
MAX_LIVE_BYTES: Final = 100_000
"""A larger file is ignored."""
SEEN, MARK = "seen", "mark"
"""The keys by which a request for the status names the store that was seen, and an answer its own."""
_TROUBLES: Final = ("trouble", "degraded", "datasets")
"""The keys that are there, or are not empty, only where something is wrong."""


class ScanProgress(Struct, frozen=True):
    """The steps of the running scan."""

    done: int
    total: Annotated[int, Meta(gt=0)]

    def __str__(self) -> str:
        return f"{self.done} of {self.total}"


class LiveStatus(Struct, frozen=True, kw_only=True):
    """What a daemon says of itself: the keys of its file, and of its answer to a request for its status.

    ``None`` is what it doesn't say, and what there isn't.
    """

    pid: int | None = None
    status: str | None = None
    """Its line for ``systemctl status``."""
    rig: str | None = None
    """`SCANNING`, ``preparing``, ``warm``, ``standby``, ``by hand`` or ``unknown``."""
    progress: ScanProgress | None = None
    """That of the running scan, from its first sign on."""
    trouble: str | None = None
    """The first of the troubles: of the store, the start, the timelapse, the datasets."""
    degraded: str | None = None
    """Why the store can't be written."""
    datasets: str | None = None
    """Why datasets can't be put into their directory."""
    notes: tuple[str, ...] = ()
    """What a person should know of the storage and of the store, and may want to change."""
    clock: Literal["trusted", "not trusted"] | None = None
    driver: str | None = None

    @property
    def is_clock_trusted(self) -> bool:
        """Whether the daemon decides by the clock; it does where it says nothing of that."""
        return self.clock != "not trusted"


def live_status_of(facts: Mapping[str, Any]) -> LiveStatus:
    """Return the status that a file or an answer holds, its texts on one line each.

    A daemon of another version may say more or less, or otherwise: each key is read by itself, and each note, and what
    can't be read counts as not said. Something is wrong also where a trouble is no text (``true``).
    """
    said: dict[str, Any] = {}
    for key in fields(LiveStatus):
        with contextlib.suppress(KeyError, ValueError):  # msgspec's own, and that of a lone surrogate
            said[key.name] = _read(facts[key.name], key)
    return LiveStatus(**said)


def _read(value: Any, key: FieldInfo) -> Any:
    if key.name == "notes":
        return tuple(one_line(note) for note in convert(value, list[Any]) if isinstance(note, str))
    if key.name in _TROUBLES and value:
        value = str(value)
    value = convert(value, key.type)
    return one_line(value) if isinstance(value, str) else value


def live_path(store: Path) -> Path:
    """Return the path of the live status of a store's daemon."""
    return store.with_name(f"{store.name}.live")


def _spare_path(control: Path) -> Path:
    """Return where the live status is while its disk takes no write."""
    return control.with_name("live")


class LiveFile:
    """The daemon's side of the live status. Side thread."""

    def __init__(self, store: Path, control: Path | None = None) -> None:
        """Write beside the ``store``, or else beside the ``control`` socket."""
        self.path = live_path(store)
        self._spare = _spare_path(control) if control is not None else None
        self._fresh = self.path.with_name(f"{self.path.name}.new")
        self.before = read_last_sign(store)
        """That of the daemon before this one."""
        self._written: LiveStatus | None = None

    def show(self, status: LiveStatus, at: datetime) -> None:
        """Write ``status`` if it differs from the last one. No disk error is raised: no schedule depends on this."""
        if status != self._written:
            self._written = status
            self._write({**to_builtins(status), "at": at.isoformat()})

    def end(self, at: datetime) -> None:
        """Leave nothing but the time, at the daemon's own end."""
        if self._written is not None:
            self._write({"at": at.isoformat(), "has_ended": True})
        with contextlib.suppress(OSError):
            self._fresh.unlink(missing_ok=True)  # where it couldn't be written

    def _write(self, facts: dict[str, Any]) -> None:
        content = dumps(facts)
        try:
            self._fresh.write_bytes(content)
            self._fresh.replace(self.path)
            if self._spare is not None:
                self._spare.unlink(missing_ok=True)
        except OSError:
            if self._spare is not None:
                with contextlib.suppress(OSError):
                    replace_file(self._spare, content)


def read_live(store: Path) -> LiveStatus:
    """Return the live status of a daemon, which says nothing where there is none."""
    return live_status_of(_read_facts(live_path(store)))


def read_live_of(pid: int, store: Path, control: Path) -> LiveStatus | None:
    """Return the live status of a running daemon, wherever it could write it; ``None`` where it has written none."""
    found = (live_status_of(_read_facts(path)) for path in (_spare_path(control), live_path(store)))
    return next((status for status in found if status.pid == pid), None)


def _read_facts(path: Path) -> dict[str, Any]:
    try:
        facts = loads(read_regular(path, MAX_LIVE_BYTES))
    except (OSError, ValueError):
        return {}
    return facts if isinstance(facts, dict) else {}


def read_last_sign(store: Path) -> LastSign:
    """Return the last sign of life of a store's daemon."""
    facts = _read_facts(live_path(store))
    try:
        at = datetime.fromisoformat(facts["at"])
        return LastSign(at.astimezone(UTC) if at.tzinfo is not None else None, facts.get("has_ended") is True)
    except (KeyError, TypeError, ValueError, OverflowError):
        return LastSign()


def last_seen(sign: LastSign, logbook: Logbook, clock: Clock) -> LastSign:
    """Return the last sign of life of the daemon that wrote a store, or of its machine in an earlier boot."""
    kept_at, booted_at = clock.evidence().kept_at, boot_time(clock)
    of_that_boot = kept_at is not None and kept_at < booted_at and logbook.boot_id not in (None, clock.boot_id())
    others = [at for at in (logbook.saved_at, kept_at if of_that_boot else None) if at is not None]
    latest = max(others, default=None)
    return LastSign(latest) if latest is not None and (sign.at is None or sign.at < latest) else sign
