"""The command driver keeps the contract, with real programs."""

import sys

import pytest

from plantimager.timelapse.drivers.testing import DriverContract, Kit

GOOD = """
import os, pathlib
for i in range(4):
    pathlib.Path(os.environ["DATASET_DIR"], f"{i}.jpg").write_bytes(b"a picture")
    print('{"progress": [%d, 4]}' % (i + 1), flush=True)
print('{"pictures": 4}')
"""

FAILING = """
import pathlib, sys
pathlib.Path("half.jpg").write_bytes(b"a picture")
sys.exit("the camera hangs")
"""

ENDLESS = """
import pathlib, signal
pathlib.Path("half.jpg").write_bytes(b"a picture")
print('{"progress": [1, 4]}', flush=True)
signal.pause()
"""


class TestCommandDriver(DriverContract):
    @pytest.fixture
    def kit(self, tmp_path):
        def does(name, source):
            script = tmp_path / name
            script.write_text(source)
            return {"argv": [sys.executable, "-S", str(script)]}

        return Kit(
            name="command",
            good=does("good.py", GOOD) | {"prepare": ["true"], "standby": ["true"]},
            failing=does("failing.py", FAILING),
            absent=does("absent.py", "raise SystemExit(75)"),
            endless=does("endless.py", ENDLESS),
            crowded=does("good.py", GOOD) | {"keep_free": "1000 TB"},
            faulty={"argv": "take-scan", "prepare": [], "stop_grace": "soon", "environment": {"SLOT": "1"}},
        )
