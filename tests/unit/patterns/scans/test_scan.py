"""``gpu_scan``: exact bits in the canonical order, integers as numpy has them, along any axis."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import loom
from loom import gpu_scan
from loom.core.errors import ArgumentError, DTypeError
from unit.patterns.canonical import canonical_scan, same_bits, scan_of_items

Array = np.ndarray[Any, Any]

SIZES = (1, 2, 63, 64, 65, 255, 256, 257, 511, 512, 513, 4095, 4096, 4097, 8192, 65_537)
INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
FLOATS = ("float16", "float32", "float64")
PLAIN = {
    "sum": np.cumsum,
    "product": np.cumprod,
    "min": np.minimum.accumulate,
    "max": np.maximum.accumulate,
}
UFUNCS = {"sum": np.add, "product": np.multiply}
NAN, INF = np.nan, np.inf


def sizes_on(place: str) -> tuple[int, ...]:
    return SIZES if place == "cpu" else (1, 2, 64, 65, 257, 577)


def numbers(dtype: str, size: int, op: str = "sum") -> Array:
    rng = np.random.default_rng([size, ord(dtype[0]), int(dtype[-1])])
    if dtype in INTEGERS:
        info = np.iinfo(dtype)
        return rng.integers(info.min, info.max, size, dtype, endpoint=True)
    if op == "product":
        return (rng.choice([-1.0, 1.0], size) * 2.0 ** rng.uniform(-0.3, 0.3, size)).astype(dtype)
    return (rng.normal(size=size) * 10.0 ** rng.uniform(-2, 1, size)).astype(dtype)


def expected(x: Array, op: str) -> Array:
    """What Loom promises, along the only axis."""
    if op in ("min", "max"):
        return PLAIN[op](x)
    if x.dtype.kind == "f":
        wide = x.astype(np.float32) if x.dtype == np.float16 else x
        with np.errstate(over="ignore"):
            return canonical_scan(wide, UFUNCS[op]).astype(x.dtype)
    wide_type = np.uint64 if x.dtype.kind == "u" else np.int64
    with np.errstate(over="ignore"):
        return PLAIN[op](x, dtype=wide_type)


def shifted(inclusive: Array, identity: Any) -> Array:
    out = np.empty_like(inclusive)
    out[0], out[1:] = identity, inclusive[:-1]
    return out


def identity(op: str, dtype: np.dtype[Any]) -> Any:
    if op in ("sum", "product"):
        return int(op == "product")
    if dtype.kind == "f":
        return INF if op == "min" else -INF
    info = np.iinfo(dtype)
    return info.max if op == "min" else info.min


def test_the_two_oracles_agree() -> None:
    for size in (1, 2, 65, 257, 4095, 4097, 9000):
        x = numbers("float64", size)
        items = scan_of_items(x.tolist(), lambda a, b: a + b)
        assert same_bits(canonical_scan(x), np.array(items))


def test_the_order_can_be_seen_in_the_bits() -> None:
    x = numbers("float32", 9000)
    assert not same_bits(canonical_scan(x), np.cumsum(x))
    assert np.allclose(canonical_scan(x), np.cumsum(x, dtype=np.float64), atol=1e-3)


PLACES = pytest.mark.parametrize("place", ["cpu", "interp"])
"""For types whose kernels differ in nothing a vector width could change."""


@pytest.mark.parametrize("op", ["sum", "product"])
def test_floats_follow_the_canonical_order(place: str, op: str) -> None:
    floats_follow_the_canonical_order(place, "float32", op)


@PLACES
@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_other_floats_too(place: str, dtype: str) -> None:
    floats_follow_the_canonical_order(place, dtype, "sum")
    x = numbers(dtype, 577, "product")
    assert same_bits(gpu_scan(x, "product", on=place), expected(x, "product"))


def floats_follow_the_canonical_order(place: str, dtype: str, op: str) -> None:
    for size in sizes_on(place):
        x = numbers(dtype, size, op)
        whole = expected(x, op)
        assert same_bits(gpu_scan(x, op, on=place), whole), size
        assert same_bits(gpu_scan(x, op, exclusive=True, on=place), shifted(whole, identity(op, x.dtype))), size


@PLACES
@pytest.mark.parametrize("dtype", ["int8", "uint32", "int64", *FLOATS])
@pytest.mark.parametrize("op", ["min", "max"])
def test_extremes_keep_the_dtype(place: str, dtype: str, op: str) -> None:
    for size in sizes_on(place)[1::3]:
        x = numbers(dtype, size)
        assert same_bits(gpu_scan(x, op, on=place), PLAIN[op](x)), size
        exclusive = shifted(PLAIN[op](x), identity(op, x.dtype))
        assert same_bits(gpu_scan(x, op, exclusive=True, on=place), exclusive), size


@PLACES
@pytest.mark.parametrize("dtype", INTEGERS)
def test_integers_widen_to_64_bits_and_wrap(place: str, dtype: str) -> None:
    op = "product" if dtype in ("int8", "uint64") else "sum"
    for size in sizes_on(place)[::3]:
        x = numbers(dtype, size)
        whole = expected(x, op)
        assert same_bits(gpu_scan(x, op, on=place), whole), size
    found = gpu_scan(x, op, exclusive=True, on=place)
    assert same_bits(found, shifted(whole, int(op == "product")))


@PLACES
def test_bools_are_counted(place: str) -> None:
    x = np.arange(700) % 3 == 0
    assert same_bits(gpu_scan(x, on=place), np.cumsum(x, dtype=np.int64))
    assert same_bits(gpu_scan(x, "max", on=place), np.maximum.accumulate(x))
    assert same_bits(gpu_scan(~x, "min", exclusive=True, on=place), np.arange(700) < 1)


@PLACES
def test_bfloat16_is_added_in_f32(place: str) -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    x = numbers("float32", 700).astype(ml_dtypes.bfloat16)
    found = gpu_scan(x, on=place)
    assert found.dtype == x.dtype
    expected = canonical_scan(x.astype(np.float32)).astype(ml_dtypes.bfloat16)
    assert (found.view(np.uint16) == expected.view(np.uint16)).all()


SHAPES = ((5, 300, 7), (1, 4100, 3), (66, 130), (70, 64), (64, 1), (1, 200))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("exclusive", [False, True])
def test_along_an_axis_each_row_is_scanned_as_by_itself(place: str, shape: tuple[int, ...], exclusive: bool) -> None:
    if place == "interp":
        shape = tuple(min(n, 5 if k == 0 else 70) for k, n in enumerate(shape))[:2]
    x = numbers("float32", int(np.prod(shape))).reshape(shape)
    for axis in range(-1, len(shape) - 1):
        whole = np.apply_along_axis(canonical_scan, axis, x)
        if exclusive:
            whole = np.apply_along_axis(lambda row: shifted(row, 0), axis, whole)
        assert same_bits(gpu_scan(x, axis=axis, exclusive=exclusive, on=place), whole), axis


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int64", "uint8"])
def test_a_million_elements(dtype: str) -> None:
    x = numbers(dtype, 1_000_003)
    assert same_bits(gpu_scan(x), expected(x, "sum"))


def test_three_levels_of_tiles() -> None:
    x = np.resize(numbers("float32", 65_537), 4096 * 4096 + 4097)
    whole = canonical_scan(x)
    assert same_bits(gpu_scan(x), whole)
    assert same_bits(gpu_scan(x, exclusive=True), shifted(whole, 0))


# special values


@PLACES
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("at", [0, 70, 130])
def test_from_a_nan_on_all_results_are_nan(place: str, dtype: str, at: int) -> None:
    x = np.ones(140, dtype)
    x[at] = NAN
    for op in PLAIN:
        found = np.isnan(gpu_scan(x, op, on=place))
        assert (found == (np.arange(140) >= at)).all()
        exclusive = np.isnan(gpu_scan(x, op, exclusive=True, on=place))
        assert (exclusive == (np.arange(140) > at)).all()


@PLACES
def test_zeros_keep_their_signs(place: str) -> None:
    zeros = np.full(200, -0.0, np.float32)
    assert np.signbit(gpu_scan(zeros, on=place)).all()  # no +0 is ever added
    zeros[130] = 0
    after = np.arange(200) >= 130
    assert (np.signbit(gpu_scan(zeros, on=place)) == ~after).all()
    assert (np.signbit(gpu_scan(zeros, "max", on=place)) == ~after).all()
    assert (np.signbit(gpu_scan(-zeros, "min", on=place)) == after).all()


@PLACES
def test_infinities_and_subnormals(place: str) -> None:
    x = np.full(130, 1e-45, np.float32)
    assert (gpu_scan(x, on=place).view(np.uint32) == np.arange(1, 131)).all()
    x[[3, 100]] = INF, -INF
    found = gpu_scan(x, on=place)
    assert np.isinf(found[3:100]).all()
    assert np.isnan(found[100:]).all()


@PLACES
def test_empty_and_single(place: str) -> None:
    assert same_bits(gpu_scan(np.zeros(0, np.int8), on=place), np.zeros(0, np.int64))
    assert gpu_scan(np.zeros((3, 0), np.float32), axis=0, on=place).shape == (3, 0)
    assert same_bits(gpu_scan(np.array([2.5]), on=place), np.array([2.5]))
    assert same_bits(gpu_scan(np.array([2.5]), "max", exclusive=True, on=place), np.array([-INF]))
    assert same_bits(gpu_scan(np.zeros((2, 1, 3)), "product", exclusive=True, axis=1, on=place), np.ones((2, 1, 3)))


def test_results_of_arrays_on_a_device_stay_there() -> None:
    found = gpu_scan(loom.array([1.0, 2.0, 3.0]))
    assert isinstance(found, loom.Array)
    assert found.tolist() == [1, 3, 6]


# errors


def test_errors() -> None:
    with pytest.raises(ArgumentError, match=r"^\[gpu_scan, op\] no scan is called 'mul'\. Known names: max, min, prod"):
        gpu_scan([1.0], "mul")
    with pytest.raises(ArgumentError, match=r"^\[gpu_scan, op\] no scan is called 3"):
        gpu_scan([1.0], 3)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError) as caught:
        gpu_scan(np.zeros((2, 3)))
    assert str(caught.value) == (
        "[gpu_scan, axis] no axis to scan along: expected an int, got None, shape (2, 3). "
        "Name the axis, or flatten the array."
    )
    with pytest.raises(ArgumentError, match=r"^\[gpu_scan, axis\] there is no such axis: expected -2 to 1, got 2"):
        gpu_scan(np.zeros((2, 3)), axis=2)
    with pytest.raises(DTypeError, match=r"^\[gpu_scan, axis\] not an axis: expected an int or None, got 1\.0"):
        gpu_scan(np.zeros((2, 3)), axis=1.0)  # type: ignore[arg-type]
    with pytest.raises(DTypeError, match=r"^\[gpu_scan\]"):
        gpu_scan(["a"])
