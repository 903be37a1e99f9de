"""Text that came from anybody, made fit for a terminal, a journal line or systemd."""

from __future__ import annotations


def one_line(text: str) -> str:
    """Return ``text`` on one line, with nothing in it that a terminal or systemd obeys: it may be anybody's words."""
    return " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())


def printable(text: str) -> str:
    """Return ``text`` with nothing in it but line breaks that a terminal obeys."""
    return "".join(sign if sign.isprintable() or sign == "\n" else " " for sign in text)
