"""The unit files: sound, hardened, explained, and the two system units alike."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from debian import SOURCES, on_every_release
from tree import SYSTEMD

if TYPE_CHECKING:
    from pathlib import Path

PLAIN = SYSTEMD / "plant-imager-timelapsed.service"
TEMPLATE = SYSTEMD / "plant-imager-timelapsed@.service"
USER = SYSTEMD / "user" / "plant-imager-timelapsed.service"
RELAY = sorted(SYSTEMD.rglob("plant-imager-timelapse-relay*.service"))
WATCHDOG = SYSTEMD / "hardware-watchdog.conf"
EXAMPLES = sorted((SYSTEMD / "examples").glob("*.conf"))
MAX_EXPOSURE = 15
"""Tenths: the highest exposure that `systemd-analyze security` may find in the service as delivered."""


def settings(unit: Path) -> list[str]:
    """Return the lines of a unit file that are no comments."""
    lines = unit.read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


@on_every_release
@pytest.mark.parametrize("unit", ["plant-imager-timelapsed.service", "plant-imager-timelapsed@left.service"])
def test_system_unit_is_sound(rig, unit):
    """`systemd-analyze verify` finds nothing in an installed unit."""
    said = rig.build("systemd-analyze", "verify", "--man=no", unit)
    assert said.stdout + said.stderr == ""


@on_every_release
def test_user_unit_is_sound(rig):
    """`systemd-analyze verify --user` finds nothing in the user's unit once its program is there."""
    program = "/root/.local/share/plant-imager-timelapsed/bin/timelapsed"
    rig.write(program, "#!/bin/sh\n", mode=0o755)
    unit = f"{SOURCES}/systemd/user/{USER.name}"
    said = rig.build("env", "XDG_RUNTIME_DIR=/run", "systemd-analyze", "verify", "--user", "--man=no", unit)
    assert said.stdout + said.stderr == ""


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_example_drop_in_is_sound(rig, example):
    """Each example for a real rig can be copied as it is."""
    drop_in = f"/etc/systemd/system/plant-imager-timelapsed.service.d/{example.name}"
    rig.write(drop_in, example.read_text(encoding="utf-8"))
    said = rig.build("systemd-analyze", "verify", "--man=no", "plant-imager-timelapsed.service")
    assert said.stdout + said.stderr == ""


@on_every_release
@pytest.mark.parametrize("unit", ["plant-imager-timelapsed.service", "plant-imager-timelapsed@.service"])
def test_system_unit_is_hardened(rig, unit):
    """The service as delivered has an exposure of 1.5 of 10 at most."""
    path = f"/usr/local/lib/systemd/system/{unit}"
    rig.build("systemd-analyze", "security", "--offline=yes", f"--threshold={MAX_EXPOSURE}", "--no-pager", path)


def test_template_differs_only_by_the_name_of_the_rig():
    """A protection of one system unit is in the other, too."""
    plain, template = settings(PLAIN), settings(TEMPLATE)
    assert [line for line in plain if line not in template] == [
        "Description=Timelapse of the plant imaging rig",
        "ExecStart=/opt/plant-imager-timelapsed/bin/timelapsed",
        "ConfigurationDirectory=plant-imager3-app",
        "RuntimeDirectory=plant-imager3-app",
    ]
    assert [line for line in template if line not in plain] == [
        "Description=Timelapse of the plant imaging rig %i",
        "ExecStart=/opt/plant-imager-timelapsed/bin/timelapsed --rig %i",
        "Environment=PI3_TIMELAPSE_FILE_NAME=timelapse_storage-%i.json",
        "ConfigurationDirectory=plant-imager3-app/%i",
        "RuntimeDirectory=plant-imager3-app-%i",
    ]


@pytest.mark.parametrize("unit", [PLAIN, TEMPLATE, USER, *RELAY, WATCHDOG, *EXAMPLES], ids=lambda path: path.name)
def test_every_setting_is_explained(unit):
    """Each setting, or group of settings, has a comment above it."""
    above = ""
    for line in unit.read_text(encoding="utf-8").splitlines():
        if line and not line.startswith(("#", "[")):
            assert above.startswith("#") or "=" in above, f"{unit.name}: nothing explains {line}"
        above = line


BUILT_IN = {"char-dma_heap", "char-gpiochip", "char-ttyAMA", "char-ttyS"}
"""Kinds of devices that the kernel itself registers, or that have no module of their own."""
MODULES = {
    "char-video4linux": "videodev", "char-media": "mc", "char-usb_device": "usbcore", "char-i2c": "i2c_dev",
    "char-spi": "spidev", "char-ttyUSB": "usbserial", "char-ttyACM": "cdc_acm",
}  # fmt: skip
"""The module that registers the other kinds."""


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_drivers_are_loaded_before_their_devices_are_looked_up(example):
    """Systemd does so once, when the service starts; a kind that is registered later is refused until a restart."""
    lines = settings(example)
    allowed = {line.removeprefix("DeviceAllow=").split()[0] for line in lines if line.startswith("DeviceAllow=")}
    wanted = {f"modprobe@{MODULES[kind]}.service" for kind in allowed - BUILT_IN}
    for setting in ("Wants=", "After="):
        loaded = {unit for line in lines if line.startswith(setting) for unit in line.removeprefix(setting).split()}
        assert {unit for unit in loaded if unit.startswith("modprobe@")} == wanted


