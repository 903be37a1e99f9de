"""A rig with a gantry and a camera under a real systemd, and what may happen to it in a greenhouse.

The board is a stand-in on a pseudo-terminal, and a unit of the same machine: it comes up at boot, and dies with the
power. The camera is libgphoto2's own virtual one. All else is as delivered: what the installer makes of
``--extras grbl,gphoto2``, its drop-ins for the hardware included. They need no addition for a pseudo-terminal:
DevicePolicy=closed lets those pass, and who may open this one is decided by its group, as with a real port.

Slots are numbered from 0, as in the store: the cable is pulled in slot 2 (the third), the power fails in slot 4 (the
last). Just before that somebody wants the rig by hand; they get it when the timelapse is over.
"""

from __future__ import annotations

import io
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grbl_stand_in
import pytest
from container import Entry, Rig, RigError
from PIL import Image
from plant_database import open_database
from timelapse_service import TimelapseService, datasets_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from subprocess import CompletedProcess

SOURCES = "/usr/src/timelapsed"

PORT = "/dev/ttyACM0"
CAMERA = "/var/lib/virtual-camera"
LIT = "/var/lib/plant-imager3-app/lit"
"""Is there while the scan light is on."""
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
"""Four moves make a slot. The third one of slot 2 is the eleventh since boot: there the cable is pulled. With the cable
in again, the third one of slot 4 is the eleventh: there the arm is still on its way when the power goes."""

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

BY_HAND = ("check", "lights on", "home", "goto --x 100 --y 200 --pan 45", f"snapshot --output {SEEN}", "lights off")
"""What a person tries one after the other."""

HISTORY = [
    ("scan_started", "0", "1"),
    ("scan_succeeded", "0", "1"),
    ("scan_started", "1", "1"),
    ("scan_succeeded", "1", "1"),
    ("scan_started", "2", "1"),
    ("attempt_failed", "2", "1"),
    ("scan_started", "2", "2"),
    ("rig_not_ready", "2", "1"),  # which gives its number back
    ("scan_succeeded", "2", "2"),
    ("scan_started", "3", "1"),
    ("scan_succeeded", "3", "1"),
    ("scan_started", "4", "1"),
    ("slot_interrupted", "4", "1"),
    ("scan_started", "4", "2"),
    ("scan_succeeded", "4", "2"),
]
"""What the journal has of the slots: ACTION, SLOT, ATTEMPT."""


@dataclass(frozen=True)
class Story:
    """What became of the timelapse."""

    service: TimelapseService
    """Of the machine, which is on; the timelapse is completed."""
    cable: Entry
    """What was told when the cable was pulled,"""
    absent: Entry
    """and when the board was asked for next."""
    unplugged: dict[str, Any]
    """The record of slot 2 then."""
    cut: dict[str, Any]
    """The store that the power cut left,"""
    cut_datasets: dict[str, int]
    """and the datasets."""
    resumed: Entry
    """What the next boot told first."""
    refused: CompletedProcess[str]
    """How a person was answered who wanted the rig in mid-scan,"""
    by_hand: Mapping[str, str]
    """and what each command said after the last."""
    lit: Sequence[bool]
    """Whether the scan light was on after each."""

    @property
    def datasets(self) -> Path:
        """Where the datasets are, as the host sees it."""
        return self.service.rig.path(f"{self.service.storage}/datasets")


@pytest.fixture(scope="module")
def story(layers: Path, installed: tuple[Path, ...]) -> Iterator[Story]:
    """Return what became of a timelapse of five slots, the cable pulled and plugged in again, the power cut."""
    rig = Rig(layers, installed)
    try:
        yield happen(equipped(rig))
    except RigError as failure:
        failure.add_note(rig.journal_text("--lines=150"))
        raise
    finally:
        rig.remove()


def equipped(rig: Rig) -> TimelapseService:
    """Return the service of a machine, off, that now has a gantry, a camera and a timelapse of five slots to take."""
    rig.build(f"{SOURCES}/systemd/install", "--wheels", f"{SOURCES}/wheels", "--extras", "grbl,gphoto2")
    rig.write(STAND_IN, Path(grbl_stand_in.__file__).read_text(encoding="utf-8"))
    rig.write("/etc/systemd/system/board.service", BOARD)
    rig.build("systemctl", "enable", "board.service")
    picture = rig.path(f"{CAMERA}/DCIM/100TEST/A0001.JPG")
    picture.parent.mkdir(parents=True)
    Image.linear_gradient("L").convert("RGB").save(picture)
    service = TimelapseService(rig)
    service.drop_in("virtual-camera", f"Environment=VCAMERADIR={CAMERA}")
    service.see_boots()
    service.configure(CONFIGURATION)
    service.define(interval="6s", n_shots=5, retries=1)
    return service


