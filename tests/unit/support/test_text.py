"""Text of unknown origin."""

import os

from plantimager.timelapse.support.text import one_line, printable


def test_file_name_that_is_not_utf8_can_be_shown_and_written():
    """Its bytes are readable in every text that people see."""
    name = os.fsdecode(b"/srv/d\xff/\xc3\xa4")
    assert printable(name) == "/srv/d\\xff/ä"
    assert one_line(f"{name}\n\x1b[31m\ud800").encode() == "/srv/d\\xff/ä [31m".encode()
