"""The rig that README shows: its program, configuration and definition, as they stand there, with the real daemon."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest
from daemon_process import CTL, Place, statuses
from readme import CAMERA, blocks
from tree import CONFIG

if TYPE_CHECKING:
    from pathlib import Path

EXAMPLES = CONFIG / "examples"
INSTALLED = "/usr/local/bin/take-scan"


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """Return a rig with the example configuration, whose program is where this test installed it."""
    programs = tmp_path / "bin"
    programs.mkdir()
    program = programs / "take-scan"
    program.write_bytes((EXAMPLES / "take-scan").read_bytes())
    program.chmod(0o755)
    place = Place(tmp_path)
    configuration = (EXAMPLES / "timelapsed.toml").read_text().replace(INSTALLED, str(program))
    place.configure(f'clock = "trust"\n{configuration}environment = {{ PATH = "{programs}" }}\n')
    return place


def connect_camera(place: Place) -> None:
    """Put the stand-in of the camera's program beside take-scan."""
    camera = place.data.parent / "bin" / "rpicam-still"
    camera.write_text(CAMERA)
    camera.chmod(0o755)


@pytest.mark.parametrize(
    ("language", "name"), [("sh", "take-scan"), ("toml", "timelapsed.toml"), ("toml", "drought.toml")]
)
def test_readme_shows_the_example_as_it_is(language: str, name: str) -> None:
    """Who copies from README and who copies the file gets the same."""
    assert (EXAMPLES / name).read_text() in blocks(language)


def test_shown_rig_passes_the_check(place: Place) -> None:
    """``timelapsectl check`` finds no fault in the shown configuration and definition."""
    command = [*CTL, "check", str(EXAMPLES / "drought.toml")]
    checked = subprocess.run(command, env=place.environment, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "drought_1, 672 slots" in checked.stdout


def test_shown_rig_takes_its_first_slot(place: Place) -> None:
    """The daemon runs the shown program, which leaves three pictures; without warm-up the first slot is now."""
    connect_camera(place)
    definition = (EXAMPLES / "drought.toml").read_text()
    place.define(definition.replace("[timelapse]\n", "[timelapse]\nwarmup_period = 0\n"))
    daemon = place.run_until("scan_succeeded: drought_1_0")
    assert "3 pictures" in daemon.said("scan_succeeded")[0]
    assert statuses(place.read())[0] == "succeeded"
    assert {picture.name for picture in (place.datasets / "drought_1_0").glob("*.jpg")} == {"1.jpg", "2.jpg", "3.jpg"}


def test_shown_rig_without_its_camera_is_not_ready(place: Place) -> None:
    """Exit status 75 of the shown program: no attempt is used, and the rig is asked again."""
    definition = (EXAMPLES / "drought.toml").read_text()
    place.define(definition.replace("[timelapse]\n", "[timelapse]\nwarmup_period = 0\n"))
    with place.start() as daemon:
        daemon.wait_for("rig_not_ready: ")
        connect_camera(place)
        daemon.wait_for("scan_succeeded: drought_1_0")
        assert daemon.stop() == 0
    assert place.read()["extra"]["timelapsed"]["slots"].get("0", {}).get("attempt", 1) == 1
