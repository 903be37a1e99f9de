"""Manual commands: how they are read, and what a driver returns for them."""

import json
import math
import re
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plantimager.timelapse.drivers.base import EventMonitor, Part, ScannerDriver
from plantimager.timelapse.drivers.manual_command import (
    ManualAction,
    ManualCommand,
    ManualReport,
    Picture,
    perform,
    read_manual_command,
)
from plantimager.timelapse.drivers.manual_control import ManualControl
from plantimager.timelapse.drivers.simulated import SimulatedDriver
from plantimager.timelapse.drivers.trial import Trial
from plantimager.timelapse.scan.paths import path_of
from plantimager.timelapse.scan.pose import Pose
from plantimager.timelapse.scan.request import Owner, ScanResult
from plantimager.timelapse.support.errors import (
    FaultsFound,
    ManualCommandRefused,
    ScanCancelled,
    ScanFailed,
    ScannerNotReady,
)

# --- reading --------------------------------------------------------------------------------------------

COMMANDS = [
    ManualCommand(action=ManualAction.CHECK),
    ManualCommand(action=ManualAction.HOME),
    ManualCommand(action=ManualAction.GOTO, pose=Pose(x=1.5, pan=-90)),
    ManualCommand(action=ManualAction.GOTO, pose=Pose(y=0)),
    ManualCommand(action=ManualAction.SNAPSHOT),
    ManualCommand(action=ManualAction.SNAPSHOT, camera="top"),
    ManualCommand(action=ManualAction.LIGHTS, on=True),
    ManualCommand(action=ManualAction.LIGHTS),
    ManualCommand(action=ManualAction.TRY),
    ManualCommand(action=ManualAction.TRY, position=17),
]


@pytest.mark.parametrize("command", COMMANDS, ids=str)
def test_command_survives_its_json(command):
    """The command line writes it, and the daemon reads it."""
    assert read_manual_command(json.loads(json.dumps(command.body())), "rig") == command


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ({}, "action: required, but missing"),
        ({"action": "dance"}, 'action = "dance": write one of check, home, goto, snapshot, lights'),
        ({"action": ["home"]}, 'action = ["home"]: write one of'),
        ({"action": "home", "force": True}, "force: unknown key"),
        ({"action": "home", "x": 3}, "x: unknown key"),
        ({"action": "home", "who": "ann"}, "who: unknown key"),
        ({"action": "snapshot", "camera": 7}, "camera = 7: write a text"),
        ({"action": "snapshot", "camera": "top\nscan_succeeded: all"}, "on one line"),
        ({"action": "snapshot", "camera": "a" * 101}, "write at most 100 characters"),
        ({"action": "goto"}, "x: write x, y or pan"),
        ({"action": "goto", "x": "5"}, 'x = "5": write a number'),
        ({"action": "goto", "x": True}, "x = true: write a number"),
        ({"action": "goto", "y": math.nan}, "y = nan: write a number"),
        ({"action": "goto", "y": -math.inf}, "y = -inf: write a number"),
        ({"action": "goto", "pan": 10**400}, "pan = "),
        ({"action": "goto", "pan": 1e9}, "pan = 1000000000.0: beyond a kilometre"),
        ({"action": "goto", "x": 1, "z": 1}, "z: unknown key"),
        ({"action": "snapshot", "camera": {}}, "camera = {}: write a text"),
        ({"action": "lights"}, "on: required, but missing"),
        ({"action": "lights", "on": "yes"}, 'on = "yes": write true or false'),
        ({"action": "lights", "on": 1}, "on = 1: write true or false"),
        ({"action": "try", "position": 0}, "position = 0: "),
        ({"action": "try", "position": 1.5}, "position = 1.5: "),
        ({"action": "try", "on": True}, "on: unknown key"),
    ],
    ids=lambda value: json.dumps(value)[:40] if isinstance(value, dict) else "",
)
def test_fault_of_a_request_is_reported(body, fault):
    """A request isn't trusted."""
    with pytest.raises(FaultsFound) as refused:
        read_manual_command(body, "rig-a.json")
    assert fault in str(refused.value)


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(
    st.dictionaries(st.sampled_from(["action", "who", "x", "y", "pan", "camera", "on", "position"]) | st.text(), JSON)
)
def test_any_request_is_read_or_refused(body):
    """No request raises another error."""
    try:
        read_manual_command(body, "rig-a.json")
    except FaultsFound as refused:
        assert refused.faults  # noqa: PT017 - either end is right


