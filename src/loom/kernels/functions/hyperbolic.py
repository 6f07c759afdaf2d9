"""Hyperbolic functions: sinh, cosh and tanh.

Layer: kernels. Invariant: no branches; sinh and tanh are odd, cosh is even, bit for bit, the sign of zero included.

Source: docs/numerics.md, section 3; polynomials from ``tools/fit/hyperbolic.py``, ``f64.py`` and ``f64_elementary.py``
there. In f64 the exponential is a pair: e^a = 2^n y, and 2^(n - 1) (y -+ 2^(-2n) / y) overflows where the result does.
"""

from __future__ import annotations

from typing import Any

from loom.core.dtype import f32, f64
from loom.ir.frontend.elementary import elementary
from loom.ir.frontend.intrinsics import bitcast, rint, select
from loom.kernels.functions.coefficients import f64 as table_f64
from loom.kernels.functions.coefficients import f64_elementary, hyperbolic
from loom.kernels.functions.coefficients.hyperbolic import EXP_TWICE, HALF_LN2, TANH, TWICE_LOG2E
from loom.kernels.functions.doubles import two_sum
from loom.kernels.functions.exponential import exp_f64, exp_pair, growth, power_of_two, reduce_argument, scale_by_power
from loom.kernels.functions.formats import format_of
from loom.kernels.functions.polynomial import horner

__all__ = ["cosh", "sinh", "tanh", "with_sign"]

_SINH = {f32: hyperbolic.SINH, f64: f64_elementary.SINH}


def with_sign(value: Any, of: Any) -> Any:
    """Return ``value``, whose sign bit is 0, with the sign of ``of``."""
    form = format_of(of)
    return bitcast(of.dtype, bitcast(form.bits, value) | (bitcast(form.bits, of) & form.sign))


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


def _tanh_f64(x: Any) -> Any:
    a = abs(x)
    z = a * a
    near = a + (a * z) * horner(z, table_f64.TANH)
    far = 1.0 - 2.0 / (exp_f64(a + a) + 1.0)
    return with_sign(select(a < 0.55, near, far), x)


def _half_sum(a: Any, sign: Any) -> Any:
    """Return ``(e^a + sign e^-a) / 2`` for a of at least 0."""
    if a.dtype == f32:
        whole, r = reduce_argument(select(a > 90.0, f32(90.0), a))
        e = scale_by_power(1.0 + growth(r), whole - 1.0)
        return e + 0.25 / e if sign > 0.0 else e - 0.25 / e
    n, y, y1 = exp_pair(select(a > 711.0, f64(711.0), a), f64(0.0))
    small = power_of_two(-2.0 * select(n > 400.0, f64(400.0), n))
    high, low = two_sum(y, sign * (small / y))
    return scale_by_power(high + (low + y1), n - 1.0)


def _sinh(x: Any) -> Any:
    a = abs(x)
    z = a * a
    near = a + (a * z) * horner(z, _SINH[x.dtype])
    return with_sign(select(a >= 1.0, _half_sum(a, -1.0), near), x)


def _cosh(x: Any) -> Any:
    return _half_sum(abs(x), 1.0)


@elementary(f32=(_sinh, 1.62), f64=(_sinh, 0.85))
def sinh(x: Any) -> Any:  # type: ignore[empty-body]
    """Hyperbolic sine, at most 1.62 ulp off (f64: 0.85); odd."""


@elementary(f32=(_cosh, 1.44), f64=(_cosh, 0.85))
def cosh(x: Any) -> Any:  # type: ignore[empty-body]
    """Hyperbolic cosine, at most 1.44 ulp off (f64: 0.85); even."""


@elementary(f32=(_tanh, 1.04), f64=(_tanh_f64, 2.0))
def tanh(x: Any) -> Any:  # type: ignore[empty-body]
    """Hyperbolic tangent, at most 1.04 ulp off (f64: 2); odd."""
