"""``covariance`` and ``correlation``: canonical sums of products of deviations, beside numpy and scipy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.stats

import loom
from loom.core.errors import ArgumentError, DTypeError, EmptyError, ShapeError
from unit.patterns.canonical import canonical_sum, same_bits

Array = np.ndarray[Any, Any]


def pair(dtype: str, size: int) -> tuple[Array, Array]:
    rng = np.random.default_rng(size)
    if "int" in dtype:
        return tuple(rng.integers(0, 99, size).astype(dtype) for _ in range(2))  # type: ignore[return-value]
    x = rng.normal(size=size) * 10.0 ** rng.uniform(-2, 1, size)
    return x.astype(dtype), (x * 0.5 + rng.normal(size=size)).astype(dtype)


def expected(x: Array, y: Array) -> tuple[Any, Any, Any]:
    """The sums of products xx, xy, yy, in the canonical order and the type computed in."""
    wide = np.float64 if x.dtype.kind != "f" or x.dtype == np.float64 else np.float32
    a, b = x.astype(wide), y.astype(wide)
    a, b = a - canonical_sum(a) / wide(a.size), b - canonical_sum(b) / wide(b.size)
    return canonical_sum(a * a), canonical_sum(a * b), canonical_sum(b * b)


@pytest.mark.parametrize(
    "dtype",
    [
        "float32",
        pytest.param("float16", marks=pytest.mark.slow),
        pytest.param("float64", marks=pytest.mark.slow),
        pytest.param("int32", marks=pytest.mark.slow),
        pytest.param("uint8", marks=pytest.mark.slow),
    ],
)
def test_pairs_have_the_bits_of_the_canonical_order(place: str, dtype: str) -> None:
    for size in (2, 65, 257, 4097, 9000) if place == "cpu" else (2, 257):
        x, y = pair(dtype, size)
        xx, xy, yy = expected(x, y)
        kind = x.dtype if dtype.startswith("float") else np.dtype(np.float64)
        left = xy.dtype.type(size - 1)
        r = np.clip(xy / np.sqrt(xx * yy), -1, 1)
        assert same_bits(loom.stats.covariance(x, y, on=place), (xy / left).astype(kind)), size
        assert same_bits(loom.stats.correlation(x, y, on=place), r.astype(kind)), size


def test_a_matrix_has_the_bits_of_its_pairs(place: str) -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(5, 300)).astype(np.float32)
    covariances, correlations = loom.stats.covariance(x, on=place), loom.stats.correlation(x, on=place)
    for i in range(5):
        assert correlations[i, i] == 1
        for j in range(i):
            assert same_bits(covariances[i, j], loom.stats.covariance(x[j], x[i], on=place))
            assert same_bits(correlations[j, i], loom.stats.correlation(x[j], x[i], on=place))
    assert (covariances == covariances.T).all()
    assert (correlations == correlations.T).all()


@pytest.mark.parametrize("n", [2, 257, 65_537])
def test_numpy_and_scipy_agree(n: int) -> None:
    x = np.random.default_rng(n).normal(size=(6, n))
    close = {"rtol": 1e-11, "atol": 1e-12}  # n eps of sums of products of order 1
    np.testing.assert_allclose(loom.stats.covariance(x), np.cov(x), **close)
    np.testing.assert_allclose(loom.stats.covariance(x, ddof=0), np.cov(x, ddof=0), **close)
    np.testing.assert_allclose(loom.stats.correlation(x), np.corrcoef(x), **close)
    np.testing.assert_allclose(loom.stats.correlation(x[0], x[1]), scipy.stats.pearsonr(x[0], x[1])[0], **close)


def test_a_million_observations() -> None:
    x, y = pair("float32", 1_000_003)
    xx, xy, yy = expected(x, y)
    assert same_bits(loom.stats.correlation(x, y), xy / np.sqrt(xx * yy))


def test_special_values_and_shapes() -> None:
    assert np.isnan(loom.stats.correlation([1.0, 1.0], [1.0, 2.0]))
    assert np.isnan(loom.stats.covariance([1.0, np.nan], [1.0, 2.0]))
    found = loom.stats.correlation(np.array([[1.0, 2.0, 4.0], [5.0, 5.0, 5.0]]))
    assert found[0, 0] == 1
    assert np.isnan(found[[0, 1, 1], [1, 0, 1]]).all()
    assert loom.stats.correlation([1.0, 2.0, 3.0], [-1.0, -2.0, -3.0]) == -1
    for scale in (1e-150, 1e-100, 1e150):  # the product of the sums of squares is no number
        found = loom.stats.correlation(np.array([1.0, 2.0, 4.0]) * scale, np.array([2.0, 1.0, 0.0]) * scale)
        np.testing.assert_allclose(found, np.corrcoef([1, 2, 4], [2, 1, 0])[0, 1], rtol=1e-15)
    assert loom.stats.covariance(np.zeros((0, 5))).shape == (0, 0)
    square = np.arange(4.0).reshape(2, 2)
    assert loom.stats.covariance(square, square.T) == np.cov(square.ravel(), square.T.ravel())[0, 1]
    assert isinstance(loom.stats.covariance(loom.array(square)), loom.Array)
    assert loom.stats.correlation(loom.array([1.0, 2.0]), loom.array([3.0, 4.0])).item() == 1


@pytest.mark.parametrize("scale", [1e-15, 1e-12, 1e-11, 1e-10, 1e12])
def test_products_that_f32_does_not_hold_spoil_no_correlation(scale: float) -> None:
    """The product of both sums is subnormal, zero or infinite: two roots are taken in its place."""
    x, y = (np.array(each, np.float32) * np.float32(scale) for each in ([1, 2, 4], [2, 1, 0]))
    wanted = np.corrcoef(x.astype(np.float64), y.astype(np.float64))[0, 1]
    np.testing.assert_allclose(loom.stats.correlation(x, y), wanted, rtol=1e-6)
    np.testing.assert_allclose(loom.stats.correlation(np.stack([x, y]))[0, 1], wanted, rtol=1e-6)


def test_errors() -> None:
    with pytest.raises(ShapeError) as error:
        loom.stats.covariance([1.0, 2.0], [1.0])
    assert str(error.value) == (
        "[stats.covariance] arrays of different shapes: expected (2,), got (1,). Pair the observations."
    )
    with pytest.raises(DTypeError, match="arrays of different types: expected i64, got f64"):
        loom.stats.correlation([1, 2], [1.0, 2.0])
    with pytest.raises(EmptyError, match=r"\[stats.correlation\] no observations: expected at least 1, got 0"):
        loom.stats.correlation([], [])
    with pytest.raises(EmptyError, match="no observations"):
        loom.stats.covariance(np.zeros((3, 0)))
    with pytest.raises(ArgumentError, match="expected 0 for one element, got 1"):
        loom.stats.covariance([1.0], [1.0])
    with pytest.raises(ShapeError, match=r"wrong number of dimensions: expected 2, got 1, shape \(3,\)"):
        loom.stats.covariance([1.0, 2.0, 3.0])
