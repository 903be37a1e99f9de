"""Root acts as the owner of what it looks at."""

import os

import pytest

from plantimager.timelapse.cli.acting import acting_as_owner

SERVICE, OTHER = 64_011, 64_012

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="root and another account are what it is about")


@pytest.mark.parametrize(("link", "directory", "acts_as"), [(SERVICE, 0, SERVICE), (0, OTHER, OTHER), (0, 0, 0)])
def test_a_link_counts_by_its_own_owner_unless_that_is_root(tmp_path, link, directory, acts_as):
    """The service may put one in the place of its directory; the administrator may move that to a larger disk."""
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to("there")
    os.chown(tmp_path / "there", directory, directory)
    os.lchown(tmp_path / "link", link, link)
    with acting_as_owner(tmp_path / "link"):
        assert os.geteuid() == acts_as
    assert os.geteuid() == 0
