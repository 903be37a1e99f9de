"""One emulated machine for the whole suite, with a board, a camera and a disk that come when a test says so.

The machine is that of a person who installed timelapsed with ``--extras grbl,v4l2`` and put datasets.conf in place. Its
board is a stand-in on the host, behind an emulated USB serial converter; its camera is vivid, the kernel's own virtual
one, whose module is loaded when the camera is to be plugged in.
"""

from __future__ import annotations

import hashlib
import platform
import shutil
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from container import Rig
from debian import BOOKWORM, SOURCES, Debian, build_wheels
from grbl_stand_in import Board, StandIn
from host import cache_directory, locked, scratch
from machine_image import DEBS, Image, make_bootable, make_disk, make_image, missing
from machine_rig import CONFIGURATION, DATASETS, MachineService, Plugs, example_line
from qemu import Machine
from timelapse_service import TimelapseService
from tree import CONFIG, SUPPORT, SYSTEMD, TREE
from waiting import RigError

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent

OURS = (HERE / "conftest.py", *(SUPPORT / name for name in ("machine_image.py", "machine_agent.py", "machine_rig.py")))
FILES = (TREE / "src", SYSTEMD, CONFIG, TREE / "pyproject.toml", *OURS)
"""What the image is made of."""


def pytest_ignore_collect(config: pytest.Config) -> bool | None:
    """Leave these tests out of a run that doesn't name them: they take longer than all others together."""
    named = any(
        HERE in (path, *path.parents) for path in (Path(word.partition("::")[0]).resolve() for word in config.args)
    )
    return None if named else True


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test of this directory, which takes root."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.system)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item):
    """Add the journal and the console to a failed test's report."""
    report = yield
    if report.when == "call" and report.failed and isinstance(machine := item.funcargs.get("machine"), Machine):
        report.sections.append(("journal of the machine", machine.journal_text()))
        report.sections.append(("console of the machine", machine.console()))
    return report


@pytest.fixture(scope="session")
def place() -> Iterator[Path]:
    """Return the directory of the machine's disks, of which a host has one; another run waits for the end of this."""
    directory = cache_directory() / "machine"
    with locked(cache_directory() / "machine.lock"):
        directory.mkdir(exist_ok=True)
        yield directory
        for path in (directory / "machine.qcow2", directory / "scans.img"):
            path.unlink(missing_ok=True)


@pytest.fixture(scope="session")
def image(place: Path, tmp_path_factory: pytest.TempPathFactory) -> Image:
    """Return the image that the machine starts from. It is kept, and made anew when anything in it has changed."""
    if platform.machine() != "x86_64":
        pytest.fail("the emulated machine is an x86-64 one, and takes such a host")
    absent = missing()
    if absent:
        pytest.fail(f"tests/run machine installs, as root: {absent}")
    made_from, wanted = place / "made-from", _digest()
    image = Image(place / "kernel", place / "initrd", place / "root.img")
    if made_from.exists() and made_from.read_text() == wanted:
        return image
    made_from.unlink(missing_ok=True)
    with scratch() as layers:
        packages = cache(lambda: build_wheels(tmp_path_factory.mktemp("wheels"), tmp_path_factory.mktemp("project")))
        debian = Debian(BOOKWORM, layers, packages, debs=DEBS, extras="grbl,v4l2")
        rig = Rig(layers, debian.with_sources)
        try:
            install(rig)
            make_image(rig, place)
        finally:
            rig.remove()
    made_from.write_text(wanted)
    return image


def _digest() -> str:
    whole = hashlib.sha256(repr(DEBS).encode())
    for top in FILES:
        for path in sorted(top.rglob("*")) if top.is_dir() else (top,):
            if path.is_file() and path.suffix != ".pyc":
                whole.update(str(path).encode() + path.read_bytes())
    return whole.hexdigest()


def install(rig: Rig) -> None:
    """Install timelapsed as its documents say, on a machine that is off."""
    rig.build(f"{SOURCES}/systemd/install", "--wheels", f"{SOURCES}/wheels", "--extras", "grbl,v4l2")
    shutil.rmtree(rig.path(f"{SOURCES}/wheels"))
    service = TimelapseService(rig)
    rig.write(f"/etc/systemd/system/{service.unit}.d/datasets.conf", DATASETS.read_text(encoding="utf-8"))
    service.configure(CONFIGURATION)
    rig.write("/etc/modprobe.d/vivid.conf", "options vivid node_types=1 num_inputs=1\n")  # one webcam, no more
    make_bootable(rig)
    with rig.path("/etc/fstab").open("a", encoding="utf-8") as fstab:
        fstab.write(f"{example_line(DATASETS, 'LABEL=')}\n")
    rig.build(*example_line(DATASETS, "mkdir").split())


@pytest.fixture(scope="session")
def board() -> Board:
    """Return the gantry's board: where its commands arrive, and where a test makes it stop in the middle."""
    return Board()


@pytest.fixture(scope="session")
def machine(image: Image, place: Path, board: Board) -> Iterator[Machine]:
    """Return the machine, which has booted with nothing plugged in."""
    scans = place / "scans.img"
    make_disk(scans, "256M", "-L", "scans")
    with StandIn(board) as stand_in:
        machine = Machine(image, place, board=stand_in.port, scans=scans)
        try:
            machine.boot()
            yield machine
        except RigError as failure:
            failure.add_note(machine.console())
            raise
        finally:
            machine.remove()


@pytest.fixture
def service(machine: Machine) -> MachineService:
    """Return the service of the machine."""
    return MachineService(machine)


@pytest.fixture(scope="session")
def plugs(machine: Machine, board: Board) -> Plugs:
    """Return the machine's plugs; nothing is in at first."""
    return Plugs(machine, board)


@pytest.fixture
def running(machine: Machine, service: MachineService, plugs: Plugs) -> MachineService:
    """Return the service of the machine with everything plugged in, whatever a test before this has left."""
    plugs.go_on()
    plugs.plug("gantry", "camera", "scans")
    machine.run("udevadm", "wait", "--timeout=300", "/dev/disk/by-label/scans")
    machine.run(*example_line(DATASETS, "install").split())
    machine.run("sync")  # a power cut shortly after takes none of this back
    return service
