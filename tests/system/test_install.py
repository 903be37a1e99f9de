"""`systemd/install` on a bare Debian 12: what it does, says, repeats and leaves."""

from __future__ import annotations

import os
import re
import stat
from typing import TYPE_CHECKING

import pytest
from tree import SYSTEMD

if TYPE_CHECKING:
    from container import Rig

CATALOG = SYSTEMD / "plant-imager-timelapsed.catalog"
MANUALS = CATALOG.parent / "man"
UNIT = "plant-imager-timelapsed.service"
INSTALL = "/usr/src/timelapsed/systemd/install"
WHEELS = "/usr/src/timelapsed/wheels"
STORE = "/var/lib/plant-imager3-app/timelapse_storage.json"
TRUST = 'clock = "trust"\n'
"""Tests don't wait for a time server, and a container has no real-time clock."""


def install(machine: Rig, *options: str) -> str:
    """Run the installer, offline, on a running machine; return what it said."""
    return machine.run(INSTALL, "--wheels", WHEELS, *options).stdout


def everything_below(machine: Rig) -> dict[str, tuple[int, int]]:
    """Return kind and size of every file that the machine has written since it was made."""
    found = {}
    for top, directories, files in os.walk(machine.upper):
        for name in directories + files:
            facts = os.lstat(os.path.join(top, name))  # noqa: PTH118 - os.walk's own strings, by the thousand
            size = facts.st_size if stat.S_ISREG(facts.st_mode) else 0
            found[f"{top}/{name}"] = (facts.st_mode, size)
    return found


def test_one_command_makes_a_service_that_is_up_at_every_boot(bare_rig):
    """A bare machine has the daemon running after the installer, and again after a power cut."""
    bare_rig.write("/etc/plant-imager3-app/timelapsed.toml", TRUST)
    bare_rig.boot()
    install(bare_rig)
    assert bare_rig.show(UNIT, "ActiveState") == "active"
    bare_rig.power_cut()
    bare_rig.boot()
    assert bare_rig.run("systemctl", "is-system-running", "--wait").stdout.strip() == "running"
    assert bare_rig.show(UNIT, "ActiveState") == "active"
    assert bare_rig.show(UNIT, "User") == "plant-imager"


def test_store_belongs_to_the_rig_account_alone(rig):
    """The state directory is 0700 and the account's; configuration is root's, for everybody to read."""
    rig.write("/etc/plant-imager3-app/timelapsed.toml", TRUST)
    rig.boot()
    facts = rig.run("stat", "--format=%a %U %G", "/var/lib/plant-imager3-app/", "/etc/plant-imager3-app/")
    assert facts.stdout.splitlines() == ["700 plant-imager plant-imager", "755 root root"]


def test_message_catalog_is_installed(rig):
    """Every message of the catalog is known to the machine's own journalctl, for `journalctl -x`."""
    wanted = re.findall(r"(?m)^-- ([0-9a-f]{32})$", CATALOG.read_text(encoding="utf-8"))
    known = rig.build("journalctl", "--list-catalog", "--no-pager").stdout
    assert wanted
    assert [message for message in wanted if message not in known] == []


def test_manual_pages_are_installed(rig):
    """Each in the directory of its section, where `man` looks."""
    installed = {path.name: path.parent.name for path in rig.path("/usr/local/share/man").glob("*/*")}
    assert installed == {page.name: f"man{page.suffix[1:]}" for page in MANUALS.iterdir()}


def test_installing_again_changes_nothing_and_leaves_the_daemon_alone(rig):
    """The second run finds all as it should be: no file is written, the daemon's process stays."""
    rig.write("/etc/plant-imager3-app/timelapsed.toml", TRUST)
    rig.boot()
    before = rig.show(UNIT, "MainPID")
    said = install(rig)
    assert {line.split(":")[0] for line in said.splitlines()} == {"unchanged", "kept", "configuration"}
    assert rig.show(UNIT, "MainPID") == before != "0"


def test_update_takes_the_new_program_and_restarts_the_daemon(rig):
    """Other wheels make another environment; the running daemon moves to it, the old one goes."""
    rig.write("/etc/plant-imager3-app/timelapsed.toml", TRUST)
    rig.boot()
    before = rig.show(UNIT, "MainPID")
    old = rig.path("/opt/plant-imager-timelapsed/bin").readlink()
    wheel = next(rig.path(WHEELS).glob("sdnotify-*.whl"))
    # The same package under a build number: a wheel that wasn't there at the first install.
    wheel.rename(wheel.with_name(wheel.name.replace("-py", "-1-py", 1)))
    said = install(rig)
    assert f"restarted, where it ran: {UNIT.removesuffix('.service')}" in said.splitlines()
    assert rig.show(UNIT, "MainPID") not in {before, "0"}
    assert rig.show(UNIT, "ActiveState") == "active"
    assert rig.path("/opt/plant-imager-timelapsed/bin").readlink() != old
    assert not rig.path("/opt/plant-imager-timelapsed").joinpath(old).exists()


