"""Multiplies tiles of packed operands: the kernel of CPUs, whatever the factors and wherever the left operand lies.

Layer: kernels. ``Left`` says how the left operand is read, ``arithmetic.scaled`` whether factors are whole numbers, of
which the exact sums of a block are scaled (docs/numerics.md, section 2). Invariant: the order of ``tiles``.

Source of products through tables: Chetlur et al., "cuDNN: Efficient Primitives for Deep Learning" (2014), section 3.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, Literal

from loom.core.dtype import f32, u32
from loom.ir.frontend.base.annotations import Absent, In, InOut
from loom.ir.frontend.decorator import KernelFunction, kernel
from loom.ir.frontend.intrinsics import group_id, local_id, private, static_range
from loom.kernels.matmul.digits import scale_total
from loom.kernels.matmul.far import FAR_WORDS
from loom.kernels.matmul.pack import factor_of
from loom.kernels.matmul.tiles import BLOCK, BLOCKS, Tile, keeping, summing_tile, total_of, turns_of
from loom.kernels.types import ProductTypes

__all__ = ["Left", "multiply_tiles"]

Left = Literal["packed", "rows", "columns", "far", "gathered"]
"""Packed factors; the matrix itself, m by k or k by m, whole tiles of rows and of k; packed factors, fused unless one
of ``far``, the words of both operands (``find_far``), is not 0; a matrix read through tables: element (row, k) is
``a[rows_at[row] + k_at[k // unroll] + k % unroll]``, with rows of whole tiles."""


def _summing_gathered(tile: Tile, arithmetic: ProductTypes) -> Callable[..., None]:
    """Return what ``summing_tile`` does for rows that are read through tables."""
    rows, vectors, lanes, unroll, at = tile.rows, tile.vectors, tile.lanes, tile.unroll, tile.index
    accumulator, factor = arithmetic.accumulator, factor_of(arithmetic)

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

    return add_block


def _scaling(tile: Tile, arithmetic: ProductTypes) -> Callable[..., Any]:
    """Return what scales the exact sums of a block by those of its rows and columns, if there are scales."""
    rows, vectors, lanes, at, total = tile.rows, tile.vectors, tile.lanes, tile.index, total_of(arithmetic)

    def scale(
        sums: Any, a_scales: Any, b_scales: Any, a_scale: Any, b_scale: Any, row: Any, column: Any, m: Any, n: Any
    ) -> Any:
        if a_scales is None:
            return sums
        values = private(f32, rows * vectors)
        for v in static_range(vectors):
            here = b_scales[b_scale + at(min(column + v * lanes + local_id(), n - 1))]
            for r in static_range(rows):
                s = r * vectors + v
                values[s] = scale_total(total(sums, s), a_scales[a_scale + at(min(row + r, m - 1))], here)
        return values

    return scale


def _is_near(far: Any) -> Any:
    """Return whether no factor is so large or small that products are rounded."""
    found = u32(0)
    for i in range(2 * FAR_WORDS):
        found = found | far[i]
    return found == 0


def _locating(tile: Tile, arithmetic: ProductTypes, left: Left) -> Callable[..., Any]:
    """Return what tells where a block of the left operand is, and how far it is from a row, and from a k, to the next.

    ``matrix``: which of the packed matrices, None of one alone.
    """
    at, rows, words = tile.index, tile.rows, arithmetic.words

    def locate(matrix: Any, block: Any, blocks: Any, m: Any, depth: Any, high: Any) -> Any:
        if left == "rows":
            return at(matrix) * (at(m) * at(depth)) + at(block * BLOCK) * at(1), at(depth), at(1)
        if left == "columns":
            return at(matrix) * (at(m) * at(depth)) + at(block * BLOCK) * at(m), at(1), at(m)
        place = at(block if matrix is None else matrix * blocks + block)
        return place * at(high) * (rows * words * arithmetic.streams), at(words), at(1)

    return locate


@cache
def multiply_tiles(
    tile: Tile, arithmetic: ProductTypes, left: Left = "packed", *, stretch: bool = False
) -> KernelFunction:
    """Return the kernel that multiplies operands into chunks of the result; buffers and parameters are the kernel's.

    Group (x, y, z) takes ``across`` columns of tiles from x on, ``down`` rows of them from y on, and chunk
    ``z % chunks`` of batch ``z // chunks``. Element (row, column) of that chunk goes to
    ``out[((first + z) m + row) n + column]``. A batch step of 0 means one operand for all batches. The scales of batch
    z are those of matrices ``which[from_batch + z]`` and ``which[batches + from_batch + z]``, as ``digits_of`` writes
    them. One product whose left operand is gathered, or a ``stretch`` of rows and columns of one, has no batches; the
    element of a stretch goes to ``out[((z + number) height + top + row) pitch + column + first]``, and the scale of
    (block, row) is at ``block m + row``, that of (block, column) at ``block n + column``.
    """
    held, at, rows, columns, unroll = arithmetic.held, tile.index, tile.rows, tile.columns, tile.unroll
    streams, words, is_alone = arithmetic.streams, arithmetic.words * arithmetic.streams, stretch or left == "gathered"
    keep_tile, turns_of_block, scale = keeping(tile), turns_of(tile, arithmetic), _scaling(tile, arithmetic)
    add_block, add_exact = summing_tile(tile, arithmetic), summing_tile(tile, arithmetic, exact=True)
    add_gathered, locate = _summing_gathered(tile, arithmetic), _locating(tile, arithmetic, left)
    tables, looked = In[u32] if left == "gathered" else Absent, In[u32] if left == "far" else Absent
    scales, result = (In[f32], f32) if arithmetic.scaled else (Absent, arithmetic.accumulator)
    numbers, own = (In[u32], u32) if arithmetic.scaled and not stretch else (Absent, Absent)
    many, offset, line = Absent if is_alone else u32, Absent if left == "gathered" else u32, u32 if stretch else Absent

    @kernel(workgroup=tile.lanes, trusted=True)
    def tiles(
        a: In[held], rows_at: tables, k_at: tables, b: In[held], far: looked, a_scales: scales, b_scales: scales,  # type: ignore[valid-type]
        which: numbers, out: InOut[result], m: u32, n: u32, depth: u32, down: u32, across: u32, a_step: many,  # type: ignore[valid-type]
        b_step: many, chunks: many, height: line, top: line, pitch: line, first: offset, from_batch: own,  # type: ignore[valid-type]
        batches: own, number: line,  # type: ignore[valid-type]
    ):  # fmt: skip
        is_exact = False if far is None else _is_near(far)
        high, wide = (m + (rows - 1)) // rows, (n + (columns - 1)) // columns
        batch, chunk = (0, group_id(2)) if chunks is None else (group_id(2) // chunks, group_id(2) % chunks)
        lane, blocks, begin = at(local_id()), (depth + (BLOCK - 1)) // BLOCK, chunk * BLOCKS
        for block in range(begin, min(begin + BLOCKS, blocks)):
            turns = turns_of_block(block, depth)
            a_block, a_row, a_k = locate(None if is_alone else batch * a_step, block, blocks, m, depth, high)
            b_number = block if is_alone else batch * b_step * blocks + block
            b_block = at(b_number) * at(wide) * (columns * words) + lane
            a_scale = at(block if which is None else which[from_batch + batch] * blocks + block) * at(m)
            b_scale = at(block if which is None else which[batches + from_batch + batch] * blocks + block) * at(n)
            for j in range(group_id(0) * across, min(group_id(0) * across + across, wide)):
                for i in range(group_id(1) * down, min(group_id(1) * down + down, high)):
                    sums = private(arithmetic.accumulator, rows * tile.vectors * streams)
                    row, column = i * rows, j * columns
                    a_at = a_block + at(i) * (a_row * (rows * streams))
                    b_at = b_block + at(j) * (at(turns) * (columns * streams * unroll))
                    if left == "gathered":
                        add_gathered(a, rows_at, k_at, b, sums, row, block * (BLOCK // unroll), b_at, turns)
                    elif is_exact:
                        add_exact(a, b, sums, a_at, a_row, a_k, b_at, turns)
                    else:
                        add_block(a, b, sums, a_at, a_row, a_k, b_at, turns)
                    values = scale(sums, a_scales, b_scales, a_scale, b_scale, row, column, m, n)
                    if stretch:
                        to = (at(number + group_id(2)) * at(height) + at(top + row)) * at(pitch) + at(first + column)
                        keep_tile(out, values, to + lane, m, pitch, row, first + column, block == begin)
                    else:
                        part = group_id(2) if left == "gathered" else first + group_id(2)
                        place = (at(part) * at(m) + at(row)) * at(n) + at(column) + lane
                        keep_tile(out, values, place, m, n, row, column, block == begin)

    tiles.name = _name(tile, arithmetic, left, stretch)
    return tiles


def _name(tile: Tile, arithmetic: ProductTypes, left: Left, stretch: bool) -> str:
    shape = f"{tile.rows}x{tile.vectors}x{tile.lanes}"
    held, accumulator = arithmetic.held, arithmetic.accumulator
    if arithmetic.scaled:
        return f"matmul_{'stretch_' * stretch}scaled_{shape}_{arithmetic.element}_{arithmetic.kind}"
    if stretch:
        return f"matmul_stretch_{shape}_{held}{'_pairs' * arithmetic.pairs}_{accumulator}"
    if left == "gathered":
        return f"matmul_gathered_{shape}_{held}_{accumulator}{'_x12' * arithmetic.short}"
    if left == "far":
        return f"matmul_short_{shape}"
    read = {"rows": "_in_place", "columns": "_in_place_transposed"}.get(left, "")
    return f"matmul_{shape}_{arithmetic.kind}_{accumulator}{read}"
