"""The numeric contract in constants: guarantees, canonical NaN, the order of reductions.

Layer: core. Invariant: these numbers are part of every result; changing one changes bits.
"""

from __future__ import annotations

import enum
from typing import Any

import numpy as np

__all__ = [
    "MATMUL_BLOCK", "MATMUL_CHUNK", "NAN_BITS", "NUMERICS_VERSION", "REDUCE_LANES", "REDUCE_TILE", "SCAN_RUN",
    "SCAN_TILE", "Guarantee", "canonical_bits",
]  # fmt: skip

NUMERICS_VERSION = "loom-numerics/1"
"""Of the contract as a whole: another one where any result may have other bits. Receipts of models name it."""

REDUCE_TILE = 4096
"""Elements summed by one tile of the canonical reduction."""

REDUCE_LANES = 64
"""Lanes of a tile: lane l sums elements 64 i + l with i ascending, then a halving tree."""

SCAN_TILE = 4096
"""Elements of a tile of the canonical scan: 64 runs."""

SCAN_RUN = 64
"""Neighbouring elements scanned one after the other."""

MATMUL_BLOCK = 128
"""Products of a matrix multiplication added up from +0, k ascending."""

MATMUL_CHUNK = 4096
"""Products whose blocks are added up one after the other; chunks are joined by a balanced tree."""

NAN_BITS = {16: 0x7E00, 32: 0x7FC00000, 64: 0x7FF8000000000000}
"""Bit pattern a NaN has in digests and downloads (bf16: 0x7fc0)."""


class Guarantee(enum.IntEnum):
    """How much of a result is promised; a kernel asks, a device offers, ``build`` refuses a mismatch."""

    FAST = 0
    RUN_TO_RUN = 1
    BIT_EXACT = 2


def canonical_bits(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return the elements of ``array`` as unsigned integers of their bits, every NaN made canonical.

    Two results are "the same bits" when these arrays are equal. Any shape; dtype bool, integer or float.
    """
    if array.dtype == np.bool_:
        return array.view(np.uint8)
    bits = np.ascontiguousarray(array).view(f"u{array.dtype.itemsize}")
    if array.dtype.kind != "f":
        return bits
    nan = bits.dtype.type(NAN_BITS[array.dtype.itemsize * 8])
    return np.where(np.isnan(array), nan, bits)
