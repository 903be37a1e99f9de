"""The logbook: what the daemon notes of its own past beside the timelapse.

It is a part of the file's schema (`schema.Own` takes over its fields): a field that is added here is persisted.
"""

# Annotations are values here, not texts: msgspec would have to compile each at every start.

from typing import Final, Self

from msgspec import Struct, field
from msgspec.structs import replace

from plantimager.timelapse.domain.absence import NO_ABSENCE, Absence
from plantimager.timelapse.store.field_types import Count, Instant

MAX_OUTAGES: Final = 1000
"""Outages that a store remembers; the oldest are dropped first."""


class Logbook(Struct, frozen=True):
    """The last write of the store, the boots of the machine, and the times in which no daemon ran."""

    saved_at: Instant | None = None
    """The last write; a clock that shows an earlier time can't be right."""
    definition_digest: str | None = field(default=None, name="definition")
    boot_id: str | None = None
    boots: Count = 0
    """Boots of the machine that this timelapse has seen."""
    outages: tuple[tuple[Instant, Instant], ...] = ()
    """The times in which no daemon ran."""
    uncertain: tuple[tuple[Instant, Instant], ...] = ()
    """The times of which nobody knows whether a daemon ran."""
    datasets_disk: dict[str, str] = field(default_factory=dict)
    """The marks of the file system that datasets are put on, and its ``path``; empty where it is the store's own."""

    def came_back(self, boot_id: str, absence: Absence = NO_ABSENCE) -> Self:
        """Return the log of a daemon that is there again after an ``absence``."""
        return replace(
            self,
            boot_id=boot_id,
            boots=self.boots + (boot_id != self.boot_id),
            outages=(*self.outages, *absence.outage)[-MAX_OUTAGES:],
            uncertain=(*self.uncertain, *absence.uncertain)[-MAX_OUTAGES:],
        )
