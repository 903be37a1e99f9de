"""Why a rig's daemon doesn't run, and the command that mends it.

systemd is asked, and then the files themselves, by whoever may read them: an exit status alone helps nobody.
"""

from __future__ import annotations

import os
import pwd
import stat
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from msgspec import Struct
from msgspec.structs import replace

from plantimager.timelapse.channel.control_client import ServerNotThere
from plantimager.timelapse.cli.acting import acting_as_owner, owned_stat
from plantimager.timelapse.cli.service_start import describe_queued_start, describe_service_start
from plantimager.timelapse.cli.session import SYSTEM_STORAGE, Scope
from plantimager.timelapse.cli.unit_facts import (
    PACKAGED,
    REINSTALLED,
    RESULTS,
    describe_exit,
    find_absent_need,
    find_waited_for,
    read_last_words,
    show_unit,
)
from plantimager.timelapse.settings.config import Missed, read_daemon_config
from plantimager.timelapse.store.loading import load_timelapse
from plantimager.timelapse.support.errors import (
    EXIT_CONFIG,
    ConfigurationError,
    DefinitionRefused,
    FaultsFound,
    TimelapsedError,
    with_hint,
)
from plantimager.timelapse.support.file_system import describe_owner, user_name
from plantimager.timelapse.support.text import format_count, one_line

if TYPE_CHECKING:
    from collections.abc import Mapping

    from plantimager.timelapse.cli.session import Session

NOT_RUNNING: Final = "not running"
"""The word where systemd doesn't know the service, or isn't asked."""
RUNNING: Final = "running"
"""The word where the service runs, on another store or out of sight."""
RESTARTING: Final = "auto-restart"
"""The ``SubState`` of a unit before it is started again; from systemd 254 on, ``auto-restart-queued`` behind others."""
PACKAGE: Final = "plant-imager-timelapsed"
"""The Debian package. Where it came as a file, apt can't install it again by its name."""


class ServiceState(Struct, frozen=True):
    """What is known of a service whose daemon doesn't run."""

    word: str
    """``stopped``, ``failed (exit 78)``, ``restarting``, `NOT_RUNNING`."""
    why: str
    remedy: str
    restarts: int = 0
    definition: str = ""
    """What will become of the definition in the configuration directory when a daemon starts."""


def describe_absence(session: Session) -> ServerNotThere:
    """Return the refusal of a command that needs the daemon: why none runs, and the command that mends it."""
    state = read_service_state(session)
    has_failed = state.word == "restarting" or state.word.startswith("failed")
    why = f"the service failed: {state.why}" if has_failed else state.why
    return ServerNotThere(f"nothing was done: {why}", hint=state.remedy)


def read_service_state(session: Session) -> ServiceState:
    """Return why a rig's daemon doesn't run. systemd and the journal have `ASK_SECONDS` each to answer."""
    return replace(_read_state(session), definition=foresee_definition(session))


def _read_state(session: Session) -> ServiceState:
    start = _privileged(session, session.start_hint)
    unit = None if session.scope is Scope.OWN else show_unit(session)
    if unit is None:
        fault = find_configuration_fault(session)
        if fault is not None:
            return ServiceState(NOT_RUNNING, f"no daemon runs, and none can start: {fault}", _after_correction(start))
        unknown = "" if session.scope is Scope.OWN else ", and systemd doesn't say why"
        return ServiceState(NOT_RUNNING, f"no daemon runs on this store{unknown}", start)
    match unit["LoadState"], unit["ActiveState"]:
        case "not-found", _:
            return _describe_missing(session)
        case "masked", _:
            unmask = start.replace(" start ", " unmask ")
            return ServiceState("masked", "the service is masked: nothing can start it", f"{unmask}, then {start}")
        case _, "active" | "reloading":
            why = f"the service runs (PID {unit['MainPID']}), but nothing shows that it keeps {session.store}"
            return ServiceState(RUNNING, why, f"systemctl cat {session.unit} shows which directory it has")
        case _, "deactivating":
            return ServiceState("stopping", "the service is being stopped", start)
        case _, "activating" if (
            not unit["SubState"].startswith(RESTARTING) and _find_foreign_file(session, unit) is None
        ):
            (why, remedy), restarts = describe_service_start(session, unit), _number(unit["NRestarts"])
            return ServiceState("starting", f"{why}{_describe_restarts(restarts)}", remedy, restarts)
        case "loaded", "inactive" if unit["Job"]:
            return ServiceState("starting", *describe_queued_start(session, find_waited_for(session, unit)))
        case "loaded", "inactive":
            return _describe_stopped(session, unit, start)
        case "loaded", "failed" | "activating":
            return _add_queued_start(session, unit, _describe_failure(session, unit, start))
    why = f"systemd can't load the service's unit: {one_line(unit['LoadState'])}, {one_line(unit['ActiveState'])}"
    verify = (
        f"systemd-analyze {' '.join((*session.manager, 'verify'))} {session.unit}.service says what is wrong with it"
    )
    reload = _privileged(session, f"{session.systemctl} daemon-reload")
    return ServiceState("broken", why, f"{verify}; correct that, then {reload} and {start}")


