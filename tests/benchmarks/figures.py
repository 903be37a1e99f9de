"""Put the figures of a run into the tables of README.md: ``figures.py benchmarks.json README.md``.

A table stands between ``<!-- NAME -->`` and ``<!-- end -->``; the text around it is kept. Ratios are those to what the
same run has measured beside.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    Row = Iterable[object]


def conditions(numbers: Mapping[str, Any]) -> str:
    """Return the line that says where the figures are from."""
    return f"One run on {numbers['saving']['machine']}."


def saving(numbers: Mapping[str, Any]) -> str:
    """Return the table of saves."""
    rows = numbers["saving"]["ms"].items()
    return table(
        [
            *("slots", "a save, ms", "× the bare write with `.bak`", "a transition × that", "a save × the bare write"),
            "the documented store takes × as long",
        ],
        (
            [
                *(count(n), r["save"], r["save by with .bak"], r["transition by with .bak"], r["save by bare write"]),
                r["seed way by save"],
            ]
            for n, r in rows
        ),
    )


def start(numbers: Mapping[str, Any]) -> str:
    """Return the table of starts."""
    rows, year = numbers["boot"]["starts"].items(), numbers["boot"]["year"]
    heads = ["slots", "ms", "× the same packages", "× the daemon's modules, too", "memory × the same packages"]
    starts = ([count(n), r["daemon ms"], r["time"], r["time by modules"], r["memory"]] for n, r in rows)
    parts = ["start", "× ten of its slots and reading the file", "until what was missed is saved"]
    return "\n\n".join(
        (
            table(heads, starts),
            table(
                ["the store of a year", *parts],
                [["ms", year["year ms"], year["year by both"], year["year settled ms"]]],
            ),
        )
    )


def firing(numbers: Mapping[str, Any]) -> str:
    """Return the table of firings."""
    late, idle = numbers["firing"]["lateness_us"], numbers["firing"]["idle_wakeups_per_minute"]
    bare = next(iter(late.values()))
    heads = ["what waits", "late by, p50, µs", "p99, µs", "p50 × the first", "wakes up a minute"]
    awake = {name.partition(",")[0]: times for name, times in idle.items()}
    rows = [
        [n, r["p50"], r["p99"], r["p50"] / bare["p50"], awake.get(n.partition(",")[0], "–")] for n, r in late.items()
    ]
    ratios: dict[str, list[float]] = {}
    for name, ratio in numbers["firing"].items():  # "p50 beside a relay that hangs by alone"
        if " beside " in name:
            ratios.setdefault(name.partition(" ")[2].removesuffix(" by alone"), []).append(ratio)
    relay = table(
        ["timelapsed", "p50 × without a relay", "p99 × without a relay"], [[s, *both] for s, both in ratios.items()]
    )
    return f"{table(heads, rows)}\n\n{relay}"


def clock_step(numbers: Mapping[str, Any]) -> str:
    """Return the table of steps of the clock."""
    return table(
        ["slots", "step", "ms", "memory grows by, MB"],
        (
            [count(n), name, row["ms"], row["growth kB"] / 1000 if "growth kB" in row else "–"]
            for n, rows in numbers["clock_step"]["steps"].items()
            for name, row in rows.items()
        ),
    )


def scan(numbers: Mapping[str, Any]) -> str:
    """Return the table of scans and pictures."""
    found, picture = numbers["scan"], numbers["scan"]["picture"]
    ways = {
        "timelapsed": found["scan"],
        "an arm that waits for every picture": found["sequential"],
        f"timelapsed, where a check takes {found['check']:g} s": found["slow"],
        "an exposure that waits for such a check": found["checked"],
    }
    return "\n\n".join(
        (
            table(["scan", "s", "× its limit"], ([n, w["took"], w["took"] / w["limit"]] for n, w in ways.items())),
            table(
                ["a picture of", "processor, ms", "its bare write, ms", "daemon, MB", "camera's process, MB"],
                [
                    [
                        f"{picture['picture_mb']:.1f} MB",
                        picture["cpu"] * 1000,
                        picture["bare_cpu"] * 1000,
                        picture["daemon_mb"],
                        picture["worker_mb"],
                    ]
                ],
            ),
        )
    )


def pending(numbers: Mapping[str, Any]) -> str:
    """Return the table of datasets that wait."""
    rows = numbers["pending"]["pending"]
    least = rows[min(rows, key=int)]
    return table(
        ["waiting", "ms until the first is out", "× the fewest", "memory, kB", "× the fewest"],
        ([count(n), s * 1000, s / least[0], memory / 1000, memory / least[1]] for n, (s, memory) in rows.items()),
    )


TABLES: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    function.__name__: function for function in (conditions, saving, start, firing, clock_step, scan, pending)
}


def table(heads: Iterable[str], rows: Iterable[Row]) -> str:
    """Return a table of Markdown."""
    lines = [[*heads], *([cell(value) for value in row] for row in rows)]
    lines.insert(1, ["---"] * len(lines[0]))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def cell(value: object) -> str:
    """Return a number with as many digits as it is worth."""
    if not isinstance(value, float):
        return str(value)
    digits = 2 if abs(value) < 10 else 1 if abs(value) < 100 else 0
    return f"{value:.{digits}f}"


def count(slots: str) -> str:
    """Return a number of slots as this page writes it: ``10 000``."""
    return f"{int(slots):,}".replace(",", " ")


def with_figures(text: str, numbers: Mapping[str, Any]) -> str:
    """Return the text of README.md with the tables of a run; a table of a benchmark that has not run stays."""
    for name, make in TABLES.items():
        needed = {"conditions": "saving", "start": "boot"}.get(name, name)
        if needed in numbers:
            before, opening, rest = text.partition(f"<!-- {name} -->\n")
            _, closing, after = rest.partition("<!-- end -->")
            if not closing:
                raise LookupError(f"the page has no place for the table {name}")
            text = f"{before}{opening}{make(numbers)}\n{closing}{after}"
    return text


def main() -> None:
    """Put them in."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("numbers", type=Path, help="what tests/benchmarks/run wrote")
    parser.add_argument("readme", type=Path, help="the page with the tables")
    options = parser.parse_args()
    numbers = json.loads(options.numbers.read_text(encoding="utf-8"))
    options.readme.write_text(with_figures(options.readme.read_text(encoding="utf-8"), numbers), encoding="utf-8")


if __name__ == "__main__":
    main()
