"""``timelapsectl names``: what there is of a kind, one name a line, for the completion of shells and for scripts."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from plantimager.timelapse.cli.known_rigs import find_rig_names
from plantimager.timelapse.cli.snapshot_source import SnapshotSource, archive_names
from plantimager.timelapse.support.errors import TimelapsedError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable

    from plantimager.timelapse.cli.session import Session

ANSWER_SECONDS: Final = 1.0
"""For the daemon, which is asked first: a person waits at the Tab key."""

_WORD: Final = re.compile(r"[\w.-]+")
"""A name that a shell takes as it is."""


def run_names(options: argparse.Namespace, session: Session) -> int:
    """Write the names; none where there are none, or they can't be read."""
    with suppress(TimelapsedError, OSError):
        session.screen.write(*filter(_WORD.fullmatch, _find(options.kind, session)))
    return 0


def _find(kind: str, session: Session) -> Iterable[str]:
    """Return the rigs that ``--rig`` takes, the ended timelapses, or the slots that have a record."""
    if kind == "rigs":
        return (name for name in find_rig_names(session) if name is not None)
    if kind == "archives":
        return archive_names(session, ANSWER_SECONDS)
    timelapse = SnapshotSource(session, ANSWER_SECONDS).take().timelapse
    return map(str, sorted(timelapse.records)) if timelapse is not None else ()
