"""``gpu_topk`` and ``gpu_partition``: the front of a stable sort, and parts in their original order."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import loom
from loom import gpu_max, gpu_partition, gpu_topk
from loom.core.errors import ArgumentError, DTypeError
from unit.patterns.canonical import same_bits
from unit.patterns.sort.sorted_oracle import DTYPES, numbers, order

Array = np.ndarray[Any, Any]


def check_topk(x: Array, k: int, on: str | None = None, ways: tuple[bool, ...] = (True, False)) -> None:
    for largest in ways:
        expected = order(x, descending=largest)[:k]
        values, positions = gpu_topk(x, k, largest=largest, on=on)
        assert same_bits(values, x[expected]), (x.size, k)
        assert same_bits(positions, expected), (x.size, k)


def parts(x: Array, k: int) -> Array:
    """Return the three parts around the element of rank k, each in its original order."""
    places = order(x)
    rank = np.empty(x.size, np.int64)
    rank[places] = np.arange(x.size)
    bits = x.view(f"u{x.itemsize}")
    same = np.isnan(x) if x.dtype.kind == "f" and np.isnan(x[places[k]]) else bits == bits[places[k]]
    below = ~same & (rank < k)
    return np.concatenate([x[below], x[same], x[~same & ~below]])


@pytest.mark.parametrize("dtype", DTYPES)
def test_topk_of_every_dtype(dtype: str) -> None:
    for size in (1, 2, 255, 256, 257):
        x = numbers(dtype, size)
        for k in {0, 1, size // 2, size}:
            check_topk(x, k, ways=(x.itemsize % 3 == 1,))
    assert [a.size for a in gpu_topk(numbers(dtype, 0), 0)] == [0, 0]


def test_topk_everywhere(place: str) -> None:
    x = numbers("float32", 257 if place == "cpu" else 40)
    check_topk(x, 5, place)


@pytest.mark.parametrize("dtype", ["float32", "uint8", "int64"])
def test_topk_of_long_arrays(dtype: str) -> None:
    x = numbers(dtype, 65_537)
    for k in (1, 100, 30_000):
        check_topk(x, k)


def test_topk_of_a_million() -> None:
    check_topk(numbers("float32", 10**6), 1000)


def test_the_first_of_equal_elements_comes_first() -> None:
    x = np.array([1, 9, 9, 1, 9, 1] * 2000, np.int16)
    values, positions = gpu_topk(x, 3)
    assert (values.tolist(), positions.tolist()) == ([9, 9, 9], [1, 2, 4])
    values, positions = gpu_topk(x, 2, largest=False)
    assert (values.tolist(), positions.tolist()) == ([1, 1], [0, 3])


def test_nan_is_the_largest_as_in_gpu_max() -> None:
    x = np.array([1, np.nan, np.inf, -0.0, 0.0], np.float32)
    values, positions = gpu_topk(x, 4)
    assert same_bits(values[0], gpu_max(x))
    assert positions.tolist() == [1, 2, 0, 4]


@pytest.mark.parametrize("dtype", DTYPES)
def test_partitions_of_every_dtype(dtype: str) -> None:
    for size in (1, 2, 257):
        x = numbers(dtype, size)
        for k in {0, size // 3, size - 1}:
            assert same_bits(gpu_partition(x, k), parts(x, k)), (size, k)


def test_partitions_are_what_numpy_promises() -> None:
    x = np.random.default_rng(1).integers(0, 50, 70_001)
    for k in (0, 1, 35_000, 70_000, -1):
        found = gpu_partition(x, k)
        assert found[k] == np.partition(x, k)[k]
        assert (found[: k % x.size] <= found[k]).all()
        assert (found[k:] >= found[k]).all()
        assert same_bits(found, parts(x, k % x.size))


def test_partition_everywhere(place: str) -> None:
    x = numbers("float32", 257 if place == "cpu" else 60)
    assert same_bits(gpu_partition(x, 20, on=place), parts(x, 20))


def test_results_stay_on_the_device() -> None:
    x = numbers("int32", 300)
    held = loom.array(x)
    values, positions = gpu_topk(held, 7)
    assert isinstance(values, loom.Array)
    assert isinstance(positions, loom.Array)
    assert same_bits(positions.numpy(), order(x, descending=True)[:7])
    assert same_bits(gpu_partition(held, 7).numpy(), parts(x, 7))


def test_errors() -> None:
    with pytest.raises(ArgumentError) as caught:
        gpu_topk([1, 2, 3], 4)
    assert str(caught.value) == (
        "[gpu_topk, k] out of range: expected 0 to 3, got 4. Compare it with the number of elements."
    )
    with pytest.raises(ArgumentError, match=r"\[gpu_topk, k\] out of range: expected 0 to 3, got -1"):
        gpu_topk([1, 2, 3], -1)
    for k in range(-3, 0):  # as numpy's
        assert gpu_partition([3, 1, 2], k).tolist() == gpu_partition([3, 1, 2], k + 3).tolist()
        assert gpu_partition([3, 1, 2], k)[k] == np.partition([3, 1, 2], k)[k]
    with pytest.raises(ArgumentError, match=r"\[gpu_partition, k\] out of range: expected -2 to 1, got 2"):
        gpu_partition([1, 2], 2)
    with pytest.raises(ArgumentError, match=r"\[gpu_partition, k\] out of range: expected at least 1 element, got 0"):
        gpu_partition(np.zeros(0), 0)
    with pytest.raises(DTypeError) as caught_type:
        gpu_topk([1, 2, 3], 1.5)  # type: ignore[arg-type]
    assert str(caught_type.value) == "[gpu_topk, k] not a whole number: expected an int, got 1.5. Pass an int."
    assert [x.tolist() for x in gpu_topk([[1, 2], [4, 3]], 1)] == [[[2], [4]], [[1], [0]]]
