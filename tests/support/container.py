"""A machine that may be broken: a real systemd as PID 1 of a container, with a power switch.

A `Rig` is a machine of its own: an overlay over a Debian that `debian` makes takes all its writes, and outlives its
boots. SIGKILL of PID 1 is the power cut, booting again the next morning.

Needs root, and the Debian packages systemd-container and debootstrap.
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import json
import os
import shutil
import signal
import socket
import subprocess
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar

from host import PREFIX, checked, own_control_group, remove_control_group, run_on_host
from waiting import RigError, expiring, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

T = TypeVar("T")
Entry = dict[str, Any]
"""One entry of the journal, as ``journalctl -o json`` prints it."""

TOOLS = ("systemd-nspawn", "debootstrap", "nsenter", "unshare", "setpriv")
"""Programs of the host that boot a rig."""

BOOT_WITHIN = 60.0
"""Seconds that a boot may take; a quiet machine needs one."""
OFF_WITHIN = 180.0
"""Seconds that a poweroff may take: a unit may use its TimeoutStopSec=."""
COMMAND_WITHIN = 60.0
"""Seconds that a command inside may take, where the caller gives no other number."""

ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LANG": "C.UTF-8",
    "SYSTEMD_PAGER": "",
    "SYSTEMD_COLORS": "0",
}
"""The whole environment of a command inside; it has nothing of the host's."""


def missing() -> str:
    """Return why no rig can be booted here; empty if one can."""
    if os.geteuid() != 0:
        return "only root can boot a container"
    absent = [tool for tool in TOOLS if shutil.which(tool) is None]
    return f"not installed: {', '.join(absent)}" if absent else ""


PR_SET_CHILD_SUBREAPER = 36


