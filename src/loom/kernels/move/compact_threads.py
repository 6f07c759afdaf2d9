"""What ``kernels.move.compact`` and ``kernels.move.join`` do with a tile, where lanes are threads.

Layer: kernels. Buffers, parameters and groups are those of the kernels there, whose lane alone counts and moves a
tile; here 256 lanes take a few neighbours each, add up their counts, and know from the sum before theirs where to
write. One workgroup adds up the counts of all tiles. Invariant: the same elements in the same places.

Source: Blelloch, "Prefix sums and their applications" (1990), section 1.3.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from loom.core.dtype import DType, i64, u32, u64
from loom.ir.frontend.base.annotations import In, Out
from loom.ir.frontend.decorator import KernelFunction, kernel
from loom.ir.frontend.intrinsics import atomic_add, barrier, group_id, local_id, select, shared, static_range
from loom.kernels.group.join import share_total, sum_lanes
from loom.kernels.move.compact import KEEP_TILE, is_kept, words_of
from loom.kernels.move.join import JOIN_TILE

__all__ = [
    "TILE_LANES", "add_up", "lane_add_counts", "lane_count_kept", "lane_count_pairs", "lane_keep_elements",
    "lane_keep_positions", "lane_write_pairs", "last_at_most",
]  # fmt: skip

TILE_LANES = 256
"""Lanes that share a tile."""
_EACH = 8
_CHUNK = TILE_LANES * _EACH
_OWN_KEPT = KEEP_TILE // TILE_LANES
_OWN_PAIRS = JOIN_TILE // TILE_LANES


def add_up(counts: Any, starts: Any, n: Any, held: Any, count: Any) -> Any:
    """Store the sum of what ``count(counts, i)`` gives for i before each place; return the sum of all.

    One workgroup of ``TILE_LANES`` does it; ``held`` is shared, two places a lane, and its type is that of the sums.
    """
    lane, carry = local_id(), held.dtype(0)
    for base in range(0, n, _CHUNK):
        first = base + lane * _EACH
        own = held.dtype(0)
        for k in static_range(_EACH):
            if first + k < n:
                own = own + count(counts, first + k)
        upto = sum_lanes(TILE_LANES, held, own)
        so_far = carry + upto - own
        for k in static_range(_EACH):
            if first + k < n:
                starts[first + k] = so_far
                so_far = so_far + count(counts, first + k)
        carry = carry + share_total(TILE_LANES, held, upto)
    return carry


def last_at_most(sums: Any, n: Any, value: Any) -> Any:
    """Return the last place of the ``n`` ascending sums, the first of which is 0, whose sum is at most ``value``."""
    at, left = u32(0), n
    while left > 1:
        half = left >> 1
        at = select(sums[at + half] <= value, at + half, at)
        left = left - half
    return at


def _itself(counts: Any, at: Any) -> Any:
    return counts[at]


@cache
def lane_add_counts(kind: DType) -> KernelFunction:
    """Return the kernel (counts, starts, total, tiles): ``starts[g]`` sums the counts before g, ``total[0]`` all."""

    @kernel(workgroup=TILE_LANES, trusted=True)
    def add(counts: In[kind], starts: Out[kind], total: Out[kind], tiles: u32):  # type: ignore[valid-type]
        held = shared(kind, 2 * TILE_LANES)
        whole = add_up(counts, starts, tiles, held, _itself)
        if local_id() == 0:
            total[0] = whole

    add.name = f"lane_add_counts_{kind}"
    return add


@cache
def lane_count_kept(flags: DType) -> KernelFunction:
    """Return the kernel (mask, counts, n) of ``count_kept``."""
    word = words_of(flags)

    @kernel(workgroup=TILE_LANES, trusted=True)
    def count(mask: In[word], counts: Out[u32], n: u32):  # type: ignore[valid-type]
        first = group_id() * KEEP_TILE
        size = min(n - first, KEEP_TILE)
        own = u32(0)
        for at in range(local_id(), size, TILE_LANES):
            own += select(is_kept(mask[first + at], flags), u32(1), u32(0))
        whole = shared(u32, 1)
        if local_id() == 0:
            whole[0] = 0
        barrier()
        atomic_add(whole, 0, own)
        barrier()
        if local_id() == 0:
            counts[group_id()] = whole[0]

    count.name = f"lane_count_{flags}"
    return count


def keep(x: Any, mask: Any, starts: Any, out: Any, n: Any, flags: DType, room: Any) -> None:
    """Gather what a tile keeps of ``x``, or, if that is None, its positions, in ``room`` (shared), and move it out."""
    lane, first = local_id(), group_id() * KEEP_TILE
    size, begin = min(n - first, KEEP_TILE), lane * _OWN_KEPT
    own = u32(0)
    for k in static_range(_OWN_KEPT):
        if begin + k < size:
            own += select(is_kept(mask[first + begin + k], flags), u32(1), u32(0))
    held = shared(u32, 2 * TILE_LANES)
    upto = sum_lanes(TILE_LANES, held, own)
    to = upto - own
    for k in static_range(_OWN_KEPT):
        if begin + k < size and is_kept(mask[first + begin + k], flags):
            room[to] = room.dtype(first + begin + k) if x is None else x[first + begin + k]
            to += 1
    kept = share_total(TILE_LANES, held, upto)
    start = starts[group_id()]
    for k in range(lane, kept, TILE_LANES):
        out[start + k] = room[k]


@cache
def lane_keep_elements(element: DType, flags: DType) -> KernelFunction:
    """Return the kernel (x, mask, starts, out, n) of ``keep_elements``."""
    moved, word = words_of(element), words_of(flags)

    @kernel(workgroup=TILE_LANES, trusted=True)
    def elements(x: In[moved], mask: In[word], starts: In[u32], out: Out[moved], n: u32):  # type: ignore[valid-type]
        room = shared(moved, KEEP_TILE)
        keep(x, mask, starts, out, n, flags, room)

    elements.name = f"lane_keep_{moved}_{flags}"
    return elements


@cache
def lane_keep_positions(flags: DType) -> KernelFunction:
    """Return the kernel (mask, starts, out, n) of ``keep_positions``."""
    word = words_of(flags)

    @kernel(workgroup=TILE_LANES, trusted=True)
    def positions(mask: In[word], starts: In[u32], out: Out[i64], n: u32):  # type: ignore[valid-type]
        room = shared(i64, KEEP_TILE)
        keep(None, mask, starts, out, n, flags, room)

    positions.name = f"lane_keep_positions_{flags}"
    return positions


@cache
def lane_count_pairs(*, outer: bool) -> KernelFunction:
    """Return the kernel (counts, pairs, n) of ``count_pairs``."""
    least = 1 if outer else 0

    @kernel(workgroup=TILE_LANES, trusted=True)
    def count(counts: In[u32], pairs: Out[u64], n: u32):
        first, lane = group_id() * JOIN_TILE, local_id()
        size = min(n - first, JOIN_TILE)
        own = u64(0)
        for i in range(lane, size, TILE_LANES):
            own += u64(max(counts[first + i], u32(least)))
        upto = sum_lanes(TILE_LANES, shared(u64, 2 * TILE_LANES), own)
        if lane == TILE_LANES - 1:
            pairs[group_id()] = upto

    count.name = f"lane_pairs_count{'_outer' if outer else ''}"
    return count


@cache
def lane_write_pairs(*, outer: bool) -> KernelFunction:
    """Return the kernel (lows, counts, positions, starts, lefts, rights, n) of ``write_pairs``.

    Lanes take the pairs in turn, and find the left key of each by halving the sums of counts before the keys.
    """
    least = 1 if outer else 0

    @kernel(workgroup=TILE_LANES, trusted=True)
    def write(  # type: ignore[no-untyped-def]
        lows: In[u32],
        counts: In[u32],
        positions: In[i64],
        starts: In[u64],
        lefts: Out[i64],
        rights: Out[i64],
        n: u32,
    ):
        first, lane = group_id() * JOIN_TILE, local_id()
        size, begin = min(n - first, JOIN_TILE), lane * _OWN_PAIRS
        own = u32(0)
        for k in static_range(_OWN_PAIRS):
            if begin + k < size:
                own += max(counts[first + begin + k], u32(least))
        held, before = shared(u32, 2 * TILE_LANES), shared(u32, JOIN_TILE)
        upto = sum_lanes(TILE_LANES, held, own)
        so_far = upto - own
        for k in static_range(_OWN_PAIRS):
            if begin + k < size:
                before[begin + k] = so_far
                so_far += max(counts[first + begin + k], u32(least))
        whole = share_total(TILE_LANES, held, upto)
        start = starts[group_id()]
        for pair in range(lane, whole, TILE_LANES):
            key = last_at_most(before, size, pair)
            to = start + u64(pair)
            lefts[to] = i64(first + key)
            if counts[first + key] == 0:
                rights[to] = i64(-1)
            else:
                rights[to] = positions[u64(lows[first + key]) + u64(pair - before[key])]

    write.name = f"lane_pairs_write{'_outer' if outer else ''}"
    return write
