"""What a service that is starting waits for: systemd itself looks at directories and mounts, and hangs with them."""

from __future__ import annotations

import mmap
import os
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from plantimager.timelapse.cli.child_look import look_in_child
from plantimager.timelapse.domain.wording import format_local_time
from plantimager.timelapse.support.file_system import mounts_now
from plantimager.timelapse.support.text import one_line

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from plantimager.timelapse.cli.session import Session

LOOK_SECONDS: Final = 3.0
"""For all directories together; each answers at once, or its disk or server is slow or away."""

INDEX_BYTES: Final = 4
NOT_BEGUN: Final = 2**32 - 1
"""The index before the first directory."""

_silent: Final[dict[Path, str]] = {}
"""The directory that the last look at all of them hung at, by the store's."""


def describe_service_start(session: Session, unit: Mapping[str, str]) -> tuple[str, str]:
    """Return what a service that is starting waits for, and what can be done about it."""
    remedy = "timelapsectl status --follow shows when it has"
    if not _is_before_the_daemon(unit["MainPID"]):
        status = f": {one_line(unit['StatusText'])}" if unit["StatusText"] else ""
        return f"the service is starting{status}", remedy
    now = session.clock.now()
    running = timedelta(seconds=session.clock.monotonic())
    since = now - running + timedelta(microseconds=int(unit["ExecMainStartTimestampMonotonic"] or 0))
    why = f"the service is starting: systemd has been preparing it since {format_local_time(since, now)}"
    named = [word.lstrip("-+") for word in unit["ReadWritePaths"].split()]
    silent = one_line(find_silent_directory(session.store.parent, named))
    if silent:
        remedy = f"see to the disk or the server of {silent}; the start goes on when it answers"
        return f"{why}, the daemon itself hasn't begun, and {silent} doesn't answer", remedy
    return f"{why}, and the daemon itself hasn't begun", remedy


def describe_queued_start(session: Session, waited_for: Sequence[str]) -> tuple[str, str]:
    """Return the units that systemd starts before the service, such as a mount that hangs, and how they are seen."""
    before = " and ".join(waited_for) or "what is to start before it"
    why = f"the service is to be started: systemd waits with that for {before}"
    return why, f"{session.systemctl} list-jobs shows what systemd does"


def _is_before_the_daemon(pid: str) -> bool:
    """Whether a service's process still is systemd's own, which has its program's name in brackets until then."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text(errors="replace").startswith("(")
    return False


def find_silent_directory(store: Path, named: Sequence[str]) -> str:
    """Return the first directory whose disk doesn't answer, of these and all that is mounted; empty where all do.

    An automount point that isn't among these is passed over, since a look would have its disk mounted.
    """
    mounted = [mount.point for mount in mounts_now() if mount.type != "autofs"]
    paths = [str(store), *named, *mounted]
    with mmap.mmap(-1, INDEX_BYTES) as shared:  # shared with the child
        shared[:] = NOT_BEGUN.to_bytes(INDEX_BYTES)

        def look() -> None:
            for index, path in enumerate(paths):
                shared[:] = index.to_bytes(INDEX_BYTES)
                with suppress(OSError):
                    os.statvfs(path)  # asks the disk or the server itself; what stat returns may be remembered

        try:
            look_in_child(look, LOOK_SECONDS, store)
        except TimeoutError:
            index = int.from_bytes(shared[:])
            # It hasn't begun where the look before still hangs, or where that at the store's owner does.
            _silent[store] = paths[index] if index != NOT_BEGUN else _silent.get(store, paths[0])
            return _silent[store]
        except OSError:  # of the child
            pass
    return ""
