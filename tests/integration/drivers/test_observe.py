"""What a program that observes something may print, and what becomes of it."""

from __future__ import annotations

import errno
import json
import os
import subprocess
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from waiting import wait_until

from plantimager.timelapse.datasets.attempt import begin_attempt, find_finished
from plantimager.timelapse.datasets.plantdb_layout import PlantDbLayout
from plantimager.timelapse.drivers.programs import observe
from plantimager.timelapse.drivers.programs.observe import MAX_BYTES, MAX_JSON_DEPTH, ObserveProgram, read_observed
from plantimager.timelapse.drivers.programs.processes import read_process
from plantimager.timelapse.drivers.testing import make_request
from plantimager.timelapse.scan.cameras import Camera
from plantimager.timelapse.scan.pose import Pose
from plantimager.timelapse.scan.request import ScanResult
from plantimager.timelapse.support.json_text import dumps, loads


@pytest.fixture
def observing(tmp_path):
    """Return a function that takes a scan beside a program; it returns the result, receipt and metadata."""

    def take(source, timeout=60, meanwhile=lambda: None):
        program = tmp_path / "observe"
        program.write_text(f"#!/bin/sh\n{source}\n")
        program.chmod(0o755)
        (tmp_path / "scans").mkdir(exist_ok=True)
        observe = ObserveProgram([str(program)], timedelta(seconds=timeout))
        request = make_request(tmp_path / "scans", index=7, attempt=2, observe=observe)
        with begin_attempt(request) as attempt:
            layout = PlantDbLayout(attempt.directory, request)
            layout.add(Camera(name="top"), 0, Pose(), b"a picture")
            layout.complete()
            meanwhile()
            result = attempt.finish(ScanResult(pictures=1, note="a bit dark"))
        assert find_finished(request) == result
        files = ("timelapsed.json", "metadata/metadata.json")
        receipt, metadata = (json.loads((request.dataset_dir / name).read_text()) for name in files)
        return result, receipt.get("observed"), metadata["timelapsed"].get("observed")

    return take


def test_object_goes_into_the_metadata_of_the_dataset(observing):
    """And into its receipt, for drivers whose programs write files of their own; the slot is in the environment."""
    seen = {"scan": "col0_7", "slot": 7, "attempt": 2, "°C": [21.5, None]}
    source = """printf '{"scan": "%s", "slot": %s, "attempt": %s,\\n "°C": [21.5, null]}\\n' $SCAN_ID $SLOT $ATTEMPT"""
    assert observing(source) == (ScanResult(pictures=1, note="a bit dark"), seen, seen)


@pytest.mark.parametrize("size", [MAX_BYTES // 4, MAX_BYTES // 2, MAX_BYTES])
def test_one_line_may_be_as_long_as_all_of_it(observing, tmp_path, size):
    """As `json.dumps` prints it."""
    values = {"a": "x" * (size - 9)}
    (tmp_path / "values").write_text(f"{json.dumps(values)}")
    assert (tmp_path / "values").stat().st_size <= MAX_BYTES
    assert observing(f"cat {tmp_path}/values")[1] == values


def test_program_that_prints_without_end_takes_no_memory_of_the_daemon(tmp_path, monkeypatch):
    """What is more than it may print is not kept."""
    kept = []
    monkeypatch.setattr(observe, "read_observed", kept.append)
    program = tmp_path / "observe"
    program.write_text("#!/bin/sh\nyes | head -n 300000\n")
    program.chmod(0o755)
    running = ObserveProgram([str(program)], timedelta(minutes=1))(make_request(tmp_path))
    running.result(lambda _: None)
    assert [len(text) for text in kept] == [MAX_BYTES + 1]


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("echo no sensor >&2; exit 3", "exited with 3: no sensor"),
        ("kill -9 $$", "was ended by SIGKILL"),
        ("true", "printed no JSON ("),
        ("echo '[21.5]'", "printed no JSON object"),
        ("""echo '{"temperature": NaN}'""", "NaN is no number"),
        ("yes 12345", f"printed more than {MAX_BYTES // 1024} kB"),
        ("exec sleep 1000", "took longer than 0.3 s"),
        ("rm $0; exec no-such-program-anywhere", "exited with 127"),
    ],
)
def test_failure_is_a_note_and_the_scan_counts(observing, source, why):
    """No time point is lost for a thermometer."""
    result, *observed = observing(
        source if source != "yes 12345" else "yes 12345 | head -n 20000", 0.3 if "sleep" in source else 60
    )
    assert result.note.startswith("a bit dark; nothing was observed: ")
    assert why in result.note
    assert observed == [None, None]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
