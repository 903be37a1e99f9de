"""The GRBL driver keeps the contract, with a board on a pseudo-terminal and libgphoto2's own virtual camera."""

import pytest
from grbl_stand_in import Board, StandIn
from PIL import Image

from plantimager.timelapse.drivers.testing import CONFIGURATION, DriverContract, Kit


@pytest.fixture
def virtual_camera(tmp_path, monkeypatch):
    """Have libgphoto2 find the camera it makes up, which gives out this picture."""
    pictures = tmp_path / "vcamera" / "DCIM" / "100TEST"
    pictures.mkdir(parents=True)
    Image.linear_gradient("L").resize((640, 480)).convert("RGB").save(pictures / "A0001.JPG")
    monkeypatch.setenv("VCAMERADIR", str(tmp_path / "vcamera"))


class TestGrblDriver(DriverContract):
    @pytest.fixture
    def kit(self, virtual_camera):
        options = {
            "answer_timeout": "20s",
            "settle": 0,
            "keep_free": "1 MB",
            "cameras": {"top": {"kind": "gphoto2"}},
        }
        with (
            StandIn(Board(polls=1)) as good,
            StandIn(Board(fault="alarm 1", at=3, lasting=True)) as failing,
            StandIn(Board(fault="stuck", at=3)) as endless,
        ):
            yield Kit(
                name="grbl",
                good={"port": good.port, **options},
                failing={"port": failing.port, **options},
                absent={"port": "/dev/no-such-port", **options},
                endless={"port": endless.port, **options},
                crowded={"port": good.port, **options, "keep_free": "1000 TB"},
                faulty={"port": "ttyUSB0", "x": [740, 0], "pan": [0, 90], "cameras": {"top": {"kind": "polaroid"}}},
                configuration=CONFIGURATION,
            )
