"""Switches: real programs, and the real libgpiod without a chip."""

import errno
import os

import pytest

from plantimager.timelapse.drivers.switches import Switchboard, SwitchFault, SwitchOptions
from plantimager.timelapse.scan.lights import RigPhase, Role


def by_program(role, tmp_path, *, off="exit 0"):
    """Return a switch whose programs write a line into a log."""
    note = f"echo $0 >> {tmp_path}/log"
    return SwitchOptions(
        name=role.value,
        role=role,
        on=("sh", "-c", note, f"{role}-on"),
        off=("sh", "-c", f"{note}; {off}", f"{role}-off"),
    )


def log_of(tmp_path):
    """Return the lines of the log."""
    return (tmp_path / "log").read_text().split()


def test_phase_sets_only_what_differs(tmp_path):
    """In the order of `switch_changes`."""
    board = Switchboard(by_program(role, tmp_path) for role in Role)
    board.enter(RigPhase.STANDBY)
    board.enter(RigPhase.STANDBY)
    board.enter(RigPhase.SCANNING)
    assert log_of(tmp_path) == [
        "scan_light-off", "growth_light-on", "gantry_power-off",
        "gantry_power-on", "growth_light-off", "scan_light-on",
    ]  # fmt: skip


def test_switch_that_fails_keeps_no_other_from_being_set(tmp_path):
    """Only the failed ones are tried again."""
    board = Switchboard(by_program(role, tmp_path, off="exit 1") for role in Role)
    with pytest.raises(SwitchFault, match=r"scan_light .*, gantry_power .* could not .* off: sh exited with 1$"):
        board.enter(RigPhase.STANDBY)
    assert log_of(tmp_path) == ["scan_light-off", "growth_light-on", "gantry_power-off"]
    with pytest.raises(SwitchFault):
        board.enter(RigPhase.STANDBY)
    assert log_of(tmp_path)[3:] == ["scan_light-off", "gantry_power-off"]


def test_releasing_the_growth_light_leaves_power_as_it_is(tmp_path):
    """A crash during a move is no reason to cut the motors' power."""
    board = Switchboard(by_program(role, tmp_path) for role in Role)
    board.release_growth_light()
    assert log_of(tmp_path) == ["scan_light-off", "growth_light-on"]


def test_missing_program_is_reported():
    """With the name of the switch."""
    board = Switchboard([SwitchOptions(name="led", role=Role.SCAN_LIGHT, on=("/no/such",), off=("/no/such",))])
    with pytest.raises(SwitchFault, match=r"led \(scan_light\) could not be switched off: /no/such is not there"):
        board.enter(RigPhase.WARM)


def test_missing_chip_is_reported():
    """By the real libgpiod, on a machine without the chip; not tested on hardware."""
    board = Switchboard([SwitchOptions(name="led", role=Role.SCAN_LIGHT, line="GPIO17", chip="/dev/no-such-chip")])
    with pytest.raises(SwitchFault, match=r"led \(scan_light\) .*: there is no /dev/no-such-chip; `gpiodetect`"):
        board.enter(RigPhase.WARM)
    board.close()


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.EACCES, "/dev/gpiochip0: this user may not open it; add them to the group gpio"),
        (errno.EPERM, "/dev/gpiochip0: the service may not use such devices; put systemd/examples/gpio.conf in place"),
        (errno.EBUSY, "another program drives it; `gpioinfo` shows which"),
        (errno.EINVAL, "line 17 can't be driven .*; `gpioinfo` lists the chips"),
    ],
)
def test_refused_line_is_explained_by_its_cause(monkeypatch, number, said):
    """A missing group and the service's device rules are refused in different ways, and cured in different ways."""
    import gpiod  # noqa: PLC0415 - only its stand-in is called

    def refuse(*_, **__):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(gpiod, "request_lines", refuse)
    board = Switchboard([SwitchOptions(name="led", role=Role.SCAN_LIGHT, line=17)])
    with pytest.raises(SwitchFault, match=said):
        board.enter(RigPhase.WARM)


def test_cause_that_several_switches_have_is_told_once():
    """A chip that isn't there, for each of its lines."""
    roles = (Role.SCAN_LIGHT, Role.GROWTH_LIGHT, Role.GANTRY_POWER)
    switches = [SwitchOptions(name=role.value, role=role, line=17, chip="/dev/no-such-chip") for role in roles]
    with pytest.raises(SwitchFault) as fault:
        Switchboard(switches).enter(RigPhase.WARM)
    assert str(fault.value).count("/dev/no-such-chip") == 1
    assert all(role.value in str(fault.value) for role in roles)


def test_line_stays_requested_between_two_changes(monkeypatch):
    """A line that is released may change. A stand-in for libgpiod's request replaces the chip."""
    import gpiod  # noqa: PLC0415 - beside its stand-in
    from gpiod.line import Value  # noqa: PLC0415 - as above

    done = []

    class Request:
        def set_value(self, line, value):
            done.append((line, value))

        def release(self):
            done.append("released")

    def request_lines(chip, *, consumer, config):
        ((lines, settings),) = config.items()
        done.append((chip, lines, settings.active_low, settings.output_value))
        return Request()

    monkeypatch.setattr(gpiod, "request_lines", request_lines)
    board = Switchboard([SwitchOptions(name="led", role=Role.SCAN_LIGHT, line=17, active_low=True)])
    board.enter(RigPhase.WARM)
    board.enter(RigPhase.SCANNING)
    board.enter(RigPhase.WARM)
    board.close()
    assert done == [
        ("/dev/gpiochip0", (17,), True, Value.INACTIVE),
        (17, Value.ACTIVE),
        (17, Value.INACTIVE),
        "released",
    ]
