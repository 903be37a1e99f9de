"""What a person has the rig do between scans, with ``timelapsectl rig``: asked for, done, answered.

The timelapse comes first. Nothing is begun while a scan runs or when the rig is about to get ready for one, and what
isn't done by then is broken off: a person can ask again, a time point can't be taken again.

`perform` serves both sides: the rig thread of a daemon and, where none runs, the command itself.
"""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from plantimager.controller.scanner.drivers.by_hand import HandControl
from plantimager.controller.scanner.errors import FaultsFound, ScanCancelled, TimelapsedError
from plantimager.controller.scanner.faults import MISSING, Fault, Table, boolean, one_of, text
from plantimager.controller.scanner.paths import Pose, coordinate
from plantimager.controller.scanner.states import TimeLapseState
from plantimager.controller.timelapsed.inbox import Answer, leave_picture
from plantimager.controller.timelapsed.journal import Action, tell
from plantimager.controller.timelapsed.words import local_time, slot_words

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from plantimager.controller.scanner.drivers.base import Part, ScanMonitor, ScannerDriver
    from plantimager.controller.scanner.timelapse import TimeLapse
    from plantimager.controller.timelapsed.clock import Clock
    from plantimager.controller.timelapsed.inbox import Request
    from plantimager.controller.timelapsed.rig import Outcome, ScanWatch

ROOM: Final = timedelta(minutes=1)
"""What there must be until the rig gets ready for a slot: a gantry homes in less."""

REST: Final = timedelta(minutes=15)
"""How long the rig stays as a person left it before it goes to standby. Time to look, and to walk back to the desk; but
the scan light that somebody forgot costs the plant no more of its day."""

LONGEST_NAME: Final = 100
"""Characters of who asks, and of a camera."""


class NotByHand(TimelapsedError):
    """A person can't have the rig now, or this rig not at all."""


class Deed(StrEnum):
    """What can be asked for, in the words of the command."""

    CHECK = "check"
    HOME = "home"
    GOTO = "goto"
    SNAPSHOT = "snapshot"
    LIGHTS = "lights"


class Wish(NamedTuple):
    """What a person asks for."""

    deed: Deed
    pose: Pose = Pose()
    """Of `Deed.GOTO`: x, y in mm, pan in degrees; what it leaves out stays as it is."""
    camera: str = ""
    """Of `Deed.SNAPSHOT`: which; empty for all."""
    on: bool = False
    """Of `Deed.LIGHTS`."""
    who: str = "somebody"

    def body(self) -> dict[str, Any]:
        """Return the JSON object of a request, which `read_wish` understands."""
        body: dict[str, Any] = {"action": self.deed.value, "who": self.who}
        if self.deed is Deed.GOTO:
            goal = {"x": self.pose.x, "y": self.pose.y, "pan": self.pose.pan}
            body |= {axis: at for axis, at in goal.items() if at is not None}
        elif self.deed is Deed.SNAPSHOT and self.camera:
            body["camera"] = self.camera
        elif self.deed is Deed.LIGHTS:
            body["on"] = self.on
        return body

    def __str__(self) -> str:
        match self.deed:
            case Deed.GOTO:
                return " ".join(f"{self.deed} {self.pose}".split())
            case Deed.LIGHTS:
                return f"{self.deed} {'on' if self.on else 'off'}"
        return f"{self.deed} {self.camera}".rstrip()


def read_wish(body: Mapping[str, Any], source: str) -> Wish:
    """Return what a request asks for; it may come from anybody who can write a file.

    Raises
    ------
    FaultsFound
        With all that is wrong with it.

    """
    faults: list[Fault] = []
    table = Table(body, "", faults)
    deed = Deed(table.take("action", one_of(*Deed)) or Deed.CHECK)
    who = table.take("who", _name, "somebody")
    pose, camera, on = Pose(), "", False
    if deed is Deed.GOTO:
        pose = Pose(**{axis: table.take(axis, coordinate, None) for axis in ("x", "y", "pan")})
        if not faults and pose == Pose():
            faults.append(Fault("", "x", MISSING, "write x, y or pan, or several of them"))
    elif deed is Deed.SNAPSHOT:
        camera = table.take("camera", _name, "")
    elif deed is Deed.LIGHTS:
        on = bool(table.take("on", boolean))
    table.finish()
    if faults:
        raise FaultsFound(faults, source)
    return Wish(deed=deed, pose=pose, camera=camera, on=on, who=who)


