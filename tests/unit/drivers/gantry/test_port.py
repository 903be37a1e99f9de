"""The serial line: what a person is told when it can't be opened."""

import errno
import os
from types import SimpleNamespace

import pytest
import serial

from plantimager.timelapse.drivers.gantry import port
from plantimager.timelapse.drivers.gantry.gantry_faults import LineLost
from plantimager.timelapse.drivers.gantry.port import SerialLine, find_usb


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.ENOENT, "there is no such port"),
        (errno.EACCES, "this user may not open it; add them to the group dialout"),
        (
            errno.EPERM,
            "the service may not use such devices; put systemd/examples/serial.conf in place",
        ),
        (errno.EBUSY, "another program has it open"),
    ],
)
def test_refused_port_is_explained_by_its_cause(monkeypatch, number, said):
    """A missing group (EACCES) and the service's device rules (EPERM) are cured in different ways."""

    def refuse(*_, **__):
        raise serial.SerialException(number, f"could not open port: {os.strerror(number)}")

    monkeypatch.setattr(port, "Port", refuse)
    with pytest.raises(LineLost, match=f"^/dev/ttyUSB0: {said}"):
        SerialLine("/dev/ttyUSB0", 115_200)


@pytest.mark.parametrize("dtr", [True, False])
def test_dtr_and_rts_are_set_before_the_port_is_opened(monkeypatch, dtr):
    """Some boards restart, or stay in their boot loader, when they rise."""
    order = []
    monkeypatch.setattr(serial.Serial, "open", lambda self: order.append((self.dtr, self.rts)))
    port.Port("/dev/ttyUSB0", 115_200, keep_dtr=False, dtr=dtr)
    assert order == [(dtr, dtr)]


def adapters(*numbers):
    """Return adapters of one kind with these serial numbers."""
    return [
        SimpleNamespace(device=f"/dev/ttyUSB{index}", vid=0x1A86, pid=0x7523, serial_number=number)
        for index, number in enumerate(numbers)
    ]


@pytest.mark.parametrize(
    ("numbers", "said"),
    [
        (("A1", "B2"), r"/dev/ttyUSB0 \(1a86:7523:A1\), .*; write the serial number, too"),
        ((None, None), "/dev/ttyUSB0, /dev/ttyUSB1; nothing but the socket tells them apart, so write port = one of"),
        (("0001", "0001"), "nothing but the socket tells them apart"),
    ],
)
def test_adapters_that_are_alike_are_told_apart_by_what_they_have(monkeypatch, numbers, said):
    """Cheap converters have no serial number, or all the same."""
    monkeypatch.setattr(port.list_ports, "comports", lambda: adapters(*numbers))
    with pytest.raises(LineLost, match=said):
        find_usb("1a86:7523")
