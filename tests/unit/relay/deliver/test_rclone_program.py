"""What rclone says becomes a sentence of ours, without anything that is secret."""

import json
import threading
from datetime import timedelta
from pathlib import Path

import pytest

from plantimager.timelapse.drivers.programs.run import ProgramExit
from plantimager.timelapse.relay.credentials import Secret
from plantimager.timelapse.relay.deliver.delivery import Unreachable
from plantimager.timelapse.relay.deliver.pacing import MANY_CUTS, TargetPace
from plantimager.timelapse.relay.deliver.rclone_program import MAX_WORDS, Rclone, RcloneRun, Remark, _Stop
from plantimager.timelapse.support.clock import SystemClock

CONFIGURATION = (
    "[lab]\ntype = webdav\nurl = https://lab.example.org\nuser = rig\npass = 0bscur3d-word\nbearer = abc-tok%n\n"
)


class Clock:
    """A monotonic clock that the test moves."""

    at = 0.0

    def monotonic(self):
        return self.at


@pytest.fixture
def rclone():
    return Rclone(Secret(Path("rclone.conf"), CONFIGURATION), timedelta(seconds=5), None)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (
            '2026/11/26 21:34:17 Failed to create file system for "lab:x": dial tcp 127.0.0.1:9: connection refused',
            "nothing answers at the address of the server; rclone: dial tcp 127.0.0.1:9: connection refused",
        ),
        (
            '{"level":"error","msg":"disk full","object":"0.jpg","objectType":"*sftp.Object"}',
            "rclone: 0.jpg: disk full",
        ),
        (
            '{"level":"error","msg":"corrupted on transfer","object":"images/timeout_1.jpg","objectType":"*s3.Object"}',
            "rclone: images/timeout_1.jpg: corrupted on transfer",
        ),
        (
            '{"msg":"write /t/receipt-1/a: no space left on device","object":"a","objectType":"*s3.Object"}',
            "this host has no room left for temporary files; rclone: a: write /t/receipt-1/a: no space left on device",
        ),
        (
            "x509: certificate: current time 2026-11-27T08:35:51Z is before 2090-01-01T00:00:00Z",
            "rclone: x509: certificate: current time 2026-11-27 is before 2090-01-01",
        ),
        ("2026/11/27 08:36:24 Fatal error: unknown flag: --combined", "rclone: Fatal error: unknown flag: --combined"),
        ("no JSON at\x1b all", "rclone: no JSON at all"),
        ('{"msg": 5}', "rclone: it ended with 0"),
        ("[1]", "rclone: [1]"),
        ("", "rclone: it ended with 0"),
    ],
)
def test_the_last_message_is_the_reason(rclone, line, reason):
    """Whatever form it has."""
    run = RcloneRun()
    run.take([line.encode()])
    assert rclone.in_words(run.reason) == reason


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (
            'Update Close failed: sftp: "write /d/a: no space left on device" (SSH_FX_FAILURE)',
            "the target has no room left",
        ),
        ('sftp: "preallocate: file too big for remaining disk space" (SSH_FX_FAILURE)', "the target has no room left"),
        (
            'Update ReadFrom failed: sftp: "Failure" (SSH_FX_FAILURE)',
            "the server gives no reason; it may have no room left",
        ),
        (
            "Method Not Allowed: 405 Method Not Allowed",
            "the server gives no reason; it may have no room left, or its url is no WebDAV server's",
        ),
        ("dial tcp: lookup lab.example.org on 127.0.0.53:53: no such host", "no address is found for the server's"),
        ("dial tcp 192.0.2.7:443: connect: network is unreachable", "the network doesn't reach the server"),
        ("dial tcp 192.0.2.7:443: connect: no route to host", "the network doesn't reach the server"),
        ("NewFs: couldn't connect SSH: ssh: handshake failed: knownhosts: key mismatch", "the server's key is not the"),
        ("couldn't connect SSH: ssh: handshake failed: ssh: unable to authenticate", "the server doesn't accept the"),
        ("read metadata failed: Unauthorized: 401 Unauthorized", "the server doesn't accept the account"),
        ("AccessDenied: Access Denied status code: 403", "the server doesn't allow this account"),
        ("0.jpg: Failed to copy: Insufficient Storage: 507 Insufficient Storage", "the target has no room left"),
        ("0.jpg: Failed to copy: write: no space left on device", "the target has no room left"),
        ("Failed to copy: googleapi: Error 403: quotaExceeded", "the target has no room left"),
        ("The user's Drive storage quota has been exceeded., storageQuotaExceeded", "the target has no room left"),
        ("Quota exceeded for quota metric 'Queries', rateLimitExceeded", "the server takes no more requests"),
        ("HTTP error 429 (429 Too Many Requests) returned", "the server takes no more requests"),
        ("dial tcp 192.0.2.7:443: i/o timeout", "the server doesn't answer in time"),
        ("context deadline exceeded", "the server doesn't answer in time"),
        ("didn't find section in config file", "rclone's configuration has no remote of this name"),
        ("error reading destination directory: directory not found", "it isn't there"),
    ],
)
def test_a_usual_trouble_is_said_in_our_words_with_those_of_rclone_behind(rclone, said, words):
    """A person at a rig knows no words of Go's libraries; whoever searches for them finds them."""
    assert rclone.in_words(Remark(said)).startswith(words)
    assert rclone.in_words(Remark(said)).endswith(f"; rclone: {said}")


