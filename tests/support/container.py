"""A machine that may be broken: a real systemd as PID 1 of a container, with a power switch.

`base_root` is a Debian 12 as debootstrap makes it, made once and kept in the user's cache.
A `GrblRig` is a machine of its own on top of it: an overlay that takes all its writes, and that
outlives its boots. Killing PID 1 with SIGKILL is the power cut, booting again the next morning.

Needs root, and the Debian packages systemd-container and debootstrap.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import itertools
import json
import os
import shutil
import signal
import socket
import subprocess
import threading
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

T = TypeVar("T")
Entry = dict[str, Any]
"""One entry of the journal, as ``journalctl -o json`` prints it."""

SUITE = "bookworm"
PACKAGES = ("systemd", "systemd-sysv", "dbus", "libpam-systemd", "python3", "python3-venv")
"""What a Debian 12 server has and its minimal variant lacks; libpam-systemd is logind's part for lingering."""

TOOLS = ("systemd-nspawn", "debootstrap", "nsenter", "unshare", "setpriv")
"""Programs that the harness itself runs on the host."""

NAMES = "timelapsed"
"""How the names of containers and control groups begin; then comes the test run's PID, then a number."""

BOOT_WITHIN = 60.0
"""Seconds that a boot may take; a quiet machine needs one."""
COMMAND_WITHIN = 60.0
"""Seconds that a command inside may take, where the caller gives no other number."""
BETWEEN_LOOKS = 0.05
"""Seconds between two looks at a condition that nobody announces."""

ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LANG": "C.UTF-8",
    "SYSTEMD_PAGER": "",
    "SYSTEMD_COLORS": "0",
}
"""What a command inside sees; nothing of the host's environment leaks in."""


class RigError(AssertionError):
    """Something that the test takes for granted did not happen."""


def missing() -> str:
    """Return why no rig can be booted here, in words; empty when it can."""
    if os.geteuid() != 0:
        return "only root can boot a container"
    absent = [tool for tool in TOOLS if shutil.which(tool) is None]
    return f"not installed: {', '.join(absent)}" if absent else ""


def cache_directory() -> Path:
    """Return where the base root is kept between test runs."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "timelapsed-tests"


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on ``path``; waits for other test runs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def base_root() -> Path:
    """Return a directory that holds a bare Debian 12, never to be written to.

    Its name is made of the recipe, and it takes that name only when it is whole: a run that
    was killed in the middle leaves nothing that looks finished.
    """
    recipe = hashlib.sha256(repr((SUITE, PACKAGES)).encode()).hexdigest()[:12]
    whole = cache_directory() / f"{SUITE}-{recipe}"
    with locked(cache_directory() / "lock"):
        if not whole.exists():
            partial = whole.with_suffix(".partial")
            shutil.rmtree(partial, ignore_errors=True)
            # In a mount namespace of its own: what debootstrap mounts in the root goes with it.
            make = ["unshare", "--mount", "debootstrap", "--variant=minbase"]
            _host([*make, f"--include={','.join(PACKAGES)}", SUITE, str(partial)])
            # The journal is to survive the power cut.
            (partial / "var/log/journal").mkdir(exist_ok=True)
            partial.rename(whole)
    return whole


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """Give a file system in memory for one test run, and take it away with all that is mounted below.

    An overlay's upper layer can't be on an overlay itself, as a CI's own root often is; memory
    always serves, and survives the power cuts of the rigs. What a killed test run left is swept.
    """
    runs = cache_directory() / "runs"
    runs.mkdir(parents=True, exist_ok=True)
    with locked(cache_directory() / "lock"):
        for left in runs.iterdir():
            _sweep(left)
        _sweep_cgroups()
        here = runs / str(os.getpid())
        here.mkdir()
        # Held, and so known to be alive, until this process ends.
        claim = os.open(here, os.O_RDONLY)
        fcntl.flock(claim, fcntl.LOCK_EX)
    try:
        files = here / "files"
        files.mkdir()
        _host(["mount", "-t", "tmpfs", "-o", "mode=0755", NAMES, str(files)])
        yield files
    finally:
        os.close(claim)
        _sweep(here)


def _sweep(run: Path) -> None:
    """Remove a test run's directory unless that run is alive."""
    claim = os.open(run, os.O_RDONLY)
    try:
        fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return
    else:
        for mounted in _mounts_below(run):
            subprocess.run(["umount", "--lazy", mounted], check=False, capture_output=True)
        # rmdir, not rmtree: should anything still be mounted, nothing of it is deleted.
        for directory in (run / "files", run):
            with contextlib.suppress(FileNotFoundError):
                directory.rmdir()
    finally:
        os.close(claim)


