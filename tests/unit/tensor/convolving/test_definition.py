"""Drawn convolutions beside their definition (docs/numerics.md, section 2): windows as rows, times weights in order."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest

import loom
from loom import tensor
from unit.patterns.linalg.order_free import TOPS, order_free_product

Array = np.ndarray[Any, Any]
DTYPES: dict[str, Any] = {"f32": np.float32, "f16": np.float16, "bf16": ml_dtypes.bfloat16, "f64": np.float64,
                          "i8": np.int8, "u8": np.uint8, "i16": np.int16, "i32": np.int32}  # fmt: skip


def in_order(a: Array, b: Array) -> Array:
    """Return the product of (m, k) and (k, n), k below 4096: blocks of 128 from +0, then blocks one after the other."""
    total = np.zeros((len(a), b.shape[1]), a.dtype)
    for first in range(0, len(b), 128):
        block = np.zeros_like(total)
        for k in range(first, min(first + 128, len(b))):
            block = block + np.outer(a[:, k], b[k])
        total = total + block
    return total


def product(a: Array, b: Array, precision: str) -> Array:
    if a.dtype.kind in "iu":
        return (a.astype(np.int64) @ b.astype(np.int64)).astype(np.int32)
    if a.dtype == np.float64:
        return in_order(a, b)
    wide, dtype = [v.astype(np.float32) for v in (a, b)], a.dtype
    if precision in TOPS:
        return order_free_product(*wide, precision).astype(dtype)
    if precision == "x12":  # 12 significant bits, halves to even
        words = [v.view(np.uint32) for v in wide]
        wide = [((w + 0x7FF + (w >> 12 & 1)) & 0xFFFFF000).astype(np.uint32).view(np.float32) for w in words]
    return in_order(*wide).astype(dtype)


def convolution(x: Array, w: Array, precision: str, stride: Any, padding: Any, dilation: Any, groups: int) -> Array:
    d, window = x.ndim - 2, w.shape[:-2]
    padded = np.pad(x, [(0, 0), *((p, p) for p in padding), (0, 0)])
    places = [(n - g * (k - 1) - 1) // s + 1 for n, k, s, g in
              zip(padded.shape[1:-1], window, stride, dilation, strict=True)]  # fmt: skip
    found = np.zeros((len(x), *places, *window, x.shape[-1]), x.dtype)
    for at in np.ndindex(*window):
        cut = [slice(a * g, a * g + (n - 1) * s + 1, s) for a, g, n, s in
               zip(at, dilation, places, stride, strict=True)]  # fmt: skip
        found[(slice(None),) * (d + 1) + at] = padded[(slice(None), *cut)]
    results: list[Array] = []
    for part, weight in zip(np.split(found, groups, -1), np.split(w, groups, -1), strict=True):
        rows, k = len(x) * int(np.prod(places)), int(np.prod(weight.shape[:-1]))
        made = product(part.reshape(rows, k), weight.reshape(k, weight.shape[-1]), precision)
        results.append(made.reshape(len(x), *places, weight.shape[-1]))
    return np.concatenate(results, -1)


def numbers(rng: np.random.Generator, shape: Any, dtype: str) -> Array:
    if dtype[0] in "iu":
        info = np.iinfo(DTYPES[dtype])
        return rng.integers(info.min, info.max, shape, endpoint=True).astype(DTYPES[dtype])
    found = rng.standard_normal(shape) * 2.0 ** rng.integers(-3, 3, shape)
    found.reshape(-1)[::5] = -0.0
    return found.astype(DTYPES[dtype])


def assert_defined(x: Array, w: Array, precision: str, on: str, **options: Any) -> None:
    with loom.precision(precision):
        made = np.asarray(tensor.convolve(loom.array(x, on=on), loom.array(w, on=on), **options).numpy())
    expected = convolution(x, w, precision, **options)
    assert (made.dtype, made.shape) == (expected.dtype, expected.shape)
    assert made.tobytes() == expected.tobytes()


def check_drawn(seed: int, on: str) -> None:
    rng = np.random.default_rng(seed)
    d, groups = int(rng.choice([1, 2, 2, 3])), int(rng.choice([1, 1, 2, 3]))
    channels, filters = (int(v) for v in rng.choice([1, 1, 2, 5, 8, 17], 2))
    size = rng.integers(1, {1: 40, 2: 12, 3: 6}[d], d)
    stride, padding, dilation = (rng.choice(v, d).tolist() for v in ([1, 1, 2, 3], [0, 0, 1, 2], [1, 1, 2]))
    window = [int(rng.integers(1, (n + 2 * p - 1) // g + 2)) for n, p, g in zip(size, padding, dilation, strict=True)]
    dtype = str(rng.choice(list(DTYPES)))
    precision = str(rng.choice(["full", *TOPS, *(["x12"] if dtype == "f32" else [])]))
    x = numbers(rng, (int(rng.integers(0, 4)), *size, channels * groups), dtype)
    w = numbers(rng, (*window, channels, filters * groups), dtype)
    assert_defined(x, w, precision, on, stride=stride, padding=padding, dilation=dilation, groups=groups)


@pytest.mark.parametrize("seed", range(3))
def test_drawn_convolutions_are_their_definition(seed: int, on: str) -> None:
    check_drawn(seed, on)


@pytest.mark.slow
def test_more_drawn_convolutions_are_their_definition(on: str) -> None:
    for seed in range(100, 130):
        check_drawn(seed, on)


@pytest.mark.parametrize(("dtype", "precision"), [("f32", "q12"), ("f16", "full"), ("bf16", "full"), ("i8", "full")])
def test_convolutions_of_single_channels_are_products_too(dtype: str, precision: str, on: str) -> None:
    rng = np.random.default_rng(1)
    x, w = numbers(rng, (2, 6, 5, 3), dtype), numbers(rng, (3, 2, 1, 6), dtype)
    assert_defined(x, w, precision, on, stride=[1, 2], padding=[1, 0], dilation=[1, 1], groups=3)


def test_long_windows_of_single_channels_are_added_in_blocks(on: str) -> None:
    rng = np.random.default_rng(2)
    x, w = numbers(rng, (1, 300, 2), "f32"), numbers(rng, (290, 1, 2), "f32")
    assert_defined(x, w, "full", on, stride=[1], padding=[0], dilation=[1], groups=2)


def test_sums_of_single_channels_are_never_minus_zero(on: str) -> None:
    y = tensor.convolve(tensor.full((1, 4, 2), -0.0, on=on), tensor.ones((2, 1, 2), on=on), groups=2)
    assert not np.signbit(y.numpy()).any()


@pytest.mark.parametrize("groups", [1, 16])
def test_types_meet_as_those_of_products(groups: int) -> None:
    rng = np.random.default_rng(3)
    x, w = numbers(rng, (1, 20, 20, 16), "f32"), numbers(rng, (3, 3, 16 // groups, 16), "f16")
    expected = tensor.convolve(loom.array(x), loom.array(w.astype(np.float32)), groups=groups).numpy()
    assert tensor.convolve(loom.array(x), loom.array(w), groups=groups).numpy().tobytes() == expected.tobytes()
    halves, weight = tensor.ones((1, 5, 16), "f16"), tensor.ones((3, 16 // groups, 16))
    assert tensor.convolve(halves, weight, groups=groups).dtype == loom.f32


@pytest.mark.parametrize("precision", ["full", pytest.param("q24", marks=pytest.mark.slow)])
def test_windows_of_halves_are_not_copied(precision: str, on: str) -> None:
    peaks: list[int] = []
    with loom.precision(precision):
        for dtype in ("f32", "f16"):
            x = tensor.input("x", (4, 64, 64, 32), dtype)
            w = tensor.parameter(np.zeros((5, 5, 32, 32), DTYPES[dtype]), on=on)
            y = tensor.convolve(x, w, padding=2)
            peaks += [tensor.compile([y, *tensor.grad((y * y).sum(), [x, w])]).peak_nbytes]
    assert peaks[1] < 1.5 * peaks[0]  # copies of windows would be 25 times the images


@pytest.mark.parametrize("precision", [None, "x12", "q8"])
@pytest.mark.parametrize("axes", [1, 2, 3])
def test_the_gradients_of_no_images_are_zeros(on: str, axes: int, precision: str | None) -> None:
    x = loom.array(np.zeros((0, *[6] * axes, 4), np.float32), on=on)
    weight = loom.array(np.ones((*[2] * axes, 4, 6), np.float32), on=on)
    with loom.precision(precision):
        found = tensor.grad(tensor.convolve(x, weight).sum(), [x, weight])
    assert found[0].shape == x.shape
    assert np.array_equal(found[1].numpy(), np.zeros(weight.shape))
