"""What the daemon keeps in the store besides the timelapse: its own past."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct
from msgspec.structs import replace

from plantimager.timelapse.domain.schedule import format_instant

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MOST_OUTAGES: Final = 1000
"""Spans without the daemon that a store remembers; the oldest go first."""


class Logbook(Struct, frozen=True):
    """When the store was written, by which boot of the machine, and when nobody was there to write it."""

    saved_at: datetime | None = None
    """The last write; the clock can't be right when it is earlier."""
    definition_digest: str | None = None
    boot_id: str | None = None
    boots: int = 0
    """How many boots of the machine this timelapse has seen."""
    outages: tuple[tuple[datetime, datetime], ...] = ()
    """From the last sign of life before, to the first after, for each time the daemon was not there."""

    def came_back(self, at: datetime, boot_id: str) -> Logbook:
        """Return the log with the time since the last write entered as an outage."""
        outages = self.outages
        if self.saved_at is not None and at > self.saved_at:
            outages = (*outages, (self.saved_at, at))[-MOST_OUTAGES:]
        return replace(self, boot_id=boot_id, boots=self.boots + (boot_id != self.boot_id), outages=outages)

    @classmethod
    def read(cls, raw: Mapping[str, Any]) -> Logbook:
        """Return the log that a JSON object holds; what isn't sound in it is as good as absent."""
        spans = raw.get("outages")
        return cls(
            saved_at=read_own_time(raw.get("saved_at")),
            definition_digest=read_text(raw.get("definition")),
            boot_id=read_text(raw.get("boot_id")),
            boots=read_count(raw.get("boots")) or 0,
            outages=tuple(_read_spans(spans if isinstance(spans, list) else [])),
        )

    @staticmethod
    def unsound_in(raw: Mapping[str, Any]) -> Iterator[str]:
        """Yield the keys of what `read` takes for absent though something stands there."""
        readers = {"saved_at": read_own_time, "definition": read_text, "boot_id": read_text, "boots": read_count}
        for key, read in readers.items():
            if raw.get(key) is not None and read(raw[key]) is None:
                yield key
        spans = raw.get("outages")
        if spans is not None and (not isinstance(spans, list) or len([*_read_spans(spans)]) < len(spans)):
            yield "outages"

    def as_mapping(self) -> dict[str, Any]:
        """Return the JSON object for it."""
        return {
            "saved_at": None if self.saved_at is None else format_instant(self.saved_at),
            "definition": self.definition_digest,
            "boot_id": self.boot_id,
            "boots": self.boots,
            "outages": [[format_instant(start), format_instant(end)] for start, end in self.outages],
        }


def _read_spans(spans: list[Any]) -> Iterator[tuple[datetime, datetime]]:
    for span in spans:
        if isinstance(span, list) and len(span) == 2:
            start, end = map(read_own_time, span)
            if start is not None and end is not None:
                yield start, end


# Readers of what only the daemon itself writes: a value that isn't sound is one that is not there.


def read_count(value: Any) -> int | None:
    """Return a whole number of at least 0, or ``None``."""
    return value if type(value) is int and value >= 0 else None


def read_text(value: Any) -> str | None:
    """Return a text, or ``None``."""
    return value if isinstance(value, str) else None


def read_own_time(value: Any) -> datetime | None:
    """Return an instant, which the daemon always writes with its offset, or ``None``."""
    try:
        time = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return None
    return time if time.tzinfo is not None else None