# --- carrying out -------------------------------------------------------------------------------------------


class Bare(ScannerDriver):
    """A driver that offers only what the contract requires."""

    def prepare(self): ...
    def standby(self): ...
    def scan(self, request, monitor): ...


class Half(Bare):
    """One whose camera doesn't answer."""

    def examine(self):
        return [Part("gantry", True, "fine"), Part("camera top", False, "no such device")]


TRIAL = Trial(at=datetime(2026, 6, 22, tzinfo=UTC), datasets=Path("/dev/null/scans"), owner=Owner(), monotonic=float)


def do(driver, command, configuration=None):
    return perform(driver, "mine", command, configuration or {}, EventMonitor(), TRIAL)


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.action is not ManualAction.TRY], ids=str)
def test_command_is_refused_where_the_driver_does_not_offer_it(command):
    """Manual control is an optional part of the contract."""
    with pytest.raises(ManualCommandRefused, match="the driver mine "):
        do(Bare({}), command)
    assert not isinstance(Bare({}), ManualControl)


def test_part_that_does_not_answer_is_named():
    """The report has the others, too."""
    report = do(Half({}), ManualCommand(action=ManualAction.CHECK))
    assert report.sentence == "no answer of camera top"
    assert [part["answers"] for part in report.details["parts"]] == [True, False]


def test_snapshot_has_the_settings_of_the_timelapses_cameras():
    """Of each camera, or of one."""
    driver = SimulatedDriver({"time_per_position": 0, "image_width": 16})
    configuration = {"top": {"encoding": "png"}, "side": {}}
    both = do(driver, ManualCommand(action=ManualAction.SNAPSHOT), configuration).pictures
    assert [(picture.camera, picture.extension) for picture in both] == [("top", "png"), ("side", "jpg")]
    (one,) = do(driver, ManualCommand(action=ManualAction.SNAPSHOT, camera="side"), configuration).pictures
    assert one.content.startswith(b"\xff\xd8\xff")
    with pytest.raises(ManualCommandRefused, match="no camera back; it has top, side"):
        do(driver, ManualCommand(action=ManualAction.SNAPSHOT, camera="back"), configuration)


def test_pose_beyond_the_gantry_is_refused_by_the_driver():
    """Only the driver knows its reach."""
    with pytest.raises(ScannerNotReady, match=r"^y = -3 mm leaves the gantry's 0-740 mm$"):
        do(SimulatedDriver({}), ManualCommand(action=ManualAction.GOTO, pose=Pose(x=10, y=-3)))


class Careless(SimulatedDriver):
    """Returns bytes, numbers and None instead of text."""

    def examine(self):
        return [Part("gantry", answers=1, says=b"ok"), Part("lamp", answers=True, says=None)]

    def home(self, monitor):
        del monitor
        return b"homed"


@pytest.mark.parametrize("action", [ManualAction.CHECK, ManualAction.HOME])
def test_report_is_json_whatever_the_driver_returns(action):
    """It is written long after the rig thread has caught the driver's errors."""
    report = perform(Careless({}), "careless", ManualCommand(action=action), {}, EventMonitor(), TRIAL)
    assert json.loads(json.dumps([report.sentence, report.details]))
    assert isinstance(report.sentence, str)


# --- a trial ------------------------------------------------------------------------------------------------

