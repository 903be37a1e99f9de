"""The switches of a rig: lines of a GPIO chip through libgpiod, or programs. `lights` has their states.

A scan interrupts the growth light, see `lights`. Wire its relay so that it interrupts what the plant's timer switches,
and closes when nothing drives the line: then the plant has its light where the rig has no power or its daemon was
killed. The lines of a killed process are released, but some kernels keep the last level; systemd/examples/gpio.conf has
the line of a drop-in that releases the light then.

GPIO is NOT tested on hardware: the library is real in the tests, the chip is not.
"""

# Annotations are evaluated here, since `SwitchOptions` declares keys.

import contextlib
import errno
from collections.abc import Iterable
from datetime import timedelta
from typing import Annotated, Any, Final

from msgspec import Struct

from plantimager.timelapse.drivers import install_hint
from plantimager.timelapse.drivers.deadline import Deadline
from plantimager.timelapse.drivers.device_access import cure_of_refusal
from plantimager.timelapse.drivers.programs.environment import ProgramFault, basic_environment
from plantimager.timelapse.drivers.programs.processes import DESCENDANTS, ProcessKey
from plantimager.timelapse.drivers.programs.run import run_program
from plantimager.timelapse.scan.lights import RigPhase, Role, switch_changes
from plantimager.timelapse.support.faults import Table, argv, boolean, member_of, text, whole_number
from plantimager.timelapse.support.keys import Key, read_keys
from plantimager.timelapse.support.needs import Need

PROGRAM_TIMEOUT: Final = timedelta(seconds=10)
"""The longest that a program takes to set a switch."""

STOP_GRACE: Final = timedelta(seconds=2)
"""From SIGTERM to SIGKILL."""


class SwitchFault(Exception):
    """A switch could not be switched; worded for the person at the rig."""


def _line(value: object) -> str | int:
    if isinstance(value, str) and value:
        return value
    try:
        return whole_number(0, 1023)(value)
    except ValueError:
        raise ValueError('write the line\'s name, "GPIO17", or its number') from None


class SwitchOptions(Struct, frozen=True, kw_only=True):
    """One switch, of ``[drivers.grbl.switches.NAME]``: either a line or two programs."""

    name: str
    role: Annotated[Role, Key(member_of(Role))]
    """What it switches: "scan_light" is on during a scan; "growth_light" is off during a scan; "gantry_power" is on
    except in standby. Wire a growth light so that the plant's own timer rules it when nobody drives the line."""
    line: Annotated[str | int | None, Key(_line, absent="Required, or else ``on`` and ``off``")] = None
    """The GPIO line by its name, "GPIO17", or its number, 0 to 1023."""
    chip: Annotated[str, Key(text)] = "/dev/gpiochip0"
    """The chip that the line belongs to."""
    active_low: Annotated[bool, Key(boolean)] = False
    """Whether the line is low when the switch is on, as many relay boards want it."""
    on: Annotated[tuple[str, ...], Key(argv, is_program=True, absent="Required, both, or else ``line``")] = ()
    off: Annotated[tuple[str, ...], Key(argv, is_program=True, absent="Required, both, or else ``line``")] = ()
    """Instead of a line: programs that switch it, and exit with 0 within 10 s. What one leaves running in a session of
    its own, such as what holds a line, is ended when the switch is set again, or the service ends."""

    @property
    def needs(self) -> tuple[Need, ...]:
        """The library of a GPIO line."""
        return () if self.line is None else (Need("line", self.line, module="gpiod", extra="gpio"),)


def read_switch(name: str, table: Table) -> SwitchOptions | None:
    """Return a switch of the options, ``None`` where its role is missing; faults go to the table's list."""
    values = read_keys(SwitchOptions, table)
    by_program = table.has("on") or table.has("off")
    if by_program == table.has("line"):
        table.add_fault("line", "write either a GPIO line, or both on and off as programs")
    elif by_program:
        for key in ("on", "off"):
            if not table.has(key):
                table.add_fault(key, "required, but missing")
    table.finish()
    return SwitchOptions(name=name, **values) if values["role"] is not None else None


class ProgramSwitch:
    """A switch behind two programs. As with a line, `set` raises `SwitchFault` where it could not be switched."""

    def __init__(self, options: SwitchOptions) -> None:
        self._options = options
        self._holding = frozenset[ProcessKey]()
        """What the last program has left running, which may hold a line."""

    def set(self, *, on: bool) -> None:
        """Run the program for on, or for off, and then end what the one before has left running."""
        before = DESCENDANTS.left
        program = self._options.on if on else self._options.off
        try:
            with Deadline(PROGRAM_TIMEOUT) as deadline:
                ended = run_program(
                    program,
                    environment=basic_environment(),
                    stop_grace=STOP_GRACE,
                    should_stop=deadline.passed,
                    may_leave=True,
                )
        except ProgramFault as problem:
            raise SwitchFault(str(problem)) from problem
        if ended.stopped:
            raise SwitchFault(f"{program[0]} took longer than {PROGRAM_TIMEOUT.seconds} s")
        if ended.status != 0:
            raise SwitchFault(f"{program[0]} {ended}")
        DESCENDANTS.end_left(self._holding, STOP_GRACE)  # what can't be ended is told with the next scan
        self._holding = DESCENDANTS.left - before

    def close(self) -> None:
        """Leave what the last program has left running: the switch stays as it is."""


