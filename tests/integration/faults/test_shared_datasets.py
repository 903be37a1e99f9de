"""Rigs and hosts that share one directory for their datasets, with real daemons and programs."""

from __future__ import annotations

import json
import shutil
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from daemon_process import DaemonProcess, Place, statuses
from tiny_scan import configuration, definition, scan

from plantimager.timelapse.support.clock import SystemClock

if TYPE_CHECKING:
    from pathlib import Path

TAKES = """\
#!/bin/sh
trap 'echo "$RIG ended" >> {ledger}; exit 1' TERM
echo "$RIG begins $SCAN_ID" >> {ledger}
for i in 1 2 3 4 5 6 7 8; do sleep 0.1; echo "{{\\"progress\\": [$i, 8]}}"; done
echo "$RIG" > whose.txt
echo "$RIG done" >> {ledger}
"""

COMMAND = """\
driver = "command"
datasets = "{datasets}"
clock = "trust"
[drivers.command]
argv = ["{program}"]
environment = {{ RIG = "{rig}" }}
keep_free = "1 MB"
"""


class Pair:
    """Two rigs that take the same timelapse into one directory."""

    def __init__(self, root: Path) -> None:
        self.datasets, self.ledger = root / "scans", root / "ledger"
        self.datasets.mkdir()
        program = root / "take-scan"
        program.write_text(TAKES.format(ledger=self.ledger))
        program.chmod(0o755)
        self.places = []
        for rig in "ab":
            (root / rig).mkdir()
            place = Place(root / rig)
            place.configure(COMMAND.format(datasets=self.datasets, program=program, rig=rig))
            self.places.append(place)
        at = (SystemClock().now() + timedelta(seconds=4)).isoformat(timespec="seconds")
        for place in self.places:
            place.define(
                f'[timelapse]\nname = "drought"\nmode = "one_shot"\nstart_at = "{at}"\n'
                f"warmup_period = 0\ngrace_period = 600\n{scan()}"
            )

    def began(self) -> list[str]:
        return sorted(line for line in self.ledger.read_text().splitlines() if "begins" in line)


@pytest.fixture
def hosts(tmp_path):
    """Return a function that starts a rig as one of two hosts, which have the same paths and one export."""
    pair = Pair(tmp_path)
    same = tmp_path / "same"
    same.mkdir()

    def start(number: int) -> DaemonProcess:
        place = pair.places[number]
        identifier = tmp_path / f"machine-id-{number}"
        identifier.write_text(f"{number}" * 32)
        become = (
            f"hostname pi-{number} && mount --bind {place.data.parent} {same} && "
            f'mount --bind {identifier} /etc/machine-id && exec "$@"'
        )
        environment = {"XDG_DATA_HOME": str(same / "data"), "XDG_CONFIG_HOME": str(same / "config")}
        by = ["unshare", "--mount", "--uts", "sh", "-c", become, "sh"]
        return DaemonProcess(place, environment=environment, by=by)

    return pair, start


@pytest.mark.system
def test_two_hosts_with_one_export_take_their_own_slots(hosts) -> None:
    """Same path of the store, same timelapse, same moment: two machines, and each scans for itself."""
    pair, start = hosts
    with start(0) as a, start(1) as b:
        ends = [daemon.wait_for("timelapse_completed") for daemon in (a, b)]
        assert [a.stop(), b.stop()] == [0, 0]
    assert pair.began() == ["a begins drought", "b begins drought"]
    assert "ended" not in pair.ledger.read_text()
    records = [statuses(place.read()) for place in pair.places]
    assert sorted(records) == [["failed"], ["succeeded"]]
    loser = records.index(["failed"])
    assert sorted(("1 taken" in end, "1 failed" in end) for end in ends) == [(False, True), (True, False)]
    [fault] = (a, b)[loser].said("scan_failed")
    assert f"is a dataset of the rig without a name on pi-{1 - loser}" in fault
    assert (pair.datasets / "drought" / "whose.txt").read_text().strip() == "ba"[loser]
    [aside] = pair.datasets.glob(".drought.attempt-1~*")
    assert (aside / "whose.txt").read_text().strip() == "ab"[loser]


@pytest.mark.system
def test_host_that_comes_late_takes_nothing_of_the_others(hosts) -> None:
    """It is off at the slot's time and back within its grace, while the other's dataset is there already."""
    pair, start = hosts
    with start(0) as first:
        first.wait_for("scan_succeeded")
        with start(1) as late:
            late.wait_for("scan_failed")
            assert late.stop() == 0
        assert first.stop() == 0
    assert pair.began() == ["a begins drought", "b begins drought"]
    assert (pair.datasets / "drought" / "whose.txt").read_text().strip() == "a"
    assert [statuses(place.read()) for place in pair.places] == [["succeeded"], ["failed"]]


def named(place: Place, datasets: Path) -> Place:
    """Return the place as that of the rig north, with one directory for the datasets of all rigs."""
    place.settings /= "north"
    place.settings.mkdir()
    place.store = place.storage / "timelapse_storage-north.json"
    place.configure(configuration(f'datasets = "{datasets}"'))
    return place


def test_update_does_not_split_a_running_timelapse_over_two_directories(place: Place, tmp_path) -> None:
    """Before it a named rig's datasets went into the directory itself; the next timelapse has the one of its name."""
    datasets, own = tmp_path / "scans", tmp_path / "scans" / "north"
    named(place, datasets).define(definition(8))
    with place.start("--rig", "north") as daemon:
        daemon.wait_for("scan_succeeded: tl_1")
        daemon.kill()
    for dataset in own.glob("tl_*"):
        dataset.rename(datasets / dataset.name)
    with place.start("--rig", "north") as daemon:
        said = daemon.wait_for("config_loaded")
        assert f"datasets of tl stay in {datasets}; those of later timelapses go to {own}" in said
        daemon.wait_for("timelapse_completed: tl: 8 taken")
        assert [*own.glob("tl_*")] == []
        assert len([*datasets.glob("tl_*")]) == 8
        place.define(definition(2).replace('"tl"', '"next"'))
        daemon.reload()
        daemon.wait_for("timelapse_completed: next: 2 taken")
        assert daemon.stop() == 0
        assert len(daemon.said("config_loaded")) == 1
    assert sorted(path.name for path in own.glob("next_*")) == ["next_0", "next_1"]


def test_datasets_of_another_rig_keep_none_of_ours_there(place: Place, tmp_path) -> None:
    """The timelapse of another rig may have the same name; ours has its own directory from its first slot on."""
    datasets, own = tmp_path / "scans", tmp_path / "scans" / "north"
    named(place, datasets).define(definition(4))
    with place.start("--rig", "north") as daemon:
        daemon.wait_for("scan_succeeded: tl_0")
        daemon.kill()
    shutil.copytree(own / "tl_0", datasets / "tl_0")
    receipt = datasets / "tl_0" / "timelapsed.json"
    theirs = json.loads(receipt.read_text())
    theirs["owner"]["store"] = "/elsewhere.json"
    receipt.write_text(json.dumps(theirs))
    with place.start("--rig", "north") as daemon:
        daemon.wait_for("timelapse_completed: tl: 4 taken")
        assert daemon.stop() == 0
    assert len([*own.glob("tl_*")]) == 4
