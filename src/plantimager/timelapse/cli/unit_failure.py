"""What systemd leaves of a unit that has failed, in words: its result, or the exit status that is systemd's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

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


def describe_exit(status: int) -> str:
    """Return why systemd could not begin a service; empty where the exit status is the service's own."""
    name = EXIT_NAMES.get(status, "")
    words = EXIT_WORDS.get(name, "systemd can't prepare what its unit or a drop-in asks for")
    return name and f"{words} ({status}/{name})"
