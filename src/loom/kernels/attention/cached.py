"""Attention of single tokens over keys and values kept in pages: writing, weighing, adding up.

Layer: kernels. A page holds ``PAGE`` positions of every key head: keys as (head, size, position), so that neighbouring
lanes take neighbouring positions, values as (head, position, size). Row r of a pass is one token: ``places`` holds its
sequence (the row of ``tables``, whose element i is the page of positions from i ``PAGE`` on) and its position + 1, 0
for a row that is empty: it writes nothing, and gets zeros. Orders are by absolute position: dots in blocks of 128
features, exponentials in 64 lanes of tiles of 4096, weighted values in blocks of 128 positions within chunks of 4096,
then the tree. What a mask hides would add +0, and is not computed: what comes later, and what comes before the last
``window`` positions. Invariant: a result depends on the row's own
sequence up to its own position alone: not on pages, neighbours, or how much of the sequence came in the same pass.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

from loom.core.dtype import DType, f32, u32, u64
from loom.core.numerics import MATMUL_BLOCK, MATMUL_CHUNK, REDUCE_LANES, REDUCE_TILE
from loom.ir.frontend.base.annotations import In, InOut, Out
from loom.ir.frontend.decorator import KernelFunction, kernel
from loom.ir.frontend.intrinsics import barrier, global_id, group_id, local_id, private, shared, static_range
from loom.kernels.functions.exponential import exp
from loom.kernels.group.join import add, join_lanes, larger

__all__ = [
    "LEVELS", "MOST_POSITIONS", "PAGE", "WRITE_LANES", "add_values", "carry_chunk", "exponentiate", "join_chunks",
    "weigh_keys", "write_places",
]  # fmt: skip

PAGE = 64
"""Positions of a page: the lanes of a canonical sum."""
MOST_POSITIONS = REDUCE_TILE * REDUCE_LANES
"""Positions of a sequence at most: the sums of so many tiles are one list of lanes."""
WRITE_LANES = 64
_TILE_PAGES = REDUCE_TILE // PAGE
LEVELS = (MOST_POSITIONS // MATMUL_CHUNK).bit_length()
"""Subtrees of chunks that are kept while more come."""


@cache
def write_places(element: DType, held: DType) -> KernelFunction:
    """Return the kernel (k, v, places, tables, keys, values, rows, heads, size, width) that puts each row's key and
    value in its page. ``k`` and ``v`` are (rows, heads, size); ``width``: pages of a row of ``tables``.
    """

    @kernel(workgroup=WRITE_LANES, trusted=True)
    def write(
        k: In[element],  # type: ignore[valid-type]
        v: In[element],  # type: ignore[valid-type]
        places: In[u32],
        tables: In[u32],
        keys: InOut[held],  # type: ignore[valid-type]
        values: InOut[held],  # type: ignore[valid-type]
        rows: u32,
        heads: u32,
        size: u32,
        width: u32,
    ):
        i = global_id()
        if i < rows * heads * size:
            row, head, at = i // (heads * size), i // size % heads, i % size
            end = places[2 * row + 1]
            if end > 0:
                place = (end - 1) % PAGE
                page = tables[places[2 * row] * width + (end - 1) // PAGE]
                first = (u64(page) * u64(heads) + u64(head)) * u64(size * PAGE)
                keys[first + u64(at * PAGE + place)] = held(k[i])
                values[first + u64(place * size + at)] = held(v[i])

    write.name = f"attention_write_{element}_{held}"
    return write


def _multiply(
    q: Any, keys: Any, dots: Any, sums: Any, at_q: Any, first: Any, size: Any, together: Any
) -> None:  # fmt: skip
    """Leave in ``sums`` the products of the queries with the key that this lane reads from ``first`` on."""
    for g in static_range(together):
        sums[g] = f32(0)
    for block in range(0, size, MATMUL_BLOCK):
        for g in static_range(together):
            dots[g] = f32(0)
        for d in range(block, block + min(size - block, MATMUL_BLOCK)):
            key = f32(keys[first + u64(d * PAGE)])
            for g in static_range(together):
                dots[g] = dots[g] + q[at_q + g * size + d] * key
        for g in static_range(together):
            sums[g] = sums[g] + dots[g]


def exponentiate(
    weights: Any, lanes: Any, whole: Any, lane: Any, to: Any, most: Any, begin: Any, end: Any, pages: Any, tiles: Any
) -> None:  # fmt: skip
    """Turn scores into e^(score - most), and leave their canonical sum in ``whole[0]``."""
    whole[lane] = f32(0)
    barrier()
    for tile in static_range(tiles):
        total = f32(0)
        for page in range(max(begin // PAGE, tile * _TILE_PAGES), min(pages, (tile + 1) * _TILE_PAGES)):
            weight = f32(0)
            if page * PAGE + lane >= begin and page * PAGE + lane < end:
                weight = exp(weights[to + u64(page * PAGE)] - most)
                total = total + weight
            weights[to + u64(page * PAGE)] = weight
        join_lanes(lanes, lane, total, add)
        if lane == 0:
            whole[tile] = lanes[0]
        barrier()
    if tiles > 1:
        join_lanes(lanes, lane, whole[lane], add)
        if lane == 0:
            whole[0] = lanes[0]
        barrier()


@cache
def weigh_keys(together: int, held: DType, *, tiles: int) -> KernelFunction:
    """Return the kernel (q, keys, places, tables, weights, scales, heads, size, width, window,
    begin_row, factor).

    Group (h, r) takes the ``together`` queries of row ``begin_row`` + r that share key head h; ``q`` is (rows, heads,
    together, size). ``weights`` gets e^(score - largest) by position, (groups along r, heads, together, ``width`` 64),
    ``scales`` 1 / their sum.
    ``tiles``: the most tiles of a sequence.
    """

    @kernel(workgroup=PAGE, trusted=True)
    def weigh(
        q: In[f32],
        keys: In[held],  # type: ignore[valid-type]
        places: In[u32],
        tables: In[u32],
        weights: InOut[f32],
        scales: Out[f32],
        heads: u32,
        size: u32,
        width: u32,
        window: u32,
        begin_row: u32,
        factor: f32,
    ):
        lane, head, row = local_id(), group_id(0), group_id(1) + begin_row
        own = group_id(1) * heads + head
        end = places[2 * row + 1]
        begin = max(end, window) - window
        table = places[2 * row] * width
        pages = (end + (PAGE - 1)) // PAGE
        at_q = (row * heads + head) * (together * size)
        length = width * PAGE
        to = u64(own) * u64(together * length) + u64(lane)
        dots, sums, most = private(f32, together), private(f32, together), private(f32, together)
        lanes, whole = shared(f32, PAGE), shared(f32, PAGE)
        for g in static_range(together):
            most[g] = f32(-math.inf)
        for page in range(begin // PAGE, pages):
            first = (u64(tables[table + page]) * u64(heads) + u64(head)) * u64(size * PAGE) + u64(lane)
            _multiply(q, keys, dots, sums, at_q, first, size, together)
            for g in static_range(together):
                score = sums[g] * factor
                weights[to + u64(g * length + page * PAGE)] = score
                if page * PAGE + lane >= begin and page * PAGE + lane < end:
                    most[g] = max(most[g], score)
        for g in static_range(together):
            join_lanes(lanes, lane, most[g], larger)
            most[g] = lanes[0]
            barrier()
        for g in static_range(together):
            exponentiate(weights, lanes, whole, lane, to + u64(g * length), most[g], begin, end, pages, tiles)
            if lane == 0:
                scales[own * together + g] = f32(1) / whole[0]
            barrier()

    weigh.name = f"attention_weigh_{together}_{held}_{tiles}"
    return weigh


@cache
def add_values(together: int, held: DType, lanes: int, *, chunks: int) -> KernelFunction:
    """Return the kernel (weights, scales, values, places, tables, out, heads, size, width, window, begin_row).

    Group (h, r, part) takes, of row ``begin_row`` + r, ``lanes`` features from ``part lanes`` on: ``out`` (rows, heads,
    together, size) gets the sums of weight times scale times value. ``chunks``: the most chunks of a sequence.
    """

    @kernel(workgroup=lanes, trusted=True)
    def values_of(
        weights: In[f32],
        scales: In[f32],
        values: In[held],  # type: ignore[valid-type]
        places: In[u32],
        tables: In[u32],
        out: Out[f32],
        heads: u32,
        size: u32,
        width: u32,
        window: u32,
        begin_row: u32,
    ):
        head, row, at = group_id(0), group_id(1) + begin_row, group_id(2) * lanes + local_id()
        end = places[2 * row + 1]
        seen = (max(end, window) - window) // PAGE * PAGE
        table = places[2 * row] * width
        length = width * PAGE
        own = group_id(1) * heads + head
        start = u64(own) * u64(together * length)
        if at < size:
            sums, totals = private(f32, together), private(f32, together)
            parts = private(f32, together * LEVELS)
            for g in static_range(together):
                totals[g] = f32(0)
            for chunk in range((end + (MATMUL_CHUNK - 1)) // MATMUL_CHUNK):
                for g in static_range(together):
                    totals[g] = f32(0)
                begin = chunk * MATMUL_CHUNK
                stop = begin + min(end - begin, MATMUL_CHUNK)
                for block in range(max(begin, seen // MATMUL_BLOCK * MATMUL_BLOCK), stop, MATMUL_BLOCK):
                    for g in static_range(together):
                        sums[g] = f32(0)
                    for first in range(max(block, seen), block + min(stop - block, MATMUL_BLOCK), PAGE):
                        page = tables[table + first // PAGE]
                        place = (u64(page) * u64(heads) + u64(head)) * u64(size * PAGE) + u64(at)
                        for i in range(min(stop - first, PAGE)):
                            value = f32(values[place + u64(i * size)])
                            for g in static_range(together):
                                weight = weights[start + u64(g * length + first + i)] * scales[own * together + g]
                                sums[g] = sums[g] + weight * value
                    for g in static_range(together):
                        totals[g] = totals[g] + sums[g]
                if chunks > 1:
                    carry_chunk(totals, parts, chunk, together)
            if chunks > 1:
                join_chunks(totals, parts, (end + (MATMUL_CHUNK - 1)) // MATMUL_CHUNK, together)
            for g in static_range(together):
                out[((row * heads + head) * together + g) * size + at] = totals[g]

    values_of.name = f"attention_values_{together}x{lanes}_{held}_{chunks}"
    return values_of


def carry_chunk(totals: Any, parts: Any, chunk: Any, together: Any) -> None:
    """Add what is complete of the balanced tree once chunk number ``chunk`` is there: a counter in base two."""
    level = u32(0)
    left = chunk
    while left % 2 == 1:
        for g in static_range(together):
            totals[g] = parts[level * together + g] + totals[g]
        level = level + 1
        left = left // 2
    for g in static_range(together):
        parts[level * together + g] = totals[g]


def join_chunks(totals: Any, parts: Any, count: Any, together: Any) -> None:
    """Join the subtrees of ``count`` chunks, the smallest, last ones first."""
    level = u32(0)
    left = count
    while left > 0 and left % 2 == 0:
        level = level + 1
        left = left // 2
    if left > 0:
        for g in static_range(together):
            totals[g] = parts[level * together + g]
    left = left // 2
    level = level + 1
    while left > 0:
        if left % 2 == 1:
            for g in static_range(together):
                totals[g] = parts[level * together + g] + totals[g]
        level = level + 1
        left = left // 2
