"""Text of unknown origin, made safe for a terminal, a journal line and systemd."""

from __future__ import annotations


def one_line(text: str) -> str:
    """Return ``text`` on one line, with a space for each run of characters that a terminal or systemd would obey."""
    return " ".join(printable(text).split())


def printable(text: str) -> str:
    """Return ``text`` with a space for each character that a terminal would obey, except line breaks."""
    return "".join(char if char.isprintable() or char == "\n" else " " for char in text)
