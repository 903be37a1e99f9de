"""The rig of the emulated machine: its configuration, its service, and what can be plugged in and pulled out."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from timelapse_service import TimelapseService, definition
from tree import SYSTEMD

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from container import Entry
    from grbl_stand_in import Board
    from qemu import Machine

DATASETS: Final = SYSTEMD / "examples/datasets.conf"
SCANS: Final = "/srv/scans"
PORT: Final = "/dev/serial/by-id/usb-QEMU_QEMU_USB_SERIAL_RIG1-if00-port0"
CAMERA: Final = "/dev/v4l/by-path/platform-vivid.0-video-index0"

GANTRY: Final = ("usb-serial", {"chardev": "board", "serial": "RIG1"})
DISK: Final = ("usb-storage", {"drive": "scans", "serial": "SCANS"})
"""The device that QEMU emulates, and its properties."""

CONFIGURATION: Final = f"""\
driver = "grbl"
datasets = "{SCANS}"

[drivers.grbl]
port = "{PORT}"
answer_timeout = "30s"
boot_timeout = "60s"
keep_free = "1 MB"

[drivers.grbl.cameras.camera]
kind = "v4l2"
device = "{CAMERA}"
skip = 0
"""


def example_line(path: Path, start: str) -> str:
    """Return the line of an example's comment that starts so, as a person copies it, without ``sudo``."""
    (line,) = re.findall(rf"^# +(?:sudo )?({start}.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return line


class MachineService(TimelapseService):
    """The service of the machine: a timelapse after another, each of one slot, until what a test is about happens."""

    rig: Machine
    started = 0
    """The place in the journal at which the current timelapse began."""
    timelapse = ""

    def begin(self, name: str, *, grace: int = 100_000, retries: int = 2) -> None:
        """Begin a timelapse of one slot with four positions, due now."""
        self.started, self.timelapse = self.rig.mark(), name
        text = definition(name, n_shots=1, grace=grace, retries=retries)
        self.rig.write(f"{self.settings}/timelapse.toml", text.replace("= 16", "= 640").replace("= 12", "= 360"))
        self.systemctl("reload")
        self.wait_for("definition_accepted")

    def wait_for(self, action: str, *matches: str, that: Callable[[Entry], object] = bool) -> Entry:
        """Return the first entry with that ``action`` since the timelapse began, and about no other timelapse.

        A boot retells the end of one before it.
        """
        ours = (f"_SYSTEMD_UNIT={self.unit}", f"ACTION={action}", *matches)

        def is_it(entry: Entry) -> bool:
            return entry.get("TIMELAPSE_ID", self.timelapse) == self.timelapse and bool(that(entry))

        return self.rig.wait_for_entry(*ours, that=is_it, start=self.started)

    def wait_for_words(self, action: str, words: str) -> Entry:
        """Return the first entry with that ``action`` and these words since the timelapse began."""
        return self.wait_for(action, that=lambda entry: words in entry["MESSAGE"])

    def pictures(self, name: str) -> list[str]:
        """Return the pictures of the dataset of a timelapse's only slot."""
        return sorted(self.rig.run("ls", f"{SCANS}/{name}/images").stdout.split())


class Plugs:
    """What a person plugs in and pulls out: the gantry, the camera and the disk."""

    def __init__(self, machine: Machine, board: Board) -> None:
        self._machine, self.board = machine, board
        self._in: set[str] = set()

    def plug(self, *devices: str) -> None:
        """Plug devices in; one that is in stays so. The board starts anew, since USB powers it."""
        for device in devices:
            if device in self._in:
                continue
            self._in.add(device)
            if device == "gantry":
                self.board.fault = ""
                self.board.restart()
                self._machine.plug("gantry", GANTRY[0], **GANTRY[1])
            elif device == "scans":
                self._machine.plug("scans", DISK[0], **DISK[1])
            elif self._machine.run("modprobe", "--first-time", "vivid", check=False).returncode:
                self._bind("bind")

    def pull(self, *devices: str) -> None:
        """Pull devices out; one that is out stays so."""
        for device in devices:
            if device not in self._in:
                continue
            self._in.remove(device)
            if device == "camera":
                self._bind("unbind")
            else:
                self._machine.pull(device)

    def boot(self, *options: str) -> None:
        """Switch the machine on, with further options of QEMU, after a power cut; what was in still is."""
        self.board.restart()
        there = {"gantry": GANTRY, "scans": DISK}
        for device in sorted(self._in & set(there)):
            driver, properties = there[device]
            words = {"id": device, "bus": "usb.0", **properties}
            options += ("-device", ",".join([driver, *(f"{key}={value}" for key, value in words.items())]))
        self._machine.boot(*options)
        self.booted()

    def booted(self) -> None:
        """Plug the camera in again after a boot, which comes without it, and let the arm move again."""
        self.go_on()
        self._in.discard("camera")
        self.plug("camera")

    def _bind(self, verb: str) -> None:
        self._machine.run("sh", "-c", f"echo vivid.0 >/sys/bus/platform/drivers/vivid/{verb}")

    def stop_in_move(self, number: int) -> None:
        """Have the arm never end its ``number``-th move from now, until the board starts anew or `go_on`."""
        self.board.at, self.board.fault = self.board.moves + number, "stuck"

    def wait_for_move(self) -> None:
        """Wait until the arm is in that move."""
        self._machine.wait_until(lambda: self.board.moves == self.board.at, what="the arm is in its move")

    def go_on(self) -> None:
        """Have the arm end its move."""
        self.board.fault = ""
