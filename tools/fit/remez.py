"""Fitting of polynomials whose coefficients are floats of a few bits: ``fit``, ``error``, ``write``.

How to use it: ``tools/fit/<family>.py`` has a function ``tables() -> dict[str, list[float]]`` that calls
``fit`` once a polynomial, and a last line ``if __name__ == "__main__": write("<family>", tables())``;
``python tools/fit/<family>.py`` then writes ``src/loom/kernels/functions/coefficients/<family>.py``. A slow
test (``tests/functions/test_fits.py``) runs ``tables()`` again and compares. Invariant: the result depends on the
arguments alone.

What is fitted: coefficients c so that the largest ``weight(x) * abs(function(x) - sum(c * x**p))`` over the
interval is least. Take the weight so that this is the relative error of the final result: for
exp(x) = 1 + x + x^2 P(x), ``function`` is (exp(x) - 1 - x) / x^2 and ``weight`` is x^2 / exp(x). For an even or
odd function fit in z = x^2 instead. Make the interval a little wider than what the reduction can give.

Algorithm: least squares in mpmath on Chebyshev points gives an orthonormal basis and a residual; the best
correction in that basis is a linear program (Chebyshev approximation on a grid, Stiefel 1960), small enough for
float64. Then the first coefficient is rounded and the others are fitted again, until all are rounded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import mpmath as mp
import numpy as np
from scipy.optimize import linprog

__all__ = ["error", "fit", "rounded", "source", "split", "write"]

Real = Any
"""An mpmath number, mp.mpf."""

WORKING_BITS = 240
_LINE = 120
TARGET = Path(__file__).resolve().parents[2] / "src" / "loom" / "kernels" / "functions"


def fit(
    function: Callable[[Real], Real],
    low: float,
    high: float,
    powers: Sequence[int],
    weight: Callable[[Real], Real],
    *,
    bits: int | Sequence[int] = 24,
    points: int = 0,
) -> list[float]:
    """Return one coefficient per power; each has at most ``bits`` significant bits (24 or 53; or one each).

    ``function`` and ``weight`` take and give mpmath numbers and are called at ``points`` Chebyshev points strictly
    inside (low, high); an even number of points has no point in the middle. Powers come in the order in which
    they are rounded: most important first, ascending as a rule.

    >>> [c.hex() for c in fit(mp.exp, -0.1, 0.1, [0, 1, 2], lambda x: 1 / mp.exp(x))]
    ['0x1.0000340000000p+0', '0x1.0051d40000000p+0', '0x1.ffae9c0000000p-2']
    """
    widths = [bits] * len(powers) if isinstance(bits, int) else list(bits)
    with mp.workprec(WORKING_BITS):
        where = _chebyshev(low, high, points or 24 * len(powers) + 40)
        weights = [mp.mpf(weight(x)) for x in where]
        wanted = [w * function(x) for x, w in zip(where, weights, strict=True)]
        columns = [[w * x**p for x, w in zip(where, weights, strict=True)] for p in powers]
        found: list[float] = []
        for n, width in enumerate(widths):
            best = _minimax(columns[n:], wanted)[0]
            found.append(rounded(best, width))
            wanted = [y - found[-1] * v for y, v in zip(wanted, columns[n], strict=True)]
    return found


def error(
    function: Callable[[Real], Real],
    low: float,
    high: float,
    powers: Sequence[int],
    weight: Callable[[Real], Real],
    coefficients: Sequence[float],
    *,
    points: int = 1000,
) -> float:
    """Return the largest weighted error of the polynomial over a grid; its log2 is the accuracy in bits."""
    with mp.workprec(WORKING_BITS):
        pairs = list(zip(powers, coefficients, strict=True))
        where = _chebyshev(low, high, points)
        return float(max(abs(weight(x) * (function(x) - mp.fsum(c * x**p for p, c in pairs))) for x in where))


def rounded(value: Real, bits: int = 24) -> float:
    """Return ``value`` rounded to ``bits`` significant bits, halves to even; not for subnormals."""
    with mp.workprec(bits):
        return float(+mp.mpf(value))


def split(value: Real, *bits: int, last: int = 24) -> list[float]:
    """Return floats of ``bits`` significant bits each, then one of ``last``, whose exact sum is ``value`` nearly.

    >>> split(mp.mpf(1) / 3, 4)
    [0.34375, -0.010416666977107525]
    """
    parts: list[float] = []
    for width in (*bits, last):
        with mp.workprec(WORKING_BITS):
            rest = value - mp.fsum(parts)
        parts.append(rounded(rest, width))
    return parts


def write(family: str, tables: Mapping[str, Sequence[float]]) -> None:
    """Write ``coefficients/<family>.py``: one tuple of exact floats per table."""
    (TARGET / "coefficients" / f"{family}.py").write_text(source(family, tables), encoding="utf-8")


def source(family: str, tables: Mapping[str, Sequence[float]]) -> str:
    """Return the text of the module ``coefficients/<family>.py``; lowest power first within a table."""
    names = [f'"{name}"' for name in sorted(tables)]
    exports = [f"__all__ = [{', '.join(names)}]"]
    if len(exports[0]) > _LINE:  # as the formatter has it
        exports = ["__all__ = [", *(f"    {name}," for name in names), "]"]
    lines = [
        f'"""Coefficients, generated by ``tools/fit/{family}.py``: change the script, never this file.',
        "",
        "Layer: kernels. Invariant: every number is written exactly, and the script gives it again (slow test).",
        '"""',
        "",
        *exports,
        "",
        "",
        "def _exact(digits: str) -> tuple[float, ...]:",
        "    return tuple(float.fromhex(word) for word in digits.split())",
        "",
        "",
    ]
    for name, values in tables.items():
        words = "\n".join(f"    {_short(value)}" for value in values)
        lines += [f'{name} = _exact("""', words, '""")']
    return "\n".join(lines) + "\n"


