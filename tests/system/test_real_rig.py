"""A rig with a gantry and a camera under a real systemd, and two accidents of a greenhouse.

The board is a stand-in on a pseudo-terminal, and a unit of the same machine: it starts at boot, and ends when the power
is cut. The camera is libgphoto2's own virtual one. The rest is what the installer makes with ``--extras grbl,gphoto2``,
including its drop-ins for the hardware. A pseudo-terminal needs no others: DevicePolicy=closed allows it, and its group
decides who may open it, as with a real port.

Slots are numbered from 0, as in the store: the cable is pulled in slot 2 (the third), the power fails in slot 4 (the
last). Just before that a person gives a manual command, which is refused; after the timelapse such commands are done.
"""

from __future__ import annotations

import io
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grbl_stand_in
import pytest
from container import Entry, Rig
from debian import SOURCES
from PIL import Image
from plant_database import open_database
from timelapse_service import TimelapseService, datasets_of
from waiting import RigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from subprocess import CompletedProcess

PORT = "/dev/ttyACM0"
CAMERA = "/var/lib/virtual-camera"
LIT = "/var/lib/plant-imager3-app/lit"
"""A file that exists while the scan light is on."""
SEEN = "/root/seen.png"
STAND_IN = "/usr/local/lib/grbl_stand_in.py"

BOARD = f"""\
[Unit]
Description=The gantry's board
Before=plant-imager-timelapsed.service
[Service]
Type=notify
ExecStart=/usr/bin/python3 {STAND_IN} --link {PORT} --group dialout --fault unplug@11 --fault stuck@11
[Install]
WantedBy=multi-user.target
"""
"""A slot has four moves. The third one of slot 2 is the eleventh since boot: there the cable is pulled. With the cable
in again, the third one of slot 4 is the eleventh: there the arm still moves when the power goes."""

CONFIGURATION = f"""\
driver = "grbl"
clock = "trust"

[drivers.grbl]
port = "{PORT}"
answer_timeout = "10s"
keep_free = "1 MB"

[drivers.grbl.cameras.camera]
kind = "gphoto2"

[drivers.grbl.switches.lamp]
role = "scan_light"
on = ["touch", "{LIT}"]
off = ["rm", "-f", "{LIT}"]
"""

POSES = [(25, 375, 0), (375, 25, 90), (725, 375, 180), (375, 725, 270)]
"""x, y in mm and pan in degrees of the four positions."""

MANUAL = ("check", "lights on", "home", "goto --x 100 --y 200 --pan 45", f"snapshot --output {SEEN}", "lights off")
"""Manual commands of a person, in their order."""

HISTORY = [
    ("scan_started", "0", "1"),
    ("scan_succeeded", "0", "1"),
    ("scan_started", "1", "1"),
    ("scan_succeeded", "1", "1"),
    ("scan_started", "2", "1"),
    ("attempt_failed", "2", "1"),
    ("scan_started", "2", "2"),
    ("rig_not_ready", "2", "1"),  # the attempt does not count
    ("scan_succeeded", "2", "2"),
    ("scan_started", "3", "1"),
    ("scan_succeeded", "3", "1"),
    ("scan_started", "4", "1"),
    ("slot_interrupted", "4", "1"),
    ("scan_started", "4", "2"),
    ("scan_succeeded", "4", "2"),
]
"""The journal's entries of the slots: ACTION, SLOT, ATTEMPT."""


@dataclass(frozen=True)
class Story:
    """The observations of one timelapse, which is completed."""

    service: TimelapseService
    """The service of the machine, which is on."""
    cable: Entry
    """The journal's entry about the pulled cable."""
    absent: Entry
    """The entry about the next call of the board."""
    unplugged: dict[str, Any]
    """The record of slot 2 at that time."""
    cut: dict[str, Any]
    """The store as the power cut left it."""
    cut_datasets: dict[str, int]
    """The datasets as the power cut left them."""
    resumed: Entry
    """The entry of the next boot about the slot."""
    refused: CompletedProcess[str]
    """The manual command in mid-scan."""
    answers: Mapping[str, str]
    """The output of each manual command after the timelapse."""
    lit: Sequence[bool]
    """Whether the scan light was on after each of them."""

    @property
    def datasets(self) -> Path:
        """The directory of the datasets on the host."""
        return self.service.rig.path(f"{self.service.storage}/datasets")


