"""The commands of README's "A real rig", in their order, on a bare Debian with a real systemd."""

from __future__ import annotations

from typing import TYPE_CHECKING

from readme import CAMERA, blocks

if TYPE_CHECKING:
    from container import Rig

SOURCES = "/usr/src/timelapsed"

TRUST_CLOCK = "sed -i '1i clock = \"trust\"' /etc/plant-imager3-app/timelapsed.toml"

ADAPTED = {
    # Offline, and with a clock that no test waits for.
    "sudo systemd/install": "sudo systemd/install --wheels wheels",
    "timelapsed.toml /etc/plant-imager3-app/\n": f"timelapsed.toml /etc/plant-imager3-app/\n{TRUST_CLOCK}\n",
    # Commands that go on until somebody ends them.
    "status --follow": "status",
    " -f ": " --no-pager ",
    # The tests' Debian is root's, without sudo.
    '"$USER"': "root",
    "sudo ": "",
}


NO_WARM_UP = "sed -i '1a warmup_period = 0' config/examples/drought.toml"
"""Half a minute that the test needn't wait."""


def shown_commands() -> str:
    """Return the command blocks of the section, as one script that ends at the first failure."""
    script = "".join(block for block in blocks("sh", "A real rig") if not block.startswith("#!"))
    for shown, here in ADAPTED.items():
        assert shown in script
        script = script.replace(shown, here)
    return f"set -eux\ncd {SOURCES}\n{NO_WARM_UP}\n{script}"


def test_shown_commands_make_a_rig_that_takes_its_first_slot(bare_rig: Rig) -> None:
    """From the installer to a dataset, in the sandbox of the unit with the shown drop-in."""
    bare_rig.write("/usr/local/bin/rpicam-still", CAMERA, mode=0o755)
    bare_rig.boot()
    said = bare_rig.run("sh", "-c", shown_commands()).stdout
    assert "drought_1, 672 slots" in said
    assert "drought_1_0" in bare_rig.wait_for_entry("ACTION=scan_succeeded")["MESSAGE"]
    datasets = bare_rig.path("/var/lib/plant-imager3-app/datasets/drought_1_0")
    assert {picture.name for picture in datasets.glob("*.jpg")} == {"1.jpg", "2.jpg", "3.jpg"}
