"""Rows picked by indices, and the opposite: rows summed by index, in the order of their positions.

Layer: kernels. There is no float scatter. Positions are sorted by index; ``start_rows`` finds where each index begins,
and ``sum_rows`` adds, for each row of the result, the rows whose index names it, positions ascending, from +0. An index
outside names no row: picking it gives zeros, its gradient goes nowhere. Invariant: a sum depends on the indices and the
rows alone.
"""

from __future__ import annotations

from functools import cache

from loom.core.dtype import DType, f32, u32, u64
from loom.ir.frontend.base.annotations import In, Out
from loom.ir.frontend.decorator import KernelFunction, kernel
from loom.ir.frontend.intrinsics import global_id, group_id, local_id, private, static_range
from loom.kernels.move.along import JOINS

__all__ = ["LANES", "ROWS", "fold_places", "start_rows", "sum_rows", "take_rows"]

LANES = 64
ROWS = 16
"""Rows a group of ``take_rows`` and ``sum_rows`` takes."""
_AHEAD = 8
"""Rows that a lane of ``sum_rows`` reads before it adds them."""


@cache
def take_rows(element: DType) -> KernelFunction:
    """Return the kernel (table, at, out, n, rows, inner): ``out[i] = table[at[i]]``, rows of ``inner`` elements.

    Groups: columns by ``LANES``, then positions by ``ROWS``.
    """

    nothing = False if element.is_bool else 0

    @kernel(workgroup=LANES, trusted=True)
    def gather(table: In[element], at: In[u32], out: Out[element], n: u32, rows: u32, inner: u32):  # type: ignore[valid-type]
        column = group_id(0) * LANES + local_id()
        if column < inner:
            for i in range(group_id(1) * ROWS, min(n, group_id(1) * ROWS + ROWS)):
                row = at[i]
                if row < rows:
                    out[i * inner + column] = table[row * inner + column]
                else:
                    out[i * inner + column] = nothing

    gather.name = f"take_rows_{element}"
    return gather


@cache
def start_rows() -> KernelFunction:
    """Return the kernel (ordered, starts, n, rows): ``starts[r]`` is how many of the ascending indices are below r.

    It has ``rows + 1`` elements.
    """

    @kernel(workgroup=LANES, trusted=True)
    def start(ordered: In[u32], starts: Out[u32], n: u32, rows: u32):
        row = global_id()
        if row <= rows:
            low, high = u32(0), n
            while low < high:
                middle = (low + high) // 2
                if ordered[middle] < row:
                    low = middle + 1
                else:
                    high = middle
            starts[row] = low

    start.name = "start_rows"
    return start


@cache
def sum_rows(element: DType, result: DType) -> KernelFunction:
    """Return the kernel (x, order, starts, out, rows, inner): row r is the sum of the rows of x with index r.

    ``order`` are positions by ascending index, those of row r from ``starts[r]`` to ``starts[r + 1]``. Groups as for
    ``take_rows``, by rows of ``out``.
    """
    held = f32 if element.storage_only else element

    @kernel(workgroup=LANES, trusted=True)
    def sums(x: In[element], order: In[u64], starts: In[u32], out: Out[result], rows: u32, inner: u32):  # type: ignore[valid-type]
        column = group_id(0) * LANES + local_id()
        terms = private(held, _AHEAD)
        if column < inner:
            for row in range(group_id(1) * ROWS, min(rows, group_id(1) * ROWS + ROWS)):
                total, start, end = held(0), starts[row], starts[row + 1]
                whole = end - (end - start) % _AHEAD
                for p in range(start, whole, _AHEAD):  # read first, so that one read need not wait for another
                    for k in static_range(_AHEAD):
                        terms[k] = held(x[u32(order[p + k]) * inner + column])
                    for k in static_range(_AHEAD):
                        total = total + terms[k]
                for p in range(whole, end):
                    total = total + held(x[u32(order[p]) * inner + column])
                out[row * inner + column] = result(total)

    sums.name = f"sum_rows_{element}_{result}"
    return sums


@cache
def fold_places(operation: str, element: DType, result: DType) -> KernelFunction:
    """Return the kernel (x, order, starts, out, rows, inner): as ``sum_rows``, any of ``JOINS``, a lane an element."""
    held = f32 if element.storage_only else element
    join, start = JOINS[operation]
    neutral = held(start(held))

    @kernel(workgroup=LANES, trusted=True)
    def fold(x: In[element], order: In[u64], starts: In[u32], out: Out[result], rows: u32, inner: u32):  # type: ignore[valid-type]
        e = global_id()
        if e < rows * inner:
            row, column, total = e // inner, e % inner, neutral
            for p in range(starts[row], starts[row + 1]):
                total = join(total, held(x[u32(order[p]) * inner + column]))
            out[e] = result(total)

    fold.name = f"fold_places_{operation}_{element}_{result}"
    return fold
