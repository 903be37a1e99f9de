"""`systemd/wait-for-gap`: when an update may restart a rig."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime, timedelta
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from typing import Any

import pytest
from tree import SYSTEMD

TIMELAPSECTL = """\
#!/bin/sh
[ "$*" = "--rig left status --json" ] || exit 2
cd "$(dirname "$0")"
n=$(cat n 2>/dev/null || echo 0)
echo $((n + 1)) > n
if [ -e "$n.json" ]; then cat "$n.json"; else cat last.json; fi
"""


@pytest.fixture
def script(monkeypatch):
    """Return the program as a module that asks without a pause."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    loader = SourceFileLoader("wait_for_gap", str(SYSTEMD / "wait-for-gap"))
    module = module_from_spec(spec_from_loader(loader.name, loader))
    loader.exec_module(module)
    module.POLL = 0
    module.PATIENCE = timedelta(hours=1)
    # So wide that a slow machine leaves a slot near.
    module.MARGIN = timedelta(hours=1)
    return module


def scanning(slot: int = 3) -> dict[str, Any]:
    """Return what the daemon says during a scan."""
    return {"daemon": {"pid": 1}, "rig": "scanning", "scanning": {"slot": slot}, "timelapse": {"state": "running"}}


def between_scans(seconds: float, *, warmup: float = 30) -> dict[str, Any]:
    """Return what the daemon says so many seconds before the next slot."""
    at = datetime.now(UTC) + timedelta(seconds=seconds)  # noqa: TID251 - the program asks the same clock
    timelapse = {"state": "scheduled", "next_slot": 4, "next_at": at.isoformat(), "warmup_sec": warmup}
    return {"daemon": {"pid": 1}, "rig": "warm", "scanning": None, "timelapse": timelapse}


def paused(seconds: float | None) -> dict[str, Any]:
    """Return what the daemon says in a pause, after which it takes its next slot in so many seconds, or never."""
    facts = between_scans(seconds or 0)
    facts["timelapse"] |= {"pause": {"since": "2026-01-01T00:00:00Z", "who": "anna", "until": None}}
    if seconds is None:
        facts["timelapse"] |= {"next_slot": None, "next_at": None}
    return facts


IDLE = {"daemon": {"pid": 1}, "rig": "standby", "scanning": None, "timelapse": None}
BY_HAND = {**IDLE, "rig": "by hand"}
PREPARING = {**between_scans(86_400), "rig": "preparing"}
DEGRADED = {**IDLE, "daemon": {"pid": 1, "degraded": "No space left on device"}}


@pytest.fixture
def wait(script, tmp_path, capsys):
    """Return a function that waits for a rig that says one thing after the other; its result, questions and words."""
    ctl = tmp_path / "timelapsectl"
    ctl.write_text(TIMELAPSECTL)
    ctl.chmod(0o755)

    def run(*said: dict[str, Any] | str) -> tuple[int, int, list[str]]:
        (tmp_path / "n").unlink(missing_ok=True)
        for number, facts in enumerate(said):
            text = facts if isinstance(facts, str) else json.dumps(facts)
            (tmp_path / f"{number}.json").write_text(text)
            (tmp_path / "last.json").write_text(text)
        code = script.main([str(ctl), "--rig", "left"])
        return code, int((tmp_path / "n").read_text()), capsys.readouterr().out.splitlines()

    return run


@pytest.mark.parametrize(
    "facts",
    [IDLE, between_scans(86_400), between_scans(-86_400), paused(86_400), paused(None)],
    ids=["idle", "gap", "rig not ready", "paused", "paused until resumed"],
)
def test_rig_that_rests_is_restarted_at_once(wait, facts):
    """Where no slot is near, and where one has been overdue for long, there is nothing to wait for."""
    assert wait(facts) == (0, 1, [])


def test_scan_is_waited_for_and_named(wait):
    """The end of a scan is waited for, and said once."""
    said = wait(scanning(), scanning(), between_scans(86_400))
    assert said == (0, 3, ["waiting: a scan of slot 3 is being taken"])


def test_manual_command_and_a_slot_that_is_near_are_waited_for(wait):
    """A restart would interrupt the one, and delay the other."""
    code, asked, lines = wait(BY_HAND, between_scans(60), scanning(4), IDLE)
    assert (code, asked) == (0, 4)
    assert lines == [
        "waiting: a person moves the rig",
        "waiting: slot 4 is about to be taken",
        "waiting: a scan of slot 4 is being taken",
    ]


def test_rig_whose_gaps_are_all_short_is_restarted_in_one_of_them(wait):
    """After three gaps in which a restart would delay the next slot, the next one is taken all the same."""
    code, asked, _ = wait(*[scanning(), between_scans(60)] * 6)
    assert (code, asked) == (0, 8)


def test_rig_that_is_prepared_is_waited_for(wait):
    """A restart would lose the warm-up, and the slot would have to wait for another."""
    code, asked, lines = wait(PREPARING, scanning(4), between_scans(86_400))
    assert (code, asked) == (0, 3)
    assert lines == ["waiting: the rig is prepared", "waiting: a scan of slot 4 is being taken"]


def test_slot_right_after_a_pause_is_waited_for(wait):
    """It is taken as any other."""
    code, asked, lines = wait(paused(60), scanning(4), IDLE)
    assert (code, asked, lines[0]) == (0, 3, "waiting: slot 4 is about to be taken")


@pytest.mark.parametrize("warmup", [7200, 0], ids=["long warm-up", "none"])
def test_slot_is_near_when_its_warm_up_is(wait, warmup):
    """A restart right before the warm-up would delay the slot as one before the slot does."""
    code, asked, _ = wait(between_scans(2.5 * 3600, warmup=warmup), IDLE)
    assert (code, asked) == (0, 2 if warmup else 1)


def test_rig_that_is_prepared_after_each_scan_is_restarted_in_a_short_gap(wait):
    """The preparation between two scans doesn't hide that the gap was too short, and isn't interrupted itself."""
    code, asked, _ = wait(*[scanning(), PREPARING, between_scans(60)] * 6)
    assert (code, asked) == (0, 12)


@pytest.mark.parametrize("said", ["", "[]", '{"daemon": null}', "error"])
def test_rig_that_can_not_be_asked_is_asked_again_and_then_left_alone(script, wait, said):
    """Nobody knows whether a daemon that runs and doesn't answer is in mid-scan."""
    code, asked, lines = wait(said, scanning(), IDLE)
    assert (code, asked, len(lines)) == (0, 3, 2)
    script.PATIENCE = timedelta(0)
    code, _, lines = wait(said)
    assert (code, lines[-1].split(":")[0]) == (75, "no longer waiting")


def test_rig_whose_store_can_not_be_written_is_not_restarted(script, wait):
    """What became of its last slots is only in the daemon's memory."""
    code, asked, lines = wait(DEGRADED, IDLE)
    assert (code, asked) == (0, 2)
    assert "only in memory: No space left on device" in lines[0]
    script.PATIENCE = timedelta(0)
    assert wait(DEGRADED)[0] == 75


def test_rig_that_never_rests_is_left_alone(script, wait):
    """After the longest time the program ends with a status of its own."""
    script.LONGEST = timedelta(0)
    code, _, _ = wait(scanning())
    assert code == 75
