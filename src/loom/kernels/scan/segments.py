"""Running operations that start anew at marked elements.

Layer: kernels. It is the scan of ``kernels.scan.lanes``, in the same tree, of pairs (mark, value) under the operator

    (f, a) . (g, b) = (f or g, b if g else a op b)

so that what is joined across the beginning of a segment is dropped. Invariant: the order depends on the number of
elements and on the marks alone.

Source: Blelloch, "Prefix Sums and Their Applications" (1990), section 1.5, segmented scans.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from loom.core.dtype import DType, u8, u32
from loom.core.numerics import SCAN_RUN, SCAN_TILE
from loom.ir.frontend.annotations import In, Out
from loom.ir.frontend.decorator import KernelFunction, kernel
from loom.ir.frontend.intrinsics import global_id, group_id, private, select, static_range
from loom.kernels.scan.lanes import RUNS, SCANS

__all__ = ["MARK_LANES", "mark_segments", "segment_run_totals", "segment_scan_tiles"]

MARK_LANES = 256
_TOGETHER = 8
"""Runs scanned in turn, so that additions of one need not wait for each other."""


@cache
def mark_segments(element: DType) -> KernelFunction:
    """Return the kernel (ids, marks, n): 1 where an id differs from the one before it, and at the first."""

    @kernel(workgroup=MARK_LANES, trusted=True)
    def mark(ids: In[element], marks: Out[u8], n: u32):  # type: ignore[valid-type]
        i = global_id()
        if i < n:
            marks[i] = u8(1)
            if i > 0:
                marks[i] = u8(ids[i] != ids[i - 1])

    mark.name = f"mark_segments_{element}"
    return mark


@cache
def segment_run_totals(operation: str, element: DType, accumulator: DType) -> KernelFunction:
    """Return the kernel (x, marks, runs, run_marks, total, total_marks, n): the scanned pairs of a tile's runs.

    ``runs`` has shape (tiles, 64), ``total`` (tiles); one group does one tile.
    """
    join, neutral = SCANS[operation].join, accumulator(SCANS[operation].neutral(accumulator))

    @kernel(workgroup=1, trusted=True)
    def totals(
        x: In[element], marks: In[u8], runs: Out[accumulator], run_marks: Out[u8],  # type: ignore[valid-type]
        total: Out[accumulator], total_marks: Out[u8], n: u32,  # type: ignore[valid-type]
    ):  # fmt: skip
        tile = group_id()
        first, end = tile * SCAN_TILE, min(n - tile * SCAN_TILE, SCAN_TILE) + tile * SCAN_TILE
        held, seen = private(accumulator, RUNS), private(u8, RUNS)
        scratch, scratch_seen = private(accumulator, RUNS), private(u8, RUNS)
        whole = (end - first) // (_TOGETHER * SCAN_RUN)
        for part in range(whole):
            at = first + part * (_TOGETHER * SCAN_RUN)
            running, marked = private(accumulator, _TOGETHER), private(u8, _TOGETHER)
            for k in static_range(_TOGETHER):
                running[k], marked[k] = neutral, u8(0)
            for i in range(SCAN_RUN):
                for k in static_range(_TOGETHER):
                    here = at + k * SCAN_RUN + i
                    mark, v = marks[here], accumulator(x[here])
                    running[k] = select(mark != 0, v, join(running[k], v))
                    marked[k] = marked[k] | mark
            for k in static_range(_TOGETHER):
                held[part * _TOGETHER + k], seen[part * _TOGETHER + k] = running[k], marked[k]
        for run in range(whole * _TOGETHER, RUNS):
            value, any_mark = neutral, u8(0)
            for here in range(first + run * SCAN_RUN, min(end, first + (run + 1) * SCAN_RUN)):
                mark, v = marks[here], accumulator(x[here])
                value = select(mark != 0, v, join(value, v))
                any_mark = any_mark | mark
            held[run], seen[run] = value, any_mark
        for step in static_range(RUNS.bit_length() - 1):
            for run in range(RUNS):
                scratch[run], scratch_seen[run] = held[run], seen[run]
            for run in range(1 << step, RUNS):
                earlier = run - (1 << step)
                joined = join(scratch[earlier], scratch[run])
                held[run] = select(scratch_seen[run] != 0, scratch[run], joined)
                seen[run] = scratch_seen[earlier] | scratch_seen[run]
        for run in range(RUNS):
            runs[tile * RUNS + run], run_marks[tile * RUNS + run] = held[run], seen[run]
        total[tile], total_marks[tile] = held[RUNS - 1], seen[RUNS - 1]

    totals.name = f"segment_run_totals_{operation}_{element}_{accumulator}"
    return totals


@cache
def segment_scan_tiles(
    operation: str, element: DType, accumulator: DType, result: DType, *, exclusive: bool
) -> KernelFunction:
    """Return the kernel (x, marks, runs, run_marks, offsets, out, n) that makes the results.

    ``offsets`` is the segmented scan of ``total`` with ``total_marks``, read if there are several tiles. ``exclusive``
    puts each result one place later, and the identity at the beginning of every segment.
    """
    scan = SCANS[operation]
    join, neutral = scan.join, accumulator(scan.neutral(accumulator))
    identity = accumulator(scan.identity(accumulator))

    def put(out: Any, marks: Any, at: Any, n: Any, value: Any) -> None:
        if not exclusive:
            out[at] = result(value)
        elif at + 1 < n:
            out[at + 1] = result(select(marks[at + 1] != 0, identity, value))

    def in_run(held: Any, value: Any, mark: Any) -> Any:
        return select(mark != 0, value, join(held, value))

    def offset(before: Any, shift: Any, shift_mark: Any, value: Any, marked: Any) -> Any:
        """Return tile offset . (run offset . local)."""
        local = select(marked != 0, value, join(shift, value))
        return select((marked | shift_mark) != 0, local, join(before, local))

    @kernel(workgroup=1, trusted=True)
    def results(
        x: In[element], marks: In[u8], runs: In[accumulator], run_marks: In[u8],  # type: ignore[valid-type]
        offsets: In[accumulator], out: Out[result], n: u32,  # type: ignore[valid-type]
    ):  # fmt: skip
        tile = group_id()
        first, end = tile * SCAN_TILE, min(n - tile * SCAN_TILE, SCAN_TILE) + tile * SCAN_TILE
        before = neutral
        if tile > 0:
            before = offsets[tile - 1]
        if exclusive and tile == 0:
            out[0] = result(identity)
        whole = (end - first) // (_TOGETHER * SCAN_RUN)
        for part in range(whole):
            at, scanned = first + part * (_TOGETHER * SCAN_RUN), tile * RUNS + part * _TOGETHER
            running, marked = private(accumulator, _TOGETHER), private(u8, _TOGETHER)
            shift, shift_mark = private(accumulator, _TOGETHER), private(u8, _TOGETHER)
            for k in static_range(_TOGETHER):
                running[k], marked[k], shift[k], shift_mark[k] = neutral, u8(0), neutral, u8(0)
                if part * _TOGETHER + k > 0:
                    shift[k], shift_mark[k] = runs[scanned + k - 1], run_marks[scanned + k - 1]
            for i in range(SCAN_RUN):
                for k in static_range(_TOGETHER):
                    here = at + k * SCAN_RUN + i
                    mark = marks[here]
                    running[k] = in_run(running[k], accumulator(x[here]), mark)
                    marked[k] = marked[k] | mark
                    put(out, marks, here, n, offset(before, shift[k], shift_mark[k], running[k], marked[k]))
        for run in range(whole * _TOGETHER, (end - first + (SCAN_RUN - 1)) // SCAN_RUN):
            value, any_mark, shift_one, shift_mark_one = neutral, u8(0), neutral, u8(0)
            if run > 0:
                shift_one, shift_mark_one = runs[tile * RUNS + run - 1], run_marks[tile * RUNS + run - 1]
            for here in range(first + run * SCAN_RUN, min(end, first + (run + 1) * SCAN_RUN)):
                mark = marks[here]
                value = in_run(value, accumulator(x[here]), mark)
                any_mark = any_mark | mark
                put(out, marks, here, n, offset(before, shift_one, shift_mark_one, value, any_mark))

    kind = f"{'exclusive_' if exclusive else ''}segment_scan"
    results.name = f"{kind}_{operation}_{element}_{accumulator}_{result}"
    return results
