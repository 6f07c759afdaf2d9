"""The scan of ``kernels.scan.lanes`` along columns where lanes are threads.

Layer: kernels. A group takes 16 columns, with 16 lanes for the runs of each. Elements of neighbouring columns lie
side by side, so that nothing need pass through shared memory but the totals of runs. Buffers, parameters and order are
those of ``run_totals`` and ``scan_tiles`` with ``across``. Invariant: the bits are those of ``kernels.scan.lanes``.
"""

from __future__ import annotations

from functools import cache

from loom.core.dtype import DType, u32
from loom.core.numerics import SCAN_RUN, SCAN_TILE
from loom.ir.frontend.base.annotations import In, Out
from loom.ir.frontend.decorator import KernelFunction, kernel
from loom.ir.frontend.intrinsics import barrier, group_id, local_id, shared, static_range
from loom.kernels.scan.lanes import RUNS, SCANS

__all__ = ["BESIDE", "lane_run_totals_across", "lane_scan_across"]

BESIDE = 16
"""Columns a workgroup takes."""
_SHARERS = 16
_OWN = RUNS // _SHARERS
_STEPS = RUNS.bit_length() - 1
_PLACES = RUNS * BESIDE


@cache
def lane_run_totals_across(operation: str, element: DType, accumulator: DType) -> KernelFunction:
    """Return the kernel (x, runs, total, n, inner, tiles, width) of ``run_totals``."""
    join, neutral = SCANS[operation].join, accumulator(SCANS[operation].neutral(accumulator))

    @kernel(workgroup=(BESIDE, _SHARERS), trusted=True)
    def totals(
        x: In[element], runs: Out[accumulator], total: Out[accumulator],  # type: ignore[valid-type]
        n: u32, inner: u32, tiles: u32, width: u32,
    ):  # fmt: skip
        lane, sharer = local_id(0), local_id(1)
        blocks = (inner + (BESIDE - 1)) // BESIDE
        number, column = group_id() // blocks, group_id() % blocks * BESIDE + lane
        tile, outer = number % tiles, number // tiles
        size = min(n - tile * SCAN_TILE, SCAN_TILE)
        first = (outer * n + tile * SCAN_TILE) * inner + column
        held = shared(accumulator, 2 * _PLACES)
        for k in static_range(_OWN):
            run = k * _SHARERS + sharer
            value = neutral
            if column < inner:
                for i in range(run * SCAN_RUN, min(size, (run + 1) * SCAN_RUN)):
                    value = join(value, accumulator(x[first + i * inner]))
            held[run * BESIDE + lane] = value
        barrier()
        for step in static_range(_STEPS):
            for k in static_range(_OWN):
                run = k * _SHARERS + sharer
                here = (step & 1) * _PLACES + run * BESIDE + lane
                value = held[here]
                if run >= 1 << step:
                    value = join(held[here - (BESIDE << step)], value)
                held[(1 - (step & 1)) * _PLACES + run * BESIDE + lane] = value
            barrier()
        if column < inner:
            for k in static_range(_OWN):
                run = k * _SHARERS + sharer
                value = held[(_STEPS & 1) * _PLACES + run * BESIDE + lane]
                if run < width:
                    runs[(number * width + run) * inner + column] = value
                if run == RUNS - 1:
                    total[number * inner + column] = value

    totals.name = f"lane_run_totals_across_{operation}_{element}_{accumulator}"
    return totals


@cache
def lane_scan_across(
    operation: str, element: DType, accumulator: DType, result: DType, *, exclusive: bool
) -> KernelFunction:
    """Return the kernel (x, runs, offsets, out, n, inner, tiles, width) of ``scan_tiles``."""
    scan = SCANS[operation]
    join, neutral = scan.join, accumulator(scan.neutral(accumulator))
    identity = scan.identity(accumulator)

    @kernel(workgroup=(BESIDE, _SHARERS), trusted=True)
    def results(
        x: In[element], runs: In[accumulator], offsets: In[accumulator], out: Out[result],  # type: ignore[valid-type]
        n: u32, inner: u32, tiles: u32, width: u32,
    ):  # fmt: skip
        sharer = local_id(1)
        blocks = (inner + (BESIDE - 1)) // BESIDE
        number, column = group_id() // blocks, group_id() % blocks * BESIDE + local_id(0)
        tile, outer = number % tiles, number // tiles
        size = min(n - tile * SCAN_TILE, SCAN_TILE)
        first = (outer * n + tile * SCAN_TILE) * inner + column
        if column < inner:
            before = neutral
            if tile > 0:
                before = offsets[(number - 1) * inner + column]
            if exclusive and tile == 0 and sharer == 0:
                out[first] = result(identity)
            for k in static_range(_OWN):
                run = k * _SHARERS + sharer
                value, shift = neutral, neutral
                if run > 0 and run * SCAN_RUN < size:
                    shift = runs[(number * width + run - 1) * inner + column]
                for i in range(run * SCAN_RUN, min(size, (run + 1) * SCAN_RUN)):
                    value = join(value, accumulator(x[first + i * inner]))
                    found = result(join(before, join(shift, value)))
                    if not exclusive:
                        out[first + i * inner] = found
                    elif tile * SCAN_TILE + i + 1 < n:
                        out[first + (i + 1) * inner] = found

    kind = f"{'exclusive_' if exclusive else ''}scan_across"
    results.name = f"lane_{kind}_{operation}_{element}_{accumulator}_{result}"
    return results
