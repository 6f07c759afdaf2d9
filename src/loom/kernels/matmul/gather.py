"""Products whose left operand is read through tables: windows of images without a copy of each, and other views.

Layer: kernels. Element (row, k) of the left operand is ``a[rows_at[row] + k_at[k // unroll] + k % unroll]``; the right
one is packed as ever. Invariant: the order of sums is that of ``matmul``.

Source: Chetlur et al., "cuDNN: Efficient Primitives for Deep Learning" (2014), the implicit product of section 3.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from loom.core.dtype import u32
from loom.ir.frontend.base.annotations import In, InOut
from loom.ir.frontend.decorator import KernelFunction, kernel
from loom.ir.frontend.intrinsics import group_id, local_id, private, static_range
from loom.kernels.matmul.pack import factor_of
from loom.kernels.matmul.tiles import BLOCK, BLOCKS, Tile, keeping, turns_of
from loom.kernels.types import ProductTypes

__all__ = ["multiply_gathered"]


@cache
def multiply_gathered(tile: Tile, arithmetic: ProductTypes) -> KernelFunction:
    """Return the kernel that multiplies gathered rows and packed columns into chunks of the result.

    Group (x, y, chunk) takes ``across`` columns of tiles from x on and ``down`` rows of them from y on. ``rows_at`` has
    an element for each row of whole tiles, ``k_at`` one for each ``unroll`` k.
    """
    held, accumulator, at = arithmetic.held, arithmetic.accumulator, tile.index
    rows, vectors, lanes, unroll = tile.rows, tile.vectors, tile.lanes, tile.unroll
    columns, keep_tile, turns_of_block = tile.columns, keeping(tile), turns_of(tile, arithmetic)
    factor = factor_of(arithmetic)

    def add_block(
        a: Any, rows_at: Any, k_at: Any, b: Any, sums: Any, row: Any, turn: Any, b_at: Any, turns: Any
    ) -> None:
        for s in static_range(rows * vectors):
            sums[s] = accumulator(0)
        for t in range(turns):
            here = at(k_at[turn + t])
            for u in static_range(unroll):
                for r in static_range(rows):
                    x = factor(a[at(rows_at[row + r]) + (here + u)])
                    for v in static_range(vectors):
                        s = r * vectors + v
                        sums[s] = sums[s] + x * b[b_at + (u * vectors + v) * lanes]
            b_at = b_at + unroll * vectors * lanes

    @kernel(workgroup=lanes, trusted=True)
    def gathered(
        a: In[held],  # type: ignore[valid-type]
        rows_at: In[u32],
        k_at: In[u32],
        b: In[held],  # type: ignore[valid-type]
        out: InOut[accumulator],  # type: ignore[valid-type]
        m: u32,
        n: u32,
        depth: u32,
        down: u32,
        across: u32,
    ):
        lane = at(local_id())
        high, wide = (m + (rows - 1)) // rows, (n + (columns - 1)) // columns
        blocks = (depth + (BLOCK - 1)) // BLOCK
        begin = group_id(2) * BLOCKS
        for block in range(begin, min(begin + BLOCKS, blocks)):
            turns = turns_of_block(block, depth)
            b_block = at(block) * at(wide) * (columns * BLOCK) + lane
            for j in range(group_id(0) * across, min(group_id(0) * across + across, wide)):
                for i in range(group_id(1) * down, min(group_id(1) * down + down, high)):
                    sums = private(accumulator, rows * vectors)
                    row, column = i * rows, j * columns
                    b_at = b_block + at(j) * (at(turns) * (columns * unroll))
                    add_block(a, rows_at, k_at, b, sums, row, block * (BLOCK // unroll), b_at, turns)
                    place = (at(group_id(2)) * at(m) + at(row)) * at(n) + at(column) + lane
                    keep_tile(out, sums, place, m, n, row, column, block == begin)

    short = "_x12" if arithmetic.short else ""
    gathered.name = f"matmul_gathered_{rows}x{vectors}x{lanes}_{held}_{accumulator}{short}"
    return gathered
