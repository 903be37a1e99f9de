"""``timelapsectl log``: journalctl for the rig's unit, and whether the journal outlives a restart of the machine."""

from __future__ import annotations

import os
import re
import shutil
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from plantimager.timelapse.cli.service_state import NOT_RUNNING, RUNNING, read_service_state
from plantimager.timelapse.cli.session import Scope
from plantimager.timelapse.support.errors import TimelapsedError
from plantimager.timelapse.support.file_system import memory_reason
from plantimager.timelapse.support.text import printable

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence

    from plantimager.timelapse.cli.session import Session


ROOT: Final = Path("/")
DIRECTORIES: Final = ("etc", "run", "usr/local/lib", "usr/lib")
"""The directories of journald's configuration, the first outranking the others; see journald.conf(5)."""
JOURNAL_CURE: Final = "keep it with systemd/install --persistent-journal, or Storage=persistent in journald.conf"


def run_log(options: argparse.Namespace, session: Session) -> int:
    """Replace this process by journalctl; doesn't return."""
    command = journal_command(session, options.arguments)
    if shutil.which(command[0]) is None:
        raise TimelapsedError(
            "journalctl is not installed; without it the daemon logs to its standard error",
            hint="on a machine with systemd it is there",
        )
    service, volatile = read_service_state(session), describe_volatile_journal()
    if service.word not in (NOT_RUNNING, RUNNING):
        print(printable(f"note: {service.why}; {service.remedy}"), file=sys.stderr)
    if volatile is not None:
        print(f"note: {volatile}", file=sys.stderr)
    sys.stdout.flush()
    os.execvp(command[0], command)  # noqa: S606 - without a shell on purpose


def journal_command(session: Session, arguments: Sequence[str]) -> list[str]:
    """Return the command line that shows a rig's journal; refuse where its daemon is no service."""
    if session.scope is Scope.OWN:
        raise TimelapsedError(
            f"{session.store}: a daemon on this store logs to where it was started",
            hint="for a service's journal say whose: timelapsectl --system log, or timelapsectl --user log",
        )
    return ["journalctl", *session.manager, f"--unit={session.unit}", *arguments]


def describe_volatile_journal(root: Path = ROOT) -> str | None:
    """Return that lines from before the last boot are gone, and why; ``None`` where they are kept, or without systemd.

    A journal that only ends in memory by a mount of its own counts as well.
    """
    if not (root / "run/systemd/system").is_dir():
        return None
    storage, journal = _storage_setting(root), root / "var/log/journal"
    reason = memory_reason(journal) if root == ROOT else None
    if storage in ("volatile", "none"):
        reason = f"Storage={storage} in journald's configuration"
    elif storage != "persistent" and not journal.is_dir():
        reason = f"there is no {journal}"
    if reason is None:
        return None
    return f"the journal is volatile ({reason}): what it says of a boot is gone with the next one; {JOURNAL_CURE}"


def _storage_setting(root: Path) -> str:
    """Return the last ``Storage=`` of journald's files, in lower case; ``auto`` is its default."""
    setting = "auto"
    for path in _configuration_files(root):
        with suppress(OSError):
            found = re.findall(r"^\s*Storage\s*=\s*(\w*)\s*$", path.read_text(errors="replace"), re.MULTILINE)
            setting = (found[-1] if found else setting) or "auto"
    return setting.lower()


def _configuration_files(root: Path) -> Iterator[Path]:
    """Yield the main file, then the drop-ins in the order of their names; of one name the first directory counts."""
    main = (root / directory / "systemd/journald.conf" for directory in DIRECTORIES)
    yield from [path for path in main if path.exists()][:1]
    drop_ins = {
        path.name: path
        for directory in reversed(DIRECTORIES)
        for path in (root / directory / "systemd/journald.conf.d").glob("*.conf")
    }
    yield from (drop_ins[name] for name in sorted(drop_ins))
