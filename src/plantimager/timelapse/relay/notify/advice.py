"""What to do, for each event that people are told of: sentences of the message catalogs. A test compares them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from plantimager.timelapse.settings.relay_config import NotifyEvent

if TYPE_CHECKING:
    from collections.abc import Mapping

ADVICE: Final[Mapping[NotifyEvent, str]] = {
    NotifyEvent.SLOT_FAILED: "read the reason, then look at the rig: cables, power, camera.",
    NotifyEvent.SLOT_SKIPPED: (
        "nothing for these. If the power failed, a longer grace_period in the next definition, or missed ="
        ' "run_latest" in timelapsed.toml, takes more slots after an outage.'
    ),
    NotifyEvent.SLOT_INTERRUPTED: "nothing.",
    NotifyEvent.TIMELAPSE_FAILED: "repair the rig and start a new definition under another name.",
    NotifyEvent.TIMELAPSE_COMPLETED: "fetch the datasets.",
    NotifyEvent.DEGRADED: "make room (df -h), or remount the disk writable.",
    NotifyEvent.RIG_NOT_READY: "switch the rig on, plug the cable in. timelapsed notices it.",
    NotifyEvent.OVERDUE: "see whether the service runs: timelapsectl rigs.",
    NotifyEvent.DATASETS: "if it is on a disk of its own, check that the disk is mounted.",
    NotifyEvent.DELIVERY_STUCK: "see whether the network and the server are up.",
    NotifyEvent.DOUBTFUL: (
        "look at the picture. Dark, bright or flat: see to lamps, lens cap and exposure; blurred: to the focus and the"
        " lens; the same as before or unreadable: switch the camera off and on."
    ),
}
STORE_ADVICE: Final = (
    "ls -l the file and its directory. It must be a regular file of the service's user (plant-imager for the system"
    " service). After an I/O error look at"
    " dmesg and copy what can be copied before anything else."
)
"""Of a store that can't be read."""
CLOCK_ADVICE: Final = (
    "nothing, if the network is there. Without one, set the clock (timedatectl set-time), fit a real-time clock or a"
    ' new battery, or set clock = "trust".'
)
"""Of a clock that isn't trusted."""
