"""Order-free matrix multiplication: sums of whole numbers, exact in any order, scaled and added block by block.

Layer: kernels. For each element of the result and each block of 128 k: t, the exact sum of the products of whole
numbers (``digits``), then ``scaled(t)``, one rounding. Blocks are added up one after the other within a chunk of 4096
k, in f32, chunks by the tree of ``tiles``. Invariant: only scaling and the sum of blocks round, and their order is
fixed; how t is made is free.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from loom.core.dtype import f32, u32
from loom.ir.frontend.base.annotations import In, InOut
from loom.ir.frontend.decorator import KernelFunction, kernel
from loom.ir.frontend.intrinsics import group_id, local_id, private, static_range
from loom.kernels.matmul.digits import scaled
from loom.kernels.matmul.grids import Grid
from loom.kernels.matmul.slabs import QUAD
from loom.kernels.matmul.threads import Layout, keeping_slabs, layout_name, types_of_slabs, walking_slabs
from loom.kernels.matmul.tiles import BLOCK, BLOCKS, Tile, keeping, summing_tile, total_of, turns_of
from loom.kernels.types import ProductTypes

__all__ = ["keeping_scaled", "multiply_scaled_slabs", "multiply_scaled_tiles"]


@cache
def multiply_scaled_tiles(tile: Tile, arithmetic: ProductTypes) -> KernelFunction:
    """Return the kernel that multiplies packed whole numbers (see ``pack``) into chunks of the result.

    Groups and packed operands are those of ``multiply_tiles``. The operands of batch z are matrices
    ``which[from_batch + z]`` and ``which[batches + from_batch + z]``, whose scales lie as ``digits_of`` writes them.
    """
    held, accumulator, at = arithmetic.held, arithmetic.accumulator, tile.index
    rows, vectors, lanes, columns = tile.rows, tile.vectors, tile.lanes, tile.columns
    unroll, count, streams = tile.unroll, tile.rows * tile.vectors, arithmetic.streams
    words, total = arithmetic.words * streams, total_of(arithmetic)
    add_block, keep_tile = summing_tile(tile, arithmetic), keeping(tile)
    turns_of_block = turns_of(tile, arithmetic)

    @kernel(workgroup=tile.lanes, trusted=True)
    def tiles(
        a: In[held],  # type: ignore[valid-type]
        b: In[held],  # type: ignore[valid-type]
        a_scales: In[f32],
        b_scales: In[f32],
        which: In[u32],
        out: InOut[f32],
        m: u32,
        n: u32,
        depth: u32,
        down: u32,
        across: u32,
        a_step: u32,
        b_step: u32,
        chunks: u32,
        first: u32,
        from_batch: u32,
        batches: u32,
    ):
        lane = local_id()
        high, wide = (m + (rows - 1)) // rows, (n + (columns - 1)) // columns
        batch, chunk = group_id(2) // chunks, group_id(2) % chunks
        blocks = (depth + (BLOCK - 1)) // BLOCK
        begin = chunk * BLOCKS
        for block in range(begin, min(begin + BLOCKS, blocks)):
            turns = turns_of_block(block, depth)
            a_block = at(batch * a_step * blocks + block) * at(high) * (rows * words)
            b_block = at(batch * b_step * blocks + block) * at(wide) * (columns * words) + at(lane)
            a_scale = at(which[from_batch + batch] * blocks + block) * at(m)
            b_scale = at(which[batches + from_batch + batch] * blocks + block) * at(n)
            for j in range(group_id(0) * across, min(group_id(0) * across + across, wide)):
                for i in range(group_id(1) * down, min(group_id(1) * down + down, high)):
                    sums, values = private(accumulator, count * streams), private(f32, count)
                    a_at = a_block + at(i) * at(rows * words)
                    b_at = b_block + at(j) * (at(turns) * (columns * streams * unroll))
                    add_block(a, b, sums, a_at, at(words // streams), at(1), b_at, turns)
                    row, column = i * rows, j * columns
                    for v in static_range(vectors):
                        here = b_scales[b_scale + at(min(column + v * lanes + lane, n - 1))]
                        for r in static_range(rows):
                            s = r * vectors + v
                            values[s] = scaled(total(sums, s), a_scales[a_scale + at(min(row + r, m - 1))], here)
                    place = (at(first + group_id(2)) * at(m) + at(row)) * at(n) + at(column) + at(lane)
                    keep_tile(out, values, place, m, n, row, column, block == begin)

    tiles.name = f"matmul_scaled_{rows}x{vectors}x{lanes}_{arithmetic.element}_{arithmetic.kind}"
    return tiles


def keeping_scaled(grid: Grid, whole: bool, words: int = BLOCK) -> Callable[..., None]:
    """Return what scales the exact sums of a block, ``words`` of k, and stores or adds them, for ``walking_slabs``."""
    assert not grid.held, "each block's sums have scales of their own"
    rows, columns, put = grid.rows * QUAD, grid.columns * QUAD, keeping_slabs(grid, whole)

    def keep(
        out: Any, sums: Any, a_scales: Any, b_scales: Any, a_matrix: Any, b_matrix: Any, block: Any, k: Any, place: Any,
        m: Any, n: Any, row: Any, column: Any, is_first: Any,
    ) -> None:  # fmt: skip
        values = private(f32, rows * columns)
        number, blocks = block // words, (k + (words - 1)) // words
        a_scale, b_scale = (a_matrix * blocks + number) * m, (b_matrix * blocks + number) * n
        for j in static_range(columns):
            c = column + (j // QUAD * grid.across * QUAD + j % QUAD)
            here = b_scales[b_scale + min(c, n - 1)]
            for i in static_range(rows):
                r = row + (i // QUAD * grid.down * QUAD + i % QUAD)
                s = i * columns + j
                values[s] = scaled(sums[s], a_scales[a_scale + min(r, m - 1)], here)
        put(out, values, place, m, n, row, column, is_first)

    return keep


@cache
def multiply_scaled_slabs(grid: Grid, layout: Layout, arithmetic: ProductTypes) -> KernelFunction:
    """Return the kernel that multiplies whole numbers where they are into parts of the result, on a GPU.

    Groups, parts and layouts are those of ``multiply_slabs``; k is whole blocks, in words where they are four factors.
    """
    types = types_of_slabs(layout, arithmetic.element, f32)
    walk = walking_slabs(grid, layout, arithmetic, keeping_scaled(grid, layout.out_whole, arithmetic.words))

    @kernel(workgroup=grid.lanes, trusted=True)
    def slabs(
        a: In[types.a],  # type: ignore[valid-type]
        b: In[types.b],  # type: ignore[valid-type]
        a_scales: In[f32],
        b_scales: In[f32],
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
        walk(
            a, b, a, b, a_scales, b_scales, out, which[batch], which[batches + batch], m, n, k, a_step, b_step, parts,
            span,
        )  # fmt: skip

    kind = arithmetic.dots or arithmetic.accumulator
    slabs.name = f"matmul_scaled_{layout_name(grid, layout)}_{arithmetic.element}_{kind}"
    return slabs
