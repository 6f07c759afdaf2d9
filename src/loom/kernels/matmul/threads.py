"""Matrix multiplication for GPUs: each lane keeps a tile of sums in registers, a group shares slabs of factors.

Layer: kernels. Elements are read where they are, transposed or not. Invariant: the order of ``kernels.matmul.tiles``,
whatever the tile; a ``Slabs`` changes speed, never bits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from loom.core.dtype import DType, u32
from loom.ir.frontend.base.annotations import In, InOut, Out
from loom.ir.frontend.decorator import KernelFunction, kernel
from loom.ir.frontend.intrinsics import barrier, global_id, group_id, local_id, private, shared, static_range
from loom.kernels.matmul.grids import Grid, place_of
from loom.kernels.matmul.slabs import QUAD, Slab, viewing_reader_of
from loom.kernels.matmul.tiles import BLOCK, BLOCKS, adding
from loom.kernels.precisions import Precision
from loom.kernels.types import ProductTypes

__all__ = [
    "FOLD_LANES", "Layout", "SlabTypes", "fold_blocks", "keeping_slabs", "keeping_sums", "layout_name",
    "multiply_slabs", "slabs_of", "summing", "types_of_slabs", "walking_slabs", "walking_slabs_in",
]  # fmt: skip

FOLD_LANES = 128
"""Elements of the result per group of ``fold_blocks``."""
_FOLDED = 5
"""Blocks that are read before the first of them is added: memory is waited for once."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Whether elements of neighbouring k are neighbours in ``a`` and in ``b``, and whether each is read in vectors.

    ``a_viewed``, ``b_viewed``: whether an operand is read by two tables, where it lies.
    """

    a_by_k: bool
    b_by_k: bool
    a_whole: bool
    b_whole: bool
    out_whole: bool
    a_viewed: bool = False
    b_viewed: bool = False


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


def keeping_slabs(grid: Grid, whole: bool) -> Callable[..., None]:
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


def keeping_sums(grid: Grid, whole: bool) -> Callable[..., None]:
    """Return the same as ``walking_slabs`` asks for it."""
    put = keeping_slabs(grid, whole)

    def keep(
        out: Any, sums: Any, _a_scales: Any, _b_scales: Any, _a_matrix: Any, _b_matrix: Any, _block: Any, _k: Any,
        place: Any, m: Any, n: Any, row: Any, column: Any, is_first: Any,
    ) -> None:  # fmt: skip
        put(out, sums, place, m, n, row, column, is_first)

    return keep


@dataclass(frozen=True, slots=True)
class SlabTypes:
    """The types of the buffers of a kernel of slabs."""

    a: DType
    b: DType
    out: DType


def types_of_slabs(layout: Layout, element: DType, result: DType) -> SlabTypes:
    """Return the types of both operands and of the result: vectors where the layout reads or writes such."""
    a, b = (element.vector(QUAD) if whole else element for whole in (layout.a_whole, layout.b_whole))
    return SlabTypes(a, b, result.vector(QUAD) if layout.out_whole else result)


def slabs_of(grid: Grid, layout: Layout) -> tuple[Slab, Slab]:
    """Return how a group brings its rows and its columns."""
    depth, lanes = grid.depth, grid.lanes
    return (
        Slab(grid.height, depth, lanes, layout.a_by_k, layout.a_whole, layout.a_viewed),
        Slab(grid.width, depth, lanes, layout.b_by_k, layout.b_whole, layout.b_viewed),
    )


def walking_slabs(
    grid: Grid, layout: Layout, arithmetic: ProductTypes, keep: Callable[..., None],
    precision: Precision | None = None,
) -> Callable[..., None]:  # fmt: skip
    """Return what sums the products of a group's part, block by block, and hands the sums of each to ``keep``.


    ``precision``: what an operand that is viewed becomes whole numbers of, by its scales.
    ``keep(out, sums, scales, matrices, block, k, place, m, n, row, column, is_first)``: ``scales`` are the two buffers
    that the walk was given, ``matrices`` the numbers of both operands.
    """
    (a_slab, b_slab), walk_in = slabs_of(grid, layout), walking_slabs_in(grid, layout, arithmetic, keep, precision)
    held = arithmetic.accumulator.vector(QUAD)

    def walk(
        a: Any, b: Any, a_table: Any, b_table: Any, a_scales: Any, b_scales: Any, out: Any, a_matrix: Any,
        b_matrix: Any, m: Any, n: Any, k: Any, a_step: Any, b_step: Any, parts: Any, span: Any,
    ) -> None:  # fmt: skip
        a_tile, b_tile = shared(held, a_slab.quads * 2), shared(held, b_slab.quads * 2)
        kept = shared(held, grid.kept_quads) if grid.kept_quads else a_tile
        walk_in(
            a_tile, b_tile, kept, a, b, a_table, b_table, a_scales, b_scales, out, a_matrix, b_matrix, m, n, k, a_step,
            b_step, parts, span,
        )  # fmt: skip

    return walk


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


def walking_slabs_in(
    grid: Grid, layout: Layout, arithmetic: ProductTypes, keep: Callable[..., None],
    precision: Precision | None = None, *, exact: bool = False,
) -> Callable[..., None]:  # fmt: skip
    """Return the same, given the shared memory of two slabs of each operand and of what is kept.

    ``exact``: all products are, and fused.
    """
    accumulator, depth, quad = arithmetic.accumulator, grid.depth, QUAD
    a_slab, b_slab = slabs_of(grid, layout)
    locate_a, read_a, lay_a = viewing_reader_of(a_slab, arithmetic, precision)
    locate_b, read_b, lay_b = viewing_reader_of(b_slab, arithmetic, precision)
    words = BLOCK // 4 if arithmetic.dots else BLOCK
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


@cache
def multiply_slabs(grid: Grid, layout: Layout, arithmetic: ProductTypes) -> KernelFunction:
    """Return the kernel that multiplies elements where they are into parts of the result.

    Group (x, y, z) computes one tile of part ``z % parts`` of batch ``z // parts``, of ``a[which[batch]]`` and
    ``b[which[batches + batch]]``; a part is ``span`` k, one block or a chunk (k counts words
    where those are four factors). Element (i, k) of ``a`` is at
    i a_step + k or k a_step + i, by the layout, and (j, k) of ``b`` likewise. Element (row, column) of a part goes to
    ``out[(z m + row) n + column]``.
    """
    accumulator = arithmetic.accumulator
    types = types_of_slabs(layout, arithmetic.element, accumulator)
    walk = walking_slabs(grid, layout, arithmetic, keeping_sums(grid, layout.out_whole))

    @kernel(workgroup=grid.lanes, trusted=True)
    def slabs(
        a: In[types.a],  # type: ignore[valid-type]
        b: In[types.b],  # type: ignore[valid-type]
        which: In[u32],
        out: InOut[types.out],  # type: ignore[valid-type]
        m: u32,
        n: u32,
        k: u32,
        a_step: u32,
        b_step: u32,
        batches: u32,
        parts: u32,
        span: u32,
    ):
        batch = group_id(2) // parts
        walk(a, b, a, b, a, b, out, which[batch], which[batches + batch], m, n, k, a_step, b_step, parts, span)

    kind = f"{arithmetic.element}_{arithmetic.dots or accumulator}{'_x12' if arithmetic.short else ''}"
    slabs.name = f"matmul_{layout_name(grid, layout)}_{kind}"
    return slabs


def layout_name(grid: Grid, layout: Layout) -> str:
    """Return what tells kernels of other tiles and layouts apart in their names."""
    shape = f"{grid.height}x{grid.width}x{grid.depth}_{grid.rows}x{grid.columns}{'_held' if grid.held else ''}"
    operands = "".join(
        ("t" if viewed else "") + ("k" if by_k else "v" if whole else "s")
        for by_k, whole, viewed in (
            (layout.a_by_k, layout.a_whole, layout.a_viewed),
            (layout.b_by_k, layout.b_whole, layout.b_viewed),
            (False, layout.out_whole, False),
        )
    )
    return f"slabs_{shape}_{operands}"


@cache
def fold_blocks(accumulator: DType) -> KernelFunction:
    """Return the kernel that adds up the blocks of a chunk, one after the other.

    Group (x, z) takes ``FOLD_LANES`` elements of chunk ``z % chunks`` of batch ``z // chunks``, of ``size`` elements.
    """

    @kernel(workgroup=FOLD_LANES, trusted=True)
    def fold(
        parts: In[accumulator],  # type: ignore[valid-type]
        out: Out[accumulator],  # type: ignore[valid-type]
        size: u32,
        blocks: u32,
        chunks: u32,
    ):
        i = global_id(0)
        if i < size:
            batch, chunk = group_id(1) // chunks, group_id(1) % chunks
            at = (batch * blocks + chunk * BLOCKS) * size + i
            total, count = parts[at], min(blocks - chunk * BLOCKS, BLOCKS) - 1
            for _ in range(count // _FOLDED):
                read = private(accumulator, _FOLDED)
                for n in static_range(_FOLDED):
                    read[n] = parts[at + (n + 1) * size]
                for n in static_range(_FOLDED):
                    total = total + read[n]
                at = at + _FOLDED * size
            for _ in range(count % _FOLDED):
                at = at + size
                total = total + parts[at]
            out[group_id(1) * size + i] = total

    fold.name = f"matmul_fold_{accumulator}"
    return fold
