"""Whether the daemon will take up a definition, judged beforehand: the daemon may not run, or use another time zone.

Otherwise a person would learn of the refusal at the next boot.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC
from pathlib import Path
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

from msgspec.structs import replace

from plantimager.timelapse.channel.inbox import Inbox
from plantimager.timelapse.cli.findings import check_configuration, check_rig_can
from plantimager.timelapse.cli.session import Scope
from plantimager.timelapse.domain.states import Reason, TimeLapseState
from plantimager.timelapse.settings.acceptance import check_may_start, check_not_over, load_definition
from plantimager.timelapse.settings.config import Missed, read_config
from plantimager.timelapse.store.loading import load_timelapse
from plantimager.timelapse.support.errors import DefinitionRefused, FaultsFound, StoreCorrupt, TimelapsedError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime, tzinfo

    from plantimager.timelapse.channel.inbox import Request
    from plantimager.timelapse.cli.session import Session
    from plantimager.timelapse.domain.schedule import Schedule
    from plantimager.timelapse.domain.timelapse import TimeLapse
    from plantimager.timelapse.settings.definition import Definition
    from plantimager.timelapse.store.stored_timelapse import StoredTimelapse

LOCAL_TIME: Final = Path("/etc/localtime")
"""The host's zone, in which the service reads definitions; UTC where the file is missing."""


def check_admission(definition: Definition, session: Session) -> None:
    """Refuse a definition that the daemon will refuse when it starts.

    Raises
    ------
    FaultsFound
        The rig can't do what is asked for, or the configuration has faults.
    DefinitionRefused
        Another timelapse is active or comes first; the name was used before; all slots are over.
    DriverBroken
        The driver can't be made, or its check fails.
    StoreUnreadable
        The daemon won't start.
    """
    finding, driver = check_configuration(session.places.find_config(), session.places)
    if finding.problem is not None:
        raise finding.problem
    check_rig_can(definition.configuration, driver, definition.source)
    if driver is not None:
        driver.close()
    skips = read_config(session.places.find_config()).missed is Missed.SKIP
    now = session.clock.now()
    if skips:
        check_not_over(definition, definition.schedule(now), now)
    _check_is_first(definition, session, now, skips=skips)


def _check_is_first(definition: Definition, session: Session, now: datetime, *, skips: bool) -> None:
    """Refuse a definition while another timelapse comes before it: the active one, or one that waits for the daemon.

    The daemon looks at the definition in the configuration directory first, then at requests in their order.
    """
    held, history = None, session.places.history
    with suppress(StoreCorrupt):  # the daemon moves such a store aside
        loaded = load_timelapse(session.store)
        held = None if loaded is None else loaded.stored
    if held is not None and skips:
        held = replace(held, timelapse=_as_resumed(held.timelapse, now))
    configured, waiting = session.places.find_definition(), Inbox(session.store).pending()
    earlier = [_startable(configured, held, history, now, skips=skips)] if configured is not None else []
    if held is not None and any(_cancels(request, held.timelapse) for request in waiting):
        held = replace(held, timelapse=held.timelapse.cancel(now, "", ""))
    check_may_start(definition, held, history)
    starts = [request.path for request in waiting if request.kind == "start"]
    earlier += [_startable(path, held, history, now, skips=skips) for path in starts]
    for other in earlier:
        if other is not None and other.digest != definition.digest:
            raise DefinitionRefused(
                f"{definition.name} can't start: {other.name} comes first, and waits for the daemon",
                hint=f"take {other.source} away to withdraw that",
            )


def _as_resumed(timelapse: TimeLapse, now: datetime) -> TimeLapse:
    """Return the timelapse as the daemon will resume it; it may have ended by then, since late slots are skipped."""
    if timelapse.state is TimeLapseState.RUNNING:
        timelapse = timelapse.interrupt(None, "")
    return timelapse.skip_late_slots(now, Reason.MISSED, "")


def _startable(
    path: Path, held: StoredTimelapse | None, history: Path, now: datetime, *, skips: bool
) -> Definition | None:
    """Return the definition in a file if the daemon will take it up, else ``None``."""
    with suppress(TimelapsedError, OSError):
        definition = load_definition(path)
        check_may_start(definition, held, history)
        if skips:
            check_not_over(definition, definition.schedule(now), now)
        return definition
    return None


def _cancels(request: Request, timelapse: TimeLapse) -> bool:
    """Whether a request will cancel a timelapse."""
    if request.kind != "cancel" or not timelapse.state.is_active:
        return False
    with suppress(TimelapsedError, OSError):
        return bool(request.body().get("timelapse_id", timelapse.id) == timelapse.id)
    return False


def zone_notes(definition: Definition, schedule: Schedule, now: datetime, session: Session) -> Iterator[str]:
    """Yield a note where TZ in this shell makes other slots than the host's zone, which the service uses."""
    if session.scope is Scope.OWN or not session.environment.get("TZ"):
        return
    zone: tzinfo = UTC
    with suppress(OSError, ValueError), LOCAL_TIME.open("rb") as file:
        zone = ZoneInfo.from_file(file)
    with suppress(FaultsFound):  # the daemon reports them
        slots = definition.schedule(now, zone).slots
        if slots != schedule.slots:
            first = f"the first slot is at {slots[0].astimezone(zone).isoformat()}"
            yield f"the service reads times without an offset in the host's zone, not in TZ: {first}"
