"""``timelapsectl demo``: a power cut in the middle of a scan, and what becomes of it, to watch.

A real daemon on the simulated rig, in a directory of its own, is killed with SIGKILL while it takes
a picture, and started again. Nothing is staged: every wait is for something that the daemon did,
never for a time to be over, and at the end the store is checked against what was said.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final, Self, cast

from msgspec import Struct

from plantimager.timelapse.cli.snapshot import StatusSnapshot, take_snapshot
from plantimager.timelapse.cli.status_view import status_lines
from plantimager.timelapse.cli.terminal import Style
from plantimager.timelapse.cli.timeline import chart_of
from plantimager.timelapse.cli.timeline_text import picture_of
from plantimager.timelapse.domain.states import RecordStatus, TimeLapseState
from plantimager.timelapse.store.location import APPLICATION, FILE_NAME_VARIABLE, TIMELAPSE_STORAGE_JSON
from plantimager.timelapse.support.errors import EXIT_FAILED, TimelapsedError
from plantimager.timelapse.support.inotify import FileWatch
from plantimager.timelapse.support.text import one_line

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Mapping

    from plantimager.timelapse.cli.session import Session
    from plantimager.timelapse.cli.terminal import Screen
    from plantimager.timelapse.support.clock import Clock

N_SLOTS: Final = 7
POSITIONS: Final = 12
CUT_SLOT: Final = 2
"""The first slot in which the power may be cut: two have been taken by then."""
CUT_PICTURE: Final = 4
"""How many of its pictures there are then at least."""

CONFIGURATION: Final = """\
driver = "simulated"
clock = "trust"             # the demo needs no network time

[drivers.simulated]
time_per_position = "0.2s"
image_width = 480
days_per_slot = 4           # the plant grows four days from slot to slot
fail = [4]                  # slot 4 fails ...
fail_attempts = 1           # ... in its first attempt
"""

DEFINITION: Final = f"""\
[timelapse]
name = "demo"
mode = "interval"
interval = "4s"
n_shots = {N_SLOTS}
warmup_period = 1
grace_period = 600          # generous: no slot is lost on a slow machine
scan_retries = 1

[ScanPath]
class_name = "Circle"

[ScanPath.kwargs]
center_x = 375
center_y = 375
z = 0
tilt = 0
radius = 350
n_points = {POSITIONS}

[picamera]
res_x = 960
res_y = 720
"""

PATIENCE: Final = 120.0
"""Seconds without a word from the daemon after which the demo has failed."""

_MANAGERS_VARIABLES: Final = frozenset(
    {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "JOURNAL_STREAM", "INVOCATION_ID", FILE_NAME_VARIABLE}
)
"""Not for the demo's daemon: it is nobody's service and has a store of its own."""


class DemoFailed(TimelapsedError):
    """What the demo was to show didn't happen."""


def run_demo(_: argparse.Namespace, session: Session) -> int:
    """Show it; 1 if what is shown isn't true.

    Raises
    ------
    DemoFailed
        It didn't come so far.
    OSError
        There is no room for it.

    """
    _end_as_by_ctrl_c()
    home = Home.make(session.environment)
    screen = session.screen
    _say(screen, f"{N_SLOTS} slots, 4 s apart, on a simulated rig; all of it is in {home.directory} (… below)")
    try:
        cut = _run_until_the_cut(home, session.clock, screen)
        _run_to_the_end(home, session.clock, screen)
    except DemoFailed as failure:
        failure.hint = f"everything is left in {home.directory}"
        raise
    overview = take_snapshot(home.store, session.clock)
    _show_end(overview, home, screen)
    problems = what_is_untrue(overview, home, cut)
    for problem in problems:
        screen.write(screen.paint(f"NOT TRUE: {problem}", Style.RED))
    if problems:
        return EXIT_FAILED
    _show_what_comes_next(screen)
    return 0


def _end_as_by_ctrl_c() -> None:
    """Have the demo take its daemon along also when its terminal closes, unless it is to outlive that (nohup)."""
    for number in (signal.SIGHUP, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler)


# --- the play ------------------------------------------------------------------------------------------


class Cut(Struct, frozen=True):
    """When the power was cut."""

    slot: int
    picture: int