def _sweep_cgroups() -> None:
    """Remove the control groups of test runs that were killed."""
    own = _own_cgroup()
    for group in own.glob(f"{NAMES}-*-*") if own else ():
        if not Path("/proc", group.name.split("-")[1]).exists():
            _empty_cgroup(group)


def _mounts_below(top: Path) -> list[str]:
    """Return what is mounted below ``top``, the innermost first."""
    table = Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()
    points = [line.split()[4].encode().decode("unicode_escape") for line in table]
    return sorted((point for point in points if point.startswith(f"{top}/")), key=len, reverse=True)


def _host(command: Sequence[str]) -> None:
    """Run a command of the host, and repeat what it said when it fails."""
    _checked(subprocess.run(command, check=False, capture_output=True, text=True))


def _checked(done: subprocess.CompletedProcess[str]) -> subprocess.CompletedProcess[str]:
    """Return ``done`` if it ended with 0, else repeat the end of what it said."""
    if done.returncode:
        said = "\n".join((done.stdout + done.stderr).splitlines()[-40:])
        raise RigError(f"{' '.join(done.args)}\nended with {done.returncode}:\n{said}")
    return done


def _own_cgroup() -> Path | None:
    """Return this process's directory in the unified control group tree, where there is one to write to."""
    for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines():
        left, _, right = line.partition(" - ")
        if right.split()[0] == "cgroup2":
            paths = Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines()
            inner = next((path[3:] for path in paths if path.startswith("0::")), "/")
            own = Path(left.split()[4] + inner)
            return own if os.access(own, os.W_OK) else None
    return None


def _empty_cgroup(top: Path) -> None:
    """Kill what runs in a control group, and remove it."""
    (top / "cgroup.kill").write_text("1", encoding="ascii")
    events = top / "cgroup.events"
    wait_until(lambda: "populated 0" in events.read_text(encoding="ascii"), within=COMMAND_WITHIN, what="all gone")
    for group, _, _ in os.walk(top, topdown=False):
        Path(group).rmdir()


