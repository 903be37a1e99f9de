"""What systemd and its journal say of the unit of a rig, and what a failure of it means, in words."""

from __future__ import annotations

import os
import re
import subprocess
from typing import TYPE_CHECKING, Final

from plantimager.timelapse.support.text import one_line

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from plantimager.timelapse.cli.session import Session

ASK_SECONDS = 5.0  # a test shortens it
"""For systemd and for the journal to answer; a bus may hang."""

NEEDS: Final = ("Requires", "BindsTo", "Requisite")
PROPERTIES: Final = (
    *("LoadState", "ActiveState", "SubState", "UnitFileState", "Result", "ExecMainStatus"),
    *("NRestarts", "InvocationID", "User", "StatusText", "MainPID", "InactiveExitTimestampMonotonic"),
    *("ConditionResult", "ConditionTimestampMonotonic", "ExecMainStartTimestampMonotonic", "ReadWritePaths"),
    *("FragmentPath", "Job", "After", *NEEDS),
)

ABSENT: Final[Mapping[str, str]] = {
    "failed": "has failed",
    "not-found": "doesn't exist",
    "masked": "is masked",
    "inactive": "isn't active",
}
"""What a unit that another needs is, in words, by its ``ActiveState`` or ``LoadState``."""

PACKAGED: Final = ("/usr/lib/", "/lib/")
"""Where a Debian package has its units; those of the installer are elsewhere."""

START_ACTIONS: Final = ("config_faulty", "start_failed", "store_unreadable", "already_running", "crashed")
"""The actions of the journal lines that say why a daemon ended by itself."""

RESULTS: Final[Mapping[str, str]] = {
    "core-dump": "signal {status} ended it",
    "exec-condition": "a program of its unit (ExecCondition=) says that it is not to run",
    "oom-kill": "the machine ran out of memory",
    "protocol": "it ended before it was ready",
    "resources": "systemd lacks something for it, as a file that its unit or a drop-in names",
    "signal": "signal {status} ended it",
    "start-limit-hit": "it ended so often in a short time that systemd starts it no more",
    "success": "it ended by itself, without a failure",
    "timeout": "it didn't start or stop in time",
    "watchdog": "it didn't respond any more, and its watchdog ended it",
}
"""The values of ``Result``, except ``exit-code``."""

_NAMES: Final = """
CHDIR NICE FDS EXEC MEMORY LIMITS OOM_ADJUST SIGNAL_MASK STDIN STDOUT CHROOT IOPRIO TIMERSLACK SECUREBITS SETSCHEDULER
CPUAFFINITY GROUP USER CAPABILITIES CGROUP SETSID CONFIRM STDERR RESERVED PAM NETWORK NAMESPACE NO_NEW_PRIVILEGES
SECCOMP SELINUX_CONTEXT PERSONALITY APPARMOR ADDRESS_FAMILIES RUNTIME_DIRECTORY MAKE_STARTER CHOWN
SMACK_PROCESS_LABEL KEYRING STATE_DIRECTORY CACHE_DIRECTORY LOGS_DIRECTORY CONFIGURATION_DIRECTORY NUMA_POLICY
CREDENTIALS BPF
"""
EXIT_NAMES: Final[Mapping[int, str]] = dict(enumerate(_NAMES.split(), start=200))
"""The exit statuses that are systemd's own, see systemd.exec(5): it could not begin."""

EXIT_WORDS: Final[Mapping[str, str]] = {
    "CHDIR": "its working directory is missing or closed to it",
    "CONFIGURATION_DIRECTORY": "its directory in /etc can't be made",
    "CREDENTIALS": "a secret that a drop-in names (LoadCredential=) is missing",
    "EXEC": "its program can't be run",
    "GROUP": "its group, or one that a drop-in names, is missing",
    "MEMORY": "there is not enough memory",
    "NAMESPACE": "a directory that its unit or a drop-in names is missing",
    "RUNTIME_DIRECTORY": "its directory in /run can't be made",
    "STATE_DIRECTORY": "its directory in /var/lib can't be made",
    "USER": "its account is missing",
}

REINSTALLED: Final = frozenset({203, 216, 217})
"""Those that the installer mends."""


def show_unit(session: Session) -> Mapping[str, str] | None:
    """Return what systemd says of a rig's unit; ``None`` where there is no systemd, or it doesn't answer."""
    names = f"--property={','.join(PROPERTIES)}"
    answer = ask(session.environment, ["systemctl", *session.manager, "show", names, f"{session.unit}.service"])
    unit = dict(line.partition("=")[::2] for line in answer.split("\n"))
    return {name: unit.get(name, "") for name in PROPERTIES} if unit.get("LoadState") else None


def read_last_words(session: Session, unit: Mapping[str, str]) -> str:
    """Return what the daemon itself said of its end, without the name of the action; empty where that isn't known."""
    if not unit["InvocationID"]:
        return ""
    actions = [f"ACTION={action}" for action in START_ACTIONS]
    run = f"_SYSTEMD_INVOCATION_ID={unit['InvocationID']}"
    told = ask(session.environment, ["journalctl", "--quiet", "--no-pager", "--output=cat", "--lines=1", run, *actions])
    return one_line(re.sub(r"\A[a-z_]+: ", "", told))


def find_absent_need(session: Session, unit: Mapping[str, str]) -> tuple[str, str] | None:
    """Return a unit without which systemd doesn't start the service, and why it is absent, that which failed first.

    One that only is inactive may start with the service; one of Requisite= doesn't, nor a mount without its device.
    """
    needs = [name for kind in NEEDS for name in unit[kind].split()]
    if not needs:
        return None
    found = _show_states(session, needs)
    for state, why in ABSENT.items():
        for need in found:
            name = one_line(need.get("Id", ""))
            is_slice = name.endswith(".slice")  # inactive while nothing runs in it
            if state in (need.get("LoadState"), need.get("ActiveState")) and not is_slice:
                return name, why
    return None


def describe_exit(status: int) -> str:
    """Return why systemd could not begin a service; empty where the exit status is the service's own."""
    name = EXIT_NAMES.get(status, "")
    words = EXIT_WORDS.get(name, "systemd can't prepare what its unit or a drop-in asks for")
    return name and f"{words} ({status}/{name})"


def find_waited_for(session: Session, unit: Mapping[str, str]) -> Sequence[str]:
    """Return the units that are starting just now and after which the service is to start."""
    found = _show_states(session, unit["After"].split())
    return [one_line(other.get("Id", "")) for other in found if other.get("ActiveState") == "activating"]


def _show_states(session: Session, names: Sequence[str]) -> Sequence[Mapping[str, str]]:
    command = ["systemctl", *session.manager, "show", "--property=Id,LoadState,ActiveState", "--", *names]
    shown = [block.split("\n") for block in ask(session.environment, command).split("\n\n")]
    return [dict(line.partition("=")[::2] for line in lines) for lines in shown]


def ask(environment: Mapping[str, str], command: Sequence[str]) -> str:
    """Return what a program of systemd writes; empty where it is missing, fails or doesn't end in time."""
    environment = {**environment, "LC_ALL": "C.UTF-8", "SYSTEMD_PAGER": ""}
    environment.setdefault("XDG_RUNTIME_DIR", f"/run/user/{os.getuid()}")  # su and cron don't set it
    try:
        done = subprocess.run(
            command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=ASK_SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.decode(errors="replace")
