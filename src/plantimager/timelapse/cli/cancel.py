"""``timelapsectl cancel``: ask the daemon to end the timelapse before its last slot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from plantimager.timelapse.cli.daemon_request import request_change
from plantimager.timelapse.cli.question import Question, confirm
from plantimager.timelapse.domain.states import TimeLapseState
from plantimager.timelapse.support.text import format_count

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from plantimager.timelapse.cli.session import Session
    from plantimager.timelapse.domain.timelapse import TimeLapse

QUESTION: Final = Question(
    command="cancel", done="cancelled", at_stake="what would be lost", text="cancel it? this can't be undone"
)


def run_cancel(options: argparse.Namespace, session: Session) -> int:
    """Have the timelapse cancelled; at a terminal a person is asked once."""
    body = {"why": options.why} if options.why else {}
    timelapse = confirm(QUESTION, session, _losses, is_asked=not options.yes)
    if timelapse is not None:
        # The request names the timelapse: another one may have begun by the time the daemon reads it.
        body["timelapse_id"] = timelapse.id
    return request_change(session, "cancel", body)


def _losses(timelapse: TimeLapse) -> Iterator[str]:
    """Yield what stays of a timelapse that is cancelled now, and what is lost."""
    to_come = timelapse.n_slots - timelapse.tally.done
    kept = f"{timelapse.tally.taken} of {format_count(timelapse.n_slots, 'slot')} taken, which stay"
    yield f"{timelapse.id}: {kept}; {to_come} to come, which would be lost"
    if timelapse.state is TimeLapseState.RUNNING:
        yield f"the scan of slot {timelapse.next_idx} is stopped, and its pictures stand aside"
