"""A board of GRBL's family on a pseudo-terminal, which answers as a real one does, faults included.

It has no clock: a move takes a number of status requests (``polls``), so that a test is as fast as its driver on any
machine. As a program it stands in for a board until it is ended:

    python tests/support/grbl_stand_in.py --link /tmp/ttyGRBL [--fault "alarm 1@3"]

SIGUSR1 plugs the cable in again, pulled or not: the board restarts then, as any that USB powers. The link exists as
long as the cable is in. ``--fault`` may be given several times: the second is for the time after the board was plugged
in again.

``--dialect`` is the firmware, one of `DIALECTS`.

The faults, each at the ``at``-th move (from 1) if it is the fault of a move, and with ``lasting`` at each one from then
on:

=================  ==============================================================================
``alarm N``        ALARM:N during the move, then nothing until a reset
``reset``          the board restarts during the move, as after a dip of its supply
``unplug``         the cable is pulled during the move
``silent``         answers nothing from the move on, not even a reset, until `Board.restart`
``garbage``        noise on the line during the move, then it goes on
``noise``          only noise from the move on
``stuck``          the move never ends
``short``          the move ends short of its goal
``idle first``     reports Idle once before the move begins, as a board sometimes does
``hold``           the feed-hold button is pressed
``error N``        refuses the move with error:N
``no home``        homing ends with ALARM:9
``home for ever``  homing never ends
``deaf``           never answers
``marlin``         is a board of another family
``boots``          hears nothing before it was asked three times, and sends its banner then, as a board that opening
                   the port restarts
=================  ==============================================================================
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import re
import select
import shutil
import signal
import socket
import termios
import threading
import tty
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable

SETTINGS = {
    0: "10", 1: "25", 2: "0", 3: "7", 4: "0", 5: "0", 6: "0", 10: "115", 11: "0.010", 12: "0.002", 13: "0",
    20: "0", 21: "0", 22: "1", 23: "4", 24: "250.000", 25: "1500.000", 26: "250", 27: "20.000", 30: "1000", 31: "0",
    32: "0", 100: "80.000", 101: "80.000", 102: "8.88889", 110: "6000.000", 111: "6000.000", 112: "1500.000",
    120: "200.000", 121: "200.000", 122: "50.000", 130: "740.000", 131: "740.000", 132: "352.000",
}  # fmt: skip
"""The settings of the reference rig."""

WORD = re.compile(r"([A-Z])([-+]?(?:\d+\.?\d*|\.\d+))")
"""A word of G-code."""
LETTERS = frozenset("ABCDFGHIJKLMNPQRSTXYZ")

RESET_MODES = frozenset({"G0", "G21", "G90"})
"""The modes of a board that was reset."""

CFLAG = 2
"""Index of the control flags in the list of `termios.tcgetattr`."""


@dataclass(frozen=True)
class Dialect:
    """What differs between the firmwares of the family."""

    banner: str = "Grbl 1.1h ['$' for help]"
    axes: int = 3
    crlf_is_one: bool = False
    """CR LF is one end of a line, not two."""
    in_words: bool = False
    """Errors and alarms have words, no numbers."""
    chatter: str = ""
    """What it sends by itself before each answer to a line."""
    unlisted: frozenset[int] = frozenset()
    """Settings that ``$$`` doesn't list."""
    more_settings: str = ""
    """Further lines of ``$$``."""
    tells_homing: bool = False
    """It answers ``?`` while it homes."""
    locks_on_reset: bool = True
    """A reset locks a board that homes; otherwise only power-on does."""
    answers_locked: bool = False
    """It answers ``?`` after an alarm, too."""
    knows_modes: bool = True
    """It knows ``$G``."""
    old_status: bool = False
    """Its status has commas, both positions, and no more: ``<Idle,MPos:0.000,…,WPos:0.000,…>``."""


