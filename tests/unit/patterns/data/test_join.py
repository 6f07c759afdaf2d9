"""``join`` by a dictionary of positions, and ``describe`` by numpy."""

from __future__ import annotations

import math
from collections import defaultdict
from typing import Any

import numpy as np
import pytest

import loom
from loom.core.errors import ArgumentError, DTypeError

Array = np.ndarray[Any, Any]


def joined(left: Array, right: Array, how: str) -> tuple[list[int], list[int]]:
    where: dict[Any, list[int]] = defaultdict(list)
    for position, key in enumerate(right.tolist()):
        where[key].append(position)
    pairs = [(i, j) for i, key in enumerate(left.tolist()) for j in where.get(key, [-1] if how == "left" else [])]
    return [i for i, _ in pairs], [j for _, j in pairs]


def require_join(left: Array, right: Array, on: str | None = None) -> None:
    for how in ("inner", "left"):
        found = loom.data.join(left, right, how, on=on)
        assert found.left.dtype == found.right.dtype == np.int64
        assert (found.left.tolist(), found.right.tolist()) == joined(left, right, how)


def test_sizes(place: str) -> None:
    rng = np.random.default_rng(1)
    sizes = (
        ((1, 1, 1), (0, 5, 3), (5, 0, 3), (257, 300, 90)) if place != "cpu" else ((257, 255, 90), (3000, 2000, 5000))
    )
    for n, m, keys in sizes:
        require_join(rng.integers(0, keys, n).astype(np.int32), rng.integers(0, keys, m).astype(np.int32), place)


@pytest.mark.parametrize(
    "dtype",
    [
        "bool",
        "float32",
        pytest.param("int8", marks=pytest.mark.slow),
        pytest.param("uint16", marks=pytest.mark.slow),
        pytest.param("int64", marks=pytest.mark.slow),
        pytest.param("float16", marks=pytest.mark.slow),
        pytest.param("float64", marks=pytest.mark.slow),
    ],
)
def test_keys(dtype: str) -> None:
    rng = np.random.default_rng(2)
    require_join(rng.integers(-60, 60, 300).astype(dtype), rng.integers(-60, 60, 200).astype(dtype))


def test_many_keys() -> None:
    rng = np.random.default_rng(3)
    require_join(rng.permutation(65_537), rng.integers(0, 65_537, 65_537))
    left, right = rng.permutation(400_003), rng.permutation(400_003)
    found = loom.data.join(left, right)
    assert (found.left == np.arange(left.size)).all()
    assert (right[found.right] == left).all()


@pytest.mark.parametrize("place", ["cpu", "interp"])
def test_special_keys_and_arrays_of_a_device(place: str) -> None:
    found = loom.data.join([np.nan, 0.0, 1.0], [-0.0, np.nan, -np.nan], "left", on=place)
    assert found.left.tolist() == [0, 0, 1, 2]
    assert found.right.tolist() == [1, 2, 0, -1]
    assert [a.tolist() for a in loom.data.join([], [1, 2], on=place)] == [[], []]
    pairs = loom.data.join(loom.array([1, 2]), [2, 2])
    assert isinstance(pairs.left, loom.Array)
    assert pairs.left.tolist() == [1, 1]


def test_errors() -> None:
    with pytest.raises(DTypeError) as error:
        loom.data.join(np.zeros(2, np.int32), np.zeros(2, np.int64))
    assert str(error.value) == "[data.join] keys of different types: expected i32, got i64. Convert one of them."
    with pytest.raises(ArgumentError, match="no join is called 'outer': expected 'inner' or 'left'"):
        loom.data.join([1], [1], "outer")


def test_description() -> None:
    x = np.random.default_rng(4).normal(size=(10, 30))
    found = loom.data.describe(x)
    assert found.count == 300
    quartiles = np.quantile(x, [0.25, 0.5, 0.75]).tolist()
    assert [found.min, found.q25, found.median, found.q75, found.max] == [x.min(), *quartiles, x.max()]
    assert math.isclose(found.mean, x.mean(), rel_tol=1e-12, abs_tol=1e-15)
    assert math.isclose(found.std, x.std(ddof=1), rel_tol=1e-12)
    assert loom.data.describe(loom.array(x)) == found
    assert repr(found).splitlines()[0] == "count           300"
    assert all(len(line) == 19 for line in repr(found).splitlines())


def test_descriptions_of_little_and_of_nan() -> None:
    empty, one = loom.data.describe([]), loom.data.describe(np.array([7], np.uint8))
    assert empty.count == 0
    assert math.isnan(empty.mean)
    assert (one.count, one.mean, one.min, one.median, one.max) == (1, 7, 7, 7, 7)
    assert math.isnan(one.std)
    spoilt = loom.data.describe([1.0, math.nan])
    assert spoilt.count == 2
    assert all(math.isnan(v) for v in (spoilt.mean, spoilt.std, spoilt.min, spoilt.q25, spoilt.max))
