"""The folds of ``kernels.fold.lanes`` along columns and short rows where lanes are threads.

Layer: kernels. A workgroup takes 32 columns, whose elements lie side by side, and shares the 64 accumulators of each
among 8 lanes; or it takes as many short rows as it has room for, an accumulator a lane. An accumulator without an
element holds what changes nothing, so that only as many as a short row is long need be joined. Invariant: the bits
are those of ``kernels.fold.lanes``.
"""

from __future__ import annotations

from functools import cache

from loom.core.dtype import DType, u32
from loom.core.numerics import REDUCE_LANES, REDUCE_TILE
from loom.ir.frontend.annotations import In, Out
from loom.ir.frontend.decorator import KernelFunction, kernel
from loom.ir.frontend.intrinsics import barrier, group_id, local_id, private, shared, static_range
from loom.kernels.fold.lanes import FOLDS, term_of
from loom.kernels.group.join import HALVES

__all__ = ["BESIDE", "SHORT_LANES", "lane_fold_columns", "lane_fold_short_rows"]

BESIDE = 32
"""Columns a workgroup takes."""
_SHARERS = 8
_SLOTS = REDUCE_LANES // _SHARERS
_AT_ONCE = 4
"""Turns whose elements are read before the first of them is joined: memory is waited for once."""

SHORT_LANES = 256
"""Lanes of a workgroup that folds short rows."""


@cache
def lane_fold_columns(name: str, element: DType, accumulator: DType, result: DType) -> KernelFunction:
    """Return the kernel (x, out, n, inner, tiles) of ``fold_columns``.

    Group ``g`` takes columns from ``BESIDE (g % blocks)`` on, where ``blocks`` is ``inner / BESIDE`` rounded up.
    """
    fold = FOLDS[name]
    term, join, start = term_of(fold, accumulator), fold.join, accumulator(fold.start(accumulator))

    @kernel(workgroup=(BESIDE, _SHARERS), trusted=True)
    def columns(x: In[element], out: Out[result], n: u32, inner: u32, tiles: u32):  # type: ignore[valid-type]
        lane, sharer = local_id(0), local_id(1)
        blocks = (inner + (BESIDE - 1)) // BESIDE
        rest = group_id() // blocks
        column = group_id() % blocks * BESIDE + lane
        tile, outer = rest % tiles, rest // tiles
        size = min(n - tile * REDUCE_TILE, REDUCE_TILE)
        whole = size - size % REDUCE_LANES
        first = (outer * n + tile * REDUCE_TILE + sharer) * inner + column
        held = private(accumulator, _SLOTS)
        for k in static_range(_SLOTS):
            held[k] = start
        if column < inner:
            many = size - size % (REDUCE_LANES * _AT_ONCE)
            for base in range(0, many, REDUCE_LANES * _AT_ONCE):
                read = private(accumulator, _SLOTS * _AT_ONCE)
                for k in static_range(_SLOTS * _AT_ONCE):
                    read[k] = term(x[first + (base + k * _SHARERS) * inner])
                for k in static_range(_SLOTS * _AT_ONCE):
                    held[k % _SLOTS] = join(held[k % _SLOTS], read[k])
            for base in range(many, whole, REDUCE_LANES):
                for k in static_range(_SLOTS):
                    held[k] = join(held[k], term(x[first + (base + k * _SHARERS) * inner]))
            for k in static_range(_SLOTS):
                if whole + k * _SHARERS + sharer < size:
                    held[k] = join(held[k], term(x[first + (whole + k * _SHARERS) * inner]))
        slots = shared(accumulator, REDUCE_LANES * BESIDE)
        for k in static_range(_SLOTS):
            slots[(k * _SHARERS + sharer) * BESIDE + lane] = held[k]
        barrier()
        for half in static_range(len(HALVES)):
            for k in static_range((HALVES[half] + (_SHARERS - 1)) // _SHARERS):
                if k * _SHARERS + sharer < HALVES[half]:
                    here = (k * _SHARERS + sharer) * BESIDE + lane
                    slots[here] = join(slots[here], slots[here + HALVES[half] * BESIDE])
            barrier()
        if sharer == 0 and column < inner:
            out[rest * inner + column] = result(slots[lane])

    columns.name = f"lane_fold_columns_{name}_{element}_{accumulator}_{result}"
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
