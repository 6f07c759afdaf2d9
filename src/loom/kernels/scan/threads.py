"""The scan of ``kernels.scan.lanes`` where lanes are threads: lane r of 64 scans run r of a tile of a row.

Layer: kernels. Buffers and order are those of ``run_totals`` and ``scan_tiles`` there. A tile passes through shared
memory piece by piece, the same few elements of every run, so that lanes side by side read and write memory side by
side; a run's row there is longer than the piece, which spreads the rows over the banks.
``lane_run_totals`` and ``lane_scan_tiles`` do every tile from number ``skip`` on; ``quad_run_totals`` and
``quad_scan_tiles`` do whole tiles of 32-bit elements in one piece, four elements in one instruction. Elements beyond
the end are the neutral value, which changes no bit. Invariant: the bits are those of ``kernels.scan.lanes``.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from loom.core.dtype import DType, u32
from loom.core.numerics import SCAN_RUN, SCAN_TILE
from loom.ir.frontend.annotations import In, Out
from loom.ir.frontend.decorator import KernelFunction, kernel
from loom.ir.frontend.intrinsics import barrier, group_id, local_id, num_groups, select, shared, static_range
from loom.kernels.group.join import items, scan_lanes
from loom.kernels.scan.lanes import RUNS, SCANS

__all__ = [
    "PIECE", "PIECES", "PIECE_ROW", "STEPS", "lane_run_totals", "lane_scan_tiles", "place", "quad_run_totals",
    "quad_scan_tiles",
]  # fmt: skip

STEPS = RUNS.bit_length() - 1
"""Steps of the scan of all lanes."""
PIECE = 16
"""Elements of each run that are in shared memory at a time."""
PIECES = SCAN_RUN // PIECE
PIECE_ROW = PIECE + 1
"""Places of a run in shared memory."""
_QUADS = SCAN_RUN // 4
"""Fours of elements of a run."""
_QUAD_ROW = _QUADS + 1
_QUAD_TILE = SCAN_TILE // 4


def place(turn: Any, piece: Any) -> tuple[Any, Any]:
    """Return where in the tile, and where in shared memory, the element is that this lane moves in a turn."""
    run, column = turn * (RUNS // PIECE) + local_id() // PIECE, local_id() % PIECE
    return run * SCAN_RUN + piece * PIECE + column, run * PIECE_ROW + column


@cache
def lane_run_totals(operation: str, element: DType, accumulator: DType) -> KernelFunction:
    """Return the kernel (x, runs, total, n, tiles, width, skip): ``run_totals`` of rows, one group per tile."""
    join, neutral = SCANS[operation].join, accumulator(SCANS[operation].neutral(accumulator))

    @kernel(workgroup=RUNS, trusted=True)
    def totals(
        x: In[element], runs: Out[accumulator], total: Out[accumulator],  # type: ignore[valid-type]
        n: u32, tiles: u32, width: u32, skip: u32,
    ):  # fmt: skip
        lane, number = local_id(), skip + group_id()
        tile, outer = number % tiles, number // tiles
        size = min(n - tile * SCAN_TILE, SCAN_TILE)
        first = outer * n + tile * SCAN_TILE
        staged = shared(accumulator, RUNS * PIECE_ROW)
        value = neutral
        for piece in range(PIECES):
            for turn in static_range(PIECE):
                at, to = place(turn, piece)
                staged[to] = select(at < size, accumulator(x[first + min(at, size - 1)]), neutral)
            barrier()
            for k in static_range(PIECE):
                value = join(value, staged[lane * PIECE_ROW + k])
            barrier()
        value = scan_lanes(staged, lane, value, join, STEPS)
        if lane < width:
            runs[number * width + lane] = value
        if lane == RUNS - 1:
            total[number] = value

    totals.name = f"lane_run_totals_{operation}_{element}_{accumulator}"
    return totals


@cache
def lane_scan_tiles(
    operation: str, element: DType, accumulator: DType, result: DType, *, exclusive: bool
) -> KernelFunction:
    """Return the kernel (x, runs, offsets, out, n, tiles, width, skip): ``scan_tiles`` of rows, one group per tile."""
    scan = SCANS[operation]
    join, neutral = scan.join, accumulator(scan.neutral(accumulator))
    identity = scan.identity(accumulator)

    @kernel(workgroup=RUNS, trusted=True)
    def results(
        x: In[element], runs: In[accumulator], offsets: In[accumulator], out: Out[result],  # type: ignore[valid-type]
        n: u32, tiles: u32, width: u32, skip: u32,
    ):  # fmt: skip
        lane, number = local_id(), skip + group_id()
        tile, outer = number % tiles, number // tiles
        size = min(n - tile * SCAN_TILE, SCAN_TILE)
        first = outer * n + tile * SCAN_TILE
        stored = size
        if exclusive:
            stored = min(size, n - tile * SCAN_TILE - 1)  # the last result has no place
        before, shift = neutral, neutral
        if tile > 0:
            before = offsets[number - 1]
        if lane > 0 and lane * SCAN_RUN < size:
            shift = runs[number * width + lane - 1]
        if exclusive and tile == 0 and lane == 0:
            out[first] = result(identity)
        staged = shared(accumulator, RUNS * PIECE_ROW)
        value = neutral
        for piece in range(PIECES):
            for turn in static_range(PIECE):
                at, to = place(turn, piece)
                staged[to] = accumulator(x[first + min(at, size - 1)])
            barrier()
            for k in static_range(PIECE):
                here = lane * PIECE_ROW + k
                value = join(value, staged[here])
                staged[here] = join(before, join(shift, value))
            barrier()
            for turn in static_range(PIECE):
                at, to = place(turn, piece)
                if at < stored:
                    out[first + at + 1 if exclusive else first + at] = result(staged[to])
            barrier()

    results.name = f"lane_{'exclusive_' if exclusive else ''}scan_{operation}_{element}_{accumulator}_{result}"
    return results


@cache
def quad_run_totals(operation: str, element: DType) -> KernelFunction:
    """Return the kernel (x, runs, total) that scans the totals of runs of whole tiles, one group per tile."""
    join, neutral = SCANS[operation].join, element(SCANS[operation].neutral(element))
    quad: Any = element.vector(4)

    @kernel(workgroup=RUNS, trusted=True)
    def totals(x: In[quad], runs: Out[element], total: Out[element]):  # type: ignore[valid-type]
        lane, number = local_id(), group_id()
        row, column = lane // _QUADS, lane % _QUADS
        first = number * _QUAD_TILE + row * _QUADS + column
        staged = shared(quad, RUNS * _QUAD_ROW)
        stage_tile(x, staged, first, row * _QUAD_ROW + column)
        barrier()
        value = neutral
        for k in static_range(_QUADS):
            four = staged[lane * _QUAD_ROW + k]
            for c in static_range(4):
                value = join(value, four[c])
        held = shared(element, 2 * RUNS)
        value = scan_lanes(held, lane, value, join, STEPS)
        runs[number * RUNS + lane] = value
        if lane == RUNS - 1:
            total[number] = value

    totals.name = f"quad_run_totals_{operation}_{element}"
    return totals


@cache
def quad_scan_tiles(operation: str, element: DType) -> KernelFunction:
    """Return the kernel (x, runs, offsets, out, tiles) that makes the results of whole tiles, one group per tile.

    ``tiles`` are those of a row. Groups take the tiles from the last one on, whose elements may still be in the cache.
    """
    join, neutral = SCANS[operation].join, element(SCANS[operation].neutral(element))
    quad: Any = element.vector(4)

    @kernel(workgroup=RUNS, trusted=True)
    def results(x: In[quad], runs: In[element], offsets: In[element], out: Out[quad], tiles: u32):  # type: ignore[valid-type]
        lane, number = local_id(), num_groups() - 1 - group_id()
        row, column = lane // _QUADS, lane % _QUADS
        first = number * _QUAD_TILE + row * _QUADS + column
        before, shift = neutral, neutral
        if number % tiles > 0:
            before = offsets[number - 1]
        if lane > 0:
            shift = runs[number * RUNS + lane - 1]
        staged = shared(quad, RUNS * _QUAD_ROW)
        stage_tile(x, staged, first, row * _QUAD_ROW + column)
        barrier()
        value = neutral
        for k in static_range(_QUADS):
            here = lane * _QUAD_ROW + k
            four = staged[here]
            a = join(value, four.x)
            b = join(a, four.y)
            c = join(b, four.z)
            value = join(c, four.w)
            low = join(before, join(shift, a)), join(before, join(shift, b))
            staged[here] = quad(*low, join(before, join(shift, c)), join(before, join(shift, value)))
        barrier()
        for turn in static_range(_QUADS):
            here = (turn * (RUNS // _QUADS) + row) * _QUAD_ROW + column
            out[first + turn * (_QUAD_TILE // _QUADS)] = staged[here]

    results.name = f"quad_scan_{operation}_{element}"
    return results


def stage_tile(x: Any, staged: Any, first: Any, to: Any) -> None:
    """Bring this lane's share of a tile to shared memory; all of it is read before any is stored."""
    read = items()
    for turn in static_range(_QUADS):
        read = items(*read, x[first + turn * (_QUAD_TILE // _QUADS)])
    for turn in static_range(_QUADS):
        staged[to + turn * (RUNS // _QUADS * _QUAD_ROW)] = read[turn]
