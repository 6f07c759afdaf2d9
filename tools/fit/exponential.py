"""Fits for exp, exp2, expm1, sigmoid and what is built on them; run it to write the coefficients."""

from __future__ import annotations

import mpmath as mp
from remez import fit, rounded, split, write

__all__ = ["tables"]


def tables() -> dict[str, list[float]]:
    """Return every table of ``coefficients/exponential.py``."""
    with mp.workprec(120):
        half_step = float(mp.log(2) / 2) * 1.001
        return {
            # 1 / ln 2; ln 2 = high + low, where high times any whole number below 2^9 is exact
            "LOG2E": [rounded(1 / mp.log(2))],
            "LN2": split(mp.log(2), 15),
            # e^r = 1 + r + r^2 P(r), abs r <= ln(2)/2
            "EXP": fit(
                lambda r: (mp.exp(r) - 1 - r) / r**2, -half_step, half_step, range(5), lambda r: r**2 / mp.exp(r)
            ),
            # 2^f = 1 + (f ln 2 + f^2 P(f)), abs f <= 1/2, ln 2 rounded
            "EXP2": [rounded(mp.log(2)), *fit(
                lambda f: (mp.mpf(2) ** f - 1 - f * rounded(mp.log(2))) / f**2, -0.501, 0.501, range(5),
                lambda f: f**2 / mp.mpf(2) ** f,
            )],
            # e^r - 1 = r + r^2 P(r), relative to itself
            "EXPM1": fit(
                lambda r: (mp.exp(r) - 1 - r) / r**2, -half_step, half_step, range(5),
                lambda r: r**2 / abs(mp.expm1(r)),
            ),
        }  # fmt: skip


if __name__ == "__main__":
    write("exponential", tables())
