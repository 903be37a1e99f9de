"""The smallest timelapse of a real daemon, as TOML: for tests in which the content of a scan doesn't matter.

One position and one camera of 4x3 pixels, on a simulated rig that takes no time. The first slot is due as soon as the
definition is taken up.
"""

from __future__ import annotations

CONFIGURATION = """\
[drivers.simulated]
time_per_position = 0
image_width = 4
"""

SCAN = """
[{above}ScanPath]
class_name = "CustomPath"
kwargs = {{ waypoints = [[1, 2]], scheme = ["x", "y"] }}
[{above}camera]
res_x = 4
res_y = 3
encoding = "png"
"""

TIMELAPSE = """\
[timelapse]
name = "{name}"
{slots}
warmup_period = 0
grace_period = {grace}
"""

GRACE = 600
"""Seconds that a slot may be late; more than on the slowest machine."""


def configuration(*settings: str, clock: str = "trust") -> str:
    """Return a ``timelapsed.toml`` that ends with the driver's table, so that more options can be appended."""
    return "\n".join([f'clock = "{clock}"', *settings, CONFIGURATION])


def definition(n_shots: int) -> str:
    """Return a ``timelapse.toml`` of the timelapse ``tl`` with a slot every second."""
    return _timelapse("tl", f'mode = "interval"\ninterval = 1\nn_shots = {n_shots}', GRACE)


def one_shot(name: str, *, grace: int = GRACE) -> str:
    """Return a ``timelapse.toml`` of a single slot, which may be ``grace`` seconds late."""
    return _timelapse(name, 'mode = "one_shot"', grace)


def scan(above: str = "") -> str:
    """Return the tables of the scan configuration; ``above`` names the table that holds them, if there is one."""
    return SCAN.format(above=f"{above}." if above else "")


def _timelapse(name: str, slots: str, grace: int) -> str:
    return TIMELAPSE.format(name=name, slots=slots, grace=grace) + scan()
