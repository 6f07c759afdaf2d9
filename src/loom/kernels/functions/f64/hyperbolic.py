"""Hyperbolic functions in f64: sinh, cosh and tanh.

Layer: kernels. Invariant: sinh and tanh are odd and cosh even, bit for bit; no branches.

Source: polynomials from ``tools/fit/f64.py`` and ``tools/fit/f64_elementary.py``; above them the exponential, for sinh
and cosh in a pair of floats: e^a = 2^n y, and 2^(n - 1) (y -+ 2^(-2n) / y) overflows where the result does.
"""

from __future__ import annotations

from typing import Any

from loom.core.dtype import f64, u64
from loom.ir.frontend.intrinsics import bitcast, select
from loom.kernels.functions.coefficients.f64 import TANH
from loom.kernels.functions.coefficients.f64_elementary import SINH
from loom.kernels.functions.doubles import two_sum
from loom.kernels.functions.f64.exponential import exp_f64, exp_pair, power_of_two, scaled_f64
from loom.kernels.functions.polynomial import horner

__all__ = ["cosh_f64", "sinh_f64", "tanh_f64", "with_sign_f64"]


def with_sign_f64(value: Any, of: Any) -> Any:
    """Return ``value``, whose sign bit is 0, with the sign of ``of``."""
    return bitcast(f64, bitcast(u64, value) | bitcast(u64, of) & u64(0x8000000000000000))


def tanh_f64(x: Any) -> Any:
    """Return the hyperbolic tangent of an f64."""
    a = abs(x)
    z = a * a
    near = a + (a * z) * horner(z, TANH)
    far = 1.0 - 2.0 / (exp_f64(a + a) + 1.0)
    magnitude = select(a < 0.55, near, far)
    return with_sign_f64(magnitude, x)


def _half_sum(a: Any, sign: Any) -> Any:
    """Return ``(e^a + sign e^-a) / 2`` for a of at least 0."""
    n, y, y1 = exp_pair(select(a > 711.0, f64(711.0), a), f64(0.0))
    small = power_of_two(-2.0 * select(n > 400.0, f64(400.0), n))
    high, low = two_sum(y, sign * (small / y))
    return scaled_f64(high + (low + y1), n - 1.0)


def sinh_f64(x: Any) -> Any:
    """Return the hyperbolic sine of an f64."""
    a = abs(x)
    z = a * a
    near = a + (a * z) * horner(z, SINH)
    return with_sign_f64(select(a >= 1.0, _half_sum(a, -1.0), near), x)


def cosh_f64(x: Any) -> Any:
    """Return the hyperbolic cosine of an f64."""
    return _half_sum(abs(x), 1.0)
