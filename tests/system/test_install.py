"""`systemd/install` on a bare Debian: its steps, its output, its second run, and its removal."""

from __future__ import annotations

import io
import os
import re
import stat
import tarfile
from typing import TYPE_CHECKING

import pytest
from debian import ADMINISTERED, BOOKWORM, INSTALL_WITHIN, SOURCES, base_root, on_every_release
from timelapse_service import configuration, definition
from tree import MANUALS, SYSTEMD

if TYPE_CHECKING:
    from container import Rig

CATALOG = SYSTEMD / "plant-imager-timelapsed.catalog"
UNIT = "plant-imager-timelapsed.service"
ENVIRONMENT = "/opt/plant-imager-timelapsed"
INSTALL = f"{SOURCES}/systemd/install"
WHEELS = f"{SOURCES}/wheels"
CONFIGURATION = "/etc/plant-imager3-app"
STORE = "/var/lib/plant-imager3-app/timelapse_storage.json"
TRUST = 'clock = "trust"\n'
"""The daemon need not wait for a time server; a container has none, and no real-time clock."""


def install(machine: Rig, *options: str) -> str:
    """Run the installer, offline, on a running machine; return its output."""
    return machine.run(INSTALL, "--wheels", WHEELS, *options, within=INSTALL_WITHIN).stdout


def everything_below(machine: Rig) -> dict[str, tuple[int, int]]:
    """Return mode and size of every file that the machine has written since it was made."""
    found = {}
    for top, directories, files in os.walk(machine.upper):  # noqa: TID251 - some of it vanishes meanwhile
        for name in directories + files:
            facts = os.lstat(os.path.join(top, name))  # noqa: PTH118 - os.walk's own strings, by the thousand
            size = facts.st_size if stat.S_ISREG(facts.st_mode) else 0
            found[f"{top}/{name}"] = (facts.st_mode, size)
    return found


@on_every_release
def test_one_command_makes_a_service_that_is_up_at_every_boot(bare_rig, release):
    """On a bare machine the daemon runs after the installer, and again after a power cut, on that Debian's Python."""
    bare_rig.write("/etc/plant-imager3-app/timelapsed.toml", TRUST)
    bare_rig.boot()
    install(bare_rig)
    assert bare_rig.show(UNIT, "ActiveState") == "active"
    bare_rig.power_cut()
    bare_rig.boot()
    assert bare_rig.run("systemctl", "is-system-running", "--wait").stdout.strip() == "running"
    assert bare_rig.show(UNIT, "ActiveState") == "active"
    assert bare_rig.show(UNIT, "User") == "plant-imager"
    (python,) = bare_rig.run(f"{ENVIRONMENT}/bin/python3", "--version").stdout.splitlines()
    assert python.startswith(f"Python {release.python}.")


def test_store_is_readable_by_the_service_account_alone(rig):
    """Members of its group read the datasets, and nothing else of the state directory; other users nothing of it."""
    rig.write("/etc/plant-imager3-app/timelapsed.toml", configuration())
    rig.write("/etc/plant-imager3-app/timelapse.toml", definition(n_shots=1))
    for user, group in (("ada", "plant-imager"), ("eve", "ada")):
        rig.build("useradd", f"--groups={group}", user)
    rig.boot()
    rig.wait_for_entry("ACTION=timelapse_completed")
    rig.write("/root/next.toml", definition("next", n_shots=1))
    rig.run("timelapsectl", "start", "/root/next.toml")
    rig.wait_for_entry("ACTION=timelapse_completed", "TIMELAPSE_ID=next")
    facts = rig.run("stat", "--format=%a %U %G", "/var/lib/plant-imager3-app/", "/etc/plant-imager3-app/")
    assert facts.stdout.splitlines() == ["750 plant-imager plant-imager", "755 root root"]
    readable = ("find", "/var/lib/plant-imager3-app", "-type", "f", "-readable")
    seen = rig.run(*readable, user="ada", check=False).stdout.splitlines()
    assert {path.split("/")[4] for path in seen} == {"datasets"}
    assert [path for path in seen if "/tl/images/" in path]
    assert rig.run(*readable, user="eve", check=False).stdout == ""


