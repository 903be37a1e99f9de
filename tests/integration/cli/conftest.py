"""Fixtures of the tests that run `timelapsectl` as a process."""

import pytest
from ctl_host import Host


@pytest.fixture
def host(tmp_path):
    """Return the directories of one user."""
    return Host(tmp_path)
