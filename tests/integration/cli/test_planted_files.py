"""Root looks after a rig whose service's account is hostile: nothing of others is written, read or signalled."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest
from daemon_process import PATIENCE
from hostile_host import COMMANDS, SECRET, SERVICE, STRANGER, HostileHost
from relay_rig import take_dataset
from tree import STORES

from plantimager.timelapse.channel.ledger import Ledger, LedgerEntry, Outcome
from plantimager.timelapse.channel.lock import process_start
from plantimager.timelapse.channel.relay_status import RelayStatus, SinkStatus

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="root and another account are what it is about")

LISTEN = """
import contextlib, os, socket, sys
path, uid, answer = sys.argv[1], int(sys.argv[2]), sys.argv[3]
os.setgroups([])
os.setresgid(uid, uid, uid)
os.setresuid(uid, uid, uid)
with socket.socket(socket.AF_UNIX) as server:
    server.bind(path)
    server.listen()
    print("listening", flush=True)
    while True:
        client, _ = server.accept()
        with client, contextlib.suppress(OSError):
            client.recv(65536)
            client.sendall(answer.encode() + b"\\n")
"""
STATUS_WITH_STALLED_DISK = """
import ctypes, sys
from plantimager.timelapse.cli import findings, main, status
from plantimager.timelapse.settings import disk_plan
CLONE_VM, CLONE_VFORK, SIGCHLD = 0x100, 0x4000, 17
def hang(*arguments, **options):  # as a disk that doesn't answer: no signal is taken meanwhile but SIGKILL
    libc = ctypes.CDLL(None)
    stack = ctypes.create_string_buffer(1 << 16)
    top = ctypes.c_void_p((ctypes.addressof(stack) + (1 << 16)) & ~15)
    libc.clone(ctypes.cast(libc.sleep, ctypes.c_void_p), top, CLONE_VM | CLONE_VFORK | SIGCHLD, ctypes.c_void_p(600))
status.find_set_aside = disk_plan.dataset_bytes = hang
status.ASIDE_SECONDS = findings.LOOK_SECONDS = 0.3
sys.exit(main.main(["status"]))
"""
ASK_DAEMON = (
    *(["status"], ["status", "--json"], ["timeline", "planted"], ["names", "archives"]),
    *(["cancel", "--yes"], ["start", "/dev/null"], ["rig", "home"], ["check"]),
)
ASK_RELAY = (["deliver"], ["deliver", "--retry"], ["notify"], ["notify", "--test"])


@pytest.fixture
def host() -> Iterator[HostileHost]:
    """Return the directories in a place that other users may enter: those of pytest are closed to them."""
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        yield HostileHost(Path(directory))


@contextmanager
def listening(path: Path, uid: int, answer: dict[str, object]) -> Iterator[None]:
    """Have a user answer at a socket."""
    command = [sys.executable, "-I", "-c", LISTEN, str(path), str(uid), json.dumps(answer)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout.readline() == b"listening\n"
            yield
        finally:
            process.kill()


def plant(link: Path, target: Path) -> None:
    """Put a link in the place of a file."""
    link.unlink(missing_ok=True)
    link.symlink_to(target)


@pytest.fixture
def planted(host: HostileHost) -> HostileHost:
    """Plant a link to a file or directory of root's in the place of everything that is looked at."""
    store = (STORES / "interval-completed.json").read_text().replace("done_tl", SECRET)
    assert SECRET in store
    secret = host.secret("store", store.encode())
    places, state = host.places, host.places.relay_state
    for path in (places.store, places.store.with_name(f"{places.store.name}.bak"), places.history / "planted.json"):
        plant(path, secret)
    live = json.dumps({"pid": 1, "status": SECRET, "trouble": SECRET, "notes": [SECRET]}).encode()
    plant(places.store.with_name(f"{places.store.name}.live"), host.secret("live", live))
    plant(places.store.with_name(f"{places.store.name}.lock"), host.secret("lock", b"1 1"))
    status = RelayStatus(pid=1, sinks=(SinkStatus(name="notify", what=SECRET),))
    plant(state / "relay.json", host.secret("relay.json", msgspec.json.encode(status)))
    ledger = Ledger(host.own / "ledger")
    ledger.record(LedgerEntry(f"{SECRET} 2026-06-22T08:00:00+00:00", Outcome.REFUSED, "2026", why=SECRET))
    for name in ("plantdb.ledger", "removed", "notify.ledger"):
        plant(state / name, host.own / "ledger")
    dataset = take_dataset(host.own / "datasets", 0)
    receipt = dataset / "timelapsed.json"
    receipt.write_text(receipt.read_text().replace("tl_0", SECRET))
    plant(places.datasets / "tl_0", dataset)
    own = take_dataset(host.root / "made", 1)
    shutil.move(own, places.datasets / "tl_1")
    for path in (places.datasets / "tl_1").rglob("*"):
        if path.is_file():
            plant(path, host.secret(f"of-{path.name}", path.read_bytes()))
    host.hand_over()
    return host


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_planted_links_lead_root_to_nothing_of_others(planted: HostileHost, words: list[str]) -> None:
    """In the storage directory, the archive, the datasets, and the relay's state: as far as their owner could go."""
    before = planted.state()
    said = planted.ctl(*words)
    assert SECRET not in said
    assert planted.state() == before