COMMAND = 'driver = "command"\nclock = "trust"\n[drivers.command]\nargv = [{argv}]\n'
DATASETS = 'clock = "trust"\ndatasets = "{directory}"\n'
HIDDEN = "the service may not run it or can't see it (homes and the /tmp of others are hidden from it)"


def test_check_judges_inside_the_sandbox_of_the_service(rig):
    """What root or a member of the group can run, write and import, and the service can't, is told by `check`."""
    settings = f"{CONFIGURATION}/timelapsed.toml"
    rig.write(settings, configuration())
    rig.build("useradd", "--create-home", "--groups=plant-imager", "ada")
    for directory in ("/home/ada", "/root", "/srv/scans"):
        rig.path(directory).mkdir(exist_ok=True)
        rig.path(directory).chmod(0o755)
    programs = {name: f"{name}/take" for name in ("/home/ada", "/root", "/usr/local/bin")}
    for path in programs.values():
        rig.write(path, "#!/home/ada/sh\n" if path.startswith("/usr") else "#!/bin/sh\n", mode=0o755)
    rig.write("/home/ada/sh", "#!/bin/sh\n", mode=0o755)
    rig.write("/usr/local/bin/closed", "#!/bin/sh\n", mode=0o700)
    rig.path("/usr/local/bin/linked").symlink_to("/root/take")
    rig.boot()
    rig.run("cp", "/root/take", "/tmp/take")  # not on the disk of the container: its /tmp is memory
    rig.run("chown", "plant-imager:", "/srv/scans")

    def check(text: str, user: str = "", *before: str) -> tuple[int, str]:
        """Return the exit code and the report on a configuration."""
        rig.write(settings, text)
        done = rig.run(*before, "timelapsectl", "check", user=user, check=False)
        assert done.stderr == ""
        return done.returncode, done.stdout

    for argv in ('"/home/ada/take"', '"/root/take"', '"linked"', '"sh", "/tmp/take"', '"sh", "/home/ada/take"'):
        code, said = check(COMMAND.format(argv=argv))
        assert "by the service" in said
        assert HIDDEN in said or (code, "is not there" in said) == (78, True), (argv, said)
    for user in ("", "ada"):
        assert "take can't be run: /home/ada/sh, which its" in check(COMMAND.format(argv='"take"'), user)[1]
    assert check(COMMAND.format(argv='"closed"'))[0] == 78
    assert "/srv/scans: Read-only file system" in check(DATASETS.format(directory="/srv/scans"))[1]
    assert "the service sees no homes" in check(DATASETS.format(directory="/home/ada/scans"))[1]
    assert "the service has a /tmp of its own" in check(DATASETS.format(directory="/tmp/scans"))[1]
    rig.write("/srv/libraries/serial.py", "class Serial: pass\nclass SerialException(Exception): pass\n")
    grbl = 'driver = "grbl"\n[drivers.grbl]\nport = "/dev/ttyACM0"\n[drivers.grbl.cameras.top]\n'
    grbl += 'kind = "command"\nargv = ["/bin/true", "{output}"]\n'
    code, said = check(grbl, "", "env", "PYTHONPATH=/srv/libraries")
    assert (code, "systemd/install --extras grbl" in said) == (78, True), said
    rig.path(settings).chmod(0o600)
    done = rig.run("timelapsectl", "check", check=False)
    assert f"{settings}, by the service: {settings}: can't be read" in done.stdout
    rig.write(settings, TRUST)
    rig.run("chown", "plant-imager:", settings)
    rig.run("chmod", "600", settings)
    assert rig.run("timelapsectl", "check", user="ada").stdout.startswith(f"{settings}: fine")
    rig.run("systemctl", "stop", UNIT)
    assert "no daemon runs, so what its account may read, run, write and import was not judged" in check(TRUST)[1]


