"""Bytes that are lost or damaged between driver and board: a repeated question each, and no slot."""

import contextlib
import random

import pytest
from grbl_stand_in import DIALECTS, SETTINGS, Board
from soaking import SOAK
from wild_board import Sheet, wild_arm

from plantimager.timelapse.drivers.gantry.gantry_faults import BoardRestarted, GantryFault

PATH = [(10.0, 20.0, 30.0), (110.0, 20.0, 350.0), (0.0, 250.0, 0.0)]
"""A short scan."""

DAMAGES = {
    "lost": lambda _: "",
    "doubled": lambda byte: byte + byte,
    "lowest bit": lambda byte: chr(ord(byte) ^ 0x01),
    "a letter as control": lambda byte: chr(ord(byte) ^ 0x40),
    "highest bit": lambda byte: chr(ord(byte) ^ 0x80),
}
OTHER_BITS = {f"bit {bit}": lambda byte, bit=bit: chr(ord(byte) ^ 1 << bit) for bit in (1, 2, 3, 4, 5)}
"""With one of them ``$H`` is ``$X``, ``$G`` is ``$C``, ``?`` begins a comment, and ``G92`` moves the arm."""
STRIDE = 31
"""Of the bytes from the board, every one is damaged for one firmware, and one in so many for the others."""
FEED_HOLD = "!"
"""A byte that turns into this stops the arm, as a person's button does, and so nothing but a person releases it."""


class IdleAtFirst(Board):
    """A board that reports Idle once before each move begins, as real ones sometimes do."""

    def _status(self):
        said = super()._status()
        return said.replace("<Run", "<Idle") if self.goal is not None and self.asked == 1 else said


def take_scan(dialect, *, homing=True, damage=None, fault=""):
    """Take a scan; return the arm's true position at each picture, the bytes that passed, and the notes."""
    settings = {**SETTINGS, 22: "1" if homing else "0"}
    board = IdleAtFirst(settings, fault=fault, dialect=dialect, polls=3)
    with wild_arm(Sheet(homing=homing), dialect=dialect, board=board) as (arm, line):
        if damage is not None:
            line.damage = damage
        arm.make_ready(line.wait)
        pictures = []
        for goal in PATH:
            arm.go(goal, line.wait)
            origin = tuple(-20.0 if axis < 2 else -331.988 for axis in range(3)) if homing else (0.0, 0.0, 0.0)
            pictures.append(tuple(zero - at for zero, at in zip(origin, line.board.machine, strict=True)))
        return pictures, line.passed, arm.take_notes()


def is_whole(pictures):
    """Whether each picture was taken where it belongs; a step of the turntable is a ninth of a degree."""
    places = [at for place in pictures for at in place]
    return places == pytest.approx([at for goal in PATH for at in goal], abs=0.08)


@pytest.mark.parametrize("name", DIALECTS)
def test_scan_is_taken_with_each_firmware_of_the_family(name):
    """Whatever its banner, line ends, axes, settings, words and messages are, nothing is asked twice."""
    pictures, _, notes = take_scan(DIALECTS[name])
    assert is_whole(pictures)
    assert notes == []


def numbers(count, direction, name, damage):
    """Return the numbers of the bytes to damage: all, except where that would take minutes."""
    is_every = name == "grbl" or damage in DAMAGES if direction == "to" else (name, damage) == ("grbl", "lost")
    return range(count) if SOAK or is_every else range(len(name + damage) % STRIDE, count, STRIDE)


@pytest.mark.parametrize("damage", {**DAMAGES, **OTHER_BITS})
@pytest.mark.parametrize("direction", ["to", "from"])
@pytest.mark.parametrize("name", DIALECTS)
def test_damaged_byte_costs_no_slot(name, direction, damage):
    """One run for each byte of a whole scan, in which that byte is lost or damaged; all pictures are taken."""
    _, passed, _ = take_scan(DIALECTS[name])
    lost = []
    struck_numbers = numbers(passed[direction], direction, name, damage)
    for number in struck_numbers:

        def strike(way, at, byte, number=number):
            if way != direction or at != number:
                return byte
            struck = {**DAMAGES, **OTHER_BITS}[damage](byte)
            return byte if direction == "to" and struck == FEED_HOLD else struck

        try:
            pictures, _, _ = take_scan(DIALECTS[name], damage=strike)
            if not is_whole(pictures):
                lost.append((number, pictures))
        except Exception as problem:  # noqa: BLE001 - whatever it is, it cost the slot
            lost.append((number, f"{type(problem).__name__}: {problem}"))
    assert lost == [], f"{len(struck_numbers) - len(lost)} of {len(struck_numbers)} scans were taken"


