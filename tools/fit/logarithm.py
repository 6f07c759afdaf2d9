"""Fits for log, log2, log10, log1p and pow; run it to write the coefficients."""

from __future__ import annotations

import mpmath as mp
from remez import fit, rounded, split, write

__all__ = ["tables"]


def tables() -> dict[str, list[float]]:
    """Return every table of ``coefficients/logarithm.py``."""
    with mp.workprec(120):
        low, high = float(mp.sqrt(0.5)) - 1.001, float(mp.sqrt(2)) - 0.999
        return {
            "LOG2E": [rounded(1 / mp.log(2))],
            # ln 2 = high + low, where high times any whole number below 2^9 is exact
            "LN2": split(mp.log(2), 15),
            # log10(2) and 1 / ln 10 = high + low, products of high with k, and with 12 bits, being exact
            "LOG10_2": split(mp.log10(2), 15),
            "LOG10E": split(1 / mp.log(10), 12),
            # log(1 + f) = f - f^2/2 + f^3 P(f), 1 + f from sqrt(1/2) to sqrt(2)
            "LOG": fit(
                lambda f: (mp.log1p(f) - f + f**2 / 2) / f**3, low, high, range(9),
                lambda f: abs(f**3 / mp.log1p(f)),
            ),
        }  # fmt: skip


if __name__ == "__main__":
    write("logarithm", tables())