@on_every_release
def test_message_catalog_is_installed(rig):
    """The machine's own journalctl knows every message of the catalog, for `journalctl -x`."""
    wanted = re.findall(r"(?m)^-- ([0-9a-f]{32})$", CATALOG.read_text(encoding="utf-8"))
    known = rig.build("journalctl", "--list-catalog", "--no-pager").stdout
    assert wanted
    assert [message for message in wanted if message not in known] == []


def test_manual_pages_are_installed(rig):
    """Each page is in the directory of its section, where `man` looks."""
    installed = {path.name: path.parent.name for path in rig.path("/usr/local/share/man").glob("*/*")}
    assert installed == {page.name: f"man{page.suffix[1:]}" for page in MANUALS.iterdir()}


def test_installing_again_changes_nothing_and_keeps_the_daemon_running(rig):
    """The second run finds everything as it should be: it writes no file, and the daemon's process goes on."""
    rig.write("/etc/plant-imager3-app/timelapsed.toml", TRUST)
    rig.boot()
    before = rig.show(UNIT, "MainPID")
    said = install(rig)
    assert {line.split(":")[0] for line in said.splitlines()} == {"unchanged", "kept", "configuration"}
    assert rig.show(UNIT, "MainPID") == before != "0"


def test_update_installs_the_new_program_and_restarts_the_daemon(rig):
    """Other wheels make another environment; the daemon is restarted in it, and the old one is removed."""
    rig.write("/etc/plant-imager3-app/timelapsed.toml", TRUST)
    rig.boot()
    before = rig.show(UNIT, "MainPID")
    old = rig.path(f"{ENVIRONMENT}/bin").readlink()
    wheel = next(rig.path(WHEELS).glob("sdnotify-*.whl"))
    # The same package with a build number: a wheel that the first install did not have.
    wheel.rename(wheel.with_name(wheel.name.replace("-py", "-1-py", 1)))
    said = install(rig)
    assert f"restarted: {UNIT}" in said.splitlines()
    assert rig.show(UNIT, "MainPID") not in {before, "0"}
    assert rig.show(UNIT, "ActiveState") == "active"
    assert rig.path(f"{ENVIRONMENT}/bin").readlink() != old
    assert not rig.path(ENVIRONMENT).joinpath(old).exists()


def imports(machine: Rig, module: str) -> bool:
    """Whether the daemon's environment has a module; the machine is off."""
    python = f"{ENVIRONMENT}/{machine.path(f'{ENVIRONMENT}/bin').readlink()}/python3"
    return machine.build(python, "-c", f"import {module}", check=False).returncode == 0


def test_extras_install_their_packages_and_allow_the_devices(rig):
    """Each adds to those before; an update keeps them, and restores no drop-in that the administrator removed.

    Wherever the caller's own Python has packages, and his pip puts them.
    """
    drop_ins = rig.path(f"/etc/systemd/system/{UNIT}.d")
    assert not imports(rig, "serial")
    rig.write("/srv/own/pyserial-3.5.dist-info/METADATA", "Metadata-Version: 2.1\nName: pyserial\nVersion: 3.5\n")
    caller = ("env", "PYTHONPATH=/srv/own", "PIP_TARGET=/srv/own")
    rig.build(*caller, INSTALL, "--wheels", WHEELS, "--extras", "grbl")
    assert imports(rig, "serial")
    assert [path.name for path in drop_ins.iterdir()] == ["serial.conf"]
    (drop_ins / "serial.conf").unlink()
    assert not imports(rig, "gphoto2")
    rig.build(INSTALL, "--wheels", WHEELS, "--extras", "gphoto2")
    assert imports(rig, "gphoto2")
    said = rig.build(INSTALL, "--wheels", WHEELS).stdout.splitlines()
    assert f"unchanged: {ENVIRONMENT}" in said
    assert imports(rig, "serial")
    assert [path.name for path in drop_ins.iterdir()] == ["usb-camera.conf"]


