"""What is said where the storage directory doesn't answer: only systemd is asked then."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from plantimager.timelapse.cli.service_start import describe_service_start
from plantimager.timelapse.cli.service_state import RESTARTING, RUNNING, ServiceState
from plantimager.timelapse.cli.session import Scope
from plantimager.timelapse.cli.unit_facts import show_unit
from plantimager.timelapse.support.errors import StoreUnreadable
from plantimager.timelapse.support.text import one_line

if TYPE_CHECKING:
    from collections.abc import Mapping

    from plantimager.timelapse.cli.session import Session

WORDS: Final[Mapping[str, str]] = {
    "active": RUNNING,
    "reloading": RUNNING,
    "activating": "restarting",
    "deactivating": "stopping",
    "inactive": "stopped",
}
"""What a service is, by its ``ActiveState``; ``failed`` is the same."""


class StorageSilent(StoreUnreadable):
    """The store can't be read now, since its directory doesn't answer."""

    hint = "see to its disk or its server; the rest is shown when that answers"


def read_state_by_systemd(session: Session) -> ServiceState | None:
    """Return what systemd says of a rig's service; ``None`` where it isn't asked or doesn't answer."""
    unit = None if session.scope is Scope.OWN else show_unit(session)
    if unit is None:
        return None
    active, sub = one_line(unit["ActiveState"]), one_line(unit["SubState"])
    if active == "activating" and not sub.startswith(RESTARTING):
        return ServiceState("starting", *describe_service_start(session, unit))
    process = f", PID {unit['MainPID']}" if unit["MainPID"] not in ("", "0") else ""
    said = f"{active} ({sub}{process})" if unit["LoadState"] == "loaded" else one_line(unit["LoadState"])
    return ServiceState(
        WORDS.get(active, active), f"systemd says: {said}", f"{session.systemctl} status {session.unit} says more"
    )
