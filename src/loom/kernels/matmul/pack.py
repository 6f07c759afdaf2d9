"""Copies operands of a matrix multiplication into the order its kernel reads them in, as its factors.

Layer: kernels. Blocks of 128 k follow each other; within one, tiles of rows (of ``a``) or columns (of ``b``),
padded with +0 to whole tiles: a padded product adds +0 to a sum that is never -0. A last block of rows is padded to 128
k, one of columns to the k that are multiplied, as most of it would be padding for a convolution of few channels.
Invariant: a factor is its element, converted exactly, or rounded to 12 significant bits where that is asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from loom.core.dtype import f32, i32, u32
from loom.ir.frontend.annotations import In, Out
from loom.ir.frontend.decorator import KernelFunction, kernel
from loom.ir.frontend.intrinsics import bitcast, group_id, local_id, select, static_range
from loom.kernels.matmul.tiles import BLOCK, Tile, turns_of
from loom.kernels.types import ProductTypes

__all__ = ["PANELS", "factor_of", "pack_columns", "pack_rows"]

PANELS = 4
"""Tiles of columns that a group packs, so that it reads longer stretches of memory."""


def _short(x: Any) -> Any:
    """Round an f32 to 12 significant bits, halves to even, on its bit pattern; NaN stays NaN."""
    bits = bitcast(u32, x)
    rounded = (bits + (0x7FF + ((bits >> 12) & 1))) & 0xFFFFF000
    return select(x != x, x, bitcast(f32, rounded))  # noqa: PLR0124 - a NaN


def factor_of(arithmetic: ProductTypes) -> Callable[[Any], Any]:
    """Return what turns an element into a factor that is not one of a pair."""
    wide = f32 if arithmetic.element.storage_only else arithmetic.accumulator
    return _short if arithmetic.short else wide


def _word_of(arithmetic: ProductTypes) -> Callable[[Any, Any, Any], Any]:
    """Return what reads a held factor: (memory, index, distance to the other one of its pair)."""
    factor = factor_of(arithmetic)
    if arithmetic.pairs:
        return lambda x, at, apart: (i32(x[at]) & 0xFFFF) | (i32(x[at + apart]) << 16)
    return lambda x, at, _apart: factor(x[at])


def _edge_word_of(arithmetic: ProductTypes) -> Callable[..., Any]:
    """Return the same for a word of which the second, or both, may lie beyond the last k."""
    factor, pairs, held = factor_of(arithmetic), arithmetic.pairs, arithmetic.held

    def word(x: Any, at: Any, apart: Any, k: Any, depth: Any) -> Any:
        value = held(0)
        if k < depth:
            if pairs:
                value = i32(x[at]) & 0xFFFF
                if k + (BLOCK // 2) < depth:
                    value = value | (i32(x[at + apart]) << 16)
            else:
                value = factor(x[at])
        return value

    return word


@cache
def pack_rows(tile: Tile, arithmetic: ProductTypes, *, transposed: bool) -> KernelFunction:
    """Return the kernel that packs ``x``, rows by k (or k by rows, ``transposed``), for the left operand.

    Group (i, block, z) packs tile of rows i of a block of matrix ``which[first + z]``.
    """
    element, held, at = arithmetic.element, arithmetic.held, tile.index
    rows, words = tile.rows, arithmetic.words
    word, edge_word = _word_of(arithmetic), _edge_word_of(arithmetic)

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
        target = ((at(group_id(2)) * at(blocks) + at(block)) * at(high) + at(i)) * (rows * words) + lane
        begin, apart = at(block) * BLOCK, at(words)
        if transposed:
            apart = apart * at(m)
        for r in static_range(rows):
            row = i * rows + r
            if row >= m:
                out[target + r * words] = held(0)
            else:
                place = source + at(row) * at(depth) + begin + lane
                if transposed:
                    place = source + (begin + lane) * at(m) + at(row)
                if block * BLOCK + BLOCK <= depth:
                    out[target + r * words] = word(x, place, apart)
                else:
                    out[target + r * words] = edge_word(x, place, apart, block * BLOCK + local_id(), depth)

    pack.name = f"matmul_rows{'_transposed' if transposed else ''}_{element}_{held}"
    return pack


@cache
def pack_columns(tile: Tile, arithmetic: ProductTypes, *, transposed: bool) -> KernelFunction:
    """Return the kernel that packs ``x``, k by columns (or columns by k, ``transposed``), for the right operand.

    Group (j, block, z) packs ``PANELS`` tiles of columns of a block of matrix ``which[first + z]``.
    """
    element, held, at = arithmetic.element, arithmetic.held, tile.index
    vectors, lanes, columns, words = tile.vectors, tile.lanes, tile.columns, arithmetic.words
    unroll, turns = tile.unroll, turns_of(tile, arithmetic)
    word, edge_word = _word_of(arithmetic), _edge_word_of(arithmetic)

    def put(x: Any, out: Any, target: Any, source: Any, apart: Any, j: Any, v: Any, k: Any, n: Any, depth: Any) -> None:
        """Copy vector v of tile j for one k."""
        column = j * columns + v * lanes
        place = source + at(k) * at(n) + at(column) + at(local_id())
        if transposed:
            place = source + (at(column) + at(local_id())) * at(depth) + at(k)
        if k // BLOCK * BLOCK + BLOCK <= depth and column + lanes <= n:
            out[target + v * lanes] = word(x, place, apart)
        else:
            value = held(0)
            if column + local_id() < n:
                value = edge_word(x, place, apart, k, depth)
            out[target + v * lanes] = value

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
                        target = (before + at(j) * at(held_words) + at(k - begin)) * columns + lane
                        put(x, out, target, source, apart, j, v, k, n, depth)
        else:
            for k in range(begin, begin + held_words):
                for j in range(group_id(0) * PANELS, last):
                    target = (before + at(j) * at(held_words) + at(k - begin)) * columns + lane
                    for v in static_range(vectors):
                        put(x, out, target, source, apart, j, v, k, n, depth)

    pack.name = f"matmul_columns{'_transposed' if transposed else ''}_{element}_{held}"
    return pack
