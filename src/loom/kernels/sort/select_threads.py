"""The key of a given rank, and stable partitions around it, by workgroups of many lanes.

Layer: kernels. The kernels have the buffers and parameters of those of ``kernels.sort.select``, but for the counts of
digits: all tiles count together, in a row for each digit, which ``clear_counts`` clears. A tile is ``MARK_TILE``
elements at most. Invariant: every result keeps the elements of a part in their original order.

Source: A. Alabi and others, "Fast k-selection algorithms for graphics processing units" (2012).
"""

from __future__ import annotations

from functools import cache
from typing import Any

from loom.core.dtype import u32, u64
from loom.ir.frontend.base.annotations import In, InOut, Out
from loom.ir.frontend.decorator import KernelFunction, kernel
from loom.ir.frontend.intrinsics import atomic_add, barrier, global_id, group_id, local_id, select, shared, static_range
from loom.kernels.group.join import sum_lanes
from loom.kernels.group.marks import (
    MARK_LANES,
    MARK_ROUNDS,
    MARK_WORDS,
    clear_marks,
    count_before,
    count_marks,
    is_marked,
    mark,
    scan_stretch,
)
from loom.kernels.sort.keys import DIGIT_BITS, DIGITS, Order
from loom.kernels.sort.select import PARTS

__all__ = [
    "clear_counts",
    "count_parts",
    "count_prefixed",
    "find_digit",
    "pick_lowest",
    "place_parts",
    "write_parts",
]


@cache
def clear_counts() -> KernelFunction:
    """Return the kernel (counts) that clears a row of counts, row g in group g."""

    @kernel(workgroup=DIGITS, trusted=True)
    def clear(counts: Out[u32]) -> None:
        counts[global_id()] = 0

    clear.name = "select_threads_clear"
    return clear


@cache
def count_prefixed(order: Order) -> KernelFunction:
    """Return the kernel (x, found, counts, n, tile, number) that adds tile g's keys to row ``number`` of the counts.

    Only keys whose higher digits are those of ``found[0]`` are counted.
    """

    @kernel(workgroup=MARK_LANES, trusted=True)
    def count(
        x: In[order.bits],
        found: In[u64],
        counts: InOut[u32],
        n: u32,
        tile: u32,
        number: u32,
    ) -> None:
        table = shared(u32, DIGITS)
        table[local_id()] = 0
        barrier()
        prefix = order.bits(found[0])
        shift = order.bits(DIGIT_BITS * number)
        higher = order.bits(order.ones - (DIGITS - 1)) << shift
        if DIGIT_BITS * (number + 1) == order.bits.bits:
            higher = order.bits(0)
        for k in range(MARK_ROUNDS):
            p = k * MARK_LANES + local_id()
            i = group_id() * tile + p
            if p < tile and i < n:
                key = order.encode(x[i])
                if ((key ^ prefix) & higher) == 0:
                    atomic_add(table, u32(key >> shift) & (DIGITS - 1), 1)
        barrier()
        if table[local_id()] != 0:
            atomic_add(counts, number * DIGITS + local_id(), table[local_id()])

    count.name = f"select_threads_count_{order.name}"
    return count


@cache
def find_digit() -> KernelFunction:
    """Return the kernel (counts, found, number) that adds the next digit to what is found; one group."""

    @kernel(workgroup=DIGITS, trusted=True)
    def find(counts: In[u32], found: InOut[u64], number: u32) -> None:
        sums = shared(u32, 2 * DIGITS)
        rank = u32(found[1])
        size = counts[number * DIGITS + local_id()]
        upto = sum_lanes(DIGITS, sums, size)
        if upto - size <= rank < upto:
            found[0] = found[0] | u64(local_id()) << u64(DIGIT_BITS * number)
            found[1] = u64(rank - (upto - size))

    find.name = "select_threads_find"
    return find


