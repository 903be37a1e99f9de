"""How the arm of a rig is built."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from plantimager.timelapse.drivers.gantry.motion import Limits

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmOptions:
    """How the arm of a rig is built, from ``[drivers.grbl]``."""

    port: str = ""
    """The device, such as ``/dev/ttyUSB0``; empty where ``usb`` finds it."""
    usb: str = ""
    """See `port.USB_ID`."""
    baudrate: int = 115_200
    limits: Limits = field(default_factory=Limits)
    inverted: tuple[bool, bool, bool] | None = None
    """Which axes count in the opposite direction; None is as the board's ``$3`` says."""
    homing: bool = True
    """Whether it has limit switches to home to; without, see `position`."""
    feed: float | None = None
    """Speed of a move, mm (or degrees) a minute; None is as fast as the board allows."""
    expected: Mapping[int, float] = field(default_factory=dict)
    """Settings that the board must have, by number."""
    answer_timeout: timedelta = timedelta(seconds=2)
    """The longest that the board takes to answer."""