DIALECTS = {
    "grbl": Dialect(),
    "grblhal": Dialect(
        "GrblHAL 1.1f ['$' or '$HELP' for help]", axes=4, crlf_is_one=True, tells_homing=True, locks_on_reset=False,
        answers_locked=True,
        more_settings="$70=7\r\n$341=0\r\n$1000=grblHAL\r\n",
    ),
    "fluidnc": Dialect(
        "Grbl 3.7 [FluidNC v3.7.10 (wifi) '$' for help]", axes=6, crlf_is_one=True, tells_homing=True,
        chatter="[MSG:INFO: Connected]\r\n", unlisted=frozenset({3, 24, 25, 26, 27}),
        more_settings="$Config/Filename=config.yaml\r\n",
    ),
    "mega-5x": Dialect("Grbl 1.2h ['$' for help]", axes=5, more_settings="$103=80.000\r\n$104=80.000\r\n"),
    "ucnc": Dialect(
        "\u00c2\u00b5CNC 1.8.4 ['$' for help]", crlf_is_one=True, tells_homing=True, locks_on_reset=False,
        chatter="[echo: ]\r\n",
    ),
    "words": Dialect("Grbl 1.1-custom ['$' for help]", in_words=True, knows_modes=False),
    "0.9": Dialect("Grbl 0.9j ['$' for help]", in_words=True, old_status=True),
}  # fmt: skip
"""By name. (Bytes are characters here: the banner of \u00b5CNC is UTF-8.)"""

WORDS = {
    "error:2": "error: Bad number format", "error:3": "error: Invalid statement", "error:5": "error: Homing disabled",
    "error:8": "error: Not idle", "error:9": "error: Alarm lock", "error:20": "error: Unsupported command",
    "ALARM:1": "ALARM: Hard limit", "ALARM:2": "ALARM: Soft limit", "ALARM:3": "ALARM: Abort during cycle",
    "ALARM:9": "ALARM: Homing fail",
}  # fmt: skip
"""The codes of a dialect ``in_words``."""

UNKNOWN_TO_OTHERS = "echo:Unknown command"
"""What Marlin answers, which is of another family."""


