"""Which switch of a rig is on when: power, scan lights, growth lights. Pure.

A growth light is the plant's, not the rig's: its own timer makes the plant's day. The rig *borrows* it for the
minutes of a scan and gives it back, so "on" means "its timer rules". However often a daemon crashes and starts, it
never lights the plant's night with it, nor darkens its day for longer than one attempt, because it never decides
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


def switch_changes(known: Mapping[Role, bool], phase: Phase) -> list[tuple[Role, bool]]:
    """Return which roles to switch for a phase, and how, in order; what isn't ``known`` to be right is switched.

    What the rig takes away comes last, what it gives back first: when a switch on the way fails, the plant
    has its light. And of scan light and growth light the one goes off before the other comes on,
    because both may draw on one supply.
    """
    wanted = WANTED[phase]
    order = (Role.SCAN_LIGHT, Role.GROWTH_LIGHT, Role.GANTRY_POWER)
    in_order = order if wanted[Role.GROWTH_LIGHT] else order[::-1]
    return [(role, wanted[role]) for role in in_order if known.get(role) != wanted[role]]
