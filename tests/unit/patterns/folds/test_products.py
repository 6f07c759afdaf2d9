"""``gpu_dot`` and ``gpu_norm``: products rounded, then added in the canonical order."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import loom
from loom import gpu_dot, gpu_norm
from loom.core.errors import ArgumentError, DTypeError, ShapeError
from unit.patterns.canonical import canonical_sum, same_bits

Array = np.ndarray[Any, Any]

SIZES = (1, 2, 63, 64, 65, 255, 256, 257, 4095, 4096, 4097, 65_537)
NAN, INF = np.nan, np.inf


def sizes_on(place: str) -> tuple[int, ...]:
    return SIZES if place == "cpu" else SIZES[:8]


def numbers(dtype: str, size: int, seed: int = 0) -> Array:
    rng = np.random.default_rng([size, seed])
    if np.dtype(dtype).kind in "iu":
        info = np.iinfo(dtype)
        return rng.integers(info.min, info.max, size, dtype, endpoint=True)
    return (rng.normal(size=size) * 10.0 ** rng.uniform(-2, 1, size)).astype(dtype)


def wide(x: Array) -> Array:
    return x.astype(np.float32) if x.dtype == np.float16 else x


def test_dots(place: str) -> None:
    dots_of_floats(place, "float32")


@pytest.mark.parametrize("place", ["cpu", "interp"])
@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_dots_of_other_floats(place: str, dtype: str) -> None:
    dots_of_floats(place, dtype)


def dots_of_floats(place: str, dtype: str) -> None:
    for size in sizes_on(place):
        a, b = numbers(dtype, size), numbers(dtype, size, 1)
        expected = canonical_sum(wide(a) * wide(b)).astype(dtype)
        assert same_bits(gpu_dot(a, b, on=place), expected), size


@pytest.mark.parametrize("place", ["cpu", "interp"])
@pytest.mark.parametrize("dtype", ["int8", "int64", "uint8", "uint32"])
def test_dots_of_integers_wrap_in_64_bits(place: str, dtype: str) -> None:
    for size in sizes_on(place)[::2]:
        a, b = numbers(dtype, size), numbers(dtype, size, 1)
        total = sum(x * y for x, y in zip(a.tolist(), b.tolist(), strict=True)) % 2**64
        expected = np.uint64(total).view(np.int64) if a.dtype.kind == "i" else np.uint64(total)
        assert same_bits(gpu_dot(a, b, on=place), expected), size


def test_a_product_is_rounded_before_it_is_added(place: str) -> None:
    a = np.zeros(128, np.float32)
    b = a.copy()
    a[0] = b[0] = 1 + 2**-12
    a[64], b[64] = 1, -(1 + 2**-11)
    assert gpu_dot(a, b, on=place) == 0  # with a fused multiply-add 2^-24


@pytest.mark.parametrize("place", ["cpu", "interp"])
def test_special_dots(place: str) -> None:
    assert np.isnan(gpu_dot([1.0, NAN], [0.0, 1.0], on=place))
    assert np.isnan(gpu_dot([INF, 1.0], [0.0, 1.0], on=place))
    assert same_bits(gpu_dot(np.zeros(0, np.float32), np.zeros(0, np.float32), on=place), np.float32(0))
    assert same_bits(gpu_dot(np.array([True, True]), np.array([True, False]), on=place), np.int64(1))
    assert gpu_dot(loom.array([1.0, 2.0]), loom.array([3.0, 4.0])).item() == 11
    assert gpu_dot(np.array([1, 2], np.float32), [3.0, 4.0], on=place).dtype == np.float32


def test_errors_of_dot() -> None:
    with pytest.raises(ShapeError) as caught:
        gpu_dot([1.0, 2.0], [1.0])
    assert str(caught.value) == ("[gpu_dot, b] vectors of different lengths: expected 2, got 1. Match the lengths.")
    with pytest.raises(DTypeError) as caught_dtype:
        gpu_dot(np.zeros(2, np.float32), np.zeros(2, np.int8))
    assert str(caught_dtype.value) == "[gpu_dot, b] vectors of different dtypes: expected f32, got i8. Convert one."
    with pytest.raises(ShapeError, match=r"^\[gpu_dot, a\] wrong number of dimensions: expected 1"):
        gpu_dot(np.zeros((2, 2)), np.zeros((2, 2)))


@pytest.mark.parametrize("place", ["cpu", "interp"])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_norms_of_floats(place: str, dtype: str) -> None:
    for size in sizes_on(place)[::2]:
        x = numbers(dtype, size)
        w = wide(x)
        assert same_bits(gpu_norm(x, on=place), np.sqrt(canonical_sum(w * w)).astype(dtype)), size
        assert same_bits(gpu_norm(x, 1, on=place), canonical_sum(abs(w)).astype(dtype)), size
        assert same_bits(gpu_norm(x, INF, on=place), abs(x).max()), size


@pytest.mark.parametrize("place", ["cpu", "interp"])
@pytest.mark.parametrize("dtype", ["int8", "uint16", "int64", "bool"])
def test_norms_of_integers_are_float64(place: str, dtype: str) -> None:
    x = numbers("int64", 257).astype(dtype)
    w = x.astype(np.float64)
    assert same_bits(gpu_norm(x, on=place), np.sqrt(canonical_sum(w * w)))
    assert same_bits(gpu_norm(x, 1, on=place), canonical_sum(abs(w)))
    assert same_bits(gpu_norm(x, INF, on=place), abs(w).max())


def test_norms_agree_with_numpy() -> None:
    x = np.random.default_rng(1).normal(size=(300, 400))
    for kind in (1, 2, INF):  # rounding errors: at most about log2(n) + 64 halves of an ulp each
        assert np.isclose(gpu_norm(x, kind), np.linalg.norm(x.reshape(-1), kind), rtol=1e-13)


@pytest.mark.parametrize("place", ["cpu", "interp"])
def test_special_norms(place: str) -> None:
    assert gpu_norm(np.array([1e20, 1], np.float32), on=place) == INF  # documented: squares overflow
    assert gpu_norm(np.array([1e20, 1], np.float32), INF, on=place) == np.float32(1e20)
    assert gpu_norm(np.array([300, 400], np.float16), on=place) == 500  # computed in f32
    for kind in (1, 2, INF):
        assert np.isnan(gpu_norm([1.0, NAN, -3.0], kind, on=place))
        assert same_bits(gpu_norm(np.array([-0.0, 0.0]), kind, on=place), np.float64(0))
        assert same_bits(gpu_norm(np.zeros(0, np.float32), kind, on=place), np.float32(0))
        assert gpu_norm([-INF, 2.0], kind, on=place) == INF
    assert gpu_norm(loom.array([3.0, 4.0])).item() == 5


def test_errors_of_norm() -> None:
    for kind in (3, "fro", -1, None):
        with pytest.raises(ArgumentError, match=r"^\[gpu_norm, ord\] no such norm: expected 1, 2 or inf, got "):
            gpu_norm([1.0], kind)  # type: ignore[arg-type]
