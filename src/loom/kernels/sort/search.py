"""What is read off sorted elements: runs of equal ones, and where a value belongs.

Layer: kernels. Elements are equal if they are the same number: -0 equals +0 and NaN equals NaN. Invariant: no
access is outside the arrays, whatever the order of the elements.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from loom.core.dtype import u32, u64
from loom.ir.frontend.base.annotations import Absent, In, InOut, Out
from loom.ir.frontend.decorator import KernelFunction, kernel
from loom.ir.frontend.intrinsics import global_id, group_id
from loom.kernels.sort.keys import Order

__all__ = ["SEARCH_LANES", "count_runs", "measure_runs", "place_runs", "search", "write_runs"]

SEARCH_LANES = 64
"""Values searched for by a group."""


@cache
def count_runs(order: Order) -> KernelFunction:
    """Return the kernel (x, counts, n, tile): how many runs of equal elements start in tile g."""

    @kernel(workgroup=1, trusted=True)
    def count(x: In[order.bits], counts: Out[u32], n: u64, tile: u64) -> None:
        first = u64(group_id()) * tile
        last = min(first + tile, n)
        runs = u32(0)
        if first == 0:
            runs = u32(1)
        for i in range(max(first, u64(1)), last):
            runs += u32(is_start(order, x, i))
        counts[group_id()] = runs

    count.name = f"runs_count_{order.dtype}"
    return count


@cache
def place_runs() -> KernelFunction:
    """Return the kernel (counts, tiles): ``counts[g]`` becomes the runs before tile g, up to ``counts[tiles]``."""

    @kernel(workgroup=1, trusted=True)
    def place(counts: InOut[u32], tiles: u32) -> None:
        before = u32(0)
        for t in range(tiles):
            runs = counts[t]
            counts[t] = before
            before += runs
        counts[tiles] = before

    place.name = "runs_place"
    return place


@cache
def write_runs(order: Order, *, inverse: bool) -> KernelFunction:
    """Return the kernel (x, positions, places, out, starts, numbers, n, tile) that lists the runs of tile g.

    ``out[j]`` becomes the first element of run j and ``starts[j]`` where it starts. With ``inverse``,
    ``numbers[positions[i]]`` becomes the number of the run that element i is in.
    """

    @kernel(workgroup=1, trusted=True)
    def write(
        x: In[order.bits],
        positions: In[u64],
        places: In[u32],
        out: Out[order.bits],
        starts: Out[u32],
        numbers: Out[u64],
        n: u64,
        tile: u64,
    ) -> None:
        first = u64(group_id()) * tile
        following = places[group_id()]
        for i in range(first, min(first + tile, n)):
            if i == 0 or is_start(order, x, i):
                out[u64(following)] = x[i]
                starts[u64(following)] = u32(i)
                following += 1
            if inverse:
                numbers[positions[i]] = u64(following - 1)

    write.name = f"runs_write_{order.dtype}{'_inverse' if inverse else ''}"
    return write


@cache
def measure_runs() -> KernelFunction:
    """Return the kernel (starts, places, lengths, n, tiles): lengths of the ``places[tiles]`` runs of n elements."""

    @kernel(workgroup=SEARCH_LANES, trusted=True)
    def measure(starts: In[u32], places: In[u32], lengths: Out[u64], n: u32, tiles: u32) -> None:
        j = global_id()
        runs = places[tiles]
        if j < runs:
            end = n
            if j + 1 < runs:
                end = starts[j + 1]
            lengths[j] = u64(end - starts[j])

    measure.name = "runs_measure"
    return measure


@cache
def search(order: Order, *, right: bool, rows: bool = False) -> KernelFunction:
    """Return the kernel (x, values, out, n, count, per): how many elements come before ``values[j]``.

    Elements equal to the value count with ``right``. ``x`` has at least one element, or ``rows`` of ``n``, each for
    the next ``per`` values (else ``per`` is left out). All lanes halve the same
    lengths, so that they stay together: P. Khuong and P. Morin, "Array layouts for comparison-based
    searching" (2017), without their prefetch.
    """

    whole = u32 if rows else Absent

    @kernel(workgroup=SEARCH_LANES, trusted=True)
    def find(
        x: In[order.bits],
        values: In[order.bits],
        out: Out[u64],
        n: u32,
        count: u32,
        per: whole,  # type: ignore[valid-type]
    ) -> None:
        j = global_id()
        if j < count:
            value = order.merge_zeros(order.encode(values[j]))
            first, length = j // per * n if rows else u32(0), n
            begin = first
            while length > 1:
                half = length >> 1
                if is_before(order, x, begin + half - 1, value, right):
                    begin += half
                length -= half
            if is_before(order, x, begin, value, right):
                begin += 1
            out[j] = u64(begin - first)

    find.name = f"search_{order.dtype}{'_right' if right else ''}{'_rows' if rows else ''}"
    return find


# what the kernels are made of


def is_start(order: Any, x: Any, i: Any) -> Any:
    """True if element i differs from the one before it."""
    return order.merge_zeros(order.encode(x[i])) != order.merge_zeros(order.encode(x[i - 1]))


def is_before(order: Any, x: Any, i: Any, value: Any, right: Any) -> Any:
    """True if element i comes before the value."""
    key = order.merge_zeros(order.encode(x[i]))
    if right:
        return key <= value
    return key < value