@dataclass
class Board:
    """The state of the board. Bytes go in, text comes out; no line, no thread, no clock."""

    settings: dict[int, str] = field(default_factory=lambda: dict(SETTINGS))
    fault: str = ""
    at: int = 1
    lasting: bool = False
    polls: int = 2
    """Status requests that a move takes."""
    dialect: Dialect = DIALECTS["grbl"]

    moves: int = 0
    goals: list[tuple[float, ...]] = field(default_factory=list)
    """Work positions of its moves."""
    places: list[tuple[float, ...]] = field(default_factory=list)
    """Machine positions of its moves."""
    heard: list[str] = field(default_factory=list)
    """All lines that it received, and ``^X`` for resets."""
    homed: int = 0
    machine: tuple[float, ...] = (0.0, 0.0, 0.0)
    offset: tuple[float, ...] = (0.0, 0.0, 0.0)
    goal: tuple[float, ...] | None = None
    asked: int = 0
    state: str = ""
    mute: bool = False
    """It answers nothing until a reset; and where `dead`, after one either."""
    dead: bool = False
    unplugged: bool = False
    resets: int = 0
    questions: int = 0
    homing_left: int = 0
    """Status requests that homing goes on for."""
    _line: str = ""
    _last: str = ""
    _modes: frozenset[str] = RESET_MODES

    def __post_init__(self) -> None:
        self.state = "Alarm" if self._homing else "Idle"
        self.dead = self.mute = self.fault in ("deaf", "boots", "marlin")

    @property
    def _homing(self) -> bool:
        return self.settings[22] == "1"

    @property
    def _now(self) -> bool:
        """Whether the fault is due in this move."""
        return self.moves >= self.at if self.lasting else self.moves == self.at

    def restart(self) -> None:
        """Restart, as when it is switched on: it counts from zero, wherever the arm stands."""
        self.machine, self.offset, self.goal = (0.0, 0.0, 0.0), (0.0, 0.0, 0.0), None
        self.state = "Alarm" if self._homing else "Idle"
        self.dead = self.mute = self.fault == "deaf"
        self._line, self._modes, self.homing_left = "", RESET_MODES, 0

    def hear(self, byte: str) -> str:
        """Receive one byte; return the answer to it."""
        last, self._last = self._last, byte
        if self.fault == "boots" and self.dead:
            self.questions += byte == "?"
            if self.questions == 3:
                self.dead = self.mute = False
                return self._banner()
            return ""
        if self.fault == "marlin":
            return f"{UNKNOWN_TO_OTHERS}\r\nok\r\n" if byte == "\n" else ""
        if byte == "\x18":
            return self._reset()
        if self.mute:
            return self._noise() if self.fault == "noise" else ""
        if byte == "?":
            return self._status()
        if byte == "!":
            if self.state in ("Run", "Idle"):
                self.state, self.asked = "Hold:1" if self.goal else "Hold:0", 0
            return ""
        if byte == "~":
            if self.state.startswith("Hold"):
                self.state = "Run" if self.goal else "Idle"
            return ""
        if byte in "\r\n":  # each of them ends a line, or both together do
            if self.dialect.crlf_is_one and last + byte == "\r\n":
                return ""
            line, self._line = self._line, ""
            return self._in_its_words(self._obey(line))
        if ord(byte) < 0x80:  # the others are commands that act at once, none of which this board needs
            self._line += byte
        return ""

    def _in_its_words(self, said: str) -> str:
        if self.dialect.in_words:
            for number, words in WORDS.items():
                said = said.replace(f"{number}\r\n", f"{words}\r\n")
        return said and self.dialect.chatter + said

    def _banner(self) -> str:
        locked = "[MSG:'$H'|'$X' to unlock]\r\n" if self.state == "Alarm" else ""
        return f"\r\n{self.dialect.banner}\r\n{locked}"

    def _noise(self) -> str:
        return "\x00\xfe~&#ok<Idl\x7f"

    def _reset(self) -> str:
        self.heard.append("^X")
        self.resets += 1
        self._line = ""
        if self.dead:
            return ""
        moving = self.goal is not None and self.state != "Hold:0"
        self.mute, self.goal, self.offset = False, None, (0.0, 0.0, 0.0)
        self._modes, self.homing_left = RESET_MODES, 0
        said = "ALARM:3\r\n" if moving else ""
        locked = self._homing and (self.dialect.locks_on_reset or self.state in ("Alarm", "Home"))
        self.state = "Alarm" if moving or locked else "Idle"
        return self._in_its_words(said) + self._banner()

    def _status(self) -> str:
        said = ""
        if self.state == "Home":
            self.homing_left -= 1
            if self.homing_left <= 0:
                return self._home_at_last()
            if not self.dialect.tells_homing:
                return ""
        if self.goal is not None:
            said = self._in_its_words(self._move_on())
            if self.mute:
                return said
        work = tuple(at - off for at, off in zip(self.machine, self.offset, strict=True))
        key, place = ("MPos", self.machine) if int(self.settings[10]) & 1 else ("WPos", work)
        state = self.state
        if self.fault == "idle first" and self._now and self.goal is not None and self.asked == 1:
            state = "Idle"
        if self.dialect.old_status:
            state = state.partition(":")[0]
            return f"{said}<{state},MPos:{_words(self.machine)},WPos:{_words(work)}>\r\n"
        rest = ",0.000" * (self.dialect.axes - 3)
        offset = f"|WCO:{_words(self.offset)}{rest}"
        return f"{said}<{state}|{key}:{_words(place)}{rest}|Bf:15,128|FS:0,0{offset}>\r\n"

    def _move_on(self) -> str:
        """Take one step of the move; return what the board sends by itself."""
        assert self.goal is not None
        if self.state.startswith("Hold"):
            self.state = "Hold:0" if self.asked else "Hold:1"
            self.asked += 1
            return ""
        self.asked += 1
        fault = self.fault if self._now else ""
        if fault.startswith("alarm"):
            self.state, self.goal, self.mute = "Alarm", None, not self.dialect.answers_locked
            return f"ALARM:{fault.split()[1]}\r\n[MSG:Reset to continue]\r\n"
        if fault == "reset":
            self.restart()
            self.mute = True
            return self._banner()
        if fault == "unplug":
            self.unplugged = True
        if fault == "silent":
            self.dead = self.mute = True
            return ""
        if fault == "noise":
            self.mute = True
            return self._noise()
        if fault == "hold":
            self.state = "Hold:0"
        said = self._noise() + "\r\n<Run|MPos:1.0\xff2,>\r\n" if fault == "garbage" and self.asked == 1 else ""
        if self.asked >= self.polls and fault not in ("stuck", "hold"):
            short = 5.0 if fault == "short" else 0.0
            self.machine = tuple(_stepped(to - short, self.settings[100 + axis]) for axis, to in enumerate(self.goal))
            self.goal, self.state = None, "Idle"
        return said

    def _obey(self, line: str) -> str:
        if line:
            self.heard.append(line)
        line = line.partition(";")[0].replace(" ", "").upper()
        if not line:
            return "ok\r\n"
        if self.state == "Home":
            return ""
        if line == "$$":
            listed = (f"${number}={value}\r\n" for number, value in self.settings.items() if self._lists(number))
            return "".join(listed) + self.dialect.more_settings + "ok\r\n"
        if line == "$H":
            return self._home()
        if line == "$X":
            said = "[MSG:Caution: Unlocked]\r\n" if self.state == "Alarm" else ""
            self.state = "Idle"
            return f"{said}ok\r\n"
        if line == "$G" and self.dialect.knows_modes:
            return f"[GC:{' '.join(sorted(self._modes))} G54 G17 G94 M5 M9 T0 F0 S0]\r\nok\r\n"
        if line in ("$", "$I"):
            return "[HLP:$$ $# $G $I $N $x=val $Nx=line $J=line $SLP $C $X $H ~ ! ? ctrl-x]\r\nok\r\n"
        if line == "$C" and self.state in ("Idle", "Check"):
            self.state = "Check" if self.state == "Idle" else "Idle"
            return "[MSG:Enabled]\r\nok\r\n" if self.state == "Check" else "[MSG:Disabled]\r\nok\r\n"
        if line.startswith("$"):
            return "error:3\r\n"
        if self.state == "Alarm":
            return "error:9\r\n"
        if self.state == "Check":
            return "ok\r\n"
        return self._gcode(line)

    def _lists(self, number: int) -> bool:
        return number not in self.dialect.unlisted

    def _home(self) -> str:
        if not self._homing:
            return "error:5\r\n"
        if self.state not in ("Idle", "Alarm"):
            return "error:8\r\n"
        if self.fault == "home for ever":
            self.mute = True
            return ""
        if self.fault == "no home":
            self.state = "Alarm"
            return "ALARM:9\r\n"
        if self.dialect.tells_homing:
            self.state, self.homing_left = "Home", 3
            return ""
        return self._home_at_last()

    def _home_at_last(self) -> str:
        self.homed += 1
        pull_off, inverted = float(self.settings[27]), int(self.settings[23])
        self.machine = tuple(
            _stepped(pull_off - float(self.settings[130 + axis]), self.settings[100 + axis])
            if inverted & 1 << axis else -pull_off
            for axis in range(3)
        )  # fmt: skip
        self.state = "Idle"
        return "ok\r\n"

    def _gcode(self, line: str) -> str:
        words = WORD.findall(line)
        if "".join(map("".join, words)) != line:
            return "error:1\r\n" if line[0] not in LETTERS else "error:2\r\n"
        numbers = {letter: float(number) for letter, number in words}
        if len(numbers) != len(words):
            return "error:25\r\n"
        place = tuple(numbers.get(letter) for letter in "XYZ")
        match words[0][0] + words[0][1].lstrip("0"):
            case "G90" | "G91" | "G20" | "G21" as mode:
                other = {"G90": "G91", "G91": "G90", "G20": "G21", "G21": "G20"}[mode]
                self._modes = self._modes - {other} | {mode}
                return self._move_by_mode(place)
            case "G80":
                self._modes = self._modes - {"G0", "G1"} | {"G80"}
                return "error:31\r\n" if any(to is not None for to in place) else "ok\r\n"
            case "G92":
                self.offset = tuple(
                    off if to is None else at - to for at, off, to in zip(self.machine, self.offset, place, strict=True)
                )
                return "ok\r\n"
            case "G" | "G1":
                if words[0][1] == "1" and "F" not in numbers:
                    return "error:22\r\n"
                self._modes = self._modes - {"G0", "G1", "G80"} | {"G1" if words[0][1] == "1" else "G0"}
                return self._move_by_mode(place)
        return "error:20\r\n"

    def _move_by_mode(self, place: tuple[float | None, ...]) -> str:
        """Move to what the words of a line say besides, in the mode of motion that holds."""
        if all(to is None for to in place):
            return "ok\r\n"
        return "error:31\r\n" if "G80" in self._modes else self._begin(place)

    def _begin(self, place: tuple[float | None, ...]) -> str:
        self.moves += 1
        if self.fault.startswith("error") and self._now:
            return f"error:{self.fault.split()[1]}\r\n"
        scale, relative = 25.4 if "G20" in self._modes else 1.0, "G91" in self._modes
        goal = tuple(
            at if to is None else to * scale + (at if relative else off)
            for at, off, to in zip(self.machine, self.offset, place, strict=True)
        )
        travels = [float(self.settings[130 + axis]) for axis in range(3)]
        if self.settings[20] == "1" and any(
            not -travel - 1e-6 <= to <= 1e-6 for to, travel in zip(goal, travels, strict=True)
        ):
            self.state, self.mute = "Alarm", True
            return "ALARM:2\r\n[MSG:Reset to continue]\r\n"
        self.goals.append(tuple(to - off for to, off in zip(goal, self.offset, strict=True)))
        self.places.append(tuple(round(to, 3) for to in goal))
        self.goal, self.asked, self.state = goal, 0, "Run"
        return "ok\r\n"


