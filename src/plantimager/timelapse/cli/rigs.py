"""``timelapsectl rigs``: every rig of this host, a line each."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct, to_builtins
from msgspec.structs import replace

from plantimager.timelapse.channel.relay_status import describe_troubles
from plantimager.timelapse.cli.known_rigs import (
    DEFAULT,
    check_rig_is_known,
    find_rig_names,
    session_of,
    sessions_of_users,
)
from plantimager.timelapse.cli.relay_request import RelayLook, look_at_relay
from plantimager.timelapse.cli.service_state import NOT_RUNNING, read_service_state
from plantimager.timelapse.cli.session import Scope, session_places
from plantimager.timelapse.cli.snapshot_source import SnapshotSource
from plantimager.timelapse.cli.status_json import JSON_VERSION, snapshot_as_json
from plantimager.timelapse.cli.status_view import OUTCOMES, describe_wait
from plantimager.timelapse.cli.terminal import Style, align, truncate
from plantimager.timelapse.domain.pausing import pause_at
from plantimager.timelapse.domain.states import RecordStatus, TimeLapseState
from plantimager.timelapse.domain.wording import describe_end_of_pause
from plantimager.timelapse.support.errors import TimelapsedError
from plantimager.timelapse.support.file_system import user_name
from plantimager.timelapse.support.text import format_count, one_line

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence

    from plantimager.timelapse.cli.service_state import ServiceState
    from plantimager.timelapse.cli.session import Session
    from plantimager.timelapse.cli.snapshot import StatusSnapshot

ANSWER_SECONDS: Final = 3.0
"""For each daemon: one that hangs doesn't keep the others' lines back for long."""
NOTHING: Final = "–"
HEAD: Final = ("rig", "timelapse", "state", "last", "relay", "trouble")
QUIET: Final = ("stopped", "not started", NOT_RUNNING)
"""Words of a service that nobody has to do something about, as long as no slot is due."""


class RigReport(Struct, frozen=True, kw_only=True):
    """One rig at one moment."""

    name: str
    """For people: ``default``, ``north``, ``ann's own``."""
    session: Session
    user: str | None
    """Whose own service it is."""
    relay: RelayLook
    snapshot: StatusSnapshot | None = None
    service: ServiceState | None = None
    """Why no daemon runs."""
    error: str = ""
    """Why there is no snapshot."""


def run_rigs(options: argparse.Namespace, session: Session) -> int:
    """Show every rig of this host, or of the scope that the options name."""
    reports = [_report(*found) for found in _find_sessions(session, options.scope, options.rig)]
    if options.rig is not None and not reports:
        check_rig_is_known(session)
    if options.json:
        rigs = [_as_json(report) for report in reports]
        session.screen.write(json.dumps({"version": JSON_VERSION, "rigs": rigs}, indent=2))
    elif reports:
        session.screen.write(*_table(reports, session))
    else:
        session.screen.write("no rig on this host; see what one does with timelapsectl demo")
    return 0


def _find_sessions(
    session: Session, requested: str | None, rig: str | None
) -> Iterator[tuple[str, str | None, Session]]:
    """Yield name, user and session of each rig: the machine's, then the users' own."""
    scopes = [session.scope] if requested or session.scope is Scope.OWN else [Scope.SYSTEM, Scope.USER]
    for scope in scopes:
        of_scope = replace(session, scope=scope, places=session_places(scope, session.environment))
        user = _own_name() if scope is Scope.USER else None
        for name in find_rig_names(of_scope):
            if rig in (None, name):
                yield _name(name, user), user, session_of(of_scope, name)
    if requested is None and session.scope is Scope.SYSTEM and rig is None:
        for user, of_user in sessions_of_users(session):
            yield _name(None, user), user, of_user


def _name(rig: str | None, user: str | None) -> str:
    own = f"{user}'s own" if user is not None else DEFAULT
    return own if rig is None else rig if user is None else f"{own} {rig}"


def _report(name: str, user: str | None, session: Session) -> RigReport:
    """Return the report on one rig; what can't be read is said in its line."""
    relay, snapshot, error, service = look_at_relay(session), None, "", None
    try:
        snapshot = SnapshotSource(session, ANSWER_SECONDS).take()
    except (TimelapsedError, OSError) as problem:
        error = one_line(str(problem))
    if (snapshot is None or snapshot.daemon is None) and user in (None, _own_name()):  # no manager of another user
        service = read_service_state(session)
        snapshot = snapshot and replace(snapshot, service=service)
    return RigReport(
        name=name, session=session, user=user, relay=relay, snapshot=snapshot, service=service, error=error
    )


