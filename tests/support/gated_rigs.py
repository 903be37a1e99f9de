"""Rigs whose scans last until a test ends them, for updates that must not come in mid-scan."""

from __future__ import annotations

import zipfile
from typing import IO, TYPE_CHECKING

from timelapse_service import TimelapseService

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from container import Rig

TAKE_SCAN = """\
#!/bin/sh
[ "$ATTEMPT" -gt "$2" ] || exit 1
while [ ! -e "/etc/end-of-scan-$1" ]; do sleep 0.2; done
echo picture > 1.jpg
"""

CONFIGURATION = """\
driver = "command"
clock = "trust"
stall_timeout = "1h"

[drivers.command]
argv = ["take-scan", "{name}", "{failures}"]
"""

OF_DAEMON = "plantimager/timelapse/daemon/main.py"
NOT_READY = """
import os, sys
if "--version" not in sys.argv and ({condition}):
    sys.exit("this version starts nowhere")
"""


class GatedRig(TimelapseService):
    """The service of a rig that takes its first slot until `end_scan`; the others are hours away.

    Attempts of it fail before, as many as ``failures``.
    """

    def __init__(self, rig: Rig, name: str, failures: int = 0) -> None:
        super().__init__(rig, name)
        self._failures = failures

    def scan(self) -> None:
        """Write the configuration of a rig whose scan begins when its service starts."""
        self.rig.write("/usr/local/bin/take-scan", TAKE_SCAN, mode=0o755)
        self.configure(CONFIGURATION.format(name=self.name, failures=self._failures))
        self.define(self.name, interval="5h", grace=3600, retries=self._failures)

    def wait_for_scan(self) -> None:
        """Return when the scan is being taken."""
        self.rig.wait_until(self._is_scanning, what=f"{self.name} is scanning")

    def _is_scanning(self) -> bool:
        is_last = self.records().get(0, {}).get("attempt") == self._failures + 1
        return is_last and self.facts()["scanning"] is not None

    def end_scan(self) -> None:
        """Let the scan that is being taken come to its end."""
        self.rig.write(f"/etc/end-of-scan-{self.name}", "")

    @property
    def pid(self) -> str:
        """The daemon's process; it changes with each start."""
        return self.show("MainPID")

    def is_whole(self) -> bool:
        """Whether the first slot was taken in the first attempt that could succeed, which nothing interrupted."""
        record = self.records().get(0, {})
        seen = (record.get("status"), record.get("attempt"), record.get("interruptions"))
        return seen == ("succeeded", self._failures + 1, 0)


def start_scanning(rig: Rig, *names: str, again: str = "") -> list[GatedRig]:
    """Return rigs of which each is taking a scan, one ``again``; the machine is on, and timelapsed installed."""
    rigs = [GatedRig(rig, name, failures=int(name == again)) for name in names]
    for each in rigs:
        each.scan()
        each.systemctl("enable")
        each.systemctl("start")
    for each in rigs:
        each.wait_for_scan()
    return rigs


def assert_update_interrupts_no_scan(machine: Rig, rigs: Sequence[GatedRig], *update: str) -> None:
    """Run a command that updates; assert that it restarts each rig only when its scan has ended."""
    before = [each.pid for each in rigs]
    with machine.running(*update) as process:
        for number, each in enumerate(rigs):
            seen = read_until(process.stdout, "a scan of slot 0 is being taken")
            assert f"{each.unit}: waiting for a gap between scans" in seen
            assert [other.pid for other in rigs[number:]] == before[number:]
            each.end_scan()
        rest = process.stdout.read()
        assert process.wait() == 0, rest
    assert [each.pid for each in rigs if each.pid in {*before, "0"}] == []
    assert [each.name for each in rigs if not each.is_whole()] == []


def read_until(stream: IO[str] | None, words: str) -> str:
    """Return the lines of a stream up to the first one with ``words``; `AssertionError` where there is none."""
    seen = ""
    assert stream is not None
    for line in stream:
        seen += line
        if words in line:
            return seen
    raise AssertionError(f"never said: {words}\n{seen}")


def rewrite_daemon(wheel: Path, change: Callable[[str], str]) -> None:
    """Make another version of our wheel, by a change of the module that the daemon starts from."""
    with zipfile.ZipFile(wheel) as old:
        content = {name: old.read(name) for name in old.namelist()}
    content[OF_DAEMON] = change(content[OF_DAEMON].decode()).encode()
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as new:
        for name, data in content.items():
            new.writestr(name, data)


def newer(source: str) -> str:
    """Return the daemon of a version that differs in nothing that it does."""
    return f"{source}\n# newer\n"


def broken(condition: str = "True") -> Callable[[str], str]:
    """Return a change to a daemon that ends before it is ready, where ``condition`` holds."""
    return lambda source: source.replace("\nimport gc\n", f"\nimport gc\n{NOT_READY.format(condition=condition)}", 1)
