"""The name of this distribution, and its version."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import Final

DISTRIBUTION: Final = "plantimager-timelapse"


def installed_version() -> str:
    """Return the version that is installed, ``of unknown version`` where this is run from a source tree."""
    try:
        return version(DISTRIBUTION)
    except PackageNotFoundError:
        return "of unknown version"
