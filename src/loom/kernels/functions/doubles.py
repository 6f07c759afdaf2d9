"""Pairs of floats that stand for their exact sum: twice the digits where one float has too few.

Layer: kernels. Invariant: only + and - and bit operations, so that every target can do it; no fused operations.

Source: T. J. Dekker, "A floating-point technique for extending the available precision", 1971.
"""

from __future__ import annotations

from typing import Any

from loom.core.dtype import f32, u32
from loom.ir.frontend.intrinsics import bitcast

__all__ = ["upper"]


def upper(x: Any) -> Any:
    """Return the upper 12 of the 24 significant bits of an f32: products of two such are exact."""
    return bitcast(f32, bitcast(u32, x) & 0xFFFFF000)
