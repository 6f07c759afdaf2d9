"""``gather`` and ``scatter``: numpy's indexing; of several elements for one place the last one stays."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import loom
from loom.core.errors import ArgumentError, DTypeError, ShapeError
from unit.patterns.canonical import same_bits

Array = np.ndarray[Any, Any]


def scattered(data: Array, indices: Array, target: Array) -> Array:
    """One after the other, so that the last one stays."""
    found = target.copy()
    for element, place in zip(data, indices.tolist(), strict=True):
        found[place] = element
    return found


@pytest.mark.parametrize(
    "dtype",
    [
        "float32",
        pytest.param("bool", marks=pytest.mark.slow),
        pytest.param("uint16", marks=pytest.mark.slow),
        pytest.param("float64", marks=pytest.mark.slow),
    ],
)
def test_elements(place: str, dtype: str) -> None:
    rng = np.random.default_rng(1)
    for size in (1, 255, 256, 257, 3000) if place == "cpu" else (1, 257):
        x, target = (rng.integers(0, 100, n).astype(dtype) for n in (size, 700))
        indices = rng.integers(-size, size, (3, 200))
        assert same_bits(loom.data.gather(x, indices, on=place), x[indices])
        places = rng.integers(-700, 700, size)
        assert same_bits(loom.data.scatter(x, places, target, on=place), scattered(x, places, target))


@pytest.mark.parametrize("width", [2, 130])
def test_rows(place: str, width: int) -> None:
    rng = np.random.default_rng(width)
    x, target = rng.normal(size=(40, width)), rng.normal(size=(50, width))
    indices = rng.integers(-40, 40, (5, 6))
    assert same_bits(loom.data.gather(x, indices, on=place), x[indices])
    places = rng.integers(0, 50, 40)
    assert same_bits(loom.data.scatter(x, places, target, on=place), scattered(x, places, target))


@pytest.mark.parametrize("dtype", ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"])
def test_every_type_of_index(dtype: str) -> None:
    x = np.arange(100.0)
    indices = np.array([5, 99, 0, 64], dtype)
    assert same_bits(loom.data.gather(x, indices), x[indices.astype(np.int64)])
    assert loom.data.scatter([1.0, 2.0, 3.0, 4.0], indices, 100)[[5, 99, 0, 64]].tolist() == [1, 2, 3, 4]


def test_a_million_elements() -> None:
    rng = np.random.default_rng(2)
    x = rng.normal(size=1_000_003).astype(np.float32)
    indices = rng.integers(0, x.size, x.size)
    assert same_bits(loom.data.gather(x, indices), x[indices])
    last = np.full(x.size, -1)
    np.maximum.at(last, indices, np.arange(x.size))
    assert same_bits(loom.data.scatter(x, indices, x), np.where(last >= 0, x[last], x))


def test_nothing_zeros_and_arrays_of_a_device() -> None:
    assert loom.data.gather([1, 2], []).shape == (0,)
    assert loom.data.gather(np.zeros((4, 0)), [1, 2]).shape == (2, 0)
    assert loom.data.scatter([], [], 3).tolist() == [0, 0, 0]
    assert loom.data.scatter([1.0], [0], [5.0, 6.0]).tolist() == [1.0, 6.0]
    assert loom.data.scatter(7, np.array(1), 3).tolist() == [0, 7, 0]
    found = loom.data.gather(loom.array([1, 2, 3]), [2, 2])
    assert isinstance(found, loom.Array)
    assert found.tolist() == [3, 3]
    assert loom.data.scatter(loom.array([1]), [1], 2).tolist() == [0, 1]


@pytest.mark.parametrize("width", [1, 3])
def test_the_first_index_outside_is_told(place: str, width: int) -> None:
    x = np.arange(3 * width).reshape(3, width)
    indices = np.zeros(600, np.int32)
    indices[[77, 300]] = -4, 3
    with pytest.raises(ArgumentError) as error:
        loom.data.gather(x, indices, on=place)
    assert str(error.value) == (
        "[data.gather, indices] the index at position 77 is outside: expected -3 to 2, got -4. Check the indices."
    )
    with pytest.raises(ArgumentError, match=r"\[data.scatter, indices\] the index at position 77 is outside"):
        loom.data.scatter(np.zeros((600, width)), indices, 3, on=place)


def test_errors() -> None:
    with pytest.raises(ArgumentError, match="position 0 is outside: expected 0 to 2, got 18446744073709551615"):
        loom.data.gather([1, 2, 3], np.array([2**64 - 1], np.uint64))
    with pytest.raises(ArgumentError, match="expected no indices, as there is nothing, got 0"):
        loom.data.gather([], [0])
    with pytest.raises(
        DTypeError, match=r"\[data.gather, indices\] unsupported dtype: expected one of i8, .*, got f64"
    ):
        loom.data.gather([1, 2], [0.0])
    with pytest.raises(ShapeError, match="has no dimension: expected at least 1, got 0"):
        loom.data.gather(5, [0])
    with pytest.raises(ShapeError, match=r"expected what \(3,\) begins with, got \(2,\)"):
        loom.data.scatter([1, 2, 3], [0, 1], 5)
    with pytest.raises(DTypeError, match="of another type than data: expected i64, got f32"):
        loom.data.scatter([1], [0], np.zeros(3, np.float32))
    with pytest.raises(ShapeError, match=r"its rows have another shape: expected \(2,\), got \(3,\)"):
        loom.data.scatter(np.zeros((1, 2)), [0], np.zeros((4, 3)))
    with pytest.raises(ArgumentError, match="unusable number of places: expected 0 to 4294967295, got -1"):
        loom.data.scatter([1], [0], -1)
