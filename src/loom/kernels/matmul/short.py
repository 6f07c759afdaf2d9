"""Products of factors rounded to 12 significant bits (``x12``), fused where no product of theirs can be rounded.

Layer: kernels. Such a product is exact unless it leaves the range of f32; so operands are looked through first, and if
every factor is 0, no number, or from 2^-60 to 2^60 in size, products and sums are fused. Invariant: both ways give the
same bits.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from loom.core.dtype import f32, u32
from loom.ir.frontend.base.annotations import In, InOut, Out
from loom.ir.frontend.decorator import KernelFunction, kernel
from loom.ir.frontend.intrinsics import bitcast, group_id, local_id, select
from loom.kernels.matmul.tiles import Tile, walking_tiles
from loom.kernels.types import ProductTypes

__all__ = ["FAR_GROUPS", "FAR_WORDS", "find_far", "is_far", "multiply_short_tiles"]

_LANES = 16
FAR_GROUPS = 8
"""Groups that look through an operand."""
FAR_WORDS = FAR_GROUPS * _LANES
"""Words that they leave, one of each lane: not 0 if a factor lies outside."""
_SIZE, _INFINITE = 0x7FFF_FFFF, 0x7F80_0000
_LOW, _HIGH = (127 - 60) << 23, (127 + 60) << 23


def is_far(bits: Any) -> Any:
    """Tell of the bits of a factor whether products with it may not be exact."""
    size = bits & _SIZE
    return (size != 0) & (size < _INFINITE) & ((size < _LOW) | (size > _HIGH))


@cache
def find_far() -> KernelFunction:
    """Return the kernel (x, far, size, first) that looks through ``x`` and leaves its words from ``first`` on."""

    @kernel(workgroup=_LANES, trusted=True)
    def find(x: In[f32], far: Out[u32], size: u32, first: u32):
        lane, found = local_id(), u32(0)
        span = (size // (FAR_GROUPS * _LANES) + 1) * _LANES
        begin = group_id(0) * span
        for i in range(begin, min(begin + span, size), _LANES):
            bits = u32(0)
            if i + _LANES <= size:  # a plain vector of all lanes
                bits = bitcast(u32, x[i + lane]) & _SIZE
            elif i + lane < size:
                bits = _SIZE & bitcast(u32, x[i + lane])
            found = found | select(is_far(bits), 1, 0)
        far[first + group_id(0) * _LANES + lane] = found

    find.name = "matmul_far"
    return find


@cache
def multiply_short_tiles(tile: Tile, arithmetic: ProductTypes) -> KernelFunction:
    """Return the kernel that does as ``multiply_tiles`` for packed factors, of which ``far`` has the words of both."""
    walk = walking_tiles(tile, arithmetic)

    @kernel(workgroup=tile.lanes, trusted=True)
    def tiles(
        a: In[f32],
        b: In[f32],
        far: In[u32],
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
    ):
        found = u32(0)
        for i in range(2 * FAR_WORDS):
            found = found | far[i]
        walk(a, b, out, m, n, depth, down, across, a_step, b_step, chunks, first, found == 0)

    tiles.name = f"matmul_short_{tile.rows}x{tile.vectors}x{tile.lanes}"
    return tiles
