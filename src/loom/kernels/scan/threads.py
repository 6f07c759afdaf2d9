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

from loom.core.dtype import DType, u8, u32
from loom.core.numerics import SCAN_RUN, SCAN_TILE
from loom.ir.frontend.base.annotations import Absent, In, Out
from loom.ir.frontend.decorator import KernelFunction, kernel
from loom.ir.frontend.intrinsics import barrier, group_id, local_id, num_groups, select, shared, static_range
from loom.kernels.group.join import items, scan_lanes
from loom.kernels.scan.lanes import RUNS, SCANS, after_offsets, join_unless, read_mark, restart_at, write_mark

__all__ = [
    "QUADS", "QUAD_ROW", "QUAD_TILE", "STEPS", "lane_run_totals", "lane_scan_tiles", "quad_run_totals",
    "quad_scan_tiles", "stage_tile",
]  # fmt: skip

STEPS = RUNS.bit_length() - 1
"""Steps of the scan of all lanes."""
_PIECE = 16
"""Elements of each run that are in shared memory at a time."""
_PIECES = SCAN_RUN // _PIECE
_PIECE_ROW = _PIECE + 1
"""Places of a run in shared memory."""
QUADS = SCAN_RUN // 4
"""Fours of elements of a run."""
QUAD_ROW = QUADS + 1
QUAD_TILE = SCAN_TILE // 4


