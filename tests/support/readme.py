"""What README shows, for the tests that run it."""

from __future__ import annotations

import re
from typing import Final

from tree import TREE

CAMERA: Final = """\
#!/bin/sh
while [ $# -gt 1 ]; do [ "$1" != --output ] || picture=$2; shift; done
echo picture >"$picture"
"""
"""A stand-in for ``rpicam-still``: it writes the file that ``--output`` names."""


def blocks(language: str, section: str = "") -> list[str]:
    """Return the code blocks in one language, of the whole README or of a section."""
    text = (TREE / "README.md").read_text()
    if section:
        text = text.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
