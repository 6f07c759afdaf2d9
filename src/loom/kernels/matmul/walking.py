"""Steps of a GPU's group with slabs of factors: bring them into shared memory, sum their products, keep sums.

Layer: kernels. Functions of kernels, for a grid and a layout. Invariant: the order of ``tiles``, whatever the grid.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from loom.core.dtype import DType, f32, u32
from loom.ir.frontend.intrinsics import barrier, group_id, local_id, private, static_range
from loom.kernels.matmul.digits import scale_total
from loom.kernels.matmul.grids import Grid, Layout, place_of
from loom.kernels.matmul.slabs import QUAD, Slab, viewing_reader_of
from loom.kernels.matmul.tiles import BLOCK, adding
from loom.kernels.precisions import Precision
from loom.kernels.types import ProductTypes

__all__ = ["slabs_of", "summing", "walking_slabs"]


def _add_product(x: Any, y: Any, total: Any) -> Any:
    return total + x * y


def summing(
    grid: Grid, a_pitch: int, b_pitch: int, accumulator: DType, add: Callable[[Any, Any, Any], Any] = _add_product
) -> Callable[..., None]:
    """Return what adds a slab to sums, of which this lane's first vectors are at ``a_at`` and ``b_at``.

    ``add``: what becomes of two factors and a sum.
    """
    rows, columns = grid.rows * QUAD, grid.columns * QUAD

    def fetch(factors: Any, tile: Any, at: Any, apart: Any) -> None:
        for q in static_range(len(factors) // QUAD):
            quad = tile[at + q * apart]
            for i in static_range(QUAD):
                factors[q * QUAD + i] = quad[i]

    def add_slab(a: Any, b: Any, sums: Any, a_at: Any, b_at: Any) -> None:
        x, y = private(accumulator, rows), private(accumulator, columns)
        for k in static_range(grid.depth):  # written out: a loop here costs a third of the speed
            fetch(x, a, a_at + k * a_pitch, grid.down)
            fetch(y, b, b_at + k * b_pitch, grid.across)
            for i in static_range(rows):
                for j in static_range(columns):
                    sums[i * columns + j] = add(x[i], y[j], sums[i * columns + j])

    return add_slab


def _putting(grid: Grid, whole: bool) -> Callable[..., None]:
    """Return what stores the sums of a first block, or adds those of a later one to what is there."""
    columns = grid.columns * QUAD

    def keep_quad(out: Any, sums: Any, s: Any, at: Any, c: Any, n: Any, is_first: Any) -> None:
        if whole:
            quad = out.dtype(sums[s], sums[s + 1], sums[s + 2], sums[s + 3])
            if is_first:
                out[at // QUAD] = quad
            else:
                out[at // QUAD] = out[at // QUAD] + quad
        else:
            for j in static_range(QUAD):
                if c + j < n:
                    if is_first:
                        out[at + j] = sums[s + j]
                    else:
                        out[at + j] = out[at + j] + sums[s + j]

    def keep(out: Any, sums: Any, place: Any, m: Any, n: Any, row: Any, column: Any, is_first: Any) -> None:
        for i in static_range(grid.rows * QUAD):
            r = row + (i // QUAD * grid.down * QUAD + i % QUAD)
            if r < m:
                for q in static_range(grid.columns):
                    c = column + q * grid.across * QUAD
                    if c < n:
                        keep_quad(out, sums, i * columns + q * QUAD, place + r * n + c, c, n, is_first)

    return keep


def _keeping(grid: Grid, whole: bool, words: int) -> Callable[..., None]:
    """Return the same for sums of a block, ``words`` of k, that are scaled first if there are scales."""
    rows, columns, put = grid.rows * QUAD, grid.columns * QUAD, _putting(grid, whole)

    def keep(
        out: Any, sums: Any, a_scales: Any, b_scales: Any, a_matrix: Any, b_matrix: Any, block: Any, k: Any, place: Any,
        m: Any, n: Any, row: Any, column: Any, is_first: Any,
    ) -> None:  # fmt: skip
        if a_scales is None:
            put(out, sums, place, m, n, row, column, is_first)
        else:
            values = private(f32, rows * columns)
            number, blocks = block // words, (k + (words - 1)) // words
            a_scale, b_scale = (a_matrix * blocks + number) * m, (b_matrix * blocks + number) * n
            for j in static_range(columns):
                c = column + (j // QUAD * grid.across * QUAD + j % QUAD)
                here = b_scales[b_scale + min(c, n - 1)]
                for i in static_range(rows):
                    r = row + (i // QUAD * grid.down * QUAD + i % QUAD)
                    s = i * columns + j
                    values[s] = scale_total(sums[s], a_scales[a_scale + min(r, m - 1)], here)
            put(out, values, place, m, n, row, column, is_first)

    return keep


def slabs_of(grid: Grid, layout: Layout) -> tuple[Slab, Slab]:
    """Return how a group brings its rows and its columns."""
    depth, lanes = grid.depth, grid.lanes
    return (
        Slab(grid.height, depth, lanes, layout.a_by_k, layout.a_whole, layout.a_viewed),
        Slab(grid.width, depth, lanes, layout.b_by_k, layout.b_whole, layout.b_viewed),
    )


def _holding(grid: Grid, accumulator: DType) -> tuple[Callable[..., None], Callable[..., None], Callable[..., None]]:
    """Return what begins the totals of a lane's blocks, what adds the sums of one, and what makes them sums."""
    quads, lanes, quad = grid.rows * grid.columns * QUAD, grid.lanes, accumulator.vector(QUAD)
    nothing = -0.0 if accumulator.is_float else 0  # what changes no sum, a zero's sign neither

    def clear(totals: Any, lane: Any) -> None:
        for q in static_range(quads):
            totals[q * lanes + lane] = quad(nothing, nothing, nothing, nothing)

    def total(totals: Any, sums: Any, lane: Any) -> None:
        for q in static_range(quads):
            s = q * QUAD
            added = quad(sums[s], sums[s + 1], sums[s + 2], sums[s + 3])
            totals[q * lanes + lane] = totals[q * lanes + lane] + added

    def take(totals: Any, sums: Any, lane: Any) -> None:
        for q in static_range(quads):
            four = totals[q * lanes + lane]
            for i in static_range(QUAD):
                sums[q * QUAD + i] = four[i]

    return clear, total, take


