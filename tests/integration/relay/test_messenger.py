"""The services that a file of URLs names, as the real apprise reads it."""

import pytest

from plantimager.timelapse.relay.notify.messenger import find_services


@pytest.mark.parametrize("text", ["\ufeffjson://127.0.0.1/\r\n", "\n# ours\n\n  json://127.0.0.1/  \n\n"])
def test_a_list_of_services_may_come_from_any_editor(tmp_path, text):
    """Its ends of lines, its mark of UTF-8, and empty lines are no part of an address."""
    urls = tmp_path / "urls"
    urls.write_bytes(text.encode())
    urls.chmod(0o600)
    assert [service.url for service in find_services(urls, {})] == ["json://127.0.0.1/"]
