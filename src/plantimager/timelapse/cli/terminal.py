"""Writing for people: the same text everywhere, in colour and cut to width only where somebody looks at a terminal.

Plain code and no library: what is shown here is lines, one table and one bar, and importing a
library that can do more takes as long as reading the store and showing it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final, TextIO

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

USUAL_WIDTH: Final = 80
"""Columns where nobody says how many there are."""
WIDEST: Final = 110
"""Columns that are used of a wide terminal; the eye finds no way back from longer lines."""

_ASCII: Final = str.maketrans("■·→–…░●◐✗○▶▷│»×’", "#.>-~:oc*_>>|>x'")
"""What stands in for our signs where the terminal's encoding hasn't them: one for one, so that columns stay."""


class Style(StrEnum):
    """The few styles that are used, by their code (ECMA-48, SGR)."""

    BOLD = "1"
    DIM = "2"
    RED = "31"
    GREEN = "32"
    YELLOW = "33"
    BLUE = "34"
    MAGENTA = "35"
    CYAN = "36"
    ON_GREY = "100"


@dataclass(frozen=True, slots=True)
class Screen:
    """Where output goes, and what it may look like there."""

    stream: TextIO
    interactive: bool = False
    """Whether a person looks at a terminal."""
    colour: bool = False
    columns: int | None = None
    """How wide it is; ``None`` where lines may be of any length."""
    lines: int | None = None

    @property
    def width(self) -> int:
        """The columns to lay things out in."""
        return min(self.columns or USUAL_WIDTH, WIDEST)

    def paint(self, text: str, *styles: Style) -> str:
        """Return ``text`` in these styles, or as it is where there is no colour."""
        if not self.colour or not styles or not text:
            return text
        return f"\x1b[{';'.join(styles)}m{text}\x1b[0m"

    def encodable(self, text: str) -> str:
        """Return ``text`` with signs that the stream's encoding has."""
        encoding = self.stream.encoding or "ascii"
        try:
            text.encode(encoding)
        except UnicodeEncodeError:
            return text.translate(_ASCII).encode(encoding, "replace").decode(encoding)
        return text

    def write(self, *lines: str) -> None:
        """Write lines, at once.

        Raises
        ------
        BrokenPipeError
            Nobody reads them any more.

        """
        self.stream.write(self.encodable("".join(f"{line}\n" for line in lines)))
        self.stream.flush()


def screen_of(stream: TextIO, environment: Mapping[str, str]) -> Screen:
    """Return what is known of the terminal behind ``stream``, as it is now; see no-color.org for ``NO_COLOR``."""
    interactive = stream.isatty() and environment.get("TERM") != "dumb"
    columns = environment.get("COLUMNS", "")
    width, height = int(columns) if columns.isascii() and columns.isdigit() else 0, 0
    if stream.isatty():
        try:
            size = os.get_terminal_size(stream.fileno())
        except OSError:
            size = os.terminal_size((0, 0))
        width, height = width or size.columns or USUAL_WIDTH, size.lines
    return Screen(
        stream=stream,
        interactive=interactive,
        colour=interactive and not environment.get("NO_COLOR"),
        columns=width or None,
        lines=height or None,
    )


def fitted(text: str, columns: int | None) -> str:
    """Return as much of ``text`` as fits."""
    if columns is None or len(text) <= columns:
        return text
    return text[: max(columns - 1, 0)] + "…"


def flowing(words: Iterable[str], columns: int, gap: str = "   ") -> list[str]:
    """Return ``words`` (each kept whole) in as few lines as there can be."""
    lines: list[str] = []
    for word in words:
        if lines and len(lines[-1]) + len(gap) + len(word) <= columns:
            lines[-1] += gap + word
        else:
            lines.append(word)
    return lines
