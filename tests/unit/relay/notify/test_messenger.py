"""The services, and what people call the rig, are known before the relay starts."""

import platform
import sys
from datetime import timedelta

import pytest

from plantimager.timelapse.relay.notify import messenger
from plantimager.timelapse.relay.notify.apprise_call import AppriseCall
from plantimager.timelapse.relay.notify.messenger import find_services
from plantimager.timelapse.relay.sinks import _rig_name
from plantimager.timelapse.settings.places import find_places
from plantimager.timelapse.support.errors import EXIT_FAILED, TimelapsedError


def test_an_apprise_that_is_slow_at_boot_is_no_fault_of_the_configuration(tmp_path, monkeypatch):
    """The exit code is one after which systemd starts the relay again."""
    urls = tmp_path / "urls"
    urls.write_text("json://127.0.0.1/\n")
    urls.chmod(0o600)
    monkeypatch.setattr(messenger, "APPRISE", (sys.executable, "-c", "import signal; signal.pause()"))
    monkeypatch.setattr(messenger, "CHECK_SECONDS", 0.2)
    with pytest.raises(TimelapsedError, match=r"apprise gives no answer within 0\.2 s") as late:
        find_services(urls, {})
    assert late.value.exit_code == EXIT_FAILED


def test_an_apprise_that_can_not_be_started_now_is_none_either(tmp_path, monkeypatch):
    """As for lack of memory."""
    urls = tmp_path / "urls"
    urls.write_text("json://127.0.0.1/\n")
    urls.chmod(0o600)
    monkeypatch.setattr(messenger, "APPRISE", ("/nowhere/python",))
    with pytest.raises(TimelapsedError, match="apprise can't be started: No such file") as late:
        find_services(urls, {})
    assert late.value.exit_code == EXIT_FAILED


def test_an_apprise_that_was_killed_may_have_sent(monkeypatch):
    """And one that ends by itself has not."""
    monkeypatch.setattr(messenger, "APPRISE", (sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"))
    problem = messenger.send_message(messenger.Service("json", "json://h"), AppriseCall(()), timedelta(minutes=1))
    assert (problem, problem.startswith(messenger.MAY_HAVE_ARRIVED)) == ("apprise was ended by signal 9", True)


@pytest.mark.parametrize(("rig", "computer", "called"), [
    (None, "bench3", "bench3"), ("left", "bench3", "left on bench3"), ("left", "", "left"), (None, "", "the rig"),
])  # fmt: skip
def test_a_message_names_the_rig_and_its_computer(tmp_path, monkeypatch, rig, computer, called):
    """Two computers may have a rig of one name each."""
    monkeypatch.setattr(platform, "node", lambda: computer)
    assert _rig_name(find_places({"HOME": str(tmp_path)}, rig=rig)) == called
