"""The process from its first line in the journal to its exit code: it runs the daemon, and logs why that failed."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, NoReturn

from plantimager.timelapse.channel.live import LiveFile
from plantimager.timelapse.daemon.active_config import load_config
from plantimager.timelapse.daemon.daemon import Daemon, Host
from plantimager.timelapse.daemon.journal import IDENTIFIER, Action, log_event
from plantimager.timelapse.daemon.side_writes import SideNotifier, SideThread
from plantimager.timelapse.settings.places import find_places
from plantimager.timelapse.support.clock import SystemClock
from plantimager.timelapse.support.errors import (
    EXIT_FAILED,
    AlreadyRunning,
    ConfigurationError,
    StoreUnreadable,
    TimelapsedError,
)
from plantimager.timelapse.support.streams import open_missing_streams
from plantimager.timelapse.systemd.journal_lines import flush_lines, set_level, set_up_logging

if TYPE_CHECKING:
    from pathlib import Path

_ACTIONS = (
    (AlreadyRunning, Action.ALREADY_RUNNING),
    (ConfigurationError, Action.CONFIG_FAULTY),
    (StoreUnreadable, Action.STORE_UNREADABLE),
)

LINGER = 0.1
"""Seconds: what a person has to read about a failed start must be found by its unit."""


def serve(config_file: Path | None, rig: str | None) -> NoReturn:
    """Run the daemon, and end the process with its exit code."""
    open_missing_streams()
    os.umask(os.umask(0o077) | 0o007)  # a file made here may hold an api_token; UMask= decides on the group
    set_up_logging(IDENTIFIER)
    try:
        code = _run(config_file, rig)
    except TimelapsedError as problem:
        action = next((action for kind, action in _ACTIONS if isinstance(problem, kind)), Action.START_FAILED)
        hint = f"; {problem.hint}" if problem.hint else ""
        log_event(action, f"{problem}{hint}")
        code = problem.exit_code
    except OSError as problem:
        # An error of the system is explained by its sentence; any other needs its traceback.
        chain = problem if problem.errno is None else None
        log_event(Action.START_FAILED, f"{problem.filename or 'system'}: {problem.strerror or problem}", error=chain)
        code = EXIT_FAILED
    except Exception as problem:  # noqa: BLE001 - a mistake of the program: logged with its traceback, and restarted by systemd
        log_event(Action.CRASHED, f"{type(problem).__name__}: {problem}", error=problem)
        code = EXIT_FAILED
    flush_lines(linger=LINGER if code else 0)
    sys.stdout.flush()
    # The rig thread may hang in a driver, and nothing is left to wait for.
    os._exit(code)


def _run(config_file: Path | None, rig: str | None) -> int:
    places = find_places(os.environ, rig=rig, config_file=config_file)
    config = load_config(places)
    set_level(IDENTIFIER, config.log_level)
    notices = SideThread("notices")
    live = LiveFile(places.store, places.control)
    daemon = Daemon(Host(places, SystemClock(), SideNotifier(os.environ, notices), live), config)
    daemon.signals.install()
    try:
        return daemon.run()
    finally:
        notices.finish()
