"""Pairs of floats that stand for their exact sum: twice the digits where one float has too few.

Layer: kernels. Invariant: only +, - and * and bit operations, so that every target can do it; no fused operations.

Source: T. J. Dekker, "A floating-point technique for extending the available precision", 1971.
"""

from __future__ import annotations

from typing import Any

from loom.core.dtype import f32, f64, u32, u64
from loom.ir.frontend.intrinsics import bitcast

__all__ = ["fast_two_sum", "product", "product_f64", "two_sum", "upper"]


def two_sum(a: Any, b: Any) -> Any:
    """Return ``a + b`` rounded, and what the rounding left out (Knuth)."""
    total = a + b
    part = total - a
    return total, (a - (total - part)) + (b - part)


def fast_two_sum(a: Any, b: Any) -> Any:
    """Return ``a + b`` rounded, and what the rounding left out, for ``abs(a) >= abs(b)`` or a = 0 (Dekker)."""
    total = a + b
    return total, b - (total - a)


def upper(x: Any) -> Any:
    """Return the upper 12 of the 24 significant bits of an f32: products of two such are exact."""
    return bitcast(f32, bitcast(u32, x) & 0xFFFFF000)


def _upper_f64(x: Any) -> Any:
    """Return the upper 26 of the 53 significant bits of an f64: products of two such are exact."""
    return bitcast(f64, bitcast(u64, x) & u64(0xFFFFFFFFF8000000))


def product(a: Any, b: Any) -> Any:
    """Return ``a * b`` of two f32 rounded, and what the rounding left out, exact unless it underflows (Dekker)."""
    return _product(a, upper(a), b, upper(b))


def product_f64(a: Any, b: Any) -> Any:
    """Return ``product`` of two f64."""
    return _product(a, _upper_f64(a), b, _upper_f64(b))


def _product(a: Any, a1: Any, b: Any, b1: Any) -> Any:
    a2, b2 = a - a1, b - b1
    whole = a * b
    return whole, (((a1 * b1 - whole) + a1 * b2) + a2 * b1) + a2 * b2