def happen(service: TimelapseService) -> Story:
    """Have the timelapse taken."""
    rig = service.rig
    rig.boot()
    cable = service.wait_for("attempt_failed", "SLOT=2")
    absent = service.wait_for("rig_not_ready", "SLOT=2")
    unplugged = service.records()[2]
    rig.run("systemctl", "kill", "--signal=SIGUSR1", "board.service")  # somebody plugs it in again
    service.wait_for("scan_succeeded", "SLOT=2")
    service.wait_for_status("scanning slot 4 of 5, picture 2 of 4")
    refused = rig.run("timelapsectl", "rig", "home", check=False)
    rig.power_cut()
    cut, cut_datasets = service.read(), datasets_of(service)
    rig.boot()
    resumed = service.wait_for("resumed")
    service.wait_for("timelapse_completed")
    by_hand, lit = {}, []
    for command in BY_HAND:
        by_hand[command] = service.ctl("rig", *command.split())
        lit.append(rig.path(LIT).exists())
    return Story(service, cable, absent, unplugged, cut, cut_datasets, resumed, refused, by_hand, lit)


def test_neither_costs_a_slot(story: Story):
    """Each slot has exactly one record, which says that it was taken and how many attempts that took."""
    assert [scan["scan_id"] for scan in story.service.read()["scans"]] == [f"tl_{slot}" for slot in range(5)]
    records = [record for _, record in sorted(story.service.records().items())]
    assert [(record["status"], record["pictures"], record["error"]) for record in records] == [
        ("succeeded", 4, None)
    ] * 5
    assert [record["attempt"] for record in records] == [1, 1, 2, 1, 2]
    assert [record["interruptions"] for record in records] == [0, 0, 0, 0, 1]
    assert story.service.facts()["boots"] == 2


def test_pulled_cable_is_told_with_its_port_and_its_cure(story: Story):
    """In the journal and in the record: what cut the attempt off, then what is waited for."""
    gone = f"{PORT}: the cable was pulled or the board switched off; check the cable and the power"
    no_port = f"{PORT}: there is no such port; check the cable and the power"
    assert story.cable["MESSAGE"] == f"attempt_failed: tl_2: {gone}; 2nd attempt starts now"
    assert story.absent["MESSAGE"].startswith(f"rig_not_ready: slot 2 of 5: {no_port}")
    assert (story.unplugged["status"], story.unplugged["reason"]) == ("pending", "rig_not_ready")
    assert story.unplugged["error"].startswith(no_port)
    assert story.service.records()[2]["last_error"].startswith(no_port)


def test_power_cut_is_told_by_the_next_boot(story: Story):
    """The store of the dead machine says what was going on; the boot says what became of it, and so does the record."""
    assert (story.cut["state"], story.cut["next_idx"]) == ("running", 4)
    assert [scan["status"] for scan in story.cut["scans"]] == ["succeeded"] * 4 + ["running"]
    assert "was scanning slot 4 when the power went" in story.resumed["MESSAGE"]
    assert story.service.records()[4]["last_error"] == "the power went while it was being taken"


def test_journal_of_both_boots_follows_every_attempt(story: Story):
    """Every event of a slot is there once, in order, under its slot and attempt; none of it is an error."""
    ours = f"_SYSTEMD_UNIT={story.service.unit}"
    told = [
        (entry["ACTION"], entry["SLOT"], entry["ATTEMPT"])
        for entry in story.service.rig.journal(ours, "TIMELAPSE_ID=tl")
        if "SLOT" in entry and entry["ACTION"] != "rig_warmup"
    ]
    assert told == HISTORY
    assert [entry["MESSAGE"] for entry in story.service.rig.journal(ours, "--priority=err")] == []


def test_only_whole_datasets_stand_under_their_names(story: Story):
    """Also on the disk of the dead machine; what was cut off is kept aside, and is no dataset."""
    assert story.cut_datasets == {f"tl_{slot}": 4 for slot in range(4)}
    assert datasets_of(story.service) == {f"tl_{slot}": 4 for slot in range(5)}
    aside = {path.name: len([*(path / "images").iterdir()]) for path in story.datasets.glob(".*")}
    assert aside == {".tl_2.attempt-1": 2, ".tl_4.attempt-1": 2}
    assert not [*story.datasets.glob(".*/files.json")]


def test_plantdb_reads_every_dataset(story: Story, tmp_path: Path):
    """The community's database finds the five scans, each picture with its pose, and the attempt that took them."""
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
                    assert (picture.format, picture.size) == ("PNG", (12, 12))


def test_person_has_the_rig_when_no_scan_has_it(story: Story):
    """In mid-scan they are told what is going on; afterwards the service does it all, with light for the picture."""
    assert story.refused.returncode == 1
    assert story.refused.stderr.startswith(
        "error: slot 4 of 5 is being scanned; 2 of 4 pictures are taken; try again at about "
    )
    checked, *others = story.by_hand.values()
    assert [line.split(maxsplit=2) for line in checked.splitlines()] == [
        ["switches", "answers", "switched: lamp (scan_light)"],
        ["gantry", "answers", f"GRBL 1.1h on {PORT}, not homed yet"],
        ["camera", "camera", "answers     gphoto2, open"],
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
        assert picture.size == (12, 12)
    asked = story.service.rig.journal(f"_SYSTEMD_UNIT={story.service.unit}", "ACTION=rig_by_hand")
    assert len(asked) == len(BY_HAND)
    assert {entry["MESSAGE"].partition(": ")[2].partition(":")[0].rpartition(", by ")[2] for entry in asked} == {"root"}