def _own_name() -> str:
    return user_name(os.getuid())


def _state(report: RigReport) -> str:
    snapshot = report.snapshot
    if snapshot is None or snapshot.daemon is None:
        return report.service.word if report.service is not None else NOT_RUNNING
    timelapse, progress = snapshot.timelapse, snapshot.daemon.says.progress
    if timelapse is None:
        return "no timelapse"
    if timelapse.state is TimeLapseState.RUNNING:
        return f"scanning slot {timelapse.next_idx}{f', {progress}' if progress else ''}"
    if not timelapse.state.is_active:
        return f"{timelapse.state.value}, {timelapse.tally.taken} of {timelapse.n_slots} taken"
    if timelapse.next_at is None:
        return "no slot is left"
    pause = pause_at(timelapse, snapshot.at)
    if pause is not None:
        return f"paused {describe_end_of_pause(pause.until, snapshot.at)}"
    return f"slot {timelapse.next_idx} of {timelapse.n_slots}, {describe_wait(timelapse.next_at - snapshot.at)}"


def _last(report: RigReport) -> str:
    """Return the outcome of the last slot that has one."""
    for facts in report.snapshot.slots() if report.snapshot is not None else ():
        record = facts.record
        if record.status not in (RecordStatus.PENDING, RecordStatus.RUNNING):
            pictures = f", {format_count(record.pictures, 'picture')}" if record.pictures is not None else ""
            return f"{record.slot}: {OUTCOMES[record.status][0]}{pictures}"
    return NOTHING


def _trouble(report: RigReport) -> str:
    """Return the worst trouble, and how many others there are."""
    found, snapshot, service = [report.error] if report.error else [], report.snapshot, report.service
    redact = one_line if snapshot is None else snapshot.redact
    is_due = snapshot is not None and snapshot.timelapse is not None and snapshot.timelapse.state.is_active
    if service is not None and (is_due or service.word not in QUIET or "\n" in service.why):
        found.append(redact(service.why))
    if service is not None and service.definition:
        found.append(redact(f"definition {service.definition}"))
    if snapshot is not None:
        known = snapshot.troubles()[1:] if is_due and service is not None else snapshot.troubles()
        found += [*known, *(note for note in snapshot.notes() if note.startswith("definition "))]
    relay = report.relay
    if relay.runs and relay.status is not None:
        found += describe_troubles(relay.status, report.session.clock.now())
    if len(found) < 2:
        return found[0] if found else NOTHING
    return f"{found[0]} (and {len(found) - 1} more)"


def _table(reports: Sequence[RigReport], session: Session) -> list[str]:
    """Return the head and a line for each rig; on a terminal the troubles are cut to its width."""
    rows = [HEAD, *((r.name, _timelapse_id(r), _state(r), _last(r), _relay(r), _trouble(r)) for r in reports)]
    screen = session.screen
    head, *lines = (truncate("  ".join(cells).rstrip(), screen.columns) for cells in align(rows))
    return [screen.paint(head, Style.DIM), *lines]


def _relay(report: RigReport) -> str:
    """Return what is set up in the relay, when it last worked, and whether it runs."""
    relay = report.relay
    words = relay.status.summary(report.session.clock.now()) if relay.status is not None else ""
    return f"{words}{'' if relay.runs else ' (not running)'}" if words else NOTHING


def _timelapse_id(report: RigReport) -> str:
    timelapse = report.snapshot.timelapse if report.snapshot is not None else None
    return NOTHING if timelapse is None else one_line(timelapse.id)


def _as_json(report: RigReport) -> dict[str, Any]:
    session, snapshot, relay = report.session, report.snapshot, report.relay.status
    return {
        "rig": session.places.rig,
        "scope": session.scope.value,
        "user": report.user,
        "unit": session.unit,
        "store": str(session.store),
        "state": _state(report),
        "last": _last(report),
        "trouble": _trouble(report),
        "error": report.error or None,
        "relay": [*report.relay.lines],
        "doubtful": [] if relay is None else to_builtins(relay.doubts),
        "status": None if snapshot is None else snapshot_as_json(snapshot, 1),
    }
