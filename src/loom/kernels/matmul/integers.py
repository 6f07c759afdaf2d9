"""Products of small integers with their bias, rounding and saturation: a layer of an integer network in one kernel.

Layer: kernels. The left operand is words of four neighbouring k, of i8; the right one is packed for the operation that
one instruction of a CPU is: on four bytes (``dot4_i8``, ``dot4_u8i8``), else on pairs of 16 bits (``dot2_i16``). Sums
of integers have no order, so that none is kept. Invariant: products of ``a`` and ``b``, the bias and half of 2^shift
together stay within i32; callers see to it.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from loom.core.arrays import Array
from loom.core.dtype import DType, i16, i32, u32
from loom.ir.frontend.base.annotations import In, Out
from loom.ir.frontend.decorator import KernelFunction, kernel
from loom.ir.frontend.intrinsics import dot2_i16, dot4_i8, dot4_u8i8, group_id, local_id, private, static_range
from loom.kernels.matmul.tiles import OFFSET, Tile

__all__ = ["EACH", "multiply_integers", "pack_bias", "pack_integers"]

EACH = 4
"""Integers of a word of the left operand."""
_OFFSET = 128
"""What ``dot4_u8i8`` takes each of them more for."""


def pack_integers(b: Array, columns: int, dots: str) -> Array:
    """Return ``b`` (k, n) of i8 as words: tiles of columns, in each four k side by side, padded with 0.

    ``dots``: an operation on packed bytes, "": two words follow each other, of pairs of k.
    """
    k, n = b.shape
    padded = np.zeros((-(-k // EACH) * EACH, -(-n // columns) * columns), np.int8 if dots else np.int16)
    padded[:k, :n] = b
    each = EACH if dots else 2
    words = np.ascontiguousarray(padded.reshape(-1, each, padded.shape[1]).transpose(0, 2, 1)).view(np.int32)[..., 0]
    return np.ascontiguousarray(words.reshape(len(words), -1, columns).transpose(1, 0, 2)).reshape(-1)


def pack_bias(bias: Array, b: Array, columns: int, dots: str) -> Array:
    """Return the bias of ``b`` (k, n) as the kernel adds it: whole tiles, less what the operation has too much."""
    found = np.zeros(-(-len(bias) // columns) * columns, np.int64)
    found[: len(bias)] = bias
    if dots == "dot4_u8i8":
        found[: len(bias)] -= _OFFSET * b.astype(np.int64).sum(0)
    return found.astype(np.int32)


def _low(word: Any) -> Any:
    """Return the first two bytes of a word as a pair of 16 bits."""
    return ((word << 24) >> 24) & 0xFFFF | ((word << 16) >> 24) << 16


def _high(word: Any) -> Any:
    return ((word << 8) >> 24) & 0xFFFF | (word >> 24) << 16


@cache
def multiply_integers(tile: Tile, dots: str, result: DType = i16) -> KernelFunction:
    """Return the kernel (a, b, bias, out, m, n, words, shift, least, most).

    ``a``: m rows of ``words``; ``b`` and ``bias``: packed for the operation ``dots``. Element (row, column) of ``out``,
    i8 or i16, is the sum of products and the bias, over 2^shift to the nearest, halves to even, brought into least to
    most. Group (y, x) computes tile of rows y and tile of columns x.
    """
    rows, vectors, lanes, unroll, at = tile.rows, tile.vectors, tile.lanes, tile.unroll, tile.index
    columns, parts = tile.columns, 1 if dots else 2
    offset = OFFSET if dots == "dot4_u8i8" else 0
    dot: Any = dot4_u8i8 if offset else dot4_i8

    def add_words(a: Any, b: Any, sums: Any, row: Any, m: Any, words: Any, k: Any, b_at: Any, count: Any) -> None:
        for u in static_range(count):
            for r in static_range(rows):
                x = a[at(min(row + r, m - 1)) * at(words) + at(k + u)] ^ offset
                for v in static_range(vectors):
                    s = r * vectors + v
                    y = b[b_at + (u * parts * columns + v * lanes)]
                    if dots:
                        sums[s] = dot(x, y, sums[s])
                    else:
                        z = b[b_at + ((u * parts + 1) * columns + v * lanes)]
                        sums[s] = dot2_i16(_high(x), z, dot2_i16(_low(x), y, sums[s]))

    @kernel(workgroup=lanes, trusted=True)
    def integers(
        a: In[i32], b: In[i32], bias: In[i32], out: Out[result],  # type: ignore[valid-type]
        m: u32, n: u32, words: u32, shift: i32, least: i32, most: i32,
    ):  # fmt: skip
        row, column = group_id(0) * rows, group_id(1) * columns
        sums = private(i32, rows * vectors)
        for r in static_range(rows):
            for v in static_range(vectors):
                sums[r * vectors + v] = bias[column + v * lanes + local_id()]
        b_at = at(group_id(1)) * (at(words) * (parts * columns)) + at(local_id())
        whole = words - words % unroll
        for w in range(0, whole, unroll):
            add_words(a, b, sums, row, m, words, w, b_at + at(w) * (parts * columns), unroll)
        for w in range(whole, words):
            add_words(a, b, sums, row, m, words, w, b_at + at(w) * (parts * columns), 1)
        half = (i32(1) << shift) >> 1
        some = min(half, 1)
        for r in static_range(rows):
            for v in static_range(vectors):
                c = column + v * lanes + local_id()
                if row + r < m and c < n:
                    total = sums[r * vectors + v]
                    rounded = (total + (half - some) + ((total >> shift) & some)) >> shift
                    out[at(row + r) * at(n) + at(c)] = result(max(min(rounded, most), least))

    integers.name = f"matmul_integers_{rows}x{vectors}x{lanes}_{dots or 'dot2_i16'}_{result}"
    return integers
