"""Pairs of equal keys: where a left key stands among the sorted right ones, and the pairs written in order.

Layer: kernels. Keys are ``comparable``: integers, equal exactly if their keys are. Invariant: pairs come in the
order of the left position, then of the right one, since equal right keys were sorted stably.
"""

from __future__ import annotations

from functools import cache

from loom.core.dtype import DType, i64, u32, u64
from loom.ir.frontend.base.annotations import In, Out
from loom.ir.frontend.decorator import KernelFunction, kernel
from loom.ir.frontend.intrinsics import global_id, group_id, select

__all__ = ["JOIN_TILE", "MATCH_LANES", "count_pairs", "match_keys", "write_pairs"]

JOIN_TILE = 2048
"""Left keys whose pairs one lane writes."""

MATCH_LANES = 64
"""Left keys a workgroup looks up."""


@cache
def match_keys(key: DType) -> KernelFunction:
    """Return the kernel (left, right, lows, counts, n, m): the first of m sorted right keys equal to each left one.

    ``counts`` tells how many are equal. All lanes halve the same lengths, so that they stay together.
    """

    @kernel(workgroup=MATCH_LANES, trusted=True)
    def match(  # type: ignore[no-untyped-def]
        left: In[key],  # type: ignore[valid-type]
        right: In[key],  # type: ignore[valid-type]
        lows: Out[u32],
        counts: Out[u32],
        n: u32,
        m: u32,
    ):
        i = global_id()
        if i < n:
            wanted = left[i]
            low, length = u32(0), m
            while length > 1:
                half = length >> 1
                low = low + select(right[low + half - 1] < wanted, half, u32(0))
                length = length - half
            if low < m and right[low] < wanted:
                low += 1
            equal = u32(0)
            while low + equal < m and right[low + equal] == wanted:
                equal += 1
            lows[i] = low
            counts[i] = equal

    match.name = f"match_{key}"
    return match


@cache
def count_pairs(*, outer: bool) -> KernelFunction:
    """Return the kernel (counts, pairs, n): the pairs of tile g; with ``outer``, one for a key without an equal."""
    least = 1 if outer else 0

    @kernel(workgroup=1, trusted=True)
    def count(counts: In[u32], pairs: Out[u64], n: u32):  # type: ignore[valid-type]
        first = group_id() * JOIN_TILE
        total = u64(0)
        for i in range(u64(first), u64(first + min(n - first, JOIN_TILE))):
            total += u64(max(counts[i], u32(least)))
        pairs[group_id()] = total

    count.name = f"pairs_count{'_outer' if outer else ''}"
    return count


@cache
def write_pairs(*, outer: bool) -> KernelFunction:
    """Return the kernel (lows, counts, positions, starts, lefts, rights, n) that writes the pairs of tile g.

    ``positions`` are those of the sorted right keys; with ``outer`` a left key without an equal is paired with -1.
    """

    @kernel(workgroup=1, trusted=True)
    def write(  # type: ignore[no-untyped-def]
        lows: In[u32],
        counts: In[u32],
        positions: In[i64],
        starts: In[u64],
        lefts: Out[i64],
        rights: Out[i64],
        n: u32,
    ):
        first = group_id() * JOIN_TILE
        at = starts[group_id()]
        for i in range(first, first + min(n - first, JOIN_TILE)):
            low, equal = u64(lows[i]), u64(counts[i])
            for k in range(equal):
                lefts[at + k] = i64(i)
                rights[at + k] = positions[low + k]
            at += equal
            if outer and equal == 0:
                lefts[at] = i64(i)
                rights[at] = i64(-1)
                at += 1

    write.name = f"pairs_write{'_outer' if outer else ''}"
    return write
