"""Schedules for lanes that are threads give the bits of those for a CPU (which conformance pins to the interpreter)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import loom
from loom.core.numerics import canonical_bits
from loom.patterns import data, linalg, stats

pytestmark = pytest.mark.needs("threads")

Array = np.ndarray[Any, Any]


def _wide(dtype: Any, shape: Any) -> Array:
    """Numbers of very different size, so that any change of order shows."""
    rng = np.random.default_rng(7)
    if np.dtype(dtype).kind != "f":
        return rng.integers(0, 100, shape).astype(dtype)
    return (rng.standard_normal(shape) * 2.0 ** rng.integers(-9, 9, shape)).astype(dtype)


@pytest.fixture
def same(on: str) -> Callable[[Callable[[str], Any]], None]:
    """Return what compares a device with the processor."""

    def compare(call: Callable[[str], Any]) -> None:
        found, expected = call(on), call("cpu")
        pairs = zip(found, expected, strict=True) if isinstance(expected, tuple) else [(found, expected)]
        for mine, theirs in pairs:
            assert np.array_equal(canonical_bits(np.asarray(mine)), canonical_bits(np.asarray(theirs)))

    return compare


@pytest.mark.parametrize("n", [1, 64, 65, 4095, 4096, 8195])
@pytest.mark.parametrize("exclusive", [False, True])
def test_scan(n: int, exclusive: bool, same: Any) -> None:
    same(lambda on: loom.gpu_scan(_wide(np.float32, n), exclusive=exclusive, on=on))


@pytest.mark.parametrize(
    ("dtype", "op"), [(np.float64, "sum"), (np.int32, "max"), (np.int8, "sum"), (np.float16, "min")]
)
def test_scan_of_types(dtype: Any, op: str, same: Any) -> None:
    same(lambda on: loom.gpu_scan(_wide(dtype, 4500), op, on=on))


def test_scan_with_nan_and_infinity(same: Any) -> None:
    x = _wide(np.float32, 5000)
    x[700], x[4500] = np.inf, np.nan
    same(lambda on: loom.gpu_scan(x, on=on))


@pytest.mark.parametrize(("shape", "axis"), [((3, 4500), 1), ((2, 8192), 1), ((4500, 5), 0), ((2, 130, 20), 1)])
def test_scan_along_an_axis(shape: tuple[int, ...], axis: int, same: Any) -> None:
    same(lambda on: loom.gpu_scan(_wide(np.float32, shape), axis=axis, on=on))


@pytest.mark.parametrize("exclusive", [False, True])
def test_segment_scan(exclusive: bool, same: Any) -> None:
    marks = np.random.default_rng(1).random(9000) < 0.02
    same(lambda on: loom.gpu_segment_scan(_wide(np.float32, 9000), marks, exclusive=exclusive, on=on))


@pytest.mark.parametrize(
    ("shape", "axis"), [((5, 3), 1), ((300, 64), 1), ((33, 65), 1), ((3, 257), 1), ((130, 5), 0), ((2, 4100, 40), 1)]
)
def test_folds_along_an_axis(shape: tuple[int, ...], axis: int, same: Any) -> None:
    x = _wide(np.float32, shape)
    x.reshape(-1)[::7] = -0.0
    for fold in (loom.gpu_sum, loom.gpu_product, loom.gpu_min):
        same(lambda on, fold=fold: fold(x, axis=axis, on=on))


@pytest.mark.parametrize("n", [1, 255, 4096, 4097])
def test_map(n: int, same: Any) -> None:
    x = _wide(np.float32, n)
    same(lambda on: loom.gpu_map(x, lambda a, b, c: a * b + c if b > 0 else a, x[::-1].copy(), 2.5, on=on))


@pytest.mark.parametrize("n", [1, 2047, 5000])
def test_compact_and_filter(n: int, same: Any) -> None:
    x = np.random.default_rng(n).integers(0, 3, n)
    same(lambda on: data.compact(x, indices=True, on=on))
    same(lambda on: data.filter(x, x > 1, on=on))


@pytest.mark.parametrize("how", ["inner", "left"])
def test_join_where_some_keys_are_frequent(how: str, same: Any) -> None:
    rng = np.random.default_rng(3)
    left, right = rng.integers(0, 30, 3000), rng.integers(10, 300, 100)
    same(lambda on: tuple(data.join(left, right, how, on=on)))


@pytest.mark.parametrize(("n", "window"), [(5, 2), (300, 300), (5000, 7), (5000, 500)])
def test_rolling(n: int, window: int, same: Any) -> None:
    same(lambda on: data.rolling(_wide(np.float32, n), window, on=on).sum())


@pytest.mark.parametrize("keys", [1, 40, 2000])
def test_group_by(keys: int, same: Any) -> None:
    key = np.random.default_rng(keys).integers(0, keys, 9000)
    same(lambda on: tuple(data.group_by(key, _wide(np.float32, 9000), on=on).sum()))


@pytest.mark.parametrize("bins", [10, 5000])
def test_histogram(bins: int, same: Any) -> None:
    same(lambda on: stats.histogram(_wide(np.float32, 70_000), bins, on=on))


@pytest.mark.parametrize("n", [5, 65, 150])
def test_elimination(n: int, same: Any) -> None:
    a = np.random.default_rng(n).standard_normal((n, n))
    same(lambda on: linalg.lu(a, on=on))
    same(lambda on: linalg.solve(a, a[:, :2].copy(), on=on))
    same(lambda on: linalg.cholesky(a @ a.T + n * np.eye(n), on=on))