def test_further_rig_may_use_the_devices_of_the_installed_extras(rig):
    """It needs no `--extras` of its own; an update restores no drop-in of it that the administrator removed."""
    drop_ins = rig.path(f"/etc/systemd/system/{UNIT.replace('.', '@north.')}.d")
    rig.build(INSTALL, "--wheels", WHEELS, "--extras", "grbl,gphoto2")
    rig.build(INSTALL, "--wheels", WHEELS, "--rig", "north")
    assert sorted(path.name for path in drop_ins.iterdir()) == ["serial.conf", "usb-camera.conf"]
    (drop_ins / "serial.conf").unlink()
    rig.build(INSTALL, "--wheels", WHEELS, "--rig", "north")
    assert [path.name for path in drop_ins.iterdir()] == ["usb-camera.conf"]


def test_drop_in_of_an_administrator_is_never_overwritten(rig):
    """Neither is a drop-in installed that names a missing group: with it the service would not start."""
    own = f"/etc/systemd/system/{UNIT}.d/serial.conf"
    rig.write(own, "[Service]\nDeviceAllow=/dev/ttyS7 rw\n")
    said = rig.build(INSTALL, "--wheels", WHEELS, "--extras", "gpio,grbl").stdout
    assert f"kept: {own}" in said.splitlines()
    assert rig.path(own).read_text() == "[Service]\nDeviceAllow=/dev/ttyS7 rw\n"
    without = f"left out: {own.replace('serial', 'gpio')}, because there is no group gpio here"
    assert without in said


def test_picamera2_is_the_package_of_the_system(rig):
    """It needs the system's own libcamera, so the environment includes the packages of the system."""
    packages = "/usr/lib/python3/dist-packages"
    rig.write(f"{packages}/picamera2.py", "")
    rig.write(
        f"{packages}/picamera2-0.3.18.dist-info/METADATA", "Metadata-Version: 2.1\nName: picamera2\nVersion: 0.3.18\n"
    )
    rig.build(INSTALL, "--wheels", WHEELS, "--extras", "picamera2")
    assert imports(rig, "picamera2")


def test_picamera2_that_is_not_there_is_told_before_anything_is_changed(bare_rig):
    """It comes by apt alone; the refusal names the command."""
    before = everything_below(bare_rig)
    done = bare_rig.build(INSTALL, "--wheels", WHEELS, "--extras", "grbl,picamera2", check=False)
    assert done.returncode == 1
    assert "apt install python3-picamera2" in done.stderr
    assert everything_below(bare_rig) == before


BACKEND = """\
import zipfile
NAME = "gphoto2-99-py3-none-any.whl"
def build_wheel(directory, settings=None, metadata=None):
    with zipfile.ZipFile(f"{directory}/{NAME}", "w") as wheel:
        wheel.writestr("gphoto2.py", "BUILT = True")
        info = "gphoto2-99.dist-info"
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\\nName: gphoto2\\nVersion: 99\\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr(f"{info}/RECORD", "")
    return NAME
"""
PYPROJECT = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'


def offer_source_alone(machine: Rig) -> None:
    """Leave of gphoto2 a source in the directory of wheels, as a registry has it for a machine without a wheel."""
    for path in machine.path(WHEELS).glob("gphoto2-*"):
        path.unlink()
    files = {"backend.py": BACKEND, "pyproject.toml": PYPROJECT, "PKG-INFO": "Name: gphoto2\nVersion: 99\n"}
    with tarfile.open(machine.path(f"{WHEELS}/gphoto2-99.tar.gz"), "w:gz") as archive:
        for name, text in files.items():
            member = tarfile.TarInfo(f"gphoto2-99/{name}")
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))


