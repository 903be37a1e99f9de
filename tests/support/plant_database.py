"""PlantDB's own file system database, opened on a directory of datasets as its server opens it."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING
from unittest import mock

from plantdb.commons.auth.session import NoAuthSessionManager
from plantdb.commons.fsdb.core import FSDB

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextlib.contextmanager
def open_database(directory: Path) -> Iterator[FSDB]:
    """Open the database in ``directory``, and make it one first; its users are stored beside the directory."""
    (directory / "romidb").touch()
    with mock.patch("tempfile.tempdir", str(directory.parent)):  # where PlantDB stores its users
        database = FSDB(directory, session_manager=NoAuthSessionManager(), log_level="ERROR")
        database.connect()
        try:
            yield database
        finally:
            database.disconnect()
