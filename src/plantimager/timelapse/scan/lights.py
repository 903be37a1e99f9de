"""The state of every switch of a rig in each of its phases: power, scan lights, growth lights. Pure.

A growth light belongs to the plant, not to the rig: a timer of its own makes the plant's day. The rig interrupts it
for the minutes of a scan and releases it afterwards, so that "on" means "the timer decides". The daemon never decides
what time of the plant's day it is. So it can't light the plant's night, and can't darken its day for longer than one
attempt, however often it crashes and starts.
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
    """On: the plant's own timer decides. Off: dark, whatever the timer says."""
    SCAN_LIGHT = "scan_light"
    GANTRY_POWER = "gantry_power"


class RigPhase(StrEnum):
    """What the rig is doing, as far as its switches depend on it."""

    STANDBY = "standby"
    """Nothing to do soon, or the driver is closed."""
    WARM = "warm"
    """Ready for a slot, or between two slots that are close together."""
    SCANNING = "scanning"


SWITCH_STATES: Final[Mapping[RigPhase, Mapping[Role, bool]]] = MappingProxyType(
    {
        RigPhase.STANDBY: {Role.GROWTH_LIGHT: True, Role.SCAN_LIGHT: False, Role.GANTRY_POWER: False},
        RigPhase.WARM: {Role.GROWTH_LIGHT: True, Role.SCAN_LIGHT: False, Role.GANTRY_POWER: True},
        RigPhase.SCANNING: {Role.GROWTH_LIGHT: False, Role.SCAN_LIGHT: True, Role.GANTRY_POWER: True},
    }
)


def switch_changes(known: Mapping[Role, bool], phase: RigPhase) -> list[tuple[Role, bool]]:
    """Return the roles to switch for a phase, and whether on, in the order of switching.

    A role is left out if it is ``known`` to be in the right state. The growth light is released as early and
    interrupted as late as possible, so that the plant has its light where a switch in between fails. Scan light and
    growth light are never on together, because both may draw on one supply.
    """
    wanted = SWITCH_STATES[phase]
    order = (Role.SCAN_LIGHT, Role.GROWTH_LIGHT, Role.GANTRY_POWER)
    in_order = order if wanted[Role.GROWTH_LIGHT] else order[::-1]
    return [(role, wanted[role]) for role in in_order if known.get(role) != wanted[role]]