def test_package_without_a_wheel_for_this_machine_takes_a_compiler(bare_rig):
    """Without one, the packages of apt that help are told, and nothing was changed; with it, the package is built."""
    offer_source_alone(bare_rig)
    bare_rig.build("touch", "/var/tmp")
    before = everything_below(bare_rig)
    extras = ("--extras", "gphoto2,grbl")
    done = bare_rig.build(INSTALL, "--wheels", WHEELS, *extras, check=False)
    assert done.returncode == 1
    assert re.search(r"nothing was changed: gphoto2 has no wheel for this machine \(\w+, Python 3\.\d+", done.stderr)
    assert "first: apt install build-essential python3-dev pkg-config libgphoto2-dev\n" in done.stderr
    assert everything_below(bare_rig) == before
    for program in ("cc", "pkg-config"):
        bare_rig.write(f"/usr/bin/{program}", "#!/bin/sh\n", mode=0o755)
    done = bare_rig.build(INSTALL, "--wheels", WHEELS, *extras, check=False)
    assert "first: apt install python3-dev\n" in done.stderr
    include = bare_rig.build("python3", "-c", "import sysconfig; print(sysconfig.get_path('include'))").stdout.strip()
    bare_rig.write(f"{include}/Python.h", "")
    said = bare_rig.build(INSTALL, "--wheels", WHEELS, *extras).stdout.splitlines()
    assert said[0] == "no wheel for this machine, so a compiler builds: gphoto2"
    assert imports(bare_rig, "gphoto2; gphoto2.BUILT")
    assert list(bare_rig.path("/var/tmp").iterdir()) == []


def test_datasets_elsewhere_are_one_option(rig):
    """The directory, the drop-in and the key are there, and slots are taken into it; its group may read them."""
    scans = "/srv/plant-scans/left"
    rig.write("/usr/src/scan.toml", definition(n_shots=1))
    rig.boot()
    said = install(rig, "--datasets", scans)
    assert f"restarted: {UNIT}" in said.splitlines()
    settings = f"{CONFIGURATION}/timelapsed.toml"
    assert rig.path(settings).read_text() == f'datasets = "{scans}"\n'
    drop_in = rig.path(f"/etc/systemd/system/{UNIT}.d/datasets.conf").read_text().splitlines()
    assert f"ReadWritePaths=-{scans}" in drop_in
    assert r"After=srv-plant\x2dscans-left.mount srv-plant\x2dscans-left.automount" in drop_in
    rig.write(settings, f'datasets = "{scans}"\n{configuration()}')
    before = rig.show(UNIT, "MainPID")
    said = install(rig, "--datasets", scans)
    assert {line.split(":")[0] for line in said.splitlines()} == {"unchanged", "kept", "configuration"}
    assert rig.show(UNIT, "MainPID") == before
    rig.run("systemctl", "restart", UNIT)
    rig.run("timelapsectl", "start", "/usr/src/scan.toml")
    rig.wait_for_entry("ACTION=timelapse_completed")
    rig.run("useradd", "--groups=plant-imager", "ada")
    facts = {*rig.run("find", scans, "-printf", "%y %m %u %g\\n").stdout.splitlines()}
    assert facts == {f"{mode} plant-imager plant-imager" for mode in ("d 2750", "f 640")}
    rig.run("sh", "-c", f"cat {scans}/tl/images/* >/dev/null", user="ada")
    refused = rig.run("cat", STORE, user="ada", check=False)
    assert "Permission denied" in refused.stderr
    rig.run("useradd", "eve")
    assert "Permission denied" in rig.run("ls", scans, user="eve", check=False).stderr


def test_configuration_and_files_of_others_are_left_alone_by_datasets(rig):
    """A `timelapsed.toml` that is there is never changed, nor is the owner of a directory that holds files."""
    rig.write(f"{CONFIGURATION}/timelapsed.toml", TRUST)
    rig.write("/srv/scans/of-ada", "")
    said = rig.build(INSTALL, "--wheels", WHEELS, "--datasets", "/srv/scans").stdout
    assert 'write this into it, above its first [table]: datasets = "/srv/scans"' in said
    assert rig.path(f"{CONFIGURATION}/timelapsed.toml").read_text() == TRUST
    assert "left alone: /srv/scans holds files of root" in said
    assert rig.build("stat", "--format=%U", "/srv/scans").stdout.strip() == "root"


SECURE_PATHS = {
    "Debian 13": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "sid": "/usr/sbin:/usr/bin:/sbin:/bin",
}
"""The path that sudo gives to a command, by its sudoers file as delivered."""