class GpioSwitch:
    """A switch on a GPIO line, which stays requested, because a line that is released may change."""

    def __init__(self, options: SwitchOptions) -> None:
        self._options = options
        self._request: Any = None

    def set(self, *, on: bool) -> None:
        """Drive the line."""
        line, chip = self._options.line, self._options.chip
        assert line is not None  # noqa: S101 - the switchboard makes one for lines alone; this informs mypy
        try:
            import gpiod  # noqa: PLC0415 - only a rig with GPIO switches has the library
            from gpiod.line import Direction, Value  # noqa: PLC0415 - as above
        except ImportError as missing:
            raise SwitchFault(f"needs libgpiod ({missing}); {install_hint('gpio')}") from missing
        value = Value.ACTIVE if on else Value.INACTIVE
        try:
            if self._request is None:
                settings = gpiod.LineSettings(
                    direction=Direction.OUTPUT, active_low=self._options.active_low, output_value=value
                )
                self._request = gpiod.request_lines(chip, consumer="timelapsed", config={(line,): settings})
            else:
                self._request.set_value(line, value)
        except (OSError, ValueError) as problem:
            raise SwitchFault(_describe_gpio(problem, chip, line)) from problem

    def close(self) -> None:
        """Release the line."""
        if self._request is not None:
            with contextlib.suppress(OSError):
                self._request.release()
            self._request = None


def _describe_gpio(problem: OSError | ValueError, chip: str, line: str | int) -> str:
    """Return why a line can't be driven, and what to do."""
    number = problem.errno if isinstance(problem, OSError) else None
    refused = cure_of_refusal(number, "gpio", "gpio.conf")
    if refused is not None:
        return f"{chip}: {refused}"
    if number == errno.ENOENT:
        cure = "`gpiodetect` lists the chips (a service sees none without systemd/examples/gpio.conf)"
        return f"there is no {chip}; {cure}"
    busy = "another program drives it; `gpioinfo` shows which"
    cure = busy if number == errno.EBUSY else "`gpioinfo` lists the chips and their lines"
    return f"{chip} line {line} can't be driven ({problem}); {cure}"


class Switchboard:
    """All switches of a rig, brought from phase to phase."""

    def __init__(self, switches: Iterable[SwitchOptions]) -> None:
        self._switches: list[tuple[SwitchOptions, ProgramSwitch | GpioSwitch]] = [
            (options, ProgramSwitch(options) if options.line is None else GpioSwitch(options)) for options in switches
        ]
        self._known: dict[Role, bool] = {}
        """The states that are certain: none at the start, and not that of a switch that failed."""

    def has_to_power(self) -> bool:
        """Whether the gantry has a power switch that isn't known to be on."""
        has_switch = any(options.role is Role.GANTRY_POWER for options, _ in self._switches)
        return has_switch and not self._known.get(Role.GANTRY_POWER, False)

    def enter(self, phase: RigPhase, *, but: frozenset[Role] = frozenset()) -> None:
        """Switch everything that differs in ``phase``, ``but`` for some roles; the rest, too, where one switch fails.

        Raises `SwitchFault` with every switch that failed.
        """
        problems: dict[str, list[str]] = {}
        for role, on in switch_changes(self._known, phase):
            if role not in but:
                self._switch(role, problems, on=on)
        if problems:  # a cause that several have, such as a chip that isn't there, is told once
            raise SwitchFault("; ".join(f"{', '.join(what)}: {why}" for why, what in problems.items()))

    def release_growth_light(self) -> None:
        """Let the plant's timer decide again, and switch scan lights off; power stays as it is. Raises as `enter`."""
        self.enter(RigPhase.WARM, but=frozenset({Role.GANTRY_POWER}))

    def _switch(self, role: Role, problems: dict[str, list[str]], *, on: bool) -> None:
        """Set all switches of a role; add what went wrong to ``problems``, by its cause."""
        self._known.pop(role, None)
        has_failed = False
        for options, switch in self._switches:
            if options.role is role:
                try:
                    switch.set(on=on)
                except SwitchFault as fault:
                    what = f"{options.name} ({role}) could not be switched {'on' if on else 'off'}"
                    problems.setdefault(str(fault), []).append(what)
                    has_failed = True
        if not has_failed:
            self._known[role] = on

    def close(self) -> None:
        """Release all of them in their present states."""
        for _, switch in self._switches:
            switch.close()
