"""``timelapse-relay``: the command line of the relay. It needs no arguments."""

from __future__ import annotations

import argparse
import os
import threading
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from plantimager.timelapse.channel.lock import InstanceLock
from plantimager.timelapse.channel.relay_status import relay_status_path
from plantimager.timelapse.relay.actions import PROGRAM, RelayAction, log_relay
from plantimager.timelapse.relay.control import RelayControl
from plantimager.timelapse.relay.relay import Relay, Wakeup
from plantimager.timelapse.relay.sink import SinkHost
from plantimager.timelapse.relay.sinks import make_sinks
from plantimager.timelapse.relay.store_view import scan_runs
from plantimager.timelapse.settings.config import read_config
from plantimager.timelapse.settings.places import find_places
from plantimager.timelapse.support.clock import SystemClock
from plantimager.timelapse.support.distribution import installed_version
from plantimager.timelapse.support.durable import make_private_directory
from plantimager.timelapse.support.errors import (
    EXIT_FAILED,
    AlreadyRunning,
    ConfigurationError,
    TimelapsedError,
)
from plantimager.timelapse.support.streams import open_missing_streams
from plantimager.timelapse.systemd.journal_lines import flush_lines, set_level, set_up_logging
from plantimager.timelapse.systemd.notifier import Notifier

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the relay, and end the process: 0 stopped, 1 failed, 2 usage, 78 configuration."""
    options = relay_parser().parse_args(arguments)
    open_missing_streams()
    os.umask(0o077)
    set_up_logging(PROGRAM)
    try:
        _run(options.config, options.rig)
        code = 0
    except TimelapsedError as problem:
        is_faulty = isinstance(problem, ConfigurationError)
        action = RelayAction.RELAY_CONFIG_FAULTY if is_faulty else RelayAction.RELAY_FAILED
        log_relay(action, f"{problem}{f'; {problem.hint}' if problem.hint else ''}")
        code = problem.exit_code
    except OSError as problem:
        log_relay(RelayAction.RELAY_FAILED, f"{problem.filename or 'system'}: {problem.strerror or problem}")
        code = EXIT_FAILED
    except Exception as problem:  # noqa: BLE001 - a mistake of the program: logged with its traceback, and restarted
        log_relay(RelayAction.RELAY_FAILED, f"{type(problem).__name__}: {problem}", error=problem)
        code = EXIT_FAILED
    flush_lines()
    # A sink may hang in a disk or a network, and nothing is left to wait for.
    os._exit(code)


def relay_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description="Carry on what the store says, as [relay] in timelapsed.toml asks: datasets, messages, pings.",
        epilog="It stops on SIGTERM. See also: timelapsectl deliver",
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help="use this timelapsed.toml and look for no other")
    parser.add_argument("--rig", metavar="NAME", help="that of one of several rigs on this host")
    version = f"{PROGRAM} {installed_version()}"
    parser.add_argument("--version", action="version", version=version, help="say which version this is, and exit")
    return parser


def _run(config_file: Path | None, rig: str | None) -> None:
    places = find_places(os.environ, rig=rig, config_file=config_file)
    config = read_config(places.find_config())
    set_level(PROGRAM, config.log_level)
    stop, wakeup = threading.Event(), Wakeup()
    host = SinkHost(
        partial(places.datasets_of, config.datasets), SystemClock(), stop, wakeup.wake, partial(scan_runs, places)
    )
    sinks = make_sinks(config, places, host, os.environ)
    make_private_directory(places.relay_state)
    lock = InstanceLock(relay_status_path(places.relay_state))
    try:
        lock.acquire()
    except AlreadyRunning as other:
        raise TimelapsedError(f"{lock.path}: another relay runs already (PID {other.pid})") from None
    control = RelayControl(places, config.deliver, sinks, SystemClock())
    control.open()
    try:
        log_relay(
            RelayAction.RELAY_STARTED, f"from {places.store} to {', '.join(sink.name for sink in sinks if sink.name)}"
        )
        Relay(places, Notifier(os.environ), stop, wakeup).run(sinks)
    finally:
        control.close()
    log_relay(RelayAction.RELAY_STOPPED, "what isn't done yet waits for the next start")


if __name__ == "__main__":
    main()