def _stepped(at: float, per_unit: str) -> float:
    """Return the nearest position that whole steps reach."""
    return round(round(at * float(per_unit)) / float(per_unit), 3)


def _words(place: tuple[float, ...]) -> str:
    return ",".join(f"{at:.3f}" for at in place)


class StandIn:
    """A `Board` behind a pseudo-terminal, served by a thread of its own."""

    def __init__(self, board: Board | None = None, *, on_unplug: Callable[[], object] = lambda: None) -> None:
        self.board = board or Board()
        self._on_unplug = on_unplug
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave)  # until the driver does, the terminal would echo
        self.restarts_when_opened = True
        self.port = os.ttyname(self._slave)
        """The device that the driver opens."""
        self._stop, self._stopped = os.pipe()
        self._thread = threading.Thread(target=self._serve, name="board", daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        waiting = select.poll()
        waiting.register(self._master, select.POLLIN)
        waiting.register(self._stop, select.POLLIN)
        while True:
            ready = {descriptor for descriptor, _ in waiting.poll()}
            if self._master not in ready:
                return  # when everything that was sent has been received
            with contextlib.suppress(OSError):
                for byte in os.read(self._master, 4096).decode("latin-1"):
                    said = self.board.hear(byte)
                    if self.board.unplugged:
                        self._unplug()
                        return
                    if said:
                        os.write(self._master, said.encode("latin-1"))

    @property
    def restarts_when_opened(self) -> bool:
        """Whether the port drops DTR with its last close, as is the default; most boards restart then."""
        slave = self._slave
        try:
            return slave >= 0 and bool(termios.tcgetattr(slave)[CFLAG] & termios.HUPCL)
        except termios.error:  # the cable was pulled at this moment
            return False

    @restarts_when_opened.setter
    def restarts_when_opened(self, on: bool) -> None:
        attributes = termios.tcgetattr(self._slave)
        attributes[CFLAG] = attributes[CFLAG] & ~termios.HUPCL | termios.HUPCL * on
        termios.tcsetattr(self._slave, termios.TCSANOW, attributes)

    def say(self, text: str) -> None:
        """Send something unasked."""
        os.write(self._master, text.encode("latin-1"))

    def _unplug(self) -> None:
        """Pull the cable: for a program that has the port open it is gone, and by then the device, too."""
        self._on_unplug()
        for name in ("_master", "_slave"):
            descriptor = getattr(self, name)
            if descriptor >= 0:
                setattr(self, name, -1)
                os.close(descriptor)

    def close(self) -> None:
        """Take it away, when it has received everything that was sent to it."""
        if self._stopped < 0:
            return
        os.close(self._stopped)
        self._stopped = -1
        self._thread.join()
        os.close(self._stop)
        self._unplug()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


SIGNALS = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGUSR1})


