"""Hyperbolic functions: sinh, cosh and tanh.

Layer: kernels. Invariant: no branches; sinh and tanh are odd, bit for bit, the sign of zero included.

Source: docs/numerics.md, section 3; polynomials from ``tools/fit/hyperbolic.py``.
"""

from __future__ import annotations

from typing import Any

from loom.core.dtype import f32, u32
from loom.ir.frontend.elementary import elementary
from loom.ir.frontend.intrinsics import bitcast, rint, select
from loom.kernels.functions.coefficients.hyperbolic import EXP_TWICE, HALF_LN2, SINH, TANH, TWICE_LOG2E
from loom.kernels.functions.exponential import growth, power_of_two, reduced, scaled
from loom.kernels.functions.f64.hyperbolic import cosh_f64, sinh_f64, tanh_f64
from loom.kernels.functions.polynomial import horner

__all__ = ["cosh", "sinh", "tanh", "with_sign"]


def with_sign(value: Any, of: Any) -> Any:
    """Return ``value``, whose sign bit is 0, with the sign of ``of``."""
    return bitcast(f32, bitcast(u32, value) | (bitcast(u32, of) & 0x80000000))


def _tanh(x: Any) -> Any:
    """Near 0 an odd polynomial, elsewhere ``1 - 2 / (exp(2a) + 1)``: the longer chain of operations comes first.

    The exponential's polynomial is taken in pairs (Estrin): waiting for each other costs more here than one multiply.
    """
    a = abs(x)
    b = select(a > 9.1, f32(9.1), a)
    n = rint(b * TWICE_LOG2E[0])
    r = b - n * HALF_LN2[0]
    s = r * r
    c = EXP_TWICE
    p = (c[0] + c[1] * r) + s * ((c[2] + c[3] * r) + s * c[4])
    e = (1.0 + ((r + r) + s * p)) * power_of_two(n)
    far = 1.0 - 2.0 / (e + 1.0)
    z = a * a
    near = a + (a * z) * horner(z, TANH)
    return with_sign(select(a >= 0.9, far, near), x)


def _half_exp(a: Any) -> Any:
    """Return ``exp(a) / 2`` for a of at least 0."""
    n, r = reduced(select(a > 90.0, f32(90.0), a))
    return scaled(1.0 + growth(r), n - 1.0)


def _sinh(x: Any) -> Any:
    a = abs(x)
    z = a * a
    near = a + (a * z) * horner(z, SINH)
    e = _half_exp(a)
    return with_sign(select(a >= 1.0, e - 0.25 / e, near), x)


def _cosh(x: Any) -> Any:
    e = _half_exp(abs(x))
    return e + 0.25 / e


@elementary(f32=(_sinh, 1.62), f64=(sinh_f64, 0.85))
def sinh(x: Any) -> Any:  # type: ignore[empty-body]
    """Hyperbolic sine, at most 1.62 ulp off (f64: 0.85); odd."""


@elementary(f32=(_cosh, 1.44), f64=(cosh_f64, 0.85))
def cosh(x: Any) -> Any:  # type: ignore[empty-body]
    """Hyperbolic cosine, at most 1.44 ulp off (f64: 0.85); even."""


@elementary(f32=(_tanh, 1.04), f64=(tanh_f64, 2.0))
def tanh(x: Any) -> Any:  # type: ignore[empty-body]
    """Hyperbolic tangent, at most 1.04 ulp off (f64: 2); odd."""
