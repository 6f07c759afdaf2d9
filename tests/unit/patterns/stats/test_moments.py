"""``mean``, ``variance``, ``std``, ``zscore``: exact bits by the canonical order, and numpy's and scipy's numbers.

Tolerances: a sum of n terms in any order is off by at most n eps times the sum of magnitudes, in practice by far
less; against float64 references the float32 results are held to 2^-20 of the scale.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.stats

import loom
from loom.core.errors import ArgumentError, DTypeError, EmptyError
from unit.patterns.canonical import canonical_sum, same_bits

Array = np.ndarray[Any, Any]
SMALL = (1, 2, 63, 64, 65, 255, 256, 257, 4095, 4097)


def numbers(dtype: str, size: Any, seed: int = 0) -> Array:
    rng = np.random.default_rng([seed, int(dtype[-1])])
    if "int" in dtype:
        return rng.integers(0, 100, size).astype(dtype)
    return (rng.normal(size=size) * 10.0 ** rng.uniform(-2, 1, size)).astype(dtype)


def expected(x: Array, ddof: int = 0) -> tuple[Any, Any, Any, Array]:
    """Mean, variance, std and z-scores as promised, in the canonical order, from numpy scalars."""
    wide = x.astype(np.float64 if x.dtype.kind not in "f" else np.float32 if x.dtype == np.float16 else x.dtype)
    kind = x.dtype if x.dtype.kind == "f" else np.dtype(np.float64)
    n, left = wide.dtype.type(x.size), wide.dtype.type(x.size - ddof)
    with np.errstate(all="ignore"):
        mean = canonical_sum(wide) / n
        variance = canonical_sum((wide - mean) ** 2) / left
        scores = (wide - mean) / np.sqrt(variance)
    return mean.astype(kind), variance.astype(kind), np.sqrt(variance).astype(kind), scores.astype(kind)


@pytest.mark.parametrize(
    "dtype",
    [
        "float32",
        "int32",
        pytest.param("float16", marks=pytest.mark.slow),
        pytest.param("float64", marks=pytest.mark.slow),
        pytest.param("uint8", marks=pytest.mark.slow),
        pytest.param("int64", marks=pytest.mark.slow),
    ],
)
def test_the_bits_of_the_canonical_order(place: str, dtype: str) -> None:
    for size in SMALL if place == "cpu" else (1, 65, 257, 4097):
        x = numbers(dtype, size)
        mean, variance, std, scores = expected(x)
        assert same_bits(loom.stats.mean(x, on=place), mean), size
        assert same_bits(loom.stats.variance(x, on=place), variance), size
        assert same_bits(loom.stats.std(x, on=place), std), size
        assert same_bits(loom.stats.zscore(x, on=place), scores), size


@pytest.mark.parametrize("size", [65_537, 1_000_003])
def test_long_arrays(size: int) -> None:
    x = numbers("float32", size)
    mean, variance, std, scores = expected(x, ddof=1)
    assert same_bits(loom.stats.mean(x), mean)
    assert same_bits(loom.stats.variance(x, ddof=1), variance)
    assert same_bits(loom.stats.std(x, ddof=1), std)
    assert same_bits(loom.stats.zscore(x, ddof=1), scores)


@pytest.mark.parametrize("shape", [(7, 5000), (5, 300), (400, 3), (3, 4, 70), (2, 300, 70)])
@pytest.mark.parametrize("dtype", ["float32", pytest.param("float16", marks=pytest.mark.slow)])
def test_a_row_has_the_bits_it_has_alone(place: str, shape: tuple[int, ...], dtype: str) -> None:
    if place == "interp" and np.prod(shape) > 5000:
        pytest.skip("the interpreter takes its time for so many elements; smaller ones are compared")
    x = numbers(dtype, shape)
    for axis in range(-1, len(shape) - 1):
        rows = np.moveaxis(x, axis, -1).reshape(-1, x.shape[axis])[:20]
        means, stds = (f(x, axis, on=place) for f in (loom.stats.mean, loom.stats.std))
        scores = np.moveaxis(loom.stats.zscore(x, axis, on=place), axis, -1).reshape(-1, x.shape[axis])[:20]
        for n, row in enumerate(rows):
            mean, _, std, zs = expected(row)
            assert same_bits(means.reshape(-1)[n], mean)
            assert same_bits(stds.reshape(-1)[n], std)
            assert same_bits(scores[n], zs)


@pytest.mark.parametrize("axis", [None, 0, 1, 2, -2])
def test_numpy_and_scipy_agree(axis: int | None) -> None:
    x = numbers("float64", (4, 50, 30))
    close = {"rtol": 1e-12, "atol": 1e-12}
    np.testing.assert_allclose(loom.stats.mean(x, axis), x.mean(axis), **close)
    np.testing.assert_allclose(loom.stats.variance(x, axis, ddof=2), x.var(axis, ddof=2), **close)
    np.testing.assert_allclose(loom.stats.std(x, axis), x.std(axis), **close)
    np.testing.assert_allclose(loom.stats.zscore(x, axis), scipy.stats.zscore(x, axis), **close)


def test_two_passes_lose_nothing_to_a_large_mean() -> None:
    x = numbers("float64", 10_000) + 1e9
    assert abs(loom.stats.variance(x) / (x - 1e9).var() - 1) < 1e-6  # the sum of squares less n mean^2: no digit left


def test_special_values(place: str) -> None:
    nan = np.float32(np.nan)
    x = np.array([1, 2, nan, 4], np.float32)
    for f in (loom.stats.mean, loom.stats.variance, loom.stats.std):
        assert np.isnan(f(x, on=place))
    assert np.isnan(loom.stats.zscore(x, on=place)).all()
    assert np.isnan(loom.stats.zscore(np.ones(5, np.float32), on=place)).all()
    assert loom.stats.variance(np.full(5, 7, np.float32), on=place) == 0
    assert np.isnan(loom.stats.variance([np.inf, 1.0], on=place))
    rows = loom.stats.mean(np.array([[1, nan], [1, 2]], np.float32), 1, on=place)
    assert np.isnan(rows[0])
    assert rows[1] == 1.5


def test_bools_and_arrays_of_a_device() -> None:
    assert same_bits(loom.stats.mean([True, False, True, True]), np.float64(0.75))
    x = loom.array(np.arange(6.0, dtype=np.float32).reshape(2, 3))
    found = loom.stats.mean(x, axis=1)
    assert isinstance(found, loom.Array)
    assert found.tolist() == [1.0, 4.0]
    assert isinstance(loom.stats.zscore(x), loom.Array)
    assert loom.stats.std(x).item() == np.float32(np.arange(6.0).std())


def test_nothing_and_one() -> None:
    assert loom.stats.zscore([]).shape == (0,)
    assert loom.stats.mean(np.zeros((0, 5), np.float32), axis=1).shape == (0,)
    assert loom.stats.variance([3.0]) == 0
    for f in (loom.stats.mean, loom.stats.variance, loom.stats.std):
        with pytest.raises(
            EmptyError, match=r"no elements to take the \w+( deviation)? of: expected at least 1, got 0"
        ):
            f(np.zeros((5, 0), np.float32), axis=1)


def test_errors() -> None:
    with pytest.raises(EmptyError) as error:
        loom.stats.mean([])
    assert str(error.value) == (
        "[stats.mean] no elements to take the mean of: expected at least 1, got 0. Check for emptiness first."
    )
    with pytest.raises(ArgumentError) as wrong:
        loom.stats.variance([1.0, 2.0], ddof=2)
    assert str(wrong.value) == (
        "[stats.variance, ddof] no degree of freedom is left: expected less than the 2 elements, got 2. "
        "Pass a smaller ddof or more elements."
    )
    with pytest.raises(ArgumentError, match="expected 0 for one element, got 1"):
        loom.stats.std([1.0], ddof=1)
    with pytest.raises(ArgumentError, match=r"ddof\] unusable: expected a whole number of at least 0, got -1"):
        loom.stats.zscore([1.0, 2.0], ddof=-1)
    with pytest.raises(ArgumentError, match=r"\[stats.mean, axis\] there is no such axis"):
        loom.stats.mean([1.0], axis=1)
    with pytest.raises(DTypeError, match="complex numbers: expected bools, ints or floats"):
        loom.stats.mean(np.ones(3, complex))
