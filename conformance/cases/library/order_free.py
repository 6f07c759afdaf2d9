"""The kernels of order-free products, each on its own: whole numbers and scales, tiles and slabs of sums.

Oracle: the interpreter; tests/unit/patterns/linalg/test_order_free.py holds whole products against the definition.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from conformance.running import Case, case
from conformance.values import random_bits
from loom.core.dtype import DType, f16, f32, u32
from loom.kernels.matmul.digits import digits_by_k, digits_by_row, groups_of_digits
from loom.kernels.matmul.grids import Grid, Layout
from loom.kernels.matmul.pack import FOUR_LANES, pack_fours
from loom.kernels.matmul.packed import multiply_tiles
from loom.kernels.matmul.planes import groups_of_planes, planes_by_k, planes_by_row, planes_of, planes_of_view
from loom.kernels.matmul.threads import multiply_slabs
from loom.kernels.matmul.tiles import Tile
from loom.kernels.matmul.units import Patch, multiply_planes
from loom.kernels.precisions import PRECISIONS, Precision
from loom.kernels.types import whole_types

__all__: list[str] = []

_M, _N, _K, _BLOCKS = 9, 21, 150, 2
_MODES = ("trusted", "checked", "reported")


def _digits(element: DType, precision: Precision, by_k: bool) -> Case:
    rows, k = 70, 300
    x = random_bits(element.numpy, 2 * rows * k, seed=rows)  # infinities and NaN among them
    x[::7] = 0
    blocks = -(-k // 128)
    out = np.zeros(2 * rows * blocks * 128, precision.held.numpy)
    scales = np.zeros(2 * rows * blocks, np.float32)
    kernel = (digits_by_k if by_k else digits_by_row)(element, precision)
    groups = groups_of_digits(rows, k, 2, by_k=by_k)
    return Case(kernel.verified.kernel, (x, out, scales), (rows, k), groups=groups, modes=_MODES)


for _name, _precision in PRECISIONS.items():
    for _by_k in (False, True):
        _label = f"{_name}{'-by-k' if _by_k else ''}"
        case(f"library/digits-{_label}", slow=_by_k != (_name == "q12"))(partial(_digits, f32, _precision, _by_k))
case("library/digits-f16")(partial(_digits, f16, PRECISIONS["q12"], True))


def _whole(precision: Precision, size: int, dtype: DType) -> np.ndarray:
    top = precision.top
    return np.random.default_rng(size).integers(-top, top + 1, size).astype(dtype.numpy)


def _scales(size: int) -> np.ndarray:
    found = np.exp2(np.random.default_rng(size).integers(-126, 100, size).astype(np.float64)).astype(np.float32)
    found[3::11] = np.nan
    return found


def _tiles(precision: Precision, tile: Tile, dots: str | None = "") -> Case:
    types = whole_types(precision, threads=False, dots=dots)
    high, wide = -(-_M // tile.rows), -(-_N // tile.columns)
    words = _BLOCKS * types.words * types.streams
    a, b = (random_bits(np.dtype("i4"), n * words, seed=n) for n in (high * tile.rows, wide * tile.columns))
    which, out = np.zeros(2, np.uint32), np.zeros(_M * _N, np.float32)
    buffers = (a, b, _scales(_BLOCKS * _M), _scales(_BLOCKS * _N), which, out)
    params = (_M, _N, 2 * 128, 2, 1, 0, 0, 1, 0, 0, 1)
    groups = (wide, -(-high // 2), 1)
    kernel = multiply_tiles(tile, types).verified.kernel
    return Case(kernel, buffers, params, groups=groups, modes=("trusted", "reported"))


def _slabs(precision: Precision, layout: Layout, dots: str | None = None) -> Case:
    grid, types = Grid(2, 4, 1, 1, 4), whole_types(precision, threads=True, dots=dots)
    m, n, k, element = 12, 20, 2 * 128, precision.held if dots else types.element
    a, b = (_whole(precision, size * k, element).view(types.element.numpy) for size in (m, n))
    k = k // types.factors
    which, out = np.zeros(2, np.uint32), np.zeros(m * n, np.float32)
    buffers = (a, _scales(_BLOCKS * m), b, _scales(_BLOCKS * n), which, out)
    params = (m, n, k, k if layout.a_by_k else m, k if layout.b_by_k else n, 1, 1, 4096 // types.factors)
    groups = (-(-n // grid.width), -(-m // grid.height), 1)
    kernel = multiply_slabs(grid, layout, types).verified.kernel
    return Case(kernel, buffers, params, groups=groups, modes=("trusted", "checked"))


_SCATTERED = Layout(a_by_k=True, b_by_k=False, a_whole=False, b_whole=False, out_whole=False)
_VECTORS = Layout(a_by_k=False, b_by_k=False, a_whole=True, b_whole=True, out_whole=True)
for _name, _precision in PRECISIONS.items():
    for _label, _tile in (("2x2x4", Tile(2, 2, 4, 2)), ("3x1x16", Tile(3, 1, 16, 4, u32))):
        case(f"library/scaled-tiles-{_name}-{_label}", slow=_label != "2x2x4")(partial(_tiles, _precision, _tile))
    for _dots in ("dot4_i8", "dot4_u8i8") * (_name == "q8"):
        case(f"library/scaled-tiles-{_name}-{_dots}")(partial(_tiles, _precision, Tile(3, 2, 8, 2), _dots))
    case(f"library/scaled-slabs-{_name}", (1, 8), slow=_name == "q8")(partial(_slabs, _precision, _SCATTERED))
case("library/scaled-slabs-vectors", (1, 8))(partial(_slabs, PRECISIONS["q24"], _VECTORS))
case("library/scaled-slabs-dots", (1, 8))(partial(_slabs, PRECISIONS["q8"], _SCATTERED, "dot4_i8"))


def _fours(by_k: bool) -> Case:
    rows, k, matrices = 5, 130, 2
    words = -(-k // 4)
    x = np.random.default_rng(k).integers(-128, 128, matrices * rows * k).astype(np.int8)
    groups = (-(-words // FOUR_LANES), rows, matrices) if by_k else (-(-rows // FOUR_LANES), words, matrices)
    out = np.zeros(matrices * rows * words, np.int32)
    return Case(pack_fours(by_k=by_k).verified.kernel, (x, out), (rows, k), groups=groups, modes=("trusted", "checked"))


for _by_k in (False, True):
    case(f"library/fours{'-by-k' if _by_k else ''}")(partial(_fours, _by_k))


def _digits_in_fours() -> Case:
    rows, k, blocks = 70, 300, 3
    x = random_bits(np.dtype("f4"), 2 * rows * k, seed=rows)
    out, scales = np.zeros(2 * rows * blocks * 32, np.int32), np.zeros(2 * rows * blocks, np.float32)
    groups = groups_of_digits(rows, k, 2, by_k=False)
    kernel = digits_by_row(f32, PRECISIONS["q8"], fours=True).verified.kernel
    return Case(kernel, (x, out, scales), (rows, k), groups=groups, modes=_MODES)


case("library/digits-q8-fours")(_digits_in_fours)


def _planes(precision: Precision, by_k: bool) -> Case:
    rows, k, blocks = 70, 150, 2
    x = random_bits(np.dtype("f4"), rows * k, seed=k)
    x[::5] = np.random.default_rng(k).standard_normal(len(x[::5]))
    out = np.zeros(rows * blocks * planes_of(precision) * 32, np.int32)
    kernel = (planes_by_k if by_k else planes_by_row)(f32, precision).verified.kernel
    groups = groups_of_planes(rows, k, 1)
    return Case(kernel, (x, out, np.zeros(rows * blocks, np.float32)), (rows, k), groups=groups, modes=("trusted",))


def _planes_of_view(precision: Precision, by_k: bool) -> Case:
    count, depth, rows, first, begin = 50, 300, 40, 7, 128
    places, depths = np.arange(count), np.arange(depth)
    table = np.concatenate([places * depth, depths] if by_k else [places, depths * count]).astype(np.uint32)
    x = random_bits(np.dtype("f4"), count * depth, seed=depth)
    x[::5] = np.random.default_rng(depth).standard_normal(len(x[::5]))
    out, scales = np.zeros(rows * 2 * planes_of(precision) * 32, np.int32), np.zeros(rows * 2, np.float32)
    kernel = planes_of_view(f32, precision, by_k=by_k).verified.kernel
    params = (rows, depth - begin, count, first, begin)
    return Case(
        kernel, (x, table, out, scales), params, groups=groups_of_planes(rows, depth - begin), modes=("trusted",)
    )


def _units(precision: Precision) -> Case:
    m, n, patch = 9, 13, Patch(1, 2, 1, 1, staged=precision.name == "q12")
    a, b = (random_bits(np.dtype("i4"), rows * _BLOCKS * planes_of(precision) * 32, seed=rows) for rows in (m, n))
    if precision.name == "q12":  # sums of halves, which bytes of any value would make too large
        a, b = ((x & 0x3F3F3F3F) - 0x20202020 for x in (a, b))
    buffers = (a, b, _scales(_BLOCKS * m), _scales(_BLOCKS * n), np.zeros(2, np.uint32), np.zeros(m * n, np.float32))
    kernel = multiply_planes(patch, precision).verified.kernel
    return Case(kernel, buffers, (m, n, _BLOCKS, 1, 1, 32), groups=(1, 1, 1), modes=("trusted",))


for _name, _precision in PRECISIONS.items():
    for _by_k in (False, True):
        _label = f"{_name}{'-by-k' if _by_k else ''}"
        _view = partial(_planes_of_view, _precision, _by_k)
        case(f"library/planes-{_label}-of-view", slow=_name != "q12")(_view)
        case(f"library/planes-{_label}", slow=_name == "q8" or _by_k)(partial(_planes, _precision, _by_k))
    case(f"library/units-{_name}", (8,), slow=_name != "q12")(partial(_units, _precision))
