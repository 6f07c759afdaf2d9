"""Values every elementary function must hit exactly: zeros with their signs, infinities, NaN, exact results.

Oracle: literals, from IEEE 754-2019 section 9.2 and C99 annex F.
"""

from __future__ import annotations

from math import inf, nan

import numpy as np
import pytest

from functions.ulps import evaluate
from loom.core.dtype import f32

_LARGEST = float.fromhex("0x1.fffffep+127")
_LEAST = 2.0**-149

ONE: dict[str, list[tuple[float, float]]] = {
    "cbrt": [(0.0, 0.0), (-0.0, -0.0), (inf, inf), (-inf, -inf), (8.0, 2.0), (-27.0, -3.0), (2.0**-147, 2.0**-49)],
    "cosh": [(0.0, 1.0), (-0.0, 1.0), (inf, inf), (-inf, inf), (89.5, inf), (_LEAST, 1.0)],
    "erf": [(0.0, 0.0), (-0.0, -0.0), (inf, 1.0), (-inf, -1.0), (4.0, 1.0), (-1e30, -1.0)],
    "erfc": [(0.0, 1.0), (-0.0, 1.0), (inf, 0.0), (-inf, 2.0), (10.5, 0.0), (-5.0, 2.0), (_LEAST, 1.0)],
    "exp": [(0.0, 1.0), (-0.0, 1.0), (inf, inf), (-inf, 0.0), (88.73, inf), (-103.98, 0.0), (-103.5, _LEAST)],
    "exp2": [(0.0, 1.0), (inf, inf), (-inf, 0.0), (128.0, inf), (127.0, 2.0**127), (-149.0, _LEAST), (-150.5, 0.0)],
    "expm1": [(0.0, 0.0), (-0.0, -0.0), (inf, inf), (-inf, -1.0), (88.73, inf), (_LEAST, _LEAST), (-30.0, -1.0)],
    "gelu": [(0.0, 0.0), (-0.0, -0.0), (inf, inf), (-inf, -0.0), (_LARGEST, _LARGEST), (-20.0, -0.0)],
    "gelu_tanh": [(0.0, 0.0), (-0.0, -0.0), (inf, inf), (-inf, -0.0), (_LARGEST, _LARGEST), (-20.0, -0.0)],
    "log": [(1.0, 0.0), (0.0, -inf), (-0.0, -inf), (inf, inf), (-1.0, nan), (-inf, nan), (-_LEAST, nan)],
    "log1p": [(0.0, 0.0), (-0.0, -0.0), (-1.0, -inf), (inf, inf), (-1.5, nan), (-inf, nan), (_LEAST, _LEAST)],
    "log2": [(1.0, 0.0), (0.0, -inf), (-0.0, -inf), (inf, inf), (-1.0, nan), (8.0, 3.0), (_LEAST, -149.0)],
    "rsqrt": [(4.0, 0.5), (0.0, inf), (-0.0, -inf), (inf, 0.0), (-1.0, nan), (-inf, nan)],
    "sigmoid": [(0.0, 0.5), (-0.0, 0.5), (inf, 1.0), (-inf, 0.0), (200.0, 1.0), (-200.0, 0.0), (-103.5, _LEAST)],
    "sinh": [(0.0, 0.0), (-0.0, -0.0), (inf, inf), (-inf, -inf), (89.5, inf), (-89.5, -inf), (_LEAST, _LEAST)],
    "tanh": [(0.0, 0.0), (-0.0, -0.0), (inf, 1.0), (-inf, -1.0), (1e30, 1.0), (-_LEAST, -_LEAST)],
}

