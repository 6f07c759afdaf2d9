"""Runs of equal elements, listed by workgroups of many lanes.

Layer: kernels. The kernels have the buffers and parameters of those of ``kernels.sort.search``; a tile is
``MARK_TILE`` elements at most. Invariant: no access is outside the arrays, whatever the order of the elements.
"""

from __future__ import annotations

from functools import cache

from loom.core.dtype import u32, u64
from loom.ir.frontend.base.annotations import In, InOut, Out
from loom.ir.frontend.decorator import KernelFunction, kernel
from loom.ir.frontend.intrinsics import group_id, local_id, select, shared
from loom.kernels.group.join import sum_lanes
from loom.kernels.group.marks import (
    MARK_LANES,
    MARK_ROUNDS,
    MARK_WORDS,
    clear_marks,
    count_before,
    count_marks,
    is_marked,
    mark,
    scan_stretch,
)
from loom.kernels.sort.keys import Order
from loom.kernels.sort.search import is_start

__all__ = ["count_runs", "place_runs", "write_runs"]


@cache
def count_runs(order: Order) -> KernelFunction:
    """Return the kernel (x, counts, n, tile): how many runs of equal elements start in tile g."""

    @kernel(workgroup=MARK_LANES, trusted=True)
    def count(x: In[order.bits], counts: Out[u32], n: u32, tile: u32) -> None:
        sums = shared(u32, 2 * MARK_LANES)
        runs = u32(0)
        for k in range(MARK_ROUNDS):
            p = k * MARK_LANES + local_id()
            i = group_id() * tile + p
            if p < tile and i < n:
                runs += select(i == 0 or is_start(order, x, i), u32(1), u32(0))
        upto = sum_lanes(MARK_LANES, sums, runs)
        if local_id() == MARK_LANES - 1:
            counts[group_id()] = upto

    count.name = f"runs_threads_count_{order.dtype}"
    return count


@cache
def place_runs() -> KernelFunction:
    """Return the kernel (counts, tiles): ``counts[g]`` becomes the runs before tile g, up to ``counts[tiles]``."""

    @kernel(workgroup=MARK_LANES, trusted=True)
    def place(counts: InOut[u32], tiles: u32) -> None:
        sums = shared(u32, 2 * MARK_LANES)
        total = scan_stretch(counts, u32(0), u32(1), tiles, u32(0), sums)
        if local_id() == 0:
            counts[tiles] = total

    place.name = "runs_threads_place"
    return place


@cache
def write_runs(order: Order, *, inverse: bool) -> KernelFunction:
    """Return the kernel (x, positions, places, out, starts, numbers, n, tile) that lists the runs of tile g."""

    @kernel(workgroup=MARK_LANES, trusted=True)
    def write(
        x: In[order.bits],
        positions: In[u64],
        places: In[u32],
        out: Out[order.bits],
        starts: Out[u32],
        numbers: Out[u64],
        n: u32,
        tile: u32,
    ) -> None:
        marks, before = shared(u32, MARK_WORDS), shared(u32, MARK_WORDS)
        sums = shared(u32, 2 * MARK_LANES)
        first = group_id() * tile
        size = min(n - first, tile)
        clear_marks(marks)
        for k in range(MARK_ROUNDS):
            p = k * MARK_LANES + local_id()
            if p < size:
                if first + p == 0 or is_start(order, x, first + p):
                    mark(marks, p)
        count_marks(marks, before, sums)
        for k in range(MARK_ROUNDS):
            p = k * MARK_LANES + local_id()
            if p < size:
                run = places[group_id()] + count_before(marks, before, p)
                if is_marked(marks, p):
                    out[run] = x[first + p]
                    starts[run] = first + p
                elif inverse:
                    run -= 1
                if inverse:
                    numbers[positions[first + p]] = u64(run)

    write.name = f"runs_threads_write_{order.dtype}{'_inverse' if inverse else ''}"
    return write
