"""The key of a given rank, and stable partitions around it, without sorting.

Layer: kernels. Radix selection: a histogram of the highest digit tells which digit the key of that rank has;
the keys that begin so are counted by their next digit, and so on. ``found`` holds the key so far and the rank
that is left among the keys that begin with it; in the end that is the rank among equal keys. Invariant: every
result keeps the elements of a part in their original order.

Source: A. Alabi and others, "Fast k-selection algorithms for graphics processing units" (2012).
"""

from __future__ import annotations

from functools import cache

from loom.core.dtype import u32, u64
from loom.ir.frontend.base.annotations import In, InOut, Out
from loom.ir.frontend.decorator import KernelFunction, kernel
from loom.ir.frontend.intrinsics import group_id, private
from loom.kernels.sort.keys import DIGIT_BITS, DIGITS, Order
from loom.kernels.sort.tiles import tally

__all__ = ["PARTS", "count_parts", "count_prefixed", "find_digit", "pick_lowest", "place_parts", "write_parts"]

PARTS = 3
"""Parts of a partition: keys below the one found, equal to it, above it."""


@cache
def count_prefixed(order: Order) -> KernelFunction:
    """Return the kernel (x, found, counts, n, tile, number): tile g's keys by digit ``number``.

    Only keys whose higher digits are those of ``found[0]`` are counted, into row g of ``counts``.
    """

    @kernel(workgroup=1, trusted=True)
    def count(
        x: In[order.bits],
        found: In[u64],
        counts: Out[u32],
        n: u64,
        tile: u64,
        number: u32,
    ) -> None:
        table = private(u32, DIGITS)
        for d in range(DIGITS):
            table[d] = 0
        prefix = order.bits(found[0])
        shift = order.bits(DIGIT_BITS * number)
        higher = order.bits(order.ones - (DIGITS - 1)) << shift
        if DIGIT_BITS * (number + 1) == order.bits.bits:
            higher = order.bits(0)
        first = u64(group_id()) * tile
        for i in range(first, min(first + tile, n)):
            key = order.encode(x[i])
            if ((key ^ prefix) & higher) == 0:
                tally(table, u32(key >> shift) & (DIGITS - 1))
        for d in range(DIGITS):
            counts[group_id() * DIGITS + d] = table[d]

    count.name = f"select_count_{order.name}"
    return count


@cache
def find_digit() -> KernelFunction:
    """Return the kernel (counts, found, tiles, number) that adds the next digit to what is found; one group."""

    @kernel(workgroup=1, trusted=True)
    def find(counts: In[u32], found: InOut[u64], tiles: u32, number: u32) -> None:
        table = private(u32, DIGITS)
        for d in range(DIGITS):
            table[d] = 0
        for t in range(tiles):
            for d in range(DIGITS):
                table[d] = table[d] + counts[t * DIGITS + d]
        rank = u32(found[1])
        digit = u32(0)
        while digit < DIGITS - 1 and rank >= table[digit]:
            rank -= table[digit]
            digit += 1
        found[0] = found[0] | u64(digit) << u64(DIGIT_BITS * number)
        found[1] = u64(rank)

    find.name = "select_find"
    return find


@cache
def count_parts(order: Order) -> KernelFunction:
    """Return the kernel (x, found, counts, n, tile): how many keys of tile g fall into each part."""

    @kernel(workgroup=1, trusted=True)
    def count(
        x: In[order.bits],
        found: In[u64],
        counts: Out[u32],
        n: u64,
        tile: u64,
    ) -> None:
        middle = order.bits(found[0])
        first = u64(group_id()) * tile
        last = min(first + tile, n)
        below, equal = u32(0), u32(0)
        for i in range(first, last):
            key = order.encode(x[i])
            below += u32(key < middle)
            equal += u32(key == middle)
        counts[group_id() * PARTS] = below
        counts[group_id() * PARTS + 1] = equal
        counts[group_id() * PARTS + 2] = u32(last - first) - below - equal

    count.name = f"select_parts_{order.name}"
    return count


@cache
def place_parts() -> KernelFunction:
    """Return the kernel (counts, tiles) that turns counts into the place where each tile's part starts; one group."""

    @kernel(workgroup=1, trusted=True)
    def place(counts: InOut[u32], tiles: u32) -> None:
        at = u32(0)
        for part in range(u32(PARTS)):
            for t in range(tiles):
                size = counts[t * PARTS + part]
                counts[t * PARTS + part] = at
                at += size

    place.name = "select_place"
    return place


@cache
def write_parts(order: Order) -> KernelFunction:
    """Return the kernel (x, found, places, out, n, tile) that writes tile g's elements, each to its part."""

    @kernel(workgroup=1, trusted=True)
    def write(
        x: In[order.bits],
        found: In[u64],
        places: In[u32],
        out: Out[order.bits],
        n: u64,
        tile: u64,
    ) -> None:
        middle = order.bits(found[0])
        at = private(u32, PARTS)
        for part in range(PARTS):
            at[part] = places[group_id() * PARTS + part]
        first = u64(group_id()) * tile
        for i in range(first, min(first + tile, n)):
            key = order.encode(x[i])
            part = u32(key >= middle) + u32(key > middle)
            to = at[part]
            at[part] = to + 1
            out[u64(to)] = order.decode(key)

    write.name = f"select_write_{order.name}"
    return write


@cache
def pick_lowest(order: Order) -> KernelFunction:
    """Return the kernel (x, found, places, out, positions, n, tile, k): the ``k`` lowest keys, unsorted.

    Writes tile g's elements and their positions if they are below the key found, or among the first that equal
    it; ``k`` is one more than the rank it was found for.
    """

    @kernel(workgroup=1, trusted=True)
    def pick(
        x: In[order.bits],
        found: In[u64],
        places: In[u32],
        out: Out[order.bits],
        positions: Out[u32],
        n: u64,
        tile: u64,
        k: u32,
    ) -> None:
        middle = order.bits(found[0])
        below = places[group_id() * PARTS]
        equal = places[group_id() * PARTS + 1]
        first = u64(group_id()) * tile
        for i in range(first, min(first + tile, n)):
            key = order.encode(x[i])
            if key < middle:
                out[u64(below)] = x[i]
                positions[u64(below)] = u32(i)
                below += 1
            elif key == middle:
                if equal < k:
                    out[u64(equal)] = x[i]
                    positions[u64(equal)] = u32(i)
                equal += 1

    pick.name = f"select_pick_{order.name}"
    return pick
