"""Secrets in a scan configuration or a store: values that leave the store for no other place."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

STORE_ONLY: Final = r"api_token"
"""The key of the store's own secret, which no driver is given."""

SECRETS: Final = r"(?i)(.*[_-])?(token|api_?-?key|passw(or)?d|passphrase|secret|credentials?)"
"""Keys whose values stay out of datasets. A driver is given them: a camera on the network may have a password."""

MIN_SECRET_LENGTH: Final = 4
"""Characters of a secret that is searched for in texts: a shorter one is part of many words."""


def without_secrets(value: Any, keys: str = SECRETS) -> Any:
    """Return a JSON value without what has one of the ``keys``, a pattern, at any depth."""
    if isinstance(value, dict):
        return {key: without_secrets(item, keys) for key, item in value.items() if not re.fullmatch(keys, str(key))}
    return [without_secrets(item, keys) for item in value] if isinstance(value, list | tuple) else value


def secrets_in(value: Any, *, is_secret: bool = False) -> Iterator[str]:
    """Yield the texts in a JSON value that `without_secrets` leaves out."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from secrets_in(item, is_secret=is_secret or re.fullmatch(SECRETS, str(key)) is not None)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from secrets_in(item, is_secret=is_secret)
    elif is_secret and isinstance(value, str) and len(value) >= MIN_SECRET_LENGTH:
        yield value
