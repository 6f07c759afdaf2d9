"""Order-free products of views over tiles of bytes, stretch by stretch: the bits of the copied operands' product."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import loom
from loom.kernels.matmul.units import Patch
from loom.kernels.matmul.wide import WidePatch
from loom.kernels.types import product_types
from loom.schedules.matmul import Multiplication
from loom.schedules.products.units import record_viewed_units
from loom.schedules.products.views import OperandView
from unit.patterns.canonical import same_bits
from unit.patterns.linalg.order_free import order_free_product

Array = np.ndarray[Any, Any]
SMALL, WIDE = Patch(1, 2, 1, 1), WidePatch(1, 32, 2)


def windows(images: int, channels: int, size: int, window: int) -> tuple[Array, Array]:
    """Return where windows of images (image, channel, row, column) begin, and how far their elements lie from there."""
    at = np.arange(images * channels * size * size).reshape(images, channels, size, size)
    wide = size - window + 1
    places = at[:, 0, :wide, :wide].reshape(-1)
    depths = at[0, :, :window, :window].transpose(1, 2, 0).reshape(-1)
    return places, depths


def multiplied(
    on: str, x: Array, w: Array, views: list[OperandView], what: Multiplication, nbytes: int,
    patch: Patch | WidePatch = SMALL,
) -> Array:  # fmt: skip
    device = loom.device(on)
    out = np.full(what.m * what.n, np.nan, np.float32)
    chain, places = loom.Chain(device), [device.allocate(4 * v.size) for v in (x, w, out)]
    for place, v in zip(places, (x, w, out), strict=True):
        place.write(0, v.reshape(-1).view(np.uint8))
    a, b = (OperandView(places[v.buffer], v.places, v.depths) for v in views)
    assert record_viewed_units(chain, a, b, places[2], what, nbytes, patch)
    chain.build().run()
    return places[2].read(0, out.nbytes).view(np.float32).reshape(what.m, what.n)


def drawn(*shape: int) -> Array:
    rng = np.random.default_rng(shape)
    return (rng.standard_normal(shape) * np.exp2(rng.integers(-12, 12, shape))).astype(np.float32)


@pytest.mark.parametrize(
    ("name", "nbytes"), [("q12", 1 << 28), ("q12", 1), pytest.param("q24", 1, marks=pytest.mark.slow)]
)
def test_windows_times_filters_and_filters_times_windows(on: str, name: str, nbytes: int) -> None:
    images, filters = drawn(2, 15, 12, 12), drawn(5, 9 * 15)
    images[0, 3, 2, 2], images[1, 14, 11, 11] = np.nan, np.inf
    places, depths = windows(2, 15, 12, 3)
    copied = images.reshape(-1)[places[:, None] + depths]
    expected = order_free_product(filters, np.ascontiguousarray(copied.T), name)
    m, n, k = 5, len(places), len(depths)
    types = product_types(loom.f32, loom.f32, precision=name)
    both = [OperandView.of_strides(1, (m, k), (k, 1)), OperandView(0, places, depths)]
    found = multiplied(on, images, filters, both, Multiplication(m, n, k, types), nbytes)
    assert same_bits(found, expected)
    found = multiplied(on, images, filters, both[::-1], Multiplication(n, m, k, types), nbytes)
    assert same_bits(found, np.ascontiguousarray(expected.T))


@pytest.mark.parametrize(
    ("name", "nbytes"), [("q24", 1 << 28), *(pytest.param(n, 1, marks=pytest.mark.slow) for n in ("q8", "q12"))]
)
def test_windows_over_64_rows_at_a_time(name: str, nbytes: int) -> None:
    images, filters = drawn(2, 15, 13, 13), drawn(70, 9 * 15)
    images[0, 3, 2, 2], images[1, 14, 11, 11] = np.nan, np.inf
    places, depths = windows(2, 15, 13, 3)
    copied = images.reshape(-1)[places[:, None] + depths]
    expected = order_free_product(filters, np.ascontiguousarray(copied.T), name)
    m, n, k = 70, len(places), len(depths)
    types = product_types(loom.f32, loom.f32, precision=name)
    both = [OperandView.of_strides(1, (m, k), (k, 1)), OperandView(0, places, depths)]
    found = multiplied("cpu", images, filters, both, Multiplication(m, n, k, types), nbytes, WIDE)
    assert same_bits(found, expected)
    found = multiplied("cpu", images, filters, both[::-1], Multiplication(n, m, k, types), nbytes, WIDE)
    assert same_bits(found, np.ascontiguousarray(expected.T))


@pytest.mark.slow
@pytest.mark.parametrize("nbytes", [1 << 28, 1])
def test_sums_over_places_of_more_than_a_chunk(on: str, nbytes: int) -> None:
    images, slopes = drawn(3, 2, 44, 44), drawn(9, 3 * 42 * 42)
    depths, places = windows(3, 2, 44, 3)
    copied = images.reshape(-1)[places[:, None] + depths]
    expected = order_free_product(slopes, np.ascontiguousarray(copied.T), "q12")
    m, n, k = 9, len(places), len(depths)
    types = product_types(loom.f32, loom.f32, precision="q12")
    both = [OperandView.of_strides(1, (m, k), (k, 1)), OperandView(0, places, depths)]
    assert same_bits(multiplied(on, images, slopes, both, Multiplication(m, n, k, types), nbytes), expected)
