"""The error function and what is made of the normal distribution in f64: erf, erfc and gelu in its two forms.

Layer: kernels. Invariant: no branches; erf is odd, bit for bit; tails keep their relative accuracy down to the smallest
number, because exponents are pairs of floats.

Sources: polynomials from ``tools/fit/f64.py``: erf(a) / a up to 1, log(erfc(a)) up to 6, where erf rounds to 1; the
tails as in f32, exp(-a^2) times a polynomial in (a - k) / (a + k), from ``tools/fit/f64_error.py``.
"""

from __future__ import annotations

from typing import Any

from loom.core.dtype import f64
from loom.ir.frontend.intrinsics import select
from loom.kernels.functions.coefficients.f64 import ERF, ERFC
from loom.kernels.functions.coefficients.f64_error import (
    ERFC_SLOPE,
    ERFC_TAIL,
    NORMAL,
    NORMAL_SLOPE,
    NORMAL_TAIL,
    TANH_CUBIC,
    TANH_LINEAR,
)
from loom.kernels.functions.doubles import fast_two_sum, product_f64, two_sum
from loom.kernels.functions.f64.exponential import exp_f64, exp_pair, scaled_f64, sigmoid_of
from loom.kernels.functions.f64.hyperbolic import with_sign_f64
from loom.kernels.functions.f64.pairs import divided, times
from loom.kernels.functions.polynomial import horner

__all__ = ["erf_f64", "erfc_f64", "gelu_f64", "gelu_tanh_f64"]


def erf_f64(x: Any) -> Any:
    """Return the error function of an f64."""
    a = abs(x)
    near = a + a * horner(a * a, ERF)
    capped = select(a > 6.0, f64(6.0), a)
    far = 1.0 - exp_f64(-horner(capped - 1.0, ERFC))
    return with_sign_f64(select(a < 1.0, near, far), x)


def _tail(b: Any, k: Any, coefficients: Any, slope: Any) -> Any:
    """Return ``P((b - k) / (b + k)) / (b + k)`` as a pair, for b of at least 0."""
    above, above1 = two_sum(b, f64(-k))
    below, below1 = two_sum(b, f64(k))
    v, v1 = divided(above, above1, below, below1)
    w, w1 = product_f64(v, f64(coefficients[1]))
    w, left = two_sum(w, (v * v) * horner(v, coefficients[2:]))
    p, left1 = two_sum(f64(coefficients[0]), w)
    return divided(p, left1 + (left + (w1 + v1 * horner(v, slope))), below, below1)


def erfc_f64(x: Any) -> Any:
    """Return 1 minus the error function of an f64."""
    a = abs(x)
    near = x + x * horner(a * a, ERF)
    b = select(a > 27.3, f64(27.3), a)
    square, left = product_f64(b, b)
    n, y, y1 = exp_pair(-square, -left)
    p, p1 = _tail(b, 4.0, ERFC_TAIL, ERFC_SLOPE)
    far = scaled_f64(p * y + (p * y1 + p1 * y), n)
    return select(a < 0.6, 1.0 - near, select(x < 0.0, 2.0 - far, far))


def gelu_f64(x: Any) -> Any:
    """Return ``x Phi(x)`` of an f64, Phi being the normal distribution."""
    a = abs(x)
    near = x * (0.5 + x * horner(x * x, NORMAL))
    b = select(a > 39.0, f64(39.0), a)
    square, left = product_f64(b, b)
    n, y, y1 = exp_pair(-0.5 * square, -0.5 * left)
    p, p1 = _tail(b, 5.0, NORMAL_TAIL, NORMAL_SLOPE)
    p, p1 = times(b, f64(0.0), p, p1)
    far = scaled_f64(p * y + (p * y1 + p1 * y), n)
    return select(a < 0.64, near, select(x < 0.0, -far, x - far))


def gelu_tanh_f64(x: Any) -> Any:
    """Return ``x / (1 + exp(-x (K1 + K2 x^2)))`` of an f64."""
    a = abs(x)
    b = select(a > 22.0, f64(22.0), a)
    square, left = product_f64(b, b)
    u, u1 = times(square, left, f64(TANH_CUBIC[0]), f64(TANH_CUBIC[1]))
    u, left = two_sum(u, f64(TANH_LINEAR[0]))
    u, u1 = fast_two_sum(u, left + (u1 + TANH_LINEAR[1]))
    u, u1 = times(u, u1, b, f64(0.0))
    signed = with_sign_f64(b, x)
    return select((x > 22.0) | (x == 0.0), x, sigmoid_of(-u, -u1, x < 0.0, signed))
