"""Vectors as whole numbers and scales, for products of an order-free precision: packed once, beside what is kept.

Layer: kernels. Of each block of 128 elements a packed panel has ``words`` lines of a word for each row, of 4 or 2
neighbours, and a line of the bits of their scales. A query has the same words, its scale and the sum of its numbers.
Invariant: a total has the bits of the matrix product of that precision (docs/numerics.md, section 2).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from loom.core.arrays import Array
from loom.core.dtype import f32, i8, i32, u32
from loom.core.late.dataclass import dataclass
from loom.core.numerics import MATMUL_BLOCK as BLOCK
from loom.ir.frontend.base.annotations import In, InOut
from loom.ir.frontend.decorator import KernelFunction, kernel
from loom.ir.frontend.intrinsics import (
    bitcast,
    dot2_i16,
    dot4_i8,
    dot4_u8i8,
    group_id,
    local_id,
    private,
    select,
    static_range,
)
from loom.kernels.matmul.digits import INFINITE, MAGNITUDE, exponents_of, inverse_of, rounding_of, scale_of, scale_total
from loom.kernels.matmul.tiles import OFFSET
from loom.kernels.precisions import Precision
from loom.kernels.vectors.panels import Panel

__all__ = ["Packing", "adding_packed", "pack_panels", "pack_queries"]

_BIAS = 128


@dataclass(frozen=True, slots=True)
class Packing:
    """How whole numbers of a precision lie in words; ``offset``: bytes of vectors are 128 more than they stand for."""

    precision: Precision
    offset: bool

    @property
    def each(self) -> int:
        """Whole numbers of a word."""
        return 4 if self.precision.held == i8 else 2

    @property
    def words(self) -> int:
        """Words of a block."""
        return BLOCK // self.each

    @property
    def lines(self) -> int:
        """Lines of a block of a panel."""
        return self.words + 1

    @property
    def of_query(self) -> int:
        """Words of a block of a query."""
        return self.words + 2

    @property
    def name(self) -> str:
        """Its part of a kernel's name."""
        return f"{self.precision.name}{'_offset' * self.offset}"


@cache
def pack_panels(panel: Panel, packing: Packing) -> KernelFunction:
    """Return the kernel (x, sizes, out) that packs panels; ``sizes``: elements of a vector, the first panel, how many.

    Group (p, block) packs a block of a panel.
    """
    precision, lanes, width, at = packing.precision, panel.lanes, panel.width, panel.index
    exponent_of, whole_of, each, bits = (
        exponents_of(precision),
        rounding_of(precision),
        packing.each,
        32 // packing.each,
    )
    mask = (1 << bits) - 1

    @kernel(workgroup=lanes, trusted=True)
    def pack(
        x: In[panel.held],  # type: ignore[name-defined]
        sizes: In[u32],
        out: InOut[i32],
    ):
        dims, block = sizes[0], group_id(1)
        blocks = (dims + (BLOCK - 1)) // BLOCK
        if group_id(0) < sizes[2]:
            p, count = sizes[1] + group_id(0), min(dims - block * BLOCK, BLOCK)
            for v in static_range(panel.vectors):
                row = at(v * lanes + local_id())
                source = (at(p) * at(dims) + at(block * BLOCK)) * width + row
                target = (at(p) * at(blocks) + at(block)) * (packing.lines * width) + row
                largest = u32(0)
                for k in range(count):
                    largest = max(largest, bitcast(u32, f32(x[source + at(k) * width])) & MAGNITUDE)
                exponent = exponent_of(largest)
                inverse, is_finite = inverse_of(exponent), largest < INFINITE
                for w in range(packing.words):
                    word = i32(0)
                    for b in static_range(each):
                        k = w * each + b
                        value = whole_of(f32(x[source + at(min(k, count - 1)) * width]) * inverse)
                        word = word | ((select(is_finite and k < count, value, i32(0)) & mask) << (bits * b))
                    out[target + at(w) * width] = word ^ OFFSET if packing.offset else word
                out[target + packing.words * width] = bitcast(i32, scale_of(exponent, largest))

    pack.name = f"vectors_pack_{packing.name}_{panel.name}"
    return pack


def adding_packed(panel: Panel, packing: Packing, count: int) -> Callable[..., None]:
    """Return what adds the products with a packed panel to ``totals``, for ``count`` queries from q_at on."""
    lanes, vectors, width, at, words = panel.lanes, panel.vectors, panel.width, panel.index, packing.words
    dot: Any = dot2_i16 if packing.each == 2 else dot4_u8i8 if packing.offset else dot4_i8

    def add(queries: Any, x: Any, totals: Any, q_at: Any, x_at: Any, blocks: Any) -> None:
        sums = private(i32, count * vectors)
        for block in range(blocks):
            for s in static_range(count * vectors):
                sums[s] = i32(0)
            x_block = x_at + at(block) * (packing.lines * width)
            q_block = q_at + at(block) * packing.of_query
            apart = at(blocks) * packing.of_query
            for w in range(words):
                for v in static_range(vectors):
                    word = x[x_block + (at(w) * width + v * lanes)]
                    for r in static_range(count):
                        s = r * vectors + v
                        sums[s] = dot(word, queries[q_block + (apart * r + at(w))], sums[s])
            for v in static_range(vectors):
                own = bitcast(f32, x[x_block + (words * width + v * lanes)])
                for r in static_range(count):
                    s, facts = r * vectors + v, q_block + (apart * r + words)
                    total = sums[s] - _BIAS * queries[facts + 1] if packing.offset else sums[s]
                    totals[s] = totals[s] + scale_total(total, bitcast(f32, queries[facts]), own)

    return add


def pack_queries(array: Array, packing: Packing) -> Array:
    """Return queries (n, dims) of f32 as words of i32, (n, blocks ``of_query``)."""
    precision, blocks = packing.precision, -(-array.shape[1] // BLOCK)
    x = np.zeros((len(array), blocks * BLOCK), np.float32)
    x[:, : array.shape[1]] = array
    x = x.reshape(len(array), blocks, BLOCK)
    largest = (x.view(np.uint32) & np.uint32(MAGNITUDE)).max(axis=2).astype(np.int64)
    carry = (largest & ((1 << 23) - 1)) >= precision.limit
    exponent = np.maximum((largest >> 23) - precision.step + carry, 1)
    inverse = ((254 - exponent) << 23).astype(np.uint32).view(np.float32)
    whole = np.rint(x * inverse[..., None]).astype(np.int64)
    out = np.zeros((len(array), blocks, packing.of_query), np.int64)
    bits = 32 // packing.each
    parts = (whole & ((1 << bits) - 1)).reshape(len(array), blocks, packing.words, packing.each)
    out[:, :, : packing.words] = (parts << (bits * np.arange(packing.each))).sum(axis=3)
    out[:, :, packing.words] = exponent << 23
    out[:, :, packing.words + 1] = whole.sum(axis=2)
    return (out & 0xFFFF_FFFF).astype(np.uint32).view(np.int32).reshape(len(array), -1)