def _describe_missing(session: Session) -> ServiceState:
    if session.scope is Scope.SYSTEM:
        why = f"the service {session.unit} isn't installed on this machine"
        return ServiceState("not installed", why, _install(session))
    others = "; the machine's: timelapsectl --system" if os.path.lexists(SYSTEM_STORAGE) else ""
    why = f"your own service {session.unit} isn't installed"
    return ServiceState("not installed", why, f"{_install(session)}{others}")


def _describe_stopped(session: Session, unit: Mapping[str, str], start: str) -> ServiceState:
    word, why = "stopped", "the service was stopped"
    if not _number(unit["InactiveExitTimestampMonotonic"]):
        word, why = "not started", "the service was not started since the machine's boot"
    if (foreign := _find_foreign_file(session, unit)) is not None:
        return ServiceState(word, f"{why}, and can't start: {foreign[0]}", foreign[1])
    if absent := find_absent_need(session, unit):
        see = f"{session.systemctl} status {absent[0]} says why; correct that, then {start}"
        return ServiceState(word, f"{why}, and can't start without {absent[0]}, which {absent[1]}", see)
    if unit["Result"] == "exec-condition":
        why = f"systemd did not start the service: {RESULTS['exec-condition']}"
        return ServiceState("not started", why, f"{session.systemctl} cat {session.unit} shows it")
    if unit["ConditionResult"] == "no" and _number(unit["ConditionTimestampMonotonic"]):
        what = "a condition of its unit or of a drop-in isn't met"
        see = f"{session.systemctl} status {session.unit} names it; correct that, then {start}"
        return ServiceState("not started", f"systemd did not start the service: {what}", see)
    if (fault := find_configuration_fault(session)) is not None:
        return ServiceState(word, f"{why}, and can't start: {fault}", _after_correction(start))
    if unit["UnitFileState"] == "disabled":
        return ServiceState(word, f"{why}, and isn't started at boot", start.replace(" start ", " enable --now "))
    return ServiceState(word, why, start)


def _describe_failure(session: Session, unit: Mapping[str, str], start: str) -> ServiceState:
    """Return why a unit has failed, or is started again and again."""
    result, status, restarts = unit["Result"], _number(unit["ExecMainStatus"]), _number(unit["NRestarts"])
    own = describe_exit(status) if result == "exit-code" else ""
    remedy = f"{start}; timelapsectl log shows what came before"
    if (foreign := _find_foreign_file(session, unit)) is not None:
        why, remedy = foreign
    elif result == "exit-code" and status == EXIT_CONFIG:
        why, remedy = _describe_fault(session, unit, start)
    elif own:
        why = own
        again = f"install it again: {_reinstall(session, unit)}" if status in REINSTALLED else "correct that"
        remedy = f"{again}, then {start}; {session.systemctl} status {session.unit} says more"
    else:
        usual = f"it ended with exit status {status}" if result == "exit-code" else f"it failed ({one_line(result)})"
        why = RESULTS.get(result, usual).format(status=status)
        why += f": {told}" if (told := read_last_words(session, unit)) else ""
        # Where it was restarted before, systemd gave up as well, and Result is that of the last failure.
        if result == "start-limit-hit" or (unit["ActiveState"] == "failed" and restarts):
            why += f"{_describe_restarts(restarts)} and gave up" if restarts else ""
            remedy = f"{start.replace(' start ', ' reset-failed ')}, then {remedy}"
        elif result == "resources":
            remedy = f"{session.systemctl} status {session.unit} says which; correct that, then {start}"
    if unit["ActiveState"] == "activating":
        return ServiceState("restarting", f"{why}{_describe_restarts(restarts)}", remedy, restarts)
    word = f"failed (exit {status})" if result == "exit-code" else "failed"
    return ServiceState(word, why, remedy, restarts)


def _add_queued_start(session: Session, unit: Mapping[str, str], state: ServiceState) -> ServiceState:
    """Return the state of a unit that has failed, with what its next start waits for, where there is such a thing."""
    if not unit["Job"] or not (waited_for := find_waited_for(session, unit)):
        return state
    why, remedy = describe_queued_start(session, waited_for)
    return replace(state, why=f"{state.why}; {why}", remedy=f"{remedy}; {state.remedy}")


