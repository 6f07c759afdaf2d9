"""Products of small integers with their bias, rounding and saturation: a layer of an integer network in one kernel.

Layer: kernels. Both operands are words of i32, each two neighbouring k as halves of 16 bits, whose two products a CPU
adds at once (``dot2_i16``); the right one is packed. Sums of integers have no order, so that none is kept.
Invariant: products of ``a`` and ``b``, the bias and half of 2^shift together stay within i32; callers see to it.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from loom.core.arrays import Array
from loom.core.dtype import i16, i32, u32
from loom.ir.frontend.annotations import In, Out
from loom.ir.frontend.decorator import KernelFunction, kernel
from loom.ir.frontend.intrinsics import dot2_i16, group_id, local_id, private, static_range
from loom.kernels.matmul.tiles import Tile

__all__ = ["multiply_integers", "pack_integers"]


def pack_integers(b: Array, columns: int) -> Array:
    """Return ``b`` (k, n) of i8 or i16 as words: tiles of columns, in each two k side by side, padded with 0."""
    k, n = b.shape
    padded = np.zeros((-(-k // 2) * 2, -(-n // columns) * columns), np.int16)
    padded[:k, :n] = b
    words = np.ascontiguousarray(padded.reshape(-1, 2, padded.shape[1]).transpose(0, 2, 1)).view(np.int32)[..., 0]
    return np.ascontiguousarray(words.reshape(len(words), -1, columns).transpose(1, 0, 2)).reshape(-1)


@cache
def multiply_integers(tile: Tile) -> KernelFunction:
    """Return the kernel (a, b, bias, out, m, n, words, shift, least, most).

    ``a``: m rows of ``words``; ``b``: packed; ``bias``: n, padded to whole tiles. Element (row, column) of ``out``,
    i16, is the sum of products and the bias, over 2^shift to the nearest, halves to even, brought into least to most.
    Group (y, x) computes tile of rows y and tile of columns x.
    """
    rows, vectors, lanes, unroll, at = tile.rows, tile.vectors, tile.lanes, tile.unroll, tile.index
    columns = tile.columns

    def add_words(a: Any, b: Any, sums: Any, row: Any, m: Any, words: Any, k: Any, b_at: Any, count: Any) -> None:
        for u in static_range(count):
            for r in static_range(rows):
                x = a[at(min(row + r, m - 1)) * at(words) + at(k + u)]
                for v in static_range(vectors):
                    y = b[b_at + (u * columns + v * lanes)]
                    s = r * vectors + v
                    sums[s] = dot2_i16(x, y, sums[s])

    @kernel(workgroup=lanes, trusted=True)
    def integers(
        a: In[i32], b: In[i32], bias: In[i32], out: Out[i16],
        m: u32, n: u32, words: u32, shift: i32, least: i32, most: i32,
    ):  # fmt: skip
        row, column = group_id(0) * rows, group_id(1) * columns
        sums = private(i32, rows * vectors)
        for r in static_range(rows):
            for v in static_range(vectors):
                sums[r * vectors + v] = bias[column + v * lanes + local_id()]
        b_at = at(group_id(1)) * (at(words) * columns) + at(local_id())
        whole = words - words % unroll
        for w in range(0, whole, unroll):
            add_words(a, b, sums, row, m, words, w, b_at + at(w) * columns, unroll)
        for w in range(whole, words):
            add_words(a, b, sums, row, m, words, w, b_at + at(w) * columns, 1)
        half = (i32(1) << shift) >> 1
        some = min(half, 1)
        for r in static_range(rows):
            for v in static_range(vectors):
                c = column + v * lanes + local_id()
                if row + r < m and c < n:
                    total = sums[r * vectors + v]
                    rounded = (total + (half - some) + ((total >> shift) & some)) >> shift
                    out[at(row + r) * at(n) + at(c)] = i16(max(min(rounded, most), least))

    integers.name = f"matmul_integers_{rows}x{vectors}x{lanes}"
    return integers
