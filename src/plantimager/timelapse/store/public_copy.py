"""The copy of a store for people who may look at the timelapse, and not into the file: it may hold an ``api_token``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import Struct
from msgspec.structs import replace

from plantimager.timelapse.scan.secrets import secrets_in
from plantimager.timelapse.store.stored_timelapse import KeptParts
from plantimager.timelapse.support.chunked_map import ChunkedMap

if TYPE_CHECKING:
    from collections.abc import Sequence

    from plantimager.timelapse.domain.records import SlotRecord
    from plantimager.timelapse.store.stored_timelapse import StoredTimelapse


def secrets_of(stored: StoredTimelapse) -> tuple[str, ...]:
    """Return the secrets of a store, the longest first."""
    return tuple(sorted({*secrets_in(stored.kept.extra)}, key=len, reverse=True))


def redacted(value: Any, secrets: Sequence[str]) -> Any:
    """Return a JSON value, or a Struct, whose texts have ``[secret]`` where they repeat one."""
    if isinstance(value, str):
        for secret in secrets:
            value = value.replace(secret, "[secret]")
        return value
    if isinstance(value, dict):
        return {key: redacted(item, secrets) for key, item in value.items()}
    if isinstance(value, Struct):
        return replace(value, **{name: redacted(getattr(value, name), secrets) for name in value.__struct_fields__})
    return [redacted(item, secrets) for item in value] if isinstance(value, list | tuple) else value


def public_copy(stored: StoredTimelapse) -> StoredTimelapse:
    """Return the timelapse and its logbook without what others keep in the file, and without secrets in its texts."""
    secrets, timelapse = secrets_of(stored), stored.timelapse
    changed: dict[int, SlotRecord] = {}
    for slot, record in timelapse.records.items():
        if record.error or record.last_error or record.unknown_keys:
            error, last_error = redacted(record.error, secrets), redacted(record.last_error, secrets)
            changed[slot] = replace(record, error=error, last_error=last_error, unknown_keys={})
    ending, pause = redacted(timelapse.ending, secrets), redacted(timelapse.last_pause, secrets)
    records = ChunkedMap(timelapse.records).evolved(changed)
    timelapse = replace(timelapse, records=records, ending=ending, last_pause=pause)
    return replace(stored, timelapse=timelapse, kept=KeptParts())
