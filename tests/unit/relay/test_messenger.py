"""The services are known before the relay starts."""

import sys

import pytest

from plantimager.timelapse.relay import messenger
from plantimager.timelapse.relay.messenger import find_services
from plantimager.timelapse.support.errors import EXIT_FAILED, TimelapsedError


def test_an_apprise_that_is_slow_at_boot_is_no_fault_of_the_configuration(tmp_path, monkeypatch):
    """The exit code is one after which systemd starts the relay again."""
    urls = tmp_path / "urls"
    urls.write_text("json://127.0.0.1/\n")
    urls.chmod(0o600)
    monkeypatch.setattr(messenger, "PROGRAM", (sys.executable, "-c", "import signal; signal.pause()"))
    monkeypatch.setattr(messenger, "CHECK_SECONDS", 0.2)
    with pytest.raises(TimelapsedError, match=r"apprise gives no answer within 0\.2 s") as late:
        find_services(urls, {})
    assert late.value.exit_code == EXIT_FAILED
