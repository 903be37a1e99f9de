"""Fixtures of the integration tests."""

from __future__ import annotations

import pytest
from daemon_process import Place


@pytest.fixture
def place(tmp_path) -> Place:
    """Return empty data and configuration directories."""
    return Place(tmp_path)
