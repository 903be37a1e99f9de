"""The operator's own programs under a real systemd: the command driver in the sandbox of the unit as delivered.

A program that only takes pictures must work without a drop-in. The comments of the unit say what others need.
"""

from __future__ import annotations

import stat
from pathlib import Path
from typing import TYPE_CHECKING

import grbl_stand_in
import pytest
from container import Rig
from debian import SOURCES, on_every_release
from PIL import Image
from timelapse_service import TimelapseService, definition
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


# --- protection from the OOM killer -------------------------------------------------------------------------

CAP_SYS_RESOURCE = 1 << 24
DAEMONS_SCORE = -500
"""OOMScoreAdjust= of the unit."""
STANDING_FOR_IT = 300
"""Where this host's own root may protect no process. Then a file stands for what the daemon reads of itself."""
READ_INSTEAD = "/etc/plant-imager3-app/oom_score_adj"

GO = f"{SCRATCH}/go"
"""Until this file is there, the programs below go on."""

STAYS = f"""\
#!/bin/sh
# At once, and before anybody could change it from outside: a child has what its parent has.
( read score </proc/self/oom_score_adj && echo "$score" >{SCRATCH}/$1.child ) &
read score </proc/$$/oom_score_adj && echo "$score" >{SCRATCH}/$1.own
wait
mkdir -p images && echo JPEG >images/0.jpg
[ -z "$2" ] || cp {SCRATCH}/picture.jpg "$2"
until [ -e {GO} ]; do sleep 0.2; done
echo '{{}}'
"""
"""Takes the scan, is a camera or observes, by the name that it is given; it is there until it may go."""

CHOOM = f"""\
#!/bin/sh
printf '%s\\n' "$*" >>{SCRATCH}/choom
exec /usr/bin/choom "$@"
"""
"""Found before the real one, which it becomes."""

STAYING = f"""\
clock = "trust"
observe = ["{BIN}/stays", "observe"]
observe_timeout = "10m"
stall_timeout = "10m"
"""

TAKES = f"""\
driver = "command"
{STAYING}
[drivers.command]
argv = ["{BIN}/stays", "scan"]
"""

GANTRY = f"""\
driver = "grbl"
{STAYING}
[drivers.grbl]
port = "/dev/ttyACM0"
keep_free = "1 MB"
exposure_timeout = "4m"

[drivers.grbl.cameras.camera]
kind = "command"
argv = ["{BIN}/stays", "camera", "{{output}}"]

[drivers.grbl.cameras.side]
kind = "gphoto2"
"""

BOARD = """\
[Unit]
Before=plant-imager-timelapsed.service
[Service]
Type=notify
ExecStart=/usr/bin/python3 /usr/local/lib/grbl_stand_in.py --link /dev/ttyACM0 --group dialout
[Install]
WantedBy=multi-user.target
"""


def protect(service: TimelapseService) -> int:
    """Return the score that the daemon of a machine, which is off, will have; no program of its is to have that."""
    (bounding,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("CapBnd"))
    if int(bounding.split()[1], 16) & CAP_SYS_RESOURCE:
        return DAEMONS_SCORE
    service.drop_in("score", f"OOMScoreAdjust={STANDING_FOR_IT}")
    service.rig.write(READ_INSTEAD, f"{DAEMONS_SCORE}\n")
    modules = service.rig.path("/opt").glob(
        "*/*/lib/python*/site-packages/plantimager/timelapse/drivers/programs/run.py"
    )
    for module in modules:  # of each installation
        module.write_text(module.read_text().replace("/proc/self/oom_score_adj", READ_INSTEAD))
    return STANDING_FOR_IT


def check_scores(service: TimelapseService, daemons: int, *names: str) -> None:
    """Check the service's processes while the programs of these names run, and let these end."""
    rig = service.rig
    try:
        said = [rig.path(f"{SCRATCH}/{name}.{who}") for name in names for who in ("own", "child")]
        rig.wait_until(lambda: all(path.exists() and path.read_text() for path in said), what="all programs run")
        assert {path.name: path.read_text() for path in said} == {path.name: "0\n" for path in said}
        found = service.oom_scores()
        (daemon,) = (words for words in found if words.endswith("/timelapsed"))
        assert found.pop(daemon) == daemons
        assert set(found.values()) == {0}, found
        for name in names:
            assert any(f"{BIN}/stays {name}" in words for words in found), found
        # From their first instant on, whatever they start, by the words before them; a camera's process has no more to
        # give to its program.
        began = rig.path(f"{SCRATCH}/choom").read_text().splitlines()
        for name in {*names} - {"camera"}:
            assert any(line.startswith("-n 0 -- ") and f"{BIN}/stays {name}" in line for line in began), began
    finally:
        rig.path(GO).touch()
    service.wait_for("scan_succeeded")


def make_staying(service: TimelapseService, configuration: str, further: str = "") -> None:
    """Give a machine, which is off, the programs and a timelapse of one slot; ``further`` lines end its definition."""
    rig = service.rig
    rig.build("install", "-d", "-o", "plant-imager", "-g", "plant-imager", SCRATCH)
    rig.write(f"{BIN}/stays", STAYS, mode=0o755)
    rig.write(f"{BIN}/choom", CHOOM, mode=0o755)
    service.configure(configuration)
    rig.write(f"{service.settings}/timelapse.toml", definition(n_shots=1) + further)


@on_every_release
def test_programs_have_not_the_daemons_protection_from_the_oom_killer(rig):
    """Whichever takes all memory is ended itself: the daemon alone keeps what the unit gives it."""
    service = TimelapseService(rig)
    make_staying(service, TAKES)
    daemons = protect(service)
    rig.boot()
    check_scores(service, daemons, "scan", "observe")


@on_every_release
def test_cameras_and_their_programs_have_not_the_daemons_protection_from_the_oom_killer(rig):
    """The same for a gantry's cameras, with the drop-ins that the installer makes for them."""
    service = TimelapseService(rig)
    make_staying(service, GANTRY, "[side]\n")
    rig.build(f"{SOURCES}/systemd/install", "--wheels", f"{SOURCES}/wheels", "--extras", "grbl,gphoto2")
    rig.write("/usr/local/lib/grbl_stand_in.py", Path(grbl_stand_in.__file__).read_text(encoding="utf-8"))
    rig.write("/etc/systemd/system/board.service", BOARD)
    rig.build("systemctl", "enable", "board.service")
    on_card = rig.path("/var/lib/virtual-camera/DCIM/100TEST/A0001.JPG")
    on_card.parent.mkdir(parents=True)
    for path in (on_card, rig.path(f"{SCRATCH}/picture.jpg")):
        Image.linear_gradient("L").resize((16, 12)).convert("RGB").save(path)
    service.drop_in("virtual-camera", "Environment=VCAMERADIR=/var/lib/virtual-camera")
    daemons = protect(service)
    rig.boot()
    check_scores(service, daemons, "camera", "observe")
