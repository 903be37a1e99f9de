"""Secrets in a scan configuration or a store: values that leave the store for no other place."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_SECRET_KEY: Final = re.compile(
    r"(?:.*[_-])?(?:token|password|passwd|passphrase|secret|api_?-?key|credentials?)", re.IGNORECASE
)
MIN_SECRET_LENGTH: Final = 4
"""Characters of a secret that is searched for in texts: a shorter one is part of many words."""


def without_secrets(value: Any) -> Any:
    """Return a JSON value without the keys whose names say that their values are secret, at any depth."""
    if isinstance(value, dict):
        return {key: without_secrets(item) for key, item in value.items() if not _is_secret(key)}
    return [without_secrets(item) for item in value] if isinstance(value, list | tuple) else value


def secrets_in(value: Any, *, is_secret: bool = False) -> Iterator[str]:
    """Yield the texts in a JSON value that `without_secrets` leaves out."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from secrets_in(item, is_secret=is_secret or _is_secret(key))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from secrets_in(item, is_secret=is_secret)
    elif is_secret and isinstance(value, str) and len(value) >= MIN_SECRET_LENGTH:
        yield value


def _is_secret(key: Any) -> bool:
    return isinstance(key, str) and _SECRET_KEY.fullmatch(key) is not None
