"""``timelapsectl deliver``: what the relay has delivered to its targets, and another try for what it has not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plantimager.timelapse.channel.ledger import Ledger
from plantimager.timelapse.channel.relay_status import describe_targets, read_relay_status
from plantimager.timelapse.cli.acting import acting_as_owner
from plantimager.timelapse.cli.relay_request import RelayNotThere, ask_relay, relay_start_hint
from plantimager.timelapse.settings.config import read_config
from plantimager.timelapse.support.errors import TimelapsedError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from plantimager.timelapse.cli.session import Session


def run_deliver(options: argparse.Namespace, session: Session) -> int:
    """Show the targets with their ledgers, or have the relay change those."""
    if options.retry:
        said = [ask_relay(session, "retry", {}).message]
    elif options.forget is not None:
        said = [ask_relay(session, "forget", {"name": options.forget}).message]
    else:
        try:
            said = ask_relay(session, "deliver", {}).message.splitlines()
        except RelayNotThere:
            said = [*_by_files(session)]
    session.screen.show(*said)
    return 0


def _by_files(session: Session) -> Iterator[str]:
    """Yield what the files say where the relay doesn't run."""
    targets = read_config(session.places.find_config()).deliver
    if not targets:
        raise TimelapsedError("no target is configured", hint="write a table [relay.deliver.NAME] in timelapsed.toml")
    directory = session.places.relay_state
    ledgers = {name: Ledger(session.places.ledger(name)) for name in targets}
    try:
        with acting_as_owner(directory):
            yield from [*describe_targets(directory, ledgers, read_relay_status(directory), session.clock.now())]
    except PermissionError:
        closed = f"the relay is not running, and {directory} is for its service and root only"
        raise RelayNotThere(closed, hint=f"start it with: {relay_start_hint(session)}; or look with sudo") from None
    yield f"the relay is not running; start it with: {relay_start_hint(session)}"
