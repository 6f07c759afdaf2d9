"""Where the smallest or largest element is: argmin and argmax of an array, its rows or its columns.

Layer: kernels. Elements are compared by a key, an integer of their width that is the larger the better: NaN is
above everything, +0 above -0. Of equal keys the lowest index wins. A tile gives the index of its best element;
the next level reads the elements at those indices again, so that no values are kept. Invariant: the result is
the index of the element that ``gpu_min`` or ``gpu_max`` returns, the first of several.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from loom.core.dtype import DType, i32, i64, u32
from loom.core.numerics import REDUCE_LANES
from loom.ir.frontend.base.annotations import In, Out
from loom.ir.frontend.decorator import KernelFunction, kernel
from loom.ir.frontend.intrinsics import barrier, bitcast, global_id, group_id, local_id, select, shared, static_range
from loom.kernels.group.join import HALVES
from loom.kernels.types import compute_type

__all__ = ["ARG_TILE", "arg_columns", "arg_rows", "arg_rows_again", "copy_indices"]

ARG_TILE = 16_384
"""Elements of a tile; its size cannot be seen in the result."""


def _key(element: DType, *, largest: bool) -> tuple[Callable[[Any], Any], DType]:
    """Return what makes the key of an element, and the key's type.

    Floats: their bits, those below the sign inverted if it is set, are in order as signed integers.
    """
    held = compute_type(element)
    if not held.is_float:
        return (lambda x: x) if largest else (lambda x: ~x), held
    bits = i32 if held.bits == 32 else i64

    def key(x: Any) -> Any:
        whole = bitcast(bits, x)
        ordered = whole ^ ((whole >> (bits.bits - 1)) & bits.maximum)
        return select(x != x, bits(bits.maximum), ordered if largest else ~ordered)  # noqa: PLR0124 - a NaN

    return key, bits


def _join_lanes(keys: Any, found: Any, lane: Any) -> None:
    """Leave the best of 64 lanes in lane 0."""
    barrier()
    for half in static_range(len(HALVES)):
        if lane < HALVES[half]:
            other = lane + HALVES[half]
            if keys[other] > keys[lane] or (keys[other] == keys[lane] and found[other] < found[lane]):
                keys[lane] = keys[other]
                found[lane] = found[other]
        barrier()


@cache
def arg_rows(element: DType, *, largest: bool) -> KernelFunction:
    """Return the kernel (x, out, n, tiles): the index within its row of the best element of tile g, in ``out[g]``.

    ``x`` has rows of ``n`` elements, each of ``tiles`` tiles of ``ARG_TILE`` elements; one group per tile.
    """
    key, ordered = _key(element, largest=largest)

    @kernel(workgroup=REDUCE_LANES, trusted=True)
    def rows(x: In[element], out: Out[u32], n: u32, tiles: u32):  # type: ignore[valid-type]
        lane = local_id()
        tile = group_id() % tiles
        base = group_id() // tiles * n
        first = tile * ARG_TILE
        size = min(n - first, ARG_TILE)
        found = first + min(lane, size - 1)  # a lane without elements takes one of another's
        best = key(x[base + found])
        if size == ARG_TILE:
            for row in range(1, ARG_TILE // REDUCE_LANES):
                at = first + row * REDUCE_LANES + lane
                here = key(x[base + at])
                better = here > best
                best, found = select(better, here, best), select(better, at, found)
        else:
            for step in range(lane + REDUCE_LANES, size, REDUCE_LANES):
                here = key(x[base + first + step])
                if here > best:
                    best, found = here, first + step
        keys, indices = shared(ordered, REDUCE_LANES), shared(u32, REDUCE_LANES)
        keys[lane], indices[lane] = best, found
        _join_lanes(keys, indices, lane)
        if lane == 0:
            out[group_id()] = indices[0]

    rows.name = f"arg{'max' if largest else 'min'}_rows_{element}"
    return rows


@cache
def arg_rows_again(element: DType, *, largest: bool) -> KernelFunction:
    """Return the kernel (x, at, out, n, count, tiles): as ``arg_rows``, over elements known by their indices.

    Row r of ``at`` holds ``count`` indices into row r of ``x``, which has ``n`` elements.
    """
    key, ordered = _key(element, largest=largest)

    @kernel(workgroup=REDUCE_LANES, trusted=True)
    def rows(x: In[element], at: In[u32], out: Out[u32], n: u32, count: u32, tiles: u32):  # type: ignore[valid-type]
        lane = local_id()
        row, first = group_id() // tiles, group_id() % tiles * ARG_TILE
        size = min(count - first, ARG_TILE)
        found = at[row * count + first + min(lane, size - 1)]
        best = key(x[row * n + found])
        for step in range(lane + REDUCE_LANES, size, REDUCE_LANES):
            index = at[row * count + first + step]
            here = key(x[row * n + index])
            if here > best:  # indices ascend
                best, found = here, index
        keys, indices = shared(ordered, REDUCE_LANES), shared(u32, REDUCE_LANES)
        keys[lane], indices[lane] = best, found
        _join_lanes(keys, indices, lane)
        if lane == 0:
            out[group_id()] = indices[0]

    rows.name = f"arg{'max' if largest else 'min'}_rows_again_{element}"
    return rows


@cache
def arg_columns(element: DType, *, largest: bool, short_rows: bool) -> KernelFunction:
    """Return the kernel (x, out, n, inner): the index of the best element of each column of (outer, n, inner).

    ``out`` has shape (outer, inner). With ``short_rows``, ``x`` has shape (inner, n) and ``out`` one index a row.
    """
    key, _ = _key(element, largest=largest)

    @kernel(workgroup=REDUCE_LANES, trusted=True)
    def columns(x: In[element], out: Out[u32], n: u32, inner: u32):  # type: ignore[valid-type]
        blocks = (inner + (REDUCE_LANES - 1)) // REDUCE_LANES
        outer, column = group_id() // blocks, group_id() % blocks * REDUCE_LANES + local_id()
        if column < inner:
            at = column * n if short_rows else outer * n * inner + column
            along = 1 if short_rows else inner
            best, found = key(x[at]), u32(0)
            for index in range(1, n):
                here = key(x[at + index * along])
                better = here > best
                best, found = select(better, here, best), select(better, index, found)
            out[outer * inner + column] = found

    columns.name = f"arg{'max' if largest else 'min'}_{'short_rows' if short_rows else 'columns'}_{element}"
    return columns


@cache
def copy_indices() -> KernelFunction:
    """Return the kernel (at, out): indices as 64-bit integers."""

    @kernel(workgroup=REDUCE_LANES, trusted=True)
    def copy(at: In[u32], out: Out[i64]):
        i = global_id()
        if i < len(out):
            out[i] = i64(at[i])

    copy.name = "copy_indices"
    return copy
