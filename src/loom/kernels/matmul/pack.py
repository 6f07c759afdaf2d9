"""Copies operands of a matrix multiplication into the order its kernel reads them in, as its factors.

Layer: kernels. Blocks of 128 k follow each other; within one, tiles of rows (of ``a``) or columns (of ``b``),
padded with +0 to whole tiles: a padded product adds +0 to a sum that is never -0. A last block of rows is padded to 128
k, one of columns to the k that are multiplied, as most of it would be padding for a convolution of few channels.
Bytes for dot products of a GPU lie as they did, four neighbours along k in one word: rows whose length is a multiple of
four are words as they lie and need no copy. Invariant: a factor is its element, converted exactly, or rounded to 12
significant bits where that is asked for; beyond the end of k there are zeros.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from loom.core.dtype import f32, i8, i32, u32
from loom.ir.frontend.base.annotations import In, Out
from loom.ir.frontend.decorator import KernelFunction, kernel
from loom.ir.frontend.intrinsics import bitcast, group_id, local_id, select, static_range
from loom.kernels.matmul.tiles import BLOCK, OFFSET, Tile, turns_of
from loom.kernels.precisions import HALF_BITS
from loom.kernels.types import ProductTypes

__all__ = ["FACTORS", "FOUR_LANES", "PANELS", "factor_of", "pack_columns", "pack_fours", "pack_rows"]

PANELS = 4
"""Tiles of columns that a group packs, so that it reads longer stretches of memory."""
FACTORS = 4
"""Bytes of a word."""
FOUR_LANES = 64
"""Words of a group of ``pack_fours``."""


def _short(x: Any) -> Any:
    """Round an f32 to 12 significant bits, halves to even, on its bit pattern; NaN stays NaN."""
    bits = bitcast(u32, x)
    rounded = (bits + (0x7FF + ((bits >> 12) & 1))) & 0xFFFFF000
    return select(x != x, x, bitcast(f32, rounded))  # noqa: PLR0124 - a NaN


def factor_of(arithmetic: ProductTypes) -> Callable[[Any], Any]:
    """Return what turns an element into a factor that is not one of a pair."""
    wide = f32 if arithmetic.element.storage_only else arithmetic.accumulator
    return _short if arithmetic.short else wide


def _pair(x: Any, y: Any) -> Any:
    return (x & 0xFFFF) | (y << 16)


def _low(x: Any) -> Any:
    """Return the lower half of a factor, which what is left after it is a multiple of 2^12."""
    half = 1 << (HALF_BITS - 1)
    return ((x + half) & (2 * half - 1)) - half


def _halves(x: Any, y: Any) -> Any:
    x_low, y_low = _low(x), _low(y)
    x_high, y_high = (x - x_low) >> HALF_BITS, (y - y_low) >> HALF_BITS
    return _pair(x_high, y_high), _pair(x_low, y_low), _pair(x_high + x_low, y_high + y_low)


def _four(x: Any, y: Any, z: Any, w: Any) -> Any:
    return (x & 0xFF) | ((y & 0xFF) << 8) | ((z & 0xFF) << 16) | (w << 24)


def _words_of(arithmetic: ProductTypes, *, left: bool) -> Callable[[Any, Any, Any], Any]:
    """Return what reads the held words of an operand: (memory, index, distance to the next factor of a word)."""
    factor = factor_of(arithmetic)
    offset = OFFSET if left and arithmetic.dots == "dot4_u8i8" else 0
    if arithmetic.dots:
        return lambda x, at, apart: (
            _four(i32(x[at]), i32(x[at + apart]), i32(x[at + 2 * apart]), i32(x[at + 3 * apart])) ^ offset,
        )
    if arithmetic.halves:
        return lambda x, at, apart: _halves(x[at], x[at + apart])
    if arithmetic.pairs:
        return lambda x, at, apart: (_pair(i32(x[at]), i32(x[at + apart])),)
    return lambda x, at, _apart: (factor(x[at]),)


def _edge_words_of(arithmetic: ProductTypes, *, left: bool) -> Callable[..., Any]:
    """Return the same for words of which some factors, or all, may lie beyond the last k."""
    factor, held, step = factor_of(arithmetic), arithmetic.held, arithmetic.words
    offset = OFFSET if left and arithmetic.dots == "dot4_u8i8" else 0

    def whole(x: Any, at: Any, k: Any, depth: Any) -> Any:
        value = held(0)
        if k < depth:
            value = held(x[at])
        return value

    def single(x: Any, at: Any, _apart: Any, k: Any, depth: Any) -> Any:
        value = held(0)
        if k < depth:
            value = factor(x[at])
        return (value,)

    def pair(x: Any, at: Any, apart: Any, k: Any, depth: Any) -> Any:
        return (_pair(whole(x, at, k, depth), whole(x, at + apart, k + step, depth)),)

    def halves(x: Any, at: Any, apart: Any, k: Any, depth: Any) -> Any:
        return _halves(whole(x, at, k, depth), whole(x, at + apart, k + step, depth))

    def four(x: Any, at: Any, apart: Any, k: Any, depth: Any) -> Any:
        first, second = whole(x, at, k, depth), whole(x, at + apart, k + step, depth)
        third = whole(x, at + 2 * apart, k + 2 * step, depth)
        last = whole(x, at + 3 * apart, k + 3 * step, depth)
        return (_four(first, second, third, last) ^ offset,)

    if arithmetic.halves:
        return halves
    return four if arithmetic.dots else pair if arithmetic.pairs else single


@cache
def pack_rows(tile: Tile, arithmetic: ProductTypes, *, transposed: bool) -> KernelFunction:
    """Return the kernel that packs ``x``, rows by k (or k by rows, ``transposed``), for the left operand.

    Group (i, block, z) packs tile of rows i of a block of matrix ``which[first + z]``.
    """
    element, held, at = arithmetic.element, arithmetic.held, tile.index
    rows, words, streams = tile.rows, arithmetic.words, arithmetic.streams
    words_of, edge_words = _words_of(arithmetic, left=True), _edge_words_of(arithmetic, left=True)

    @kernel(workgroup=words, trusted=True)
    def pack(
        x: In[element],  # type: ignore[valid-type]
        which: In[u32],
        out: Out[held],  # type: ignore[valid-type]
        m: u32,
        depth: u32,
        first: u32,
    ):
        lane = at(local_id())
        i, block = group_id(0), group_id(1)
        high, blocks = (m + (rows - 1)) // rows, (depth + (BLOCK - 1)) // BLOCK
        source = at(which[first + group_id(2)]) * (at(m) * at(depth))
        target = ((at(group_id(2)) * at(blocks) + at(block)) * at(high) + at(i)) * (rows * words * streams) + lane
        begin, apart = at(block) * BLOCK, at(words)
        if transposed:
            apart = apart * at(m)
        for r in static_range(rows):
            row = i * rows + r
            if row >= m:
                for d in static_range(streams):
                    out[target + (r * streams + d) * words] = held(0)
            else:
                place = source + at(row) * at(depth) + begin + lane
                if transposed:
                    place = source + (begin + lane) * at(m) + at(row)
                if block * BLOCK + BLOCK <= depth:
                    found = words_of(x, place, apart)
                    for d in static_range(streams):
                        out[target + (r * streams + d) * words] = found[d]
                else:
                    found = edge_words(x, place, apart, block * BLOCK + local_id(), depth)
                    for d in static_range(streams):
                        out[target + (r * streams + d) * words] = found[d]

    pack.name = f"matmul_rows{'_transposed' if transposed else ''}_{element}_{arithmetic.kind}"
    return pack


@cache
def pack_columns(tile: Tile, arithmetic: ProductTypes, *, transposed: bool) -> KernelFunction:
    """Return the kernel that packs ``x``, k by columns (or columns by k, ``transposed``), for the right operand.

    Group (j, block, z) packs ``PANELS`` tiles of columns of a block of matrix ``which[first + z]``.
    """
    element, held, at = arithmetic.element, arithmetic.held, tile.index
    vectors, lanes, columns, words = tile.vectors, tile.lanes, tile.columns, arithmetic.words
    unroll, turns, streams = tile.unroll, turns_of(tile, arithmetic), arithmetic.streams
    words_of, edge_words = _words_of(arithmetic, left=False), _edge_words_of(arithmetic, left=False)

    def put(x: Any, out: Any, target: Any, source: Any, apart: Any, j: Any, v: Any, k: Any, n: Any, depth: Any) -> None:
        """Copy vector v of tile j for one k."""
        column = j * columns + v * lanes
        place = source + at(k) * at(n) + at(column) + at(local_id())
        if transposed:
            place = source + (at(column) + at(local_id())) * at(depth) + at(k)
        if k // BLOCK * BLOCK + BLOCK <= depth and column + lanes <= n:
            found = words_of(x, place, apart)
            for d in static_range(streams):
                out[target + (v * streams + d) * lanes] = found[d]
        else:
            for d in static_range(streams):
                out[target + (v * streams + d) * lanes] = held(0)
            if column + local_id() < n:
                found = edge_words(x, place, apart, k, depth)
                for d in static_range(streams):
                    out[target + (v * streams + d) * lanes] = found[d]

    @kernel(workgroup=lanes, trusted=True)
    def pack(
        x: In[element],  # type: ignore[valid-type]
        which: In[u32],
        out: Out[held],  # type: ignore[valid-type]
        n: u32,
        depth: u32,
        first: u32,
    ):
        lane = at(local_id())
        block = group_id(1)
        wide, blocks = (n + (columns - 1)) // columns, (depth + (BLOCK - 1)) // BLOCK
        source = at(which[first + group_id(2)]) * (at(n) * at(depth))
        before = (at(group_id(2)) * at(blocks) + at(block)) * at(wide) * words
        begin, apart = block * BLOCK, at(words)
        if not transposed:
            apart = apart * at(n)
        last = min(group_id(0) * PANELS + PANELS, wide)
        held_words = turns(block, depth) * unroll
        if transposed:  # along k for few columns at a time: many would fall on the same place of a cache
            for j in range(group_id(0) * PANELS, last):
                for v in static_range(vectors):
                    for k in range(begin, begin + held_words):
                        target = (before + at(j) * at(held_words) + at(k - begin)) * (columns * streams) + lane
                        put(x, out, target, source, apart, j, v, k, n, depth)
        else:
            for k in range(begin, begin + held_words):
                for j in range(group_id(0) * PANELS, last):
                    target = (before + at(j) * at(held_words) + at(k - begin)) * (columns * streams) + lane
                    for v in static_range(vectors):
                        put(x, out, target, source, apart, j, v, k, n, depth)

    pack.name = f"matmul_columns{'_transposed' if transposed else ''}_{element}_{arithmetic.kind}"
    return pack


@cache
def pack_fours(*, by_k: bool) -> KernelFunction:
    """Return the kernel that packs matrices of i8, rows by k (``by_k``) or k by rows.

    Group (x, y, z) packs words x of line y of matrix z: lines are rows where words are of neighbours, words of k else.
    """

    def word_at(x: Any, place: Any, step: Any, k: Any, depth: Any) -> Any:
        word = i32(0)
        for part in static_range(FACTORS):
            if k + part < depth:
                word = word | ((i32(x[place + part * step]) & 0xFF) << (8 * part))
        return word

    @kernel(workgroup=FOUR_LANES, trusted=True)
    def pack(x: In[i8], out: Out[i32], rows: u32, depth: u32):
        number, line, matrix = group_id(0) * FOUR_LANES + local_id(), group_id(1), group_id(2)
        words, source = (depth + (FACTORS - 1)) // FACTORS, matrix * rows * depth
        target = matrix * words * rows
        if by_k:
            if number < words:
                k = number * FACTORS
                out[target + line * words + number] = word_at(x, source + line * depth + k, 1, k, depth)
        elif number < rows:
            k = line * FACTORS
            out[target + line * rows + number] = word_at(x, source + k * rows + number, rows, k, depth)

    pack.name = f"matmul_fours{'_by_k' if by_k else ''}"
    return pack
