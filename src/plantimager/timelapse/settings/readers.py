"""Readers of keys that several tables of ``timelapsed.toml`` have."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from plantimager.timelapse.domain.durations import parse_duration
from plantimager.timelapse.support.faults import SecretRefused, text

if TYPE_CHECKING:
    from datetime import timedelta


def absolute_path(value: object) -> Path:
    """Return an absolute path: its meaning depends neither on a user nor on a current directory."""
    path = text(value)
    if path.startswith("~"):
        raise ValueError("~ is not expanded, since the service has a user of its own; write the path from / on")
    if not path.startswith("/") or "\0" in path:
        raise ValueError("write an absolute path, such as /srv/scans")
    return Path(path)


def path_of_secret(value: object) -> Path:
    """Return the absolute path of a file with a secret. A fault doesn't repeat what may be the secret itself."""
    try:
        return absolute_path(value)
    except ValueError as refusal:
        raise SecretRefused(str(refusal)) from None


def positive_duration(value: object) -> timedelta:
    """Return a duration that isn't zero."""
    duration = parse_duration(value)
    if not duration:
        raise ValueError("must be longer than 0 s")
    return duration


def server_url(value: object) -> str:
    """Return the URL of a server."""
    url = text(value)
    try:
        is_sound = urlsplit(url).port != 0
    except ValueError:  # its port is no number, or a bracket of its address is missing
        is_sound = False
    if not is_sound or not re.fullmatch(r"https?://[^/\s]+(/\S*)?", url):
        raise ValueError("write http:// or https:// and the server's name, and a port as :5000")
    return url