@pytest.fixture(scope="module")
def story(layers: Path, installed: tuple[Path, ...]) -> Iterator[Story]:
    """Return the story of a timelapse of five slots, with the cable pulled and plugged in again, and a power cut."""
    rig = Rig(layers, installed)
    try:
        yield happen(equip(rig))
    except RigError as failure:
        failure.add_note(rig.journal_text("--lines=150"))
        raise
    finally:
        rig.remove()


def equip(rig: Rig) -> TimelapseService:
    """Give a machine, which is off, a gantry, a camera and a timelapse of five slots; return its service."""
    rig.build(f"{SOURCES}/systemd/install", "--wheels", f"{SOURCES}/wheels", "--extras", "grbl,gphoto2")
    rig.write(STAND_IN, Path(grbl_stand_in.__file__).read_text(encoding="utf-8"))
    rig.write("/etc/systemd/system/board.service", BOARD)
    rig.build("systemctl", "enable", "board.service")
    picture = rig.path(f"{CAMERA}/DCIM/100TEST/A0001.JPG")
    picture.parent.mkdir(parents=True)
    Image.linear_gradient("L").resize((640, 480)).convert("RGB").save(picture)
    service = TimelapseService(rig)
    service.drop_in("virtual-camera", f"Environment=VCAMERADIR={CAMERA}")
    service.see_boots()
    service.configure(CONFIGURATION)
    service.define(interval="6s", n_shots=5, retries=1)
    return service


def happen(service: TimelapseService) -> Story:
    """Let the timelapse run, with its accidents and its manual commands."""
    rig = service.rig
    rig.boot()
    cable = service.wait_for("attempt_failed", "SLOT=2")
    absent = service.wait_for("rig_not_ready", "SLOT=2")
    unplugged = service.records()[2]
    rig.run("systemctl", "kill", "--signal=SIGUSR1", "board.service")  # plugs the cable in again
    service.wait_for("scan_succeeded", "SLOT=2")
    service.wait_for_status("scanning slot 4 of 5, picture 2 of 4")
    refused = rig.run("timelapsectl", "rig", "home", check=False)
    rig.power_cut()
    cut, cut_datasets = service.read(), datasets_of(service)
    rig.boot()
    resumed = service.wait_for("resumed")
    service.wait_for("timelapse_completed")
    answers, lit = {}, []
    for command in MANUAL:
        answers[command] = service.ctl("rig", *command.split())
        lit.append(rig.path(LIT).exists())
    return Story(service, cable, absent, unplugged, cut, cut_datasets, resumed, refused, answers, lit)


def test_neither_accident_costs_a_slot(story: Story):
    """Each slot has exactly one record, which says that it was taken and with how many attempts."""
    assert [scan["scan_id"] for scan in story.service.read()["scans"]] == [f"tl_{slot}" for slot in range(5)]
    records = [record for _, record in sorted(story.service.records().items())]
    assert [(record["status"], record["pictures"], record["error"]) for record in records] == [
        ("succeeded", 4, None)
    ] * 5
    assert [record["attempt"] for record in records] == [1, 1, 2, 1, 2]
    assert [record["interruptions"] for record in records] == [0, 0, 0, 0, 1]
    assert story.service.facts()["boots"] == 2


def test_pulled_cable_is_reported_with_its_port_and_its_cure(story: Story):
    """Journal and record say what ended the attempt, then what the daemon waits for."""
    gone = f"{PORT}: the cable was pulled or the board switched off; check the cable and the power"
    no_port = f"{PORT}: there is no such port; check the cable and the power"
    assert story.cable["MESSAGE"] == f"attempt_failed: tl_2: {gone}; 2nd attempt starts now"
    assert story.absent["MESSAGE"].startswith(f"rig_not_ready: slot 2 of 5: {no_port}")
    assert (story.unplugged["status"], story.unplugged["reason"]) == ("pending", "rig_not_ready")
    assert story.unplugged["error"].startswith(no_port)
    assert story.service.records()[2]["last_error"].startswith(no_port)


