"""Which switch of a rig is on when: power, scan lights, growth lights. Pure.

A growth light is the plant's, not the rig's: its own timer makes the plant's day. The rig *borrows* it for the minutes of a
scan and gives it back, so "on" means "its timer rules". However often a daemon crashes and starts, it
never lights the plant's night, nor darkens its day for longer than one attempt, because it never decides
what time of the plant's day it is.
"""

from __future__ import annotations

from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping


class Role(StrEnum):
    """What a switch is for."""

    GROWTH_LIGHT = "growth_light"
    """On: the plant's own timer rules. Off: dark, whatever the timer says."""
    SCAN_LIGHT = "scan_light"
    GANTRY_POWER = "gantry_power"


class Phase(StrEnum):
    """What the rig is doing, as far as its switches care."""

    STANDBY = "standby"
    """Nothing, and nothing soon; also every exit."""
    WARM = "warm"
    """Ready for a slot, or between two that are near."""
    SCANNING = "scanning"


WANTED: Final[Mapping[Phase, Mapping[Role, bool]]] = MappingProxyType(
    {
        Phase.STANDBY: {Role.GROWTH_LIGHT: True, Role.SCAN_LIGHT: False, Role.GANTRY_POWER: False},
        Phase.WARM: {Role.GROWTH_LIGHT: True, Role.SCAN_LIGHT: False, Role.GANTRY_POWER: True},
        Phase.SCANNING: {Role.GROWTH_LIGHT: False, Role.SCAN_LIGHT: True, Role.GANTRY_POWER: True},
    }
)


def changes(before: Phase | None, after: Phase) -> list[tuple[Role, bool]]:
    """Return which roles to switch, and how, in order; ``before`` None is a rig of which nothing is known.

    What the rig takes away comes last, what it gives back first: when a switch on the way fails,
    the plant has its light. And the scan light goes off before the growth light comes back,
    so that both never draw on one supply.
    """
    wanted = WANTED[after]
    changed = [role for role in Role if before is None or WANTED[before][role] != wanted[role]]
    giving_back = wanted[Role.GROWTH_LIGHT]
    order = (Role.SCAN_LIGHT, Role.GROWTH_LIGHT, Role.GANTRY_POWER)
    return [(role, wanted[role]) for role in (order if giving_back else reversed(order)) if role in changed]
