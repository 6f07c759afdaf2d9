"""Polynomials with known coefficients, by Horner's rule.

Layer: kernels. Invariant: one order of operations, multiply then add, whatever the target.
"""

from __future__ import annotations

from typing import Any

from loom.ir.frontend.intrinsics import static_range

__all__ = ["horner"]


def horner(x: Any, coefficients: Any) -> Any:
    """Return ``c[0] + x (c[1] + x (c[2] + ...))`` for a tuple of at least two floats, lowest power first."""
    degree = len(coefficients) - 1
    p = x * coefficients[degree] + coefficients[degree - 1]
    for k in static_range(2, degree + 1):
        p = p * x + coefficients[degree - k]
    return p
