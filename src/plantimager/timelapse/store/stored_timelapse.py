"""A timelapse with everything else that its file holds, as one frozen value, and the text of the file."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct
from msgspec.structs import replace

from plantimager.timelapse.domain.records import MAX_REPEATED_TEXT_BYTES, SlotRecord, storable_text
from plantimager.timelapse.store.conversion import details_of, frame_of, own_of, scans_of
from plantimager.timelapse.store.raw_text import NO_DIGEST, seal
from plantimager.timelapse.store.schema import CONFIG_SNAPSHOT, DIGEST_KEY, OWN_KEY, STORE_VERSION, Logbook
from plantimager.timelapse.support.chunked_map import ChunkedMap
from plantimager.timelapse.support.json_text import dumps, is_exact

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from plantimager.timelapse.domain.timelapse import TimeLapse

_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})


class KeptParts(Struct, frozen=True):
    """The keys and scans of others in a file: all that is neither timelapse nor logbook, written back as it is."""

    version: int = STORE_VERSION
    unknown_keys: Mapping[str, Any] = _NOTHING
    """At the top level."""
    extra: Mapping[str, Any] = _NOTHING
    """All of ``extra`` but what is ours; may hold an ``api_token``."""
    own_unknown_keys: Mapping[str, Any] = _NOTHING
    """In what is ours."""
    details_unknown_keys: Mapping[str, Mapping[str, Any]] = _NOTHING
    """In the details of slots, by slot."""
    scans: Sequence[Mapping[str, Any]] = ()
    """Scans that belong to no slot."""

    def __repr__(self) -> str:
        """Return a text that may be logged: the values may hold secrets."""
        return f"KeptParts(version={self.version})"


class StoredTimelapse(Struct, frozen=True):
    """A timelapse, the daemon's logbook, and what others keep in the same file."""

    timelapse: TimeLapse
    logbook: Logbook
    kept: KeptParts = KeptParts()
    notes: tuple[str, ...] = ()
    """What a person should know of how another controller's file was read."""
    exact: bool = True
    """Whether orjson writes what others wrote as it is; what we write it always does."""

    def evolved(self, timelapse: TimeLapse, logbook: Logbook) -> StoredTimelapse:
        """Return the next value."""
        return replace(self, timelapse=timelapse, logbook=logbook)

    @property
    def configuration(self) -> Mapping[str, Any] | None:
        """The scan configuration that the file itself holds."""
        snapshot = self.kept.extra.get(CONFIG_SNAPSHOT)
        return snapshot if isinstance(snapshot, dict) and snapshot else None

    def with_configuration(self, configuration: Mapping[str, Any]) -> StoredTimelapse:
        """Return the value with a scan configuration where it had none: the store alone must be enough to resume."""
        return self if self.configuration is not None or not configuration else self.reconfigured(configuration)

    def reconfigured(self, configuration: Mapping[str, Any]) -> StoredTimelapse:
        """Return the value with another scan configuration."""
        extra = {**self.kept.extra, CONFIG_SNAPSHOT: dict(configuration)}
        return replace(self, kept=replace(self.kept, extra=extra), exact=self.exact and is_exact(extra))

    # --- text -------------------------------------------------------------------------------------

    def encode(self) -> bytes:
        """Return the text of the file; `writing.StoreWriter` gives the same for a tenth of the time."""
        records = [self.timelapse.records[slot] for slot in sorted(self.timelapse.records)]
        document = self.document(
            digest=NO_DIGEST,
            slots=self.details_of(records),
            scans=[*scans_of(records), *self.kept.scans],
            schedule_times=self.timelapse.schedule_times,
        )
        return seal(dumps(document, exact=self.exact))

    def document(self, *, digest: Any, slots: Any, scans: Any, schedule_times: Any) -> dict[str, Any]:
        """Return what the file holds, given its digest and the long values in it."""
        own = {**self.kept.own_unknown_keys, **own_of(self.timelapse, self.logbook), DIGEST_KEY: digest, "slots": slots}
        return {
            **self.kept.unknown_keys,
            "version": self.kept.version,
            **frame_of(self.timelapse),
            "schedule_times": schedule_times,
            "scans": scans,
            "extra": {**self.kept.extra, OWN_KEY: own},
        }

    def details_of(self, records: Sequence[SlotRecord]) -> dict[str, dict[str, Any]]:
        """Return the details of slots that have any."""
        details = details_of(records, self.timelapse.id, self.timelapse.n_slots)
        unknown_keys = self.kept.details_unknown_keys
        for slot in [str(record.slot) for record in records] if unknown_keys else ():
            if slot in unknown_keys:
                details[slot] = {**details.get(slot, {}), **unknown_keys[slot]}
        return details


def new_stored_timelapse(timelapse: TimeLapse, configuration: Mapping[str, Any], digest: str | None) -> StoredTimelapse:
    """Return the value of a timelapse that was just defined, with its scan configuration and definition's digest."""
    stored = StoredTimelapse(timelapse, Logbook(definition_digest=digest))
    return stored.with_configuration(configuration)


# --- a store that would be too large ----------------------------------------------------------------

SPARE_SHARE: Final = 10
"""A tenth of the limit is freed as well: not every save is to shorten more."""


def shorten_records(stored: StoredTimelapse, size: int, limit: int) -> tuple[StoredTimelapse, int, int]:
    """Return a store whose text has ``size`` bytes, cut short to come below ``limit``, and how many slots that took.

    The errors of the oldest slots are cut, and where all errors are not enough, the oldest slots lose the keys of other
    controllers: the two numbers. Status, times, attempts and pictures of every slot are kept.
    """
    timelapse, spare = stored.timelapse, limit // SPARE_SHARE
    records = ChunkedMap(timelapse.records)
    cut, excess = _free(records, _with_short_error, size - limit + spare)
    records = records.evolved(cut)
    dropped, _ = _free(records, _without_unknown_keys, excess) if excess > spare else ({}, excess)
    changed = replace(timelapse, records=records.evolved(dropped))
    return replace(stored, timelapse=changed), len(cut), len(dropped)


def _free(
    records: Mapping[int, SlotRecord], change: Callable[[SlotRecord], SlotRecord], excess: int
) -> tuple[dict[int, SlotRecord], int]:
    """Return the oldest final records as ``change`` makes them smaller, and what is left of ``excess`` bytes."""
    changes: dict[int, SlotRecord] = {}
    for slot in sorted(records):
        if excess <= 0:
            break
        record = records[slot]
        freed = _size(record) - _size(smaller := change(record)) if record.status.is_final else 0
        if freed > 0:
            changes[slot] = smaller
            excess -= freed
    return changes, excess


def _with_short_error(record: SlotRecord) -> SlotRecord:
    return replace(record, error=_shortened_error(record), last_error=_short(record.last_error))


def _without_unknown_keys(record: SlotRecord) -> SlotRecord:
    return replace(record, unknown_keys={})


def _shortened_error(record: SlotRecord) -> Any:
    if not isinstance(record.error, dict):
        return record.error and {"type": "error", "msg": _short(record.error_text)}
    kept = {key: value for key, value in record.error.items() if isinstance(value, int | float)}
    kind = record.error.get("type")
    return {**kept, "type": _short(kind if isinstance(kind, str) else "error"), "msg": _short(record.error_text)}


def _short(text: str | None) -> str | None:
    return text and storable_text(text, MAX_REPEATED_TEXT_BYTES)


def _size(record: SlotRecord) -> int:
    return len(dumps([record.error, record.last_error, dict(record.unknown_keys)]))
