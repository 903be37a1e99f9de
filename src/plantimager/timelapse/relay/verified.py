"""What the ledgers of all targets say of one dataset together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plantimager.timelapse.channel.ledger import Outcome

if TYPE_CHECKING:
    from collections.abc import Mapping

    from plantimager.timelapse.channel.ledger import Ledger, LedgerEntry


def entries_everywhere(ledgers: Mapping[str, Ledger], key: str) -> Mapping[str, LedgerEntry]:
    """Return what each target's ledger has of a dataset; nothing where one doesn't call it delivered."""
    entries = {name: ledger.known(key) for name, ledger in ledgers.items()}
    known = {name: entry for name, entry in entries.items() if entry and entry.outcome is Outcome.DELIVERED}
    return known if len(known) == len(entries) else {}


def objection_to_removal(entries: Mapping[str, LedgerEntry]) -> str:
    """Return why a dataset that every target has isn't removed; empty where it may be, or one hasn't it."""
    if by_length := next((name for name, entry in entries.items() if entry.by_length), ""):
        again = f"timelapsectl deliver --forget {by_length}"
        return f'{by_length} compared their length alone; write verify = "bytes", then {again}'
    if entries and all(entry.left for entry in entries.values()):
        return "no target has all of their files and metadata; one with remote = takes them"
    return "targets have different ones" if len({entry.digest for entry in entries.values()}) > 1 else ""


def digest_everywhere(ledgers: Mapping[str, Ledger], key: str) -> str:
    """Return the digest with which every target has a dataset; empty where one hasn't, or not verified."""
    entries = entries_everywhere(ledgers, key)
    return "" if not entries or objection_to_removal(entries) else next(iter(entries.values())).digest