def test_power_cut_is_reported_by_the_next_boot(story: Story):
    """The store of the dead machine says what was running; the journal of the next boot and the record say the rest."""
    assert (story.cut["state"], story.cut["next_idx"]) == ("running", 4)
    assert [scan["status"] for scan in story.cut["scans"]] == ["succeeded"] * 4 + ["running"]
    assert "was scanning slot 4 when the power went" in story.resumed["MESSAGE"]
    assert story.service.records()[4]["last_error"] == "the power went while it was being taken"


def test_journal_of_both_boots_follows_every_attempt(story: Story):
    """Every event of a slot has one entry, in order, with its slot and attempt; none of them is an error.

    The second boot tells once more what the first may not have written.
    """
    ours = f"_SYSTEMD_UNIT={story.service.unit}"
    found = [
        (entry["ACTION"], entry["SLOT"], entry["ATTEMPT"])
        for entry in story.service.rig.journal(ours, "TIMELAPSE_ID=tl")
        if "SLOT" in entry and entry["ACTION"] != "rig_warmup" and "RETOLD" not in entry
    ]
    assert found == HISTORY
    assert [entry["MESSAGE"] for entry in story.service.rig.journal(ours, "--priority=err")] == []


def test_only_whole_datasets_have_their_final_names(story: Story):
    """The disk of the dead machine has no others; the pictures of a cut attempt are kept aside, and are no dataset."""
    assert story.cut_datasets == {f"tl_{slot}": 4 for slot in range(4)}
    assert datasets_of(story.service) == {f"tl_{slot}": 4 for slot in range(5)}
    aside = {path.name.partition("~")[0]: len([*(path / "images").iterdir()]) for path in story.datasets.glob(".*")}
    assert aside == {".tl_2.attempt-1": 2, ".tl_4.attempt-1": 2}
    assert not [*story.datasets.glob(".*/files.json")]


def test_plantdb_reads_every_dataset(story: Story, tmp_path: Path):
    """The community's database reads the five scans, the attempt that took them, and the pose of each picture."""
    shutil.copytree(story.datasets, tmp_path / "datasets")
    with open_database(tmp_path / "datasets") as database:
        assert sorted(database.list_scans(owner_only=False)) == [f"tl_{slot}" for slot in range(5)]
        for slot, record in story.service.records().items():
            scan = database.get_scan(f"tl_{slot}")
            about = scan.get_metadata("timelapsed")
            assert (about["timelapse_id"], about["index"], about["attempt"]) == ("tl", slot, record["attempt"])
            files = sorted(scan.get_fileset("images").get_files(), key=lambda file: file.id)
            poses = [file.get_metadata("approximate_pose") for file in files]
            assert [(round(x), round(y), round(pan)) for x, y, _, pan, _ in poses] == POSES
            for file in files:
                with Image.open(io.BytesIO(file.read_raw())) as picture:
                    assert (picture.format, picture.size) == ("PNG", (16, 12))


def test_manual_commands_are_done_when_no_scan_runs(story: Story):
    """In mid-scan the answer says what runs; afterwards the service does them all, with light for the picture."""
    assert story.refused.returncode == 1
    assert story.refused.stderr.startswith(
        "error: slot 4 of 5 is being scanned; 2 of 4 pictures are taken; try again at about "
    )
    checked, *others = story.answers.values()
    assert [line.split(maxsplit=2) for line in checked.splitlines()] == [
        ["switches", "answers", "switched: lamp (scan_light)"],
        ["gantry", "answers", f"Grbl 1.1h on {PORT}, not homed yet"],
        ["camera", "camera", "answers     gphoto2, took a picture of 16 × 12"],
    ]
    assert others == [
        "the light is that of a scan\n",
        "homed; the arm stands at x 0 y 0 pan 0\n",
        "the arm stands at x 100 y 200 pan 45\n",
        f"{SEEN}: by camera\n",
        "the plant has its own light again\n",
    ]
    assert story.lit == [False, True, True, True, True, False]
    with Image.open(story.service.rig.path(SEEN)) as picture:
        assert picture.size == (16, 12)
    asked = story.service.rig.journal(f"_SYSTEMD_UNIT={story.service.unit}", "ACTION=rig_by_hand")
    assert len(asked) == len(MANUAL)
    assert {entry["MESSAGE"].partition(": ")[2].partition(":")[0].rpartition(", by ")[2] for entry in asked} == {"root"}
