"""Products of operands that are views of memory, such as the windows of images: packed from where they lie, in parts.

Layer: kernels. Row (or column) i and depth k of an operand are element ``places[first + i] + depths[begin + k]`` of
``x``, where ``places`` and ``depths`` are tables: nothing is copied but the stretch that is multiplied next. Packed
stretches are laid out as ``pack`` lays out whole operands. Invariant: the order of sums is that of ``tiles``.

Source: Chetlur et al., "cuDNN: Efficient Primitives for Deep Learning" (2014), the implicit product of section 3.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from loom.core.dtype import f32, i32, u32
from loom.ir.frontend.base.annotations import In, InOut, Out
from loom.ir.frontend.decorator import KernelFunction, kernel
from loom.ir.frontend.intrinsics import bitcast, group_id, local_id, private, select, static_range
from loom.kernels.matmul.digits import INFINITE, MAGNITUDE, exponents_of, inverse_of, rounding_of, scale_of, scaled
from loom.kernels.matmul.pack import factor_of
from loom.kernels.matmul.tiles import BLOCK, BLOCKS, Tile, keeping, summing_tile, total_of, turns_of
from loom.kernels.precisions import Precision
from loom.kernels.types import ProductTypes

__all__ = [
    "DIGIT_ROWS", "digits_of_view", "multiply_stretch", "multiply_stretch_scaled", "pack_view_columns",
    "pack_view_rows",
]  # fmt: skip

DIGIT_ROWS = 64
"""Rows of a group of ``digits_of_view``."""


@cache
def pack_view_rows(tile: Tile, arithmetic: ProductTypes) -> KernelFunction:
    """Return the kernel that packs ``m`` rows of a view from place ``first`` on, ``depth`` k from ``begin`` on.

    Group (i, block) packs tile of rows i of a block. The left operand's form: factors that are no pairs.
    """
    element, held, at, rows = arithmetic.element, arithmetic.held, tile.index, tile.rows
    factor = factor_of(arithmetic)

    @kernel(workgroup=BLOCK, trusted=True)
    def pack(
        x: In[element],  # type: ignore[valid-type]
        places: In[u32],
        depths: In[u32],
        out: Out[held],  # type: ignore[valid-type]
        m: u32,
        depth: u32,
        first: u32,
        begin: u32,
    ):
        i, block = group_id(0), group_id(1)
        high = (m + (rows - 1)) // rows
        target = (at(block) * at(high) + at(i)) * (rows * BLOCK) + at(local_id())
        k = block * BLOCK + local_id()
        own = at(depths[begin + min(k, depth - 1)])
        for r in static_range(rows):
            value = held(0)
            if i * rows + r < m and k < depth:
                value = factor(x[at(places[first + min(i * rows + r, m - 1)]) + own])
            out[target + r * BLOCK] = value

    pack.name = f"matmul_view_rows_{rows}_{element}_{held}{'_x12' if arithmetic.short else ''}"
    return pack


@cache
def pack_view_columns(tile: Tile, arithmetic: ProductTypes) -> KernelFunction:
    """Return the kernel that packs ``n`` columns of a view from place ``first`` on, ``depth`` k from ``begin`` on.

    Group (j, block) packs tile of columns j of a block. Columns whose places are neighbours are read as vectors.
    """
    element, held, at = arithmetic.element, arithmetic.held, tile.index
    vectors, lanes, columns, unroll = tile.vectors, tile.lanes, tile.columns, tile.unroll
    turns, factor = turns_of(tile, arithmetic), factor_of(arithmetic)

    def copy_neighbours(x: Any, depths: Any, out: Any, target: Any, start: Any, begin: Any, count: Any) -> None:
        for k in range(count):
            out[target + at(k) * columns] = factor(x[start + at(depths[begin + k])])

    def copy_gathered(
        x: Any, places: Any, depths: Any, out: Any, target: Any, column: Any, begin: Any, count: Any, n: Any, first: Any
    ) -> None:
        own = at(places[first + min(column, n - 1)])
        for k in range(count):
            value = held(0)
            if column < n:
                value = factor(x[own + at(depths[begin + k])])
            out[target + at(k) * columns] = value

    @kernel(workgroup=lanes, trusted=True)
    def pack(
        x: In[element],  # type: ignore[valid-type]
        places: In[u32],
        depths: In[u32],
        out: Out[held],  # type: ignore[valid-type]
        n: u32,
        depth: u32,
        first: u32,
        begin: u32,
    ):
        j, block = group_id(0), group_id(1)
        wide = (n + (columns - 1)) // columns
        held_words = turns(block, depth) * unroll
        count = min(depth - block * BLOCK, BLOCK)
        before = (at(block) * at(wide) * BLOCK + at(j) * at(held_words)) * columns + at(local_id())
        for v in static_range(vectors):
            column = j * columns + v * lanes
            here = first + column
            is_row = column + lanes <= n
            if is_row:
                is_row = places[here + (lanes - 1)] - places[here] == lanes - 1
            if is_row:
                start = at(places[here]) + at(local_id())
                copy_neighbours(x, depths, out, before + v * lanes, start, begin + block * BLOCK, count)
            else:
                copy_gathered(
                    x,
                    places,
                    depths,
                    out,
                    before + v * lanes,
                    column + local_id(),
                    begin + block * BLOCK,
                    count,
                    n,
                    first,
                )
            for k in range(count, held_words):
                out[before + v * lanes + at(k) * columns] = held(0)

    pack.name = f"matmul_view_columns_{vectors}x{lanes}_{element}_{held}{'_x12' if arithmetic.short else ''}"
    return pack


@cache
def multiply_stretch(tile: Tile, arithmetic: ProductTypes) -> KernelFunction:
    """Return the kernel that multiplies packed rows and ``n`` packed columns into chunks of the result.

    Group (x, y, chunk) takes ``across`` columns of tiles from x on, ``down`` rows of them from y on, of ``m`` packed
    rows. Element (row, column) of a chunk goes to
    ``out[((chunk + number) height + top + row) pitch + column + first]``.
    """
    held, accumulator, at = arithmetic.held, arithmetic.accumulator, tile.index
    rows, columns, unroll, words = tile.rows, tile.columns, tile.unroll, arithmetic.words
    add_block, keep_tile = summing_tile(tile, arithmetic), keeping(tile)
    turns_of_block = turns_of(tile, arithmetic)

    @kernel(workgroup=tile.lanes, trusted=True)
    def stretch(
        a: In[held],  # type: ignore[valid-type]
        b: In[held],  # type: ignore[valid-type]
        out: InOut[accumulator],  # type: ignore[valid-type]
        m: u32,
        n: u32,
        depth: u32,
        down: u32,
        across: u32,
        height: u32,
        top: u32,
        pitch: u32,
        first: u32,
        number: u32,
    ):
        high, wide = (m + (rows - 1)) // rows, (n + (columns - 1)) // columns
        blocks = (depth + (BLOCK - 1)) // BLOCK
        begin = group_id(2) * BLOCKS
        for block in range(begin, min(begin + BLOCKS, blocks)):
            turns = turns_of_block(block, depth)
            a_block = at(block) * at(high) * (rows * words)
            b_block = at(block) * at(wide) * (columns * words) + at(local_id())
            for j in range(group_id(0) * across, min(group_id(0) * across + across, wide)):
                for i in range(group_id(1) * down, min(group_id(1) * down + down, high)):
                    sums = private(accumulator, rows * tile.vectors)
                    a_at = a_block + at(i) * (rows * words)
                    b_at = b_block + at(j) * (at(turns) * (columns * unroll))
                    add_block(a, b, sums, a_at, at(words), at(1), b_at, turns)
                    row, column = i * rows, first + j * columns
                    line = at(number + group_id(2)) * at(height) + at(top + row)
                    place = line * at(pitch) + at(column) + at(local_id())
                    keep_tile(out, sums, place, m, pitch, row, column, block == begin)

    kind = f"{held}{'_pairs' if arithmetic.pairs else ''}_{accumulator}"
    stretch.name = f"matmul_stretch_{rows}x{tile.vectors}x{tile.lanes}_{kind}"
    return stretch


@cache
def multiply_stretch_scaled(tile: Tile, arithmetic: ProductTypes) -> KernelFunction:
    """Return the kernel that does as ``multiply_stretch`` for packed whole numbers, k whole blocks.

    The scale of (block, row) is at ``block m + row`` of ``a_scales``, that of (block, column) at ``block n + column``.
    """
    held, accumulator, at = arithmetic.held, arithmetic.accumulator, tile.index
    rows, vectors, lanes, columns = tile.rows, tile.vectors, tile.lanes, tile.columns
    unroll, count, streams = tile.unroll, tile.rows * tile.vectors, arithmetic.streams
    words, total = arithmetic.words * streams, total_of(arithmetic)
    add_block, keep_tile = summing_tile(tile, arithmetic), keeping(tile)
    turns_of_block = turns_of(tile, arithmetic)

    @kernel(workgroup=tile.lanes, trusted=True)
    def stretch(
        a: In[held],  # type: ignore[valid-type]
        b: In[held],  # type: ignore[valid-type]
        a_scales: In[f32],
        b_scales: In[f32],
        out: InOut[f32],
        m: u32,
        n: u32,
        depth: u32,
        down: u32,
        across: u32,
        height: u32,
        top: u32,
        pitch: u32,
        first: u32,
        number: u32,
    ):
        lane = local_id()
        high, wide = (m + (rows - 1)) // rows, (n + (columns - 1)) // columns
        blocks = (depth + (BLOCK - 1)) // BLOCK
        begin = group_id(2) * BLOCKS
        for block in range(begin, min(begin + BLOCKS, blocks)):
            turns = turns_of_block(block, depth)
            a_block = at(block) * at(high) * (rows * words)
            b_block = at(block) * at(wide) * (columns * words) + at(lane)
            a_scale, b_scale = at(block) * at(m), at(block) * at(n)
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
                    line = at(number + group_id(2)) * at(height) + at(top + row)
                    place = line * at(pitch) + at(first + column) + at(lane)
                    keep_tile(out, values, place, m, pitch, row, first + column, block == begin)

    stretch.name = f"matmul_stretch_scaled_{rows}x{vectors}x{lanes}_{arithmetic.element}_{arithmetic.kind}"
    return stretch


@cache
def digits_of_view(precision: Precision) -> KernelFunction:
    """Return the kernel that turns ``rows`` rows (or columns) of a view into whole numbers and scales, as ``digits``.

    ``out`` is k, filled up with 0 to whole blocks, by rows; the scale of (block, row) is at ``block rows + row``.
    """
    held, exponent_of, whole_of = precision.held, exponents_of(precision), rounding_of(precision)

    @kernel(workgroup=DIGIT_ROWS, trusted=True)
    def digits(
        x: In[f32],
        places: In[u32],
        depths: In[u32],
        out: Out[held],  # type: ignore[valid-type]
        scales: Out[f32],
        rows: u32,
        depth: u32,
        first: u32,
        begin: u32,
    ):
        row, block = group_id(0) * DIGIT_ROWS + local_id(), group_id(1)
        if row < rows:
            source, start = places[first + row], begin + block * BLOCK
            count = min(depth - block * BLOCK, BLOCK)
            target = block * BLOCK * rows + row
            largest = u32(0)
            for k in range(count):
                largest = max(largest, bitcast(u32, x[source + depths[start + k]]) & MAGNITUDE)
            exponent = exponent_of(largest)
            scales[block * rows + row] = scale_of(exponent, largest)
            inverse, is_finite = inverse_of(exponent), largest < INFINITE
            for k in range(count):
                value = whole_of(x[source + depths[start + k]] * inverse)
                out[target + k * rows] = held(select(is_finite, value, i32(0)))
            for k in range(count, BLOCK):
                out[target + k * rows] = held(0)

    digits.name = f"digits_{precision.name}_of_view"
    return digits
