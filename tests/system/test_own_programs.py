"""The operator's own programs under a real systemd: the command driver in the sandbox of the unit as delivered.

A program that only takes pictures must work without a drop-in. The comments of the unit say what others need.
"""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

import pytest
from container import Rig
from timelapse_service import TimelapseService
from tree import SYSTEMD

if TYPE_CHECKING:
    from collections.abc import Iterator

EXAMPLES = SYSTEMD / "examples"
BIN = "/usr/local/bin"
SCRATCH = "/var/lib/plant-imager3-app/programs"
"""A directory in which the programs keep notes; they make it themselves."""

TAKE_SCAN = f"""\
#!/usr/bin/python3
import json, os, pathlib, signal, sys
request = json.load(sys.stdin)
assert request["scan_id"] == os.environ["SCAN_ID"]
scratch = pathlib.Path("{SCRATCH}")
with (scratch / "ledger").open("a") as ledger:
    print(os.environ["SLOT"], os.environ["ATTEMPT"], file=ledger)
images = pathlib.Path(os.environ["DATASET_DIR"])
for number in range(2):
    if (os.environ["SLOT"], os.environ["ATTEMPT"], number) == ("1", "1", 1):
        (scratch / "pid").write_text(str(os.getpid()))
        print(json.dumps({{"progress": [1, 2], "note": "stuck"}}), flush=True)
        while True:
            signal.pause()  # a camera that hangs
    (images / f"{{number}}.jpg").write_bytes(b"JPEG")
    print(json.dumps({{"progress": [number + 1, 2]}}), flush=True)
"""

NOTE = f"""\
#!/bin/sh
mkdir -p {SCRATCH} && echo "$0 $1" >> {SCRATCH}/power
"""

CONFIGURATION = f"""\
driver = "command"
clock = "trust"

[drivers.command]
argv = ["{BIN}/take-scan"]
prepare = ["rig-power", "on"]
standby = ["rig-power", "off"]
"""


@pytest.fixture(scope="module")
def service(layers, installed) -> Iterator[TimelapseService]:
    """Return the service of a machine whose driver is two programs; it was killed while slot 1 hung, and resumed."""
    rig = Rig(layers, installed, hostname="own")
    try:
        rig.write(f"{BIN}/take-scan", TAKE_SCAN, mode=0o755)
        rig.write(f"{BIN}/rig-power", NOTE, mode=0o755)
        service = TimelapseService(rig)
        service.configure(CONFIGURATION)
        service.define(n_shots=3)
        rig.boot()
        service.wait_for_status("scanning slot 1 of 3, picture 1 of 2")
        rig.run("systemctl", "kill", "--kill-whom=main", "--signal=KILL", service.unit)
        service.wait_for("timelapse_completed")
        yield service
    finally:
        rig.remove()


def test_each_slot_is_taken_by_the_program(service):
    """A second attempt took the slot in which the daemon was killed; the program's own ledger says the same."""
    assert service.outcomes() == ["succeeded"] * 3
    assert [record["attempt"] for _, record in sorted(service.records().items())] == [1, 2, 1]
    ledger = service.rig.path(f"{SCRATCH}/ledger").read_text().splitlines()
    assert ledger == ["0 1", "1 1", "1 2", "2 1"]
    datasets = service.rig.path(f"{service.storage}/datasets")
    pictures = sorted(str(path.relative_to(datasets)) for path in datasets.glob("[!.]*/*.jpg"))
    assert pictures == [f"tl_{slot}/{number}.jpg" for slot in range(3) for number in range(2)]


def test_nothing_is_refused_by_the_sandbox(service):
    """The journal has no warning, except of the death that the test caused, and of the rig's disk: it is in memory."""
    warned = service.rig.journal(f"_SYSTEMD_UNIT={service.unit}", "--priority=warning")
    actions = [entry["ACTION"] for entry in warned if entry["ACTION"] != "storage_not_lasting"]
    assert actions == ["slot_interrupted"]


def test_program_does_not_outlive_its_daemon(service):
    """The unit ends it before the next daemon starts: two programs on one rig would spoil both scans."""
    pid = service.rig.path(f"{SCRATCH}/pid").read_text()
    assert service.rig.run("test", "-e", f"/proc/{pid}", check=False).returncode == 1


def test_power_is_switched_by_the_other_program(service):
    """It is on before the first slot and after each start, and off when no slot is left."""

    def power():
        lines = service.rig.path(f"{SCRATCH}/power").read_text().splitlines()
        return [line.rpartition("/")[2] for line in lines]

    service.rig.wait_until(lambda: power()[-1] == "rig-power off", what="the rig is in standby")
    assert {*power()} == {"rig-power on", "rig-power off"}


def test_files_of_the_program_are_readable_by_the_service_alone(service):
    """They have the mode of all files that the service makes."""
    ledger = service.rig.path(f"{SCRATCH}/ledger")
    assert stat.S_IMODE(ledger.stat().st_mode) == 0o600


SERVER = """\
[Unit]
Before=plant-imager-timelapsed.service
[Service]
ExecStart=/usr/bin/python3 -m http.server --bind 127.0.0.1 --directory /usr/share/doc/bash 8000
[Install]
WantedBy=multi-user.target
"""

FETCH = """\
#!/usr/bin/python3
import os, pathlib, urllib.request
with urllib.request.urlopen("http://127.0.0.1:8000/copyright") as answer:
    pathlib.Path(os.environ["DATASET_DIR"], "seen.jpg").write_bytes(answer.read())
"""


def test_program_reaches_a_server_of_this_host_with_the_example_in_place(rig):
    """Such a server is a controller on the same machine; without systemd/examples/network.conf there is no network."""
    service = TimelapseService(rig)
    rig.write(f"{BIN}/take-scan", FETCH, mode=0o755)
    rig.write("/etc/systemd/system/server.service", SERVER)
    rig.build("systemctl", "enable", "server.service")
    service.configure('driver = "command"\nclock = "trust"\n[drivers.command]\nargv = ["take-scan"]\n')
    service.define(n_shots=2, interval="30s")
    rig.boot()
    assert "Address family not supported" in service.wait_for("scan_failed", "SLOT=0")["MESSAGE"]
    rig.write(f"/etc/systemd/system/{service.unit}.d/network.conf", (EXAMPLES / "network.conf").read_text())
    rig.run("systemctl", "daemon-reload")
    service.systemctl("restart")
    service.wait_for("scan_succeeded", "SLOT=1", within=120)
    assert rig.path(f"{service.storage}/datasets/tl_1/seen.jpg").read_bytes()