def _name(value: object) -> str:
    name = text(value)
    if len(name) > LONGEST_NAME or not name.isprintable():
        raise ValueError(f"write at most {LONGEST_NAME} characters, on one line")
    return name


# --- doing it --------------------------------------------------------------------------------------------


class Picture(NamedTuple):
    """What a camera saw."""

    camera: str
    extension: str
    content: bytes


class Report(NamedTuple):
    """What came of it."""

    sentence: str
    parts: tuple[Part, ...] = ()
    pictures: tuple[Picture, ...] = ()

    @property
    def details(self) -> dict[str, Any]:
        """Return the same as JSON, but for what is in the pictures."""
        parts = [{"name": part.name, "answers": part.answers, "says": part.says} for part in self.parts]
        pictures = [{"camera": picture.camera, "extension": picture.extension} for picture in self.pictures]
        return {"parts": parts, "pictures": pictures}


def controls_of(driver: ScannerDriver, name: str) -> HandControl:
    """Return a driver as something that a person can use; ``name`` is that of the configuration.

    Raises
    ------
    NotByHand
        It isn't.

    """
    if isinstance(driver, HandControl):
        return driver
    problem = NotByHand(f"the driver {name} has no control by hand")
    problem.hint = "timelapsectl rig check says what it knows of its rig"
    raise problem


def perform(
    driver: ScannerDriver, name: str, wish: Wish, configuration: Mapping[str, Any], monitor: ScanMonitor
) -> Report:
    """Do it, and return what came of it. The thread that the driver is called on.

    Raises
    ------
    NotByHand
        The driver doesn't offer it.
    DriverError
        The rig can't do it, or ``monitor`` broke it off.

    """
    if wish.deed is Deed.CHECK:
        return _examine(driver, name)
    hands = controls_of(driver, name)
    match wish.deed:
        case Deed.HOME:
            return Report(hands.home(monitor))
        case Deed.GOTO:
            return Report(hands.go_to(wish.pose, monitor))
        case Deed.LIGHTS:
            hands.light(on=wish.on)
            return Report("the light is that of a scan" if wish.on else "the plant has its own light again")
        case Deed.SNAPSHOT:
            return _snapshot(hands, wish.camera, configuration, monitor)


def _examine(driver: ScannerDriver, name: str) -> Report:
    parts = tuple(driver.examine())
    if not parts:
        raise NotByHand(f"the driver {name} can't say how its rig is")
    silent = [part.name for part in parts if not part.answers]
    if silent:
        return Report(f"no answer of {', '.join(silent)}", parts)
    return Report("everything answers", parts)


def _snapshot(hands: HandControl, name: str, configuration: Mapping[str, Any], monitor: ScanMonitor) -> Report:
    cameras = {camera.name: camera for camera in hands.cameras(configuration)}
    if name and name not in cameras:
        raise NotByHand(f"the rig has no camera {name}; it has {', '.join(cameras)}")
    chosen = [cameras[name]] if name else [*cameras.values()]
    pictures = tuple(Picture(camera.name, camera.extension, hands.snapshot(camera, monitor)) for camera in chosen)
    return Report(f"a picture of {', '.join(camera.name for camera in chosen)}", pictures=pictures)


# --- in the daemon ---------------------------------------------------------------------------------------


class Errand(NamedTuple):
    """A wish on its way through the daemon."""

    wish: Wish
    request: Request
    reply: Callable[[Answer], None]
    """Answers the request. Loop thread."""
    driver: str
    configuration: Mapping[str, Any]

    def run(self, driver: ScannerDriver, monitor: ScanMonitor) -> Answer:
        """Do it. Rig thread; raises as `perform`, and OSError where a picture can't be left."""
        report = perform(driver, self.driver, self.wish, self.configuration, monitor)
        for number, picture in enumerate(report.pictures):
            leave_picture(self.request, number, picture.content)
        return Answer(accepted=True, message=report.sentence, details=report.details)


