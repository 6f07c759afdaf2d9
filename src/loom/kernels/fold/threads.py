"""The folds of ``kernels.fold.lanes`` along columns and short rows where lanes are threads.

Layer: kernels. A workgroup takes 32 columns, or 8, whose elements lie side by side, and shares the 64 accumulators of
each among its 256 lanes; or it takes as many short rows as it has room for, an accumulator a lane. An accumulator
without an element holds what changes nothing, so that only as many as a short row is long need be joined. Invariant:
the bits are those of ``kernels.fold.lanes``.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from loom.core.dtype import DType, u32
from loom.core.numerics import REDUCE_LANES, REDUCE_TILE
from loom.ir.frontend.base.annotations import In, Out
from loom.ir.frontend.decorator import KernelFunction, kernel
from loom.ir.frontend.intrinsics import barrier, group_id, local_id, private, shared, static_range
from loom.kernels.fold.lanes import FOLDS, term_of
from loom.kernels.group.join import HALVES

__all__ = ["BESIDE", "FEW_BESIDE", "SHORT_LANES", "lane_fold_columns", "lane_fold_short_rows"]

BESIDE, FEW_BESIDE = 32, 8
"""Columns a workgroup takes; where these are few groups, the least whose elements fill a sector of memory."""
_COLUMN_LANES = 256
_READ = 32
"""Elements that a lane reads before the first of them is joined: memory is waited for once."""

SHORT_LANES = 256
"""Lanes of a workgroup that folds short rows."""


@cache
def lane_fold_columns(
    name: str, element: DType, accumulator: DType, result: DType, beside: int = BESIDE
) -> KernelFunction:
    """Return the kernel (x, out, n, inner, tiles) of ``fold_columns``.

    Group ``g`` takes columns from ``beside (g % blocks)`` on, where ``blocks`` is ``inner / beside`` rounded up.
    """
    fold = FOLDS[name]
    term, join, start = term_of(fold, accumulator), fold.join, accumulator(fold.start(accumulator))
    sharers = _COLUMN_LANES // beside
    own = REDUCE_LANES // sharers
    turns = tuple(dict.fromkeys((_READ // own, 4, 1)))

    def fold_turns(x: Any, held: Any, at: Any, inner: Any, count: Any) -> None:
        """Read and join ``count`` elements of each of a lane's accumulators."""
        read = private(accumulator, own * count)
        for k in static_range(own * count):
            read[k] = term(x[at + k * sharers * inner])
        for k in static_range(own * count):
            held[k % own] = join(held[k % own], read[k])

    @kernel(workgroup=(beside, sharers), trusted=True)
    def columns(x: In[element], out: Out[result], n: u32, inner: u32, tiles: u32):  # type: ignore[valid-type]
        lane, sharer = local_id(0), local_id(1)
        blocks = (inner + (beside - 1)) // beside
        rest = group_id() // blocks
        column = group_id() % blocks * beside + lane
        tile, outer = rest % tiles, rest // tiles
        size = min(n - tile * REDUCE_TILE, REDUCE_TILE)
        whole = size - size % REDUCE_LANES
        first = (outer * n + tile * REDUCE_TILE + sharer) * inner + column
        held = private(accumulator, own)
        for k in static_range(own):
            held[k] = start
        if column < inner:
            begin = u32(0)
            for level in static_range(len(turns)):
                end = size - size % (REDUCE_LANES * turns[level])
                for base in range(begin, end, REDUCE_LANES * turns[level]):
                    fold_turns(x, held, first + base * inner, inner, turns[level])
                begin = end
            for k in static_range(own):
                if whole + k * sharers + sharer < size:
                    held[k] = join(held[k], term(x[first + (whole + k * sharers) * inner]))
        slots = shared(accumulator, REDUCE_LANES * beside)
        for k in static_range(own):
            slots[(k * sharers + sharer) * beside + lane] = held[k]
        barrier()
        for half in static_range(len(HALVES)):
            for k in static_range((HALVES[half] + (sharers - 1)) // sharers):
                if k * sharers + sharer < HALVES[half]:
                    here = (k * sharers + sharer) * beside + lane
                    slots[here] = join(slots[here], slots[here + HALVES[half] * beside])
            barrier()
        if sharer == 0 and column < inner:
            out[rest * inner + column] = result(slots[lane])

    columns.name = f"lane_fold_columns_{name}_{element}_{accumulator}_{result}{'_few' if beside < BESIDE else ''}"
    return columns


@cache
def lane_fold_short_rows(name: str, element: DType, accumulator: DType, result: DType, slots: int) -> KernelFunction:
    """Return the kernel (x, out, n, rows): folds rows of ``n`` elements into ``out``, in ``slots`` accumulators each.

    ``slots``: 64, or a lesser power of two that is at least ``n``. Group ``g`` takes ``SHORT_LANES / slots`` rows.
    """
    fold = FOLDS[name]
    term, join, start = term_of(fold, accumulator), fold.join, accumulator(fold.start(accumulator))
    halves = tuple(slots >> k for k in range(1, slots.bit_length()))

    @kernel(workgroup=SHORT_LANES, trusted=True)
    def short(x: In[element], out: Out[result], n: u32, rows: u32):  # type: ignore[valid-type]
        lane, slot = local_id(), local_id() % slots
        row = group_id() * (SHORT_LANES // slots) + lane // slots
        total = start
        if row < rows:
            for at in range(slot, n, slots):
                total = join(total, term(x[row * n + at]))
        lanes = shared(accumulator, SHORT_LANES)
        lanes[lane] = total
        barrier()
        for half in static_range(len(halves)):
            if slot < halves[half]:
                lanes[lane] = join(lanes[lane], lanes[lane + halves[half]])
            barrier()
        if slot == 0 and row < rows:
            out[row] = result(lanes[lane])

    short.name = f"lane_fold_short_rows_{name}_{element}_{accumulator}_{result}_{slots}"
    return short
