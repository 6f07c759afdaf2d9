"""Kernels of tensors: strided elementwise ones under every cut, rows picked and summed by index, sparse products.

Oracles besides the interpreter: numpy on the same elements, in the order that the kernel's module names.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from conformance.running import Case, case
from loom.core.dtype import DType, bf16, bool_, f16, f32, f64, i32
from loom.ir.kernel import Access
from loom.kernels.linalg.sparse import multiply_sparse
from loom.kernels.maps.nest import Apply, Coordinate, Load, LoopNest, Store, number
from loom.kernels.move import gather
from loom.schedules.maps import LANES, THREADS, plan_strided

__all__: list[str] = []

Array = np.ndarray[Any, Any]
_MODES = ("trusted", "reported")


def _numbers(dtype: DType, size: int) -> Array:
    wide = np.random.default_rng(size).standard_normal(size) * 2.0 ** np.random.default_rng(1).integers(-9, 9, size)
    if dtype == bf16:
        return (wide.astype(np.float32).view(np.uint32) >> np.uint32(16)).astype(np.uint16)
    return (wide * 100 if dtype.is_integer else wide).astype(dtype.numpy)


def _strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(int(np.prod(shape[a + 1 :])) for a in range(len(shape)))


def _nest(shape: tuple[int, ...], dtype: DType, threads: bool) -> Case:
    """(x + row) * x turned round, and where the last axis's index is below it; the first result is stored backwards."""
    axis, own = len(shape) - 1, _strides(shape)
    row = (0,) * axis + (1,)
    turned = tuple(-s for s in own)
    size = int(np.prod(shape))
    values = (
        Load(0, 0, own), Load(1, 0, row), Apply("add", (0, 1), dtype),
        Load(0, size - 1, turned), Apply("mul", (2, 3), dtype),
        Coordinate(axis, dtype), number(2, dtype), Apply("mul", (5, 6), dtype), Apply("lt", (7, 4), bool_),
    )  # fmt: skip
    stores = (Store(4, 2, size - 1, turned), Store(8, 3, 0, own))
    buffers = ((dtype, Access.READ), (dtype, Access.READ), (dtype, Access.WRITE), (bool_, Access.WRITE))
    what = plan_strided(LoopNest(shape, values, stores, buffers), THREADS if threads else LANES)
    x, last = _numbers(dtype, size), _numbers(dtype, shape[-1])
    arrays = (x, last, np.zeros_like(x), np.zeros(size, np.bool_))
    expected = {}
    if dtype in (f32, f64, i32):
        whole = x.reshape(shape)
        with np.errstate(over="ignore"):
            product = (whole + last) * x[::-1].reshape(shape)
        below = np.arange(shape[-1]).astype(dtype.numpy) * dtype.numpy.type(2) < product
        expected = {"x2": product.reshape(-1)[::-1].copy(), "x3": below.reshape(-1)}
    return Case(what.kernel.kernel, arrays, what.params, groups=(*what.groups, 1), expected=expected, modes=_MODES)


for _shape in ((70,), (5, 7), (3, 2, 48), (4, 700), (2, 3, 2, 3)):
    for _threads in (False, True):
        _name = f"tensors/strided-{'x'.join(map(str, _shape))}{'-threads' if _threads else ''}"
        case(_name, widths=(1, 8, 16))(partial(_nest, _shape, f32, _threads))
for _dtype in (f64, i32, f16, bf16):
    case(f"tensors/strided-{_dtype}", widths=(1, 8))(partial(_nest, (5, 30), _dtype, False))

_AT = np.array([3, 0, 3, 9, 1, 3, 0xFFFFFFFF, 0], np.uint32)
_ROWS, _INNER = 5, 70


@case("tensors/gather", widths=(1, 8))
def _gather() -> Case:
    table = _numbers(f32, _ROWS * _INNER).reshape(_ROWS, _INNER)
    wanted = np.where((_AT < _ROWS)[:, None], table[np.minimum(_AT, _ROWS - 1)], np.float32(0))
    kernel = gather.take_rows(f32).verified.kernel
    arrays = (table.reshape(-1), _AT, np.ones(_AT.size * _INNER, np.float32))
    return Case(kernel, arrays, (_AT.size, _ROWS, _INNER), (2, 1, 1), {"out": wanted.reshape(-1)}, _MODES)


@case("tensors/start-rows", widths=(1, 8))
def _start() -> Case:
    ordered = np.sort(_AT)
    wanted = np.searchsorted(ordered, np.arange(_ROWS + 1)).astype(np.uint32)
    kernel = gather.start_rows().verified.kernel
    return Case(kernel, (ordered, np.ones_like(wanted)), (_AT.size, _ROWS), (1, 1, 1), {"starts": wanted}, _MODES)


def _sum_rows(dtype: DType) -> Case:
    at = np.concatenate([_AT, np.repeat(_AT[:2], 9)])  # some rows are read ahead, and some are left over
    x = _numbers(dtype, at.size * _INNER)
    order = np.argsort(at, kind="stable")
    starts = np.searchsorted(at[order], np.arange(_ROWS + 1)).astype(np.uint32)
    wanted = np.zeros((_ROWS, _INNER), dtype.numpy)
    for row, values in zip(at, x.reshape(at.size, _INNER), strict=True):
        if row < _ROWS:
            wanted[row] = wanted[row] + values
    kernel = gather.sum_rows(dtype, dtype).verified.kernel
    arrays = (x, order.astype(np.uint64), starts, np.ones(wanted.size, dtype.numpy))
    expected = {} if dtype.storage_only else {"out": wanted.reshape(-1)}
    return Case(kernel, arrays, (_ROWS, _INNER), (2, 1, 1), expected, _MODES)


case("tensors/sum-rows", widths=(1, 8))(partial(_sum_rows, f32))
case("tensors/sum-rows-f16", widths=(1, 8))(partial(_sum_rows, f16))


@case("tensors/spmm", widths=(1, 8))
def _spmm() -> Case:
    starts = np.array([0, 2, 2, 5], np.uint32)
    columns, values = np.array([3, 0, 1, 3, 2], np.uint32), _numbers(f32, 5)
    dense = _numbers(f32, 4 * _INNER).reshape(4, _INNER)
    wanted = np.zeros((3, _INNER), np.float32)
    for row in range(3):
        for place in range(starts[row], starts[row + 1]):
            wanted[row] = wanted[row] + values[place] * dense[columns[place]]
    arrays = (starts, columns, values, dense.reshape(-1), np.ones(wanted.size, np.float32))
    kernel = multiply_sparse(f32).verified.kernel
    return Case(kernel, arrays, (3, _INNER), (2, 1, 1), {"out": wanted.reshape(-1)}, _MODES)
