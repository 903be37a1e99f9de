"""The names of users who ask, from a directory service that fails or hangs."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import pytest
from waiting import wait_until

from plantimager.timelapse.channel import peer
from plantimager.timelapse.channel.peer import KEPT_SECONDS, look_up_user

PATIENCE = 60.0


@pytest.fixture
def service(monkeypatch):
    """Return a directory service that knows ``names``, and answers when ``answers`` is set."""
    service = SimpleNamespace(names={1000: "ada", 1001: "ben"}, asked=[], answers=threading.Event())
    service.answers.set()

    def find(uid):
        service.asked.append(uid)
        service.answers.wait()
        return SimpleNamespace(pw_name=service.names[uid])

    monkeypatch.setattr(peer, "pwd", SimpleNamespace(getpwuid=find))
    monkeypatch.setattr(peer, "_names", {})
    monkeypatch.setattr(peer, "_failed_at", {})
    monkeypatch.setattr(peer, "NAME_SECONDS", 0.05)
    yield service
    service.answers.set()
    assert wait_until(lambda: not peer._search.locked(), within=PATIENCE)


@pytest.fixture
def patient(monkeypatch):
    """Wait for the directory service as long as it takes."""
    monkeypatch.setattr(peer, "NAME_SECONDS", PATIENCE)


@pytest.mark.usefixtures("patient")
def test_name_is_asked_for_once(service):
    """It is found."""
    assert [look_up_user(1000, now) for now in (0.0, 1.0, 1000.0)] == ["ada"] * 3
    assert service.asked == [1000]


@pytest.mark.usefixtures("patient")
def test_failure_is_kept_for_a_minute(service):
    """Then the user may be known."""
    assert [look_up_user(1002, now) for now in (0.0, 1.0, KEPT_SECONDS - 1)] == ["uid 1002"] * 3
    assert service.asked == [1002]
    service.names[1002] = "carla"
    assert look_up_user(1002, KEPT_SECONDS) == "carla"


def test_service_that_hangs_costs_one_thread_and_one_wait(service):
    """Whoever asks meanwhile, also as another user; what it answers late counts."""
    service.answers.clear()
    before = {*threading.enumerate()}
    assert [look_up_user(uid, 100.0 * uid) for uid in (1000, 1000, 1001, 1001)] == [
        "uid 1000",
        "uid 1000",
        "uid 1001",
        "uid 1001",
    ]
    assert wait_until(lambda: service.asked, within=PATIENCE)
    assert (service.asked, len({*threading.enumerate()} - before)) == ([1000], 1)
    service.answers.set()
    assert wait_until(lambda: look_up_user(1000, 0.0) == "ada", within=PATIENCE)
