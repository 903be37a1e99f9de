"""The paths of this checkout."""

from pathlib import Path
from typing import Final

TREE: Final = Path(__file__).resolve().parents[2]
TESTS: Final = TREE / "tests"
SUPPORT: Final = TESTS / "support"
STORES: Final = TESTS / "stores"
"""Real store files of the community's controller."""
CONFIG: Final = TREE / "config"
SYSTEMD: Final = TREE / "systemd"
MANUALS: Final = SYSTEMD / "man"
