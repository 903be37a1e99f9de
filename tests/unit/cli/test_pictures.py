"""The pictures of README show what the commands show."""

from __future__ import annotations

import pictures
import pytest
from zones import host_zone


@pytest.mark.parametrize("name", ["status.svg", "timeline.svg"])
def test_picture_of_readme_is_drawn_by_the_present_code(name, monkeypatch):
    """A sentence that changed is no longer in it: run tests/support/pictures.py."""
    with host_zone("UTC", monkeypatch):
        assert pictures.pictures()[name] == (pictures.DIRECTORY / name).read_bytes()
