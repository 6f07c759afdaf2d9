"""``filter`` and ``compact``: what numpy's masks keep, bit for bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import loom
from loom.core.errors import DTypeError, ShapeError
from unit.patterns.canonical import same_bits

Array = np.ndarray[Any, Any]
SIZES = (0, 1, 255, 256, 257, 2047, 2048, 2049, 6000)


def numbers(dtype: str, size: int) -> Array:
    rng = np.random.default_rng(size)
    if dtype in ("float16", "float32", "float64"):
        x = rng.normal(size=size).astype(dtype)
        x[::5], x[1::7], x[2::11] = 0, -0.0, np.nan
        return x
    return rng.integers(0, 3 if dtype != "bool" else 2, size).astype(dtype)


@pytest.mark.parametrize(
    "dtype",
    [
        "bool",
        "float32",
        pytest.param("uint8", marks=pytest.mark.slow),
        pytest.param("int32", marks=pytest.mark.slow),
        pytest.param("float16", marks=pytest.mark.slow),
        pytest.param("float64", marks=pytest.mark.slow),
    ],
)
def test_what_is_kept_keeps_its_order_and_bits(place: str, dtype: str) -> None:
    for size in SIZES if place == "cpu" else (0, 257, 2049):
        x = numbers(dtype, size)
        mask = np.random.default_rng(1).random(size) < 0.4
        assert same_bits(loom.data.filter(x, mask, on=place), x[mask])
        values, positions = loom.data.compact(x, indices=True, on=place)
        assert same_bits(values, x[x != 0])
        assert same_bits(positions, np.flatnonzero(x))
        assert same_bits(loom.data.compact(x, on=place), x[x != 0])


@pytest.mark.parametrize("share", [0, 0.01, 0.5, 1])
def test_a_million_elements(share: float) -> None:
    rng = np.random.default_rng(2)
    x, mask = rng.normal(size=1_000_003).astype(np.float32), rng.random(1_000_003) < share
    assert same_bits(loom.data.filter(x, mask), x[mask])
    assert same_bits(loom.data.compact(x * mask), x[mask & (x != 0)])


def test_payloads_of_nans_are_kept() -> None:
    x = np.array([0x7FC12345, 0x3F800000, 0xFFC00001], np.uint32).view(np.float32)
    kept = loom.data.filter(x, [True, False, True])
    assert kept.view(np.uint32).tolist() == [0x7FC12345, 0xFFC00001]


def test_predicates_and_rows(place: str) -> None:
    x = np.random.default_rng(3).normal(size=(60, 9)).astype(np.float32)
    assert same_bits(loom.data.filter(x, lambda v: v > 0.5, on=place), x[x > 0.5])
    assert same_bits(loom.data.filter(x, x > 0.5, on=place), x[x > 0.5])
    rows = x[:, 0] > 0
    assert same_bits(loom.data.filter(x, rows, on=place), x[rows])
    assert loom.data.filter(x, np.zeros(60, bool), on=place).shape == (0, 9)


def test_arrays_of_a_device() -> None:
    x = loom.array([3.0, 0.0, -1.0])
    for found in (loom.data.filter(x, [True, True, False]), loom.data.filter(x, lambda v: v >= 0.0)):
        assert isinstance(found, loom.Array)
        assert found.tolist() == [3.0, 0.0]
    values, positions = loom.data.compact(x, indices=True)
    assert values.tolist() == [3.0, -1.0]
    assert positions.tolist() == [0, 2]
    assert loom.data.filter([], []).shape == (0,)
    assert loom.data.compact([]).shape == (0,)


def test_errors() -> None:
    with pytest.raises(ShapeError) as error:
        loom.data.filter([1, 2, 3], [True, False])
    assert str(error.value) == (
        "[data.filter, mask] of another shape: expected (3,), or (3,) for rows, got (2,). "
        "Give one bool per element or per row."
    )
    with pytest.raises(DTypeError, match=r"not a mask: expected bool, got i64. Compare, for example mask != 0"):
        loom.data.filter([1, 2], [1, 0])
    with pytest.raises(DTypeError, match=r"not a mask: expected bool, got f64\. Return a comparison"):
        loom.data.filter([1.0, 2.0], lambda v: v * 2)
