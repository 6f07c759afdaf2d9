"""The error function in f64.

Layer: kernels. Invariant: odd, bit for bit; no branches.

Source: polynomials from ``tools/fit/f64.py``: erf(a) / a up to 1, log(erfc(a)) up to 6, where erf rounds to 1.
"""

from __future__ import annotations

from typing import Any

from loom.core.dtype import f64, u64
from loom.ir.frontend.intrinsics import bitcast, select
from loom.kernels.functions.coefficients_f64 import ERF, ERFC
from loom.kernels.functions.f64_exponential import exp_f64
from loom.kernels.functions.polynomial import horner

__all__ = ["erf_f64"]


def erf_f64(x: Any) -> Any:
    """Return the error function of an f64."""
    a = abs(x)
    near = a + a * horner(a * a, ERF)
    capped = select(a > 6.0, f64(6.0), a)
    far = 1.0 - exp_f64(-horner(capped - 1.0, ERFC))
    magnitude = select(a < 1.0, near, far)
    return bitcast(f64, bitcast(u64, magnitude) | bitcast(u64, x) & u64(0x8000000000000000))