def imports(machine: Rig, module: str) -> bool:
    """Whether the daemon's environment has a module; the machine is off."""
    environment = machine.path("/opt/plant-imager-timelapsed/bin").readlink()
    python = f"/opt/plant-imager-timelapsed/{environment}/python3"
    return machine.build(python, "-c", f"import {module}", check=False).returncode == 0


def test_extras_bring_their_packages_and_let_the_service_at_the_devices(rig):
    """Each adds to those before; an update keeps them, and brings back no drop-in that somebody took away."""
    drop_ins = rig.path(f"/etc/systemd/system/{UNIT}.d")
    assert not imports(rig, "serial")
    rig.build(INSTALL, "--wheels", WHEELS, "--extras", "grbl")
    assert imports(rig, "serial")
    assert [path.name for path in drop_ins.iterdir()] == ["serial.conf"]
    (drop_ins / "serial.conf").unlink()
    assert not imports(rig, "gphoto2")
    rig.build(INSTALL, "--wheels", WHEELS, "--extras", "gphoto2")
    assert imports(rig, "gphoto2")
    said = rig.build(INSTALL, "--wheels", WHEELS).stdout.splitlines()
    assert any(line == "unchanged: /opt/plant-imager-timelapsed" for line in said)
    assert imports(rig, "serial")
    assert [path.name for path in drop_ins.iterdir()] == ["usb-camera.conf"]


def test_further_rig_may_use_the_devices_of_the_extras_that_are_there(rig):
    """Nobody asks for them once more; a drop-in of its own that somebody took away stays away at updates."""
    drop_ins = rig.path(f"/etc/systemd/system/{UNIT.replace('.', '@north.')}.d")
    rig.build(INSTALL, "--wheels", WHEELS, "--extras", "grbl,gphoto2")
    rig.build(INSTALL, "--wheels", WHEELS, "--rig", "north")
    assert sorted(path.name for path in drop_ins.iterdir()) == ["serial.conf", "usb-camera.conf"]
    (drop_ins / "serial.conf").unlink()
    rig.build(INSTALL, "--wheels", WHEELS, "--rig", "north")
    assert [path.name for path in drop_ins.iterdir()] == ["usb-camera.conf"]


def test_drop_in_of_an_administrator_is_never_overwritten(rig):
    """Nor is one put there that would keep the service from starting, for want of a group."""
    own = f"/etc/systemd/system/{UNIT}.d/serial.conf"
    rig.write(own, "[Service]\nDeviceAllow=/dev/ttyS7 rw\n")
    said = rig.build(INSTALL, "--wheels", WHEELS, "--extras", "gpio,grbl").stdout
    assert f"kept: {own}" in said.splitlines()
    assert rig.path(own).read_text() == "[Service]\nDeviceAllow=/dev/ttyS7 rw\n"
    without = f"left out: {own.replace('serial', 'gpio')}, because there is no group gpio here"
    assert without in said


def test_picamera2_is_that_of_the_system(rig):
    """It hangs on the system's own libcamera, so the environment sees the packages of the system."""
    packages = "/usr/lib/python3/dist-packages"
    rig.write(f"{packages}/picamera2.py", "")
    rig.write(
        f"{packages}/picamera2-0.3.18.dist-info/METADATA", "Metadata-Version: 2.1\nName: picamera2\nVersion: 0.3.18\n"
    )
    rig.build(INSTALL, "--wheels", WHEELS, "--extras", "picamera2")
    assert imports(rig, "picamera2")


def test_dry_run_says_all_and_does_nothing(bare_rig):
    """`--dry-run` names each step of the real run and leaves not one file."""
    before = everything_below(bare_rig)
    options = ("--wheels", WHEELS, "--extras", "grbl")
    said = bare_rig.build(INSTALL, *options, "--dry-run").stdout.splitlines()
    assert everything_below(bare_rig) == before
    done = bare_rig.build(INSTALL, *options).stdout.splitlines()
    assert [line.removeprefix("would: ") for line in said] == done


def test_example_configuration_is_never_overwritten(rig):
    """An example that a person has written into stays, and the live files are never touched."""
    directory = "/etc/plant-imager3-app"
    assert sorted(path.name for path in rig.path(directory).iterdir()) == [
        "timelapse.toml.example",
        "timelapsed.toml.example",
    ]
    rig.write(f"{directory}/timelapse.toml.example", "# ours now\n")
    said = rig.build(INSTALL, "--wheels", WHEELS).stdout
    assert f"kept: {directory}/timelapse.toml.example" in said.splitlines()
    assert rig.path(f"{directory}/timelapse.toml.example").read_text() == "# ours now\n"


