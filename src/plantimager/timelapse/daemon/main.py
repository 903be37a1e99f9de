"""``timelapsed``: the command line of the daemon. It needs no arguments."""

from __future__ import annotations

import gc
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

PROGRAM = "timelapsed"

MANY_VALUES = 100_000
"""New objects after which Python looks for cycles of garbage: modules and stores make as many, and all of them stay."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the daemon; return its exit code: 0 stopped, 1 failed, 2 usage, 78 configuration."""
    gc.set_threshold(MANY_VALUES)  # first of all: the modules that are loaded below make most of them
    arguments = sys.argv[1:] if arguments is None else arguments
    config_file, rig = None, None
    if arguments:
        options = argument_parser().parse_args(arguments)
        if options.version:
            print(_version())  # noqa: T201 - the output that was asked for
            return 0
        config_file, rig = options.config, options.rig
    from plantimager.timelapse.daemon.service import serve  # noqa: PLC0415 - --help need not wait for it

    return serve(config_file, rig)


def argument_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    import argparse  # noqa: PLC0415 - it takes time, and a service starts without any argument

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
    # Imported here: the look-up takes as long as reading a store.
    from plantimager.timelapse.support.distribution import installed_version  # noqa: PLC0415 - see above

    return f"{PROGRAM} {installed_version()}"


if __name__ == "__main__":
    sys.exit(main())
