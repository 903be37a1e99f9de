"""``timelapsectl datasets migrate``: brings datasets of earlier layouts to the present one, and touches no picture."""

from __future__ import annotations

import errno
import fcntl
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from plantimager.timelapse.cli.acting import acting_as_owner
from plantimager.timelapse.cli.terminal import Style
from plantimager.timelapse.datasets.migration import ForeignDataset, NotMigrated, finish_interrupted, migrate_dataset
from plantimager.timelapse.settings.config import read_daemon_config
from plantimager.timelapse.support.errors import EXIT_FAILED, TimelapsedError
from plantimager.timelapse.support.text import format_count, one_line

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator
    from pathlib import Path

    from plantimager.timelapse.cli.session import Session


def run_datasets(options: argparse.Namespace, session: Session) -> int:
    """Migrate every dataset of a directory; name those that stay as they are. Return 1 where one is damaged."""
    named = read_daemon_config(session.places.find_config())[0].datasets if options.directory is None else None
    directory = options.directory or session.places.datasets_in(named)
    owned = session.store.parent if options.directory is None else directory
    with acting_as_owner(owned), _alone_in(directory):
        return _migrate(directory, session, dry_run=options.dry_run)


def _migrate(directory: Path, session: Session, *, dry_run: bool) -> int:
    migrated = as_before = damaged = 0
    if not dry_run:
        if not os.access(directory, os.W_OK | os.X_OK, effective_ids=True):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(directory))
        finish_interrupted(directory)
    for dataset in sorted(path for path in directory.iterdir() if path.is_dir() and not path.name.startswith(".")):
        try:
            if migrate_dataset(dataset, session.places.owner, dry_run=dry_run):
                migrated += 1
                session.screen.show(f"{one_line(dataset.name)}: {'would be migrated' if dry_run else 'migrated'}")
            else:
                as_before += 1
        except NotMigrated as problem:
            is_damage = not isinstance(problem, ForeignDataset)
            damaged += is_damage
            name = session.screen.paint(one_line(dataset.name), Style.RED if is_damage else Style.BOLD)
            session.screen.show(f"{name}: left as it is: {one_line(str(problem))}")
    done = f"{format_count(migrated, 'dataset')} {'would be migrated' if dry_run else 'migrated'}"
    session.screen.show(f"{directory}: {done}, {as_before} had nothing to migrate")
    return EXIT_FAILED if damaged else 0


@contextmanager
def _alone_in(directory: Path) -> Iterator[None]:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise TimelapsedError(f"another migration is at work in {directory}") from None
        except OSError:
            pass  # a file server without locks
        yield
    finally:
        os.close(descriptor)
