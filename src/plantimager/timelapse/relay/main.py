"""``timelapse-relay``: the command line of the relay. It needs no arguments."""

from __future__ import annotations

import argparse
import os
import threading
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from plantimager.timelapse.channel.ledger import Ledger
from plantimager.timelapse.channel.lock import InstanceLock
from plantimager.timelapse.channel.relay_status import relay_status_path
from plantimager.timelapse.relay.actions import PROGRAM, RelayAction, log_relay
from plantimager.timelapse.relay.credentials import Secret, read_password, read_rclone_config
from plantimager.timelapse.relay.relay import Relay, Wakeup
from plantimager.timelapse.relay.retention import Retention
from plantimager.timelapse.settings.config import read_config
from plantimager.timelapse.settings.deliver_config import RetentionRules
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

    from plantimager.timelapse.settings.deliver_config import DeliverTarget


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
        description="Bring what was taken to the places that [relay] in timelapsed.toml names.",
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
    if not config.deliver:
        raise ConfigurationError(
            f"{config.source or 'timelapsed.toml'} names no target", hint="write a table [relay.deliver.NAME]"
        )
    secrets = {name: _secret_of(name, target) for name, target in config.deliver.items()}
    try:
        from plantimager.timelapse.relay.deliver_sink import DeliverSink, SinkHost  # noqa: PLC0415 - imports the extra
        from plantimager.timelapse.relay.plantdb_delivery import PlantDbDelivery  # noqa: PLC0415 - the same
        from plantimager.timelapse.relay.rclone_delivery import RcloneDelivery  # noqa: PLC0415 - the same
    except ImportError as absent:
        hint = "systemd/install --extras relay, or pip install 'plantimager-timelapse[relay]'"
        raise ConfigurationError(f"{absent.name} is not installed", hint=hint) from absent
    make_private_directory(places.relay_state)
    lock = InstanceLock(relay_status_path(places.relay_state))
    try:
        lock.take()
    except AlreadyRunning as other:
        raise TimelapsedError(f"{lock.path}: another relay runs already (PID {other.pid})") from None
    stop, wakeup = threading.Event(), Wakeup()
    host = SinkHost(partial(places.datasets_of, config.datasets), SystemClock(), stop, wakeup.wake)
    sinks: list[DeliverSink | Retention] = []
    for name, target in config.deliver.items():
        secret = secrets[name]
        delivery = (
            RcloneDelivery(target, secret) if isinstance(secret, Secret) else PlantDbDelivery(target, secret, stop)
        )
        sinks.append(DeliverSink(name, target, delivery, Ledger(places.ledger(name)), host, Ledger(places.removed)))
    if config.relay.retention != RetentionRules():
        ledgers = {name: places.ledger(name) for name in config.deliver}
        sinks.append(Retention(config.relay.retention, ledgers, places.removed, places.owner, host))
    log_relay(RelayAction.RELAY_STARTED, f"from {places.store} to {', '.join(config.deliver)}")
    Relay(places, Notifier(os.environ), stop, wakeup).run(sinks)
    log_relay(RelayAction.RELAY_STOPPED, "what isn't delivered yet waits for the next start")


def _secret_of(name: str, target: DeliverTarget) -> str | Secret:
    """Return what a target needs to be let in; empty where the store has that."""
    if target.remote is not None:
        return read_rclone_config(name, target.rclone_config, os.environ)
    return read_password(name, target.password_file, os.environ) if target.user else ""


if __name__ == "__main__":
    main()