LINE = {"x_0": 0, "y_0": 0, "z_0": 5, "x_1": 300, "y_1": 0, "z_1": 5, "pan": 90, "tilt": 0, "n_points": 4}
CONFIGURATION = {
    "ScanPath": {"class_name": "Line", "kwargs": LINE},
    "top": {"encoding": "png", "config": {"password": "of the camera"}},
    "timelapse": {"api_token": "secret", "start_at": "2020"},
}


@pytest.fixture
def trial(tmp_path):
    """Return a trial in an empty directory, on a clock of which two minutes pass between two looks."""
    seconds = count(0, 120)
    at = datetime(2026, 6, 22, 8, 0, 1, 500_000, tzinfo=UTC)
    return Trial(at=at, datasets=tmp_path / "scans", owner=Owner(rig="a"), monotonic=lambda: next(seconds))


def attempt(driver, trial, position=0):
    command = ManualCommand(action=ManualAction.TRY, position=position)
    return perform(driver, "mine", command, CONFIGURATION, EventMonitor(), trial).sentence


@pytest.mark.parametrize(("position", "pictures"), [(0, "4 pictures, 11 files"), (3, "1 picture, 5 files")])
def test_trial_takes_the_whole_path_or_one_position(trial, position, pictures):
    """It says where the dataset is, how long the scan took, and how large it is."""
    sentence = attempt(SimulatedDriver({"time_per_position": 0, "image_width": 16}), trial, position)
    assert re.fullmatch(rf"{trial.datasets}/try-20260622T080001Z: {pictures}, \d+ kB, in 2 min", sentence)


def test_trial_at_a_position_stands_where_the_scan_would(trial):
    """Positions are counted from 1, as in the faults of a path."""
    asked = []

    class Asked(Bare):
        def scan(self, request, _):
            asked.append(request.configuration)
            request.dataset_dir.mkdir()
            return ScanResult(note="a bit dark")

    assert attempt(Asked({}), trial, 3).endswith(": 0 files, 0 kB, in 2 min; a bit dark")
    (configuration,) = asked
    assert path_of(configuration, []) == (path_of(CONFIGURATION, [])[2],)
    assert configuration["top"] == CONFIGURATION["top"]
    assert configuration["timelapse"] == {"start_at": "2026-06-22T08:00:01.500000+00:00"}


@pytest.mark.parametrize("position", [5, 10_000])
def test_position_that_the_path_does_not_have_is_refused(trial, position):
    """Before the rig does anything."""
    with pytest.raises(ManualCommandRefused, match=f"has 4 positions, and no position {position}"):
        attempt(Bare({}), trial, position)
    assert not trial.datasets.exists()


def test_trial_of_a_driver_that_leaves_no_dataset_has_failed(trial):
    """A driver by others may put it elsewhere."""

    class Elsewhere(Bare):
        def scan(self, *_):
            return ScanResult(pictures=3)

    with pytest.raises(ScanFailed, match="the driver left no dataset"):
        attempt(Elsewhere({}), trial)


def test_trial_that_is_broken_off_while_the_rig_gets_ready_takes_no_scan(trial):
    """A slot comes first."""
    monitor = EventMonitor()

    class Slow(Bare):
        def prepare(self):
            monitor.cancel()

    command = ManualCommand(action=ManualAction.TRY)
    with pytest.raises(ScanCancelled):
        perform(Slow({}), "mine", command, CONFIGURATION, monitor, trial)


def test_details_of_a_report_are_json_whatever_types_a_driver_has():
    """The daemon writes them into its answer."""
    picture = Picture(camera=Path("/dev/video0"), extension=Path("jpg"), content=b"")
    details = ManualReport("taken", [Part(name=Path("arm"), answers=1, says=None)], [picture]).details
    assert json.loads(json.dumps(details)) == {
        "parts": [{"name": "arm", "answers": True, "says": "None"}],
        "pictures": [{"camera": "/dev/video0", "extension": "jpg"}],
    }
