"""Keys of a scan configuration whose values leave the store for no other place."""

from __future__ import annotations

from typing import Any, Final

SECRET_KEYS: Final = frozenset({"api_token"})


def without_secrets(value: Any) -> Any:
    """Return a JSON value without its `SECRET_KEYS`, at any depth."""
    if isinstance(value, dict):
        return {key: without_secrets(item) for key, item in value.items() if key not in SECRET_KEYS}
    return [without_secrets(item) for item in value] if isinstance(value, list | tuple) else value
