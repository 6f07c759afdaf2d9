"""Elements picked along an axis by indices, and the opposite: elements folded by index, in the order of positions.

Layer: kernels. A table has shape (outer, n, inner), n being the axis. There is an index for each element of (outer, m,
inner), or, ``shared``, m of them for all. An index outside names nothing: picking it gives zero, folding it is left
out. ``fold_along`` lets a group own some rows of the result and look at every index, so that nothing is scattered by
two lanes; where lanes are threads, ``flat_places`` turns indices into places that are sorted (``kernels.move.gather``).
Invariant: what is folded at a place is folded one after the other, from the operation's neutral value on, positions
ascending, whichever kernel does it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from loom.core.dtype import DType, u32
from loom.ir.frontend.base.annotations import In, InOut, Out
from loom.ir.frontend.decorator import KernelFunction, kernel
from loom.ir.frontend.intrinsics import global_id, group_id, local_id
from loom.kernels.group.join import add, highest, larger, lowest, multiply, smaller

__all__ = ["ACROSS", "JOINS", "LANES", "ROWS", "flat_places", "fold_along", "take_along"]

LANES = 64
"""Elements a group of ``take_along`` and ``flat_places`` makes, of each of its rows."""
ROWS = 8
"""Outer rows a group of ``take_along`` takes."""
ACROSS = 64
"""Columns a group of ``fold_along`` takes, if there are several."""

JOINS: dict[str, tuple[Callable[[Any, Any], Any], Callable[[DType], Any]]] = {
    "sum": (add, lambda _t: 0),
    "product": (multiply, lambda _t: 1),
    "min": (smaller, highest),
    "max": (larger, lowest),
}
"""How elements of one place are joined, by name, and the neutral value."""


@cache
def take_along(element: DType, *, shared: bool, alone: bool, flat: bool) -> KernelFunction:
    """Return the kernel (table, at, out, n, m, inner, outer): ``out[o, j, i] = table[o, at[o, j, i], i]``.

    Groups: (j, i) by ``LANES``, then outer rows by ``ROWS``; ``flat``: all elements by ``LANES``. ``alone``: inner
    is 1.
    """
    nothing = False if element.is_bool else 0

    @kernel(workgroup=LANES, trusted=True)
    def take(
        table: In[element], at: In[u32], out: Out[element],  # type: ignore[valid-type]
        n: u32, m: u32, inner: u32, outer: u32,
    ):  # fmt: skip
        per = m * inner
        if flat:
            e = global_id()
            if e < per * outer:
                o, rest = e // per, e % per
                j, i = rest if alone else rest // inner, u32(0) if alone else rest % inner
                row = at[j] if shared else at[e]
                if row < n:
                    out[e] = table[(o * n + row) * inner + i]
                else:
                    out[e] = nothing
        else:
            column = group_id(0) * LANES + local_id()
            if column < per:
                j, i = column if alone else column // inner, u32(0) if alone else column % inner
                for o in range(group_id(1) * ROWS, min(outer, group_id(1) * ROWS + ROWS)):
                    row = at[j] if shared else at[o * per + column]
                    if row < n:
                        out[o * per + column] = table[(o * n + row) * inner + i]
                    else:
                        out[o * per + column] = nothing

    take.name = f"take_along_{element}{'_shared' * shared}{'_alone' * alone}{'_flat' * flat}"
    return take


@cache
def fold_along(operation: str, element: DType, held: DType, *, shared: bool, across: bool) -> KernelFunction:
    """Return the kernel (x, at, out, n, m, inner, parts): row r of (outer, n, inner) folds the elements of index r.

    ``x`` has shape (outer, m, inner). Groups: outer rows, times blocks of ``ACROSS`` columns if ``across`` (else
    inner is 1); then ``parts`` of the rows of the result.
    """
    join, start = JOINS[operation]
    neutral = held(start(held))

    @kernel(workgroup=ACROSS if across else 1, trusted=True)
    def fold(
        x: In[element], at: In[u32], out: InOut[held],  # type: ignore[valid-type]
        n: u32, m: u32, inner: u32, parts: u32,
    ):  # fmt: skip
        blocks = (inner + (ACROSS - 1)) // ACROSS
        o = group_id(0) // blocks if across else group_id(0)
        i = group_id(0) % blocks * ACROSS + local_id() if across else u32(0)
        size = (n + parts - 1) // parts
        begin = min(group_id(1) * size, n)
        rows = min(n - begin, size)
        first = (o * n + begin) * inner + i
        if i < inner:
            for r in range(rows):
                out[first + r * inner] = neutral
            for j in range(m):
                row = (at[j] if shared else at[(o * m + j) * inner + i]) - begin
                if row < rows:
                    out[first + row * inner] = join(out[first + row * inner], held(x[(o * m + j) * inner + i]))

    fold.name = f"fold_along_{operation}_{element}_{held}{'_shared' * shared}{'_across' * across}"
    return fold


@cache
def flat_places(*, shared: bool) -> KernelFunction:
    """Return the kernel (at, places, n, m, inner, size): each index as its place in the flat result, ``size`` at most.

    An index outside becomes the largest number.
    """

    @kernel(workgroup=LANES, trusted=True)
    def place(at: In[u32], places: Out[u32], n: u32, m: u32, inner: u32, size: u32):
        e = global_id()
        if e < size:
            i, row = e % inner, at[e // inner % m] if shared else at[e]
            if row < n:
                places[e] = (e // inner // m * n + row) * inner + i
            else:
                places[e] = 0xFFFF_FFFF

    place.name = f"flat_places{'_shared' * shared}"
    return place
