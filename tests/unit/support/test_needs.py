"""What settings need of their environment is found by the declarations of the keys."""

import ast
import importlib
import pkgutil
import sys
import tomllib
from contextlib import suppress
from pathlib import Path

import pytest
from msgspec import Struct

import plantimager.timelapse
from plantimager.timelapse.drivers.cameras import KINDS, CameraOptions
from plantimager.timelapse.drivers.grbl.rig_options import read_rig_options
from plantimager.timelapse.drivers.switches import SwitchOptions
from plantimager.timelapse.scan.lights import Role
from plantimager.timelapse.settings.deliver_config import DeliverTarget
from plantimager.timelapse.settings.relay_config import (
    HeartbeatSettings,
    MetricsSettings,
    NotifySettings,
    RelaySettings,
)
from plantimager.timelapse.support.keys import keys_of
from plantimager.timelapse.support.needs import needs_of, programs_in

ROOT = Path(__file__).parents[3]
PROGRAM = ["/usr/bin/take", "{output}"]
NOT_IN_THE_SERVICE = {"testing", "test", "lint"}


def structs():
    """Return every struct of the distribution."""
    for module in pkgutil.walk_packages(plantimager.timelapse.__path__, "plantimager.timelapse."):
        if ".testing" not in module.name and not module.name.endswith("__main__"):
            with suppress(ModuleNotFoundError):  # picamera2 is on a Raspberry Pi alone
                importlib.import_module(module.name)
    found, left = set(), [Struct]
    while left:
        children = left.pop().__subclasses__()
        found |= {*children}
        left += children
    return sorted((s for s in found if s.__module__.startswith("plantimager.timelapse")), key=str)


def takes_program(key):
    with suppress(ValueError):
        key.read([""])
        return False
    try:
        words = key.read(PROGRAM)
    except (ValueError, TypeError, AttributeError):
        return False
    return isinstance(words, tuple | list) and [*words] == PROGRAM


def test_every_key_whose_value_is_a_program_says_so():
    """Otherwise `check` doesn't look for the program."""
    keys = {}
    for kind in structs():
        with suppress(NameError):  # its module doesn't evaluate annotations, and so declares no keys
            keys |= {(kind.__name__, key.name): key for key in keys_of(kind).values()}
    programs = {name for name, key in keys.items() if takes_program(key)}
    assert ("CommandOptions", "argv") in programs
    assert programs == {name for name, key in keys.items() if key.is_program}


def test_every_extra_is_the_need_of_some_setting():
    """Each extra of the distribution: that of a driver is told when the driver is loaded, the others are needs."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    drivers = project["entry-points"]["plantimager.scanner_drivers"]
    extras = project["optional-dependencies"].keys() - drivers.keys() - NOT_IN_THE_SERVICE
    assert {need.extra for need in all_needs() if need.extra} == extras


def all_needs():
    switch = SwitchOptions(name="light", role=Role.SCAN_LIGHT, line=17)
    cameras = {kind: CameraOptions(kind, kind, {"argv": PROGRAM}) for kind in KINDS}
    relay = RelaySettings(
        deliver={"server": DeliverTarget(url="https://a"), "lab": DeliverTarget(remote="lab:plants")},
        notify=NotifySettings(),
        heartbeat=HeartbeatSettings(),
        metrics=MetricsSettings(),
    )
    return [*needs_of((switch,), "switches"), *needs_of(cameras, "cameras"), *needs_of(relay, "relay")]


def test_every_module_of_an_extra_that_is_imported_is_the_need_of_some_setting():
    """By the imports of the source: none is forgotten when a part begins to import another library."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    installed = {"apscheduler", "sdnotify", "platformdirs", "orjson", "msgspec", "logging_journald", "wcwidth", "PIL"}
    assert len(project["dependencies"]) == len(installed)
    by_the_driver = {"serial"}
    beside_another = {"numpy"}  # comes with OpenCV and picamera2
    optional = {"pytest"}
    imported = set()
    for path in (ROOT / "src/plantimager/timelapse").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                imported |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                imported.add(node.module.partition(".")[0])
    third_party = imported - installed - {"plantimager"} - set(sys.stdlib_module_names)
    assert third_party - by_the_driver - beside_another - optional - {need.module for need in all_needs()} == set()


def test_need_names_the_table_of_its_key():
    """So that a person finds it."""
    values = {
        "port": "/dev/ttyACM0",
        "cameras": {"top": {"kind": "command", "argv": PROGRAM}},
        "switches": {"plug": {"role": "scan_light", "on": ["plug", "1"], "off": ["plug", "0"]}},
    }
    found = {(need.table, need.key): need.program for need in needs_of(read_rig_options(values, []), "drivers.grbl")}
    assert found == {
        ("drivers.grbl.cameras.top", "argv"): "/usr/bin/take",
        ("drivers.grbl.switches.plug", "on"): "plug",
        ("drivers.grbl.switches.plug", "off"): "plug",
    }


def test_values_that_declare_no_keys_need_nothing():
    """As where the arm is parked."""
    values = {"port": "/dev/ttyACM0", "park": {"x": 0}, "cameras": {"own": {"kind": "picamera2"}}}
    assert [need.module for need in needs_of(read_rig_options(values, []), "drivers.grbl")] == ["picamera2"]


@pytest.mark.parametrize(
    ("options", "programs"),
    [
        ({"take": ["/a/b", "-x"], "n": 3}, [("drivers.Mine", "take", "/a/b")]),
        ({"deep": {"take": ["/a/b"]}}, [("drivers.Mine.deep", "take", "/a/b")]),
        ({"words": ["a", "/b"]}, []),
    ],
)
def test_programs_of_a_driver_that_declares_nothing_are_found_by_their_paths(options, programs):
    """A driver by others may read its table itself."""
    assert [(n.table, n.key, n.program) for n in programs_in(options, "drivers.Mine")] == programs
    assert all(need.is_guess for need in programs_in(options, "drivers.Mine"))
