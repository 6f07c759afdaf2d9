"""Cosines and sines of fractions of a turn: correctly rounded, by mpmath with 300 bits."""

from __future__ import annotations

from typing import Any

import mpmath
import numpy as np
import pytest

from loom.core.turns import cos_sin_of_ratio, cos_sin_of_turns, roots_of_unity

Array = np.ndarray[Any, Any]

BITS = {np.float32: 24, np.float64: 53}


def exact(turns: Any, dtype: Any) -> tuple[float, float]:
    """Cosine and sine of an exact number of turns, rounded once; zeros where they are zeros."""
    with mpmath.workprec(300):
        quarters = turns * 4
        angle = mpmath.pi * 2 * turns
        zero_cos = quarters == mpmath.floor(quarters) and int(quarters) % 2 == 1
        zero_sin = quarters == mpmath.floor(quarters) and int(quarters) % 2 == 0
        pair = (mpmath.mpf(0) if zero_cos else mpmath.cos(angle)), (mpmath.mpf(0) if zero_sin else mpmath.sin(angle))
    with mpmath.workprec(BITS[dtype]):
        return float(+pair[0]), float(+pair[1])


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=lambda t: t.__name__)
@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 7, 8, 12, 24, 100, 257, 1 << 16, 65_537, 100_000, 1_000_003])
def test_roots_of_unity_are_correctly_rounded(n: int, dtype: Any) -> None:
    re, im = roots_of_unity(n, dtype)
    assert re.shape == im.shape == (n,)
    assert re.dtype == im.dtype == dtype
    some = np.arange(n) if n < 101 else np.random.default_rng(n).integers(0, n, 40)
    for k in some.tolist():
        with mpmath.workprec(300):
            turns = mpmath.mpf(k) / n
        cosine, sine = exact(turns, dtype)
        assert (float(re[k]), float(im[k])) == (cosine, -sine), k
    assert not np.signbit(re[re == 0]).any()
    assert not np.signbit(im[im == 0]).any()


def test_whole_tables_have_their_symmetries() -> None:
    for n in (4096, 5040, 65_537, 99_990):
        re, im = roots_of_unity(n, np.float64)
        k = np.arange(1, n)
        assert np.array_equal(re[k], re[n - k])
        assert np.array_equal(im[k], -im[n - k])
        with np.errstate(all="ignore"):
            assert (abs(re * re + im * im - 1) < 4e-16).all()


def test_any_double_is_taken_as_the_number_it_is() -> None:
    rng = np.random.default_rng(1)
    turns = np.concatenate([rng.normal(size=60) * 2.0 ** rng.integers(-40, 40, 60), [0.0, -0.25, 0.125, 1e-300, 3.75]])
    cosine, sine = cos_sin_of_turns(turns)
    for t, c, s in zip(turns.tolist(), cosine.tolist(), sine.tolist(), strict=True):
        assert (c, s) == exact(mpmath.mpf(t), np.float64), t


def test_ratios_are_reduced_exactly() -> None:
    far = np.array([0, 1, 2, 3]) + 7 * 10**12
    assert np.array_equal(cos_sin_of_ratio(far, 7)[0], cos_sin_of_ratio([0, 1, 2, 3], 7)[0])
    assert np.array_equal(cos_sin_of_ratio([-1], 7)[1], -cos_sin_of_ratio([1], 7)[1])


def test_rounding_to_f32_does_not_go_through_f64() -> None:
    # a midpoint of two floats, moved by less than an ulp of f64, as a pair
    from loom.core.turns import round_pair

    middle = 1.0 + 2.0**-24
    pairs = np.array([middle, middle, middle]), np.array([0.0, 2.0**-80, -(2.0**-80)])
    assert round_pair(pairs, np.float32).tolist() == [1.0, 1.0 + 2.0**-23, 1.0]
    upper = 1.0 + 3 * 2.0**-24
    pairs = np.array([upper, upper, -upper]), np.array([0.0, -(2.0**-80), 2.0**-80])
    assert round_pair(pairs, np.float32).tolist() == [1.0 + 2.0**-22, 1.0 + 2.0**-23, -(1.0 + 2.0**-23)]
