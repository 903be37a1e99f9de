"""`systemd/update.bash`: whom an update asks before it restarts a rig."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest
from tree import SYSTEMD

if TYPE_CHECKING:
    from pathlib import Path

ENVIRONMENT = "0123456789ab"
SYSTEMCTL = """\
#!/bin/sh
case "$*" in
*MainPID*) cat "$(dirname "$0")/pid" ;;
*ActiveState*) cat "$(dirname "$0")/state" ;;
"list-units "*timelapsed.service) echo plant-imager-timelapsed.service ;;
restart*) ! grep --quiet broken "$(dirname "$0")/units/$2" ;;
esac
"""
TIMELAPSECTL = """\
#!/bin/sh
cd "$(dirname "$0")/../.."
echo "$*" "$XDG_DATA_HOME" "$PI3_TIMELAPSE_FILE_NAME" > asked
cat said
"""
UPDATE = """\
home=$1 units=$1/units booted=1 now=0 systemctl=("$1/systemctl" $2)
. "$3/update.bash"
"${@:4}"
"""
IDLE = '{"daemon": {"pid": 1}, "rig": "standby", "scanning": null, "timelapse": null}'


@pytest.fixture
def home(tmp_path) -> Path:
    """Return the directory of the environments, with a daemon that was started from one, for a store of its own."""
    commands = tmp_path / ENVIRONMENT / "bin"
    commands.mkdir(parents=True)
    for path, text in ((tmp_path / "systemctl", SYSTEMCTL), (commands / "timelapsectl", TIMELAPSECTL)):
        path.write_text(text)
        path.chmod(0o755)
    (tmp_path / "state").write_text("active\n")
    (tmp_path / "said").write_text(IDLE)
    variables = {"XDG_DATA_HOME": "/of the daemon", "PI3_TIMELAPSE_FILE_NAME": "its.json", "TZ": "UTC"}
    with subprocess.Popen([f"{commands}/python", "600"], executable="/bin/sleep", env=variables) as daemon:
        (tmp_path / "pid").write_text(f"{daemon.pid}\n")
        yield tmp_path
        daemon.kill()


def update(home: Path, *function: str, option: str = "", systemd: Path = SYSTEMD) -> subprocess.CompletedProcess[str]:
    """Call a function for someone who has another store of their own in the environment, as by `sudo -E`."""
    of_caller = {**os.environ, "XDG_DATA_HOME": "/of the caller", "PI3_TIMELAPSE_FILE_NAME": "other.json"}
    command = ["bash", "-euc", UPDATE, "update", str(home), option, str(systemd), *function]
    return subprocess.run(command, env=of_caller, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize(
    ("unit", "option", "asked"),
    [
        ("plant-imager-timelapsed.service", "", "--system status --json"),
        ("plant-imager-timelapsed@left.service", "", "--system --rig left status --json"),
        ("plant-imager-timelapsed.service", "--user", "--user status --json"),
    ],
)
def test_daemon_of_the_unit_is_asked_whatever_the_callers_environment(home, unit, option, asked):
    """The scope is that of the service manager, and the store that of the running daemon."""
    done = update(home, "wait_for_gap", unit, option=option)
    assert (done.returncode, done.stderr) == (0, "")
    assert (home / "asked").read_text() == f"{asked} /of the daemon its.json\n"


def test_daemon_that_reads_its_files_again_is_asked_too(home):
    """A scan goes on meanwhile."""
    (home / "state").write_text("reloading\n")
    assert update(home, "wait_for_gap", "plant-imager-timelapsed.service").returncode == 0
    assert (home / "asked").read_text().startswith("--system status --json")


def test_unit_that_ends_while_it_is_waited_for_may_be_restarted(home):
    """A daemon that doesn't answer is left alone only while its unit is active."""
    (home / "said").write_text("")
    (home / ENVIRONMENT / "bin/timelapsectl").write_text("#!/bin/sh\necho failed > ${0%/*/*/*}/state\n")
    (home / "wait-for-gap").write_text((SYSTEMD / "wait-for-gap").read_text().replace("minutes=2", "minutes=0"))
    (home / "wait-for-gap").chmod(0o755)
    (home / "update.bash").write_text((SYSTEMD / "update.bash").read_text())
    done = update(home, "wait_for_gap", "plant-imager-timelapsed.service", systemd=home)
    assert (done.returncode, "no longer waiting" in done.stdout) == (0, True)


def test_way_back_to_the_version_before_puts_its_unit_files_back(home):
    """A new unit file may be why a rig doesn't become ready, and the old version was made for the old one."""
    unit = home / "units/plant-imager-timelapsed.service"
    unit.parent.mkdir()
    unit.write_text("old\n")
    assert update(home, "keep_units", ENVIRONMENT).returncode == 0
    (home / "bin").symlink_to(f"{ENVIRONMENT}/bin")
    (home / "ba9876543210/bin").mkdir(parents=True)
    unit.write_text("broken\n")
    done = update(home, "use_environment", "ba9876543210", "", "0")
    assert (done.returncode, unit.read_text()) == (1, "old\n"), done.stderr
    assert "restarted: plant-imager-timelapsed.service, with the version before" in done.stdout
    assert (home / "ba9876543210/units" / unit.name).read_text() == "broken\n"
    assert str((home / "bin").readlink()) == f"{ENVIRONMENT}/bin"


@pytest.mark.parametrize(
    ("timeout", "said"),
    [
        ("exit 124", "RELAY: goes on starting; see: HOME/systemctl status RELAY\nrestarted: RELAY, with the version"),
        ("exit 1", "RELAY: does not become ready with the version before, either"),
        ('shift; exec "$@"', "restarted: RELAY, with the version before"),
    ],
)
def test_relay_is_waited_for_some_minutes(home, monkeypatch, timeout, said):
    """It may start for an hour, in which apt would hold dpkg's lock; that it is slow brings no version back."""
    (home / "timeout").write_text(f'#!/bin/sh\necho "$@" >> "{home}/waited"\n{timeout}\n')
    (home / "timeout").chmod(0o755)
    (home / "units").mkdir()
    monkeypatch.setenv("PATH", f"{home}:{os.environ['PATH']}")
    relay, daemon = (f"plant-imager-{name}@left.service" for name in ("timelapse-relay", "timelapsed"))
    for name in (relay, daemon):
        (home / "units" / name).touch()
    (home / "state").write_text("inactive\n")  # so that no gap is waited for
    done = update(home, "roll_back", ENVIRONMENT, relay, daemon)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(said.replace("RELAY", relay).replace("HOME", str(home)))
    assert f"restarted: {daemon}, with the version before" in done.stdout
    assert (home / "waited").read_text() == f"5m {home}/systemctl restart {relay}\n"
