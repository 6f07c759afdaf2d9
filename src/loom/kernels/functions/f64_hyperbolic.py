"""The hyperbolic tangent in f64.

Layer: kernels. Invariant: odd, bit for bit; no branches.

Source: polynomial from ``tools/fit/f64.py``; above it 1 - 2 / (exp(2a) + 1), which is 1 where exp is infinite.
"""

from __future__ import annotations

from typing import Any

from loom.core.dtype import f64, u64
from loom.ir.frontend.intrinsics import bitcast, select
from loom.kernels.functions.coefficients_f64 import TANH
from loom.kernels.functions.f64_exponential import exp_f64
from loom.kernels.functions.polynomial import horner

__all__ = ["tanh_f64"]


def tanh_f64(x: Any) -> Any:
    """Return the hyperbolic tangent of an f64."""
    a = abs(x)
    z = a * a
    near = a + (a * z) * horner(z, TANH)
    far = 1.0 - 2.0 / (exp_f64(a + a) + 1.0)
    magnitude = select(a < 0.55, near, far)
    return bitcast(f64, bitcast(u64, magnitude) | bitcast(u64, x) & u64(0x8000000000000000))