def walking_slabs(
    grid: Grid, layout: Layout, arithmetic: ProductTypes, precision: Precision | None = None, *, exact: bool = False
) -> Callable[..., None]:
    """Return what sums the products of a group's part, block by block, and keeps the sums of each.

    Shared memory is for two slabs of each operand, and for what a held grid keeps. ``precision``: what an operand that
    is viewed becomes whole numbers of, by its scales. ``exact``: all products are, and fused.
    """
    accumulator, depth, quad = arithmetic.accumulator, grid.depth, QUAD
    a_slab, b_slab = slabs_of(grid, layout)
    locate_a, read_a, lay_a = viewing_reader_of(a_slab, arithmetic, precision)
    locate_b, read_b, lay_b = viewing_reader_of(b_slab, arithmetic, precision)
    words = BLOCK // 4 if arithmetic.dots else BLOCK
    keep = _keeping(grid, layout.out_whole, words)
    add = adding(replace(arithmetic, pairs=False), fused=exact)
    add_slab = summing(grid, a_slab.pitch, b_slab.pitch, accumulator, add)
    count = grid.rows * grid.columns * quad * quad
    clear, total, take = _holding(grid, accumulator)

    def walk(
        a_tile: Any, b_tile: Any, kept: Any, a: Any, b: Any, a_table: Any, b_table: Any, a_scales: Any, b_scales: Any,
        out: Any, a_matrix: Any, b_matrix: Any, m: Any, n: Any, k: Any, a_step: Any, b_step: Any, parts: Any, span: Any,
    ) -> None:  # fmt: skip
        lane = local_id()
        first_row, first_column = group_id(1) * grid.height, group_id(0) * grid.width
        begin = group_id(2) % parts * span
        end = begin + min(k - begin, span)
        a_starts, b_starts = private(u32, a_slab.turns * a_slab.loads), private(u32, b_slab.turns * b_slab.loads)
        a_held, b_held = private(accumulator, a_slab.turns * quad), private(accumulator, b_slab.turns * quad)
        locate_a(a_starts, a_table, lane, a_matrix * (m * k), first_row, m, a_step)
        locate_b(b_starts, b_table, lane, b_matrix * (n * k), first_column, n, b_step)
        read_a(a, a_table, a_scales, a_held, a_starts, lane, first_row, m, a_step, begin, end)
        read_b(b, b_table, b_scales, b_held, b_starts, lane, first_column, n, b_step, begin, end)
        lay_a(a_tile, a_held, lane, 0)
        lay_b(b_tile, b_held, lane, 0)
        barrier()
        ty, tx = place_of(grid, lane)
        row, column = first_row + ty * quad, first_column + tx * quad
        place = group_id(2) * m * n
        stage = u32(0)
        sums = private(accumulator, count)
        if grid.held:
            clear(kept, lane)
        for block in range(begin, end, words):
            for s in static_range(count):
                sums[s] = accumulator(0)
            for slab in range(block, block + min(end - block, words), depth):
                read_a(a, a_table, a_scales, a_held, a_starts, lane, first_row, m, a_step, slab + depth, end)
                read_b(b, b_table, b_scales, b_held, b_starts, lane, first_column, n, b_step, slab + depth, end)
                add_slab(a_tile, b_tile, sums, stage * a_slab.quads + ty, stage * b_slab.quads + tx)
                stage = 1 - stage
                lay_a(a_tile, a_held, lane, stage * a_slab.quads)
                lay_b(b_tile, b_held, lane, stage * b_slab.quads)
                barrier()
            if grid.held:
                total(kept, sums, lane)
            else:
                is_first = block == begin
                keep(out, sums, a_scales, b_scales, a_matrix, b_matrix, block, k, place, m, n, row, column, is_first)
        if grid.held:
            take(kept, sums, lane)
            keep(out, sums, a_scales, b_scales, a_matrix, b_matrix, begin, k, place, m, n, row, column, True)

    return walk
