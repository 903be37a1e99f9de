"""The package of arm64, as a Raspberry Pi has it, in an emulated Debian.

It takes 5 to 30 minutes for each release, so the test command runs it only when it is asked for: `tests/run arm64`.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from container import Rig
from debian import base_root, on_every_release
from host import run_on_host, scratch
from packages import apt_install, build_package

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make an emulated Debian")

BINFMT = Path("/proc/sys/fs/binfmt_misc")
QEMU = Path("/usr/lib/binfmt.d/qemu-aarch64.conf")
"""How the kernel recognises programs of arm64, and the emulator that runs them (of qemu-user-static)."""


@pytest.fixture(scope="module", autouse=True)
def emulator() -> None:
    """Have the kernel run programs of arm64; it goes on doing so, as where systemd has set it up."""
    if not (BINFMT / "register").exists():
        run_on_host(["mount", "-t", "binfmt_misc", "binfmt_misc", str(BINFMT)])
    if not (BINFMT / "qemu-aarch64").exists():
        (BINFMT / "register").write_text(QEMU.read_text())


@pytest.fixture(scope="module")
def package(tmp_path_factory) -> Path:
    """Return the package that this machine builds."""
    return build_package(tmp_path_factory.mktemp("package"), "--arch", "arm64")


@on_every_release
def test_package_of_arm64_is_installed_and_its_demo_holds(package, release):
    """It makes its environment there, with the extras of the release's Python, and the demo finds all of it true."""
    with scratch() as place:
        rig = Rig(place, [base_root(release, architecture="arm64")])
        try:
            assert rig.build("uname", "-m").stdout.strip() == "aarch64"
            rig.build(*apt_install(rig, package))
            extras = "import serial, gphoto2, gpiod, httpx, tenacity, PIL.Image"
            environment = Path("/opt/plant-imager-timelapsed")
            rig.build(str(environment / rig.path(f"{environment}/bin").readlink() / "python3"), "-c", extras)
            assert rig.build("python3", "--version").stdout.startswith(f"Python {release.python}.")
            said = rig.build("timelapsectl", "demo").stdout
        finally:
            rig.remove()
    assert "POWER CUT: SIGKILL for PID " in said
    assert "NOT TRUE" not in said
