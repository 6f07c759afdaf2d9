"""``rolling``: every window folded by its documented order, written again here in numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import loom
from loom.core.errors import ArgumentError, DTypeError, ShapeError
from unit.patterns.canonical import same_bits

Array = np.ndarray[Any, Any]


def numbers(dtype: str, size: int) -> Array:
    rng = np.random.default_rng(size)
    if dtype.startswith("float"):
        return (rng.normal(size=size) * 10.0 ** rng.uniform(-2, 1, size)).astype(dtype)
    return rng.integers(0, 2 if dtype == "bool" else 100, size).astype(dtype)


def one_sum(x: Array, start: int, window: int) -> Any:
    """End of the block backwards, beginning of the next one forwards, joined: each a sequence of additions from +0."""
    cut = min(-(-(start + 1) // window) * window, start + window)
    end = begin = x.dtype.type(0)
    for v in x[start:cut][::-1]:
        end = end + v
    for v in x[cut : start + window]:
        begin = begin + v
    return end + begin if cut < start + window else end


@pytest.mark.parametrize(
    "dtype",
    ["float32", pytest.param("float16", marks=pytest.mark.slow), pytest.param("float64", marks=pytest.mark.slow)],
)
def test_sums_and_means_have_the_bits_of_the_documented_order(place: str, dtype: str) -> None:
    for size, window in ((1, 1), (2, 1), (7, 3), (257, 1), (257, 8), (257, 129), (257, 256), (257, 257)):
        x = numbers(dtype, size)
        wide = x.astype(np.float32) if dtype == "float16" else x
        sums = np.array([one_sum(wide, i, window) for i in range(size - window + 1)])
        rolled = loom.data.rolling(x, window, on=place)
        assert same_bits(rolled.sum(), sums.astype(dtype)), (size, window)
        assert same_bits(rolled.mean(), (sums / wide.dtype.type(window)).astype(dtype)), (size, window)


@pytest.mark.parametrize(
    "dtype",
    [
        "int32",
        "float32",
        pytest.param("bool", marks=pytest.mark.slow),
        pytest.param("int8", marks=pytest.mark.slow),
        pytest.param("uint16", marks=pytest.mark.slow),
        pytest.param("int64", marks=pytest.mark.slow),
        pytest.param("float16", marks=pytest.mark.slow),
    ],
)
def test_extremes_and_integers(place: str, dtype: str) -> None:
    for size, window in ((257, 1), (257, 5), (4500, 64), (9000, 4097)) if place == "cpu" else ((257, 5),):
        x = numbers(dtype, size)
        views = np.lib.stride_tricks.sliding_window_view(x, window)
        rolled = loom.data.rolling(x, window, on=place)
        assert same_bits(rolled.min(), views.min(1))
        assert same_bits(rolled.max(), views.max(1))
        if x.dtype.kind != "f":
            total = views.sum(1, dtype=np.uint64 if x.dtype.kind == "u" else np.int64)
            assert same_bits(rolled.sum(), total)
            assert same_bits(rolled.mean(), total.astype(np.float64) / window)


def test_nothing_is_subtracted() -> None:
    x = np.array([1e30, 1, 2, 3, np.nan, 4, 5, np.inf, 6, 7, 8], np.float32)
    sums = loom.data.rolling(x, 2).sum()
    assert sums[1:3].tolist() == [3, 5]
    assert np.isnan(sums[3:5]).all()
    assert sums[5] == 9
    assert sums[8:].tolist() == [13, 15]
    assert np.isnan(loom.data.rolling(x, 3).max()[2:5]).all()
    assert same_bits(loom.data.rolling([-0.0, 0.0, -0.0], 2).min(), np.array([-0.0, -0.0]))
    assert same_bits(loom.data.rolling([-0.0, -0.0], 1).sum(), np.zeros(2))  # a sum starts from +0


@pytest.mark.parametrize("window", [1, 10, 1000, 500_001, 1_000_003])
def test_a_million_elements(window: int) -> None:
    x = numbers("int32", 1_000_003)
    running = np.cumsum(np.r_[0, x], dtype=np.int64)
    assert same_bits(loom.data.rolling(x, window).sum(), running[window:] - running[:-window])


def test_arrays_of_a_device() -> None:
    found = loom.data.rolling(loom.array([1.0, 2.0, 3.0]), 2).sum()
    assert isinstance(found, loom.Array)
    assert found.tolist() == [3.0, 5.0]


def test_errors() -> None:
    with pytest.raises(ArgumentError) as error:
        loom.data.rolling([1, 2, 3], 4)
    assert str(error.value) == (
        "[data.rolling, window] out of range: expected 1 to the 3 elements of data, got 4. Pass a shorter window."
    )
    with pytest.raises(ArgumentError, match="expected elements in data, got 1"):
        loom.data.rolling([], 1)
    with pytest.raises(ArgumentError, match="out of range"):
        loom.data.rolling([1], 0)
    with pytest.raises(DTypeError, match=r"not a whole number: expected an int, got 1\.5"):
        loom.data.rolling([1, 2], 1.5)  # type: ignore[arg-type]
    with pytest.raises(ShapeError, match=r"expected 1, got 2, shape \(2, 2\)"):
        loom.data.rolling([[1, 2], [3, 4]], 1)


@pytest.mark.parametrize("ddof", [0, 1])
def test_deviations_are_those_of_each_window_as_numpy_has_them(ddof: int) -> None:
    """Divided by the number of its elements less ``ddof``; the windows that the beginning cuts off too."""
    x = numbers("float64", 12)
    cut = np.lib.stride_tricks.sliding_window_view(x, 4)
    for name in ("var", "std"):
        wanted = getattr(cut, name)(1, ddof=ddof)
        np.testing.assert_allclose(getattr(loom.data.rolling(x, 4), name)(ddof=ddof), wanted, rtol=1e-12)
    partial = loom.data.rolling(x, 4, partial=True).std(ddof=0)
    np.testing.assert_allclose(partial[:4], [x[: k + 1].std() for k in range(4)], rtol=1e-12, atol=1e-12)