def _run_until_the_cut(home: Home, clock: Clock, screen: Screen) -> Cut:
    """Start the daemon, and kill it in the middle of a scan."""
    with DemoDaemon(home, clock, screen) as daemon:
        while True:
            daemon.until(lambda: _in_mid_scan(home, clock) is not None)
            # Frozen, it can't finish the scan between our look and our blow, however slow this machine is.
            daemon.freeze()
            cut = _in_mid_scan(home, clock)
            if cut is not None:
                break
            daemon.thaw()
        _say(screen, f"POWER CUT: SIGKILL for PID {daemon.pid}, slot {cut.slot}, picture {cut.picture} of {POSITIONS}")
        daemon.kill()
    return cut


def _run_to_the_end(home: Home, clock: Clock, screen: Screen) -> None:
    """Start a daemon on what the first one left, let it finish, and stop it as systemd would."""
    left = take_snapshot(home.store, clock).timelapse
    if left is None or left.state is not TimeLapseState.RUNNING:
        raise DemoFailed("the store doesn't say that a scan was running when the power went")
    _say(screen, f"the store says: running, slot {left.next_idx} of {left.n_slots}; the power comes back")
    with DemoDaemon(home, clock, screen) as daemon:
        daemon.until(lambda: _is_over(home, clock))
        code = daemon.stop()
    if code != 0:
        raise DemoFailed(f"the daemon ended with {code}")


def _in_mid_scan(home: Home, clock: Clock) -> Cut | None:
    """Return where the scan is, if one is in its middle and its slot far enough along."""
    timelapse = take_snapshot(home.store, clock).timelapse
    if timelapse is None or timelapse.state is not TimeLapseState.RUNNING or timelapse.next_idx < CUT_SLOT:
        return None
    pictures = home.unfinished_pictures(timelapse.scan_id(timelapse.next_idx))
    return Cut(timelapse.next_idx, pictures) if CUT_PICTURE <= pictures < POSITIONS else None


def _is_over(home: Home, clock: Clock) -> bool:
    timelapse = take_snapshot(home.store, clock).timelapse
    return timelapse is not None and timelapse.state.is_terminal


def what_is_untrue(overview: StatusSnapshot, home: Home, cut: Cut) -> list[str]:
    """Check what the demo claims; return what isn't so."""
    timelapse = overview.timelapse
    if timelapse is None:
        return ["the store holds no timelapse"]
    problems = [] if timelapse.state is TimeLapseState.COMPLETED else [f"it is {timelapse.state.value}, not completed"]
    for slot in range(timelapse.n_slots):
        record = timelapse.records.get(slot)
        if record is None or record.status is not RecordStatus.SUCCEEDED:
            problems.append(
                f"slot {slot} is {record.status.value if record is not None else 'not recorded'}, not taken"
            )
        elif len(home.pictures(record.scan_id)) != POSITIONS:
            problems.append(f"slot {slot} has {len(home.pictures(record.scan_id))} pictures, not {POSITIONS}")
    cut_record = timelapse.records.get(cut.slot)
    if cut_record is not None and (cut_record.attempt, cut_record.interruptions) != (2, 1):
        what = f"{cut_record.attempt} attempts, {cut_record.interruptions} of them interrupted"
        problems.append(f"slot {cut.slot} had {what}; not 2 and 1")
    return problems


# --- its ending -----------------------------------------------------------------------------------------


def _show_end(overview: StatusSnapshot, home: Home, screen: Screen) -> None:
    _say(screen, "this is what `timelapsectl status` and `timelapsectl timeline` show of it")
    screen.write("", *status_lines(overview, screen, N_SLOTS))
    if overview.timelapse is not None:
        screen.write("", *picture_of(chart_of(overview, overview.timelapse), screen))
    screen.write("", f"pictures: {home.datasets}/demo_0 to demo_{N_SLOTS - 1}, each with {POSITIONS} in images/")


def _show_what_comes_next(screen: Screen) -> None:
    screen.write(
        "",
        screen.paint("For a real rig, two commands come next:", Style.BOLD),
        "  sudo systemd/install                                   # the service, up at every boot",
        "  sudo timelapsectl start config/timelapse.toml          # a timelapse; change the file first",
        "Between them, name its driver in /etc/plant-imager3-app/timelapsed.toml, or the service simulates a rig;",
        "an example with every setting lies beside it.",
    )


def _say(screen: Screen, sentence: str) -> None:
    """Say something in the demo's own voice."""
    screen.write(screen.paint(f"» {sentence}", Style.BOLD, Style.CYAN))


