"""Order-free matrix multiplication: sums of whole numbers, exact in any order, scaled and added block by block.

Layer: kernels. For each element of the result and each block of 128 k: t, the exact sum of the products of whole
numbers (``digits``), then ``scaled(t)``, one rounding. Blocks are added up one after the other within a chunk of 4096
k, in f32, chunks by the tree of ``tiles``. Invariant: only scaling and the sum of blocks round, and their order is
fixed; how t is made is free.
"""

from __future__ import annotations

from functools import cache

from loom.core.dtype import f32, u32
from loom.ir.frontend.annotations import In, InOut
from loom.ir.frontend.decorator import KernelFunction, kernel
from loom.ir.frontend.intrinsics import barrier, group_id, local_id, private, shared, static_range
from loom.kernels.matmul.digits import scaled
from loom.kernels.matmul.slabs import QUAD, Slab, reader_of
from loom.kernels.matmul.threads import Grid, Layout, keeping_slabs, layout_name, summing
from loom.kernels.matmul.tiles import BLOCK, BLOCKS, Tile, keeping, summing_tile, turns_of
from loom.kernels.types import ProductTypes

__all__ = ["multiply_scaled_slabs", "multiply_scaled_tiles"]


@cache
def multiply_scaled_tiles(tile: Tile, arithmetic: ProductTypes) -> KernelFunction:
    """Return the kernel that multiplies packed whole numbers (see ``pack``) into chunks of the result.

    Groups and packed operands are those of ``multiply_tiles``. The operands of batch z are matrices
    ``which[from_batch + z]`` and ``which[batches + from_batch + z]``, whose scales lie as ``digits_of`` writes them.
    """
    held, accumulator, at = arithmetic.held, arithmetic.accumulator, tile.index
    rows, vectors, lanes, columns = tile.rows, tile.vectors, tile.lanes, tile.columns
    unroll, words, count = tile.unroll, arithmetic.words, tile.rows * tile.vectors
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
                    sums, values = private(accumulator, count), private(f32, count)
                    a_at = a_block + at(i) * at(rows * words)
                    b_at = b_block + at(j) * (at(turns) * (columns * unroll))
                    add_block(a, b, sums, a_at, at(words), at(1), b_at, turns)
                    row, column = i * rows, j * columns
                    for v in static_range(vectors):
                        here = b_scales[b_scale + at(min(column + v * lanes + lane, n - 1))]
                        for r in static_range(rows):
                            s = r * vectors + v
                            values[s] = scaled(sums[s], a_scales[a_scale + at(min(row + r, m - 1))], here)
                    place = (at(first + group_id(2)) * at(m) + at(row)) * at(n) + at(column) + at(lane)
                    keep_tile(out, values, place, m, n, row, column, block == begin)

    tiles.name = f"matmul_scaled_{rows}x{vectors}x{lanes}_{arithmetic.element}_{accumulator}"
    return tiles


@cache
def multiply_scaled_slabs(grid: Grid, layout: Layout, arithmetic: ProductTypes) -> KernelFunction:
    """Return the kernel that multiplies whole numbers where they are into parts of the result, on a GPU.

    Groups, parts and layouts are those of ``multiply_slabs``; k is whole blocks.
    """
    accumulator, lanes, depth, quad = arithmetic.accumulator, grid.lanes, grid.depth, QUAD
    a_slab = Slab(grid.height, depth, lanes, layout.a_by_k, layout.a_whole)
    b_slab = Slab(grid.width, depth, lanes, layout.b_by_k, layout.b_whole)
    a_type = arithmetic.element.vector(quad) if layout.a_whole else arithmetic.element
    b_type = arithmetic.element.vector(quad) if layout.b_whole else arithmetic.element
    out_type = f32.vector(quad) if layout.out_whole else f32
    locate_a, read_a, lay_a = reader_of(a_slab, arithmetic)
    locate_b, read_b, lay_b = reader_of(b_slab, arithmetic)
    add_slab, keep = summing(grid, a_slab.pitch, b_slab.pitch, accumulator), keeping_slabs(grid, layout.out_whole)
    held, rows, columns = accumulator.vector(quad), grid.rows * quad, grid.columns * quad

    @kernel(workgroup=lanes, trusted=True)
    def slabs(
        a: In[a_type],  # type: ignore[valid-type]
        b: In[b_type],  # type: ignore[valid-type]
        a_scales: In[f32],
        b_scales: In[f32],
        which: In[u32],
        out: InOut[out_type],  # type: ignore[valid-type]
        m: u32,
        n: u32,
        k: u32,
        a_step: u32,
        b_step: u32,
        batches: u32,
        parts: u32,
        span: u32,
    ):
        lane = local_id()
        batch, part = group_id(2) // parts, group_id(2) % parts
        first_row, first_column = group_id(1) * grid.height, group_id(0) * grid.width
        begin = part * span
        end = begin + min(k - begin, span)
        a_tile, b_tile = shared(held, a_slab.quads * 2), shared(held, b_slab.quads * 2)
        a_starts, b_starts = private(u32, a_slab.turns * a_slab.loads), private(u32, b_slab.turns * b_slab.loads)
        a_held, b_held = private(accumulator, a_slab.turns * quad), private(accumulator, b_slab.turns * quad)
        locate_a(a_starts, lane, which[batch] * (m * k), first_row, m, a_step)
        locate_b(b_starts, lane, which[batches + batch] * (n * k), first_column, n, b_step)
        read_a(a, a_held, a_starts, lane, a_step, begin, end)
        read_b(b, b_held, b_starts, lane, b_step, begin, end)
        lay_a(a_tile, a_held, lane, 0)
        lay_b(b_tile, b_held, lane, 0)
        barrier()
        ty, tx = lane // grid.across, lane % grid.across
        row, column = first_row + ty * quad, first_column + tx * quad
        stage = u32(0)
        sums, values = private(accumulator, rows * columns), private(f32, rows * columns)
        for block in range(begin, end, BLOCK):
            for s in static_range(rows * columns):
                sums[s] = accumulator(0)
            for slab in range(block, block + BLOCK, depth):
                read_a(a, a_held, a_starts, lane, a_step, slab + depth, end)
                read_b(b, b_held, b_starts, lane, b_step, slab + depth, end)
                add_slab(a_tile, b_tile, sums, stage * a_slab.quads + ty, stage * b_slab.quads + tx)
                stage = 1 - stage
                lay_a(a_tile, a_held, lane, stage * a_slab.quads)
                lay_b(b_tile, b_held, lane, stage * b_slab.quads)
                barrier()
            number, blocks = block // BLOCK, k // BLOCK
            a_scale, b_scale = (which[batch] * blocks + number) * m, (which[batches + batch] * blocks + number) * n
            for j in static_range(columns):
                c = column + (j // quad * grid.across * quad + j % quad)
                here = b_scales[b_scale + min(c, n - 1)]
                for i in static_range(rows):
                    r = row + (i // quad * grid.down * quad + i % quad)
                    s = i * columns + j
                    values[s] = scaled(sums[s], a_scales[a_scale + min(r, m - 1)], here)
            keep(out, values, group_id(2) * m * n, m, n, row, column, block == begin)

    slabs.name = f"matmul_scaled_{layout_name(grid, layout)}_{arithmetic.element}_{accumulator}"
    return slabs
