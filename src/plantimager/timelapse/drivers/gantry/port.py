"""The serial line to the board: found by its path or its USB id, and read in bounded time."""

from __future__ import annotations

import contextlib
import errno
import re
import termios
from pathlib import Path
from typing import TYPE_CHECKING, Final

import serial
from serial.tools import list_ports

from plantimager.timelapse.drivers.device_access import cure_of_refusal
from plantimager.timelapse.drivers.gantry.gantry_faults import LineLost
from plantimager.timelapse.support.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

USB_ID: Final = re.compile(r"([0-9a-fA-F]{4}):([0-9a-fA-F]{4})(?::(\S+))?", re.ASCII)
"""Vendor, product and, where two adapters are alike, the serial number: ``1a86:7523``, ``2341:0043:9573…``."""

MAX_LINE_BYTES: Final = 512
"""The longest line of GRBL has about a hundred."""

WRITE_TIMEOUT: Final = 2.0
"""Seconds; a board that works takes a line at once."""

_LINE_END: Final = re.compile(rb"[\r\n]")

_CFLAG: Final = 2
"""Index of the control flags in the list of `termios.tcgetattr`."""

CABLE_PULLED: Final = "the cable was pulled or the board switched off; check the cable and the power"


def find_usb(usb_id: str) -> str:
    """Return the device of the USB serial adapter with this `USB_ID`.

    Raises `LineLost` where there is none, or more than one.
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
        cure = "write the serial number, too"
        if len({port.serial_number for port in found}) < len(found):  # cheap ones have none, or all the same
            names = ", ".join(_path_of(port.device) for port in found)
            cure = "nothing but the socket tells them apart, so write port = one of these paths"
        raise LineLost(f"{len(found)} USB adapters are {usb_id}: {names}; {cure}")
    seen = ", ".join(f"{port.vid:04x}:{port.pid:04x}" for port in ports) or "none"
    raise LineLost(f"no USB serial adapter {usb_id} is plugged in (there are: {seen}); check the cable and the power")


def _path_of(device: str) -> str:
    """Return the name of a device that stands for the USB socket it is plugged into, or else the device."""
    links = sorted(Path("/dev/serial/by-path").glob("*"))
    return next((str(link) for link in links if link.resolve() == Path(device)), device)


class Port(serial.Serial):  # type: ignore[misc] # pyserial has no types
    """A port that is opened with DTR and RTS raised, or not, and leaves DTR as it is when it is closed, or not."""

    def __init__(self, port: str, baudrate: int, *, keep_dtr: bool, dtr: bool) -> None:
        super().__init__(None, baudrate, timeout=0, write_timeout=WRITE_TIMEOUT, exclusive=True)
        self.port = port
        self.dtr = self.rts = dtr
        self.open()
        if keep_dtr:
            attributes = termios.tcgetattr(self)
            attributes[_CFLAG] &= ~termios.HUPCL
            termios.tcsetattr(self, termios.TCSANOW, attributes)


class SerialLine:
    """An open line. Every call ends in bounded time, and raises `LineLost` when the cable was pulled.

    Opening a port restarts most boards, because DTR rises. With ``keep_dtr`` DTR stays as it is when the port is
    closed, so that opening it again doesn't; without ``dtr`` it stays low.
    """

    def __init__(self, port: str, baudrate: int, *, keep_dtr: bool = False, dtr: bool = True) -> None:
        self.port = port
        self._unfinished = b""
        with self._translate_errors("can't be opened"):
            self._serial = Port(port, baudrate, keep_dtr=keep_dtr, dtr=dtr)

    def send(self, data: bytes) -> None:
        """Send bytes. Raises `LineLost` where the cable was pulled, or the board takes no bytes."""
        with self._translate_errors(CABLE_PULLED):
            self._serial.write(data)

    def receive(self, timeout: float) -> str | None:
        """Return the next line without its end, "" while it is incomplete, None if nothing came in ``timeout`` seconds.

        It returns after ``timeout`` seconds at the latest, even if the board sends byte after byte and never a line.

        Raises `LineLost` where the cable was pulled.
        """
        line = self._take_line()
        if line is not None:
            return line
        with self._translate_errors(CABLE_PULLED):
            self._serial.timeout = timeout
            received = self._serial.read(max(1, min(self._serial.in_waiting, MAX_LINE_BYTES)))
        if not received:
            return None
        self._unfinished += received
        return self._take_line() or ""

    @property
    def unfinished(self) -> str:
        """What came after the last whole line."""
        return _text_of(self._unfinished)

    def _take_line(self) -> str | None:
        """Return the next line that isn't empty. CR, LF and both together end one, so that one of two may be lost."""
        self._unfinished = self._unfinished.lstrip(b"\r\n")
        line, *rest = _LINE_END.split(self._unfinished, maxsplit=1)
        if not rest and len(line) <= MAX_LINE_BYTES:
            return None
        self._unfinished = b"".join(rest)
        return _text_of(line)

    def discard_input(self) -> None:
        """Discard everything that was received and not read."""
        self._unfinished = b""
        with self._translate_errors(CABLE_PULLED):
            self._serial.reset_input_buffer()

    def close(self) -> None:
        """Close the line."""
        with contextlib.suppress(OSError, termios.error):
            self._serial.close()

    @contextlib.contextmanager
    def _translate_errors(self, what: str) -> Iterator[None]:
        """Raise `LineLost` for every error of pyserial; ``what`` describes it where its number doesn't."""
        try:
            yield
        except serial.SerialTimeoutException as timeout:
            raise LineLost(f"{self.port}: the board takes nothing; is that the right port?") from timeout
        except (OSError, ValueError, termios.error, TypeError) as lost:  # pyserial raises TypeError once it is closed
            raise LineLost(f"{self.port}: {_describe_error(lost, what)}") from lost


def _text_of(line: bytes) -> str:
    return printable(line.decode(errors="replace")).strip()


def _describe_error(problem: Exception, what: str) -> str:
    """Return what an error of pyserial means at the rig; ``what`` is its general description."""
    number = getattr(problem, "errno", None)
    if number is None and problem.args and isinstance(problem.args[0], int):
        number = problem.args[0]
    refused = cure_of_refusal(number, "dialout", "serial.conf")
    if refused is not None:
        return refused
    known = {
        errno.ENOENT: "there is no such port; check the cable and the power, or name the board by its USB id "
        "(a service sees no port without systemd/examples/serial.conf)",
        errno.ENODEV: "there is no such port any more; check the cable",
        errno.EBUSY: "another program has it open",
        errno.EAGAIN: "another program has it open",
        errno.ENOTTY: "it is no serial port",
    }
    if number in known:
        return known[number]
    if "exclusively lock" in str(problem):
        return known[errno.EBUSY]
    if what == CABLE_PULLED:  # pyserial's own message doesn't help a person
        return what
    return f"{what} ({problem})"
