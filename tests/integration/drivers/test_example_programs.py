"""The example programs for the `command` driver, with stand-ins for the programs of their cameras."""

from __future__ import annotations

import pytest
from readme import CAMERA
from tree import CONFIG

from plantimager.timelapse.drivers.command.driver import CommandDriver
from plantimager.timelapse.drivers.testing import RecordingMonitor, make_request
from plantimager.timelapse.scan.request import ScanResult
from plantimager.timelapse.support.errors import ScanFailed, ScannerNotReady

GPHOTO2 = """\
#!/bin/sh
here=$(dirname "$0")
if [ "$1" = --auto-detect ]; then
    printf 'Model        Port\\n----------------\\n'
    [ -e "$here/unplugged" ] || echo 'Nikon DSC D750        usb:001,004'
    exit 0
fi
while [ $# -gt 1 ]; do [ "$1" != --filename ] || picture=$2; shift; done
if [ -e "$here/fails" ]; then echo '*** Error ***: Out of Focus' >&2; exit 0; fi
echo picture > "${picture%.%C}.jpg"
"""

FSWEBCAM = """\
#!/bin/sh
here=$(dirname "$0")
for picture; do :; done
if [ -e "$here/fails" ]; then echo 'Unable to find a compatible palette format.' >&2; exit 0; fi
echo picture > "$picture"
"""

RPICAM = CAMERA.replace(
    "#!/bin/sh\n", '#!/bin/sh\n[ ! -e "$(dirname "$0")/fails" ] || { echo "no frames" >&2; exit 255; }\n'
)

EXAMPLES = {
    "take-scan": ("rpicam-still", RPICAM),
    "take-scan-gphoto2": ("gphoto2", GPHOTO2),
    "take-scan-webcam": ("fswebcam", FSWEBCAM),
}


@pytest.fixture(params=EXAMPLES)
def rig(request, tmp_path):
    """Return the driver of an example, and the directory of its stand-in."""
    programs, (name, source) = tmp_path / "bin", EXAMPLES[request.param]
    programs.mkdir()
    (programs / name).write_text(source)
    (programs / name).chmod(0o755)
    (programs / "video").touch()
    environment = {"PATH": f"{programs}:/usr/bin:/bin", "VIDEO": str(programs / "video")}
    argv = [str(CONFIG / "examples" / request.param)]
    return CommandDriver({"argv": argv, "environment": environment, "keep_free": "1 MB"}), programs / name


@pytest.fixture
def request_(tmp_path):
    """Return a request in a directory of its own."""
    (tmp_path / "datasets").mkdir()
    return make_request(tmp_path / "datasets")


def test_example_takes_three_pictures(rig, request_):
    """With progress, so that the status line shows it."""
    driver, _ = rig
    monitor = RecordingMonitor()
    assert driver.scan(request_, monitor) == ScanResult(pictures=3)
    assert {path.name for path in request_.dataset_dir.glob("*.jpg")} == {"1.jpg", "2.jpg", "3.jpg"}
    assert monitor.recorded[-1][:2] == (3, 3)


def test_failed_capture_is_a_failed_attempt(rig, request_):
    """Though two of the three programs exit with 0."""
    driver, program = rig
    (program.parent / "fails").touch()
    with pytest.raises(ScanFailed, match=r"exited with (1: .*picture 1 was not taken|255: no frames)"):
        driver.scan(request_, RecordingMonitor())
    assert not request_.dataset_dir.exists()


def test_camera_that_is_not_there_is_a_rig_that_is_not_ready(rig, request_):
    """It may still be switched on within the grace period."""
    driver, program = rig
    if program.name == "gphoto2":
        (program.parent / "unplugged").touch()
    else:
        program.unlink()
        (program.parent / "video").unlink()
    with pytest.raises(ScannerNotReady, match="exited with 75"):
        driver.scan(request_, RecordingMonitor())
