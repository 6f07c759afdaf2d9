"""Packs bytes of an operand in fours, neighbours along k in one word, as dot products take them.

Layer: kernels. Words lie as the bytes did: rows by words of k, or words of k by rows. Rows whose length is a multiple
of four are words as they lie and need no copy. Invariant: beyond the end of k there are zeros.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from loom.core.dtype import i8, i32, u32
from loom.ir.frontend.annotations import In, Out
from loom.ir.frontend.decorator import KernelFunction, kernel
from loom.ir.frontend.intrinsics import group_id, local_id, static_range

__all__ = ["FACTORS", "LANES", "pack_fours"]

FACTORS = 4
"""Bytes of a word."""
LANES = 64
"""Words of a group of ``pack_fours``."""


@cache
def pack_fours(*, by_k: bool) -> KernelFunction:
    """Return the kernel that packs matrices of i8, rows by k (``by_k``) or k by rows.

    Group (x, y, z) packs words x of line y of matrix z: lines are rows where words are of neighbours, words of k else.
    """

    def packed(x: Any, place: Any, step: Any, k: Any, depth: Any) -> Any:
        word = i32(0)
        for part in static_range(FACTORS):
            if k + part < depth:
                word = word | ((i32(x[place + part * step]) & 0xFF) << (8 * part))
        return word

    @kernel(workgroup=LANES, trusted=True)
    def pack(x: In[i8], out: Out[i32], rows: u32, depth: u32):
        number, line, matrix = group_id(0) * LANES + local_id(), group_id(1), group_id(2)
        words, source = (depth + (FACTORS - 1)) // FACTORS, matrix * rows * depth
        target = matrix * words * rows
        if by_k:
            if number < words:
                k = number * FACTORS
                out[target + line * words + number] = packed(x, source + line * depth + k, 1, k, depth)
        elif number < rows:
            k = line * FACTORS
            out[target + line * rows + number] = packed(x, source + k * rows + number, rows, k, depth)

    pack.name = f"matmul_fours{'_by_k' if by_k else ''}"
    return pack
