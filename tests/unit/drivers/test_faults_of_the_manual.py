"""The table of faults in timelapsed(8): each message is one that the drivers have."""

import re

from tree import MANUALS, TREE

PAGE = MANUALS / "timelapsed.8"


def messages():
    """Return the messages of the table."""
    (table,) = re.findall(
        r"^\.SH FAULTS OF GANTRY AND SWITCHES$(.*?)^\.SH ", PAGE.read_text(), re.DOTALL | re.MULTILINE
    )
    return [message.replace(r"\(aq", "'") for message in re.findall(r'^\.B "(.*)"$', table, re.MULTILINE)]


def test_every_message_of_the_table_is_one_of_the_drivers():
    """A person looks up what was read in the journal."""
    drivers = TREE / "src" / "plantimager" / "timelapse" / "drivers"
    text = "".join(path.read_text(encoding="utf-8") for path in sorted(drivers.rglob("*.py")))
    joined = re.sub(r'"\s+f?"', "", text)  # sentences that go on in the next line
    assert len(messages()) > 15
    assert [message for message in messages() if message not in joined] == []
