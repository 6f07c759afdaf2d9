"""Fits for cbrt and pow; run it to write the coefficients."""

from __future__ import annotations

from typing import Any

import mpmath as mp
from remez import fit, split, write

__all__ = ["tables"]


def tables() -> dict[str, list[float]]:
    """Return every table of ``coefficients/power.py``."""
    with mp.workprec(120):
        first, second = (2 / (n * mp.log(2)) for n in (1, 3))
        top = ((mp.sqrt(2) - 1) / (mp.sqrt(2) + 1)) ** 2 * mp.mpf("1.001")

        def rest(z: Any) -> Any:
            q = mp.sqrt(z)
            return (mp.log((1 + q) / (1 - q), 2) / q - first - second * z) / z**2

        return {
            # log2((1 + q) / (1 - q)) = q (A + z (B + z P(z))), z = q^2; A and B in 12 bits and the rest
            "LOG2_FIRST": split(first, 12),
            "LOG2_SECOND": split(second, 12),
            "LOG2_REST": fit(rest, 0.0, float(top), range(4), lambda z: z**2),
            # t^(-1/3) about 1, as far as the first guess of an inverse cube root is off
            "INVERSE_CUBE_ROOT": fit(lambda t: t ** (-mp.mpf(1) / 3), 0.899, 1.109, range(5), lambda _: 1),
        }


if __name__ == "__main__":
    write("power", tables())
