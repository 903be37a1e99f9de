"""Secrets in a scan configuration or a store: values that leave the store for no other place."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_HIDDEN_KEY: Final = r"(?i)(?:.*[_-])?(?:token|password|passwd|passphrase|secret|api_?-?key|credentials?)"

_STORES_KEY: Final = "api_token"
"""The key of the store's own secret. A driver is given all others: a camera on the network may have a password."""

MIN_SECRET_LENGTH: Final = 4
"""Characters of a secret that is searched for in texts: a shorter one is part of many words."""


def without_secrets(value: Any, *, for_driver: bool = False) -> Any:
    """Return a JSON value without the keys whose names say that their values are secret, at any depth."""
    if isinstance(value, dict):
        pattern = _STORES_KEY if for_driver else _HIDDEN_KEY
        names = {key for key in value if isinstance(key, str) and re.fullmatch(pattern, key)}
        return {key: without_secrets(item, for_driver=for_driver) for key, item in value.items() if key not in names}
    if isinstance(value, list | tuple):
        return [without_secrets(item, for_driver=for_driver) for item in value]
    return value


def secrets_in(value: Any, *, is_secret: bool = False) -> Iterator[str]:
    """Yield the texts in a JSON value that `without_secrets` leaves out."""
    if isinstance(value, dict):
        for key, item in value.items():
            is_named = isinstance(key, str) and re.fullmatch(_HIDDEN_KEY, key) is not None
            yield from secrets_in(item, is_secret=is_secret or is_named)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from secrets_in(item, is_secret=is_secret)
    elif is_secret and isinstance(value, str) and len(value) >= MIN_SECRET_LENGTH:
        yield value
