"""The segmented scan of ``kernels.scan.segments`` where lanes are threads: lane r of 64 scans run r of a tile.

Layer: kernels. Buffers, parameters and order are those of ``segment_run_totals`` and ``segment_scan_tiles``; elements
and marks pass through shared memory piece by piece as in ``kernels.scan.threads``. Elements beyond the end are the
neutral value without a mark, which changes nothing. Invariant: the bits are those of ``kernels.scan.segments``.
"""

from __future__ import annotations

from functools import cache

from loom.core.dtype import DType, u8, u32
from loom.core.numerics import SCAN_TILE
from loom.ir.frontend.annotations import In, Out
from loom.ir.frontend.decorator import KernelFunction, kernel
from loom.ir.frontend.intrinsics import barrier, group_id, local_id, select, shared, static_range
from loom.kernels.scan.lanes import RUNS, SCANS
from loom.kernels.scan.threads import PIECE, PIECE_ROW, PIECES, STEPS, place

__all__ = ["lane_segment_run_totals", "lane_segment_scan_tiles"]


@cache
def lane_segment_run_totals(operation: str, element: DType, accumulator: DType) -> KernelFunction:
    """Return the kernel (x, marks, runs, run_marks, total, total_marks, n) of ``segment_run_totals``."""
    join, neutral = SCANS[operation].join, accumulator(SCANS[operation].neutral(accumulator))

    @kernel(workgroup=RUNS, trusted=True)
    def totals(
        x: In[element], marks: In[u8], runs: Out[accumulator], run_marks: Out[u8],  # type: ignore[valid-type]
        total: Out[accumulator], total_marks: Out[u8], n: u32,  # type: ignore[valid-type]
    ):  # fmt: skip
        lane, tile = local_id(), group_id()
        first = tile * SCAN_TILE
        size = min(n - first, SCAN_TILE)
        held, seen = shared(accumulator, RUNS * PIECE_ROW), shared(u32, RUNS * PIECE_ROW)
        value, marked = neutral, u32(0)
        for piece in range(PIECES):
            for turn in static_range(PIECE):
                at, to = place(turn, piece)
                here = first + min(at, size - 1)
                held[to] = select(at < size, accumulator(x[here]), neutral)
                seen[to] = select(at < size, u32(marks[here]), u32(0))
            barrier()
            for k in static_range(PIECE):
                v, mark = held[lane * PIECE_ROW + k], seen[lane * PIECE_ROW + k]
                value = select(mark != 0, v, join(value, v))
                marked = marked | mark
            barrier()
        held[lane], seen[lane] = value, marked
        barrier()
        for step in static_range(STEPS):
            if lane >= 1 << step:
                earlier = (step & 1) * RUNS + lane - (1 << step)
                value = select(marked != 0, value, join(held[earlier], value))
                marked = marked | seen[earlier]
            held[(1 - (step & 1)) * RUNS + lane], seen[(1 - (step & 1)) * RUNS + lane] = value, marked
            barrier()
        runs[tile * RUNS + lane], run_marks[tile * RUNS + lane] = value, u8(marked)
        if lane == RUNS - 1:
            total[tile], total_marks[tile] = value, u8(marked)

    totals.name = f"lane_segment_run_totals_{operation}_{element}_{accumulator}"
    return totals


@cache
def lane_segment_scan_tiles(
    operation: str, element: DType, accumulator: DType, result: DType, *, exclusive: bool
) -> KernelFunction:
    """Return the kernel (x, marks, runs, run_marks, offsets, out, n) of ``segment_scan_tiles``."""
    scan = SCANS[operation]
    join, neutral = scan.join, accumulator(scan.neutral(accumulator))
    identity = accumulator(scan.identity(accumulator))

    @kernel(workgroup=RUNS, trusted=True)
    def results(
        x: In[element], marks: In[u8], runs: In[accumulator], run_marks: In[u8],  # type: ignore[valid-type]
        offsets: In[accumulator], out: Out[result], n: u32,  # type: ignore[valid-type]
    ):  # fmt: skip
        lane, tile = local_id(), group_id()
        first = tile * SCAN_TILE
        size = min(n - first, SCAN_TILE)
        before, shift, shift_mark = neutral, neutral, u32(0)
        if tile > 0:
            before = offsets[tile - 1]
        if lane > 0:
            shift, shift_mark = runs[tile * RUNS + lane - 1], u32(run_marks[tile * RUNS + lane - 1])
        if exclusive and tile == 0 and lane == 0:
            out[0] = result(identity)
        held, seen = shared(accumulator, RUNS * PIECE_ROW), shared(u32, RUNS * PIECE_ROW)
        value, marked = neutral, u32(0)
        for piece in range(PIECES):
            for turn in static_range(PIECE):
                at, to = place(turn, piece)
                here = first + min(at, size - 1)
                held[to], seen[to] = accumulator(x[here]), u32(marks[here])
            barrier()
            for k in static_range(PIECE):
                here = lane * PIECE_ROW + k
                v, mark = held[here], seen[here]
                value = select(mark != 0, v, join(value, v))
                marked = marked | mark
                local = select(marked != 0, value, join(shift, value))
                held[here] = select((marked | shift_mark) != 0, local, join(before, local))
            barrier()
            for turn in static_range(PIECE):
                at, to = place(turn, piece)
                if at < size:
                    if not exclusive:
                        out[first + at] = result(held[to])
                    elif first + at + 1 < n:
                        out[first + at + 1] = result(select(marks[first + at + 1] != 0, identity, held[to]))
            barrier()

    results.name = f"lane_{'exclusive_' if exclusive else ''}segment_scan_{operation}_{element}_{accumulator}_{result}"
    return results
