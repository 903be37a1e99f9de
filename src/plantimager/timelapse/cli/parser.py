"""The command line of ``timelapsectl``. It imports no other module of ours: help and usage errors come at once."""

from __future__ import annotations

import argparse
from contextlib import suppress
from functools import partial
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

DESCRIPTION: Final = "See and control the timelapse that the timelapsed service keeps going."

EPILOG: Final = """\
Whose timelapse: that of the directory in XDG_DATA_HOME if that is set; else root's is the system
service's, and everybody else's their own, or the system service's again where they have none.
--system and --user choose explicitly.

exit status: 0 done, 1 failed or refused, 2 usage, 69 the daemon is not there,
78 a file or a name is at fault, 130 interrupted by Ctrl-C
"""

DEFAULT_RECORDS: Final = 10
"""Records that `status` shows: with the other lines they fit a terminal of 24 lines."""


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="timelapsectl",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="say which version this is, and exit")
    _add_common(parser, defaults=True)
    commands = parser.add_subparsers(title="commands", dest="command", metavar="COMMAND", required=True)
    add = partial(_add_command, commands)

    check = add("check", "say what is wrong with configuration and definition, all of it at once")
    check.add_argument("files", type=_path, nargs="*", metavar="FILE", help="definitions, or a timelapsed.toml")

    preview = add("preview", "show when the slots of a definition would be, without starting it")
    preview.add_argument("file", type=_path, nargs="?", metavar="FILE", help="the definition")
    preview.add_argument("--all", action="store_true", help="a line for every slot")

    start = add("start", "have a timelapse taken up")
    start.add_argument("file", type=_path, metavar="FILE", help="its definition")

    amend = add("amend", "have another definition take the place of what is still to come of the timelapse")
    amend.add_argument("file", type=_path, metavar="FILE", help="the definition, of the same name")
    amend.add_argument("--yes", action="store_true", help="don't ask, also at a terminal")

    pause = add("pause", "have slots skipped that fall due from now on, until resume; a scan under way is finished")
    end = pause.add_mutually_exclusive_group()
    end.add_argument("--until", type=_name, metavar="TIME", help="and go on by itself then: 2026-06-22T14:00, or 14:00")
    end.add_argument(
        "--for", dest="duration", type=_name, metavar="DURATION", help="and go on by itself after that: 90min, 2h30"
    )

    add("resume", "go on with a timelapse that is paused")

    cancel = add("cancel", "end the timelapse before its last slot; this can't be undone")
    cancel.add_argument("--why", type=_name, metavar="TEXT", help="the reason, for the record")
    cancel.add_argument("--yes", action="store_true", help="don't ask, also at a terminal")

    status = add("status", "show how the timelapse goes, whether or not the daemon runs")
    status.add_argument("--json", action="store_true", help="the same facts for programs")
    status.add_argument("--follow", action="store_true", help="go on showing, until Ctrl-C")
    status.add_argument(
        "-n",
        "--records",
        type=_count,
        default=DEFAULT_RECORDS,
        metavar="N",
        help=f"how many of the last slots (default {DEFAULT_RECORDS})",
    )

    # No character begins an option here: `-f`, `-n 20` and others are journalctl's.
    log = commands.add_parser("log", help="show the daemon's lines in the journal", prefix_chars="\0", add_help=False)
    log.add_argument("arguments", nargs="*", metavar="ARGUMENT")

    timeline = add("timeline", "draw the slots, planned against taken: a row a day, a mark a slot")
    timeline.add_argument(
        "name", type=_name, nargs="?", metavar="NAME", help="a timelapse that has ended; default: the last one"
    )
    timeline.add_argument("--svg", type=_path, metavar="FILE", help="as a picture into this file; - is standard output")

    add("verify", "look for damage in store, archive and datasets; nothing is changed")
    _add_datasets(add("datasets", "bring datasets of earlier versions to the present layout"))
    deliver = add("deliver", "show what the relay has delivered, and what waits")
    again = deliver.add_mutually_exclusive_group()
    again.add_argument("--retry", action="store_true", help="try again at once what waits, and what was refused")
    again.add_argument("--forget", type=_name, metavar="NAME", help="compare a dataset again, or all of a target")

    notify = add("notify", "show which messages and heartbeat the relay sends, or send a test")
    notify.add_argument("--test", action="store_true", help="send a test message, and say which service took it")

    _add_rig(add("rig", "try the rig by hand, between scans"))

    rigs = add("rigs", "show every rig of this host, a line each")
    rigs.add_argument("--json", action="store_true", help="the same facts for programs")

    names = add("names", "print the names of what there is, one a line: for completion and scripts")
    names.add_argument("kind", choices=("rigs", "archives", "slots"), help="of which kind")

    add("demo", "watch a timelapse of half a minute, with a power cut in the middle; needs no rig")
    return parser


