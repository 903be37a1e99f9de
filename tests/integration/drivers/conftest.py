"""A GRBL rig for the tests of its driver: a board on a pseudo-terminal, programs as camera and switches."""

import contextlib
import os
import sys

import pytest
from grbl_stand_in import DIALECTS, SETTINGS, Board, StandIn
from PIL import Image
from tree import SUPPORT

from plantimager.timelapse.drivers.gantry import arm, move
from plantimager.timelapse.drivers.gantry.port import SerialLine
from plantimager.timelapse.drivers.grbl import hardware
from plantimager.timelapse.drivers.grbl.driver import GrblDriver
from plantimager.timelapse.drivers.testing import make_request
from plantimager.timelapse.support.errors import DriverError

ANSWER_TIMEOUTS = {"deaf": "0.3s", "silent": "1s", "noise": "1s", "boots": "1s", "marlin": "0.3s"}
BOOT_TIMEOUTS = {"deaf": "0.3s", "silent": "1s", "noise": "1s", "marlin": "1s"}
"""Where the test waits until the board should have answered; no other test waits for it."""


@pytest.fixture
def datasets(tmp_path):
    """Return the directory of the datasets."""
    directory = tmp_path / "datasets"
    directory.mkdir()
    return directory


@pytest.fixture
def rig(tmp_path, monkeypatch):
    """Return a function that makes a board and a driver for it, whose camera is a program that copies a picture."""
    picture = tmp_path / "picture.jpg"
    Image.linear_gradient("L").resize((640, 480)).convert("RGB").save(picture)
    argv = ["cp", str(picture), "{output}"]
    monkeypatch.setattr(move, "POLL_INTERVAL", 0.01)  # a move of the board takes as many polls as it is asked for
    monkeypatch.setattr(hardware, "REOPEN_PAUSE", 0)
    made = []

    def make(*, board=None, picture_size=None, fault="", at=1, lasting=False, polls=1, dialect="grbl", **options):
        if picture_size is not None:
            Image.linear_gradient("L").resize(picture_size).convert("RGB").save(picture)
        settings = {**SETTINGS, **(board or {})}
        stand_in = StandIn(Board(settings, fault=fault, at=at, lasting=lasting, polls=polls, dialect=DIALECTS[dialect]))
        driver = GrblDriver(
            {
                "port": stand_in.port,
                "settle": 0,
                "answer_timeout": ANSWER_TIMEOUTS.get(fault, "20s"),
                "boot_timeout": BOOT_TIMEOUTS.get(fault, "20s"),
                "keep_free": "1 MB",
                "cameras": {"top": {"kind": "command", "argv": argv}},
                **options,
            }
        )
        made.append((driver, stand_in))
        return driver, stand_in.board

    def take_away():
        for _, stand_in in made:
            stand_in.close()

    class Restarting(SerialLine):
        """A line that restarts its board when it is opened again, unless log otherwise: an Arduino's, by DTR."""

        def __init__(self, port, *arguments, **settings):
            stand_in = next((stand_in for _, stand_in in made if stand_in.port == port), None)
            again = stand_in is not None and stand_in.board.resets
            restarts = again and stand_in.restarts_when_opened
            super().__init__(port, *arguments, **settings)
            if restarts:
                stand_in.board.restart()

    monkeypatch.setattr(arm, "SerialLine", Restarting)
    make.take_away = take_away
    yield make
    for driver, _ in made:
        with contextlib.suppress(DriverError):
            driver.close()
    take_away()


@pytest.fixture
def faults(tmp_path, monkeypatch):
    """Return the directory in which a test says how the virtual camera fails."""
    pictures, directory = tmp_path / "vcamera" / "DCIM" / "100TEST", tmp_path / "faults"
    pictures.mkdir(parents=True)
    directory.mkdir()
    Image.radial_gradient("L").resize((640, 480)).convert("RGB").save(pictures / "A0001.JPG")
    monkeypatch.setenv("VCAMERADIR", str(tmp_path / "vcamera"))
    monkeypatch.setenv("FAULTS", str(directory))
    paths = [str(SUPPORT / "faulty_gphoto2"), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))
    return directory


@pytest.fixture
def request_(tmp_path):
    """Return a request in a directory of its own."""
    (tmp_path / "datasets").mkdir()
    return make_request(tmp_path / "datasets")


@pytest.fixture
def switches(tmp_path):
    """Return switches that log how they are set, and a function that returns the log."""
    log = tmp_path / "switches.log"
    log.touch()
    write = "import sys; open(sys.argv[1], 'a').write(sys.argv[2] + '\\n')"

    def switch(role):
        def argv(way):
            return [sys.executable, "-S", "-E", "-c", write, str(log), f"{role} {way}"]

        return {"role": role, "on": argv("on"), "off": argv("off")}

    roles = ("growth_light", "scan_light", "gantry_power")
    return {role: switch(role) for role in roles}, lambda: log.read_text().splitlines()
