"""Output for people: the same text everywhere, with colour and cut to width only on a terminal.

Plain code and no library: the screens are lines, one table and one bar. A library that can do more takes as long to
import as the store takes to read and show.
"""

from __future__ import annotations

import os
import re
from enum import StrEnum
from typing import TYPE_CHECKING, Final, TextIO

from msgspec import Struct

from plantimager.timelapse.support.text import printable

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
    from types import ModuleType

DEFAULT_COLUMNS: Final = 80
"""Width of an output that has none of its own."""
MIN_COLUMNS: Final = 40
"""Width from which on every line fits; on a narrower terminal it is cut off or wrapped by that."""
MAX_COLUMNS: Final = 110
"""Columns that are used of a wide terminal; longer lines are hard to read."""

_NARROW: Final = re.compile(r"[ -~\xa0-\xac\xae-\u02ff–…■·→│]*")
"""Signs of one column each, and our own among them."""
_ASCII: Final = str.maketrans("■·→–…░●◐✗○▶▷│»×’", "#.>-~:oc*_>>|>x'")
"""Replacements for signs that the terminal's encoding lacks: one for one, so that columns stay aligned."""


class Style(StrEnum):
    """The styles in use, by their code (ECMA-48, SGR)."""

    BOLD = "1"
    DIM = "2"
    RED = "31"
    GREEN = "32"
    YELLOW = "33"
    BLUE = "34"
    MAGENTA = "35"
    CYAN = "36"
    ON_GREY = "100"


_OURS: Final = f"\x1b[{int.from_bytes(os.urandom(8))}m"
"""Stands before each escape sequence of `Screen.paint` until it is written: no text from elsewhere can have it."""
_STYLES: Final = re.compile(rf"{re.escape(_OURS)}(\x1b\[[0-9;]*m)")


class Screen(Struct, frozen=True):
    """An output stream and what it can show."""

    stream: TextIO
    interactive: bool = False
    """Whether it is a terminal that can be drawn on."""
    colour: bool = False
    columns: int | None = None
    """Its width; ``None`` where lines may be of any length."""
    lines: int | None = None

    @property
    def width(self) -> int:
        """The columns for the layout."""
        return min(self.columns or DEFAULT_COLUMNS, MAX_COLUMNS)

    def paint(self, text: str, *styles: Style) -> str:
        """Return ``text`` in these styles, unchanged where there is no colour."""
        if not self.colour or not styles or not text:
            return text
        return f"{_OURS}\x1b[{';'.join(styles)}m{text}{_OURS}\x1b[0m"

    def showable(self, text: str) -> str:
        """Return ``text`` with only signs that the stream has and shows: no foreign escape sequence comes through."""
        encoding = self.stream.encoding or "ascii"
        if not text.isprintable():  # our own styles and line breaks, or what a stranger wrote
            parts = _STYLES.split(text)
            parts[::2] = map(printable, parts[::2])
            text = "".join(parts)
        try:
            text.encode(encoding)
        except UnicodeEncodeError:
            return text.translate(_ASCII).encode(encoding, "replace").decode(encoding)
        return text

    def write(self, *lines: str) -> None:
        """Write lines, at once."""
        self.stream.write(self.showable("".join(f"{line}\n" for line in lines)))
        self.stream.flush()

    def show(self, *lines: str) -> None:
        """Write lines for people, those that are wider than the screen on several."""
        self.write(*fit(lines, self.columns))


def detect_screen(stream: TextIO, environment: Mapping[str, str]) -> Screen:
    """Return the properties of the terminal behind ``stream``, as it is now; see no-color.org for ``NO_COLOR``."""
    interactive = stream.isatty() and environment.get("TERM") != "dumb"
    columns = environment.get("COLUMNS", "")
    width, height = int(columns) if re.fullmatch("[0-9]{1,5}", columns) else 0, 0
    if stream.isatty():
        try:
            size = os.get_terminal_size(stream.fileno())
        except OSError:
            size = os.terminal_size((0, 0))
        width, height = width or size.columns or DEFAULT_COLUMNS, size.lines
    return Screen(
        stream=stream,
        interactive=interactive,
        colour=interactive and not environment.get("NO_COLOR"),
        columns=width or None,
        lines=height or None,
    )


def text_width(text: str) -> int:
    """Return the columns that ``text`` takes on a terminal: wide letters and emoji take two, combining marks none."""
    # Without the library, whose tables take long to load, for nearly all texts.
    return len(text) if _NARROW.fullmatch(text) else _wcwidth().width(text)


def truncate(text: str, columns: int | None) -> str:
    """Return ``text`` cut to ``columns``, with an ellipsis where something is cut off."""
    if columns is None or text_width(text) <= columns:
        return text
    end = max(columns - 1, 0)
    return (text[:end] if _NARROW.fullmatch(text) else _wcwidth().clip(text, 0, end)) + "…"


def pad(text: str, columns: int, *, right: bool = False) -> str:
    """Return ``text`` with blanks up to ``columns``: behind it, or before it, as ``right`` aligns numbers."""
    blanks = " " * (columns - text_width(text))
    return blanks + text if right else text + blanks


def align(rows: Sequence[Sequence[str]], right: Collection[int] = ()) -> list[list[str]]:
    """Return the cells of all rows at the widths of their columns, except the last; ``right`` are those of numbers."""
    widths = [max(map(text_width, column)) for column in zip(*rows, strict=True)]
    return [[*(pad(row[n], width, right=n in right) for n, width in enumerate(widths[:-1])), row[-1]] for row in rows]


def flow(parts: Iterable[str], columns: int, gap: str = "   ") -> list[str]:
    """Return ``parts``, each kept whole, in as few lines as possible."""
    lines: list[str] = []
    for part in parts:
        if lines and text_width(lines[-1]) + len(gap) + text_width(part) <= columns:
            lines[-1] += gap + part
        else:
            lines.append(part)
    return lines


def fit(lines: Iterable[str], columns: int | None) -> Iterator[str]:
    """Yield ``lines``, painted or not, those that are wider than ``columns`` (and `MIN_COLUMNS`) on several."""
    columns = None if columns is None else max(columns, MIN_COLUMNS)
    for line in lines:
        if columns is None or len(line) <= columns // 2 or text_width(_STYLES.sub("", line)) <= columns:
            yield line
        else:
            # A style goes on behind a line break by itself.
            yield from _wcwidth().wrap(line, columns, subsequent_indent="  ", propagate_sgr=False)


def _wcwidth() -> ModuleType:
    import wcwidth  # noqa: PLC0415 - see text_width

    return wcwidth
