"""Reductions along an axis: each row has the bits it has by itself; and those that exist for all elements only."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import loom
from loom import gpu_all, gpu_any, gpu_argmax, gpu_argmin, gpu_count, gpu_max, gpu_mean, gpu_min, gpu_product, gpu_sum
from loom.core.errors import ArgumentError, DTypeError, EmptyError
from unit.patterns.canonical import canonical_reduce, canonical_sum, same_bits
from unit.patterns.conftest import placed

Array = np.ndarray[Any, Any]

SHAPES = ((3, 5000), (4097, 3), (300, 70), (70, 300), (2, 130, 17), (3, 20, 129), (9, 1), (2, 64, 64))
SMALL = ((3, 260), (70, 5), (2, 66, 17), (5, 7))
NAN = np.nan


def shapes_on(place: str) -> tuple[tuple[int, ...], ...]:
    return SHAPES if place == "cpu" else SMALL


def numbers(dtype: str, shape: tuple[int, ...], *, near_one: bool = False) -> Array:
    rng = np.random.default_rng([len(dtype), *shape])
    if np.dtype(dtype).kind in "iu":
        info = np.iinfo(dtype)
        return rng.integers(info.min, info.max, shape, dtype, endpoint=True)
    if near_one:
        return (rng.choice([-1.0, 1.0], shape) * 2.0 ** rng.uniform(-0.3, 0.3, shape)).astype(dtype)
    return (rng.normal(size=shape) * 10.0 ** rng.uniform(-2, 1, shape)).astype(dtype)


def wide(x: Array) -> Array:
    return x.astype(np.float32) if x.dtype == np.float16 else x


def expected_sum(x: Array, axis: int = -1) -> Any:
    return canonical_reduce(wide(x), np.add, 0, axis).astype(x.dtype)


def expected_product(x: Array, axis: int = -1) -> Any:
    return canonical_reduce(wide(x), np.multiply, 1, axis).astype(x.dtype)


def expected_mean(x: Array, axis: int = -1) -> Any:
    return (canonical_reduce(wide(x), np.add, 0, axis) / wide(x).dtype.type(x.shape[axis])).astype(x.dtype)


def test_the_oracle_takes_each_row_by_itself() -> None:
    x = numbers("float32", (3, 9000))
    for row, whole in zip(x, canonical_reduce(x, np.add, 0), strict=True):
        assert same_bits(whole, canonical_sum(row))


@pytest.mark.parametrize(
    ("reduce", "of"), [(gpu_sum, expected_sum), (gpu_product, expected_product)], ids=["sum", "product"]
)
def test_floats_along_every_axis(place: str, reduce: Any, of: Any) -> None:
    for shape in shapes_on(place):
        x = numbers("float32", shape, near_one=reduce is gpu_product)
        for axis in range(-1, len(shape) - 1):
            assert same_bits(reduce(x, axis=axis, on=place), of(x, axis)), (shape, axis)


def test_means_along_every_axis(place: str) -> None:
    for shape in shapes_on(place)[::2]:
        x = numbers("float32", shape)
        for axis in range(-1, len(shape) - 1):
            assert same_bits(gpu_mean(x, axis=axis, on=place), expected_mean(x, axis)), (shape, axis)


@pytest.mark.parametrize("place", ["cpu", "interp"])
@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_other_floats_along_every_axis(place: str, dtype: str) -> None:
    for shape in shapes_on(place):
        x = numbers(dtype, shape)
        for axis in range(len(shape)):
            assert same_bits(gpu_sum(x, axis=axis, on=place), expected_sum(x, axis)), (shape, axis)


@pytest.mark.parametrize("place", ["cpu", "interp"])
@pytest.mark.parametrize("dtype", ["int8", "uint64"])
def test_integers_along_every_axis(place: str, dtype: str) -> None:
    for shape in shapes_on(place):
        x = numbers(dtype, shape)
        wide = np.int64 if x.dtype.kind == "i" else np.uint64
        for axis in range(len(shape)):
            assert same_bits(gpu_sum(x, axis=axis, on=place), x.sum(axis, wide)), (shape, axis)
            assert same_bits(gpu_product(x, axis=axis, on=place), x.prod(axis, wide)), (shape, axis)
            assert same_bits(gpu_min(x, axis=axis, on=place), x.min(axis)), (shape, axis)
            assert same_bits(gpu_max(x, axis=axis, on=place), x.max(axis)), (shape, axis)


def with_every_kind(shape: tuple[int, ...], dtype: str = "float32") -> Array:
    rng = np.random.default_rng(shape)
    x = rng.choice(np.array([0, -0.0, 1, 2, -3, np.inf, -np.inf], dtype), shape)
    x.reshape(-1)[:: max(7, x.size // 11)] = NAN
    return x


def first_best(x: Array, axis: int = -1, *, largest: bool) -> Any:
    """Index of the first element that is best in the order of minima and maxima: NaN, then by value, -0 below +0."""
    best = np.inf if largest else -np.inf
    value = np.where(np.isnan(x), best, x).astype(np.float64)
    second = np.where(np.isnan(x), np.sign(best) * 2, np.where(x == 0, np.where(np.signbit(x), -1, 1), 0))
    places = np.unique(np.stack([value, second], -1).reshape(-1, 2), axis=0, return_inverse=True)[1].reshape(x.shape)
    return places.argmax(axis) if largest else places.argmin(axis)


def test_extremes_and_where_they_are_along_every_axis(place: str) -> None:
    for shape in shapes_on(place)[1::2]:
        x = with_every_kind(shape)
        for axis in range(len(shape)):
            for largest, best, arg in ((True, gpu_max, gpu_argmax), (False, gpu_min, gpu_argmin)):
                at = first_best(x, axis, largest=largest)
                assert same_bits(arg(x, axis=axis, on=place), at), (shape, axis)
                value = np.take_along_axis(x, np.expand_dims(at, axis), axis).squeeze(axis)
                assert same_bits(best(x, axis=axis, on=place), value), (shape, axis)


@pytest.mark.parametrize("place", ["cpu", "interp"])
def test_tests_and_counts_along_every_axis(place: str) -> None:
    for shape in shapes_on(place):
        x = with_every_kind(shape)
        x[np.abs(x) > 1] = 0  # leaves 0, -0, 1 and NaN
        for axis in range(len(shape)):
            assert same_bits(gpu_any(x, axis=axis, on=place), x.any(axis)), (shape, axis)
            assert same_bits(gpu_all(x, axis=axis, on=place), x.all(axis)), (shape, axis)
            assert same_bits(gpu_count(x, axis=axis, on=place), np.count_nonzero(x, axis)), (shape, axis)


# all elements


@pytest.mark.parametrize("place", ["cpu", "interp"])
@pytest.mark.parametrize("dtype", ["bool", "int8", "uint16", "int64", "float16", "float32", "float64"])
def test_tests_and_counts_of_all_elements(place: str, dtype: str) -> None:
    for size in (1, 255, 256, 257, 4097, 65_537)[: None if place == "cpu" else 4]:
        for fill in (0, 1):
            x = np.full(size, fill, dtype)
            for at in (None, 0, size // 2, size - 1):
                if at is not None:
                    x[at] = 1 - fill
                assert same_bits(gpu_any(x, on=place), x.any())
                assert same_bits(gpu_all(x, on=place), x.all())
                assert same_bits(gpu_count(x, on=place), np.int64(np.count_nonzero(x)))


def test_where_the_extremes_of_floats_are(place: str) -> None:
    where_the_extremes_are(place, "float32")


@pytest.mark.parametrize("place", ["cpu", "interp"])
@pytest.mark.parametrize("dtype", ["int8", "uint64", "float16", "float64"])
def test_where_the_extremes_of_all_elements_are(place: str, dtype: str) -> None:
    where_the_extremes_are(place, dtype)


def where_the_extremes_are(place: str, dtype: str) -> None:
    rng = np.random.default_rng(3)
    for size in (1, 2, 63, 65, 256, 257, 4097, 16_384, 16_385, 40_000)[: None if place == "cpu" else 6]:
        x = rng.integers(0, 5, size).astype(dtype)
        for largest, arg in ((True, gpu_argmax), (False, gpu_argmin)):
            assert same_bits(arg(x, on=place), np.int64(x.argmax() if largest else x.argmin())), size
        x[size // 2] = NAN if x.dtype.kind == "f" else 1
        assert gpu_argmax(x, on=place) == first_best(x, largest=True)
        assert gpu_argmin(x, on=place) == first_best(x, largest=False)


@pytest.mark.parametrize(("place", "dtype"), placed(["int8", "uint8"], ()), indirect=["place"])
def test_extremes_of_integers_at_their_ends(place: str, dtype: str) -> None:
    info = np.iinfo(dtype)
    for fill in (info.min, info.max):
        x = np.full(300, fill, dtype)
        assert gpu_argmax(x, on=place) == 0
        assert gpu_argmin(x, on=place) == 0


def test_long_arrays() -> None:
    x = numbers("float32", (1_000_003,))
    assert same_bits(gpu_argmax(x), np.int64(x.argmax()))
    assert same_bits(gpu_argmin(x), np.int64(x.argmin()))
    assert same_bits(gpu_count(x > 0), np.int64(np.count_nonzero(x > 0)))
    near = numbers("float32", (1_000_003,), near_one=True)
    assert same_bits(gpu_product(near), expected_product(near))
    many = np.zeros(16_384 * 16_384 + 5, np.uint8)  # three levels
    many[-2:] = 1
    assert gpu_argmax(many) == many.size - 2


@pytest.mark.parametrize("place", ["cpu", "interp"])
@pytest.mark.parametrize("dtype", ["int8", "uint32", "float16", "float32", "float64"])
def test_products_of_all_elements(place: str, dtype: str) -> None:
    for size in (1, 2, 64, 65, 255, 256, 257, 4097)[: None if place == "cpu" else 6]:
        x = numbers(dtype, (size,), near_one=True)
        if x.dtype.kind == "f":
            assert same_bits(gpu_product(x, on=place), expected_product(x)), size
        else:
            wide = np.int64 if x.dtype.kind == "i" else np.uint64
            assert same_bits(gpu_product(x, on=place), x.prod(dtype=wide)), size
    if np.dtype(dtype).kind == "f":
        assert np.isnan(gpu_product(np.array([1, NAN, 0], dtype), on=place))
        assert np.isnan(gpu_product(np.array([np.inf, 0], dtype), on=place))
        assert np.signbit(gpu_product(np.array([-0.0, 2], dtype), on=place))


# shapes, emptiness, errors

EVERY = (gpu_sum, gpu_product, gpu_mean, gpu_min, gpu_max, gpu_any, gpu_all, gpu_count, gpu_argmin, gpu_argmax)


@pytest.mark.parametrize("reduce", EVERY, ids=lambda f: f.__name__)
def test_shapes_of_results(reduce: Any) -> None:
    x = np.arange(24.0).reshape(2, 3, 4)
    assert reduce(x).shape == ()
    assert reduce(x, keepdims=True).shape == (1, 1, 1)
    assert reduce(x, axis=1).shape == (2, 4)
    assert reduce(x, axis=-1, keepdims=True).shape == (2, 3, 1)
    assert reduce(np.zeros((0, 3)), axis=1).shape == (0,)
    assert np.array_equal(reduce(x[:, ::-1, ::2], axis=1), reduce(x[:, ::-1, ::2].copy(), axis=1))
    on_device = reduce(loom.array(x), axis=0)
    assert isinstance(on_device, loom.Array)
    assert same_bits(on_device.numpy(), reduce(x, axis=0))
    assert isinstance(reduce(loom.array(x)), loom.Array)
    assert not isinstance(reduce(x), np.ndarray)


def test_reductions_of_nothing() -> None:
    none = np.zeros((3, 0), np.float32)
    for reduce, value in ((gpu_sum, np.float32(0)), (gpu_product, np.float32(1)), (gpu_count, np.int64(0))):
        assert same_bits(reduce(none), value)
        assert same_bits(reduce(none, axis=1), np.full(3, value))
        assert same_bits(reduce(loom.array(none), axis=1).numpy(), np.full(3, value))
    assert same_bits(gpu_any(none, axis=1), np.zeros(3, bool))
    assert same_bits(gpu_all(none, axis=1), np.ones(3, bool))
    assert same_bits(gpu_product(np.zeros(0, np.int8)), np.int64(1))


@pytest.mark.parametrize(
    ("reduce", "what"),
    [(gpu_mean, "mean"), (gpu_min, "minimum"), (gpu_max, "maximum"), (gpu_argmin, "minimum"), (gpu_argmax, "maximum")],
)
def test_reductions_of_nothing_without_identity(reduce: Any, what: str) -> None:
    for axis in (None, 1):
        with pytest.raises(EmptyError) as caught:
            reduce(np.zeros((3, 0)), axis=axis)
        name = reduce.__name__
        assert str(caught.value) == (
            f"[{name}] no elements to take the {what} of: expected at least 1, got 0. Check for emptiness first."
        )


@pytest.mark.parametrize("reduce", EVERY, ids=lambda f: f.__name__)
def test_axes_that_are_not_there(reduce: Any) -> None:
    name = reduce.__name__
    with pytest.raises(ArgumentError) as caught:
        reduce(np.zeros((2, 3)), axis=2)
    assert str(caught.value) == (
        f"[{name}, axis] there is no such axis: expected -2 to 1, got 2. The array has shape (2, 3)."
    )
    with pytest.raises(ArgumentError, match=r"axis\] there is no such axis: expected None for an array of no dim"):
        reduce(1.0, axis=0)
    with pytest.raises(DTypeError, match=r"axis\] not an axis: expected an int or None, got \(0, 1\)\. Name one"):
        reduce(np.zeros((2, 3)), axis=(0, 1))
    with pytest.raises(DTypeError, match=r"axis\] not an axis: expected an int or None, got True"):
        reduce(np.zeros((2, 3)), axis=True)