def _short(value: float) -> str:
    """Hexadecimal digits without trailing zeros: 0x1.8p+0."""
    digits, exponent = float(value).hex().split("p")
    if "." in digits:
        digits = digits.rstrip("0").rstrip(".")
    return f"{digits}p{exponent}"


def _chebyshev(low: float, high: float, points: int) -> list[Real]:
    half, middle = (mp.mpf(high) - mp.mpf(low)) / 2, (mp.mpf(high) + mp.mpf(low)) / 2
    return [middle + half * mp.cos(mp.pi * (2 * k + 1) / (2 * points)) for k in range(points)]


def _minimax(columns: list[list[Real]], wanted: list[Real]) -> list[Real]:
    """Return the coefficients of the columns that make the largest residual least."""
    basis, triangle = _orthonormal(columns)
    first = [mp.fdot(q, wanted) for q in basis]
    residual = [y - mp.fsum(a * q[k] for a, q in zip(first, basis, strict=True)) for k, y in enumerate(wanted)]
    size = max(abs(r) for r in residual)
    if size == 0:
        return _solve(triangle, first)
    matrix = np.array([[float(q[k]) for q in basis] for k in range(len(wanted))])
    right = np.array([float(r / size) for r in residual])
    correction = _linear_program(matrix * np.sqrt(len(wanted)), right) * np.sqrt(len(wanted))
    return _solve(triangle, [a + size * mp.mpf(d) for a, d in zip(first, correction, strict=True)])


def _linear_program(matrix: Any, right: Any) -> Any:
    """Minimise E subject to -E <= matrix d - right <= E."""
    rows, columns = matrix.shape
    ones = np.ones((rows, 1))
    upper = np.block([[matrix, -ones], [-matrix, -ones]])
    cost = np.zeros(columns + 1)
    cost[-1] = 1
    free = [(None, None)] * columns + [(0, None)]
    answer = linprog(cost, upper, np.concatenate([right, -right]), bounds=free, method="highs-ds")
    assert answer.status == 0, answer.message
    return answer.x[:-1]


def _orthonormal(columns: list[list[Real]]) -> tuple[list[list[Real]], list[list[Real]]]:
    """Gram-Schmidt, each column twice: column n = sum over i <= n of triangle[n][i] * basis[i]."""
    basis: list[list[Real]] = []
    triangle: list[list[Real]] = []
    for column in columns:
        row = [mp.mpf(0)] * len(basis)
        for _ in range(2):
            for i, q in enumerate(basis):
                part = mp.fdot(q, column)
                row[i] += part
                column = [v - part * u for v, u in zip(column, q, strict=True)]
        length = mp.sqrt(mp.fdot(column, column))
        triangle.append([*row, length])
        basis.append([v / length for v in column])
    return basis, triangle


def _solve(triangle: list[list[Real]], in_basis: list[Real]) -> list[Real]:
    """Return c with sum(c[n] * column[n]) = sum(in_basis[i] * basis[i])."""
    found = [mp.mpf(0)] * len(in_basis)
    for i in reversed(range(len(in_basis))):
        later = mp.fsum(found[n] * triangle[n][i] for n in range(i + 1, len(in_basis)))
        found[i] = (in_basis[i] - later) / triangle[i][i]
    return found