@pytest.mark.parametrize("path", SECURE_PATHS.values(), ids=SECURE_PATHS)
def test_sudo_finds_timelapsectl_where_it_looks(rig, path):
    """Whatever secure_path sudo has, the installer finds its programs, and sudo the command; both are removed again."""
    sudo = ("env", "--ignore-environment", "SUDO_USER=ada", "HOME=/root", f"PATH={path}")
    rig.build(*sudo, INSTALL, "--wheels", WHEELS)
    assert "usage: timelapsectl" in rig.build(*sudo, "timelapsectl", "--help").stdout
    assert rig.path("/usr/bin/timelapsectl").is_symlink() == ("/usr/local/bin" not in path)
    rig.build(INSTALL, "--wheels", WHEELS)
    rig.build(INSTALL, "--uninstall")
    assert rig.build("find", "/usr/bin", "/usr/local/bin", "-name", "timelapse*").stdout == ""


SUDOERS = """\
Defaults env_reset
Defaults use_pty
Defaults secure_path="{path}"
ada ALL=(ALL:ALL) NOPASSWD: ALL
"""


def test_real_sudo_with_the_path_of_sid_installs_and_controls(new_rig, debian):
    """Its environment, its pseudo-terminal, its words for who asks; it is a user's own service that it doesn't make."""
    rig = new_rig(debian.with_sources[0], base_root(BOOKWORM, ADMINISTERED))
    rig.build("useradd", "--create-home", "ada")
    rig.write("/etc/sudoers", SUDOERS.format(path=SECURE_PATHS["sid"]), mode=0o440)
    rig.write(f"{CONFIGURATION}/timelapsed.toml", configuration())
    rig.write("/home/ada/mine.toml", definition("mine", interval="1h"))
    rig.boot()

    def sudo(*command: str, check: bool = True):
        return rig.run("sudo", *command, user="ada", check=check, within=INSTALL_WITHIN)

    refused = sudo(INSTALL, "--user", "--wheels", WHEELS, check=False)
    assert (refused.returncode, "run it as ada, without sudo" in refused.stderr) == (1, True)
    sudo(INSTALL, "--wheels", WHEELS)
    assert rig.show(UNIT, "ActiveState") == "active"
    said = sudo(INSTALL, "--wheels", WHEELS).stdout
    assert {line.split(":")[0] for line in said.splitlines()} == {"unchanged", "kept", "configuration"}
    sudo("timelapsectl", "start", "/home/ada/mine.toml")
    assert "mine" in sudo("timelapsectl", "status").stdout
    assert "mine is cancelled" in sudo("timelapsectl", "cancel", "--yes").stdout
    assert "by ada (as root)" in rig.wait_for_entry("ACTION=timelapse_cancelled")["MESSAGE"]
    sudo(INSTALL, "--uninstall")
    assert sudo("timelapsectl", "status", check=False).returncode == 1


def test_dry_run_names_every_step_and_does_nothing(bare_rig):
    """`--dry-run` names each step of the real run and writes no file."""
    before = everything_below(bare_rig)
    options = ("--wheels", WHEELS, "--extras", "grbl")
    said = bare_rig.build(INSTALL, *options, "--dry-run").stdout.splitlines()
    assert everything_below(bare_rig) == before
    done = bare_rig.build(INSTALL, *options).stdout.splitlines()
    assert [line.removeprefix("would: ") for line in said] == done


def test_example_configuration_is_never_overwritten(rig):
    """An example that a person has changed stays, and the installer never writes the configuration itself."""
    directory = "/etc/plant-imager3-app"
    assert sorted(path.name for path in rig.path(directory).iterdir()) == [
        "timelapse.toml.example",
        "timelapsed.toml.example",
    ]
    rig.write(f"{directory}/timelapse.toml.example", "# ours now\n")
    said = rig.build(INSTALL, "--wheels", WHEELS).stdout
    assert f"kept: {directory}/timelapse.toml.example" in said.splitlines()
    assert rig.path(f"{directory}/timelapse.toml.example").read_text() == "# ours now\n"


