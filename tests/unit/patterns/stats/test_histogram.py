"""``histogram``: counts equal to comparing each element with the edges, by ``numpy.histogram`` and by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import loom
from loom.core.errors import ArgumentError, DTypeError

Array = np.ndarray[Any, Any]
RARE = [pytest.param(t, marks=pytest.mark.slow) for t in ("float16", "float64", "int8", "uint64", "bool")]


def numbers(dtype: str, size: int) -> Array:
    rng = np.random.default_rng([size, len(dtype)])
    x = rng.normal(size=size) * 30
    return (x > 0) if dtype == "bool" else np.abs(x).astype(dtype) if dtype[0] == "u" else x.astype(dtype)


def require_equal(x: Array, counts: Array, edges: Array) -> None:
    assert counts.dtype == np.int64
    assert (counts == np.histogram(x.astype(edges.dtype), edges)[0]).all()


@pytest.mark.parametrize("dtype", ["float32", "int32", *RARE])
def test_every_element_is_in_its_bin(place: str, dtype: str) -> None:
    for size in (0, 1, 255, 257, 5000) if place == "cpu" else (0, 257):
        x = numbers(dtype, size)
        for bins in (1, 10, 37):
            counts, edges = loom.stats.histogram(x, bins, (-40, 50), on=place)
            assert edges.dtype == (np.float32 if dtype in ("float16", "float32") else np.float64)
            require_equal(x, counts, edges)
            counts, edges = loom.stats.histogram(x, edges[::2] if bins > 1 else edges, on=place)
            require_equal(x, counts, edges)


@pytest.mark.parametrize("dtype", ["float64", "int32", "uint8"])
def test_numpy_finds_the_same_edges(dtype: str) -> None:
    x = numbers(dtype, 65_537)
    for bins, limits in ((10, None), (100, None), (7, (-10, 10)), (1, (0, 0))):
        counts, edges = loom.stats.histogram(x, bins, limits)
        numpys = np.histogram(x, bins, limits)
        assert (counts == numpys[0]).all()
        assert (edges == numpys[1]).all()


@pytest.mark.parametrize("bins", [5000, 70_000])
def test_more_bins_than_a_workgroup_counts_alone(bins: int) -> None:
    x = numbers("float64", 20_000)
    counts, edges = loom.stats.histogram(x, bins)
    require_equal(x, counts, edges)
    assert counts.sum() == x.size


def test_a_million_elements() -> None:
    x = numbers("float32", 1_000_003)
    require_equal(x, *loom.stats.histogram(x, 100))
    require_equal(x, *loom.stats.histogram(x, np.linspace(-20, 20, 50, dtype=np.float32)))


def test_numbers_on_edges_and_outside(place: str) -> None:
    x = [0.0, 1.0, 2.0, 3.0, 3.5, -0.5, np.nan, np.inf, -np.inf, -0.0]
    counts, edges = loom.stats.histogram(x, 3, (0, 3), on=place)
    assert counts.tolist() == [2, 1, 2]
    assert edges.tolist() == [0, 1, 2, 3]
    assert loom.stats.histogram(x, [0.0, 1.0, 2.0, 3.0], on=place)[0].tolist() == [2, 1, 2]


def test_edges_next_to_each_other() -> None:
    edges = 1 + np.arange(9, dtype=np.float32) * np.float32(2**-23)
    x = np.repeat(edges, 3)
    assert loom.stats.histogram(x, 8, (float(edges[0]), float(edges[-1])))[0].tolist() == [3] * 7 + [6]
    assert loom.stats.histogram(x, edges)[0].tolist() == [3] * 7 + [6]


def test_nothing_and_arrays_of_a_device() -> None:
    counts, edges = loom.stats.histogram([], 4)
    assert counts.tolist() == [0] * 4
    assert edges.tolist() == [0, 0.25, 0.5, 0.75, 1]
    found = loom.stats.histogram(loom.array([1.0, 2.0]), 2)
    assert all(isinstance(a, loom.Array) for a in found)
    assert found[0].tolist() == [1, 1]


def test_errors() -> None:
    with pytest.raises(ArgumentError) as error:
        loom.stats.histogram([1.0], 0)
    assert str(error.value) == ("[stats.histogram, bins] out of range: expected 1 to 16777216, got 0. Stay within it.")
    with pytest.raises(ArgumentError, match="finite numbers in ascending order"):
        loom.stats.histogram([1.0, np.nan])
    with pytest.raises(ArgumentError, match=r"got \(3.0, 1.0\)"):
        loom.stats.histogram([1.0], 3, (3, 1))
    with pytest.raises(ArgumentError, match=r"not the edges of bins: .* got \[1, 1, 2\]"):
        loom.stats.histogram([1.0], [1.0, 1.0, 2.0])
    with pytest.raises(ArgumentError, match="f32 cannot tell the edges apart"):
        loom.stats.histogram(np.ones(3, np.float32), 100, (1.0, 1.000001))
    with pytest.raises(DTypeError, match="not bins: expected their number or their edges, got 'auto'"):
        loom.stats.histogram([1.0], "auto")
    with pytest.raises(DTypeError, match="not a range: expected two numbers, got 5"):
        loom.stats.histogram([1.0], 3, 5)  # type: ignore[arg-type]