@pytest.mark.parametrize(
    "said",
    [
        "Propfind https://rig:hunter2@lab.example.org/x: 401",
        "pass 0bscur3d-word refused",
        "bearer abc-tok%n",
        "Get https://s3.example.org/x?X-Amz-Signature=hunter2&X-Amz-Date=1: 403",
    ],
)
def test_no_secret_is_repeated(rclone, said):
    """Neither of the configuration nor of a URL."""
    words = rclone.in_words(Remark(said))
    assert not [secret for secret in ("hunter2", "0bscur3d-word", "abc-tok%n") if secret in words]


def test_a_message_is_bounded(rclone):
    """An answer of a server may be a page."""
    assert len(rclone.in_words(Remark("x" * 10_000))) <= MAX_WORDS + len("rclone: ")


def test_lines_that_repeat_the_same_figures_are_no_progress():
    """Figures come every second, also while a server is frozen."""
    run = RcloneRun()
    figures = b'{"msg":"Transferred","stats":{"bytes":5,"checks":0,"transfers":0}}'
    assert run.take([figures])
    assert not run.take([figures])
    assert run.take([figures.replace(b"5", b"6")])
    assert run.take([b"= images/0.jpg"])
    assert run.verdicts == {"images/0.jpg": "="}


@pytest.mark.parametrize(
    ("figures", "is_ended", "words"),
    [
        ({"bytes": 1}, True, "too little progress in 150 s"),
        ({"bytes": 200_000}, False, ""),
        ({"checks": 1}, False, ""),
        ({}, True, "no progress for 100 s"),
    ],
)
def test_a_run_has_the_time_that_its_bytes_and_files_may_take(figures, is_ended, words):
    """One byte a minute is progress each time, and never an end."""
    clock, run = Clock(), RcloneRun()
    stop = _Stop(TargetPace(clock, threading.Event()), 100.0, 1000.0, run)
    for _ in range(3):
        clock.at += 50.0
        if figures:
            run.take([json.dumps({"msg": "", "stats": figures}).encode()])
            stop.renew()
    assert (stop.is_due(), stop.progress) == (is_ended, words)


