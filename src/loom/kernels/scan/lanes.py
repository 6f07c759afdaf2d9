"""Running sums, products, minima and maxima, in the canonical order.

Layer: kernels. An array of shape (outer, n, inner) is scanned along n. A tile is 4096 elements along it, 64 runs of 64:
a run is scanned one element after the other, the totals of runs by Kogge and Stone's network, the totals of tiles
by the same operator; an element's result is then tile offset + (run offset + local), earlier values on the left.
``run_totals`` leaves the scanned totals of runs, ``scan_tiles`` makes the results from them. An offset that does not
exist is the operation's neutral value, which changes no bit (of a sum -0). Invariant: the order depends on n alone.

Source: Kogge and Stone, "A Parallel Algorithm for the Efficient Solution of a General Class of Recurrence
Equations" (IEEE Transactions on Computers, 1973).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

from loom.core.dtype import DType, u32
from loom.core.numerics import SCAN_RUN, SCAN_TILE
from loom.ir.frontend.annotations import In, Out
from loom.ir.frontend.decorator import KernelFunction, kernel
from loom.ir.frontend.intrinsics import group_id, local_id, private, static_range
from loom.kernels.group.join import added, highest, larger, lowest, multiplied, smaller

__all__ = ["ACROSS_LANES", "RUNS", "SCANS", "Scan", "run_totals", "scan_tiles"]

RUNS = SCAN_TILE // SCAN_RUN
"""Runs of a tile."""

ACROSS_LANES = 64
"""Columns a workgroup takes if each lane scans a column of its own."""

_TOGETHER = 8
"""Runs scanned in turn, so that additions of one need not wait for each other."""


@dataclass(frozen=True, slots=True)
class Scan:
    """An operation: ``join`` it, ``neutral`` changes no bit, ``identity`` is what an exclusive scan starts from."""

    join: Callable[[Any, Any], Any]
    neutral: Callable[[DType], Any]
    identity: Callable[[DType], Any]


SCANS: dict[str, Scan] = {
    "sum": Scan(added, lambda t: -0.0 if t.is_float else 0, lambda _t: 0),
    "product": Scan(multiplied, lambda _t: 1, lambda _t: 1),
    "min": Scan(smaller, highest, highest),
    "max": Scan(larger, lowest, lowest),
}
"""The operations by name."""


def _place(group: Any, inner: Any, tiles: Any, across: Any) -> Any:
    """Return the column, the tile and the outer index of this lane."""
    if across:
        blocks = (inner + (ACROSS_LANES - 1)) // ACROSS_LANES
        rest = group // blocks
        return group % blocks * ACROSS_LANES + local_id(), rest % tiles, rest // tiles
    return u32(0), group % tiles, group // tiles


def _kogge_stone(totals: Any, scratch: Any, join: Any) -> None:
    """Scan the totals of a tile's runs."""
    for step in static_range(RUNS.bit_length() - 1):
        for run in range(1 << step):
            scratch[run] = totals[run]
        for run in range(1 << step, RUNS):
            scratch[run] = join(totals[run - (1 << step)], totals[run])
        for run in range(RUNS):
            totals[run] = scratch[run]


@cache
def run_totals(operation: str, element: DType, accumulator: DType, *, across: bool) -> KernelFunction:
    """Return the kernel (x, runs, total, n, inner, tiles, width) that scans the totals of runs.

    ``x`` has shape (outer, n, inner), ``runs`` (outer, tiles, width, inner): the total up to and including each
    run of a tile; ``total`` (outer, tiles, inner): that of the tile. A group does one tile of one row (``inner`` is
    1), or ``across`` of ``ACROSS_LANES`` columns. ``width`` is ``RUNS``, or less if the only tile has less.
    """
    join, neutral = SCANS[operation].join, accumulator(SCANS[operation].neutral(accumulator))

    @kernel(workgroup=ACROSS_LANES if across else 1, trusted=True)
    def totals(
        x: In[element], runs: Out[accumulator], total: Out[accumulator],  # type: ignore[valid-type]
        n: u32, inner: u32, tiles: u32, width: u32,
    ):  # fmt: skip
        column, tile, outer = _place(group_id(), inner, tiles, across)
        held, scratch = private(accumulator, RUNS), private(accumulator, RUNS)
        along = inner if across else 1
        if column < inner:
            size = min(n - tile * SCAN_TILE, SCAN_TILE)
            first = (outer * n + tile * SCAN_TILE) * along + column
            whole = size // (_TOGETHER * SCAN_RUN)
            for part in range(whole):
                at = first + part * (_TOGETHER * SCAN_RUN) * along
                running = private(accumulator, _TOGETHER)
                for k in static_range(_TOGETHER):
                    running[k] = neutral
                for i in range(SCAN_RUN):
                    for k in static_range(_TOGETHER):
                        running[k] = join(running[k], accumulator(x[at + (k * SCAN_RUN + i) * along]))
                for k in static_range(_TOGETHER):
                    held[part * _TOGETHER + k] = running[k]
            for run in range(whole * _TOGETHER, RUNS):
                value = neutral
                for i in range(run * SCAN_RUN, min(size, (run + 1) * SCAN_RUN)):
                    value = join(value, accumulator(x[first + i * along]))
                held[run] = value
            _kogge_stone(held, scratch, join)
            to = (outer * tiles + tile) * width * along + column
            for run in range(width):
                runs[to + run * along] = held[run]
            total[(outer * tiles + tile) * along + column] = held[RUNS - 1]

    totals.name = f"run_totals_{operation}_{element}_{accumulator}{'_across' if across else ''}"
    return totals


