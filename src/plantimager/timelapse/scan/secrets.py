"""Secrets in a scan configuration or a store: values that leave the store for no other place."""

from __future__ import annotations

import re
from typing import Any, Final

_SECRET_KEY: Final = re.compile(
    r"(?:.*[_-])?(?:token|password|passwd|passphrase|secret|api_?-?key|credentials?)", re.IGNORECASE
)

_STORES_KEY: Final = re.compile("api_token")
"""The key of the store's own secret. A driver is given all others: a camera on the network may have a password."""


def without_secrets(value: Any, *, for_driver: bool = False) -> Any:
    """Return a JSON value without the keys whose names say that their values are secret, at any depth."""
    if isinstance(value, dict):
        pattern = _STORES_KEY if for_driver else _SECRET_KEY
        names = {key for key in value if isinstance(key, str) and pattern.fullmatch(key)}
        return {key: without_secrets(item, for_driver=for_driver) for key, item in value.items() if key not in names}
    if isinstance(value, list | tuple):
        return [without_secrets(item, for_driver=for_driver) for item in value]
    return value