@pytest.mark.parametrize("program", ["drip", "silent"])
def test_an_rclone_that_never_ends_is_ended(tmp_path, monkeypatch, program):
    """By a program that says its figures as rclone does."""
    script = tmp_path / "rclone"
    line = '{\\"msg\\": \\"\\", \\"stats\\": {\\"bytes\\": $n}}'
    said = f'n=$((n+1)); echo "{line}"; ' if program == "drip" else ""
    script.write_text(f"#!/bin/sh\nwhile :; do {said}sleep 0.05; done\n")
    script.chmod(0o755)
    monkeypatch.setattr("plantimager.timelapse.drivers.programs.environment.SEARCH_PATH", f"{tmp_path}:/bin:/usr/bin")
    rclone = Rclone(Secret(tmp_path, "[a]"), timedelta(seconds=0.3), None)
    with pytest.raises(Unreachable, match=r"rclone made (too little|no) progress"):
        rclone.run(TargetPace(SystemClock(), threading.Event()), "copy", names=[])


@pytest.mark.parametrize(
    ("command", "figures", "is_told"),
    [
        ("copy", {"transfers": 2, "checks": 5}, False),
        ("copy", {"transfers": 0, "checks": 5, "bytes": 9}, True),
        ("check", {"transfers": 2, "checks": 5}, True),
    ],
)
def test_a_copy_that_scans_cut_off_is_told_only_where_it_brings_no_whole_file(
    monkeypatch, rclone, command, figures, is_told
):
    """What it brought is there after the next scan; a comparison begins anew."""
    runs, told, scans = [], [], []

    def run_program(_, *, should_stop, on_output, **_options):
        on_output([json.dumps({"msg": "", "stats": figures}).encode()])
        scans.extend([True] * (len(runs) < MANY_CUTS))
        runs.append(should_stop())
        scans.clear()
        return ProgramExit(0, runs[-1], b"")

    monkeypatch.setattr("plantimager.timelapse.relay.deliver.rclone_program.run_program", run_program)
    pace = TargetPace(SystemClock(), threading.Event(), is_scanning=lambda: bool(scans), report=told.append)
    rclone.run(pace, command, names=["a.jpg"])
    assert (len(runs), bool(told)) == (MANY_CUTS + 1, is_told)


def test_without_the_program_its_package_is_named(rclone, monkeypatch):
    """It is found again at the next try, once it is installed."""
    monkeypatch.setattr("plantimager.timelapse.drivers.programs.environment.SEARCH_PATH", "/nonexistent")
    pace = TargetPace(SystemClock(), threading.Event())
    with pytest.raises(Unreachable, match="rclone is not there; apt install rclone"):
        rclone.run(pace, "check", names=[])


def test_no_secret_of_a_configuration_that_was_replaced_is_repeated(tmp_path):
    """Neither that of before nor the present one, which rclone reads; it writes a new token into the file itself."""
    path = tmp_path / "rclone.conf"
    path.write_text("[lab]\npass = first-secret\n")
    rclone = Rclone(Secret(path, path.read_text()), timedelta(seconds=5), None)
    for secret in ("second-secret", "third-secret"):
        path.write_text(f"[lab]\npass = {secret}\n")
        words = rclone.in_words(Remark("first-secret, second-secret and third-secret are refused"))
        assert secret not in words
    assert "secret" not in words
    path.unlink()
    assert "secret" not in rclone.in_words(Remark("third-secret is refused"))


def test_of_tokens_that_are_renewed_the_last_ones_are_kept(tmp_path):
    """A cloud's are renewed each hour, for months; what isn't renewed is kept with those of the start."""
    path = tmp_path / "rclone.conf"
    path.write_text("[lab]\npass = first-secret\n")
    rclone = Rclone(Secret(path, path.read_text()), timedelta(seconds=5), None)
    for number in range(100, 200):
        path.write_text(f"[lab]\ntoken = {number}-token\n")
        rclone.in_words(Remark(""))
        rclone.in_words(Remark(""))
    words = rclone.in_words(Remark("100-token first-secret 192-token 199-token"))
    assert "first-secret" not in words
    assert [number for number in (100, 192, 199) if f"{number}-token" in words] == [100]
