"""The kernels of products of views and of sums over windows, each on its own.

Oracle: the interpreter; tests/unit/tensor/neural/test_windows.py holds whole convolutions against numpy.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from conformance.running import Case, case
from loom.core.dtype import DType, f32, f64, i16
from loom.kernels.matmul.packed import multiply_tiles
from loom.kernels.matmul.tiles import Tile
from loom.kernels.matmul.views import (
    DIGIT_ROWS,
    digits_of_view,
    pack_view_columns,
    pack_view_rows,
)
from loom.kernels.move.windows import sum_windows, sum_windows_flat
from loom.kernels.precisions import PRECISIONS
from loom.kernels.types import ProductTypes, product_types, whole_types

__all__: list[str] = []

Array = np.ndarray[Any, Any]

_TILE = Tile(2, 2, 4, 2)
_M, _N, _K, _FIRST, _BEGIN = 5, 21, 150, 3, 2
_PRODUCTS = {"f32": product_types(f32, f32), "x12": product_types(f32, f32, precision="x12"),
             "f64": product_types(f64, f64)}  # fmt: skip


def _numbers(dtype: DType, size: int) -> Array:
    rng = np.random.default_rng(size)
    return (rng.standard_normal(size) * 2.0 ** rng.integers(-9, 9, size)).astype(dtype.numpy)


def _tables(count: int) -> list[Array]:
    """Places that are neighbours for some while, and depths that are none."""
    places = np.arange(count + _FIRST) + np.arange(count + _FIRST) // 11 * 3
    return [places.astype(np.uint32), (np.arange(_K + _BEGIN) * 7 % 401).astype(np.uint32)]


def _library(kernel: Any, buffers: list[Array], params: tuple[Any, ...], groups: tuple[int, int, int]) -> Case:
    return Case(kernel.verified.kernel, tuple(buffers), params, groups=groups, modes=("trusted", "reported"))


def _pack(types: ProductTypes, by_rows: bool) -> Case:
    count, step = (_M, _TILE.rows) if by_rows else (_N, _TILE.columns)
    tiles = -(-count // step)
    kernel = (pack_view_rows if by_rows else pack_view_columns)(_TILE, types)
    out = np.zeros(2 * tiles * step * types.words, types.held.numpy)
    buffers = [_numbers(types.element, 500), *_tables(count), out]
    return _library(kernel, buffers, (count, _K, _FIRST, _BEGIN), (tiles, 2, 1))


for _name, _types in _PRODUCTS.items():
    for _side in (True, False):
        case(f"library/view-{'rows' if _side else 'columns'}-{_name}", slow=_name == "f64")(
            partial(_pack, _types, _side)
        )


def _stretch(types: ProductTypes, depth: int) -> Case:
    high, wide, blocks, chunks = 3, 3, -(-depth // 128), -(-depth // 4096)
    a = _numbers(types.held, blocks * high * _TILE.rows * types.words)
    b = _numbers(types.held, blocks * wide * _TILE.columns * types.words)
    out = np.zeros((1 + chunks) * (_M + 2) * 30, types.accumulator.numpy)
    params = (_M, _N, depth, 2, 1, _M + 2, 1, 30, 9, 1)
    return _library(multiply_tiles(_TILE, types, stretch=True), [a, b, out], params, (wide, 2, chunks))


case("library/view-stretch")(partial(_stretch, _PRODUCTS["f32"], 150))
case("library/view-stretch-chunks", slow=True)(partial(_stretch, _PRODUCTS["f32"], 4100))


def _scaled() -> Case:
    types = whole_types(PRECISIONS["q12"], threads=False)
    rng = np.random.default_rng(5)
    pairs = [rng.integers(-2015, 2016, (2 * 3 * n * types.words, 2), np.int16) for n in (2, _TILE.columns)]
    a, b = (p.view(np.int32).reshape(-1) for p in pairs)
    scales = [2.0 ** rng.integers(-20, 20, 2 * n).astype(np.float32) for n in (_M, _N)]
    out = np.zeros((_M + 2) * 30, np.float32)
    params = (_M, _N, 256, 2, 1, _M + 2, 1, 30, 9, 0)
    return _library(multiply_tiles(_TILE, types, stretch=True), [a, b, *scales, out], params, (3, 2, 1))


case("library/view-stretch-scaled")(_scaled)


def _digits() -> Case:
    out, scales = np.zeros(2 * 128 * _N, i16.numpy), np.zeros(2 * _N, np.float32)
    buffers = [_numbers(f32, 500), *_tables(_N), out, scales]
    groups = (-(-_N // DIGIT_ROWS), 2, 1)
    return _library(digits_of_view(PRECISIONS["q12"]), buffers, (_N, _K, _FIRST, _BEGIN), groups)


case("library/view-digits")(_digits)


def _sums(element: DType, step: int, flat: bool) -> Case:
    images, channels, (height, width), (high, wide), (above, before) = 2, 3, (5, 11), (3, 2), (1, 0)
    down, across = (height + 2 * above - high) // 2 + 1, (width + 2 * before - wide) // step + 1
    columns = _numbers(element, high * wide * channels * images * down * across)
    out = np.zeros(3 * channels * height * width, element.numpy)
    params = (1, images, channels, height, width, high, wide, down, across, 2, above, before)
    if flat:
        groups = (-(-images * channels * height * width // 16), 1, 1)
        return _library(sum_windows_flat(element, 16), [columns, out], (*params, step), groups)
    return _library(sum_windows(element, 4, step), [columns, out], params, (images * channels * height, 1, 1))


for _flat in (True, False):
    for _step in (1, 2):
        case(f"library/sum-windows-{_step}{'-flat' if _flat else ''}")(partial(_sums, f32, _step, _flat))
case("library/sum-windows-f64", slow=True)(partial(_sums, f64, 1, False))
