"""What a message says to do is what the catalogs say."""

import re

from tree import SYSTEMD

from plantimager.timelapse.relay.notify.advice import ADVICE, CLOCK_ADVICE, STORE_ADVICE
from plantimager.timelapse.settings.relay_config import NotifyEvent


def test_every_event_has_its_advice_out_of_a_catalog():
    """A phone and `journalctl -x` never contradict each other; a message shows no more than what fits a phone."""
    catalogs = [SYSTEMD / f"plant-imager-{name}.catalog" for name in ("timelapsed", "timelapse-relay")]
    texts = re.findall(r"What to do: (.*?)(?=\n-- |\Z)", "\n".join(path.read_text() for path in catalogs), re.DOTALL)
    known = [" ".join(text.split()) for text in texts]
    told = {**ADVICE, "store": STORE_ADVICE, "clock": CLOCK_ADVICE}
    assert [kind for kind, advice in told.items() if not any(text.startswith(advice) for text in known)] == []
    assert {*ADVICE} >= {*NotifyEvent}
    assert max(map(len, told.values())) < 250
