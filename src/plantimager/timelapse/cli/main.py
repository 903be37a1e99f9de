"""``timelapsectl``: from the command line to a command, and from every error to a sentence and an exit code."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from pathlib import Path
from traceback import extract_tb
from typing import TYPE_CHECKING, Final, Protocol, cast

from plantimager.timelapse.cli.parser import parse
from plantimager.timelapse.support.errors import EXIT_FAILED, TimelapsedError
from plantimager.timelapse.support.streams import open_missing_streams

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from plantimager.timelapse.cli.session import Session

MODULES: Final = {
    "check": "check",
    "preview": "preview",
    "start": "requests",
    "cancel": "requests",
    "rig": "rig",
    "status": "status",
    "log": "log",
    "timeline": "timeline",
    "demo": "demo",
}
"""Which module of this package does a command: its ``run_<command>``. Only that one is loaded: a Pi is slow."""

EXIT_INTERRUPTED: Final = 130
"""What shells take for "ended by Ctrl-C"."""


SUDO: Final = "try it with sudo"


class _Command(Protocol):
    def __call__(self, options: argparse.Namespace, session: Session) -> int:
        """Do what ``options`` ask for; return the exit code."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return its exit code: 0 ok, 1 failed, 2 usage, 69 daemon not there, 78 configuration."""
    open_missing_streams()
    options = parse(arguments)
    try:
        code = _run(options)
        sys.stdout.flush()
    except TimelapsedError as problem:
        return _fail(str(problem), _hint(problem.__cause__) or problem.hint, problem.exit_code)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # Whoever read us has seen enough. Python flushes standard output once more at its end: into nothing.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FAILED
    except OSError as problem:
        where = f"{problem.filename}: " if problem.filename is not None else ""
        return _fail(f"{where}{(problem.strerror or str(problem)).lower()}", _hint(problem), EXIT_FAILED)
    except Exception as problem:  # noqa: BLE001 - the last line of defence: told with its chain, and restarted by systemd
        place = extract_tb(problem.__traceback__)[-1]
        words = f"{type(problem).__name__}: {problem} ({Path(place.filename).name}, line {place.lineno})"
        return _fail(words, "this is a fault in timelapsectl itself; please report it", EXIT_FAILED)
    return code


def _run(options: argparse.Namespace) -> int:
    from plantimager.timelapse.cli.session import open_session  # noqa: PLC0415 - after usage errors are told

    module = import_module(f"{__package__}.{MODULES[options.command]}")
    command = cast("_Command", getattr(module, f"run_{options.command}"))
    return command(options, open_session(options))


def _hint(problem: BaseException | None) -> str | None:
    """Return what to do about what the system refuses."""
    return SUDO if isinstance(problem, PermissionError) and os.geteuid() != 0 else None


def _fail(problem: str, hint: str | None, code: int) -> int:
    sys.stdout.flush()
    print(f"error: {problem}", file=sys.stderr)
    if hint is not None:
        print(f"hint: {hint}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