def _describe_fault(session: Session, unit: Mapping[str, str], start: str) -> tuple[str, str]:
    """Return which fault of a file ended the daemon, and the remedy; the journal knows it, or the file itself."""
    if (fault := find_configuration_fault(session)) is not None:
        return f"a fault in a file ended it: {fault}", _after_correction(start)
    if not (told := read_last_words(session, unit)):
        return "a fault in a file ended it, of which nothing is left", start
    if "timelapsed.toml" in told:
        return f"a fault in a file ended it: {told}; it is corrected since", start
    return f"a fault ended it: {told}", _after_correction(start)


def find_configuration_fault(session: Session) -> str | None:
    """Return the fault that ends every daemon with the configuration as it is now; ``None`` where there is none."""
    from plantimager.timelapse.drivers import load_driver  # noqa: PLC0415 - only where no daemon runs

    path = None
    try:
        path = session.places.find_config()
        config, _ = read_daemon_config(path)  # those of the relay's tables end no daemon
        load_driver(config.driver, config.driver_options).close()
    except FaultsFound as found:
        return str(found if found.source or path is None else found.named(path))
    except ConfigurationError as unusable:
        return str(unusable)
    except TimelapsedError:  # of a driver, for which systemd starts the daemon again
        pass
    return None


def foresee_definition(session: Session) -> str:
    """Return what will become of the definition in the configuration directory; empty where there is nothing to say."""
    from plantimager.timelapse.settings import acceptance  # noqa: PLC0415 - only where no daemon runs
    from plantimager.timelapse.settings.definition import read_definition  # noqa: PLC0415 - as above

    places, now, skips = session.places, session.clock.now(), True
    with suppress(TimelapsedError):  # its faults are reported already
        skips = read_daemon_config(places.find_config())[0].missed is Missed.SKIP
    try:
        path = places.find_definition()
        if path is None:
            return ""
        definition = read_definition(path)
        with acting_as_owner(session.store.parent):
            loaded = load_timelapse(session.store)
            acceptance.check_may_start(definition, None if loaded is None else loaded.stored, places.history)
        if skips:
            acceptance.check_not_over(definition, definition.schedule(now), now)
    except acceptance.DefinitionAlreadyAccepted:
        return ""
    except DefinitionRefused as refusal:
        return f"refused: {with_hint(refusal)}"
    except ConfigurationError as faulty:
        return f"faulty: {faulty}"
    except (TimelapsedError, OSError):  # of the store, which is reported itself
        return ""
    return f"{definition.name} waits, and begins when the daemon does"


def _find_foreign_file(session: Session, unit: Mapping[str, str]) -> tuple[str, str] | None:
    """Return that the store belongs to somebody else than the service, which can't read it, and the remedy."""
    with suppress(OSError, KeyError):
        name = unit["User"] or ("root" if session.scope is Scope.SYSTEM else user_name(os.getuid()))
        user = pwd.getpwnam(name)
        found = owned_stat(session.store)  # nobody is told to hand over what a planted link leads to
        is_readable = found.st_uid == user.pw_uid or found.st_mode & stat.S_IROTH
        if not is_readable and not (found.st_gid == user.pw_gid and found.st_mode & stat.S_IRGRP):
            why = f"{session.store} belongs to {describe_owner(session.store)}, but the service runs as {user.pw_name}"
            return why, _privileged(session, f"chown {user.pw_name}: {session.store}", always=True)
    return None


def is_root() -> bool:
    """Whether this process is root's."""
    return os.geteuid() == 0


def _privileged(session: Session, command: str, *, always: bool = False) -> str:
    """Return a command with sudo before it, where it takes root and this process isn't root's."""
    return f"sudo {command}" if not is_root() and (always or session.scope is Scope.SYSTEM) else command


def _install(session: Session) -> str:
    options = " --user" if session.scope is Scope.USER else ""
    rig = f" --rig {session.places.rig}" if session.places.rig is not None else ""
    return _privileged(session, f"systemd/install{options}{rig}")


def _reinstall(session: Session, unit: Mapping[str, str]) -> str:
    """Return the command that installs again what is there: the installer refuses to stand beside the package."""
    if unit["FragmentPath"].startswith(PACKAGED):
        return _privileged(session, f"apt install --reinstall ./{PACKAGE}_*.deb", always=True)
    return _install(session)


def _after_correction(start: str) -> str:
    return f"correct that, then {start}"


def _describe_restarts(restarts: int) -> str:
    return f"; systemd has started it again {format_count(restarts, 'time')}" if restarts else ""


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() else 0
