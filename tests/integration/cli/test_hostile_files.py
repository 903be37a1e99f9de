"""Files of other kinds in the place of what is looked at, and texts that a terminal would obey."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from daemon_process import CTL, PATIENCE
from hostile_host import COMMANDS, DEFINITION, SECRET, HostileHost
from relay_rig import take_dataset
from tree import STORES

from plantimager.timelapse.channel.ledger import Ledger, LedgerEntry, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="root and another account are what it is about")

RUN = """
import difflib, json, sys, time
import PIL.Image
PIL.Image.init()  # now, for the service may not read the library of a Python in a home
from plantimager.timelapse.channel import control_client
from plantimager.timelapse.cli import check, daemon_request, main
for module in (control_client, check, daemon_request):
    module.DECISION_SECONDS = module.JUDGEMENT_SECONDS = 1.0
control_client.SILENCE_SECONDS = 0.5
for words in json.loads(sys.argv[1]):
    began = time.monotonic()
    try:
        main.main(words)
    except SystemExit:
        pass
    print(f"== {' '.join(words)}: {time.monotonic() - began:.1f} s", flush=True)
"""
"""All commands in one process: the imports take longer than they do."""
LOOKS = [*COMMANDS, ["status", "--records", "500"], ["preview", "--all", DEFINITION]]
CONTROL = "\x1b]0;owned\x07\x1b[2J\x1b[100mgrey\x9b31m\x7f\u202e\u2066\r\x08\x00"
"""Title, erased screen, a colour, C1, DEL, marks that change the reading order, overwritten lines."""
ALLOWED = re.compile(r"\x1b\[(?:0|1|2|3[1-6]|100)(?:;(?:0|1|2|3[1-6]|100))*m|\r?\n")


@pytest.fixture
def host() -> Iterator[HostileHost]:
    """Return the directories in a place that other users may enter: those of pytest are closed to them."""
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        yield HostileHost(Path(directory))


def run_all(host: HostileHost, *by: str, commands: list[list[str]] = LOOKS, memory: int = 2_000_000) -> str:
    """Run the commands as root, in one process with so many kB of memory; return all that they say."""
    command = [*by, "sh", "-c", f'ulimit -v {memory}; exec "$@"', "sh", sys.executable, "-c", RUN, json.dumps(commands)]
    done = subprocess.run(
        command,
        env=host.environment,
        capture_output=True,
        timeout=PATIENCE,
        check=False,
        cwd=host.own,
        stdin=subprocess.DEVNULL,
    )
    said = (done.stdout + done.stderr).decode(errors="surrogateescape")
    assert said.count("\n== ") + said.startswith("== ") == len(commands), said[-3000:]
    assert "Traceback" not in said
    assert "this is a fault in timelapsectl itself" not in said, said
    return said


def fill(host: HostileHost) -> list[Path]:
    """Make what a rig has, and return each file and directory that is looked at."""
    places, state = host.places, host.places.relay_state
    store = places.store
    shutil.copy(STORES / "interval-completed.json", store)
    shutil.copy(store, places.history / "planted.json")
    for name in (f"{store.name}.bak", f"{store.name}.live", f"{store.name}.lock"):
        store.with_name(name).write_text("{}")
    for name in ("relay.json", "relay.json.lock", "plantdb.ledger", "removed", "notify.ledger", "look.ledger"):
        (state / name).write_text("{}\n")
    dataset = take_dataset(host.root / "made", 0)
    shutil.move(dataset, places.datasets / "tl_0")
    receipt = places.datasets / "tl_0/timelapsed.json"
    pictures = [path for path in (places.datasets / "tl_0").rglob("*.*") if path.is_file()]
    files = [path for path in (*places.store.parent.iterdir(), *state.iterdir()) if path.is_file()]
    return [*dict.fromkeys([*files, places.history / "planted.json", receipt, *pictures])]


def fifo(path: Path, _: Path) -> None:
    os.mkfifo(path)


def endless(path: Path, _: Path) -> None:
    os.mknod(path, 0o666 | 0o020000, os.makedev(1, 5))  # /dev/zero


def terminal(path: Path, _: Path) -> None:
    os.mknod(path, 0o666 | 0o020000, os.makedev(5, 0))  # /dev/tty


def unix_socket(path: Path, _: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server, suppress(OSError):
        server.bind(str(path))


def directory(path: Path, _: Path) -> None:
    path.mkdir()


def sparse(path: Path, _: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 36)


def loop(path: Path, _: Path) -> None:
    path.symlink_to(path)


def hard_link(path: Path, secret: Path) -> None:
    os.link(secret, path)


KINDS = (fifo, endless, terminal, unix_socket, directory, sparse, loop, hard_link)


@pytest.mark.parametrize("make", KINDS, ids=lambda make: make.__name__)
def test_file_of_another_kind_holds_up_no_command_and_shows_nothing(host: HostileHost, make: Callable) -> None:
    """In the place of store, copy, archive, lock, live status, ledger, receipt and picture."""
    text = (STORES / "interval-completed.json").read_text().replace("done_tl", SECRET)
    secret = host.secret("store", text.encode())
    places = fill(host)
    host.hand_over()
    for path in places:
        path.unlink()
        make(path, secret)
    before = host.state()
    assert SECRET not in run_all(host)
    assert host.state() == before


@pytest.mark.parametrize("place", ["config", "storage", "relay"])
def test_directory_that_is_mounted_over_shows_nothing_of_root(host: HostileHost, place: str) -> None:
    """A bind mount of a directory of root's: its files are read with the rights of the service, or not at all."""
    fill(host)
    host.hand_over()
    text = (STORES / "interval-completed.json").read_text().replace("done_tl", SECRET)
    hidden = host.own / "hidden"
    hidden.mkdir(mode=0o700)
    for name in (host.places.store.name, "timelapse.toml", "relay.json"):
        (hidden / name).write_text(text)
        (hidden / name).chmod(0o600)
    target = {"config": host.root / "config/plant-imager3-app", "storage": host.places.history}.get(
        place, host.places.relay_state
    )
    by = ["unshare", "--mount", "sh", "-c", f'mount --bind {hidden} {target} && exec "$@"', "sh"]
    said = run_all(host, *by)
    assert SECRET not in said or place == "config"  # which is root's own, and its faults are shown