class Rig:
    """One machine: off at first, then booted, cut off and booted again as a test likes.

    ``layers`` are the directories that it starts from, the top one first; nothing writes to them.
    One test uses one rig, from one thread.
    """

    _numbers = itertools.count(1)

    def __init__(self, place: Path, layers: Sequence[Path], *, hostname: str = "rig") -> None:
        self.name = f"{PREFIX}-{os.getpid()}-{next(self._numbers)}"
        self._place = place / self.name
        self.upper = self._place / "upper"
        """All that this machine has written; a layer for other rigs while it is off."""
        self.root = self._place / "root"
        """The machine's files on the host, whether it is on or off."""
        self._nspawn: subprocess.Popen[bytes] | None = None
        self._leader = 0
        self._control_group: Path | None = None
        for directory in (self.upper, self.root, self._place / "work"):
            directory.mkdir(parents=True)
        options = f"lowerdir={':'.join(map(str, layers))},upperdir={self.upper},workdir={self._place / 'work'}"
        run_on_host(["mount", "-t", "overlay", "-o", options, "overlay", str(self.root)])
        self.write("/etc/hostname", f"{hostname}\n")

    # Power

    @property
    def on(self) -> bool:
        """Whether the machine runs."""
        return self._nspawn is not None and self._nspawn.poll() is None

    @property
    def leader(self) -> int:
        """The number of its PID 1 on the host."""
        return self._leader

    def boot(self, *, until_up: bool = True) -> None:
        """Switch on; return when every job of the boot is done, or, with ``until_up=False``, when PID 1 answers.

        The machine has no network, like a rig in a greenhouse.
        """
        if self.on:
            raise RigError(f"{self.name} is on already")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
            address = self._place / "notify"
            address.unlink(missing_ok=True)
            listener.bind(str(address))
            listener.settimeout(BOOT_WITHIN)
            options = ["--boot", "--notify-ready=yes", "--private-network"]
            self._start(options, environment={"NOTIFY_SOCKET": str(address)})
            self._leader = int(self._notification(listener, "X_NSPAWN_LEADER_PID="))
            if until_up:
                self._notification(listener, "READY=1")
        if not until_up:
            self.wait_until(self._answers, within=BOOT_WITHIN, what="PID 1 answers")

    def _answers(self) -> bool:
        state = self.run("systemctl", "is-system-running", check=False).stdout.strip()
        return state not in {"", "offline", "unknown"}

    def _notification(self, listener: socket.socket, wanted: str) -> str:
        """Wait until systemd-nspawn sends a line that starts with ``wanted``; return the rest of it."""
        while True:
            try:
                lines = listener.recv(4096).decode().splitlines()
            except TimeoutError:
                raise RigError(f"{self.name} did not boot in {BOOT_WITHIN:g} s:\n{self.console()}") from None
            for line in lines:
                if line.startswith(wanted):
                    return line.removeprefix(wanted)

    def _start(self, options: Sequence[str], *, environment: dict[str, str]) -> None:
        """Start systemd-nspawn in a control group of its own; it ends with the test run."""
        # A driver that was tested in this process has made it the parent of orphans: also of commands in the machine,
        # whose PID 1 can't end before that parent has asked for the end of each.
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)
        # The machine may ask whether the clock is synchronised, as any machine, but has no privilege to set it.
        command = self._nspawn_command("--console=pipe", "--system-call-filter=adjtimex clock_adjtime", *options)
        own = own_control_group()
        if own is not None:
            self._control_group = own / self.name
            self._control_group.mkdir(exist_ok=True)
            command = ["sh", "-c", 'echo $$ >"$0/cgroup.procs" && exec "$@"', str(self._control_group), *command]
        with self._console.open("ab") as console:
            self._nspawn = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *command],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
                env={**ENVIRONMENT, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1", **environment},
            )

    def _nspawn_command(self, *options: str) -> list[str]:
        # A directory that nspawn shares with a running container: here it ends with the container.
        private = 'mkdir -p "$0" && mount -t tmpfs tmpfs "$0" && exec "$@"'
        command = ["unshare", "--mount", "sh", "-c", private, "/run/systemd/nspawn"]
        command += ["systemd-nspawn", "--quiet", "--register=no", "--keep-unit"]
        return [*command, f"--directory={self.root}", f"--machine={self.name}", *options]

    def power_cut(self) -> None:
        """Cut the power: every process of the machine is gone at once, without a signal that it could handle."""
        if not self.on:
            raise RigError(f"{self.name} is off already")
        assert self._nspawn is not None
        namespace = Path(f"/proc/{self._leader}/ns/pid").readlink()
        os.kill(self._leader, signal.SIGKILL)
        # systemd-nspawn tidies up after it, which may take minutes on a machine with much to do; here _tidy does that.
        self._nspawn.kill()
        try:
            # PID 1 has ended when the kernel has ended all others: those, too, that were begun from outside.
            self.wait_until(lambda: _state_of(self._leader) in "ZX", what="all processes of the machine are dead")
        except RigError as alive:
            raise RigError(f"{alive}; {_describe_processes(namespace)}") from None
        finally:
            self._nspawn.wait()
            self._tidy()

    def shut_down(self) -> None:
        """Switch off in order, as ``systemctl poweroff`` does; return when the machine is off."""
        self.run("systemctl", "poweroff", check=False)
        assert self._nspawn is not None
        try:
            self._nspawn.wait(timeout=OFF_WITHIN)
        except subprocess.TimeoutExpired:
            self._nspawn.kill()
            self._nspawn.wait()
            raise RigError(f"{self.name} did not go off:\n{self.console()}") from None
        finally:
            self._tidy()

    def _tidy(self) -> None:
        """Remove what systemd-nspawn leaves on the host when it is cut off."""
        if self._control_group is not None:
            remove_control_group(self._control_group)
            self._control_group = None

    def remove(self) -> None:
        """Remove the machine with all that it wrote, whether it is on or off, and also after a failure."""
        if self.on and self._leader:
            self.power_cut()
        elif self._nspawn is not None:
            self._nspawn.kill()
            self._nspawn.wait()
            self._tidy()
        run_on_host(["umount", "--lazy", str(self.root)])
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
        return checked(done) if check else done

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
        return checked(done) if check else done

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
        # nsenter waits outside for the command inside: if the one is killed, the other has to die, too.
        enter += ["setpriv", "--pdeathsig=KILL"]
        if not user:
            return [*enter, *command]
        become = [f"--reuid={user}", f"--regid={user}", "--init-groups"]
        # The user's own service manager is found by the directory of its socket.
        runtime = 'XDG_RUNTIME_DIR=/run/user/$(id -u) HOME=$(getent passwd "$(id -u)" | cut -d: -f6) exec "$@"'
        return [*enter, *become, "sh", "-c", runtime, "sh", *command]

    # Files

    def path(self, inside: str) -> Path:
        """Return the path of a file of the machine on the host."""
        return self.root / inside.lstrip("/")

    def write(self, inside: str, text: str, *, mode: int = 0o644) -> None:
        """Write a file of the machine, on or off, and the directories above it; root owns them."""
        path = self.path(inside)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        path.chmod(mode)

    # State and journal

    def show(self, unit: str, fact: str) -> str:
        """Return one property of a unit, e.g. ``StatusText``."""
        return self.run("systemctl", "show", "--value", f"--property={fact}", unit).stdout.strip()

    def console(self, lines: int = 40) -> str:
        """Return the last lines of the console, of all boots."""
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
            # The machine may have no journal daemon (yet); then there is nothing to wait for.
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

        ``that`` is a further condition. ``after`` leaves out that entry, and those before it.

        Raises
        ------
        RigError
            There was none ``within`` so many seconds.
        """
        # Not --after-cursor, which in Debian 12 leaves out the first match where the entry itself is none.
        start = f"--cursor={after['__CURSOR']}" if after else "--boot"
        follow = ["journalctl", "--quiet", "--follow", "--no-tail", "--output=json", start, *matches]
        with self.running(*follow) as journal, expiring(within, journal.kill):
            for line in _lines(journal.stdout):
                entry: Entry = json.loads(line)
                if that(entry) and not (after and entry["__CURSOR"] == after["__CURSOR"]):
                    return entry
        raise RigError(f"no journal entry {' '.join(matches)} within {within:g} s")

    def wait_until(self, holds: Callable[[], T], *, within: float = COMMAND_WITHIN, what: str = "the condition") -> T:
        """Return the first true value of ``holds()``; `RigError` if there is none ``within`` so many seconds."""
        return wait_until(holds, within=within, what=f"{self.name}: {what}")


def _state_of(pid: int) -> str:
    """Return the letter of a process's state; ``X`` where there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "X"


def _describe_processes(namespace: Path) -> str:
    """Return which processes are left in a PID namespace, and what each waits for in the kernel."""
    left = []
    for directory in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (directory / "ns/pid").readlink() == namespace:
                waits = (directory / "wchan").read_text()
                left.append(f"{(directory / 'comm').read_text().strip()} ({_state_of(int(directory.name))}, {waits})")
    return f"left: {', '.join(left) or 'nothing that can be seen'}"


def _lines(stream: IO[str] | None) -> Iterator[str]:
    assert stream is not None
    return iter(stream)
