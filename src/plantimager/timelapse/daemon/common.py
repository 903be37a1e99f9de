"""The objects that the parts of the loop share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from plantimager.timelapse.daemon.active_config import ActiveConfig
    from plantimager.timelapse.daemon.manual_hold import ManualHold
    from plantimager.timelapse.daemon.phases import Lifecycle, Signals
    from plantimager.timelapse.daemon.rig import Rig
    from plantimager.timelapse.daemon.store_keeper import StoreKeeper
    from plantimager.timelapse.support.clock import Clock
    from plantimager.timelapse.systemd.notifier import Notifier


class Common(Struct, frozen=True):
    """The shared objects; each part keeps those that it uses."""

    clock: Clock
    notifier: Notifier
    signals: Signals
    lifecycle: Lifecycle
    keeper: StoreKeeper
    active: ActiveConfig
    rig: Rig
    hold: ManualHold
