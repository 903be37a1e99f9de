"""`timelapsectl rig` as a process: with a daemon and without, on the simulated rig and on a board on a pty."""

import json
import os
import re
import signal
import stat
import subprocess
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest
from control import ask
from daemon_process import CTL, PATIENCE, Place
from grbl_stand_in import Board, StandIn
from PIL import Image

from plantimager.timelapse.channel.live import read_live
from plantimager.timelapse.support.inotify import FileWatch

SIMULATED = """
driver = "simulated"
clock = "trust"
[drivers.simulated]
time_per_position = "{time_per_position}"
image_width = 32
{options}
"""

GRBL = """
driver = "grbl"
clock = "trust"
[drivers.grbl]
port = "{port}"
answer_timeout = "20s"
keep_free = "1 MB"
[drivers.grbl.cameras.top]
kind = "command"
argv = ["cp", "{picture}", "{{output}}"]
[drivers.grbl.switches.scan]
role = "scan_light"
on = ["touch", "{lit}"]
off = ["rm", "-f", "{lit}"]
"""

DEFINITION = """
[timelapse]
name = "tl"
mode = "interval"
interval = "1h"
n_shots = 2
warmup_period = 0
"""


def simulate(place: Place, time_per_position: str = "0s", options: str = "") -> None:
    place.configure(SIMULATED.format(time_per_position=time_per_position, options=options))