class GrblRig:
    """One machine: off at first, then booted, cut off and booted again as a test likes.

    ``layers`` are the directories that it starts from, the top one first; nothing writes to them.
    One test uses one rig, from one thread.
    """

    _numbers = itertools.count(1)

    def __init__(self, place: Path, layers: Sequence[Path], *, hostname: str = "rig") -> None:
        self.name = f"{NAMES}-{os.getpid()}-{next(self._numbers)}"
        self._place = place / self.name
        self.upper = self._place / "upper"
        """All that this machine ever wrote; a layer for other rigs once it is off."""
        self.root = self._place / "root"
        """The machine's files as the host sees them, on or off."""
        self._nspawn: subprocess.Popen[bytes] | None = None
        self._leader = 0
        self._cgroup: Path | None = None
        for directory in (self.upper, self.root, self._place / "work"):
            directory.mkdir(parents=True)
        options = f"lowerdir={':'.join(map(str, layers))},upperdir={self.upper},workdir={self._place / 'work'}"
        _host(["mount", "-t", "overlay", "-o", options, "overlay", str(self.root)])
        self.write("/etc/hostname", f"{hostname}\n")

    # Power

    @property
    def on(self) -> bool:
        """Whether the machine runs."""
        return self._nspawn is not None and self._nspawn.poll() is None

    def boot(self, *, until_up: bool = True, network: bool = False) -> None:
        """Switch on; return when every job of the boot is done, or when PID 1 answers.

        ``until_up=False`` is for a machine whose boot is not to end soon. ``network`` gives it the
        host's network; else it has none, like a rig in a greenhouse.
        """
        if self.on:
            raise RigError(f"{self.name} is on already")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as news:
            address = self._place / "notify"
            address.unlink(missing_ok=True)
            news.bind(str(address))
            news.settimeout(BOOT_WITHIN)
            options = ["--boot", "--notify-ready=yes", *([] if network else ["--private-network"])]
            self._start(options, environment={"NOTIFY_SOCKET": str(address)})
            self._leader = int(self._heard(news, "X_NSPAWN_LEADER_PID="))
            if until_up:
                self._heard(news, "READY=1")
        if not until_up:
            self.wait_until(self._answers, within=BOOT_WITHIN, what="PID 1 answers")

    def _answers(self) -> bool:
        said = self.run("systemctl", "is-system-running", check=False).stdout.strip()
        return said not in {"", "offline", "unknown"}

    def _heard(self, news: socket.socket, wanted: str) -> str:
        """Wait until systemd-nspawn says a line that starts with ``wanted``; return the rest of it."""
        while True:
            try:
                lines = news.recv(4096).decode().splitlines()
            except TimeoutError:
                raise RigError(f"{self.name} did not boot in {BOOT_WITHIN:g} s:\n{self.console()}") from None
            for line in lines:
                if line.startswith(wanted):
                    return line.removeprefix(wanted)

    def _start(self, options: Sequence[str], *, environment: dict[str, str]) -> None:
        """Start systemd-nspawn in a control group of its own; it dies with the test run."""
        # To ask whether the clock is synchronised, as on any machine; without the privilege to set it.
        command = self._nspawn_command("--console=pipe", "--system-call-filter=adjtimex clock_adjtime", *options)
        own = _own_cgroup()
        if own is not None:
            self._cgroup = own / self.name
            self._cgroup.mkdir(exist_ok=True)
            command = ["sh", "-c", 'echo $$ >"$0/cgroup.procs" && exec "$@"', str(self._cgroup), *command]
        with self._console.open("ab") as console:
            self._nspawn = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *command],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
                env={**ENVIRONMENT, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1", **environment},
            )

    def _nspawn_command(self, *options: str) -> list[str]:
        # What nspawn shares with a container while it runs is put where it goes with the container.
        private = 'mkdir -p "$0" && mount -t tmpfs tmpfs "$0" && exec "$@"'
        command = ["unshare", "--mount", "sh", "-c", private, "/run/systemd/nspawn"]
        command += ["systemd-nspawn", "--quiet", "--register=no", "--keep-unit"]
        return [*command, f"--directory={self.root}", f"--machine={self.name}", *options]

    def power_cut(self) -> None:
        """Pull the plug: every process of the machine is gone at once, unwarned."""
        if not self.on:
            raise RigError(f"{self.name} is off already")
        os.kill(self._leader, signal.SIGKILL)
        self._end()

    def shut_down(self) -> None:
        """Switch off in order, as ``systemctl poweroff`` does; return when the machine is off."""
        self.run("systemctl", "poweroff", check=False)
        self._end()

    def _end(self) -> None:
        assert self._nspawn is not None
        try:
            self._nspawn.wait(timeout=COMMAND_WITHIN)
        except subprocess.TimeoutExpired:
            self._nspawn.kill()
            self._nspawn.wait()
            raise RigError(f"{self.name} did not go off:\n{self.console()}") from None
        finally:
            self._tidy()

    def _tidy(self) -> None:
        """Remove what systemd-nspawn leaves on the host when it is cut off."""
        if self._cgroup is not None:
            _empty_cgroup(self._cgroup)
            self._cgroup = None

    def remove(self) -> None:
        """Take the machine away with all that it wrote. Also after a failure, on or off."""
        if self.on and self._leader:
            self.power_cut()
        elif self._nspawn is not None:
            self._nspawn.kill()
            self._nspawn.wait()
            self._tidy()
        _host(["umount", "--lazy", str(self.root)])
        self.root.rmdir()  # fails, rather than deletes, should it still be mounted
        shutil.rmtree(self._place)

    # Commands

    def build(self, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command in the machine while it is off, as a builder of images would."""
        done = subprocess.run(
            self._nspawn_command("--pipe", "--as-pid2", "--private-network", *command),
            check=False,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            env={**ENVIRONMENT, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"},
        )
        return _checked(done) if check else done

    def run(
        self,
        *command: str,
        check: bool = True,
        user: str = "",
        within: float = COMMAND_WITHIN,
        stdin: str = "",
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in the running machine, as root or as ``user``; ``check`` that it ends with 0."""
        done = subprocess.run(
            self._inside(command, user),
            check=False,
            capture_output=True,
            text=True,
            input=stdin,
            timeout=within,
            env=ENVIRONMENT,
        )
        return _checked(done) if check else done

    @contextlib.contextmanager
    def running(self, *command: str, user: str = "") -> Iterator[subprocess.Popen[str]]:
        """Run a command in the machine beside the test, its output in a pipe; killed at the end."""
        with subprocess.Popen(
            self._inside(command, user),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=ENVIRONMENT,
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    def _inside(self, command: Sequence[str], user: str) -> list[str]:
        if not self.on:
            raise RigError(f"{self.name} is off; {' '.join(command)} can't run")
        enter = ["nsenter", f"--target={self._leader}", "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup"]
        # Root and working directory of PID 1: in a chroot its mount namespace has more above them.
        enter += ["--root", "--wd"]
        # nsenter waits outside for the command inside: when the one is killed, the other is to die, too.
        enter += ["setpriv", "--pdeathsig=KILL"]
        if not user:
            return [*enter, *command]
        become = [f"--reuid={user}", f"--regid={user}", "--init-groups"]
        # The user's own service manager is found by the directory of its socket.
        runtime = 'XDG_RUNTIME_DIR=/run/user/$(id -u) HOME=$(getent passwd "$(id -u)" | cut -d: -f6) exec "$@"'
        return [*enter, *become, "sh", "-c", runtime, "sh", *command]

    # Files

    def path(self, inside: str) -> Path:
        """Return where the host sees a file of the machine."""
        return self.root / inside.lstrip("/")

    def write(self, inside: str, text: str, *, mode: int = 0o644) -> None:
        """Write a file of the machine, on or off, and the directories above it; root owns them."""
        path = self.path(inside)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        path.chmod(mode)

    # Looking

    def show(self, unit: str, fact: str) -> str:
        """Return one property of a unit, e.g. ``StatusText``."""
        return self.run("systemctl", "show", "--value", f"--property={fact}", unit).stdout.strip()

    def console(self, lines: int = 40) -> str:
        """Return the end of what the machine wrote to its console, of all boots."""
        text = self._console.read_text(encoding="utf-8", errors="replace") if self._console.exists() else ""
        return "\n".join(text.splitlines()[-lines:])

    @property
    def _console(self) -> Path:
        return self._place / "console"

    def journal(self, *arguments: str) -> list[Entry]:
        """Return entries of the journal, of all boots, on or off; ``arguments`` narrow them as for journalctl."""
        return [json.loads(line) for line in self._journalctl("--output=json", *arguments).splitlines()]

    def journal_text(self, *arguments: str) -> str:
        """Return the journal as a person reads it."""
        return self._journalctl("--output=short-precise", *arguments)

    def _journalctl(self, *arguments: str) -> str:
        if self.on:
            # Without a journal daemon (yet) there is nothing to wait for.
            self.run("journalctl", "--sync", check=False)
            return self.run("journalctl", "--quiet", "--no-pager", *arguments).stdout
        command = ["journalctl", "--quiet", "--no-pager", f"--directory={self.root}/var/log/journal"]
        done = subprocess.run([*command, *arguments], check=False, capture_output=True, text=True, env=ENVIRONMENT)
        return done.stdout

    # Waiting

    def wait_for_entry(
        self,
        *matches: str,
        that: Callable[[Entry], bool] = bool,
        within: float = COMMAND_WITHIN,
        after: Entry | None = None,
    ) -> Entry:
        """Return the first entry of this boot that ``matches`` (``FIELD=value``), once it is there.

        ``that`` looks closer at an entry; any will do without it. ``after`` leaves out what stands
        in the journal up to and with that entry.
        """
        start = f"--after-cursor={after['__CURSOR']}" if after else "--boot"
        follow = ["journalctl", "--quiet", "--follow", "--no-tail", "--output=json", start, *matches]
        with self.running(*follow) as journal, expiring(within, journal.kill):
            for line in _lines(journal.stdout):
                entry: Entry = json.loads(line)
                if that(entry):
                    return entry
        raise RigError(f"no journal entry {' '.join(matches)} within {within:g} s")

    def wait_until(self, holds: Callable[[], T], *, within: float = COMMAND_WITHIN, what: str = "the condition") -> T:
        """Return the first true value of ``holds()``."""
        return wait_until(holds, within=within, what=f"{self.name}: {what}")


def _lines(stream: IO[str] | None) -> Iterator[str]:
    assert stream is not None
    return iter(stream)


@contextlib.contextmanager
def expiring(within: float, then: Callable[[], object]) -> Iterator[None]:
    """Call ``then``, on a thread of its own, unless the block is left ``within`` so many seconds."""
    timer = threading.Timer(within, then)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()


def wait_until(holds: Callable[[], T], *, within: float, what: str = "the condition") -> T:
    """Return the first true value of ``holds()``; fail when there is none ``within`` so many seconds."""
    late = threading.Event()
    with expiring(within, late.set):
        while not (value := holds()):
            if late.wait(BETWEEN_LOOKS):
                raise RigError(f"not within {within:g} s: {what}")
    return value
