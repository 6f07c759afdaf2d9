"""Counts how many elements fall between edges: counters of the workgroup first, added to those of all.

Layer: kernels. Edges ascend; element v is in bin k if edges[k] <= v < edges[k + 1], the last bin taking its
upper edge too. Counts are integers, so that the order of the atomics is free. Invariant: the bin of an element
depends on the element and the edges alone, however it is found.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from loom.core.dtype import DType, i32, i64, u32
from loom.ir.frontend.base.annotations import In, InOut, Out
from loom.ir.frontend.decorator import KernelFunction, kernel
from loom.ir.frontend.intrinsics import atomic_add, barrier, global_id, group_id, local_id, select, shared

__all__ = ["COUNT_LANES", "COUNT_THREADS", "HISTOGRAM_TILE", "MOST_GUESSED", "MOST_SHARED", "count_bins", "wide_counts"]

HISTOGRAM_TILE = 1 << 16
"""Elements of a workgroup: enough that adding its counters to those of all is little work."""

MOST_SHARED = 4096
"""Bins a workgroup keeps counters of its own for."""

MOST_GUESSED = 1 << 16
"""Bins up to which a guessed bin is wrong by one at most: the guess is off by some 2^-22 of all bins in f32."""

COUNT_LANES = 32
"""Lanes of a workgroup, one vector of a CPU."""

COUNT_THREADS = 256
"""Lanes of a workgroup where they are threads."""


@cache
def wide_counts() -> KernelFunction:
    """Return the kernel (counts, out, n): the counts as i64."""

    @kernel(workgroup=64, trusted=True)
    def widen(counts: In[u32], out: Out[i64], n: u32):  # type: ignore[valid-type]
        at = global_id()
        if at < n:
            out[at] = i64(counts[at])

    return widen


@cache
def count_bins(element: DType, computed: DType, *, even: bool, alone: bool, lanes: int = COUNT_LANES) -> KernelFunction:
    """Return the kernel (x, edges, counts, n, bins, scale) that adds to ``counts`` the elements of each bin.

    ``computed`` is the type of edges and comparisons. ``even``: the edges are evenly spaced, ``scale`` bins to
    one, so that the bin is guessed and put right by one; else it is searched for. ``alone``: each workgroup
    counts into memory of its own first; ``lanes`` in each.
    """
    room = MOST_SHARED + 1 if alone else 1

    @kernel(workgroup=lanes, trusted=True)
    def count(  # type: ignore[no-untyped-def]
        x: In[element],  # type: ignore[valid-type]
        edges: In[computed],  # type: ignore[valid-type]
        counts: InOut[u32],  # type: ignore[valid-type]
        n: u32,
        bins: u32,
        scale: computed,  # type: ignore[valid-type]
    ):
        lane = local_id()
        own = shared(u32, room)
        if alone:
            for k in range(lane, bins + 1, lanes):
                own[k] = 0
            barrier()
        first = group_id() * HISTOGRAM_TILE
        low, high = edges[0], edges[bins]
        size = min(n - first, HISTOGRAM_TILE)
        whole = size // lanes * lanes
        for row in range(0, whole, lanes):
            v = computed(x[first + row + lane])
            k = guess_bin(v, edges, bins, scale) if even else search_bin(v, edges, bins)
            inside = (v >= low) & (v <= high)
            if alone:
                atomic_add(own, select(inside, k, bins), 1)  # no branch: those outside have a counter nobody reads
            elif inside:
                atomic_add(counts, k, 1)
        if whole + lane < size:
            v = computed(x[first + whole + lane])
            k = guess_bin(v, edges, bins, scale) if even else search_bin(v, edges, bins)
            if v >= low and v <= high:
                if alone:
                    atomic_add(own, k, 1)
                else:
                    atomic_add(counts, k, 1)
        if alone:
            barrier()
            for k in range(lane, bins, lanes):
                if own[k] != 0:
                    atomic_add(counts, k, own[k])

    count.name = f"bins_{element}_{computed}_{'even' if even else 'any'}{'_alone' if alone else ''}" + "_threads" * (
        lanes != COUNT_LANES
    )
    return count


def guess_bin(v: Any, edges: Any, bins: Any, scale: Any) -> Any:
    """Return the bin of an element within evenly spaced edges; some bin for one outside."""
    k = min(u32(max(i32((v - edges[0]) * scale), 0)), bins - 1)
    k = k - select((v < edges[k]) & (k > 0), u32(1), u32(0))
    return min(k + select(v >= edges[k + 1], u32(1), u32(0)), bins - 1)


def search_bin(v: Any, edges: Any, bins: Any) -> Any:
    """Return the last bin whose lower edge is not above ``v``, by halving what is left; 0 if there is none."""
    k, left = u32(0), bins
    while left > 1:
        half = left >> 1
        k = select(edges[k + half] <= v, k + half, k)
        left = left - half
    return k
