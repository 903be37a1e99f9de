"""The relay's unit files: sound, hardened, and the two system units alike. No container is needed for that."""

import os
import re
import shutil
import subprocess

import pytest
from tree import SYSTEMD

PLAIN = SYSTEMD / "plant-imager-timelapse-relay.service"
TEMPLATE = SYSTEMD / "plant-imager-timelapse-relay@.service"
USER = SYSTEMD / "user" / "plant-imager-timelapse-relay.service"
MAX_EXPOSURE = 20
"""Tenths. It needs the network, and has to see other processes."""


def settings(unit):
    """Return the lines of a unit file that are no comments."""
    return [line for line in unit.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]


def analyze(*words):
    """Return what systemd-analyze says; its absence is a skip."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    done = subprocess.run(["systemd-analyze", *words], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def test_template_differs_only_by_the_name_of_the_rig():
    """A protection of one system unit is in the other, too. The slice is that of the other by default."""
    plain, template = settings(PLAIN), settings(TEMPLATE)
    named = [re.sub(r"( --rig)?[ @/-]?%i", "", line) for line in template if "PI3_" not in line]
    assert [line for line in named if line != "Slice=system.slice"] == plain
    assert "Environment=PI3_TIMELAPSE_FILE_NAME=timelapse_storage-%i.json" in template


def test_store_and_datasets_cannot_be_written():
    """Only the relay's own state can."""
    for unit in (PLAIN, TEMPLATE):
        assert "ProtectSystem=strict" in settings(unit)
        assert [line for line in settings(unit) if line.startswith(("StateDirectory=", "ReadWritePaths="))] == [
            f"StateDirectory=plant-imager-timelapse-relay{'/%i' if unit is TEMPLATE else ''}"
        ]


@pytest.mark.parametrize("unit", [PLAIN, TEMPLATE, USER], ids=lambda path: path.name)
def test_relay_gives_way_to_the_daemon_at_once(unit):
    """What has a weight runs until its turn is over, and a slot that is due would wait for that."""
    assert "CPUWeight=idle" in settings(unit)


def test_relay_of_a_named_rig_is_idle_beside_the_daemons_and_not_among_relays():
    """By default an instance is in a slice of its template, and what is idle there gives way to nothing outside."""
    assert "Slice=system.slice" in settings(TEMPLATE)


@pytest.mark.parametrize("unit", [PLAIN, TEMPLATE, USER], ids=lambda path: path.name)
def test_relay_has_the_time_that_a_busy_machine_leaves_it(unit):
    """What is idle gets 0.3 % of a processor that others want; a start takes a second or two of it, a look less."""
    of = dict(line.split("=", 1) for line in settings(unit) if "=" in line)
    assert (of["TimeoutStartSec"], of["WatchdogSec"]) == ("1h", "30min")


def test_the_boot_does_not_wait_for_the_relay():
    """It may take long on a busy machine. Nor does the relay wait for the daemon, which may take ten minutes."""
    for unit in (PLAIN, TEMPLATE):
        assert "DefaultDependencies=no" in settings(unit)
    for unit in (PLAIN, TEMPLATE, USER):
        assert not [line for line in settings(unit) if re.match("(After|Requires|Wants|BindsTo)=.*timelapsed", line)]


@pytest.mark.parametrize("unit", [PLAIN, TEMPLATE, USER], ids=lambda path: path.name)
def test_unit_is_sound(tmp_path, unit):
    """`systemd-analyze verify` finds nothing once the program is there."""
    own = tmp_path / unit.name.replace("@", "@left")
    own.write_text(re.sub(r"^ExecStart=\S+", "ExecStart=/bin/true", unit.read_text(), flags=re.MULTILINE))
    code, said = analyze("verify", "--man=no", *(["--user"] if unit is USER else []), str(own))
    assert (code, [line for line in said.splitlines() if "timelapse-relay" in line]) == (0, [])


def test_uninstalling_names_the_ledgers_among_what_is_left(tmp_path):
    """They are outside the daemon's directories, where nobody would look for them."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path)}
    command = [SYSTEMD / "install", "--user", "--uninstall", "--dry-run"]
    data = tmp_path / ".local" / "share"

    def last_line():
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        return done.stdout.splitlines()[-1].partition("left: ")[2]

    others = f"{tmp_path}/.config/plant-imager3-app, {data}/plant-imager3-app,"
    assert last_line() == f"{others} and lingering (loginctl disable-linger)"
    (data / "plant-imager-timelapse-relay").mkdir(parents=True)
    assert last_line() == f"{others} {data}/plant-imager-timelapse-relay, and lingering (loginctl disable-linger)"


def test_unit_is_hardened():
    """Beside the network there is little that it may do."""
    code, said = analyze("security", "--offline=yes", f"--threshold={MAX_EXPOSURE}", "--no-pager", str(PLAIN))
    assert code == 0, said
