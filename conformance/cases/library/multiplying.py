"""The kernels of matrix multiplication, each on its own: packing, tiles, narrow shapes, the end.

Oracle: the interpreter; tests/unit/patterns hold whole products against numpy.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from conformance.running import Case, case
from conformance.values import random_bits
from loom.core.dtype import DType, bf16, f16, f32, f64, i8, i16, i32, u8, u16, u32, u64
from loom.kernels.matmul.direct import STRIP, finish_chunks, multiply_direct, multiply_rows, multiply_thin
from loom.kernels.matmul.grids import Grid, Layout
from loom.kernels.matmul.integers import EACH, multiply_integers, pack_bias, pack_integers
from loom.kernels.matmul.pack import PANELS, pack_columns, pack_rows
from loom.kernels.matmul.packed import multiply_tiles
from loom.kernels.matmul.threads import FOLD_LANES, fold_blocks, multiply_slabs
from loom.kernels.matmul.tiles import CHUNK, Tile
from loom.kernels.types import ProductTypes

__all__: list[str] = []

Array = np.ndarray[Any, Any]

_FLOATS = ProductTypes(f32, f32, f32, f32)
_TYPES = {
    "f32": _FLOATS,
    "x12": ProductTypes(f32, f32, f32, f32, precision="x12"),
    "f64": ProductTypes(f64, f64, f64, f64),
    "f16": ProductTypes(f16, f32, f32, f16),
    "bf16": ProductTypes(bf16, f32, f32, bf16),
    "i8": ProductTypes(i8, i32, i32, i32, pairs=True),
    "u8": ProductTypes(u8, i32, i32, i32, pairs=True),
    "i16": ProductTypes(i16, i32, i32, i32, pairs=True),
    "u16": ProductTypes(u16, u32, u32, u32),
    "u32-u64": ProductTypes(u32, u64, u64, u64),
}
_TILES = {"2x2x4": Tile(2, 2, 4, 2), "3x1x16": Tile(3, 1, 16, 4, u32)}
_M, _N, _K = 7, 21, 150
_HIGH, _BLOCKS = 4, 2


def _numbers(dtype: DType, size: int) -> Array:
    """Numbers of very different size, so that any change of order shows."""
    if dtype.is_integer:
        return random_bits(dtype.numpy, size, seed=size)
    rng = np.random.default_rng(size)
    wide = rng.standard_normal(size) * 2.0 ** rng.integers(-9, 9, size)
    if dtype == bf16:
        return (wide.astype(np.float32).view(np.uint32) >> np.uint32(16)).astype(np.uint16)
    return wide.astype(dtype.numpy)


def _library(kernel: Any, buffers: list[Array], params: tuple[Any, ...], groups: tuple[int, int, int]) -> Case:
    return Case(kernel.verified.kernel, tuple(buffers), params, groups=groups, modes=("trusted", "reported"))


def _pack_rows(types: ProductTypes, transposed: bool) -> Case:
    tile = _TILES["2x2x4"]
    out = np.zeros(2 * _BLOCKS * _HIGH * tile.rows * types.words, types.held.numpy)
    x, which = _numbers(types.element, 3 * _M * _K), np.array([9, 2, 0], np.uint32)
    return _library(pack_rows(tile, types, transposed=transposed), [x, which, out], (_M, _K, 1), (_HIGH, _BLOCKS, 2))


def _pack_columns(types: ProductTypes, transposed: bool, name: str) -> Case:
    tile = _TILES[name]
    wide = -(-_N // tile.columns)
    out = np.zeros(_BLOCKS * wide * tile.columns * types.words, types.held.numpy)
    x, which = _numbers(types.element, 2 * _N * _K), np.array([1], np.uint32)
    groups = (-(-wide // PANELS), _BLOCKS, 1)
    return _library(pack_columns(tile, types, transposed=transposed), [x, which, out], (_N, _K, 0), groups)


for _name, _types in _TYPES.items():
    for _stored in (False, True):
        _label = f"{_name}{'-transposed' if _stored else ''}"
        _rare = _stored != (_name in ("f16", "i8"))
        case(f"library/matmul-rows-{_label}", slow=_rare)(partial(_pack_rows, _types, _stored))
        for _tile in _TILES:
            case(f"library/matmul-columns-{_label}-{_tile}", slow=_rare or _tile != "2x2x4")(
                partial(_pack_columns, _types, _stored, _tile)
            )


def _tiles(types: ProductTypes, name: str, depth: int, chunks: int) -> Case:
    tile = _TILES[name]
    high, wide, blocks = -(-_M // tile.rows), -(-_N // tile.columns), -(-depth // 128)
    a = _numbers(types.held, blocks * high * tile.rows * types.words)
    b = _numbers(types.held, 2 * blocks * wide * tile.columns * types.words)
    batches = 1 if chunks > 1 else 2
    first = 0 if chunks > 1 else 1
    out = np.zeros((first + batches * chunks) * _M * _N, types.accumulator.numpy)
    params = (_M, _N, depth, 2, 1, 0, 1, chunks, first)
    return _library(multiply_tiles(tile, types), [a, b, out], params, (wide, -(-high // 2), batches * chunks))


for _name, _types in _TYPES.items():
    if _name not in ("f32", "f64", "i8", "u16", "u32-u64"):
        continue  # the others are packed as these
    for _tile in _TILES:
        case(f"library/matmul-tiles-{_name}-{_tile}", slow=_tile != "2x2x4")(partial(_tiles, _types, _tile, 150, 1))
case("library/matmul-tiles-chunks", slow=True)(partial(_tiles, _FLOATS, "3x1x16", 4100, 2))


def _tiles_in_place(types: ProductTypes, transposed: bool) -> Case:
    tile, m, depth = _TILES["2x2x4"], 6, 150
    wide = -(-_N // tile.columns)
    a, b = _numbers(types.held, 2 * m * depth), _numbers(types.held, wide * tile.columns * 2 * types.words)
    out = np.zeros(2 * m * _N, types.accumulator.numpy)
    kernel = multiply_tiles(tile, types, "columns" if transposed else "rows")
    return _library(kernel, [a, b, out], (m, _N, depth, 2, 1, 1, 0, 1, 0), (wide, 2, 2))


for _name in ("f32", "f64"):
    for _turned in (False, True):
        case(f"library/matmul-tiles-in-place-{_name}{'-transposed' if _turned else ''}", slow=_name != "f32")(
            partial(_tiles_in_place, _TYPES[_name], _turned)
        )


def _direct(types: ProductTypes, transposed: bool, swapped: bool) -> Case:
    tile = _TILES["2x2x4"]
    a, b = _numbers(types.element, 2 * _M * _K), _numbers(types.element, _N * _K)
    which = np.array([1, 0, 0, 0], np.uint32)
    out = np.zeros(2 * _M * _N, types.accumulator.numpy)
    kernel = multiply_direct(tile, types, transposed=transposed, swapped=swapped)
    groups = (-(-_N // tile.columns), -(-_M // tile.rows), 2)
    return _library(kernel, [a, b, which, out], (_M, _N, _K, _K, 1, 2, 1), groups)


def _rows(types: ProductTypes, rows: int, n: int, width: int, swapped: bool) -> Case:
    a, b = _numbers(types.element, rows * _K), _numbers(types.element, n * _K)
    which, out = np.zeros(2, np.uint32), np.zeros(rows * n, types.accumulator.numpy)
    kernel = multiply_rows(rows, 8, types, swapped=swapped)
    return _library(kernel, [a, b, which, out], (n, _K, 1, rows, 1, 1, width), (-(-n // width), 1, 1))


for _name in ("f32", "f64", "f16", "x12", "u16"):
    for _turned in (False, True):
        case(f"library/matmul-direct-{_name}{'-turned' if _turned else ''}", slow=_turned != (_name == "f32"))(
            partial(_direct, _TYPES[_name], _turned, _turned)
        )
        case(f"library/matmul-narrow-{_name}{'-swapped' if _turned else ''}", slow=_turned != (_name == "f16"))(
            partial(_rows, _TYPES[_name], 3, 29, 16, _turned)
        )
case("library/matmul-narrow-long", slow=True)(partial(_rows, _FLOATS, 1, STRIP + 300, STRIP, False))


def _thin(types: ProductTypes, rows: int, k: int, abreast: int) -> Case:
    n, chunks = 37, -(-k // CHUNK)
    a, b = _numbers(types.element, 2 * rows * k), _numbers(types.element, k * n)
    which, out = np.array([1, 0, 0, 0], np.uint32), np.zeros(2 * chunks * rows * n, types.accumulator.numpy)
    return _library(
        multiply_thin(rows, abreast, types), [a, b, which, out], (n, k, k, 1, 2, chunks), (2, 2 * chunks, 1)
    )  # fmt: skip


for _name in ("f32", "f64", "f16", "x12", "u16"):
    case(f"library/matmul-thin-{_name}", slow=_name != "f32")(partial(_thin, _TYPES[_name], 3, 300, 2))
case("library/matmul-thin-chunks", slow=True)(partial(_thin, _FLOATS, 1, 4500, 4))


def _finish(accumulator: DType, result: DType, chunks: int) -> Case:
    size = 300
    parts = _numbers(accumulator, 2 * chunks * size)
    return _library(
        finish_chunks(accumulator, result), [parts, np.zeros(3 * size, result.numpy)], (size, chunks, 1), (2, 2, 1)
    )


for _chunks in (1, 2, 5, 7):
    case(f"library/matmul-finish-{_chunks}", slow=_chunks == 2)(partial(_finish, f32, f32, _chunks))
case("library/matmul-finish-f16")(partial(_finish, f32, f16, 3))
case("library/matmul-finish-bf16", slow=True)(partial(_finish, f32, bf16, 3))


def _slabs(types: ProductTypes, grid: Grid, sides: tuple[int, int, int], layout: Layout, span: int) -> Case:
    m, n, k = sides
    plain = replace(types, held=types.accumulator, pairs=False)
    a, b = _numbers(types.element, 2 * m * k), _numbers(types.element, n * k)
    parts = -(-k // span)
    out = np.zeros(2 * parts * m * n, types.accumulator.numpy)
    steps = (k if layout.a_by_k else m, k if layout.b_by_k else n)
    groups = (-(-n // grid.width), -(-m // grid.height), 2 * parts)
    buffers = [a, b, np.array([1, 0, 0, 0], np.uint32), out]
    kernel = multiply_slabs(grid, layout, plain).verified.kernel
    params = (m, n, k, *steps, 2, parts, span)
    return Case(
        kernel, tuple(buffers), params, groups=groups, modes=("trusted", "checked")
    )  # reports: test_matmul_threads


_SCATTERED = Layout(a_by_k=True, b_by_k=False, a_whole=False, b_whole=False, out_whole=False)
_WHOLE = Layout(a_by_k=False, b_by_k=False, a_whole=True, b_whole=True, out_whole=True)
_TURNED = Layout(a_by_k=False, b_by_k=True, a_whole=False, b_whole=False, out_whole=False)
_SLABS = {
    "edges": (Grid(2, 4, 1, 1, 4), (11, 21, 133), _SCATTERED, 4096),
    "vectors": (Grid(2, 2, 2, 1, 8), (20, 12, 150), _WHOLE, 128),
    "turned": (Grid(4, 1, 1, 2, 4), (18, 9, 131), _TURNED, 128),
    "held": (Grid(2, 4, 1, 1, 4, held=True), (11, 21, 261), _SCATTERED, 4096),
    "held-vectors": (Grid(4, 2, 1, 2, 8, held=True), (20, 16, 300), _WHOLE, 4096),
}
for _label, (_grid, _sides, _layout, _span) in _SLABS.items():
    for _name in ("f32", "x12", "f64", "f16", "i8", "u32-u64"):
        _vectors = _layout is _WHOLE and _name not in ("f32", "x12")
        if not _vectors:
            case(f"library/matmul-slabs-{_label}-{_name}", (1, 8), slow=_name not in ("f32", "f16"))(
                partial(_slabs, _TYPES[_name], _grid, _sides, _layout, _span)
            )


def _integers(name: str, shift: int, least: int, dots: str) -> Case:
    tile, k = _TILES[name], 9 * EACH
    rng = np.random.default_rng(shift)
    a, b = rng.integers(-127, 128, (_M, k), dtype=np.int8), rng.integers(-127, 128, (k, _N), dtype=np.int8)
    a[0], b[:, 0] = 127, -127
    bias = rng.integers(-(1 << 29), 1 << 29, _N) >> rng.integers(0, 29, _N)
    packed, biases = pack_integers(b, tile.columns, dots), pack_bias(bias, b, tile.columns, dots)
    params = (_M, _N, k // EACH, shift, least, 127)
    groups = (-(-_M // tile.rows), len(biases) // tile.columns, 1)
    out = np.zeros(_M * _N, np.int16)
    return _library(multiply_integers(tile, dots), [a.view(np.int32).reshape(-1), packed, biases, out], params, groups)


for _tile in _TILES:
    for _shift, _least in ((0, -127), (1, 0), (9, -127), (29, 0)):
        _dots = {0: "", 9: "dot4_u8i8"}.get(_shift, "dot4_i8")
        case(f"library/matmul-integers-{_tile}-{_shift}", slow=_shift in (1, 29))(
            partial(_integers, _tile, _shift, _least, _dots)
        )


def _fold(accumulator: DType, blocks: int) -> Case:
    size, chunks = 150, -(-blocks // 32)
    parts = _numbers(accumulator, 2 * blocks * size)
    groups = (-(-size // FOLD_LANES), 2 * chunks, 1)
    out = np.zeros(2 * chunks * size, accumulator.numpy)
    return _library(fold_blocks(accumulator), [parts, out], (size, blocks, chunks), groups)


case("library/matmul-fold-f32")(partial(_fold, f32, 70))
case("library/matmul-fold-i32", slow=True)(partial(_fold, i32, 5))