POW: list[tuple[float, float, float]] = [
    *((x, 0.0, 1.0) for x in (nan, inf, -inf, 0.0, -0.0, -3.0)), *((1.0, y, 1.0) for y in (nan, inf, -inf, 1e30)),
    (nan, 1.0, nan), (2.0, nan, nan), (0.0, nan, nan), (inf, nan, nan),
    (-1.0, inf, 1.0), (-1.0, -inf, 1.0), (-1.0, 3.0, -1.0), (-1.0, 4.0, 1.0), (-1.0, 1e30, 1.0),
    (0.5, inf, 0.0), (-0.5, inf, 0.0), (2.0, inf, inf), (-2.0, inf, inf), (0.5, -inf, inf), (2.0, -inf, 0.0),
    (0.0, 3.0, 0.0), (-0.0, 3.0, -0.0), (-0.0, 2.0, 0.0), (-0.0, 0.5, 0.0), (0.0, inf, 0.0), (-0.0, inf, 0.0),
    (0.0, -3.0, inf), (-0.0, -3.0, -inf), (-0.0, -2.0, inf), (-0.0, -0.5, inf), (0.0, -inf, inf), (-0.0, -inf, inf),
    (inf, 2.0, inf), (inf, -2.0, 0.0), (inf, inf, inf), (inf, -inf, 0.0), (inf, _LEAST, inf),
    (-inf, 3.0, -inf), (-inf, 2.0, inf), (-inf, 0.5, inf), (-inf, -3.0, -0.0), (-inf, -2.0, 0.0), (-inf, -0.5, 0.0),
    (-8.0, 0.5, nan), (-_LEAST, 1.5, nan), (-2.0, 3.0, -8.0), (-2.0, 2.0, 4.0), (-2.0, -1.0, -0.5),
    (2.0, 127.0, 2.0**127), (2.0, 128.0, inf), (-2.0, 129.0, -inf), (2.0, -149.0, _LEAST), (2.0, -151.0, 0.0),
    (-2.0, -151.0, -0.0), (_LEAST, 1.0, _LEAST), (_LARGEST, 1.0, _LARGEST), (3.0, 5.0, 243.0), (0.25, 0.5, 0.5),
    (1.0 + 2.0**-23, 3e38, inf), (1.0 - 2.0**-24, 3e38, 0.0), (-2.0, 2.0**24 + 2, inf),
]  # fmt: skip


def _same(got: np.ndarray, want: np.ndarray) -> np.ndarray:
    nans = np.isnan(got) & np.isnan(want)
    return nans | (got.view(np.uint32) == want.view(np.uint32))


@pytest.mark.parametrize("name", sorted(ONE))
def test_special_values(name: str) -> None:
    x, want = np.array([*ONE[name], (nan, nan)], f32.numpy).T.copy()
    got = evaluate(name, x)
    assert _same(got, want).all(), [t for t in zip(x, got, want, strict=True) if not _same(*map(np.float32, t[1:]))]


def test_special_powers() -> None:
    x, y, want = np.array(POW, f32.numpy).T.copy()
    got = evaluate("pow", x, y)
    wrong = ~_same(got, want)
    assert not wrong.any(), list(zip(x[wrong], y[wrong], got[wrong], want[wrong], strict=True))


@pytest.mark.parametrize("name", ["exp2", "log2"])
def test_powers_of_two_are_exact(name: str) -> None:
    n = np.arange(-149, 128, dtype=np.float32)
    powers = np.ldexp(np.float32(1), n.astype(np.int32))
    given, want = (n, powers) if name == "exp2" else (powers, n)
    assert (evaluate(name, given).view(np.uint32) == want.view(np.uint32)).all()


@pytest.mark.parametrize("name", ["asin", "atan", "cbrt", "erf", "j1", "sin", "sinh", "tan", "tanh"])
def test_odd_functions_are_odd_in_every_bit(name: str) -> None:
    x = np.random.default_rng(2).integers(0, 0x7F800000, 20_000, dtype=np.uint32).view(np.float32)
    x = x[~np.isnan(evaluate(name, x))]
    there, back = evaluate(name, x), evaluate(name, -x)
    assert (there.view(np.uint32) ^ back.view(np.uint32) == 0x80000000).all()


@pytest.mark.parametrize("name", ["cos", "cosh", "j0"])
def test_even_functions_are_even_in_every_bit(name: str) -> None:
    x = np.random.default_rng(3).integers(0, 0x7F800000, 20_000, dtype=np.uint32).view(np.float32)
    assert (evaluate(name, x).view(np.uint32) == evaluate(name, -x).view(np.uint32)).all()
