"""Reductions: sums in the canonical order, minima and maxima, and the mean's last step.

Layer: kernels. One workgroup of 64 lanes folds one tile of 4096 elements: lane l takes elements
64 i + l with i ascending, then a halving tree joins the lanes. Applying the kernel to its own results
until one is left reduces any length. Invariant: the order of a sum depends on the length alone.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from loom.core.dtype import DType, f32, u32
from loom.core.numerics import REDUCE_LANES, REDUCE_TILE
from loom.ir.frontend.base.annotations import In, Out
from loom.ir.frontend.decorator import KernelFunction, kernel
from loom.ir.frontend.intrinsics import (
    barrier,
    global_id,
    group_id,
    local_id,
    private,
    select,
    shared,
    sqrt,
    static_range,
)
from loom.kernels.group.join import HALVES, add, highest, join_lanes, larger, lowest, smaller

__all__ = ["DIVIDE_LANES", "EXTREME_TILE", "SUM_TILES", "divide_rows", "extreme_tiles", "sum_four_tiles", "sum_tiles"]

EXTREME_TILE = 4 * REDUCE_TILE
"""Elements of a tile of minima and maxima, whose order is free: the larger, the less joining of lanes."""
_STRETCH = EXTREME_TILE // 4
"""Such a tile is read at four places in turn, which keeps more of the memory system busy than one after the other."""

SUM_TILES = 4
"""Tiles a group of ``sum_four_tiles`` reads in turn, for the same reason."""

DIVIDE_LANES = 64
"""Rows a group of ``divide_rows`` divides."""

_ROWS = REDUCE_TILE // REDUCE_LANES


@cache
def sum_tiles(element: DType, accumulator: DType, result: DType) -> KernelFunction:
    """Return the kernel (x, out, n) that sums tile g of ``x`` into ``out[g]``; one group per tile.

    Elements are converted to ``accumulator`` before they are added, and the tile's sum to ``result``.
    """

    @kernel(workgroup=REDUCE_LANES, trusted=True)
    def tiles(x: In[element], out: Out[result], n: u32):  # type: ignore[valid-type]
        lane = local_id()
        first = group_id() * REDUCE_TILE
        total = accumulator(0)
        if n - first >= REDUCE_TILE:
            for row in range(_ROWS):
                total = total + accumulator(x[first + row * REDUCE_LANES + lane])
        else:
            for at in range(first + lane, n, REDUCE_LANES):
                total = total + accumulator(x[at])
        lanes = shared(accumulator, REDUCE_LANES)
        join_lanes(lanes, lane, total, add)
        if lane == 0:
            out[group_id()] = result(lanes[0])

    tiles.name = f"sum_{element}_{accumulator}_{result}"
    return tiles


@cache
def sum_four_tiles(element: DType, accumulator: DType, result: DType) -> KernelFunction:
    """Return the kernel (x, out, n): as ``sum_tiles``, tiles 4 g to 4 g + 3 by group g, which reads them in turn."""

    @kernel(workgroup=REDUCE_LANES, trusted=True)
    def tiles(x: In[element], out: Out[result], n: u32):  # type: ignore[valid-type]
        lane = local_id()
        first = group_id() * (SUM_TILES * REDUCE_TILE)
        totals = private(accumulator, SUM_TILES)
        for k in static_range(SUM_TILES):
            totals[k] = accumulator(0)
        if n - first >= SUM_TILES * REDUCE_TILE:
            for row in range(_ROWS):
                for k in static_range(SUM_TILES):
                    totals[k] = totals[k] + accumulator(x[first + k * REDUCE_TILE + row * REDUCE_LANES + lane])
        else:
            for k in static_range(SUM_TILES):
                for at in range(k * REDUCE_TILE + lane, min(n - first, (k + 1) * REDUCE_TILE), REDUCE_LANES):
                    totals[k] = totals[k] + accumulator(x[first + at])
        lanes = shared(accumulator, SUM_TILES * REDUCE_LANES)
        for k in static_range(SUM_TILES):
            lanes[k * REDUCE_LANES + lane] = totals[k]
        barrier()
        for half in static_range(len(HALVES)):
            if lane < HALVES[half]:
                for k in static_range(SUM_TILES):
                    here = k * REDUCE_LANES + lane
                    lanes[here] = lanes[here] + lanes[here + HALVES[half]]
            barrier()
        if lane < SUM_TILES and lane * REDUCE_TILE < n - first:
            out[group_id() * SUM_TILES + lane] = result(lanes[lane * REDUCE_LANES])

    tiles.name = f"sum_four_{element}_{accumulator}_{result}"
    return tiles


def _quick(held: DType, *, largest: bool) -> Any:
    """Return a comparison that may leave out a NaN and take either zero, one instruction for floats."""
    if not held.is_float:
        return larger if largest else smaller
    return (lambda best, v: select(v > best, v, best)) if largest else (lambda best, v: select(v < best, v, best))


@cache
def extreme_tiles(element: DType, *, largest: bool) -> KernelFunction:
    """Return the kernel (x, out, n) that finds the extreme of tile g of ``x``; NaN wins, -0 is below +0.

    Every lane starts from the least (or greatest) value, which changes nothing: a tile has an element. Floats
    are compared the quick way, which leaves NaNs out and takes either zero; where their plain sum tells that
    there may be a NaN, or the result is a zero, the lane compares its elements again in full.
    """
    better = larger if largest else smaller
    held = f32 if element.storage_only else element  # f16 and bf16 are read as f32
    quick, start = _quick(held, largest=largest), held(lowest(held) if largest else highest(held))

    @kernel(workgroup=REDUCE_LANES, trusted=True)
    def tiles(x: In[element], out: Out[element], n: u32):  # type: ignore[valid-type]
        lane = local_id()
        first = group_id() * EXTREME_TILE
        size = min(n - first, EXTREME_TILE)
        best, total = start, held(0)
        if size == EXTREME_TILE:
            for row in range(_STRETCH // REDUCE_LANES):
                for stretch in static_range(EXTREME_TILE // _STRETCH):
                    v = x[first + stretch * _STRETCH + row * REDUCE_LANES + lane]
                    best, total = quick(best, v), total + v
        else:
            for at in range(lane, size, REDUCE_LANES):
                v = x[first + at]
                best, total = quick(best, v), total + v
        if held.is_float and (total != total or best == 0):  # noqa: PLR0124 - a NaN
            for at in range(lane, size, REDUCE_LANES):
                best = better(best, x[first + at])
        lanes = shared(held, REDUCE_LANES)
        join_lanes(lanes, lane, best, better)
        if lane == 0:
            out[group_id()] = lanes[0]

    tiles.name = f"{'max' if largest else 'min'}_{element}"
    return tiles


@cache
def divide_rows(total: DType, computed: DType, result: DType, *, root: bool = False) -> KernelFunction:
    """Return the kernel (totals, out, count, rows): a row's total by ``count``, or the root of that."""

    @kernel(workgroup=DIVIDE_LANES, trusted=True)
    def divide(totals: In[total], out: Out[result], count: u32, rows: u32):  # type: ignore[valid-type]
        row = global_id()
        if row < rows:
            value = computed(totals[row]) / computed(count)
            if root:
                value = sqrt(value)
            out[row] = result(value)

    divide.name = f"divide_{total}_{computed}_{result}{'_root' if root else ''}"
    return divide
