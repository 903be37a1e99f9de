"""What the delivery with rclone does by itself; with rclone it is in tests/integration/relay."""

import hashlib
import json
import os
import threading
import tracemalloc
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from plantimager.timelapse.datasets.receipt import RECEIPT
from plantimager.timelapse.drivers.programs.run import ProgramExit
from plantimager.timelapse.relay.credentials import Secret
from plantimager.timelapse.relay.deliver.delivery import Shipment
from plantimager.timelapse.relay.deliver.pacing import TargetPace
from plantimager.timelapse.relay.deliver.rclone_delivery import _Copy
from plantimager.timelapse.relay.deliver.rclone_program import Rclone
from plantimager.timelapse.relay.taken_scans import TakenScan
from plantimager.timelapse.support.clock import SystemClock

SIZE = 1 << 24
AT = datetime(2026, 6, 22, tzinfo=UTC)


@pytest.fixture
def told():
    return []


@pytest.fixture
def copy(tmp_path, told):
    rclone = Rclone(Secret(Path("rclone.conf"), ""), timedelta(seconds=5), None)
    pace = TargetPace(SystemClock(), threading.Event())
    scan = TakenScan("tl_0", "tl", 0, AT, AT)
    shipment = Shipment(tmp_path, scan, {}, pace, progress=lambda *counts: told.append(counts))
    return _Copy(rclone, shipment, "lab:tl_0", {}, by_length=False)


@pytest.mark.parametrize(
    ("size", "digested", "is_beginning"),
    [(SIZE - 1, SIZE - 1, True), (0, 0, True), (SIZE - 1, 5, False), (SIZE, SIZE, False), (SIZE + 1, SIZE, False)],
)
def test_the_beginning_of_a_file_is_found_without_the_memory_for_it(tmp_path, copy, size, digested, is_beginning):
    """A raw picture or a video may be larger than what the rig has; the whole file is no beginning."""
    content = os.urandom(SIZE)
    (tmp_path / "a.raw").write_bytes(content)
    digest = hashlib.sha256(content[:digested]).hexdigest()
    tracemalloc.start()
    try:
        assert copy._is_beginning("a.raw", size, digest) is is_beginning
        assert tracemalloc.get_traced_memory()[1] < SIZE // 16
    finally:
        tracemalloc.stop()


def test_files_that_are_done_are_told_while_they_are_sent(monkeypatch, copy, told):
    """Those that were there already are done, too; of the receipt, which goes by itself, nothing is told."""

    def run_program(_, *, on_output, **_options):
        for checks, transfers in ((0, 0), (1, 0), (1, 1), (1, 1), (2, 2)):
            on_output([json.dumps({"msg": "", "stats": {"checks": checks, "transfers": transfers}}).encode()])
        return ProgramExit(0, stopped=False, stderr_tail=b"")

    monkeypatch.setattr("plantimager.timelapse.relay.deliver.rclone_program.run_program", run_program)
    copy._send(["a.jpg", "b.jpg", "c.jpg"])
    copy._send([RECEIPT])
    assert told == [(1, 3), (2, 3), (3, 3)]
