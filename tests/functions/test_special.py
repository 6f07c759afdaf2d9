"""Values every elementary function must hit exactly: zeros with their signs, infinities, NaN, exact results.

Oracle: literals, from IEEE 754-2019 section 9.2 and C99 annex F.
"""

from __future__ import annotations

from math import inf, nan

import numpy as np
import pytest

from functions.ulps import evaluate
from loom.core.dtype import DType, f32, f64

_LARGEST = float.fromhex("0x1.fffffep+127")
_LEAST = 2.0**-149
_LARGEST64, _LEAST64 = float.fromhex("0x1.fffffffffffffp+1023"), 5e-324

ONE: dict[str, list[tuple[float, float]]] = {
    "acosh": [(1.0, 0.0), (inf, inf), (0.5, nan), (-1.0, nan), (-3.0, nan), (-inf, nan)],
    "asinh": [(0.0, 0.0), (-0.0, -0.0), (inf, inf), (-inf, -inf), (_LEAST, _LEAST)],
    "atanh": [(0.0, 0.0), (-0.0, -0.0), (1.0, inf), (-1.0, -inf), (1.5, nan), (-inf, nan), (-_LEAST, -_LEAST)],
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
    "log10": [(1.0, 0.0), (0.0, -inf), (-0.0, -inf), (inf, inf), (-1.0, nan), *((10.0**n, n) for n in range(11))],
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

_L = _LEAST64
ONE_F64: dict[str, list[tuple[float, float]]] = {
    "acosh": [(1.0, 0.0), (inf, inf), (0.5, nan), (-1.0, nan), (-3.0, nan), (-inf, nan)],
    "asinh": [(0.0, 0.0), (-0.0, -0.0), (inf, inf), (-inf, -inf), (_L, _L)],
    "atanh": [(0.0, 0.0), (-0.0, -0.0), (1.0, inf), (-1.0, -inf), (1.5, nan), (-inf, nan), (-_L, -_L)],
    "acos": [(1.0, 0.0), (-1.0, np.pi), (0.0, np.pi / 2), (1.5, nan), (-inf, nan), (_L, np.pi / 2)],
    "asin": [(0.0, 0.0), (-0.0, -0.0), (1.0, np.pi / 2), (-1.0, -np.pi / 2), (1.5, nan), (inf, nan), (_L, _L)],
    "atan": [(0.0, 0.0), (-0.0, -0.0), (inf, np.pi / 2), (-inf, -np.pi / 2), (1.0, np.pi / 4), (-_L, -_L)],
    "cbrt": [(0.0, 0.0), (-0.0, -0.0), (inf, inf), (-inf, -inf), (8.0, 2.0), (-27.0, -3.0), (2.0**-1074, 2.0**-358)],
    "cos": [(0.0, 1.0), (-0.0, 1.0), (inf, nan), (-inf, nan), (_L, 1.0)],
    "cosh": [(0.0, 1.0), (-0.0, 1.0), (inf, inf), (-inf, inf), (711.0, inf), (1e-30, 1.0)],
    "erf": [(0.0, 0.0), (-0.0, -0.0), (inf, 1.0), (-inf, -1.0), (6.0, 1.0), (-1e30, -1.0)],
    "erfc": [(0.0, 1.0), (-0.0, 1.0), (inf, 0.0), (-inf, 2.0), (27.3, 0.0), (-6.0, 2.0), (_L, 1.0)],
    "exp": [(0.0, 1.0), (-0.0, 1.0), (inf, inf), (-inf, 0.0), (709.8, inf), (-745.2, 0.0), (-745.0, _L)],
    "exp2": [(0.0, 1.0), (3.0, 8.0), (inf, inf), (-inf, 0.0), (1024.0, inf), (-1074.0, _L), (-1075.5, 0.0)],
    "expm1": [(0.0, 0.0), (-0.0, -0.0), (inf, inf), (-inf, -1.0), (709.8, inf), (-_L, -_L), (-1e-17, -1e-17)],
    "gelu": [(0.0, 0.0), (-0.0, -0.0), (inf, inf), (-inf, -0.0), (_LARGEST64, _LARGEST64), (-40.0, -0.0)],
    "gelu_tanh": [(0.0, 0.0), (-0.0, -0.0), (inf, inf), (-inf, -0.0), (_LARGEST64, _LARGEST64), (-40.0, -0.0)],
    "log": [(1.0, 0.0), (0.0, -inf), (-0.0, -inf), (inf, inf), (-1.0, nan), (-inf, nan), (-_L, nan)],
    "log1p": [(0.0, 0.0), (-0.0, -0.0), (-1.0, -inf), (inf, inf), (-1.5, nan), (-inf, nan), (_L, _L)],
    "log10": [(1.0, 0.0), (0.0, -inf), (-0.0, -inf), (inf, inf), (-1.0, nan), *((10.0**n, n) for n in range(23))],
    "log2": [(1.0, 0.0), (0.0, -inf), (-0.0, -inf), (inf, inf), (-1.0, nan), (8.0, 3.0), (_L, -1074.0)],
    "rsqrt": [(4.0, 0.5), (0.0, inf), (-0.0, -inf), (inf, 0.0), (-1.0, nan), (-inf, nan)],
    "sigmoid": [(0.0, 0.5), (-0.0, 0.5), (inf, 1.0), (-inf, 0.0), (1e300, 1.0), (-1e300, 0.0), (-745.0, _L)],
    "sin": [(0.0, 0.0), (-0.0, -0.0), (inf, nan), (-inf, nan), (_L, _L), (-_L, -_L)],
    "sinh": [(0.0, 0.0), (-0.0, -0.0), (inf, inf), (-inf, -inf), (711.0, inf), (-711.0, -inf), (1e-30, 1e-30)],
    "tan": [(0.0, 0.0), (-0.0, -0.0), (inf, nan), (-inf, nan), (_L, _L), (-_L, -_L)],
    "tanh": [(0.0, 0.0), (-0.0, -0.0), (inf, 1.0), (-inf, -1.0), (1e30, 1.0), (-_L, -_L)],
}  # fmt: skip

POW_F64: list[tuple[float, float, float]] = [
    (10.0, 15.0, 1e15), (10.0, 22.0, 1e22), (3.0, 33.0, 3.0**33), (7.0, -1.0, 1 / 7), (-2.0, 3.0, -8.0),
    (0.0, 0.0, 1.0), (2.0, 1023.0, 2.0**1023), (2.0, 1024.0, inf), (2.0, -1074.0, _L), (2.0, -1076.0, 0.0),
    (-2.0, -1075.5, nan), (-2.0, -1077.0, -0.0), (_L, 1.0, _L), (_LARGEST64, 1.0, _LARGEST64), (0.25, 0.5, 0.5),
    (1.0 + 2.0**-52, 1e300, inf), (1.0 - 2.0**-53, 1e300, 0.0), (-1.0, 2.0**53 + 2, 1.0), (-1.0, 2.0**53 - 1, -1.0),
    (inf, _L, inf), (-inf, 3.0, -inf), (-_L, 1.5, nan), (-0.0, 3.0, -0.0), (-0.0, -3.0, -inf), (nan, 0.0, 1.0),
]  # fmt: skip


def _same(got: np.ndarray, want: np.ndarray) -> np.ndarray:
    nans = np.isnan(got) & np.isnan(want)
    carrier = np.uint32 if got.dtype == np.float32 else np.uint64
    return nans | (got.view(carrier) == want.view(carrier))


def _check(name: str, rows: list[tuple[float, float]], dtype: DType) -> None:
    x, want = np.array([*rows, (nan, nan)], dtype.numpy).T.copy()
    got = evaluate(name, x)
    wrong = ~_same(got, want)
    assert not wrong.any(), list(zip(x[wrong], got[wrong], want[wrong], strict=True))


@pytest.mark.parametrize("name", sorted(ONE))
def test_special_values(name: str) -> None:
    _check(name, ONE[name], f32)


@pytest.mark.parametrize("name", sorted(ONE_F64))
def test_special_values_of_f64(name: str) -> None:
    _check(name, ONE_F64[name], f64)


@pytest.mark.parametrize(("rows", "dtype"), [(POW, f32), (POW_F64, f64)], ids=["f32", "f64"])
def test_special_powers(rows: list[tuple[float, float, float]], dtype: DType) -> None:
    x, y, want = np.array(rows, dtype.numpy).T.copy()
    got = evaluate("pow", x, y)
    wrong = ~_same(got, want)
    assert not wrong.any(), list(zip(x[wrong], y[wrong], got[wrong], want[wrong], strict=True))


@pytest.mark.parametrize("dtype", [f32, f64], ids=str)
@pytest.mark.parametrize("name", ["exp2", "log2"])
def test_powers_of_two_are_exact(name: str, dtype: DType) -> None:
    n = np.arange(*((-149, 128) if dtype == f32 else (-1074, 1024))).astype(dtype.numpy)
    powers = np.ldexp(dtype.numpy.type(1), n.astype(np.int32))
    given, want = (n, powers) if name == "exp2" else (powers, n)
    assert _same(evaluate(name, given), want).all()


HYPOT = [(0.0, 0.0, 0.0), (-0.0, -0.0, 0.0), (3.0, -4.0, 5.0), (inf, nan, inf), (nan, -inf, inf),
         (nan, 0.0, nan), (-5.0, 12.0, 13.0), (0.0, -7.0, 7.0), (2.0**126, 2.0**-149, 2.0**126),
         (2.0**-149, 0.0, 2.0**-149)]  # fmt: skip


@pytest.mark.parametrize("dtype", [f32, f64], ids=str)
def test_special_lengths(dtype: DType) -> None:
    x, y, want = np.array(HYPOT, dtype.numpy).T.copy()
    assert _same(evaluate("hypot", x, y), want).all()


@pytest.mark.parametrize("dtype", [f32, f64], ids=str)
@pytest.mark.parametrize("name", ["copysign", "fmod", "nextafter"])
def test_exact_functions(name: str, dtype: DType) -> None:
    """Oracle: numpy, whose three are the C library's, bit for bit; anything with anything, near ones, specials."""
    rng = np.random.default_rng(5)
    bits = dtype.bits_numpy
    x, y = rng.integers(0, 1 << dtype.bits, (2, 60_000), dtype=np.uint64).astype(bits).view(dtype.numpy)
    with np.errstate(all="ignore"):
        y[:20_000] = (x[:20_000] * rng.uniform(1e-3, 3, 20_000)).astype(dtype.numpy)
    x[20_000:30_000], y[20_000:30_000] = rng.integers(-9, 9, 10_000), rng.integers(-4, 4, 10_000)
    info = np.finfo(dtype.numpy)
    specials = np.array([0.0, -0.0, inf, -inf, nan, 1.0, -1.0, info.max, info.tiny, info.smallest_subnormal])
    pairs = np.stack([a.ravel() for a in np.meshgrid(specials, specials)]).astype(dtype.numpy)
    x, y = (np.concatenate([a, p]) for a, p in zip((x, y), pairs, strict=True))
    with np.errstate(all="ignore"):
        want = getattr(np, name)(x, y)
    assert _same(evaluate(name, x, y), want).all()


@pytest.mark.parametrize("dtype", ["i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8"])
def test_powers_of_integers(dtype: str) -> None:
    rng = np.random.default_rng(6)
    info = np.iinfo(dtype)
    x = rng.integers(max(-12, info.min), 12, 4000).astype(dtype)
    y = rng.integers(0, 100, 4000).astype(dtype)
    want = [pow(int(a), int(b), 1 << info.bits) for a, b in zip(x, y, strict=True)]
    assert (evaluate("ipow", x, y).astype(np.dtype(dtype)).view(f"u{info.bits // 8}") == want).all()
    if info.min < 0:
        a, b = np.array([1, -1, -1, 2, 0, -5], dtype), np.array([-3, -3, -2, -1, -1, -2], dtype)
        assert evaluate("ipow", a, b).tolist() == [1, -1, 1, 0, 0, 0]


def test_whole_powers_that_are_numbers_come_out_exact() -> None:
    """Of f64, whose powers are within a thousandth of a unit before their one rounding; Python's integers decide."""
    pairs = [(a, k) for a in range(2, 100) for k in range(1, 60) if a**k < 2**53]
    x, y = np.array(pairs, np.float64).T.copy()
    want = np.array([float(a**k) for a, k in pairs])
    assert (evaluate("pow", x, y) == want).all()
    assert (evaluate("pow", want, 1.0 / y)[y == 1] == x[y == 1]).all()


def test_zeros_of_gamma_far_below_have_the_right_sign() -> None:
    """Between -n - 1 and -n gamma is negative for even n; halves are floats below 2^52."""
    n = np.array([2**k + d for k in (8, 31, 32, 33, 40, 51) for d in (0, 1, 2, 3)])
    got = evaluate("gamma", -(n + 0.5))
    assert (got == 0).all()
    assert np.signbit(got).tolist() == (n % 2 == 0).tolist()
    single = evaluate("gamma", -(n[n < 2**22] + 0.5).astype(np.float32))
    assert np.signbit(single).tolist() == (n[n < 2**22] % 2 == 0).tolist()


def _positive(seed: int) -> list[np.ndarray]:
    """Return positive finite numbers of every exponent, in f32 and f64."""
    rng = np.random.default_rng(seed)
    single = rng.integers(0, 0x7F800000, 20_000, dtype=np.uint32).view(np.float32)
    return [single, rng.integers(0, 0x7FF << 52, 20_000, dtype=np.uint64).view(np.float64)]


@pytest.mark.parametrize("name", ["asin", "asinh", "atan", "atanh", "cbrt", "erf", "j1", "sin", "sinh", "tan", "tanh"])
def test_odd_functions_are_odd_in_every_bit(name: str) -> None:
    for x in _positive(2):
        x = x[~np.isnan(evaluate(name, x))]
        assert _same(evaluate(name, x), -evaluate(name, -x)).all()


@pytest.mark.parametrize("name", ["cos", "cosh", "j0"])
def test_even_functions_are_even_in_every_bit(name: str) -> None:
    for x in _positive(3):
        assert _same(evaluate(name, x), evaluate(name, -x)).all()
