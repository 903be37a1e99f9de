"""A machine with a kernel of its own, emulated by QEMU in software: USB plugs, disks, a power switch, a serial console.

It needs no more than an ordinary process: QEMU hears commands and tells of events on one socket (QMP), the machine's
agent and its journal are at the ends of two others. All of it ends with the test run.
"""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import threading
from typing import IO, TYPE_CHECKING, Any, Final, TypeVar

from host import checked, run_on_host
from waiting import RigError, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from container import Entry
    from machine_image import Image

T = TypeVar("T")

WITHIN: Final = 1800.0
"""Seconds that anything may take, a boot too: alone on a host that takes one minute, beside eight others twenty."""

KERNEL_LINE: Final = "root=/dev/vda rw console=ttyS0 quiet net.ifnames=0 mitigations=off systemd.show_status=false"

CLOCK: Final = ("-accel", "tcg,thread=single", "-icount", "shift=1")
"""The machine's time passes with its instructions, 2 ns each, or else with the host's: its timers, the deadlines of its
units and its watchdog never see that the host is slow or busy."""


class Channel:
    """Lines of JSON on a socket, each read by a thread of its own and kept until somebody has waited for it."""

    def __init__(self, name: str) -> None:
        self._ours, self.theirs = socket.socketpair()
        self._came: list[Any] = []
        self._more = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._read, args=(self._ours.makefile("rb"),), name=name, daemon=True)

    def start(self) -> None:
        """Read, once QEMU has the other end."""
        self.theirs.close()
        self._thread.start()

    def _read(self, stream: IO[bytes]) -> None:
        with stream, contextlib.suppress(OSError):
            for line in stream:
                with contextlib.suppress(ValueError), self._more:  # a power cut leaves half a line
                    self._came.append(json.loads(line))
                    self._more.notify_all()
        with self._more:
            self._closed = True
            self._more.notify_all()

    def send(self, value: Any) -> None:
        """Send one line."""
        self._ours.sendall(json.dumps(value).encode() + b"\n")

    @property
    def count(self) -> int:
        """How many lines have come."""
        return len(self._came)

    def wait_for(self, that: Callable[[Any], object], *, start: int, within: float, what: str) -> Any:
        """Return the first line, from the one numbered ``start``, of which ``that`` is true."""
        seen = start

        def found() -> bool:
            nonlocal seen
            while seen < len(self._came):
                if that(self._came[seen]):
                    return True
                seen += 1
            return self._closed

        with self._more:
            if not self._more.wait_for(found, timeout=within):
                raise RigError(f"not within {within:g} s: {what}")
            if seen == len(self._came):
                raise RigError(f"the machine has ended; there was not: {what}")
            return self._came[seen]

    def lines(self) -> list[Any]:
        """Return all that has come."""
        with self._more:
            return list(self._came)

    def close(self) -> None:
        """End it: what comes later is not read."""
        self._ours.shutdown(socket.SHUT_RDWR)
        if self._thread.is_alive():
            self._thread.join()
        self._ours.close()


