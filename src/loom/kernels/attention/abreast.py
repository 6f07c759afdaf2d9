"""Attention of single tokens over pages, for GPUs: pages and blocks of a sequence side by side in a group.

Layer: kernels. A token alone is all waiting for memory, so that its group has many loads under way: lanes are 64
positions, or features, of each of several pages, or blocks. Memory, places and tables are those of ``cached``.
Invariant: the order of ``cached``: what several pages and blocks give is added up one after the other.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any

from loom.core.caps import Caps
from loom.core.dtype import DType, f32, u32, u64
from loom.core.late.dataclass import dataclass
from loom.core.numerics import MATMUL_BLOCK, MATMUL_CHUNK, REDUCE_TILE
from loom.ir.frontend.base.annotations import In, InOut, Out
from loom.ir.frontend.decorator import KernelFunction, kernel
from loom.ir.frontend.intrinsics import barrier, group_id, local_id, private, shared, static_range
from loom.kernels.attention.cached import LEVELS, PAGE, carry_chunk, join_chunks
from loom.kernels.functions.exponential import exp
from loom.kernels.group.join import add, join_lanes, larger

__all__ = ["Abreast", "add_values_abreast", "choose_abreast", "weigh_keys_abreast"]

_TILE_PAGES = REDUCE_TILE // PAGE
_SIDES, _LOADS, _SHORT_LOADS = 8, 16, 4
_LEAST_SHARED_NBYTES = 1 << 14
"""Shared memory of a group that every such device has to give."""


@dataclass(frozen=True, slots=True)
class Abreast:
    """``sides`` pages or blocks at once, ``loads`` features or positions of each, for ``together`` queries."""

    together: int
    sides: int
    loads: int

    @property
    def lanes(self) -> int:
        """Lanes of a group."""
        return self.sides * PAGE

    def __str__(self) -> str:
        return f"{self.together}x{self.sides}x{self.loads}"


def choose_abreast(caps: Caps, together: int, size: int) -> Abreast | None:
    """Return the cut for a GPU, None where queries are more than fit shared memory."""
    sides = min(_SIDES, caps.max_workgroup_lanes // PAGE)
    while sides > 1 and together * 4 * (sides * PAGE + size) > min(_LEAST_SHARED_NBYTES, caps.shared_nbytes // 2):
        sides //= 2
    return Abreast(together, sides, _SHORT_LOADS if caps.short else _LOADS) if sides > 1 else None


def _scoring(cut: Abreast, size: int) -> Callable[..., None]:
    """Return what leaves in ``sums`` the products of the queries with the key that a lane reads from ``first`` on."""
    together, loads = cut.together, cut.loads

    def add_products(q: Any, keys: Any, dots: Any, first: Any, d: Any, count: Any) -> None:
        for i in static_range(count):
            key = f32(keys[first + u64((d + i) * PAGE)])
            for g in static_range(together):
                dots[g] = dots[g] + q[g * size + d + i] * key

    def score(q: Any, keys: Any, dots: Any, sums: Any, first: Any) -> None:
        for g in static_range(together):
            sums[g] = f32(0)
        for block in range(0, size, MATMUL_BLOCK):
            for g in static_range(together):
                dots[g] = f32(0)
            last = min(size, block + MATMUL_BLOCK)
            whole = last - last % loads
            for d in range(block, whole, loads):
                add_products(q, keys, dots, first, d, loads)
            for d in range(whole, last):
                add_products(q, keys, dots, first, d, 1)
            for g in static_range(together):
                sums[g] = sums[g] + dots[g]

    return score


def _turning(cut: Abreast) -> Callable[..., None]:
    """Return what turns the scores of a page that a lane sees into e^(score - most), 0 where it sees none."""
    together, sides = cut.together, cut.sides

    def turn(
        weights: Any, made: Any, most: Any, to: Any, length: Any, place: Any, begin: Any, end: Any, lane: Any
    ) -> None:  # fmt: skip
        for g in static_range(together):
            weight = f32(0)
            if place + lane >= begin and place + lane < end:
                weight = exp(weights[to + u64(g * length + place)] - most[g])
            weights[to + u64(g * length + place)] = weight
            made[g * (sides * PAGE) + local_id()] = weight

    return turn


def _summing(cut: Abreast) -> Callable[..., None]:
    """Return what turns scores into e^(score - most), and leaves their canonical sums in ``whole[64 g]``."""
    together, sides = cut.together, cut.sides
    turn = _turning(cut)

    def add_pages(made: Any, totals: Any, first: Any, count: Any, begin: Any, end: Any, lane: Any) -> None:
        for s in range(count):
            place = (first + s) * PAGE + lane
            if place >= begin and place < end:
                for g in static_range(together):
                    totals[g] = totals[g] + made[g * (sides * PAGE) + s * PAGE + lane]

    def exponentiate(
        weights: Any, made: Any, lanes: Any, whole: Any, most: Any, to: Any, length: Any, begin: Any, end: Any
    ) -> None:  # fmt: skip
        own, side, lane = local_id(), local_id() // PAGE, local_id() % PAGE
        pages, totals = (end + (PAGE - 1)) // PAGE, private(f32, together)
        for i in range(own, together * PAGE, cut.lanes):
            whole[i] = f32(0)
        barrier()
        for tile in range((pages + (_TILE_PAGES - 1)) // _TILE_PAGES):
            for g in static_range(together):
                totals[g] = f32(0)
            stop = min(pages, (tile + 1) * _TILE_PAGES)
            for first in range(max(begin // PAGE, tile * _TILE_PAGES), stop, sides):
                if first + side < stop:
                    turn(weights, made, most, to, length, (first + side) * PAGE, begin, end, lane)
                barrier()
                add_pages(made, totals, first, min(stop - first, sides), begin, end, lane)
                barrier()
            for g in static_range(together):
                join_lanes(lanes, own, totals[g], add)
                if own == 0:
                    whole[g * PAGE + tile] = lanes[0]
                barrier()
        if pages > _TILE_PAGES:
            for g in static_range(together):
                join_lanes(lanes, own, whole[g * PAGE + lane], add)
                if own == 0:
                    whole[g * PAGE] = lanes[0]
                barrier()

    return exponentiate


@cache
def weigh_keys_abreast(cut: Abreast, held: DType, size: int) -> KernelFunction:
    """Return the kernel (q, keys, places, tables, weights, scales, heads, width, window, begin_row, factor).

    It does what ``weigh_keys`` does, for heads of ``size`` features.
    """
    together, sides = cut.together, cut.sides
    score, exponentiate = _scoring(cut, size), _summing(cut)

    @kernel(workgroup=cut.lanes, trusted=True)
    def weigh(
        q: In[f32],
        keys: In[held],  # type: ignore[valid-type]
        places: In[u32],
        tables: In[u32],
        weights: InOut[f32],
        scales: Out[f32],
        heads: u32,
        width: u32,
        window: u32,
        begin_row: u32,
        factor: f32,
    ):
        side, lane, head, row = local_id() // PAGE, local_id() % PAGE, group_id(0), group_id(1) + begin_row
        own = group_id(1) * heads + head
        end = places[2 * row + 1]
        begin = max(end, window) - window
        table, length = places[2 * row] * width, width * PAGE
        to = u64(own) * u64(together * length) + u64(lane)
        dots, sums, most = private(f32, together), private(f32, together), private(f32, together)
        queries, made = shared(f32, together * size), shared(f32, together * cut.lanes)
        lanes, whole = shared(f32, cut.lanes), shared(f32, together * PAGE)
        for i in range(local_id(), together * size, cut.lanes):
            queries[i] = q[(row * heads + head) * (together * size) + i]
        for g in static_range(together):
            most[g] = f32(-math.inf)
        barrier()
        for page in range(begin // PAGE + side, (end + (PAGE - 1)) // PAGE, sides):
            first = (u64(tables[table + page]) * u64(heads) + u64(head)) * u64(size * PAGE) + u64(lane)
            score(queries, keys, dots, sums, first)
            for g in static_range(together):
                weights[to + u64(g * length + page * PAGE)] = sums[g] * factor
                if page * PAGE + lane >= begin and page * PAGE + lane < end:
                    most[g] = max(most[g], sums[g] * factor)
        for g in static_range(together):
            made[g * cut.lanes + local_id()] = most[g]
        barrier()
        for g in static_range(together):
            for s in static_range(sides):
                most[g] = larger(most[g], made[g * cut.lanes + s * PAGE + lane])
            join_lanes(lanes, local_id(), most[g], larger)
            most[g] = lanes[0]
            barrier()
        exponentiate(weights, made, lanes, whole, most, to, length, begin, end)
        if local_id() == 0:
            for g in static_range(together):
                scales[own * together + g] = f32(1) / whole[g * PAGE]

    weigh.name = f"attention_weigh_abreast_{cut}_{held}_{size}"
    return weigh


def _adding_block(cut: Abreast, size: int) -> Callable[..., None]:
    """Return what adds weight times scale times value of positions from ``begin`` to ``end`` to sums."""
    together, loads = cut.together, cut.loads

    def add_products(
        weights: Any, values: Any, factors: Any, sums: Any, start: Any, length: Any, place: Any, p: Any, count: Any
    ) -> None:  # fmt: skip
        for i in static_range(count):
            value = f32(values[place + u64((p % PAGE + i) * size)])
            for g in static_range(together):
                sums[g] = sums[g] + weights[start + u64(g * length + p + i)] * factors[g] * value

    def add_block(
        weights: Any, values: Any, tables: Any, factors: Any, sums: Any, start: Any, length: Any, table: Any,
        head: Any, heads: Any, at: Any, begin: Any, end: Any,
    ) -> None:  # fmt: skip
        for first in range(begin, end, PAGE):  # begins with a page
            place = (u64(tables[table + first // PAGE]) * u64(heads) + u64(head)) * u64(size * PAGE) + u64(at)
            last = min(end, first + PAGE)
            whole = last - last % loads
            for p in range(first, whole, loads):
                add_products(weights, values, factors, sums, start, length, place, p, loads)
            for p in range(whole, last):
                add_products(weights, values, factors, sums, start, length, place, p, 1)

    return add_block


@cache
def add_values_abreast(cut: Abreast, held: DType, size: int, *, chunks: int) -> KernelFunction:
    """Return the kernel (weights, scales, values, places, tables, out, heads, width, window, begin_row).

    It does what ``add_values`` does, for heads of ``size`` features, 64 of them in a group.
    """
    together, sides, levels = cut.together, cut.sides, LEVELS if chunks > 1 else 1
    add_block = _adding_block(cut, size)

    @kernel(workgroup=cut.lanes, trusted=True)
    def values_of(
        weights: In[f32],
        scales: In[f32],
        values: In[held],  # type: ignore[valid-type]
        places: In[u32],
        tables: In[u32],
        out: Out[f32],
        heads: u32,
        width: u32,
        window: u32,
        begin_row: u32,
    ):
        side, lane, head, row = local_id() // PAGE, local_id() % PAGE, group_id(0), group_id(1) + begin_row
        at, own = group_id(2) * PAGE + lane, group_id(1) * heads + head
        end = places[2 * row + 1]
        seen = (max(end, window) - window) // PAGE * PAGE
        table, length = places[2 * row] * width, width * PAGE
        start = u64(own) * u64(together * length)
        sums, totals, factors = private(f32, together), private(f32, together), private(f32, together)
        parts, made = private(f32, together * levels), shared(f32, together * cut.lanes)
        for g in static_range(together):
            factors[g], totals[g] = scales[own * together + g], f32(0)
        for chunk in range((end + (MATMUL_CHUNK - 1)) // MATMUL_CHUNK):
            for g in static_range(together):
                totals[g] = f32(0)
            begin = chunk * MATMUL_CHUNK
            stop = begin + min(end - begin, MATMUL_CHUNK)
            for first in range(max(begin, seen // MATMUL_BLOCK * MATMUL_BLOCK), stop, sides * MATMUL_BLOCK):
                block = first + side * MATMUL_BLOCK
                for g in static_range(together):
                    sums[g] = f32(0)
                if block < stop:
                    last = block + min(stop - block, MATMUL_BLOCK)
                    add_block(
                        weights, values, tables, factors, sums, start, length, table, head, heads, min(at, size - 1),
                        max(block, seen), last,
                    )  # fmt: skip
                for g in static_range(together):
                    made[g * cut.lanes + local_id()] = sums[g]
                barrier()
                for s in range(min((stop - first + (MATMUL_BLOCK - 1)) // MATMUL_BLOCK, sides)):
                    for g in static_range(together):
                        totals[g] = totals[g] + made[g * cut.lanes + s * PAGE + lane]
                barrier()
            if chunks > 1:
                carry_chunk(totals, parts, chunk, together)
        if chunks > 1:
            join_chunks(totals, parts, (end + (MATMUL_CHUNK - 1)) // MATMUL_CHUNK, together)
        if side == 0 and at < size:
            for g in static_range(together):
                out[((row * heads + head) * together + g) * size + at] = totals[g]

    values_of.name = f"attention_values_abreast_{cut}_{held}_{size}_{chunks}"
    return values_of
