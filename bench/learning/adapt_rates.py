"""Finds the rates of ``loom.nn.adapt.rates``: ``python -m bench.learning.adapt_rates [LAYERS [MODES]]`` prints JSON.

For each mode and architecture a grid of powers of about 3 is climbed from where the mode's rates lie, by the mean
accuracy over both worlds and four seeds that the benchmark does not measure.
"""

from __future__ import annotations

import json
import sys

from loom.nn.adapt import LAYERS, Settings, run_benchmark
from loom.nn.tween import TweenMode

GRID = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
FIRST = {mode.value: 7 if mode.is_gap else 4 for mode in TweenMode}
"""Mode -> where in the grid to begin."""
SEEDS, FIRST_SEED = 4, 1000


def accuracy(layers: str, mode: str, rate: float) -> float:
    """Return the mean accuracy over worlds and seeds; less than none where the rate was too much for the numbers."""
    settings = Settings(seeds=SEEDS, first_seed=FIRST_SEED, layers=[layers], modes=[mode], rates={mode: rate})
    rows = run_benchmark(settings)["rows"]
    return sum(row["accuracy"]["mean"] for row in rows) / len(rows) - any(row["refused"] for row in rows) * 100


def best_rate(layers: str, mode: str) -> tuple[float, dict[float, float]]:
    """Return the rate at a top of the grid, and the accuracies seen."""
    at, seen = FIRST[mode], dict[float, float]()

    def of(k: int) -> float:
        if not 0 <= k < len(GRID):
            return -1000.0
        if GRID[k] not in seen:
            seen[GRID[k]] = accuracy(layers, mode, GRID[k])
        return seen[GRID[k]]

    while True:
        better = max((at, at - 1, at + 1), key=of)
        if better == at:
            return GRID[at], seen
        at = better


def main() -> None:
    """Print the rates, and on stderr what was seen."""
    names = sys.argv[1].split(",") if sys.argv[1:] else [*LAYERS, "agents"]
    found: dict[str, dict[str, float]] = {m: {} for m in (sys.argv[2].split(",") if sys.argv[2:] else FIRST)}
    for layers in names:
        for mode, rates in found.items():
            rates[layers], seen = best_rate(layers, mode)
            print(layers, mode, {r: round(a, 1) for r, a in sorted(seen.items())}, file=sys.stderr, flush=True)
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