@pytest.mark.parametrize("make", [fifo, endless, directory, sparse, loop], ids=lambda make: make.__name__)
def test_configuration_of_another_kind_is_a_fault(host: HostileHost, make: Callable) -> None:
    """An administrator's mistake, as a device or a pipe in the place of a file: one sentence."""
    config = host.root / "config/plant-imager3-app/timelapsed.toml"
    config.unlink()
    make(config, config)
    (host.own / DEFINITION).unlink()
    make(host.own / DEFINITION, config)
    said = run_all(host, commands=[["check"], ["check", DEFINITION], ["preview", DEFINITION], ["start", DEFINITION]])
    assert said.count(f"{config}: ") >= 1, said


@contextmanager
def serving(path: Path, answer: Callable[[socket.socket], None]) -> Iterator[None]:
    """Answer at a socket of the service's; this process lends it its word."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()

        def serve() -> None:
            with suppress(OSError):
                while True:
                    client, _ = server.accept()
                    threading.Thread(target=reply, args=(client,), daemon=True).start()

        def reply(client: socket.socket) -> None:
            with client, suppress(OSError):
                client.recv(65536)
                answer(client)

        threading.Thread(target=serve, daemon=True).start()
        yield
        server.shutdown(socket.SHUT_RDWR)


def never_ending(client: socket.socket) -> None:
    while True:
        client.sendall(b'{"version":1,"accepted":true,"message":"' + b"x" * 65536)


def dripping(client: socket.socket) -> None:
    gone = select.poll()
    gone.register(client, 0)
    for _ in range(1000):
        if gone.poll(50):
            return
        client.sendall(b" ")


def deep(client: socket.socket) -> None:
    client.sendall(b'{"version":1,"accepted":true,"message":"","details":' + b'{"a":' * 200_000 + b"\n")


def deep_and_whole(client: socket.socket) -> None:
    whole = b'{"a":' * 900 + b"1" + b"}" * 900
    client.sendall(b'{"version":1,"accepted":true,"message":"","files":[],"details":' + whole + b"}\n")


def huge_numbers(client: socket.socket) -> None:
    numbers = ",".join(f'"{key}":{value}' for key, value in HUGE.items())
    client.sendall(f'{{"version":1,"accepted":true,"message":"","files":[],"details":{{{numbers}}}}}\n'.encode())


HUGE = {
    "pid": "9" * 4000,
    "trial_seconds": "1e999",
    "removed": "[1e308]",
    "targets": f'[{{"name":"a","taken":{"9" * 30},"delivered":-{"9" * 30}}}]',
    "sinks": '[{"name":"a","what":"b","at":1e300}]',
    "up_since": "1e300",
    "found": f'[{{"subject":{"9" * 400},"notes":[1e308],"problem":null}}]',
}


def files_that_lie(client: socket.socket) -> None:
    client.sendall(b'{"version":1,"accepted":true,"message":"","details":{},"files":[999999999999]}\nabc')


def late(client: socket.socket) -> None:
    gone = select.poll()
    gone.register(client, 0)  # only the end of the connection: whoever asks has given up
    gone.poll(10_000)  # longer than any command waits here
    client.sendall(f'{{"version":1,"accepted":true,"message":"{SECRET}","details":{{}},"files":[]}}\n'.encode())


@pytest.mark.parametrize(
    "answer",
    [never_ending, dripping, deep, deep_and_whole, huge_numbers, files_that_lie, late],
    ids=lambda answer: answer.__name__,
)
def test_answer_that_is_none_costs_neither_time_nor_memory(host: HostileHost, answer: Callable) -> None:
    """Endless, a byte at a time, nested, with huge numbers, after its time: each command ends, in bounded memory."""
    run = host.storage / f"{host.places.store.name}.run"
    run.mkdir()
    commands = [
        ["status"],
        ["cancel", "--yes"],
        ["rig", "home"],
        ["check"],
        ["deliver"],
        ["notify"],
        ["rigs"],
        ["verify"],
    ]
    with serving(run / "control", answer), serving(run / "relay", answer):
        said = run_all(host, commands=commands)
    seconds = [float(found) for found in re.findall(r"^== .*: ([\d.]+) s$", said, re.MULTILINE)]
    assert max(seconds) < 45, said
    if answer is late:
        assert SECRET not in said.partition("== check")[0]


def poisoned(value: Any) -> Any:
    """Return JSON with what a terminal would obey in each of its texts that is no time and no word of a list."""
    if isinstance(value, dict):
        return {name if name.isidentifier() else name + CONTROL: poisoned(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [poisoned(inner) for inner in value]
    if isinstance(value, str) and not re.fullmatch(r"[\d:T.+Z-]*|[a-z_]*", value):
        return value + CONTROL
    return value


def unfit(said: str) -> str:
    """Return the characters that a terminal must not get."""
    foreign = "\x1b[100mgrey" in said
    return "".join(sorted({sign for sign in ALLOWED.sub("", said) if not sign.isprintable()})) + "grey" * foreign


def through_terminal(host: HostileHost, *words: str) -> str:
    """Run a command at a terminal, and return what comes there."""
    end, terminal = pty.openpty()
    environment = {**host.environment, "TERM": "xterm", "COLUMNS": "100"}
    ends = {"stdin": terminal, "stdout": terminal, "stderr": terminal}
    said = b""
    with subprocess.Popen([*CTL, *words], env=environment, cwd=host.own, **ends) as process:
        os.close(terminal)
        os.write(end, b"n\n")  # an answer, should it ask
        with suppress(OSError):  # the end of a terminal
            while select.select([end], [], [], PATIENCE)[0] and (came := os.read(end, 65536)):
                said += came
        process.kill()
    os.close(end)
    return said.decode(errors="surrogateescape")


@pytest.fixture
def poisonous(host: HostileHost) -> HostileHost:
    """Return a rig with such texts in its store, archive, ledgers, receipts, names of files, and answers."""
    places, state = host.places, host.places.relay_state
    for name, source in ((places.store, "interval-skewed-failed.json"), (places.history / "planted.json", "")):
        stored = source if (STORES / source).is_file() and source else "interval-completed.json"
        name.write_text(json.dumps(poisoned(json.loads((STORES / stored).read_text()))))
    (places.history / f"x{CONTROL.replace(chr(0), '')}.json").write_text("{}")
    ledger = Ledger(state / "plantdb.ledger")
    key = f"tl_0{CONTROL} 2026-06-22T08:00:00+00:00"
    ledger.record(LedgerEntry(key, Outcome.REFUSED, "2026", why=f"refused {CONTROL}"))
    dataset = take_dataset(host.root / "made", 0)
    shutil.move(dataset, places.datasets / "tl_0")
    receipt = places.datasets / "tl_0/timelapsed.json"
    receipt.write_text(json.dumps(poisoned(json.loads(receipt.read_text()))))
    (places.datasets / f"tl_1{CONTROL.replace(chr(0), '')}").mkdir()
    config = host.root / "config/plant-imager3-app/timelapsed.toml"
    config.write_text(config.read_text() + f'"{json.dumps(CONTROL)[1:-1]}" = 3\nobserve = ["/x\\u001b[2J\\u009b"]\n')
    (host.own / DEFINITION).write_text('[timelapse]\nname = "a\\u001b[2J\\u009b\\u202e"\nmode = "\\u001b]0;x\\u0007"\n')
    host.hand_over()
    return host


def test_no_text_of_a_file_or_answer_commands_a_terminal(poisonous: HostileHost) -> None:
    """Whatever a stranger wrote into ids, errors, names, notes: what comes out is printable, for pipes as well."""
    said = run_all(poisonous)
    assert unfit(said) == "", [line for line in said.splitlines() if unfit(line)][:5]
    for words in (["status"], ["status", "--json"], ["verify"], ["check", DEFINITION], ["timeline"], ["cancel"]):
        said = through_terminal(poisonous, *words)
        assert unfit(said) == "", (words, said)
        assert "owned\x07" not in said


@pytest.mark.parametrize("name", ["control", "relay"])
def test_no_answer_of_a_service_commands_a_terminal(poisonous: HostileHost, name: str) -> None:
    """The same by its socket, in every text of every answer."""
    run = poisonous.storage / f"{poisonous.places.store.name}.run"
    run.mkdir()
    target = {"name": CONTROL, "taken": 3, "delivered": 1, "trouble": CONTROL, "oldest": CONTROL}
    found = {"subject": CONTROL, "meaning": CONTROL, "notes": [CONTROL], "problem": CONTROL, "hint": CONTROL}
    details = {
        "pid": 1,
        "status": CONTROL,
        "targets": [target],
        "sinks": [{"name": CONTROL, "what": CONTROL, "trouble": CONTROL}],
        "removed": [CONTROL],
        "trial_seconds": 0,
        "driver": CONTROL,
        "trouble": CONTROL,
        "notes": [CONTROL],
        "archives": [CONTROL],
        "found": [{**found, "relay": [CONTROL], "disk": {"words": CONTROL, "is_full": True}}, found],
        "parts": [{"name": CONTROL, "answers": False, "says": CONTROL}],
    }
    answer = json.dumps({"version": 1, "accepted": True, "message": CONTROL, "details": details, "files": []})
    with serving(run / name, lambda client: client.sendall(answer.encode() + b"\n")):
        commands = [*LOOKS, ["rig", "check"], ["rig", "check", "--json"]]
        said = run_all(poisonous, commands=commands)
        assert unfit(said) == "", [line for line in said.splitlines() if unfit(line)][:5]
        for words in (["status"], ["rigs"], ["deliver"], ["check"]):
            said = through_terminal(poisonous, *words)
            assert unfit(said) == "", (words, said)
