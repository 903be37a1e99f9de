"""Requests to the daemon: who asks."""

from plantimager.timelapse.cli.daemon_request import requester_name


def test_requester_is_the_person_who_used_sudo(monkeypatch):
    """The name root alone doesn't identify a person."""
    monkeypatch.setattr("os.getuid", lambda: 0)
    assert requester_name({"SUDO_USER": "ann"}) == "ann (as root)"
    assert requester_name({}) == "root"


def test_sudo_user_counts_for_root_alone(monkeypatch):
    """Any other user may have set the variable without sudo."""
    monkeypatch.setattr("os.getuid", lambda: 54321)
    assert requester_name({"SUDO_USER": "ann"}) == "54321"