@cache
def count_parts(order: Order) -> KernelFunction:
    """Return the kernel (x, found, counts, n, tile): how many keys of tile g fall into each part."""

    @kernel(workgroup=MARK_LANES, trusted=True)
    def count(
        x: In[order.bits],
        found: In[u64],
        counts: Out[u32],
        n: u32,
        tile: u32,
    ) -> None:
        sums = shared(u32, 2 * MARK_LANES)
        middle = order.bits(found[0])
        first = group_id() * tile
        both = u32(0)  # of 16 bits each
        for k in range(MARK_ROUNDS):
            p = k * MARK_LANES + local_id()
            i = first + p
            if p < tile and i < n:
                key = order.encode(x[i])
                both += select(key < middle, u32(1), u32(0)) + select(key == middle, u32(1 << 16), u32(0))
        upto = sum_lanes(MARK_LANES, sums, both)
        if local_id() == MARK_LANES - 1:
            below, equal = upto & 0xFFFF, upto >> 16
            counts[group_id() * PARTS] = below
            counts[group_id() * PARTS + 1] = equal
            counts[group_id() * PARTS + 2] = min(n - first, tile) - below - equal

    count.name = f"select_threads_parts_{order.name}"
    return count


@cache
def place_parts() -> KernelFunction:
    """Return the kernel (counts, tiles) that turns counts into the place where each tile's part starts; one group."""

    @kernel(workgroup=MARK_LANES, trusted=True)
    def place(counts: InOut[u32], tiles: u32) -> None:
        sums = shared(u32, 2 * MARK_LANES)
        at = u32(0)
        for part in static_range(PARTS):
            at = scan_stretch(counts, u32(part), u32(PARTS), tiles, at, sums)

    place.name = "select_threads_place"
    return place


@cache
def write_parts(order: Order) -> KernelFunction:
    """Return the kernel (x, found, places, out, n, tile) that writes tile g's elements, each to its part."""

    @kernel(workgroup=MARK_LANES, trusted=True)
    def write(
        x: In[order.bits],
        found: In[u64],
        places: In[u32],
        out: Out[order.bits],
        n: u32,
        tile: u32,
    ) -> None:
        first = group_id() * tile
        size = min(n - first, tile)
        below, before_below, equal, before_equal = divide(order, x, order.bits(found[0]), first, size)
        at = group_id() * PARTS
        for k in range(MARK_ROUNDS):
            p = k * MARK_LANES + local_id()
            if p < size:
                lower, same = count_before(below, before_below, p), count_before(equal, before_equal, p)
                to = places[at + 2] + p - lower - same
                if is_marked(below, p):
                    to = places[at] + lower
                elif is_marked(equal, p):
                    to = places[at + 1] + same
                out[to] = order.decode(order.encode(x[first + p]))

    write.name = f"select_threads_write_{order.name}"
    return write


@cache
def pick_lowest(order: Order) -> KernelFunction:
    """Return the kernel (x, found, places, out, positions, n, tile, k): the ``k`` lowest keys, unsorted."""

    @kernel(workgroup=MARK_LANES, trusted=True)
    def pick(
        x: In[order.bits],
        found: In[u64],
        places: In[u32],
        out: Out[order.bits],
        positions: Out[u32],
        n: u32,
        tile: u32,
        k: u32,
    ) -> None:
        first = group_id() * tile
        size = min(n - first, tile)
        below, before_below, equal, before_equal = divide(order, x, order.bits(found[0]), first, size)
        at = group_id() * PARTS
        for turn in range(MARK_ROUNDS):
            p = turn * MARK_LANES + local_id()
            if p < size:
                to = k
                if is_marked(below, p):
                    to = places[at] + count_before(below, before_below, p)
                elif is_marked(equal, p):
                    to = places[at + 1] + count_before(equal, before_equal, p)
                if to < k:
                    out[to] = x[first + p]
                    positions[to] = first + p

    pick.name = f"select_threads_pick_{order.name}"
    return pick


def divide(order: Any, x: Any, middle: Any, first: Any, size: Any) -> Any:
    """Mark the keys of a tile that are below ``middle``, and those equal to it.

    Returns the marks of each and how many are before each of their words.
    """
    below, before_below = shared(u32, MARK_WORDS), shared(u32, MARK_WORDS)
    equal, before_equal = shared(u32, MARK_WORDS), shared(u32, MARK_WORDS)
    sums = shared(u32, 2 * MARK_LANES)
    clear_marks(below)
    clear_marks(equal)
    for k in range(MARK_ROUNDS):
        p = k * MARK_LANES + local_id()
        if p < size:
            key = order.encode(x[first + p])
            if key < middle:
                mark(below, p)
            elif key == middle:
                mark(equal, p)
    count_marks(below, before_below, sums)
    count_marks(equal, before_equal, sums)
    return below, before_below, equal, before_equal
