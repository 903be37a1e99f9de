"""The serial line to the board: found by its path or by what USB says of it, and read without ever hanging."""

from __future__ import annotations

import contextlib
import errno
import re
import termios
from typing import TYPE_CHECKING, Final

import serial
from serial.tools import list_ports

from plantimager.timelapse.support.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

USB_ID: Final = re.compile(r"([0-9a-fA-F]{4}):([0-9a-fA-F]{4})(?::(\S+))?", re.ASCII)
"""Vendor, product and, where two adapters are alike, the serial number: ``1a86:7523``, ``2341:0043:9573…``."""

LONGEST_LINE: Final = 512
"""Bytes; the longest that GRBL sends has about a hundred."""

WRITE_TIMEOUT: Final = 2.0
"""Seconds; a board that is there takes a line at once."""


_CFLAG: Final = 2
"""Where `termios.tcgetattr` has the control flags."""

GONE: Final = "the cable was pulled or the board switched off; check the cable and the power"


class GantryFault(Exception):
    """Something about the gantry, worded for the person at the rig."""


class LineLost(GantryFault):
    """The line isn't there, or not any more."""


def find_usb(usb_id: str) -> str:
    """Return the device of the USB serial adapter with this `USB_ID`.

    Raises
    ------
    LineLost
        There is none, or more than one.

    """
    wanted = USB_ID.fullmatch(usb_id)
    if wanted is None:
        raise LineLost(f"{usb_id} is not the id of a USB device")
    vendor, product, number = int(wanted[1], 16), int(wanted[2], 16), wanted[3]
    ports = [port for port in list_ports.comports() if port.vid is not None]
    found = [
        port for port in ports if (port.vid, port.pid) == (vendor, product) and number in (None, port.serial_number)
    ]
    if len(found) == 1:
        return str(found[0].device)
    if found:
        names = ", ".join(f"{port.device} ({usb_id}:{port.serial_number})" for port in found)
        raise LineLost(f"{len(found)} USB adapters are {usb_id}: {names}; write the serial number, too, or the port")
    seen = ", ".join(f"{port.vid:04x}:{port.pid:04x}" for port in ports) or "none"
    raise LineLost(f"no USB serial adapter {usb_id} is plugged in (there are: {seen}); check the cable and the power")


class Line:
    """An open line. Every call ends in bounded time, and raises `LineLost` when the cable is gone.

    Most boards restart when their port is opened, by DTR, unless it was let go of so that it ``lets_run`` the board.
    """

    def __init__(self, port: str, baudrate: int, *, lets_run: bool = False) -> None:
        self.port = port
        self._begun = b""
        with self._worded("can't be opened"):
            self._serial = serial.Serial(port, baudrate, timeout=0, write_timeout=WRITE_TIMEOUT, exclusive=True)
            if lets_run:
                _keep_dtr(self._serial)

    def send(self, data: bytes) -> None:
        """Send bytes.

        Raises
        ------
        LineLost
            The cable is gone, or nobody takes them.

        """
        with self._worded(GONE):
            self._serial.write(data)

    def receive(self, within: float) -> str | None:
        """Return the next line without its end, "" while it isn't whole, None when ``within`` seconds bring nothing.

        It returns after ``within`` seconds at the latest, also where a board sends byte after byte and never a line.

        Raises
        ------
        LineLost
            The cable is gone.

        """
        line = self._take_line()
        if line is not None:
            return line
        with self._worded(GONE):
            self._serial.timeout = within
            came = self._serial.read(max(1, min(self._serial.in_waiting, LONGEST_LINE)))
        if not came:
            return None
        self._begun += came
        return self._take_line() or ""

    def _take_line(self) -> str | None:
        line, end, rest = self._begun.partition(b"\n")
        if not end and len(line) <= LONGEST_LINE:
            return None
        self._begun = rest
        return printable(line.decode(errors="replace")).strip()

    def forget(self) -> None:
        """Forget what has come and was not read."""
        self._begun = b""
        with self._worded(GONE):
            self._serial.reset_input_buffer()

    def close(self) -> None:
        """Let go of the line."""
        with contextlib.suppress(OSError, termios.error):
            self._serial.close()

    @contextlib.contextmanager
    def _worded(self, what: str) -> Iterator[None]:
        try:
            yield
        except serial.SerialTimeoutException as nobody:
            raise LineLost(f"{self.port}: the board takes nothing; is that the right port?") from nobody
        except (OSError, ValueError, termios.error, TypeError) as lost:  # pyserial raises TypeError once it is closed
            raise LineLost(f"{self.port}: {_why(lost, what)}") from lost


def _keep_dtr(port: serial.Serial) -> None:
    """Have DTR stay as it is when the port is closed, so that opening it again is no change to the board."""
    attributes = termios.tcgetattr(port)
    attributes[_CFLAG] &= ~termios.HUPCL
    termios.tcsetattr(port, termios.TCSANOW, attributes)


def _why(problem: Exception, what: str) -> str:
    """Return what an error of pyserial's means at the rig."""
    number = getattr(problem, "errno", None)
    if number is None and problem.args and isinstance(problem.args[0], int):
        number = problem.args[0]
    known = {
        errno.ENOENT: "there is no such port; check the cable and the power, or name the board by its USB id "
        "(a service sees no port without systemd/examples/serial.conf)",
        errno.ENODEV: "there is no such port any more; check the cable",
        errno.EACCES: "this user may not open it; add them to the group dialout (see systemd/examples/serial.conf)",
        errno.EPERM: "the service may not open it; see systemd/examples/serial.conf",
        errno.EBUSY: "another program has it open",
        errno.EAGAIN: "another program has it open",
        errno.ENOTTY: "it is no serial port",
    }
    if number in known:
        return known[number]
    if "exclusively lock" in str(problem):
        return known[errno.EBUSY]
    if what == GONE:  # pyserial's own words for it only puzzle
        return what
    return f"{what} ({problem})"