def _place(turn: Any, piece: Any) -> tuple[Any, Any]:
    """Return where in the tile, and where in shared memory, the element is that this lane moves in a turn."""
    run, column = turn * (RUNS // _PIECE) + local_id() // _PIECE, local_id() % _PIECE
    return run * SCAN_RUN + piece * _PIECE + column, run * _PIECE_ROW + column


def _scan_runs(held: Any, seen: Any, lane: Any, value: Any, mark: Any, join: Any) -> tuple[Any, Any]:
    """Return what ``scan_lanes`` makes of the totals of all lanes' runs, and of their marks."""
    if seen is None:
        return items(scan_lanes(held, lane, value, join, STEPS), None)
    held[lane], seen[lane] = value, mark
    barrier()
    for step in static_range(STEPS):
        here, there = (step & 1) * RUNS + lane, (1 - (step & 1)) * RUNS + lane
        if lane >= 1 << step:
            value = join_unless(join, held[here - (1 << step)], value, mark)
            mark = mark | seen[here - (1 << step)]
        held[there], seen[there] = value, mark
        barrier()
    return items(value, mark)


@cache
def lane_run_totals(operation: str, element: DType, accumulator: DType, *, segmented: bool = False) -> KernelFunction:
    """Return the kernel (x, marks, runs, run_marks, total, total_marks, n, tiles, width, skip).

    It is ``run_totals`` of rows, one group per tile, with marks if ``segmented``.
    """
    join, neutral = SCANS[operation].join, accumulator(SCANS[operation].neutral(accumulator))
    marked, marking = (In[u8], Out[u8]) if segmented else (Absent, Absent)

    @kernel(workgroup=RUNS, trusted=True)
    def totals(
        x: In[element], marks: marked, runs: Out[accumulator], run_marks: marking,  # type: ignore[valid-type]
        total: Out[accumulator], total_marks: marking,  # type: ignore[valid-type]
        n: u32, tiles: u32, width: u32, skip: u32,
    ):  # fmt: skip
        lane, number = local_id(), skip + group_id()
        tile, outer = number % tiles, number // tiles
        size = min(n - tile * SCAN_TILE, SCAN_TILE)
        first = outer * n + tile * SCAN_TILE
        staged = shared(accumulator, RUNS * _PIECE_ROW)
        seen = shared(u32, RUNS * _PIECE_ROW) if segmented else None
        value = neutral
        any_mark = u32(0) if segmented else None
        for piece in range(_PIECES):
            for turn in static_range(_PIECE):
                at, to = _place(turn, piece)
                here = first + min(at, size - 1)
                staged[to] = select(at < size, accumulator(x[here]), neutral)
                if segmented:
                    write_mark(seen, to, select(at < size, u32(marks[here]), u32(0)))
            barrier()
            for k in static_range(_PIECE):
                own = lane * _PIECE_ROW + k
                value = join_unless(join, value, staged[own], read_mark(seen, own))
                if segmented:
                    any_mark = any_mark | read_mark(seen, own)
            barrier()
        scanned, scanned_mark = _scan_runs(staged, seen, lane, value, any_mark, join)
        if lane < width:
            runs[number * width + lane] = scanned
            if segmented:
                run_marks[number * width + lane] = u8(scanned_mark)
        if lane == RUNS - 1:
            total[number] = scanned
            if segmented:
                total_marks[number] = u8(scanned_mark)

    totals.name = f"lane_{'segment_' if segmented else ''}run_totals_{operation}_{element}_{accumulator}"
    return totals


@cache
def lane_scan_tiles(
    operation: str, element: DType, accumulator: DType, result: DType, *, exclusive: bool, segmented: bool = False
) -> KernelFunction:
    """Return the kernel (x, marks, runs, run_marks, offsets, out, n, tiles, width, skip).

    It is ``scan_tiles`` of rows, one group per tile, with marks if ``segmented``.
    """
    scan = SCANS[operation]
    join, neutral = scan.join, accumulator(scan.neutral(accumulator))
    identity = accumulator(scan.identity(accumulator))
    marked = In[u8] if segmented else Absent

    @kernel(workgroup=RUNS, trusted=True)
    def results(
        x: In[element], marks: marked, runs: In[accumulator], run_marks: marked,  # type: ignore[valid-type]
        offsets: In[accumulator], out: Out[result],  # type: ignore[valid-type]
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
        shift_mark = u32(0) if segmented else None
        if tile > 0:
            before = offsets[number - 1]
        if lane > 0 and lane * SCAN_RUN < size:
            shift = runs[number * width + lane - 1]
            if segmented:
                shift_mark = u32(run_marks[number * width + lane - 1])
        if exclusive and tile == 0 and lane == 0:
            out[first] = result(identity)
        staged = shared(accumulator, RUNS * _PIECE_ROW)
        seen = shared(u32, RUNS * _PIECE_ROW) if segmented else None
        value = neutral
        any_mark = u32(0) if segmented else None
        for piece in range(_PIECES):
            for turn in static_range(_PIECE):
                at, to = _place(turn, piece)
                here = first + min(at, size - 1)
                staged[to] = accumulator(x[here])
                if segmented:
                    write_mark(seen, to, u32(marks[here]))
            barrier()
            for k in static_range(_PIECE):
                own = lane * _PIECE_ROW + k
                value = join_unless(join, value, staged[own], read_mark(seen, own))
                if segmented:
                    any_mark = any_mark | read_mark(seen, own)
                staged[own] = after_offsets(join, before, shift, value, shift_mark, any_mark)
            barrier()
            for turn in static_range(_PIECE):
                at, to = _place(turn, piece)
                if at < stored:
                    if exclusive:
                        out[first + at + 1] = result(restart_at(marks, first + at + 1, identity, staged[to]))
                    else:
                        out[first + at] = result(staged[to])
            barrier()

    kind = f"{'exclusive_' if exclusive else ''}{'segment_' if segmented else ''}scan"
    results.name = f"lane_{kind}_{operation}_{element}_{accumulator}_{result}"
    return results


@cache
def quad_run_totals(operation: str, element: DType) -> KernelFunction:
    """Return the kernel (x, runs, total) that scans the totals of runs of whole tiles, one group per tile."""
    join, neutral = SCANS[operation].join, element(SCANS[operation].neutral(element))
    quad: Any = element.vector(4)

    @kernel(workgroup=RUNS, trusted=True)
    def totals(x: In[quad], runs: Out[element], total: Out[element]):  # type: ignore[valid-type]
        lane, number = local_id(), group_id()
        row, column = lane // QUADS, lane % QUADS
        first = number * QUAD_TILE + row * QUADS + column
        staged = shared(quad, RUNS * QUAD_ROW)
        stage_tile(x, staged, first, row * QUAD_ROW + column)
        barrier()
        value = neutral
        for k in static_range(QUADS):
            four = staged[lane * QUAD_ROW + k]
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
        row, column = lane // QUADS, lane % QUADS
        first = number * QUAD_TILE + row * QUADS + column
        before, shift = neutral, neutral
        if number % tiles > 0:
            before = offsets[number - 1]
        if lane > 0:
            shift = runs[number * RUNS + lane - 1]
        staged = shared(quad, RUNS * QUAD_ROW)
        stage_tile(x, staged, first, row * QUAD_ROW + column)
        barrier()
        value = neutral
        for k in static_range(QUADS):
            here = lane * QUAD_ROW + k
            four = staged[here]
            a = join(value, four.x)
            b = join(a, four.y)
            c = join(b, four.z)
            value = join(c, four.w)
            low = join(before, join(shift, a)), join(before, join(shift, b))
            staged[here] = quad(*low, join(before, join(shift, c)), join(before, join(shift, value)))
        barrier()
        for turn in static_range(QUADS):
            here = (turn * (RUNS // QUADS) + row) * QUAD_ROW + column
            out[first + turn * (QUAD_TILE // QUADS)] = staged[here]

    results.name = f"quad_scan_{operation}_{element}"
    return results


def stage_tile(x: Any, staged: Any, first: Any, to: Any) -> None:
    """Bring this lane's share of a tile to shared memory; all of it is read before any is stored."""
    read = items()
    for turn in static_range(QUADS):
        read = items(*read, x[first + turn * (QUAD_TILE // QUADS)])
    for turn in static_range(QUADS):
        staged[to + turn * (RUNS // QUADS * QUAD_ROW)] = read[turn]