def test_uninstall_leaves_data_and_configuration(rig):
    """Everything that was installed goes; what people and plants gave stays, with the account that owns it."""
    rig.write("/etc/plant-imager3-app/timelapsed.toml", TRUST)
    rig.boot()
    rig.run("touch", "/var/lib/plant-imager3-app/kept")
    rig.run(INSTALL, "--uninstall")
    assert rig.show(UNIT, "LoadState") == "not-found"
    assert rig.path("/var/lib/plant-imager3-app/kept").exists()
    assert rig.path("/etc/plant-imager3-app/timelapsed.toml").read_text() == TRUST
    assert not rig.path("/opt/plant-imager-timelapsed").exists()
    assert rig.run("find", "/usr/local", "-type", "f", "-o", "-type", "l", "-name", "*timelapse*").stdout == ""
    assert rig.run("getent", "passwd", "plant-imager").returncode == 0
    assert rig.run(INSTALL, "--uninstall").stdout.splitlines()[0] == "nothing was installed"


def test_rig_by_name_is_an_instance_of_the_template(bare_rig):
    """`--rig` starts that rig alone; taking it off again leaves the other one running."""
    for name in ("left", "right"):
        bare_rig.write(f"/etc/plant-imager3-app/{name}/timelapsed.toml", TRUST)
    for name in ("history-left/first.json", "datasets-left/first_0/kept"):
        bare_rig.write(f"/var/lib/plant-imager3-app/{name}", "")
    bare_rig.boot()
    install(bare_rig, "--extras", "grbl", "--rig", "left")
    install(bare_rig, "--rig", "right")
    states = [bare_rig.show(f"plant-imager-timelapsed@{name}.service", "ActiveState") for name in ("left", "right")]
    assert states == ["active", "active"]
    assert bare_rig.show(UNIT, "ActiveState") == "inactive"
    said = bare_rig.run(INSTALL, "--uninstall", "--rig", "left").stdout.splitlines()
    data = "/var/lib/plant-imager3-app"
    assert said[-1] == (
        f"left: /etc/plant-imager3-app/left, {data}/datasets-left, {data}/history-left, "
        f"/etc/systemd/system/{UNIT.replace('.', '@left.')}.d, and the programs that all rigs share"
    )
    states = [bare_rig.show(f"plant-imager-timelapsed@{name}.service", "ActiveState") for name in ("left", "right")]
    assert states == ["inactive", "active"]
    bare_rig.run(INSTALL, "--uninstall")
    assert bare_rig.show("plant-imager-timelapsed@right.service", "LoadState") == "not-found"


def test_user_service_runs_without_a_login(bare_rig):
    """`--user` gives a desktop user a daemon of their own, which lingers, also after a power cut."""
    bare_rig.build("useradd", "--create-home", "ada")
    bare_rig.write("/home/ada/.config/plant-imager3-app/timelapsed.toml", TRUST)
    bare_rig.build("chown", "-R", "ada:", "/home/ada")
    bare_rig.boot()
    # A server without polkit lets root alone allow lingering; a desktop asks nobody.
    bare_rig.run("loginctl", "enable-linger", "ada")
    bare_rig.run("systemctl", "start", "user@1000.service")
    bare_rig.run(INSTALL, "--user", "--wheels", WHEELS, user="ada")
    state = ("systemctl", "--user", "show", "--value", "--property=ActiveState", UNIT)
    assert bare_rig.run(*state, user="ada").stdout.strip() == "active"
    bare_rig.power_cut()
    bare_rig.boot()
    bare_rig.run("systemctl", "start", "user@1000.service")
    bare_rig.wait_until(lambda: bare_rig.run(*state, user="ada").stdout.strip() == "active", what="ada's daemon")
    bare_rig.run(INSTALL, "--user", "--uninstall", user="ada")
    assert bare_rig.path("/home/ada/.config/plant-imager3-app/timelapsed.toml").exists()
    assert not bare_rig.path("/home/ada/.local/share/plant-imager-timelapsed").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--rig", "../left"), "--rig ../left: write letters, digits, '.', '_' and '-', at most 64"),
        (("--rig",), "--rig needs a value"),
        (("--wheels", "/nowhere"), "--wheels /nowhere: not a directory"),
        (("--wheels", "/etc"), "--wheels /etc: holds no plantimager_timelapse-*.whl"),
        (("--extras", "grbl,teapot"), "--extras grbl,teapot: write some of grbl, gphoto2, v4l2, picamera2, gpio"),
        (("--user", "--rig", "left"), "--rig is for the system service"),
        (("--upgrade",), "unknown: --upgrade"),
    ],
)
def test_wrong_use_is_refused_in_one_line(bare_rig, options, message):
    """The installer says what is wrong with its options before it does anything."""
    before = everything_below(bare_rig)
    done = bare_rig.build(INSTALL, *options, check=False)
    assert done.returncode == 1
    assert message in done.stderr
    assert everything_below(bare_rig) == before


def test_ordinary_user_is_told_of_root_and_of_the_user_service(bare_rig):
    """Without root the system service can't be installed, and the message names both ways on."""
    done = bare_rig.build("setpriv", "--reuid=65534", "--clear-groups", INSTALL, "--wheels", WHEELS, check=False)
    assert done.returncode == 1
    assert done.stderr == "systemd/install: needs root: run it with sudo, or with --user for your own store\n"
