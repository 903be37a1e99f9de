"""``timelapsectl cancel``: ask the daemon to end the timelapse before its last slot."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plantimager.timelapse.channel.control_client import NotAllowed, NotTheService
from plantimager.timelapse.cli.daemon_request import request_change
from plantimager.timelapse.cli.question import is_confirmed
from plantimager.timelapse.cli.snapshot_source import SnapshotSource
from plantimager.timelapse.domain.states import TimeLapseState
from plantimager.timelapse.support.errors import StoreUnreadable, TimelapsedError
from plantimager.timelapse.support.text import format_count, one_line

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Iterator

    from plantimager.timelapse.cli.session import Session
    from plantimager.timelapse.domain.timelapse import TimeLapse


class NotCancelled(TimelapsedError):
    """The person has thought better of it."""


def run_cancel(options: argparse.Namespace, session: Session) -> int:
    """Have the timelapse cancelled; at a terminal a person is asked once.

    Raises
    ------
    NotCancelled, NobodyToAsk
        The person doesn't say yes, or can't be asked.
    DefinitionRefused
        There is nothing to cancel.
    NotSaved
        It is cancelled, but that is not on disk yet.
    TimelapsedError
        No daemon has answered.
    """
    body = {"why": options.why} if options.why else {}
    try:
        snapshot = SnapshotSource(session).take()
    except (NotAllowed, NotTheService, StoreUnreadable):
        return request_change(session, "cancel", body)  # no daemon takes it: the refusal says why
    except (TimelapsedError, OSError) as unseen:
        if not options.yes:
            _ask("the timelapse", [f"what would be lost isn't known: {one_line(str(unseen))}"])
        return request_change(session, "cancel", body)
    timelapse = snapshot.timelapse if snapshot.daemon is not None else None
    if timelapse is not None and timelapse.state.is_active:
        if not options.yes:
            _ask(timelapse.id, _losses(timelapse))
        # The request names the timelapse: another one may have begun by the time the daemon reads it.
        body["timelapse_id"] = timelapse.id
    return request_change(session, "cancel", body)


def _ask(name: str, losses: Iterable[str]) -> None:
    """Ask the person at the terminal whether to cancel.

    Raises
    ------
    NotCancelled, NobodyToAsk
        As `run_cancel`.
    """
    if not is_confirmed("cancel", name, losses, "cancel it? this can't be undone"):
        raise NotCancelled(f"{name} is not cancelled, and goes on")


def _losses(timelapse: TimeLapse) -> Iterator[str]:
    """Yield what stays of a timelapse that is cancelled now, and what is lost."""
    to_come = timelapse.n_slots - timelapse.tally.done
    kept = f"{timelapse.tally.taken} of {format_count(timelapse.n_slots, 'slot')} taken, which stay"
    yield f"{timelapse.id}: {kept}; {to_come} to come, which would be lost"
    if timelapse.state is TimeLapseState.RUNNING:
        yield f"the scan of slot {timelapse.next_idx} is stopped, and its pictures stand aside"