class Machine:
    """One machine: off at first, then booted, cut off and booted again.

    ``board`` is the device of the host at the other end of the USB serial converter. The disk ``scans`` is not in at
    first, nor is the converter. All files of the machine are in ``directory``.
    """

    def __init__(self, image: Image, directory: Path, *, board: str, scans: Path) -> None:
        self.name = "machine"
        self._image, self._directory, self._board, self._scans = image, directory, board, scans
        self.disk = directory / "machine.qcow2"
        """All that this machine has written, on top of the image."""
        self._console = directory / "console"
        self._earlier: list[Entry] = []
        self._qemu: subprocess.Popen[bytes] | None = None
        self._channels: dict[str, Channel] = {}
        backing = ["-b", str(image.disk), "-F", "raw"]
        run_on_host(["qemu-img", "create", "-q", "-f", "qcow2", *backing, str(self.disk)])

    # Power

    @property
    def on(self) -> bool:
        """Whether the machine runs."""
        return self._qemu is not None and self._qemu.poll() is None

    def boot(self, *options: str) -> None:
        """Switch on, with further options of QEMU; return when the machine runs commands."""
        self._channels = {name: Channel(name) for name in ("qmp", "agent", "journal")}
        ends = {name: channel.theirs.fileno() for name, channel in self._channels.items()}
        # With the end of the test run the machine ends.
        command = ["setpriv", "--pdeathsig", "KILL", *self._command(ends), *options]
        with self._console.open("ab") as console:
            self._qemu = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=console, stderr=subprocess.STDOUT, pass_fds=[*ends.values()]
            )
        for channel in self._channels.values():
            channel.start()
        self.ask("qmp_capabilities")
        self.run("true")

    def _command(self, ends: dict[str, int]) -> list[str]:
        words = ["qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none"]
        words += [*CLOCK, "-machine", "q35,sata=off", "-cpu", "max,la57=off,svm=off", "-m", "1536"]
        words += ["-kernel", str(self._image.kernel), "-initrd", str(self._image.initrd), "-append", KERNEL_LINE]
        words += ["-blockdev", f"qcow2,node-name=root,file.driver=file,file.filename={self.disk}"]
        words += ["-device", "virtio-blk-pci,drive=root"]
        words += ["-blockdev", f"raw,node-name=scans,file.driver=file,file.filename={self._scans}"]
        words += ["-device", "qemu-xhci,id=usb", "-device", "virtio-serial-pci"]
        for name, end in ends.items():
            words += ["-chardev", f"socket,id={name},fd={end}"]
        words += ["-device", "i6300esb", "-mon", "chardev=qmp,mode=control"]
        for name in ("agent", "journal"):
            words += ["-device", f"virtserialport,chardev={name},name={name}"]
        words += ["-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console"]
        return [*words, "-chardev", f"serial,id=board,path={self._board}"]

    def freeze(self, *command: str) -> None:
        """Run a command that freezes the machine; return when its own watchdog has reset it and it runs commands."""
        start = self._channels["qmp"].count
        self.run(*command)
        self._wait_for_event("WATCHDOG", start)
        self._wait_for_event("RESET", start)
        self.run("true")

    def power_cut(self) -> None:
        """Cut the power: nothing of the machine's memory is written any more."""
        assert self._qemu is not None
        self._qemu.kill()
        self._ended()

    def _wait_for_event(self, name: str, start: int, device: str | None = None) -> None:
        self._channels["qmp"].wait_for(
            lambda line: line.get("event") == name and line.get("data", {}).get("device") == device,
            start=start, within=WITHIN, what=f"{name} {device or ''}",
        )  # fmt: skip

    def _ended(self) -> None:
        assert self._qemu is not None
        self._qemu.wait()
        for channel in self._channels.values():
            channel.close()
        self._earlier += self._channels.pop("journal").lines()
        self._channels.clear()

    def remove(self) -> None:
        """Switch it off at once, whether it is on or off, and also after a failure."""
        if self._channels:
            self.power_cut()

    # Devices

    def ask(self, command: str, **arguments: Any) -> Any:
        """Have QEMU carry out a command of QMP; return what it answers."""
        qmp = self._channels["qmp"]
        start = qmp.count
        qmp.send({"execute": command, "arguments": arguments})
        answer = qmp.wait_for(
            lambda line: "return" in line or "error" in line, start=start, within=WITHIN, what=f"QEMU answers {command}"
        )
        if "error" in answer:
            raise RigError(f"{command}: {answer['error']['desc']}")
        return answer["return"]

    def plug(self, what: str, driver: str, **properties: Any) -> None:
        """Plug a USB device in; ``what`` is its name for `pull`."""
        self.ask("device_add", id=what, driver=driver, bus="usb.0", **properties)

    def pull(self, what: str) -> None:
        """Pull a USB device out; return when it is out."""
        start = self._channels["qmp"].count
        self.ask("device_del", id=what)
        self._wait_for_event("DEVICE_DELETED", start, what)

    # Inside

    def run(self, *command: str, check: bool = True, within: float = WITHIN) -> subprocess.CompletedProcess[str]:
        """Run a command in the machine, as root; ``check`` that it ends with 0."""
        agent = self._channels["agent"]
        start = agent.count
        agent.send(command)
        try:
            code, stdout, stderr = agent.wait_for(
                bool, start=start, within=within, what=f"the machine has run {' '.join(command)}"
            )
        except RigError as silent:
            raise RigError(f"{silent}\n{self.console()}") from None
        done = subprocess.CompletedProcess(command, code, stdout, stderr)
        return checked(done) if check else done

    def write(self, inside: str, text: str) -> None:
        """Write a file of the machine, which is on; root owns it."""
        self.run("sh", "-c", 'mkdir -p "${1%/*}" && printf %s "$2" >"$1"', "sh", inside, text)

    def show(self, unit: str, fact: str) -> str:
        """Return one property of a unit, e.g. ``StatusText``."""
        return self.run("systemctl", "show", "--value", f"--property={fact}", unit).stdout.strip()

    def console(self, lines: int = 60) -> str:
        """Return the last lines of the console, of all boots."""
        text = self._console.read_text(encoding="utf-8", errors="replace") if self._console.exists() else ""
        return "\n".join(text.splitlines()[-lines:])

    # Journal

    def journal(self, *matches: str) -> list[Entry]:
        """Return the entries that have come so far, of all boots, which match ``FIELD=value``."""
        come = self._channels["journal"].lines() if self._channels else []
        return [entry for entry in (*self._earlier, *come) if _has(entry, matches)]

    def journal_text(self, lines: int = 150) -> str:
        """Return the end of the journal as a person reads it."""
        return "\n".join(
            f"{entry.get('SYSLOG_IDENTIFIER')}: {entry.get('MESSAGE')}" for entry in self.journal()[-lines:]
        )

    def mark(self) -> int:
        """Return the place in the journal of this boot behind all that has come, for ``start`` of `wait_for_entry`."""
        return self._channels["journal"].count

    def wait_for_entry(
        self, *matches: str, that: Callable[[Entry], object] = bool, start: int = 0, within: float = WITHIN
    ) -> Entry:
        """Return the first entry of this boot that matches, from `mark` ``start``, once it is there."""
        entry: Entry = self._channels["journal"].wait_for(
            lambda entry: _has(entry, matches) and that(entry),
            start=start, within=within, what=f"a journal entry {' '.join(matches)}",
        )  # fmt: skip
        return entry

    def wait_until(self, holds: Callable[[], T], *, within: float = WITHIN, what: str = "the condition") -> T:
        """Return the first true value of ``holds()``; `RigError` if there is none ``within`` so many seconds."""
        return wait_until(holds, within=within, what=what)


def _has(entry: Entry, matches: Sequence[str]) -> bool:
    return all(entry.get(field) == value for field, _, value in (match.partition("=") for match in matches))
