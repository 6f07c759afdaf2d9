"""Times sides of a comparison in turns, and sums up what was measured.

Sides alternate in blocks (A A A B B B A A A ...) so that a change of the machine's load meets all of them.
Between blocks nothing runs for a while: threads of the library that ran before go on spinning, and where both sides
use all cores they would take them from the other. The first call of each block is not counted either, since caches
hold the other's data. Invariant: every counted time is one whole call.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

__all__ = ["THREADS", "Side", "Timings", "alternate", "time_calls"]

THREADS = int(os.environ.get("LOOM_BENCH_THREADS", "2"))
"""Threads every side uses; ``--threads`` sets it."""

SETTLE_S = 0.2
"""How long nothing runs between blocks; OpenBLAS lets its threads spin for some 130 ms."""

Clock = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Side:
    """One side of a comparison. ``call`` may return further times in seconds by name, measured by itself."""

    name: str
    call: Callable[[], Mapping[str, float] | Any]


@dataclass(frozen=True, slots=True)
class Timings:
    """Counted times in seconds: a list per block, for each name."""

    blocks: dict[str, list[list[float]]]

    def all(self, name: str) -> list[float]:
        """Return the times of a side, in order."""
        return [t for block in self.blocks[name] for t in block]

    def runs(self, name: str) -> int:
        """Return how many calls were counted."""
        return len(self.all(name))

    def median(self, name: str) -> float:
        """Return the median time of a side."""
        return median(self.all(name))

    def ratio_of_medians(self, name: str, peer: str) -> float:
        """Return the time of ``name`` divided by that of ``peer``, medians over everything."""
        return self.median(name) / self.median(peer)

    def least(self, name: str) -> float:
        """Return the least time of a side: what it takes where nothing else runs."""
        return min(self.all(name))

    def median_of_ratios(self, name: str, peer: str) -> float:
        """Return the median over rounds of the ratio of the two blocks' medians: drift cancels out."""
        pairs = zip(self.blocks[name], self.blocks[peer], strict=True)
        return median(median(mine) / median(theirs) for mine, theirs in pairs)


def alternate(
    sides: Sequence[Side], *, blocks: int, calls: int, clock: Clock = time.perf_counter, span: float = 0.0
) -> Timings:
    """Time ``calls`` calls of each side in each of ``blocks`` rounds, after one that is not counted.

    A block goes on until ``span`` seconds are over, so that short calls are counted more often.
    """
    found: dict[str, list[list[float]]] = {}
    for _ in range(blocks):
        for side in sides:
            time.sleep(SETTLE_S)
            side.call()
            for name, times in time_calls(side, calls, clock, span).items():
                found.setdefault(name, []).append(times)
    return Timings(found)


def time_calls(side: Side, calls: int, clock: Clock = time.perf_counter, span: float = 0.0) -> dict[str, list[float]]:
    """Time ``calls`` calls of a side, or as many as fit ``span`` seconds; times it returns are kept by their names."""
    found: dict[str, list[float]] = {side.name: []}
    while len(found[side.name]) < calls or sum(found[side.name]) < span:
        start = clock()
        result = side.call()
        found[side.name].append(clock() - start)
        if isinstance(result, Mapping):
            for name, seconds in result.items():
                found.setdefault(name, []).append(seconds)
    return found