def test_lying_locks_make_root_signal_nobody(host: HostileHost) -> None:
    """The service's account may write any PID into its locks."""
    with subprocess.Popen(["sleep", "600"]) as victim:
        try:
            lie = f"{victim.pid} {process_start(victim.pid)}".ljust(40)
            for lock in (host.storage / f"{host.places.store.name}.lock", host.places.relay_state / "relay.json.lock"):
                lock.write_text(lie)
            host.hand_over()
            for words in (*ASK_DAEMON, *ASK_RELAY):
                host.ctl(*words)
            assert victim.poll() is None
            state = Path(f"/proc/{victim.pid}/status").read_text()
            assert {"SigPnd:\t0000000000000000", "ShdPnd:\t0000000000000000"} <= {*state.splitlines()}
        finally:
            victim.kill()


@pytest.mark.parametrize("name", ["control", "relay"])
def test_socket_of_a_stranger_is_left_alone(host: HostileHost, name: str) -> None:
    """Whoever may make one in the service's directory by a mistake of modes: neither asked nor believed."""
    directory = host.storage / f"{host.places.store.name}.run"
    directory.mkdir()
    host.hand_over()
    directory.chmod(0o777)
    answer = {"version": 1, "accepted": True, "message": SECRET, "details": {}, "files": []}
    with listening(directory / name, STRANGER, answer):
        for words in (["cancel", "--yes"], ["rig", "home"]) if name == "control" else (["deliver", "--retry"],):
            said = host.ctl(*words)
            assert "another user listens there than the service's or you; it is left alone" in said
            assert SECRET not in said


@pytest.mark.parametrize("name", ["control", "relay"])
def test_what_a_lying_service_answers_is_fit_for_a_terminal(host: HostileHost, name: str) -> None:
    """Its word is believed, for it is the service's; its escape sequences don't reach root's terminal."""
    directory = host.storage / f"{host.places.store.name}.run"
    directory.mkdir()
    host.hand_over()
    bad = "\x1b]0;x\x07\x1b[2J"
    status = {"pid": 1, "targets": [{"name": bad, "taken": 1, "delivered": 1}], "sinks": [{"name": bad, "what": bad}]}
    details = {
        "status": status if name == "relay" else bad,
        "removed": [bad],
        "trial_seconds": 0,
        "driver": bad,
        "trouble": bad,
        "notes": [bad],
        "archives": [bad, "\ud800"],
    }
    answer = {"version": 1, "accepted": True, "message": bad, "details": details, "files": []}
    with listening(directory / name, SERVICE, answer):
        for words in ASK_DAEMON if name == "control" else (["status"], *ASK_RELAY):
            assert "\x1b" not in host.ctl(*words), words


def test_a_link_in_the_place_of_the_directory_of_sockets_is_not_followed(host: HostileHost) -> None:
    """Nobody is asked behind it."""
    elsewhere = host.own / "run"
    elsewhere.mkdir()
    plant(host.storage / f"{host.places.store.name}.run", elsewhere)
    host.hand_over()
    answer = {"version": 1, "accepted": True, "message": SECRET, "details": {}, "files": []}
    with listening(elsewhere / "control", 0, answer), listening(elsewhere / "relay", 0, answer):
        before = host.state()
        for words in (["cancel", "--yes"], ["deliver", "--retry"]):
            assert SECRET not in host.ctl(*words)
        assert host.state() == before


def test_a_store_that_was_restored_with_a_wrong_owner_is_closed_to_its_service_too(host: HostileHost) -> None:
    """Root looks with the rights of the service, and says whose the file is not."""
    host.hand_over()
    shutil.copy(STORES / "interval-naive-midrun.json", host.places.store)
    host.places.store.chmod(0o600)
    said = host.ctl("verify")
    assert f"{host.places.store}: not judged: " in said
    assert "Permission denied" in said
    assert "no daemon runs" in said


def test_a_disk_that_stalls_does_not_hold_up_root(host: HostileHost) -> None:
    """A look that hangs has the rights of the service, and whoever made it goes on without it."""
    shutil.copy(STORES / "interval-naive-midrun.json", host.places.store)
    host.hand_over()
    command = [sys.executable, "-c", STATUS_WITH_STALLED_DISK]
    done = subprocess.run(
        command, env=host.environment, capture_output=True, text=True, timeout=PATIENCE, check=False, cwd=host.own
    )
    assert (done.returncode, done.stderr) == (0, "")
