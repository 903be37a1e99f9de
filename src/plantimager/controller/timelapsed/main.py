"""``timelapsed``: the command line of the daemon. It needs no arguments."""

from __future__ import annotations

import gc
import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from plantimager.controller.scanner.errors import (
    EXIT_FAILED,
    AlreadyRunning,
    ConfigurationError,
    StoreUnreadable,
    TimelapsedError,
)
from plantimager.controller.timelapsed.clock import SystemClock
from plantimager.controller.timelapsed.config import read_config
from plantimager.controller.timelapsed.journal import Action, set_level, set_up_logging, tell
from plantimager.controller.timelapsed.live import LiveFile
from plantimager.controller.timelapsed.notify import Notifier, watchdog_interval
from plantimager.controller.timelapsed.places import find_places

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

PROGRAM = "timelapsed"
DISTRIBUTION = "plantimager-timelapse"

MANY_VALUES = 100_000
"""New values after which Python looks for cycles of garbage: modules and stores make as many, and all of them stay."""

_ACTIONS = (
    (AlreadyRunning, Action.ALREADY_RUNNING),
    (ConfigurationError, Action.CONFIG_FAULTY),
    (StoreUnreadable, Action.STORE_UNREADABLE),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the daemon; return its exit code: 0 stopped, 1 failed, 2 usage, 78 configuration."""
    gc.set_threshold(MANY_VALUES)
    _occupy_standard_descriptors()
    options = _parse(sys.argv[1:] if arguments is None else arguments)
    if options.version:
        print(_version())  # noqa: T201 - because this is what was asked for
        return 0
    os.umask(0o077)  # whatever is made here may hold an api_token
    set_up_logging()
    try:
        code = _run(options)
    except TimelapsedError as problem:
        action = next((action for kind, action in _ACTIONS if isinstance(problem, kind)), Action.START_FAILED)
        hint = f"; {problem.hint}" if problem.hint else ""
        tell(action, f"{problem}{hint}")
        code = problem.exit_code
    except OSError as problem:
        tell(Action.START_FAILED, f"{problem.filename or 'system'}: {problem.strerror}", error=problem)
        code = EXIT_FAILED
    except Exception as problem:  # noqa: BLE001 - the last line of defence: told with its chain, and restarted by systemd
        tell(Action.CRASHED, f"{type(problem).__name__}: {problem}", error=problem)
        code = EXIT_FAILED
    logging.shutdown()
    if sys.stdout is not None:
        sys.stdout.flush()
    # The rig thread may hang in a driver; nothing after this line is worth waiting for it.
    os._exit(code)


def _occupy_standard_descriptors() -> None:
    """Put nothing where a standard stream is closed: else a file of ours gets its number, and whatever is printed."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(descriptor)


def _run(options: _Options) -> int:
    from plantimager.controller.timelapsed.daemon import Daemon  # noqa: PLC0415 - because --help needn't wait for it

    places = find_places(os.environ, rig=options.rig, config_file=options.config)
    config = read_config(places.find_config())
    set_level(config.log_level)
    daemon = Daemon(
        places,
        config,
        SystemClock(),
        Notifier(os.environ),
        LiveFile(places.store),
        watchdog=watchdog_interval(os.environ),
    )
    daemon.handle_signals()
    return daemon.run()


class _Options(Struct, frozen=True):
    """What the command line asks for."""

    config: Path | None = None
    rig: str | None = None
    version: bool = False


def _parse(arguments: Sequence[str]) -> _Options:
    """Return the options; exit with 2 where they make no sense."""
    return _Options(**vars(build_parser().parse_args(arguments))) if arguments else _Options()


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line; its default values are those of `_Options`."""
    import argparse  # noqa: PLC0415 - because it takes time, and a service starts without any argument

    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description="Keep the timelapse in the store going: through power cuts, wrong clocks and hung cameras.",
        epilog="It stops on SIGTERM, and looks again at its files on SIGHUP. See also: timelapsectl --help",
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help="use this timelapsed.toml and look for no other")
    parser.add_argument(
        "--rig", metavar="NAME", help="one of several rigs on this host: a store and configuration of its own"
    )
    parser.add_argument("--version", action="store_true", help="say which version this is, and exit")
    return parser


def _version() -> str:
    from importlib.metadata import version  # noqa: PLC0415 - because the look-up takes as long as reading a store

    return f"{PROGRAM} {version(DISTRIBUTION)}"


if __name__ == "__main__":
    sys.exit(main())
