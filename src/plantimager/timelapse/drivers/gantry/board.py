"""The talk with a board of GRBL's family: a line is answered by ``ok`` or an error, ``?`` by a status.

A byte may be lost or damaged in either direction, so no answer is believed by itself. Every question may be asked
again, since everything that is sent may be obeyed twice: moves are absolute, homing only costs time. What follows from
an answer is verified by its effect: settings are read until two readings agree, work coordinates and modes are read
back, a position counts at rest, and `arm` follows each move. An ``ok`` too many or too few therefore does no harm.

A board answers a move with ``ok`` when it has planned the move, not when it has made it. After a soft limit it doesn't
answer until it is reset, and while it homes it may not answer ``?``. So every wait has a deadline.
"""

from __future__ import annotations

import re
from collections import Counter, deque
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from plantimager.timelapse.drivers.deadline import Deadline
from plantimager.timelapse.drivers.gantry import codes
from plantimager.timelapse.drivers.gantry.board_settings import BoardSettings
from plantimager.timelapse.drivers.gantry.gantry_faults import (
    Alarm,
    BoardReset,
    BoardRestarted,
    CommandRefused,
    NoAnswer,
    PositionUnknown,
    Stopped,
)
from plantimager.timelapse.drivers.gantry.motion import agree, gcode_words, subtract
from plantimager.timelapse.drivers.gantry.replies import (
    STATES,
    Status,
    describe_heard,
    is_message,
    read_code,
    read_firmware,
    read_setting,
    read_status,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from plantimager.timelapse.drivers.gantry.motion import Position
    from plantimager.timelapse.drivers.gantry.port import SerialLine

RESET: Final = b"\x18"
HOLD: Final = b"!"
STATUS: Final = b"?"
LINE_END: Final = b"\n"
"""A board takes CR, LF and both together as the end of a line, or of two lines; LF alone is always one."""

RECEIVE_TIMEOUT: Final = 0.05
"""Seconds between two looks at whether a wait has to end."""
QUIET_TIME: Final = 0.1
"""Seconds without a byte after which no more is on its way; at 115 200 baud a line takes 10 ms."""
QUIET_REPORTS: Final = 5
"""Status reports and nothing else, after which no answer is on its way either."""
PATIENCE: Final = 10
"""Quiet `RECEIVE_TIMEOUT`\\ s after which ``?`` is asked again: half a second."""

MAX_RESETS: Final = 4
MAX_ASKS: Final = 3
"""How often a question is asked."""
MAX_READINGS: Final = 5
"""How often something is read until two readings agree, which takes two where no byte is damaged."""
MAX_ANSWER_LINES: Final = 500
"""Lines that are kept of an answer. ``$$`` takes 34 to 300; a faulty board may send lines without end."""
MAX_KEPT_CHARACTERS: Final = 160
"""Of each of them."""
MAX_KEPT_WORDS: Final = 5
"""Lines that are kept to say what was heard instead of an answer."""


class Board:
    """A board on an open line."""

    def __init__(
        self, line: SerialLine, answer_timeout: timedelta, boot_timeout: timedelta = timedelta(seconds=20)
    ) -> None:
        self._line, self._answer_timeout, self._boot_timeout = line, answer_timeout, boot_timeout
        self.firmware = ""
        """Its name for itself: ``Grbl 1.1h``."""
        self._offset: Position | None = None
        """Machine position minus work position; None until it was set."""
        self._repeats = 0

    def wake(self) -> None:
        """Reset the board, so that its state is known: no incomplete line, no move, no work coordinates.

        Raises `GantryFault` where it doesn't answer, or not as GRBL's family does.
        """
        heard: deque[str] = deque(maxlen=MAX_KEPT_WORDS)
        with Deadline(self._boot_timeout) as booting:
            for resets_left in reversed(range(MAX_RESETS)):
                self._line.discard_input()
                self._line.send(RESET)
                lives = self._awaits_banner(booting, heard)
                if lives and self._receive_until_quiet(heard.append) and (self.firmware or not resets_left):
                    return
                self._repeats += lives
        self._receive_until_quiet(heard.append)
        raise self._no_answer("", heard)

    def _awaits_banner(self, booting: Deadline, heard: deque[str]) -> bool:
        """Wait for the banner; return whether the board is there.

        A board that restarts when its port is opened doesn't hear the reset, and sends its banner when it is up. One
        that tells its status is up, and either reset or banner was lost.
        """
        self.firmware = ""
        with Deadline(self._answer_timeout) as answering:
            for line in self._lines(lambda: booting.passed() and answering.passed(), asking=True):
                self.firmware = read_firmware(line) or ""
                if self.firmware or (read_status(line) is not None and answering.passed()):
                    return True
                if line:
                    heard.append(line)
        return False

    def _receive_until_quiet(self, take: Callable[[str], object]) -> bool:
        """End an incomplete line, and ``take`` all that is still on its way; return whether that had an end.

        Some boards report their status all the time, unasked.
        """
        self._line.send(LINE_END)
        reports = 0
        with Deadline(self._answer_timeout) as deadline:
            while not deadline.passed():
                line = self._line.receive(QUIET_TIME)
                if line:
                    reports = reports + 1 if read_status(line) is not None else 0
                if line is None or reports == QUIET_REPORTS:
                    return True
                take(line)
        return False

    def _prepare_repeat(self) -> None:
        """Bring the line into a known state before a question is asked again. Raises what an alarm or banner means."""
        self._repeats += 1
        self._receive_until_quiet(_raise_unasked)

    def settings(self) -> BoardSettings:
        """Return the settings of the board, none where it lists none; raises as `command`.

        A lost digit would make another value of one, so each is read until two readings agree on it. One that only a
        single reading has is a damaged line.
        """
        votes: Counter[tuple[int, float]] = Counter()
        for reading in range(MAX_READINGS):
            try:
                votes.update(set(filter(None, map(read_setting, self.command("$$")))))
            except CommandRefused as refusal:
                if not refusal.is_unknown:
                    raise
                return BoardSettings({})
            agreed = dict(setting for setting, count in votes.items() if count > 1)
            if reading and agreed.keys() == {number for number, _ in votes}:
                break
            self._repeats += reading > 0
        readings = Counter(number for number, _ in votes.elements())
        if (votes and not agreed) or any(count > 1 for number, count in readings.items() if number not in agreed):
            raise NoAnswer(f"{self._line.port}: the board lists other settings each time; {_CHECK_CABLE}")
        return BoardSettings(agreed)

    def command(self, text: str, on_doubt: Callable[[], object] = lambda: None) -> list[str]:
        """Send a line, again where the answer isn't ``ok``, and return the lines that came before its ``ok``.

        ``on_doubt`` is called where the board may have obeyed the line, although it didn't say so. Raises `GantryFault`
        where the board refused, went into alarm, restarted, or didn't answer.
        """
        for asks_left in reversed(range(MAX_ASKS)):
            try:
                return self._ask(text)
            except BoardRestarted:
                if self._answers_rest():
                    raise BoardReset from None
                on_doubt()
                raise
            except (CommandRefused, NoAnswer) as fault:
                if isinstance(fault, NoAnswer):
                    on_doubt()
                if not asks_left:
                    raise
            self._prepare_repeat()
            self.status()  # raises for a restart whose banner was damaged
        raise AssertionError

    def _answers_rest(self) -> bool:
        """Whether an answer follows a banner: a byte of the line was a reset, and so the board never had all of it."""
        with Deadline(self._answer_timeout) as deadline:
            while not deadline.passed() and (line := self._line.receive(QUIET_TIME)) is not None:
                if line == "ok" or (read_code(line) or ("",))[0] == "error":
                    return True
        return False

    def _ask(self, text: str) -> list[str]:
        self._line.send(text.encode() + LINE_END)
        answer: deque[str] = deque(maxlen=MAX_ANSWER_LINES)
        with Deadline(self._answer_timeout) as deadline:
            for line in self._lines(deadline.passed):
                if line == "ok":
                    return list(answer)
                code = _raise_unasked(line)
                if code is not None:
                    raise CommandRefused(code, text)
                if line:
                    answer.append(line[:MAX_KEPT_CHARACTERS])
        raise self._no_answer(f"asked {text!r}, ", answer)

    def home(self, timeout: timedelta, should_stop: Callable[[], bool]) -> Status:
        """Home, and return the status then.

        A damaged ``$H`` may be another command that is answered by ``ok``. So the answer counts if the board was seen
        homing, stands elsewhere afterwards, or was locked before (``$X``, which unlocks it, says so), and otherwise if
        homing again gives the same.

        Raises `Stopped` where ``should_stop()`` returned True before it was over, and `GantryFault` where there is no
        end within ``timeout``, or as `command`.
        """
        was_sure, was_seen, refused = False, False, None
        with Deadline(timeout) as deadline:
            for _ in range(MAX_ASKS):
                self._receive_until_quiet(_raise_unasked)  # an `ok` too many would end the homing before it has begun
                before = self.rest_status()
                try:
                    sure, was_seen = self._home_once(deadline, should_stop)
                except CommandRefused as refusal:
                    sure, was_seen, refused = False, False, refusal
                status = self.rest_status()
                while status.state == "Home" and not deadline.passed():  # the `ok` was that of an empty line
                    was_seen = True
                    if should_stop():
                        raise Stopped
                    status = self.rest_status()
                has_effect = was_seen or status.positions != before.positions
                if has_effect or (sure and (was_sure or before.state == "Alarm" != status.state)):
                    return status  # even one that is locked again, as an axis has no switch
                was_sure = sure
                self._repeats += 1
        raise refused or NoAnswer(f"{self._line.port}: the board doesn't say that it has homed; {_CHECK_CABLE}")

    def _home_once(self, deadline: Deadline, should_stop: Callable[[], bool]) -> tuple[bool, bool]:
        """Send ``$H``; return whether only ``ok`` answered it, and whether the board said that it homes."""
        self._line.send(b"$H" + LINE_END)
        heard: deque[str] = deque(maxlen=MAX_KEPT_WORDS)
        is_clean, was_seen, quiet, is_over = True, False, 0, False

        def ends() -> bool:
            if should_stop():
                raise Stopped
            return deadline.passed()

        for line in self._lines(ends):
            if line == "ok":
                return is_clean, was_seen
            code = _raise_unasked(line)
            if code is not None:
                raise CommandRefused(code, "$H")
            quiet = 0 if line else quiet + 1
            status = read_status(line)
            if status is not None:
                was_seen = was_seen or status.state == "Home"
                is_over = status.state not in ("Home", "Run")
            elif line:
                heard.append(line)
                is_message_only = is_message(line) and "unlocked" not in line.lower()
                is_clean = is_clean and (is_message_only or line == "$H")  # some boards echo
            if quiet and quiet % PATIENCE == 0:
                if is_over:
                    return False, was_seen  # its ok was lost, or the line
                self._line.send(STATUS)
        raise self._no_answer("asked '$H', ", heard)

    def set_coordinates(self, work: Position, machine: Position | None) -> None:
        """Count in mm and absolutely, with the arm standing at ``work``. Raises as `command`."""
        for _ in range(MAX_ASKS):
            for line in ("G21", "G90"):
                self.command(line)
            if not self._has_modes("G21", "G90"):
                continue
            self.command(f"G92 {gcode_words(work)}")
            status = self.rest_status()
            if status.state != "Idle":  # a damaged line may be a move, or begin a mode in which nothing moves
                cure = codes.cure_of_state(status.state)
                raise PositionUnknown(f"the board is in state {status.state} after homing: {cure}")
            wrong = status.work is not None and not agree(status.work, work)
            if machine is not None and status.offset is not None:
                wrong = not agree(status.offset, subtract(machine, work))
            if not wrong:
                self._offset = None if machine is None else subtract(machine, work)
                return
            self._repeats += 1
        raise PositionUnknown(
            "the board doesn't take the work coordinates that it is given; is another program using it?"
        )

    def _has_modes(self, *modes: str) -> bool:
        try:
            words = re.split(r"[\s:\]]", " ".join(self._ask("$G")))
            if all(mode in words for mode in modes):
                return True
        except NoAnswer:
            pass
        except CommandRefused:
            return True  # not every firmware says
        self._prepare_repeat()  # the answer may have been that of the line before
        return False

    def status(self) -> Status:
        """Ask for the status. Raises `GantryFault` for an alarm, a restart, or no answer."""
        heard: deque[str] = deque(maxlen=MAX_KEPT_WORDS)
        doubtful, doubtful_offset = "", None
        with Deadline(self._answer_timeout) as deadline:
            while not deadline.passed() and (line := self._line.receive(0)) is not None:  # unasked
                _raise_unasked(line, may_pass=False)
            self._line.send(STATUS)
            for line in self._lines(deadline.passed, asking=True):
                status = read_status(line)
                if status is not None and (status.state in STATES or status.state == doubtful):
                    if self._fits(status.offset, unknown_fits=doubtful_offset is None):
                        return status
                    if status.offset is not None and status.offset == doubtful_offset:
                        raise BoardRestarted(may_pass=False)  # its banner was damaged, or isn't known
                    doubtful_offset = status.offset or doubtful_offset
                else:
                    _raise_unasked(line, may_pass=False)  # no byte of a `?` turns into a reset
                    doubtful = "" if status is None else status.state
                if line.startswith("<") or status is not None:  # damaged on its way
                    self._repeats += 1
                    self._line.send(STATUS)
                if line:
                    heard.append(line)
        raise self._no_answer("asked for its state, ", heard)

    def _fits(self, offset: Position | None, *, unknown_fits: bool) -> bool:
        """Whether a reported offset is the one that was set; a board forgets it when it restarts."""
        if offset is None or self._offset is None:
            return unknown_fits
        return agree(offset, self._offset)

    def rest_status(self) -> Status:
        """Return the status of an arm at rest, which two answers agree on. Raises as `status`."""
        before = self.status()
        offset = before.offset
        for _ in range(MAX_READINGS):
            status = self.status()
            offset = status.offset or offset
            if (status.state, status.positions) == (before.state, before.positions):
                return Status(status.state, status.detail, status.machine, status.work, offset)
            before = status
        return before

    def note_repeat(self) -> None:
        """Count something that had to be sent again."""
        self._repeats += 1

    def take_repeats(self) -> int:
        """Return how often something was sent again since the last call."""
        repeats, self._repeats = self._repeats, 0
        return repeats

    def send(self, signal: bytes) -> None:
        """Send a byte that the board obeys at once and doesn't answer: `HOLD`, `RESET`."""
        self._line.send(signal)

    def _lines(self, ends: Callable[[], bool], *, asking: bool = False) -> Iterator[str]:
        """Yield the lines that come, and "" each time that none has; ``asking`` sends ``?`` when it is quiet."""
        quiet = 0
        while not ends():
            line = self._line.receive(RECEIVE_TIMEOUT)
            quiet = quiet + 1 if line is None else 0
            if asking and quiet == PATIENCE:
                quiet = 0
                self._line.send(STATUS)
            yield line or ""

    def _no_answer(self, after: str, heard: deque[str]) -> NoAnswer:
        words = describe_heard((*heard, self._line.unfinished), is_grbl=bool(self.firmware))
        return NoAnswer(f"{self._line.port}: {after}the board {words}")


def _raise_unasked(line: str, *, may_pass: bool = True) -> str | None:
    """Raise what an alarm or a banner stands for; return the code of an error.

    ``may_pass`` is that of a banner: one that follows a command may come of a damaged byte of it, which was a reset.
    """
    code = read_code(line)
    if code is not None and code[0] == "alarm":
        raise Alarm(code[1])
    if read_firmware(line) is not None:
        raise BoardRestarted(may_pass=may_pass)
    return code[1] if code is not None else None


_CHECK_CABLE: Final = "check the cable, and keep it off the motors'"
