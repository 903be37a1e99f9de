"""The unit files: sound, hardened, explained, and the two system units alike."""

from __future__ import annotations

from pathlib import Path

import pytest

SYSTEMD = Path(__file__).parents[2] / "systemd"
PLAIN = SYSTEMD / "plant-imager-timelapsed.service"
TEMPLATE = SYSTEMD / "plant-imager-timelapsed@.service"
USER = SYSTEMD / "user" / "plant-imager-timelapsed.service"
EXAMPLES = sorted((SYSTEMD / "examples").glob("*.conf"))
MOST_EXPOSED = 15
"""Tenths: what `systemd-analyze security` may give the service as it is delivered."""


def settings(unit: Path) -> list[str]:
    """Return the lines of a unit file that say something to systemd."""
    lines = unit.read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


@pytest.mark.parametrize("unit", ["plant-imager-timelapsed.service", "plant-imager-timelapsed@left.service"])
def test_system_unit_is_sound(rig, unit):
    """`systemd-analyze verify` has nothing to say about an installed unit."""
    said = rig.build("systemd-analyze", "verify", "--man=no", unit)
    assert said.stdout + said.stderr == ""


def test_user_unit_is_sound(rig):
    """`systemd-analyze verify --user` has nothing to say about the user's unit once its program is there."""
    program = "/root/.local/share/plant-imager-timelapsed/bin/timelapsed"
    rig.write(program, "#!/bin/sh\n", mode=0o755)
    unit = f"/usr/src/timelapsed/systemd/user/{USER.name}"
    said = rig.build("env", "XDG_RUNTIME_DIR=/run", "systemd-analyze", "verify", "--user", "--man=no", unit)
    assert said.stdout + said.stderr == ""


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_example_drop_in_is_sound(rig, example):
    """Each example for a real rig can be copied as it stands."""
    drop_in = f"/etc/systemd/system/plant-imager-timelapsed.service.d/{example.name}"
    rig.write(drop_in, example.read_text(encoding="utf-8"))
    said = rig.build("systemd-analyze", "verify", "--man=no", "plant-imager-timelapsed.service")
    assert said.stdout + said.stderr == ""


@pytest.mark.parametrize("unit", ["plant-imager-timelapsed.service", "plant-imager-timelapsed@.service"])
def test_system_unit_is_hardened(rig, unit):
    """The service as delivered is exposed by 1.5 of 10 at most."""
    path = f"/usr/local/lib/systemd/system/{unit}"
    rig.build("systemd-analyze", "security", "--offline=yes", f"--threshold={MOST_EXPOSED}", "--no-pager", path)


def test_template_differs_only_in_what_makes_a_rig():
    """A protection that is added to one system unit is in the other, too."""
    plain, template = settings(PLAIN), settings(TEMPLATE)
    assert [line for line in plain if line not in template] == [
        "Description=Timelapse of the plant imaging rig",
        "ExecStart=/opt/plant-imager-timelapsed/bin/timelapsed",
        "ConfigurationDirectory=plant-imager3-app",
    ]
    assert [line for line in template if line not in plain] == [
        "Description=Timelapse of the plant imaging rig %i",
        "ExecStart=/opt/plant-imager-timelapsed/bin/timelapsed --rig %i",
        "Environment=PI3_TIMELAPSE_FILE_NAME=timelapse_storage-%i.json",
        "ConfigurationDirectory=plant-imager3-app/%i",
    ]


@pytest.mark.parametrize("unit", [PLAIN, TEMPLATE, USER, *EXAMPLES], ids=lambda path: path.name)
def test_every_setting_is_explained(unit):
    """No setting, or group of settings, stands without a comment above it."""
    above = ""
    for line in unit.read_text(encoding="utf-8").splitlines():
        if line and not line.startswith(("#", "[")):
            assert above.startswith("#") or "=" in above, f"{unit.name}: nothing explains {line}"
        above = line