@pytest.mark.parametrize("damage", {**DAMAGES, **OTHER_BITS})
@pytest.mark.parametrize("direction", ["to", "from"])
def test_damaged_byte_costs_no_slot_without_limit_switches(direction, damage):
    """Such an arm can't be homed again, so each loss has to be met by asking."""
    _, passed, _ = take_scan(DIALECTS["grbl"], homing=False)
    for number in range(0, passed[direction], 1 if direction == "to" else 5 if damage == "lost" else STRIDE):

        def strike(way, at, byte, number=number):
            struck = {**DAMAGES, **OTHER_BITS}[damage](byte) if (way, at) == (direction, number) else byte
            return byte if direction == "to" and struck == FEED_HOLD else struck

        pictures, _, _ = take_scan(DIALECTS["grbl"], homing=False, damage=strike)
        assert is_whole(pictures), f"byte {number}"


@pytest.mark.parametrize("homing", [True, False])
@pytest.mark.parametrize("name", ["grbl", "grblhal", "0.9"])
def test_bad_line_costs_no_slot(name, homing):
    """Of 2000 bytes one is lost, doubled or damaged: several in each scan."""
    whole = 0
    for seed in range(10):
        chance = random.Random(seed)

        def strike(way, _number, byte, chance=chance):
            if chance.random() > 1 / 2000:
                return byte
            struck = chance.choice([*DAMAGES.values(), *OTHER_BITS.values()])(byte)
            return byte if way == "to" and struck == FEED_HOLD else struck

        whole += is_whole(take_scan(DIALECTS[name], homing=homing, damage=strike)[0])
    assert whole == 10


@pytest.mark.parametrize("name", ["grbl", "grblhal"])
def test_limit_switch_ends_the_attempt_whichever_byte_of_its_line_is_lost(name):
    """The arm doesn't drive at the same obstacle again.

    A firmware that is silent after an alarm can't be told from a hung board where the line made no sense: it is homed.
    """
    said = []

    def listen(way, _number, byte):
        if way == "from":
            said.append(byte)
        return byte

    with pytest.raises(GantryFault):
        take_scan(DIALECTS[name], fault="alarm 1", damage=listen)
    moved = []
    for number in range("".join(said).index("ALARM:1"), len(said)):
        try:
            take_scan(
                DIALECTS[name],
                fault="alarm 1",
                damage=lambda way, at, byte, number=number: "" if (way, at) == ("from", number) else byte,
            )
            moved.append(number)
        except GantryFault:
            pass
    assert len(moved) <= (len("ALARM:") if name == "grbl" else 0)


class Dipping(Board):
    """A board whose supply dips once: it restarts half-way on a move, in or after its answer to something."""

    at, asks, kept, banner = 0, 0, 0, True
    true = (0.0, 0.0, 0.0)
    """Where the arm stood when the board last began to count."""

    def _banner(self):
        return super()._banner() if self.banner else "ready\r\n"

    def _obey(self, line):
        return self._dip(super()._obey(line))

    def _status(self):
        return self._dip(super()._status())

    def _dip(self, said):
        self.asks += 1
        if self.asks != self.at:
            return said
        ends = zip(self.machine, self.goal or self.machine, self.true, strict=True)
        self.true = tuple((at + to) / 2 + begun for at, to, begun in ends)
        self.restart()
        return said[: self.kept] + self._banner()


def test_restart_on_a_bad_line_leaves_no_wrong_position_believed():
    """Without switches: whichever answers are damaged, and whether or not the banner is known."""
    arrived, wrong = 0, []
    for seed in range(500 if SOAK else 100):
        chance = random.Random(seed)
        board = Dipping({**SETTINGS, 3: "0", 22: "0"}, polls=chance.choice([2, 4]))
        board.at, board.kept, board.banner = chance.randrange(5, 60), chance.randrange(80), chance.random() < 0.5
        rate = chance.choice([0, 1 / 1000, 1 / 200])

        def strike(way, _number, byte, chance=chance, rate=rate):
            if way == "to" or chance.random() > rate:
                return byte
            return chance.choice([*DAMAGES.values(), *OTHER_BITS.values()])(byte)

        with wild_arm(Sheet(homing=False), board=board) as (arm, line):
            line.damage = strike
            for goal in (*PATH, (0.0, 0.0, 0.0)) * 2:
                with contextlib.suppress(GantryFault):
                    arm.make_ready(line.wait)
                    arm.go(goal, line.wait)
                    arrived += 1
                    true = tuple(at + begun for at, begun in zip(board.machine, board.true, strict=True))
                    if true != pytest.approx(goal, abs=0.08):
                        wrong.append((seed, goal, true))
    assert wrong == []
    assert arrived


def test_arm_does_not_move_after_a_restart_between_two_moves():
    """An emergency stop that is pressed while the arm rests, and released."""
    with wild_arm(Sheet()) as (arm, line):
        arm.make_ready(line.wait)
        arm.go(PATH[0], line.wait)
        line.board.restart()
        line.say(b"\r\nGrbl 1.1h ['$' for help]\r\n[MSG:'$H'|'$X' to unlock]\r\n")
        with pytest.raises(BoardRestarted):
            arm.go(PATH[1], line.wait)
        assert (line.board.homed, line.board.moves) == (1, 1)