def test_disk_that_refuses_the_observation_leaves_the_metadata_of_the_scan_whole(observing, monkeypatch, code):
    """They are as they were without it, the note says so, and the receipt has the values."""
    write = os.writev

    def refuse(descriptor, pieces):
        if b'"observed"' in b"".join(pieces) and b'"acquisition_date"' in b"".join(pieces):
            write(descriptor, [b"{"])
            raise OSError(code, os.strerror(code))
        return write(descriptor, pieces)

    monkeypatch.setattr(os, "writev", refuse)
    result, receipt, metadata = observing("""echo '{"a": 1}'""")
    assert result.note.startswith("a bit dark; what was observed is not in metadata.json: ")
    assert (receipt, metadata) == ({"a": 1}, None)


def test_program_runs_beside_the_scan(observing, tmp_path):
    """It costs no time: here the scan goes on only when the program has begun."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    result, receipt, _ = observing(f"cat {fifo}", meanwhile=lambda: fifo.write_text('{"a": 1}'))
    assert (result.note, receipt) == ("a bit dark", {"a": 1})


def test_neither_its_leftovers_nor_what_a_driver_starts_meanwhile_are_mixed_up(observing, tmp_path):
    """A driver by others may start a program of its own in a session of its own."""
    fifo, pids, started = tmp_path / "fifo", tmp_path / "pids", []
    os.mkfifo(fifo)

    def start():
        wait_until(pids.exists, within=60)  # it runs
        started.append(subprocess.Popen(["sleep", "1000"], start_new_session=True))
        fifo.write_text('{"a": 1}')

    source = f"setsid sh -c 'echo $$ > {pids}; exec sleep 1000' >/dev/null &\ncat {fifo}\n"
    _, receipt, _ = observing(source + f"while ! [ -s {pids} ]; do sleep 0.01; done", meanwhile=start)
    try:
        assert (receipt, started[0].poll()) == ({"a": 1}, None)
        left = read_process(int(pids.read_text()))
        assert left is None or left.has_ended
    finally:
        started[0].kill()
        started[0].wait()


def test_program_of_a_scan_that_fails_is_stopped(tmp_path):
    """Nobody needs what it finds."""
    running = []

    class Noted:
        def __init__(self, request):
            running.append(request.scan_id)

        def stop(self):
            running.remove("col0_0")

    def fail():
        with begin_attempt(make_request(tmp_path, observe=Noted)):
            assert running == ["col0_0"]
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert running == []


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (b'{"a": Infinity}', "Infinity is no number"),
        (b'{"a": 1e999}', "1e999 is too large"),
        (b'{"a": ' * (MAX_JSON_DEPTH + 1) + b"1" + b"}" * (MAX_JSON_DEPTH + 1), "deeper than"),
        (b"[" * 20_000, "printed no JSON|deeper than"),
        (b'{"a": "\xff"}', "printed no JSON"),
        (b'{"a": ' + b"9" * 5000 + b"}", "printed no JSON"),
        (b'"21.5"', "no JSON object"),
        (b"x" * (MAX_BYTES + 1), "more than"),
    ],
)
def test_what_the_metadata_can_not_hold_is_refused(text, fault):
    """A program's output is not trusted."""
    with pytest.raises(ValueError, match=fault):
        read_observed(text)


@given(
    st.binary(max_size=200)
    | st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=20,
    ).map(lambda value: json.dumps(value).encode())
)
def test_any_output_is_read_or_refused(text):
    """What is read can be written into the receipt, and read again."""
    try:
        values = read_observed(text)
    except ValueError:
        return
    assert loads(dumps(values)) == values
