"""``timelapsectl deliver``: what the relay has delivered to its targets, and another try for what it has not."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from plantimager.timelapse.channel.ledger import Ledger, LedgerEntry, Outcome, forget_datasets
from plantimager.timelapse.channel.lock import running_daemon
from plantimager.timelapse.channel.relay_status import describe_removed, read_relay_status, relay_status_path
from plantimager.timelapse.cli.session import Scope
from plantimager.timelapse.settings.config import read_config
from plantimager.timelapse.settings.places import RELAY
from plantimager.timelapse.support.errors import TimelapsedError
from plantimager.timelapse.support.text import format_count, one_line

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator, Mapping

    from plantimager.timelapse.cli.session import Session

MAX_SHOWN: Final = 10
"""Datasets of a target that are listed."""


def run_deliver(options: argparse.Namespace, session: Session) -> int:
    """Show the targets with their ledgers, or change those.

    Raises
    ------
    TimelapsedError
        There is no target, or no ledger has what is to be forgotten.
    OSError
        A ledger can't be read or written.

    """
    targets = read_config(session.places.find_config()).deliver
    if not targets:
        raise TimelapsedError("no target is configured", hint="write a table [relay.deliver.NAME] in timelapsed.toml")
    ledgers = {name: Ledger(session.places.ledger(name)) for name in targets}
    for ledger in ledgers.values():
        ledger.refresh()
    removed = Ledger(session.places.removed)
    removed.refresh()
    if options.retry:
        found = _forget(session, ledgers, lambda _, entry: entry.outcome is Outcome.REFUSED)
        session.screen.write(f"{format_count(found, 'refused dataset')} forgotten; all that waits is tried again")
    elif options.forget is not None:
        found = _forget(session, ledgers, partial(_is_forgotten, options.forget, removed))
        if not found:
            raise TimelapsedError(
                f"no ledger has a dataset {options.forget} that is still here, and no target with such is called so"
            )
        session.screen.write(f"{format_count(found, 'dataset')} forgotten; each is compared again")
    else:
        session.screen.write(*_target_lines(session, ledgers))
    return 0


def _is_forgotten(name: str, removed: Ledger, target: str, entry: LedgerEntry) -> bool:
    """Return whether an entry is to be forgotten: not where its dataset was removed here, and can't be compared."""
    return name in (target, entry.scan_id) and entry.key not in removed.entries


def _forget(session: Session, ledgers: Mapping[str, Ledger], forgotten: Callable[[str, LedgerEntry], bool]) -> int:
    """Have all ledgers forget some of their datasets; return how many entries those were."""
    at = session.clock.now().isoformat(timespec="seconds")
    return sum(len(forget_datasets(ledger, partial(forgotten, name), at)) for name, ledger in ledgers.items())


def _target_lines(session: Session, ledgers: Mapping[str, Ledger]) -> Iterator[str]:
    directory = session.places.relay_state
    status = read_relay_status(directory)
    known = {target.name: target for target in status.targets} if status is not None else {}
    for name, ledger in ledgers.items():
        delivered = [entry for entry in ledger.entries.values() if entry.outcome is Outcome.DELIVERED]
        size = f", {sum(entry.size for entry in delivered) / 1e9:.2f} GB" if delivered else ""
        told = known[name].describe(session.clock.now()) if name in known else f"{len(delivered)} delivered ({name})"
        yield f"{told}{size}"
        others = [entry for entry in ledger.entries.values() if entry.outcome is not Outcome.DELIVERED]
        for entry in others[:MAX_SHOWN]:
            yield f"  {one_line(f'{entry.outcome.value}: {entry.scan_id} {entry.why}')}"
        if len(others) > MAX_SHOWN:
            yield f"  and {len(others) - MAX_SHOWN} more"
    yield from describe_removed(directory)
    if running_daemon(relay_status_path(directory)) is None:
        yield f"the relay is not running; start it with: {start_hint(session)}"


def start_hint(session: Session) -> str:
    """Return the command that starts the relay."""
    user, rig = "--user " * (session.scope is Scope.USER), session.places.rig
    return f"systemctl {user}start {RELAY}{f'@{rig}' if rig else ''}"
