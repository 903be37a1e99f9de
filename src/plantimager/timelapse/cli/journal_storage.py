"""Whether the journal outlives a restart of the machine, by journald's configuration."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from plantimager.timelapse.support.file_system import memory_reason

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT: Final = Path("/")
LEVELS: Final = ("etc", "run", "usr/local/lib", "usr/lib")
"""The directories of journald's configuration, the first outranking the others; see journald.conf(5)."""
CURE: Final = "keep it with systemd/install --persistent-journal, or Storage=persistent in journald.conf"


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
    return f"the journal is volatile ({reason}): what it says of a boot is gone with the next one; {CURE}"


def _storage_setting(root: Path) -> str:
    """Return the last ``Storage=`` of journald's files, in lower case; ``auto`` is its default."""
    setting = "auto"
    for path in _configuration_files(root):
        with suppress(OSError):
            found = re.findall(r"^\s*Storage\s*=\s*(\w*)\s*$", path.read_text(errors="replace"), re.MULTILINE)
            setting = (found[-1] if found else setting) or "auto"
    return setting.lower()


def _configuration_files(root: Path) -> Iterator[Path]:
    """Yield the main file, then the drop-ins in the order of their names; of one name the highest level counts."""
    main = (root / level / "systemd/journald.conf" for level in LEVELS)
    yield from [path for path in main if path.exists()][:1]
    drop_ins = {
        path.name: path
        for level in reversed(LEVELS)
        for path in (root / level / "systemd/journald.conf.d").glob("*.conf")
    }
    yield from (drop_ins[name] for name in sorted(drop_ins))