class Hands:
    """The person's hold on the rig: one errand at a time, and the rig left as it is for a while. Loop thread."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.errand: Errand | None = None
        """What is being done, or is queued."""
        self._why = ""
        """Why it was broken off."""
        self._rests_until: float | None = None
        """On the monotonic clock: to set the wall clock must not leave a plant in the dark for a year."""

    @property
    def on(self) -> bool:
        """Whether a person has the rig, or has had it a moment ago."""
        return self.errand is not None or self._rests_until is not None

    @property
    def left(self) -> float | None:
        """In how many seconds the rig is nobody's any more, None where that isn't a matter of time."""
        if self.errand is not None or self._rests_until is None:
            return None
        return max(self._rests_until - self._clock.monotonic(), 0.0)

    def has(self, request: Request) -> bool:
        """Whether a request is being seen to."""
        return self.errand is not None and self.errand.request == request

    def let_go(self) -> None:
        """Count the rig as nobody's from now on."""
        self._rests_until = None

    def check_free(self, timelapse: TimeLapse | None, watch: ScanWatch | None) -> None:
        """Raise `NotByHand` where the timelapse, or another person, has the rig."""
        if self.errand is not None:
            raise NotByHand(f"{self.errand.wish.who} is at the rig ({self.errand.wish}); try again afterwards")
        if timelapse is None or timelapse.next_at is None:
            return
        now = self._clock.now()
        slot = slot_words(timelapse, timelapse.next_idx)
        if timelapse.state is TimeLapseState.RUNNING:
            raise NotByHand(f"{slot} is being scanned; {self._done_words(watch, now)}")
        ready_at = timelapse.next_at - timelapse.warmup
        due, ready = local_time(timelapse.next_at, now), local_time(ready_at, now)
        if timelapse.next_at <= now:  # then it was asked, and isn't ready
            raise NotByHand(f"{slot} is due since {due}, and the rig isn't ready; timelapsectl status says why")
        if ready_at - now < ROOM:
            raise NotByHand(f"{slot} is due at {due}, and the rig gets ready for it at {ready}; try again afterwards")

    def _done_words(self, watch: ScanWatch | None, now: datetime) -> str:
        done, total, _ = watch.steps if watch is not None else (0, 0, "")
        if watch is None or not done or not total:
            return "try again when it is done"
        took = self._clock.monotonic() - watch.began
        ready = local_time((now + timedelta(seconds=took * (total - done) / done)).replace(microsecond=0), now)
        return f"{done} of {total} positions are done; try again at about {ready}"

    def begin(self, errand: Errand) -> None:
        """Remember what is asked of the rig from now on."""
        self.errand, self._why, self._rests_until = errand, "", None

    def break_off(self, why: str) -> None:
        """Remember why the errand doesn't come to its own end; the first reason counts."""
        self._why = self._why or why

    def must_end(self, timelapse: TimeLapse | None, *, stopping: bool) -> bool:
        """Whether the errand is to be broken off, because something else comes first or nobody waits for it."""
        now = self._clock.now()
        if stopping:
            self.break_off("the service stops")
        elif self.errand is not None and self.errand.request.is_withdrawn:
            self.break_off("nobody waits for it any more")
        elif timelapse is not None and timelapse.next_at is not None and now >= timelapse.next_at - timelapse.warmup:
            slot = slot_words(timelapse, timelapse.next_idx)
            self.break_off(f"{slot} is due at {local_time(timelapse.next_at, now)}")
        return bool(self._why)

    def end(self, outcome: Outcome) -> None:
        """Answer, and leave the rig as it is for a while: nobody homes a gantry to see it powered down at once."""
        errand = self.errand
        if errand is None:
            return
        self._finish(errand, outcome.answer or self._failed(outcome.problem), outcome.problem)
        self._rests_until = self._clock.monotonic() + REST.total_seconds()

    def abandon(self, why: str) -> None:
        """Answer for a rig that never will: the process is about to be replaced."""
        if self.errand is not None:
            self._finish(self.errand, Answer(accepted=False, message=why), None)

    def _finish(self, errand: Errand, answer: Answer, problem: BaseException | None) -> None:
        self.errand = None
        unexpected = None if isinstance(problem, TimelapsedError | OSError) else problem
        tell(Action.RIG_BY_HAND, f"{errand.wish}, by {errand.wish.who}: {answer.message}", error=unexpected)
        errand.reply(answer)

    def _failed(self, problem: BaseException | None) -> Answer:
        words = str(problem)
        if isinstance(problem, OSError):
            words = f"the picture can't be handed over: {problem.strerror}"
        elif not isinstance(problem, TimelapsedError):
            words = f"the driver failed: {type(problem).__name__}: {words}"
        hint = getattr(problem, "hint", None)
        because = f", because {self._why}" if self._why and isinstance(problem, ScanCancelled) else ""
        return Answer(accepted=False, message=f"{words}{because}{f'; {hint}' if hint else ''}")
