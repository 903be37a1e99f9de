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

EXIT_STATUSES: Final[Mapping[int, tuple[str, str]]] = {
    200: ("CHDIR", "its working directory is missing or closed to it"),
    201: ("NICE", ""),
    202: ("FDS", ""),
    203: ("EXEC", "its program can't be run"),
    204: ("MEMORY", "there is not enough memory"),
    205: ("LIMITS", ""),
    206: ("OOM_ADJUST", ""),
    207: ("SIGNAL_MASK", ""),
    208: ("STDIN", ""),
    209: ("STDOUT", ""),
    210: ("CHROOT", ""),
    211: ("IOPRIO", ""),
    212: ("TIMERSLACK", ""),
    213: ("SECUREBITS", ""),
    214: ("SETSCHEDULER", ""),
    215: ("CPUAFFINITY", ""),
    216: ("GROUP", "its group, or one that a drop-in names, is missing"),
    217: ("USER", "its account is missing"),
    218: ("CAPABILITIES", ""),
    219: ("CGROUP", ""),
    220: ("SETSID", ""),
    221: ("CONFIRM", ""),
    222: ("STDERR", ""),
    224: ("PAM", ""),
    225: ("NETWORK", ""),
    226: ("NAMESPACE", "a directory that its unit or a drop-in names is missing"),
    227: ("NO_NEW_PRIVILEGES", ""),
    228: ("SECCOMP", ""),
    229: ("SELINUX_CONTEXT", ""),
    230: ("PERSONALITY", ""),
    231: ("APPARMOR_PROFILE", ""),
    232: ("ADDRESS_FAMILIES", ""),
    233: ("RUNTIME_DIRECTORY", "its directory in /run can't be made"),
    235: ("CHOWN", ""),
    236: ("SMACK_PROCESS_LABEL", ""),
    237: ("KEYRING", ""),
    238: ("STATE_DIRECTORY", "its directory in /var/lib can't be made"),
    239: ("CACHE_DIRECTORY", ""),
    240: ("LOGS_DIRECTORY", ""),
    241: ("CONFIGURATION_DIRECTORY", "its directory in /etc can't be made"),
    242: ("NUMA_POLICY", ""),
    243: ("CREDENTIALS", "a secret that a drop-in names (LoadCredential=) is missing"),
    245: ("BPF", ""),
}
"""Those of systemd itself, see systemd.exec(5): it could not begin. Without words of their own they are rare."""

REINSTALLED: Final = frozenset({203, 216, 217})
"""Those that the installer mends."""


def describe_exit(status: int) -> str:
    """Return why systemd could not begin a service; empty where the exit status is the service's own."""
    name, words = EXIT_STATUSES.get(status, ("", ""))
    return name and f"{words or 'systemd can not prepare what its unit or a drop-in asks for'} ({status}/{name})"
