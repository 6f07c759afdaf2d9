"""``gpu_sort``, ``gpu_argsort``, ``gpu_sort_pairs``: numpy's stable order, at every length, on every schedule."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import loom
from loom import gpu_argsort, gpu_sort, gpu_sort_pairs
from loom.core.dtype import u32
from loom.core.errors import DTypeError, IndexOutside, ShapeError
from loom.kernels.sort.keys import Order, Records
from loom.runtime.registry import device
from loom.schedules.sorting.sort import SortPlan
from unit.patterns.canonical import same_bits
from unit.patterns.sort.sorted_oracle import DTYPES, numbers, order

Array = np.ndarray[Any, Any]

SMALL = (0, 1, 2, 255, 256, 257)
SHORT = 4096
"""Rows up to this length are sorted by one group."""


def check(x: Array, on: str | None = None) -> None:
    """Sort, in both directions, and compare values and positions with numpy's."""
    for descending in (False, True):
        expected = order(x, descending=descending)
        assert same_bits(gpu_sort(x, descending=descending, on=on), x[expected]), x.size
        assert same_bits(gpu_argsort(x, descending=descending, on=on), expected), x.size


def test_the_oracle_is_numpys_order() -> None:
    for dtype in DTYPES:
        x = numbers(dtype, 999)
        assert np.array_equal(x[order(x)], np.sort(x), equal_nan=dtype.startswith("float"))
    zeros = np.array([0.0, -0.0, np.nan, -np.nan, 0.0, -0.0, np.inf], np.float32)
    assert order(zeros).tolist() == [1, 5, 0, 4, 6, 2, 3]
    assert order(zeros, descending=True).tolist() == [2, 3, 6, 0, 4, 1, 5]


@pytest.mark.parametrize("dtype", DTYPES)
def test_short_rows_of_every_dtype(dtype: str) -> None:
    for size in SMALL:
        check(numbers(dtype, size))


@pytest.mark.parametrize("dtype", ["float32", "uint8", "int64"])
def test_short_rows_everywhere(place: str, dtype: str) -> None:
    for size in (1, 2, 257) if place == "cpu" else (2, 70):
        x = numbers(dtype, size)
        assert same_bits(gpu_sort(x, on=place), x[order(x)])
        assert same_bits(gpu_argsort(x, on=place), order(x))


@pytest.mark.parametrize("dtype", ["bool", "uint8", "float16", "int32", "uint32", "float32", "int64", "float64"])
def test_long_rows(dtype: str) -> None:
    for size in (SHORT + 1, 65_537):
        x = numbers(dtype, size)
        assert same_bits(gpu_sort(x), x[order(x)])


@pytest.mark.slow
@pytest.mark.parametrize("dtype", DTYPES)
def test_long_rows_of_every_dtype_both_ways(dtype: str) -> None:
    for size in (SHORT, SHORT + 1, 65_537, 300_001):
        check(numbers(dtype, size))


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["uint8", "float16", "float32"])
def test_long_rows_in_the_interpreter(dtype: str) -> None:
    x = numbers(dtype, SHORT + 1)
    assert same_bits(gpu_sort(x, on="interp"), x[order(x)])


@pytest.mark.parametrize("dtype", ["int8", "float32", "float64"])
def test_positions_of_long_rows(dtype: str) -> None:
    x = numbers(dtype, 65_537)
    assert same_bits(gpu_argsort(x), order(x))


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_any_number_of_threads(monkeypatch: pytest.MonkeyPatch, threads: int) -> None:
    monkeypatch.setenv("LOOM_THREADS", str(threads))
    for dtype in ("uint16", "float32"):
        x = numbers(dtype, 100_003)
        assert same_bits(gpu_sort(x), x[order(x)])
        assert same_bits(gpu_argsort(x), order(x))


def shapes_of_data(size: int) -> dict[str, Array]:
    """Rows that ways through the sort depend on: what varies in the keys, and how keys spread."""
    rng = np.random.default_rng(5)
    random = rng.integers(0, 2**32, size, np.uint32)
    outlier = rng.integers(0, 1000, size, np.uint32)
    outlier[0] = 2**32 - 1
    middle = rng.integers(0, 2**16, size, np.uint32)
    middle[:2] = 0, 2**32 - 1
    return {
        "equal": np.full(size, 7, np.uint32),
        "ascending": np.sort(random),
        "descending": np.sort(random)[::-1].copy(),
        "few": random % 3,
        "byte": random & np.uint32(0xFF),
        "byte of the middle": random & np.uint32(0xFF00),
        "byte of the top": random & np.uint32(0xFF000000),
        "near": random % 5000 + np.uint32(2**31 - 2500),
        "one far from the rest": outlier,
        "two far from the rest": middle,
        "half of them equal": np.where(random % 2, random, np.uint32(12345)),
        "squares": (random >> np.uint32(16)) ** 2,
    }


@pytest.mark.parametrize("name", list(shapes_of_data(2)))
def test_keys_however_they_spread(name: str) -> None:
    x = shapes_of_data(70_000)[name]
    expected = np.argsort(x, kind="stable")
    assert same_bits(gpu_sort(x), x[expected])
    assert same_bits(gpu_argsort(x), expected)


def test_wide_keys_however_they_spread() -> None:
    for x in shapes_of_data(70_000).values():
        wide = x.astype(np.uint64) << np.uint64(20)
        assert same_bits(gpu_argsort(wide), np.argsort(x, kind="stable"))