def begin(place: Place, *arguments: str) -> subprocess.Popen[str]:
    """Start ``timelapsectl rig``; Ctrl-C reaches it as from a shell."""
    out = place.data.parent / "out"
    out.mkdir(exist_ok=True)
    return subprocess.Popen(
        [*CTL, "rig", *arguments],
        env=place.environment,
        cwd=out,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def end(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Return exit code, output and errors of a command."""
    output, errors = process.communicate(timeout=PATIENCE)
    assert "Traceback" not in errors
    return process.returncode, output, errors


def rig(place: Place, *arguments: str) -> tuple[int, str, str]:
    return end(begin(place, *arguments))


def pictures(place: Place) -> list[Path]:
    return sorted((place.data.parent / "out").iterdir())


@pytest.fixture
def rigged(place: Place):
    """Return a place whose simulated rig is driven by a daemon."""
    simulate(place)
    with place.start() as daemon:
        daemon.wait_for("idle:")
        yield place


# --- the commands -----------------------------------------------------------------------------------------


def test_check_shows_every_part(rigged: Place) -> None:
    """A line for each part, with its own description; the same as JSON."""
    assert rig(rigged, "check") == (
        0,
        (
            "gantry             answers     simulated, standing at x 0 y 0 pan 0\n"
            "camera picamera    answers     paints\n"
            "camera picamera2   answers     paints\n"
        ),
        "",
    )
    code, output, _ = rig(rigged, "check", "--json")
    assert code == 0
    assert json.loads(output)["parts"][1] == {"name": "camera picamera", "answers": True, "says": "paints"}


def test_arm_is_homed_and_sent_to_a_place(rigged: Place) -> None:
    """The output says where it stands; a place beyond its reach is refused."""
    code, output, errors = rig(rigged, "home")
    assert (code, output, errors) == (0, "homed; the arm stands at x 0 y 0 pan 0\n", "")
    code, output, _ = rig(rigged, "goto", "--x", "10", "--pan", "-90")
    assert (code, output) == (0, "the arm stands at x 10 y 0 pan -90\n")
    assert rig(rigged, "goto", "--y", "741") == (1, "", "error: y = 741 mm leaves the gantry's 0-740 mm\n")


def test_pictures_become_files_of_the_person(rigged: Place) -> None:
    """They go to the current directory, or where `--output` says."""
    code, output, _ = rig(rigged, "snapshot")
    assert code == 0
    assert re.fullmatch(r"picamera-\d{8}-\d{6}\.jpg: by picamera\npicamera2-\d{8}-\d{6}\.jpg: by picamera2\n", output)
    assert rig(rigged, "snapshot", "--camera", "picamera2", "--output", "here.jpg")[0] == 0
    assert len(pictures(rigged)) == 3
    for path in pictures(rigged):
        assert path.stat().st_uid == os.getuid()
        with Image.open(path) as picture:
            assert (picture.format, picture.width) == ("JPEG", 32)


def test_picture_that_can_not_be_written_leaves_no_file(rigged: Place) -> None:
    """Neither in the current directory nor beside the store."""
    assert rig(rigged, "snapshot", "--output", "one.jpg") == (
        1,
        "",
        (
            "error: one.jpg is no directory, and there are 2 pictures\n"
            "hint: name a directory that is there, or one --camera\n"
        ),
    )
    code, _, errors = rig(rigged, "snapshot", "--camera", "picamera", "--output", "no/such/one.jpg")
    assert (code, errors) == (1, "error: no/such/one.jpg: no such file or directory\n")
    code, _, errors = rig(rigged, "snapshot", "--camera", "fish-eye")
    assert (code, errors) == (1, "error: the rig has no camera fish-eye; it has picamera, picamera2\n")
    assert pictures(rigged) == []


def test_command_driver_can_only_be_checked(place: Place) -> None:
    """The rig behind the program is unknown to us."""
    place.configure('driver = "command"\n[drivers.command]\nargv = ["true"]\nprepare = ["/no/such/program"]\n')
    with place.start() as daemon:
        daemon.wait_for("idle:")
        code, output, _ = rig(place, "check")
        outcomes = [
            rig(place, *command) for command in (["home"], ["goto", "--x", "1"], ["snapshot"], ["lights", "on"])
        ]
    assert code == 1
    assert re.fullmatch(
        r"argv      answers     /\S+/true is there\nprepare   no answer   /no/such/program .*\n", output
    )
    for outcome in outcomes:
        assert outcome == (
            1,
            "",
            (
                "error: the driver command has no control by hand; timelapsectl rig check says what it knows of its "
                "rig, and timelapsectl rig try takes a scan\n"
            ),
        )


TRIED = """
clock = "trust"
driver = "command"
observe = ["{observe}"]
[drivers.command]
argv = ["{take}"]
prepare = ["{log}", "prepare"]
standby = ["{log}", "standby"]
keep_free = "1 MB"
"""


def trying(place: Place, take: str = "echo picture > 0.jpg; echo more > 1.jpg; cat > request.json") -> Path:
    """Configure a rig of programs, which note what they do; return the file of the notes."""
    notes = place.data.parent / "notes"
    sources = {
        "take": take,
        "log": f"echo $1 >> {notes}",
        "observe": """echo '{"temperature": 21.5}'""",
    }
    paths = {}
    for name, source in sources.items():
        paths[name] = place.data.parent / name
        paths[name].write_text(f"#!/bin/sh\n{source}\n")
        paths[name].chmod(0o755)
    place.configure(TRIED.format(**paths))
    return notes


def test_scan_is_tried_with_any_driver(place: Place) -> None:
    """Outside the schedule; the dataset is like any other, and the rig goes to standby afterwards."""
    notes = trying(place)
    with place.start() as daemon:
        daemon.wait_for("idle:")
        code, output, errors = rig(place, "try", "--position", "2")
        assert daemon.stop() == 0
        assert daemon.said("rig_by_hand")[0].split(": ", 2)[1].startswith("try 2, by ")
    assert (code, errors) == (0, "")
    dataset, _, rest = output.partition(": ")
    assert re.fullmatch(r"3 files, \d+ kB, in [\d.]+ s\n", rest)
    assert Path(dataset).parent == place.datasets
    receipt = json.loads((Path(dataset) / "timelapsed.json").read_text())
    assert (receipt["timelapse_id"], receipt["observed"]) == ("try", {"temperature": 21.5})
    request = json.loads((Path(dataset) / "request.json").read_text())
    assert request["configuration"]["ScanPath"]["class_name"] == "CustomPath"
    assert notes.read_text().split()[-2:] == ["prepare", "standby"]
    assert stat.S_IMODE(place.datasets.stat().st_mode) == 0o750


def test_trial_that_fails_says_why(place: Place) -> None:
    """As the journal would."""
    trying(place, "echo no camera >&2; exit 3")
    with place.start() as daemon:
        daemon.wait_for("idle:")
        code, output, errors = rig(place, "try")
    assert (code, output) == (1, "")
    assert "take exited with 3: no camera" in errors


def test_scan_is_not_disturbed(place: Place) -> None:
    """Every manual command is refused while a slot is being taken."""
    simulate(place, options="stall = [0]")
    place.define(DEFINITION)
    with place.start() as daemon:
        daemon.wait_for("scan_started:")
        for command in (["check"], ["home"], ["goto", "--x", "1"], ["snapshot"], ["lights", "on"]):
            code, output, errors = rig(place, *command)
            assert (code, output) == (1, "")
            assert errors.startswith("error: slot 0 of 2 is being scanned; ")
            daemon.wait_for("slot 0 of 2 is being scanned; ")
        assert daemon.said("rig_by_hand") == []


@pytest.mark.parametrize(
    "body",
    [
        {"action": "goto", "x": float("nan")},
        {"action": "goto", "x": -1},
        {"action": "format"},
        {"action": "home", "rig": "other"},
        {"action": "snapshot", "camera": "../../etc/passwd"},
        {"action": ["home"]},
        {},
    ],
)
def test_request_that_our_command_would_not_write_is_refused(place: Place, body) -> None:
    """A member of the group may send anything, so the daemon checks all of it."""
    simulate(place)
    with place.start() as daemon:
        daemon.wait_for("idle:")
        answer = ask(place.store, "rig", **body)
        assert not answer.accepted
        assert answer.message.isprintable() or answer.message.count("\n") == answer.message.count("fault")


def test_picture_is_not_written_through_a_link_of_another_user(rigged: Place) -> None:
    """Root may stand in a directory of theirs. A file that is there stays as it is, unless its name was given."""
    out = rigged.data.parent / "out"
    out.mkdir()
    victim = rigged.data.parent / "victim"
    victim.write_text("precious")
    (out / "one.jpg").symlink_to(victim)
    if os.geteuid() == 0:
        os.lchown(out / "one.jpg", 65534, 65534)
        code, _, errors = rig(rigged, "snapshot", "--camera", "picamera", "--output", "one.jpg")
        assert (code, errors) == (1, "error: one.jpg is a link of another user; it is left alone\n")
        (rigged.data.parent / "theirs").mkdir()
        (out / "shots").symlink_to(rigged.data.parent / "theirs")
        os.lchown(out / "shots", 65534, 65534)
        for output in ("shots", "shots/one.jpg", f"{out}/shots"):
            code, _, errors = rig(rigged, "snapshot", "--camera", "picamera", "--output", output)
            assert (code, errors.partition("shots ")[2]) == (1, "is a link of another user; it is left alone\n")
        assert not any((rigged.data.parent / "theirs").iterdir())
    os.mkfifo(out / "pipe.jpg")
    assert rig(rigged, "snapshot", "--camera", "picamera", "--output", "pipe.jpg")[0] == 1
    (rigged.data.parent / "ours").mkdir()
    (out / "kept").symlink_to(rigged.data.parent / "ours")
    assert rig(rigged, "snapshot", "--camera", "picamera", "--output", "kept")[0] == 0
    assert len([*(rigged.data.parent / "ours").iterdir()]) == 1
    assert victim.read_text() == "precious"
    (out / "two.jpg").write_text("older")
    assert rig(rigged, "snapshot", "--camera", "picamera", "--output", "two.jpg")[0] == 0
    assert (out / "two.jpg").read_bytes()[:2] == b"\xff\xd8"


def wait_for_manual_command(place: Place) -> None:
    """Wait until the live status says that a manual command runs."""
    with FileWatch(place.storage) as watch:
        while read_live(place.store).rig != "by hand":
            assert watch.wait(PATIENCE)


@contextmanager
def homing_for_an_hour(place: Place):
    """Yield a daemon that homes a slow arm, and the command that asked for it."""
    simulate(place, time_per_position="1h")
    with place.start() as daemon:
        daemon.wait_for("idle:")
        homing = begin(place, "home")
        wait_for_manual_command(place)
        yield daemon, homing


def test_ctrl_c_stops_the_arm(place: Place) -> None:
    """The rig is free for the next command."""
    with homing_for_an_hour(place) as (daemon, homing):
        homing.send_signal(signal.SIGINT)
        assert end(homing) == (130, "", "")
        assert "because nobody waits for it any more" in daemon.wait_for("rig_by_hand:")
        assert rig(place, "check")[0] == 0


def test_end_of_the_daemon_is_reported(place: Place) -> None:
    """The next daemon must not move the rig: the person may have left by then."""
    with homing_for_an_hour(place) as (daemon, homing):
        daemon.kill()
        daemon.process.wait()
        code, _, errors = end(homing)
    assert code == 69
    assert "ended before it answered" in errors


def test_stop_of_the_service_breaks_a_manual_command_off(place: Place) -> None:
    """It doesn't wait for the end of an hour's homing, and the answer says so."""
    with homing_for_an_hour(place) as (daemon, homing):
        assert daemon.stop() == 0
        code, _, errors = end(homing)
    assert code == 1
    assert errors == "error: broken off; the arm was brought to a stand, because the service stops\n"


# --- a board on a pty -----------------------------------------------------------------------------------------


class Homing(Board):
    """A board that signals the begin of its homing."""

    begun: threading.Event

    def _home(self) -> str:
        self.begun.set()
        return super()._home()


@pytest.fixture
def board(place: Place, tmp_path):
    """Return a board; the place's rig is this board, a camera and a light."""
    picture = tmp_path / "picture.jpg"
    Image.linear_gradient("L").convert("RGB").save(picture)
    board = Homing()
    board.begun = threading.Event()
    with StandIn(board) as stand_in:
        place.configure(GRBL.format(port=stand_in.port, picture=picture, lit=tmp_path / "lit"))
        board.lit, board.port = tmp_path / "lit", stand_in.port
        yield board


def test_rig_can_be_tried_while_the_daemon_waits_for_a_slot(place: Place, board) -> None:
    """The daemon knows the arm's place from one command to the next."""
    place.define(DEFINITION + 'start_at = "2999-01-01T00:00:00Z"\n')
    with place.start() as daemon:
        daemon.wait_for("rig_standby:")
        code, output, _ = rig(place, "check")
        assert (code, f"gantry       answers     Grbl 1.1h on {board.port}, " in output) == (0, True)
        assert "camera top   answers     command, took a picture of 256 × 256\n" in output
        assert rig(place, "home") == (0, "homed; the arm stands at x 0 y 0 pan 0\n", "")
        assert rig(place, "goto", "--x", "100") == (0, "the arm stands at x 100 y 0 pan 0\n", "")
        assert "standing at x 100 y 0 pan 0\n" in rig(place, "check")[1]
        assert board.homed == 1
        assert rig(place, "lights", "on") == (0, "the light is that of a scan\n", "")
        assert board.lit.exists()
        assert rig(place, "snapshot", "--output", "lit.jpg") == (0, "lit.jpg: by top\n", "")
        assert rig(place, "goto", "--x", "50")[0] == 0
        assert board.lit.exists()
        assert daemon.stop() == 0
    assert len(daemon.said("rig_standby")) == 1, "that of the start"
    assert not board.lit.exists()


def test_error_of_an_alarm_names_the_command_that_ends_it(place: Place, board) -> None:
    """That command works."""
    board.fault, board.lasting = "alarm 1", True
    with place.start() as daemon:
        daemon.wait_for("idle:")
        code, _, errors = rig(place, "goto", "--x", "100")
        assert code == 1
        assert errors.startswith("error: GRBL alarm 1 (a limit switch was hit on the way to x 100 y 0 pan 0)")
        assert errors.endswith("then `timelapsectl rig home`\n")
        assert rig(place, "home")[:2] == (0, "homed; the arm stands at x 0 y 0 pan 0\n")


def test_part_that_does_not_answer_is_shown_and_the_exit_code_is_1(place: Place, tmp_path) -> None:
    """The other parts are shown all the same."""
    picture = tmp_path / "picture.jpg"
    Image.new("RGB", (64, 48)).save(picture)
    place.configure(GRBL.format(port="/dev/no-such-port", picture=picture, lit=tmp_path / "lit"))
    with place.start() as daemon:
        daemon.wait_for("idle:")
        code, output, errors = rig(place, "check")
    assert (code, errors) == (1, "")
    assert "gantry       no answer   /dev/no-such-port: " in output
    assert "camera top   answers     command, took a picture of 64 × 48\n" in output