def _add_datasets(datasets: argparse.ArgumentParser) -> None:
    actions = datasets.add_subparsers(title="actions", dest="action", metavar="ACTION", required=True)
    migrate = _add_command(actions, "migrate", "bring their metadata to the present layout; no picture is touched")
    migrate.add_argument(
        "directory", type=_path, nargs="?", metavar="DIR", help="where they are; default: the rig's own"
    )
    migrate.add_argument("--dry-run", action="store_true", help="change nothing, and say what would be changed")


def _add_rig(rig: argparse.ArgumentParser) -> None:
    add = partial(_add_command, rig.add_subparsers(title="actions", dest="action", metavar="ACTION", required=True))

    check = add("check", "talk to every part of the rig, and say what answers")
    check.add_argument("--json", action="store_true", help="the same facts for programs")

    add("home", "home the arm")

    goto = add("goto", "send the arm somewhere; what isn't named stays as it is")
    goto.add_argument("--x", type=_coordinate, metavar="MM", help="how far along")
    goto.add_argument("--y", type=_coordinate, metavar="MM", help="how far across")
    goto.add_argument("--pan", type=_coordinate, metavar="DEGREES", help="where the turntable turns")

    snapshot = add("snapshot", "take a picture from where the arm is, in the light there is")
    snapshot.add_argument("--camera", type=_name, metavar="NAME", help="by this camera; default: by each")
    snapshot.add_argument(
        "--output", type=_path, default=Path(), metavar="PATH", help="a file, or a directory (default: the current one)"
    )

    trial = add("try", "take one scan now, outside the schedule, and say how long it took and how large it is")
    trial.add_argument("--position", type=_position, default=0, metavar="N", help="only this one of the path, from 1")

    lights = add("lights", "switch to the light of a scan, or back to the plant's own")
    lights.add_argument("state", choices=("on", "off"), help="of the scan light")


def _add_command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], name: str, sentence: str
) -> argparse.ArgumentParser:
    """Add a command, or an action of one, with its description; the parser for its own options is returned."""
    description = f"{sentence[0].upper()}{sentence[1:]}."
    command = commands.add_parser(name, help=sentence, description=description, allow_abbrev=False)
    _add_common(command, defaults=False)
    return command


LOG_HELP: Final = """\
usage: timelapsectl [--system | --user] [--rig NAME] log [ARGUMENT ...]

Show the daemon's lines in the journal: journalctl for its unit. All arguments are journalctl's:
  timelapsectl log -f                      as it comes
  timelapsectl log -x -p warning           what went wrong, and what to do about it
  timelapsectl log SLOT=7                  all about one slot
  timelapsectl log ACTION=slot_skipped     all events of a kind
"""


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the options; a usage error ends the process with 2, help and version with 0."""
    parser = build_parser()
    options = parser.parse_args(arguments)
    if options.command == "log" and options.arguments in (["-h"], ["--help"]):
        print(LOG_HELP, end="")
        parser.exit()
    if options.command == "rig" and options.action == "goto" and options.x is options.y is options.pan is None:
        parser.error("rig goto: nowhere to go to; say --x, --y or --pan, or several of them")
    return options


def _add_common(parser: argparse.ArgumentParser, *, defaults: bool) -> None:
    """Add the options that say whose timelapse is meant, before the command and behind it; the last one counts."""
    default = None if defaults else argparse.SUPPRESS
    group = parser.add_argument_group("whose timelapse")
    whose = group.add_mutually_exclusive_group()
    whose.add_argument(
        "--system", dest="scope", action="store_const", const="system", default=default, help="the system service's"
    )
    whose.add_argument(
        "--user", dest="scope", action="store_const", const="user", default=default, help="your own service's"
    )
    group.add_argument("--rig", metavar="NAME", default=default, help="that of one of several rigs on this host")
    group.add_argument(
        "--config", type=_path, metavar="FILE", default=default, help="use this timelapsed.toml and look for no other"
    )


def _name(text: str) -> str:
    """Return a name. An empty one is a variable of a shell that isn't set."""
    if not text:
        raise argparse.ArgumentTypeError("an empty text names nothing")
    return text


def _path(text: str) -> Path:
    return Path(_name(text))


def _count(text: str) -> int:
    with suppress(ValueError):
        if (count := int(text)) >= 0:
            return count
    raise argparse.ArgumentTypeError(f"{text!r} is no number of slots; write 0 or more")


def _position(text: str) -> int:
    if position := _count(text):
        return position
    raise argparse.ArgumentTypeError(f"{text!r} is no position; they are counted from 1")


def _coordinate(text: str) -> float:
    with suppress(ValueError):
        if isfinite(at := float(text)):
            return at
    raise argparse.ArgumentTypeError(f"{text!r} is no place; write a number, such as 120.5")


class _Version(argparse.Action):
    """Prints the version. It is looked up only on request: the look-up takes as long as the whole parser."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        """Print the version and exit."""
        from plantimager.timelapse.support.distribution import installed_version  # noqa: PLC0415 - see above

        print(f"{parser.prog} {installed_version()}")
        parser.exit()
