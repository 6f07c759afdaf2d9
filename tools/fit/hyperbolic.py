"""Fits for sinh, cosh and tanh; run it to write the coefficients."""

from __future__ import annotations

from typing import Any

import mpmath as mp
from remez import fit, rounded, write

__all__ = ["tables"]


def tables() -> dict[str, list[float]]:
    """Return every table of ``coefficients/hyperbolic.py``."""
    with mp.workprec(120):
        quarter_step = float(mp.log(2) / 4) * 1.001
        return {
            # tanh(a) = a + a z P(z), z = a^2, below
            "TANH": odd(mp.tanh, 0.901, 7),
            # sinh(a) = a + a z P(z), z = a^2, below
            "SINH": odd(mp.sinh, 1.001, 4),
            # 2a = n ln 2 + 2r: 2/ln 2; ln(2)/2 in 21 bits, which is 2^-29 off, its product with n exact up to 7;
            # with a larger n the result is so near 1 that what is lost does not count
            "TWICE_LOG2E": [rounded(2 / mp.log(2))],
            "HALF_LN2": [rounded(mp.log(2) / 2, 21)],
            # e^(2r) = 1 + 2r + r^2 P(r)
            "EXP_TWICE": fit(
                lambda r: (mp.exp(2 * r) - 1 - 2 * r) / r**2, -quarter_step, quarter_step, range(5),
                lambda r: r**2 / mp.exp(2 * r),
            ),
        }  # fmt: skip


def odd(function: Any, top: float, count: int) -> list[float]:
    """f(a) = a + a z P(z), z = a^2, for a up to ``top``."""
    return fit(
        lambda z: (function(mp.sqrt(z)) / mp.sqrt(z) - 1) / z, 0.0, top**2, range(count),
        lambda z: z * mp.sqrt(z) / function(mp.sqrt(z)),
    )  # fmt: skip


if __name__ == "__main__":
    write("hyperbolic", tables())
