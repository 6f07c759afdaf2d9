"""``group_by``: each group has the bits it has as an array of its own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import loom
from loom.core.dtype import lookup
from loom.core.errors import ArgumentError, ShapeError
from loom.schedules.sorting.partition import may_partition
from unit.patterns.canonical import canonical_sum, same_bits

Array = np.ndarray[Any, Any]


def values_of(dtype: str, size: int) -> Array:
    rng = np.random.default_rng(size)
    if dtype.startswith("float"):
        return (rng.normal(size=size) * 10.0 ** rng.uniform(-2, 1, size)).astype(dtype)
    return rng.integers(0, 2 if dtype == "bool" else 100, size).astype(dtype)


def group_sum(x: Array) -> Any:
    if x.dtype.kind == "f":
        wide = x.astype(np.float32) if x.dtype == np.float16 else x
        return canonical_sum(wide)
    return x.sum(dtype=np.uint64 if x.dtype.kind == "u" else np.int64)


def require_groups(keys: Array, values: Array, on: str | None = None) -> None:
    grouped = loom.data.group_by(keys, values, on=on)
    wanted = np.unique(keys)
    parts = [values[keys == key] for key in wanted]
    sums = np.array([group_sum(p) for p in parts])
    kind = values.dtype if values.dtype.kind == "f" else sums.dtype
    assert same_bits(grouped.sum().keys, wanted)
    assert same_bits(grouped.sum().values, sums.astype(kind))
    lengths = np.array([p.size for p in parts])
    wide = sums.dtype if sums.dtype.kind == "f" else np.dtype(np.float64)
    means = sums.astype(wide) / lengths.astype(wide)
    assert same_bits(grouped.mean().values, means.astype(kind if values.dtype.kind == "f" else np.float64))
    assert same_bits(grouped.min().values, np.array([p.min() for p in parts]))
    assert same_bits(grouped.max().values, np.array([p.max() for p in parts]))
    assert same_bits(grouped.count().values, lengths)


@pytest.mark.parametrize(
    "dtype",
    [
        "float32",
        pytest.param("float16", marks=pytest.mark.slow),
        pytest.param("int32", marks=pytest.mark.slow),
        pytest.param("bool", marks=pytest.mark.slow),
    ],
)
def test_values(place: str, dtype: str) -> None:
    for size, groups in ((1, 1), (257, 3), (257, 100)) if place != "cpu" else ((257, 3), (3000, 5), (3000, 900)):
        rng = np.random.default_rng(groups)
        require_groups(rng.integers(-groups, groups, size).astype(np.int32), values_of(dtype, size), place)


@pytest.mark.parametrize(
    "dtype",
    [
        "bool",
        "int8",
        "float16",
        "float64",
        pytest.param("uint16", marks=pytest.mark.slow),
        pytest.param("int64", marks=pytest.mark.slow),
        pytest.param("float32", marks=pytest.mark.slow),
    ],
)
def test_keys(dtype: str) -> None:
    keys = (np.random.default_rng(1).integers(-50, 50, 2000)).astype(dtype)
    require_groups(keys, values_of("float32", 2000))


@pytest.mark.parametrize(("size", "groups"), [(65_537, 2), (65_537, 300), (1_000_003, 40)])
def test_groups_of_many_tiles(size: int, groups: int) -> None:
    keys = (np.random.default_rng(1).random(size) ** 4 * groups).astype(np.int32)  # some long, some short
    require_groups(keys, values_of("float32", size))


def test_three_levels_of_tiles_are_recorded() -> None:
    from loom.schedules.groups import levels_of

    assert [levels_of(n) for n in (1, 64, 65, 4096, 4097, 4096**2, 4096**2 + 1)] == [-1, -1, 0, 0, 1, 1, 2]


@pytest.mark.parametrize("place", ["cpu", "interp"])
def test_special_keys_and_values(place: str) -> None:
    nan = np.nan
    keys = np.array([0.0, nan, -0.0, -np.inf, -nan, 0.0], np.float32)
    found = loom.data.group_by(keys, [1.0, 2.0, 4.0, 8.0, 16.0, nan], on=place).sum()
    assert same_bits(found.keys, np.array([-np.inf, 0.0, nan], np.float32))
    assert found.values[[0, 2]].tolist() == [8.0, 18.0]
    assert np.isnan(found.values[1])
    zeros = loom.data.group_by([1, 1, 2], [0.0, -0.0, -0.0], on=place)
    assert same_bits(zeros.min().values, np.array([-0.0, -0.0]))
    assert same_bits(zeros.max().values, np.array([0.0, -0.0]))
    assert same_bits(zeros.sum().values, np.zeros(2))
    wraps = loom.data.group_by([1, 1], np.array([2**63 - 1, 1]), on=place)
    assert wraps.sum().values.tolist() == [-(2**63)]
    assert wraps.mean().values.tolist() == [2.0**62]


def test_position_decides_the_order_within_a_group() -> None:
    values = values_of("float32", 300)
    keys = np.tile([2.0, -0.0, 0.0], 100).astype(np.float32)
    assert same_bits(loom.data.group_by(keys, values).sum().values[0], canonical_sum(values[keys == 0]))


def test_nothing_counts_and_arrays_of_a_device() -> None:
    empty = loom.data.group_by(np.zeros(0, np.int32), np.zeros(0, np.float32))
    for result in (empty.sum(), empty.mean(), empty.min(), empty.count()):
        assert result.keys.shape == result.values.shape == (0,)
    assert loom.data.group_by([5, 5, 1]).count().values.tolist() == [1, 2]
    grouped = loom.data.group_by(loom.array([5, 5, 1]), [1.0, 2.0, 3.0])
    assert isinstance(grouped.sum().values, loom.Array)
    assert grouped.keys.tolist() == [1, 5]
    assert grouped.sum().values.tolist() == [3.0, 3.0]
    plain = loom.data.group_by([2, 1], [1, 2])
    plain.keys[0] = 99
    assert plain.keys.tolist() == [1, 2]


def test_errors() -> None:
    with pytest.raises(ShapeError) as error:
        loom.data.group_by([1, 2], [1.0])
    assert str(error.value) == ("[data.group_by, values] not one for each key: expected 2, got 1. Match the lengths.")
    with pytest.raises(
        ArgumentError, match=r"\[data.group_by.sum\] no values were given. Write group_by\(keys, values\)"
    ):
        loom.data.group_by([1, 2]).sum()
    with pytest.raises(ShapeError, match="wrong number of dimensions"):
        loom.data.group_by([[1, 2]], [[1, 2]])


@pytest.mark.parametrize(
    ("dtype", "low", "span"),
    [("int64", -500, 300), ("uint64", (1 << 64) - 300, 300), ("int8", -128, 256), ("uint16", 0, 300), ("int32", 0, 1)],
)
def test_keys_of_a_short_range_are_partitioned_to_the_same_bits(dtype: str, low: int, span: int) -> None:
    rng = np.random.default_rng(span)
    keys = ((rng.integers(0, span, 1 << 15) // 3 * 3).astype(object) + low).astype(dtype)
    assert may_partition(
        lookup(f"{'u' if dtype[0] == 'u' else 'i'}{keys.itemsize * 8}"), keys.size, loom.device("cpu").caps
    )
    require_groups(keys, values_of("float64", keys.size), "cpu")
    require_groups(keys, values_of("float16", keys.size), "cpu")
    counted = loom.data.group_by(keys, on="cpu").count()
    assert same_bits(counted.values, np.unique(keys, return_counts=True)[1])
    spread = keys.astype(np.int64) << 20 if dtype == "uint16" else keys
    assert same_bits(loom.data.group_by(spread, on="cpu").count().values, counted.values)