@on_every_release
def test_uninstall_leaves_data_and_configuration(rig):
    """Everything that was installed is removed; data, configuration and the account that owns them stay."""
    rig.write("/etc/plant-imager3-app/timelapsed.toml", TRUST)
    rig.boot()
    rig.run("touch", "/var/lib/plant-imager3-app/kept")
    rig.run(INSTALL, "--uninstall")
    assert rig.show(UNIT, "LoadState") == "not-found"
    assert rig.path("/var/lib/plant-imager3-app/kept").exists()
    assert rig.path("/etc/plant-imager3-app/timelapsed.toml").read_text() == TRUST
    assert not rig.path(ENVIRONMENT).exists()
    assert rig.run("find", "/usr/local", "-type", "f", "-o", "-type", "l", "-name", "*timelapse*").stdout == ""
    assert rig.run("getent", "passwd", "plant-imager").returncode == 0
    assert rig.run(INSTALL, "--uninstall").stdout.splitlines()[0] == "nothing was installed"


def test_rig_by_name_is_an_instance_of_the_template(bare_rig):
    """`--rig` starts that rig alone; uninstalling it leaves the other one running."""
    for name in ("left", "right"):
        bare_rig.write(f"/etc/plant-imager3-app/{name}/timelapsed.toml", TRUST)
    for name in ("history-left/first.json", "datasets-left/first_0/kept"):
        bare_rig.write(f"/var/lib/plant-imager3-app/{name}", "")
    bare_rig.write("/var/lib/plant-imager-timelapse-relay/left/plantdb.ledger", "")
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
        "/var/lib/plant-imager-timelapse-relay/left, "
        f"/etc/systemd/system/{UNIT.replace('.', '@left.')}.d, and the programs that all rigs share"
    )
    states = [bare_rig.show(f"plant-imager-timelapsed@{name}.service", "ActiveState") for name in ("left", "right")]
    assert states == ["inactive", "active"]
    bare_rig.run(INSTALL, "--uninstall")
    assert bare_rig.show("plant-imager-timelapsed@right.service", "LoadState") == "not-found"


def test_user_service_runs_without_a_login(bare_rig):
    """`--user` installs a desktop user's own daemon, which runs without a login, also after a power cut."""
    bare_rig.build("useradd", "--create-home", "ada")
    bare_rig.write("/home/ada/.config/plant-imager3-app/timelapsed.toml", TRUST)
    bare_rig.build("chown", "-R", "ada:", "/home/ada")
    bare_rig.boot()
    # On a server without polkit only root may allow lingering; on a desktop the user may.
    bare_rig.run("loginctl", "enable-linger", "ada")
    bare_rig.run("systemctl", "start", "user@1000.service")
    bare_rig.run(INSTALL, "--user", "--wheels", WHEELS, user="ada", within=INSTALL_WITHIN)
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
        (("--datasets", "scans"), "--datasets scans: write an absolute path"),
        (("--datasets", "/srv/../etc"), "--datasets /srv/../etc: write an absolute path"),
        (("--datasets", "/home/ada/scans"), "--datasets /home/ada/scans: the service sees no home"),
    ],
)
def test_wrong_use_is_refused_in_one_line(bare_rig, options, message):
    """The installer names the fault of its options before it does anything."""
    before = everything_below(bare_rig)
    done = bare_rig.build(INSTALL, *options, check=False)
    assert done.returncode == 1
    assert message in done.stderr
    assert everything_below(bare_rig) == before


def test_refusal_of_an_ordinary_user_names_sudo_and_the_user_service(bare_rig):
    """Without root the system service can't be installed; the message names both ways out."""
    done = bare_rig.build("setpriv", "--reuid=65534", "--clear-groups", INSTALL, "--wheels", WHEELS, check=False)
    assert done.returncode == 1
    assert done.stderr == "systemd/install: needs root: run it with sudo, or with --user for your own store\n"