def main() -> None:
    """Stand in for a board until SIGTERM."""
    parser = argparse.ArgumentParser(description="A GRBL 1.1h board on a pseudo-terminal.")
    parser.add_argument("--link", type=Path, required=True, help="symbolic link to the port")
    parser.add_argument("--group", default="", help="group that may open it, as udev sets it for real ports")
    parser.add_argument(
        "--fault", type=_fault, action="append", default=[], help="FAULT[@MOVE], see this file's docstring"
    )
    parser.add_argument("--polls", type=int, default=2, help="status requests that a move takes")
    parser.add_argument("--dialect", choices=DIALECTS, default="grbl", help="its firmware")
    options = parser.parse_args()
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    for fault, at in itertools.chain(options.fault, itertools.repeat(("", 1))):
        board = Board(fault=fault, at=at, polls=options.polls, dialect=DIALECTS[options.dialect])
        with StandIn(board, on_unplug=lambda: options.link.unlink(missing_ok=True)) as stand_in:
            if options.group:
                shutil.chown(stand_in.port, group=options.group)
                Path(stand_in.port).chmod(0o660)
            options.link.unlink(missing_ok=True)
            options.link.symlink_to(stand_in.port)
            print(f"{options.link} is {stand_in.port}", flush=True)
            _notify_systemd("READY=1")
            if signal.sigwait(SIGNALS) != signal.SIGUSR1:
                return


def _fault(text: str) -> tuple[str, int]:
    fault, _, at = text.partition("@")
    return fault, int(at or 1)


def _notify_systemd(state: str) -> None:
    """Notify the service manager, if one has started this; without a library, which a plain Python doesn't have."""
    address = os.environ.get("NOTIFY_SOCKET")
    if address:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.sendto(state.encode(), address)


if __name__ == "__main__":
    main()
