"""``timelapsectl``: runs one command, and turns every error into a sentence, a hint and an exit code."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from traceback import extract_tb
from typing import TYPE_CHECKING, Final, TextIO, cast

from plantimager.timelapse.cli.parser import parse
from plantimager.timelapse.support.errors import EXIT_FAILED, TimelapsedError
from plantimager.timelapse.support.streams import open_missing_streams
from plantimager.timelapse.support.text import printable

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

    from plantimager.timelapse.cli.session import Session

EXIT_INTERRUPTED: Final = 130
"""The exit code that shells use for "ended by Ctrl-C"."""

WITHOUT_A_RIG: Final = ("log", "names", "preview")
"""Commands that take any rig's name: the journal of a rig outlives its files, a schedule is looked at before them."""

SUDO_HINT: Final = "try it with sudo"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return its exit code: 0 ok, 1 failed, 2 usage, 69 daemon not there, 78 configuration."""
    open_missing_streams()
    try:
        code = _run(parse(arguments))
        sys.stdout.flush()
    except SystemExit as end:  # of the parser, which has shown its help or what is wrong
        _flush(sys.stderr)
        return cast("int", end.code or 0) if _flush(sys.stdout) else EXIT_FAILED
    except TimelapsedError as problem:
        return _fail(str(problem), _hint(problem.__cause__) or problem.hint, problem.exit_code)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:  # the reader of the pipe has ended
        _flush(sys.stdout)
        return EXIT_FAILED
    except OSError as problem:
        where = f"{problem.filename}: " if problem.filename is not None else ""
        return _fail(f"{where}{(problem.strerror or str(problem)).lower()}", _hint(problem), EXIT_FAILED)
    except Exception as problem:  # noqa: BLE001 - the last resort: a fault of ours, named with its place
        place = extract_tb(problem.__traceback__)[-1]
        fault = f"{type(problem).__name__}: {problem} ({Path(place.filename).name}, line {place.lineno})"
        return _fail(fault, "this is a fault in timelapsectl itself; please report it", EXIT_FAILED)
    return code


def _run(options: argparse.Namespace) -> int:
    from plantimager.timelapse.cli.session import OF_NO_SERVICE, open_session  # noqa: PLC0415 - usage errors are shown without it

    session = open_session(options)
    is_of_one = options.command not in (*OF_NO_SERVICE, *WITHOUT_A_RIG)
    if options.rig is not None and is_of_one and session.silent is None:
        from plantimager.timelapse.cli.known_rigs import check_rig_is_known  # noqa: PLC0415 - only where one is named

        check_rig_is_known(session)
    return load_command(options.command)(options, session)


def load_command(name: str) -> Callable[[argparse.Namespace, Session], int]:
    """Return the function that runs a command, and returns the exit code: ``run_<name>`` in the module of its name.

    Only that module is loaded: imports take long on a Raspberry Pi. Where the command fails or is refused it raises
    `TimelapsedError` or `OSError`: `main` shows why, with the hint, and ends with the exit code of that error.
    """
    module = import_module(f"{__package__}.{name}")
    return cast("Callable[[argparse.Namespace, Session], int]", getattr(module, f"run_{name}"))


def _hint(problem: BaseException | None) -> str | None:
    """Return what to do about a refusal by the operating system."""
    return SUDO_HINT if isinstance(problem, PermissionError) and os.geteuid() != 0 else None


def _fail(problem: str, hint: str | None, code: int) -> int:
    _flush(sys.stdout)
    with suppress(OSError):
        print(printable(f"error: {problem}"), file=sys.stderr)
        if hint is not None:
            print(printable(f"hint: {hint}"), file=sys.stderr)
    _flush(sys.stderr)
    return code


def _flush(stream: TextIO) -> bool:
    """Write what is left of an output. Return whether that goes; else it is dropped, as Python would try again."""
    try:
        stream.flush()
    except OSError:  # its reader has ended, its disk is full
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        return False
    return True


if __name__ == "__main__":
    sys.exit(main())
