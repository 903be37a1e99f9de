"""What `timelapsectl rig` shows."""

import io
from types import SimpleNamespace

from plantimager.timelapse.cli.rig import _show_parts
from plantimager.timelapse.cli.terminal import Screen
from plantimager.timelapse.support.errors import EXIT_FAILED


def test_what_a_part_says_fits_a_narrow_screen():
    """A fault is a sentence, and a phone has 40 columns."""
    stream = io.StringIO()
    parts = [{"name": "gantry", "answers": False, "says": "/dev/no-such-port: no such file or directory"}]
    session = SimpleNamespace(screen=Screen(stream, colour=True, columns=40))
    assert _show_parts(parts, session, as_json=False) == EXIT_FAILED
    lines = stream.getvalue().replace("\x1b[31m", "").replace("\x1b[0m", "").splitlines()
    assert len(lines) > 1
    assert max(map(len, lines)) <= 40