@cache
def scan_tiles(
    operation: str, element: DType, accumulator: DType, result: DType, *, across: bool, exclusive: bool
) -> KernelFunction:
    """Return the kernel (x, runs, offsets, out, n, inner, tiles, width) that makes the results.

    Shapes as for ``run_totals``; ``offsets`` is the scan of its ``total``, read if there are several tiles.
    ``exclusive`` puts each result one place later, after the identity.
    """
    scan = SCANS[operation]
    join, neutral = scan.join, accumulator(scan.neutral(accumulator))
    identity = scan.identity(accumulator)

    def put(out: Any, first: Any, along: Any, at: Any, n: Any, value: Any) -> None:
        """Store the result of element ``at`` of the row that begins at ``first``."""
        if not exclusive:
            out[first + at * along] = result(value)
        elif at + 1 < n:
            out[first + (at + 1) * along] = result(value)

    @kernel(workgroup=ACROSS_LANES if across else 1, trusted=True)
    def results(
        x: In[element], runs: In[accumulator], offsets: In[accumulator], out: Out[result],  # type: ignore[valid-type]
        n: u32, inner: u32, tiles: u32, width: u32,
    ):  # fmt: skip
        column, tile, outer = _place(group_id(), inner, tiles, across)
        along = inner if across else 1
        if column < inner:
            begin, end = tile * SCAN_TILE, min(n - tile * SCAN_TILE, SCAN_TILE) + tile * SCAN_TILE
            first = outer * n * along + column
            before = neutral
            if tile > 0:
                before = offsets[(outer * tiles + tile - 1) * along + column]
            if exclusive and tile == 0:
                out[first] = result(accumulator(identity))
            scanned = (outer * tiles + tile) * width * along + column
            safe = end - 1 if exclusive and end == n else end  # the last result has no place
            whole = (safe - begin) // (_TOGETHER * SCAN_RUN)
            for part in range(whole):
                at = begin + part * (_TOGETHER * SCAN_RUN)
                offset, running = private(accumulator, _TOGETHER), private(accumulator, _TOGETHER)
                for k in static_range(_TOGETHER):
                    running[k], offset[k] = neutral, neutral
                    if part * _TOGETHER + k > 0:
                        offset[k] = runs[scanned + (part * _TOGETHER + k - 1) * along]
                for i in range(SCAN_RUN):
                    for k in static_range(_TOGETHER):
                        here = at + k * SCAN_RUN + i
                        running[k] = join(running[k], accumulator(x[first + here * along]))
                        to = here + 1 if exclusive else here
                        out[first + to * along] = result(join(before, join(offset[k], running[k])))
            for run in range(whole * _TOGETHER, (end - begin + (SCAN_RUN - 1)) // SCAN_RUN):
                value, shift = neutral, neutral
                if run > 0:
                    shift = runs[scanned + (run - 1) * along]
                for here in range(begin + run * SCAN_RUN, min(end, begin + (run + 1) * SCAN_RUN)):
                    value = join(value, accumulator(x[first + here * along]))
                    put(out, first, along, here, n, join(before, join(shift, value)))

    kind = f"{'exclusive_' if exclusive else ''}scan"
    results.name = f"{kind}_{operation}_{element}_{accumulator}_{result}{'_across' if across else ''}"
    return results