@pytest.mark.parametrize("unit", ["plant-imager-timelapsed.service", "plant-imager-timelapsed@left.service"])
def test_boot_does_not_wait_for_a_trusted_clock(rig, unit):
    """The service may be starting for ten minutes; multi-user.target, which starts it, is reached meanwhile."""
    still_waiting = "[Service]\nExecStart=\nExecStart=/usr/bin/sleep infinity\n"
    rig.write(f"/etc/systemd/system/{unit}.d/waiting.conf", still_waiting)
    rig.build("systemctl", "enable", unit)
    rig.boot(until_up=False)
    rig.wait_until(lambda: rig.show("multi-user.target", "ActiveState") == "active")
    assert unit not in rig.show("multi-user.target", "After").split()
    assert rig.show(unit, "ActiveState") == "activating"


PROBE = """
import ctypes, errno, json, os, socket

def refusal(attempt):
    try:
        attempt()
    except OSError as error:
        return errno.errorcode[error.errno]

print(json.dumps({
    "asks about the clock": ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(208)) >= 0,
    "knows the boot": bool(open("/proc/sys/kernel/random/boot_id").read()),
    "writes to /etc": refusal(lambda: open("/etc/mine", "w")),
    "writes to its state": refusal(lambda: open(os.environ["STATE_DIRECTORY"] + "/mine", "w")),
    "looks into homes": refusal(lambda: os.listdir("/home")),
    "makes a network socket": refusal(lambda: socket.socket(socket.AF_INET)),
    "devices": sorted(set(os.listdir("/dev")) & {"null", "zero", "kmsg", "mem", "ttyS0", "console"}),
}))
"""


@on_every_release
def test_sandbox_allows_what_the_daemon_needs_and_nothing_else(rig):
    """In the sandbox the clock's state and the boot id can be read; files, homes, network and devices can't be used."""
    rig.write("/usr/local/bin/probe", PROBE)
    only_probe = "[Service]\nType=oneshot\nExecStart=\nExecStart=/usr/bin/python3 /usr/local/bin/probe\n"
    rig.write("/etc/systemd/system/plant-imager-timelapsed.service.d/probe.conf", only_probe)
    rig.boot()
    said = rig.wait_for_entry("_SYSTEMD_UNIT=plant-imager-timelapsed.service", "_COMM=python3")
    assert json.loads(said["MESSAGE"]) == {
        "asks about the clock": True,
        "knows the boot": True,
        "writes to /etc": "EROFS",
        "writes to its state": None,
        "looks into homes": "EACCES",
        "makes a network socket": "EAFNOSUPPORT",
        "devices": ["null", "zero"],
    }


def test_service_starts_with_every_example_in_place(rig):
    """The examples go together, where the groups and the directory that they name exist."""
    for group in ("gpio", "i2c", "spi"):
        rig.build("groupadd", "--force", "--system", group)
    rig.build("install", "--directory", "--owner=plant-imager", "/srv/scans")
    for example in EXAMPLES:
        drop_in = f"/etc/systemd/system/plant-imager-timelapsed.service.d/{example.name}"
        rig.write(drop_in, example.read_text(encoding="utf-8"))
    rig.write("/etc/plant-imager3-app/timelapsed.toml", 'clock = "trust"\n')
    rig.boot()
    assert rig.show("plant-imager-timelapsed.service", "ActiveState") == "active"
    assert "char-ttyUSB" in rig.show("plant-imager-timelapsed.service", "DeviceAllow")


def test_waiting_for_network_time_has_an_end(rig):
    """A rig without a network waits for a time server at boot for ten minutes at most; then the daemon starts."""
    override = (
        "[Unit]\nConditionVirtualization=\nConditionCapability=\n[Service]\nExecStart=\nExecStart=sleep infinity\n"
    )
    rig.write("/etc/systemd/system/systemd-time-wait-sync.service.d/50-no-answer.conf", override)
    rig.build("systemctl", "enable", "systemd-time-wait-sync.service")
    rig.write("/etc/plant-imager3-app/timelapsed.toml", 'clock = "trust"\n')
    rig.boot(until_up=False)
    rig.wait_until(lambda: rig.show("systemd-time-wait-sync.service", "ActiveState") == "activating")
    assert rig.show("systemd-time-wait-sync.service", "TimeoutStartUSec") == "10min"
    assert rig.show("plant-imager-timelapsed.service", "ActiveState") == "inactive"
    # The service manager sees the same end of the unit as after ten minutes.
    rig.run("systemctl", "kill", "systemd-time-wait-sync.service")
    rig.wait_until(lambda: rig.show("plant-imager-timelapsed.service", "ActiveState") == "active")
