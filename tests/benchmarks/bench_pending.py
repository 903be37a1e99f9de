"""What it costs the relay when many datasets wait for a target: the time to the first one, and memory.

Run it on a machine that does nothing else::

    PYTHONPATH=tests/support tests/benchmarks/bench_pending.py [--slots 100 1000 10000] [--rounds 3] [--json FILE]

The sink itself with its ledger on disk, and a delivery that sends nothing. Printed are ratios to the fewest slots.
"""

from __future__ import annotations

import tempfile
import time
import tracemalloc
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from measuring import options_for, write_numbers
from pending import CountingDelivery, taken_scans

from plantimager.timelapse.relay.store_view import StoreView

if TYPE_CHECKING:
    from plantimager.timelapse.relay.taken_scans import TakenScans


def measure(number: int) -> tuple[float, int]:
    """Return the seconds from the first look to the first delivery, and the most bytes that a second sink took."""
    taken = taken_scans(number)
    began = time.perf_counter()
    first_at = run_to_the_first(taken)
    tracemalloc.start()
    run_to_the_first(taken)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return first_at - began, peak


def run_to_the_first(taken: TakenScans) -> float:
    """Run a sink until it has delivered one; return when that one began."""
    with tempfile.TemporaryDirectory() as directory:
        delivery = CountingDelivery(until=1)
        sink = delivery.sink(Path(directory))
        sink.update(StoreView(taken))
        sink.run()
    return delivery.first_at


def main() -> None:
    """Print the table."""
    parser = options_for(__doc__)
    parser.add_argument("--slots", type=int, nargs="+", default=[100, 1000, 10_000])
    parser.add_argument("--rounds", type=int, default=3, help="first deliveries of each (3)")
    options = parser.parse_args()
    numbers = {}
    for number in options.slots:
        rounds = [measure(number) for _ in range(options.rounds)]
        numbers[number] = [median(values) for values in zip(*rounds, strict=True)]
    least = numbers[min(numbers)]
    print(f"{'waiting':>8} {'to the first':>14} {'ratio':>7} {'memory':>10} {'ratio':>7}")
    for number, (seconds, peak) in numbers.items():
        ratios = seconds / least[0], peak / least[1]
        print(f"{number:>8} {seconds * 1e3:>11.1f} ms {ratios[0]:>7.1f} {peak / 1e3:>7.0f} kB {ratios[1]:>7.1f}")
    write_numbers(options.json, pending=numbers)


if __name__ == "__main__":
    main()
