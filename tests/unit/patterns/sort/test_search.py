"""``gpu_unique`` and ``gpu_searchsorted`` against numpy's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import loom
from loom import gpu_searchsorted, gpu_sort, gpu_unique
from loom.core.errors import ArgumentError, DTypeError, ShapeError
from unit.patterns.canonical import same_bits
from unit.patterns.sort.sorted_oracle import DTYPES, numbers

Array = np.ndarray[Any, Any]


def check_unique(x: Array, on: str | None = None) -> None:
    values, inverse, counts = gpu_unique(x, return_inverse=True, return_counts=True, on=on)
    expected = np.unique(x, return_inverse=True, return_counts=True)
    assert values.dtype == x.dtype
    assert np.array_equal(values, expected[0], equal_nan=x.dtype.kind == "f")
    assert inverse.shape == x.shape
    assert same_bits(inverse.reshape(-1), expected[1].reshape(-1))
    assert same_bits(counts, expected[2])
    assert same_bits(gpu_unique(x, on=on), values)


@pytest.mark.parametrize("dtype", DTYPES)
def test_unique_of_every_dtype(dtype: str) -> None:
    for size in (0, 1, 2, 255, 256, 257):
        check_unique(numbers(dtype, size))


@pytest.mark.parametrize("dtype", ["float32", "int16", "uint64"])
def test_unique_of_long_arrays(dtype: str) -> None:
    check_unique(numbers(dtype, 65_537))


def test_unique_of_a_million() -> None:
    check_unique(np.random.default_rng(0).integers(0, 5000, 10**6))


def test_unique_everywhere(place: str) -> None:
    check_unique(numbers("float32", 257 if place == "cpu" else 50), place)


def test_unique_of_equal_and_of_different_elements() -> None:
    check_unique(np.zeros(9000, np.int32))
    check_unique(np.random.default_rng(0).permutation(9000))
    check_unique(np.array([[3, 1], [1, 2]]))


def test_zeros_are_one_number_and_so_are_nans() -> None:
    x = np.array([0.0, np.nan, -0.0, -np.nan, 0.0], np.float64)
    values, counts = gpu_unique(x, return_counts=True)
    assert same_bits(values, np.array([-0.0, np.nan]))
    assert counts.tolist() == [3, 2]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("side", ["left", "right"])
def test_search_in_every_dtype(dtype: str, side: Any) -> None:
    values = numbers(dtype, 130, seed=2)
    for size in (0, 1, 2, 255, 256, 257):
        x = np.sort(numbers(dtype, size))
        assert same_bits(gpu_searchsorted(x, values, side), np.searchsorted(x, values, side))
        ours = gpu_sort(x)
        assert same_bits(gpu_searchsorted(ours, values, side), np.searchsorted(ours, values, side))


def test_search_everywhere(place: str) -> None:
    x, values = np.sort(numbers("float32", 100)), numbers("float32", 70, seed=2)
    for side in ("left", "right"):
        assert same_bits(gpu_searchsorted(x, values, side, on=place), np.searchsorted(x, values, side))


def test_search_in_long_arrays() -> None:
    for size in (65_535, 65_536, 65_537, 10**6):
        x = np.sort(numbers("int32", size))
        values = np.concatenate([numbers("int32", 5000, seed=3), x[::997]])
        assert same_bits(gpu_searchsorted(x, values), np.searchsorted(x, values))


def test_the_result_of_a_search_has_the_shape_of_the_values() -> None:
    assert gpu_searchsorted([1, 2, 3], [[1, 3], [4, 0]], "right").tolist() == [[1, 3], [3, 0]]
    assert gpu_searchsorted([1, 2, 3], 3) == 2
    assert gpu_searchsorted([1.5, 2.5], [2]).tolist() == [1]
    assert gpu_searchsorted([1, 2, 3], []).shape == (0,)


def test_nothing_is_read_outside_an_array_that_is_not_sorted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOOM_CHECK", "1")
    x = numbers("float32", 1000)
    for side in ("left", "right"):
        found = gpu_searchsorted(x, numbers("float32", 500, seed=4), side)
        assert ((found >= 0) & (found <= x.size)).all()


def test_results_stay_on_the_device() -> None:
    x = numbers("int32", 300)
    held = loom.array(x)
    results = gpu_unique(held, return_inverse=True, return_counts=True)
    assert all(isinstance(r, loom.Array) for r in results)
    assert same_bits(results[0].numpy(), np.unique(x))
    assert results[0].data.nbytes == results[0].nbytes
    assert isinstance(gpu_searchsorted(results[0], [1, 2]), loom.Array)


def test_errors() -> None:
    with pytest.raises(ArgumentError) as caught:
        gpu_searchsorted([1, 2], [1], "lefft")
    assert str(caught.value) == (
        "[gpu_searchsorted, side] no side is called 'lefft': expected 'left' or 'right'. Did you mean 'left'?"
    )
    with pytest.raises(DTypeError) as caught_type:
        gpu_searchsorted(np.zeros(3, np.int64), np.zeros(2, np.uint64))
    assert str(caught_type.value) == (
        "[gpu_searchsorted, values] another dtype than sorted: expected i64, got u64. Convert one."
    )
    with pytest.raises(ShapeError, match=r"\[gpu_searchsorted, sorted\] wrong number of dimensions: expected 1, got 2"):
        gpu_searchsorted([[1, 2]], [1])
    assert gpu_searchsorted(np.zeros(3, np.float32), np.ones(2)).tolist() == [3, 3]
    assert gpu_searchsorted([[1, 2], [3, 4]], [[2], [2]]).tolist() == [[1], [0]]
    with pytest.raises(DTypeError, match=r"\[gpu_unique\] complex numbers"):
        gpu_unique(np.zeros(3, np.complex64))