def test_a_million_elements() -> None:
    for dtype in ("float32", "uint32"):
        x = numbers(dtype, 10**6)
        assert same_bits(gpu_sort(x), x[order(x)])
    assert same_bits(gpu_argsort(x), order(x))


def test_bfloat16() -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    x = numbers("float32", 5000).astype(ml_dtypes.bfloat16)
    expected = order(x.astype(np.float32))
    found = gpu_sort(x)
    assert found.dtype == x.dtype
    assert same_bits(found.astype(np.float32), x[expected].astype(np.float32))
    assert same_bits(gpu_argsort(x), expected)


@pytest.mark.parametrize("shape", [(3, 5), (2, 3, 70), (0, 4), (4, 0), (3, 5000), (1, 1)])
def test_rows_of_an_array(shape: tuple[int, ...]) -> None:
    x = numbers("float32", int(np.prod(shape))).reshape(shape)
    expected = np.array([order(row) for row in x.reshape(int(np.prod(shape[:-1])), shape[-1])], np.int64).reshape(shape)
    assert same_bits(gpu_sort(x), np.take_along_axis(x, expected, -1))
    assert same_bits(gpu_argsort(x), expected)
    assert same_bits(gpu_argsort(x, axis=None), order(x.reshape(-1)))
    assert gpu_sort(x, axis=None).shape == (x.size,)


PAIRS = [("float16", "bool"), ("uint32", "int16"), ("float32", "float32"), ("int64", "uint8"), ("uint8", "float64")]


@pytest.mark.parametrize(("keys", "values"), PAIRS)
def test_values_move_with_their_keys(keys: str, values: str) -> None:
    for size in (0, 1, 257):
        check_pairs(numbers(keys, size), numbers(values, size, seed=1))


@pytest.mark.parametrize(("keys", "values"), [("float32", "int32"), ("uint8", "float64"), ("float64", "float64")])
def test_values_move_with_their_keys_in_long_rows(keys: str, values: str) -> None:
    check_pairs(numbers(keys, 65_537), numbers(values, 65_537, seed=1))


def check_pairs(x: Array, y: Array) -> None:
    expected = order(x)
    found = gpu_sort_pairs(x, y)
    assert same_bits(found[0], x[expected])
    assert found[1].tobytes() == y[expected].tobytes()


def test_values_move_with_descending_keys() -> None:
    x, y = numbers("float32", 300), numbers("int16", 300)
    expected = order(x, descending=True)
    found = gpu_sort_pairs(x, y, descending=True)
    assert same_bits(found[0], x[expected])
    assert same_bits(found[1], y[expected])


def test_results_stay_on_the_device() -> None:
    x = numbers("float32", 5000)
    held = loom.array(x)
    for result in (gpu_sort(held), gpu_argsort(held), *gpu_sort_pairs(held, x)):
        assert isinstance(result, loom.Array)
    assert same_bits(gpu_sort(gpu_sort(held), descending=True).numpy(), x[order(x, descending=True)])
    assert same_bits(held.numpy(), x)


def test_the_input_is_left_as_it_is() -> None:
    x = numbers("float64", 5000)
    before = x.tobytes()
    gpu_sort(x)
    gpu_sort_pairs(x, x)
    assert x.tobytes() == before
    assert gpu_sort(x[::-3]).tobytes() == gpu_sort(x[::-3].copy()).tobytes()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 2**32 - 1), max_size=300))
def test_any_bits_are_sorted_as_floats(bits: list[int]) -> None:
    x = np.array(bits, np.uint32).view(np.float32)
    assert same_bits(gpu_sort(x), x[order(x)])
    assert same_bits(gpu_argsort(x), order(x))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(-3, 3), st.integers(-128, 127)), max_size=300))
def test_pairs_are_python_sorted_by_key(pairs: list[tuple[int, int]]) -> None:
    keys, values = np.array([p[0] for p in pairs], np.int8), np.array([p[1] for p in pairs], np.int8)
    found = gpu_sort_pairs(keys, values)
    expected = sorted(pairs, key=lambda p: p[0])
    assert list(zip(found[0].tolist(), found[1].tolist(), strict=True)) == expected


def test_errors() -> None:
    assert gpu_sort([[3, 1], [2, 4]], axis=0).tolist() == [[2, 1], [3, 4]]
    with pytest.raises(IndexOutside) as caught:
        gpu_argsort([1, 2], axis=1)
    assert str(caught.value) == (
        "[gpu_argsort, axis] there is no such axis: expected -1 to 0, got 1. The array has shape (2,)."
    )
    with pytest.raises(ShapeError) as caught_shape:
        gpu_sort_pairs([1, 2], [1, 2, 3])
    assert str(caught_shape.value) == (
        "[gpu_sort_pairs, values] not one for each key: expected 2, got 3. Match the lengths."
    )
    with pytest.raises(ShapeError, match=r"\[gpu_sort_pairs, keys\] wrong number of dimensions"):
        gpu_sort_pairs([[1, 2]], [1, 2])
    with pytest.raises(DTypeError) as caught_type:
        gpu_sort(np.zeros(3, np.complex64))
    assert str(caught_type.value) == (
        "[gpu_sort] complex numbers: expected bools, ints or floats, got complex64. Pass .real and .imag apart; "
        "loom.signal.fft and its kin take them."
    )


def test_too_many_elements_are_refused_before_any_work() -> None:
    with pytest.raises(ShapeError, match="too many elements to sort: expected less than 2147483648, got 2147483648"):
        SortPlan.of(Records(Order(u32)), 1, 2**31, keys_out=True, caps=device("cpu").caps, where="gpu_sort")