# --- where, and who -----------------------------------------------------------------------------------


class Home(Struct, frozen=True):
    """The demo's own directory, which stays."""

    directory: Path
    environment: Mapping[str, str]

    @classmethod
    def make(cls, environment: Mapping[str, str]) -> Self:
        """Make one, with the two files that a person would write.

        Raises
        ------
        OSError
            There is no room for it.

        """
        directory = Path(tempfile.mkdtemp(prefix="timelapsed-demo-"))
        files = directory / "config" / APPLICATION
        files.mkdir(parents=True)
        (files / "timelapsed.toml").write_text(CONFIGURATION, encoding="utf-8")
        (files / "timelapse.toml").write_text(DEFINITION, encoding="utf-8")
        (directory / "data" / APPLICATION).mkdir(parents=True)
        own = {"XDG_DATA_HOME": f"{directory}/data", "XDG_CONFIG_HOME": f"{directory}/config"}
        kept = {name: value for name, value in environment.items() if name not in _MANAGERS_VARIABLES}
        return cls(directory, {**kept, **own})

    @property
    def store(self) -> Path:
        """The daemon's store."""
        return self.directory / "data" / APPLICATION / TIMELAPSE_STORAGE_JSON

    @property
    def datasets(self) -> Path:
        """Where its pictures are."""
        return self.store.parent / "datasets"

    def pictures(self, scan_id: str) -> list[Path]:
        """Return the pictures of a finished scan."""
        return sorted((self.datasets / scan_id).glob("images/*.jpg"))

    def unfinished_pictures(self, scan_id: str) -> int:
        """Return how many pictures a scan has that is being taken."""
        return len(list(self.datasets.glob(f".{scan_id}.attempt-*/images/*.jpg")))


class DemoDaemon:
    """A daemon on the demo's directory, whose log is passed through; gone when the ``with`` ends."""

    def __init__(self, home: Home, clock: Clock, screen: Screen) -> None:
        self._clock, self._screen = clock, screen
        self._place = str(home.directory)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "plantimager.timelapse.daemon.main"],
            env=home.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for the demo, which takes its daemon along
        )
        self._log = cast("IO[bytes]", self._process.stderr)
        os.set_blocking(self._log.fileno(), False)
        self._text = b""
        self._watch = FileWatch(home.store.parent)
        self._watch.also(self._log.fileno())
        self.pid = self._process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self._watch.close()
        self._log.close()

    def until(self, condition: Callable[[], bool]) -> None:
        """Pass its log on until something has happened.

        Raises
        ------
        DemoFailed
            It ended, or fell silent, before that.

        """
        silent_since = self._clock.monotonic()
        while not condition():
            if self._pass_log_on():
                silent_since = self._clock.monotonic()
            if self._process.poll() is not None:
                self._pass_log_on()
                raise DemoFailed(f"the daemon ended with {self._process.returncode}")
            if self._clock.monotonic() - silent_since > PATIENCE:
                raise DemoFailed(f"the daemon has been silent for {PATIENCE:g} s")
            self._watch.wait(1.0)
        self._pass_log_on()

    def freeze(self) -> None:
        """Stop its threads where they are, and wait until they are."""
        self._process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WNOWAIT)

    def thaw(self) -> None:
        """Let it go on."""
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """End it as a power cut does, if it still runs."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self._pass_log_on()

    def stop(self) -> int:
        """End it as systemd does; return its exit code."""
        self._process.terminate()
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            raise DemoFailed(f"the daemon didn't stop within {PATIENCE:g} s") from None
        self._pass_log_on()
        return self._process.returncode

    def _pass_log_on(self) -> bool:
        """Write out the lines that came; return whether any did."""
        arrived = self._log.read() or b""
        *lines, self._text = (self._text + arrived).split(b"\n")
        for line in lines:
            text = one_line(line.decode(errors="replace")).replace(self._place, "…")
            self._screen.write(self._readable(text))
        return bool(arrived)

    def _readable(self, line: str) -> str:
        """Return one of its log lines with its action in front in a column of its own."""
        match = re.fullmatch(r"(?:(?P<level>[A-Z]+) )?(?P<action>\w+): (?P<rest>.*)", line)
        if match is None:
            return f"  {self._screen.paint(line, Style.DIM)}"
        level, action, rest = match.groups()
        return f"  {self._screen.paint(f'{action:<19}', Style.YELLOW if level else Style.GREEN)} {rest}"
