"""Attention of many tokens over keys and values kept in pages: tiles of queries, for GPUs.

Layer: kernels. Neighbouring rows are mostly tokens of one sequence, which read the same keys and values: a group brings
these into shared memory once for a tile of rows. Rows of another sequence are taken after them, in a stretch of their
own; a row alone costs what a tile does. Memory, places and tables are those of ``cached``. Invariant: the order of
``cached``, whatever the tile: dots in blocks of 128 features, weighted values in blocks of 128 positions within
chunks of 4096, then the tree; what a mask hides is added to no sum.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any

from loom.core.dtype import DType, f32, u32, u64
from loom.core.numerics import MATMUL_BLOCK, MATMUL_CHUNK
from loom.ir.frontend.base.annotations import In, InOut, Out
from loom.ir.frontend.decorator import KernelFunction, kernel
from loom.ir.frontend.intrinsics import barrier, group_id, local_id, private, shared, static_range
from loom.kernels.attention.cached import LEVELS, PAGE, carry_chunk, exponentiate, join_chunks
from loom.kernels.attention.rowtiles import (
    NOBODY,
    RowTile,
    bringing_kept,
    bringing_queries,
    bringing_weights,
    find_stretch,
    first_seen,
    reads_quads,
)
from loom.kernels.group.join import join_lanes, larger
from loom.kernels.matmul.slabs import QUAD
from loom.kernels.matmul.threads import summing

__all__ = ["add_tiled_values", "score_keys", "weigh_scores"]


@cache
def score_keys(tile: RowTile, held: DType, size: int) -> KernelFunction:
    """Return the kernel (q, keys, places, tables, weights, rows, heads, width, window, begin_row, parts, factor).

    Group (h, t, p) takes the ``tile.rows`` rows of key head h from ``begin_row`` + t ``tile.rows`` on, the last ones
    first, and every ``parts``-th page from the p-th on that they see. ``weights`` gets the scores of whole pages.
    """
    grid, count = tile.grid, tile.grid.rows * tile.grid.columns * QUAD * QUAD
    slab, blocks = grid.depth * tile.pitch, -(-size // MATMUL_BLOCK)
    keyed = held.vector(QUAD) if held == f32 else held
    bring_queries, bring_keys = bringing_queries(tile, size), bringing_kept(tile, held, size, by_position=False)
    add_slab = summing(grid, tile.pitch, PAGE // QUAD, f32)
    keep, quad = _keeping_scores(tile), f32.vector(QUAD)

    @kernel(workgroup=grid.lanes, trusted=True)
    def score(
        q: In[f32],
        keys: In[keyed],  # type: ignore[valid-type]
        places: In[u32],
        tables: In[u32],
        weights: Out[f32],
        rows: u32,
        heads: u32,
        width: u32,
        window: u32,
        begin_row: u32,
        parts: u32,
        factor: f32,
    ):
        lane, head = local_id(), group_id(0)
        own_row = ((rows + (tile.rows - 1)) // tile.rows - 1 - group_id(1)) * tile.rows
        row, count_rows = begin_row + own_row, min(rows - own_row, tile.rows)
        x, y = shared(quad, slab), shared(quad, grid.depth * (PAGE // QUAD))
        sums, totals = private(f32, count), private(f32, count)
        begin = u32(0)
        while begin < count_rows:
            end = find_stretch(places, row, begin, count_rows)
            first, last = u32(NOBODY), u32(0)
            for r in range(begin, end):
                place = places[2 * (row + r) + 1]
                first, last = min(first, first_seen(place, window)), max(last, place)
            table = places[2 * (row + begin)] * width
            for page in range(first // PAGE + group_id(2), (last + (PAGE - 1)) // PAGE, parts):
                base = (u64(tables[table + page]) * u64(heads) + u64(head)) * u64(size * PAGE)
                for s in static_range(count):
                    totals[s] = f32(0)
                for b in static_range(blocks):
                    for s in static_range(count):
                        sums[s] = f32(0)
                    for d in range(b * MATMUL_BLOCK, min(size, (b + 1) * MATMUL_BLOCK), grid.depth):
                        bring_queries(q, x, lane, row, count_rows, head, heads, d)
                        bring_keys(keys, y, lane, base, d, u32(size), u32(0))
                        barrier()
                        add_slab(x, y, sums, lane // grid.across, lane % grid.across)
                        barrier()
                    for s in static_range(count):
                        totals[s] = totals[s] + sums[s]
                keep(weights, totals, lane, own_row, begin, end, head, heads, width, page, factor)
            begin = end

    score.name = f"attention_score_{tile}_{held}_{size}"
    return score


def _keeping_scores(tile: RowTile) -> Callable[..., None]:
    """Return what stores the scores of rows from ``begin`` to ``end`` with a page."""
    grid, together = tile.grid, tile.together

    def keep(
        weights: Any, sums: Any, lane: Any, own_row: Any, begin: Any, end: Any, head: Any, heads: Any, width: Any,
        page: Any, factor: Any,
    ) -> None:  # fmt: skip
        ty, tx = lane // grid.across, lane % grid.across
        for i in static_range(grid.rows * QUAD):
            number = ty * QUAD + (i // QUAD * grid.down * QUAD + i % QUAD)
            here = number // together
            if here >= begin and here < end:
                at = u64(((own_row + here) * heads + head) * together + number % together) * u64(width * PAGE)
                for j in static_range(QUAD):
                    weights[at + u64(page * PAGE + tx * QUAD + j)] = sums[i * QUAD + j] * factor

    return keep


@cache
def weigh_scores(*, tiles: int) -> KernelFunction:
    """Return the kernel (places, weights, scales, queries, width, window, begin_row).

    Group (i, r) takes query i of the ``queries`` of row ``begin_row`` + r: its scores become e^(score - largest), 0
    outside the window, and ``scales`` gets 1 / their sum. ``tiles``: the most tiles of a sequence.
    """

    @kernel(workgroup=PAGE, trusted=True)
    def weigh(
        places: In[u32], weights: InOut[f32], scales: Out[f32], queries: u32, width: u32, window: u32, begin_row: u32
    ):
        lane, own = local_id(), group_id(1) * queries + group_id(0)
        end = places[2 * (group_id(1) + begin_row) + 1]
        begin = max(end, window) - window
        pages = (end + (PAGE - 1)) // PAGE
        to = u64(own) * u64(width * PAGE) + u64(lane)
        lanes, whole = shared(f32, PAGE), shared(f32, PAGE)
        most = f32(-math.inf)
        for page in range(begin // PAGE, pages):
            score = weights[to + u64(page * PAGE)]
            if page * PAGE + lane >= begin and page * PAGE + lane < end:
                most = max(most, score)
        join_lanes(lanes, lane, most, larger)
        most = lanes[0]
        barrier()
        exponentiate(weights, lanes, whole, lane, to, most, begin, end, pages, tiles)
        if lane == 0:
            scales[own] = f32(1) / whole[0]

    weigh.name = f"attention_exponentials_{tiles}"
    return weigh


def _adding_at_edges(tile: RowTile) -> Callable[..., None]:
    """Return what adds a slab of positions to the sums of those queries alone that see them."""
    grid, pitch, depth = tile.grid, tile.pitch, tile.grid.depth
    rows = grid.rows * QUAD

    def add(x: Any, y: Any, sums: Any, firsts: Any, lasts: Any, ty: Any, tx: Any, p: Any) -> None:
        for k in range(depth):
            kept = y[k * (PAGE // QUAD) + tx]
            for r in static_range(grid.rows):
                own = x[k * pitch + ty + r * grid.down]
                for i in static_range(QUAD):
                    if p + k >= firsts[r * QUAD + i] and p + k < lasts[r * QUAD + i]:
                        for j in static_range(QUAD):
                            at = (r * QUAD + i) * QUAD + j
                            sums[at] = sums[at] + own[i] * kept[j]

    assert rows * QUAD == grid.rows * grid.columns * QUAD * QUAD, "one vector of columns a lane"
    return add


def _finding_edges(tile: RowTile) -> Callable[..., None]:
    """Return what finds the first and last positions that this lane's queries see, those of a stretch alone."""
    grid, together = tile.grid, tile.together

    def find(places: Any, firsts: Any, lasts: Any, ty: Any, row: Any, begin: Any, end: Any, window: Any) -> None:
        for i in static_range(grid.rows * QUAD):
            here = (ty * QUAD + (i // QUAD * grid.down * QUAD + i % QUAD)) // together
            firsts[i], lasts[i] = u32(0), u32(0)
            if here >= begin and here < end:
                lasts[i] = places[2 * (row + here) + 1]
                firsts[i] = first_seen(lasts[i], window)

    return find


def _keeping_values(tile: RowTile, size: int) -> Callable[..., None]:
    """Return what stores the sums of rows from ``begin`` to ``end``."""
    grid, together = tile.grid, tile.together

    def keep(out: Any, sums: Any, ty: Any, row: Any, begin: Any, end: Any, head: Any, heads: Any, column: Any) -> None:
        for i in static_range(grid.rows * QUAD):
            number = ty * QUAD + (i // QUAD * grid.down * QUAD + i % QUAD)
            here = number // together
            if here >= begin and here < end:
                at = (((row + here) * heads + head) * together + number % together) * size
                for j in static_range(QUAD):
                    if column + j < size:
                        out[at + column + j] = sums[i * QUAD + j]

    return keep


@cache
def add_tiled_values(tile: RowTile, held: DType, size: int, *, chunks: int) -> KernelFunction:
    """Return the kernel (weights, scales, values, places, tables, out, rows, heads, width, window, begin_row).

    Group (h, t, part) takes the ``tile.rows`` rows from ``begin_row`` + t ``tile.rows`` on, the last ones first, and 64
    features from 64 ``part`` on: ``out`` gets the sums of weight times scale times value. ``chunks``: the most chunks
    of a sequence.
    """
    grid, count = tile.grid, tile.grid.rows * tile.grid.columns * QUAD * QUAD
    slab, levels = grid.depth * tile.pitch, LEVELS if chunks > 1 else 1
    kept = held.vector(QUAD) if reads_quads(held, size) else held
    bring_weights, bring_values = bringing_weights(tile), bringing_kept(tile, held, size, by_position=True)
    add_slab, add_edge = summing(grid, tile.pitch, PAGE // QUAD, f32), _adding_at_edges(tile)
    find_edges, keep, quad = _finding_edges(tile), _keeping_values(tile, size), f32.vector(QUAD)

    @kernel(workgroup=grid.lanes, trusted=True)
    def add(
        weights: In[f32],
        scales: In[f32],
        values: In[kept],  # type: ignore[valid-type]
        places: In[u32],
        tables: In[u32],
        out: Out[f32],
        rows: u32,
        heads: u32,
        width: u32,
        window: u32,
        begin_row: u32,
    ):
        lane, head = local_id(), group_id(0)
        ty, tx, column = lane // grid.across, lane % grid.across, group_id(2) * PAGE
        own_row = ((rows + (tile.rows - 1)) // tile.rows - 1 - group_id(1)) * tile.rows
        row, count_rows = begin_row + own_row, min(rows - own_row, tile.rows)
        x, y = shared(quad, slab), shared(quad, grid.depth * (PAGE // QUAD))
        sums, totals, parts = private(f32, count), private(f32, count), private(f32, count * levels)
        firsts, lasts = private(u32, grid.rows * QUAD), private(u32, grid.rows * QUAD)
        begin = u32(0)
        while begin < count_rows:
            end = find_stretch(places, row, begin, count_rows)
            first, last, inner_first, inner_last = u32(NOBODY), u32(0), u32(0), u32(NOBODY)
            for r in range(begin, end):
                place = places[2 * (row + r) + 1]
                seen = first_seen(place, window)
                first, last = min(first, seen), max(last, place)
                inner_first, inner_last = max(inner_first, seen), min(inner_last, place)
            find_edges(places, firsts, lasts, ty, row, begin, end, window)
            table = places[2 * (row + begin)] * width
            for s in static_range(count):
                totals[s] = f32(0)
            for chunk in range((last + (MATMUL_CHUNK - 1)) // MATMUL_CHUNK):
                for s in static_range(count):
                    totals[s] = f32(0)
                start = chunk * MATMUL_CHUNK
                stop = start + min(last - start, MATMUL_CHUNK)
                for block in range(max(start, first // MATMUL_BLOCK * MATMUL_BLOCK), stop, MATMUL_BLOCK):
                    for s in static_range(count):
                        sums[s] = f32(0)
                    for p in range(max(block, first), block + min(stop - block, MATMUL_BLOCK), grid.depth):
                        base = (u64(tables[table + p // PAGE]) * u64(heads) + u64(head)) * u64(size * PAGE)
                        bring_weights(
                            weights, scales, places, x, lane, own_row, row, begin, end, head, heads, width * PAGE,
                            window, p,
                        )  # fmt: skip
                        bring_values(values, y, lane, base, p % PAGE, u32(PAGE), column)
                        barrier()
                        if p >= inner_first and p + grid.depth <= inner_last:
                            add_slab(x, y, sums, ty, tx)
                        else:
                            add_edge(x, y, sums, firsts, lasts, ty, tx, p)
                        barrier()
                    for s in static_range(count):
                        totals[s] = totals[s] + sums[s]
                if chunks > 1:
                    carry_chunk(totals, parts, chunk, count)
            if chunks > 1:
                join_chunks(totals, parts, (last + (MATMUL_CHUNK - 1)) // MATMUL_CHUNK, count)
            keep(out, totals, ty, row, begin, end, head, heads, column + tx * QUAD)
            begin = end

    add.name = f"attention_add_{tile}_{held}_{size}_{chunks}"
    return add
