"""Whether a dataset can be deleted, and why not."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

_NOT_ALLOWED: Final = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})


def check_deletable(directory: Path) -> None:
    """Check that a directory can be deleted whole, since a part of a dataset would be none.

    Raises
    ------
    OSError
        It can't.

    """
    if directory.is_symlink():
        raise OSError(errno.ENOTDIR, "is a link", str(directory))
    for folder, _, _ in os.walk(directory):
        if not os.access(folder, os.W_OK | os.X_OK):
            raise OSError(errno.EACCES, os.strerror(errno.EACCES), folder)


def describe_refusal(problem: OSError) -> str:
    """Return a fault of the disk in words, and what to do where the service's sandbox forbids it."""
    hint = "; see systemd/examples/retention.conf" if problem.errno in _NOT_ALLOWED else ""
    return f"{problem.filename or 'datasets'}: {problem.strerror or problem}{hint}"
