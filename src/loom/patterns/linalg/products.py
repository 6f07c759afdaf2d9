"""``dot``, ``matvec``, ``outer``, ``cross``, ``norm``, ``normalize``, ``transpose``.

Layer: patterns. Sums are those of ``gpu_dot``, ``gpu_norm`` and ``gpu_matmul``. Invariant: an element of a result
depends on its own row, column or vector alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, cast

from loom import tensor
from loom.core.arrays import read_array
from loom.core.dtype import FLOATS, DType, u8, u16, u32, u64
from loom.core.errors import ShapeError
from loom.kernels.linalg.vectors import TILE, normalize_rows, outer_product, scale_rows, transpose_tiles
from loom.patterns.axis import normal_axis
from loom.patterns.matmul import gpu_matmul
from loom.patterns.own_operations import Operation
from loom.patterns.products import gpu_dot, gpu_norm
from loom.patterns.tensor_rows import row, under_own_name
from loom.runtime.port.device import Device
from loom.schedules.axis import rows_along
from loom.schedules.fold import Folding, record_fold
from loom.tensor import Tensor
from loom.tensor.ops.views import reshape
from loom.tensor.record.draft import Draft
from loom.tensor.record.graph import Node

__all__ = ["cross", "dot", "matvec", "norm", "normalize", "outer", "transpose"]

_BYTES: dict[int, DType] = {1: u8, 2: u16, 4: u32, 8: u64}
_LANES = 64


def _outer(x: Tensor, y: Tensor) -> Tensor:
    if x.dtype != y.dtype or x.dtype not in FLOATS:
        return tensor.linalg.outer(x, y)
    if not x.size or not y.size:
        return reshape(x, (x.size, 1))[:, :0] if x.size else reshape(y, (1, y.size))[:0]
    return _OUTER([x, y], (x.size, y.size), x.dtype)


def _record_outer(draft: Draft, node: Node, x: Any, y: Any, out: Any) -> None:
    rows, columns = node.shape
    draft.dispatch(outer_product(node.dtype), [x, y, out], [columns], groups=(-(-columns // _LANES), rows))


def _record_normalize(draft: Draft, node: Node, x: Any, out: Any) -> None:
    (rows,), dtype = node.attributes[0], node.dtype
    largest, squares = (draft.device.allocate(rows.results * dtype.nbytes) for _ in range(2))
    scaled = draft.device.allocate(node.nbytes)
    params, groups = [node.size, rows.n, rows.inner], -(-node.size // _LANES)
    record_fold(draft, x, rows, Folding("largest", dtype, dtype, dtype), largest)
    draft.dispatch(scale_rows(dtype), [x, largest, scaled], params, groups=groups)
    record_fold(draft, scaled, rows, Folding("squares", dtype, dtype, dtype), squares)
    draft.dispatch(normalize_rows(dtype), [scaled, squares, out], params, groups=groups)


def _record_transpose(draft: Draft, node: Node, x: Any, out: Any) -> None:
    shape = node.inputs[0].shape
    groups = -(-shape[-1] // TILE), -(-shape[-2] // TILE), math.prod(shape[:-2])
    draft.dispatch(transpose_tiles(_BYTES[node.dtype.nbytes]), [x, out], shape[-2:], groups=groups)


_OUTER = Operation("outer", _record_outer)
_NORMALIZE, _TRANSPOSE = Operation("normalize", _record_normalize), Operation("transpose", _record_transpose)


def _normalize(x: Tensor, *, axis: int = -1) -> Tensor:
    if x.dtype not in FLOATS or not x.size:
        return tensor.normalize(x, axis=axis)
    at = normal_axis(x.shape, axis, "linalg.normalize")
    return _NORMALIZE([x], x.shape, x.dtype, rows_along(x.shape, at, at + 1))


def _transpose(x: Tensor) -> Tensor:
    if x.ndim < 2 or not x.size:
        return reshape(x, (*x.shape[:-2], *x.shape[:-3:-1]))
    return _TRANSPOSE([x], (*x.shape[:-2], *x.shape[:-3:-1]), x.dtype)


@under_own_name("linalg.dot")
def dot(a: Any, b: Any, *, on: str | Device | None = None) -> Any:
    """Return the product of two arrays: ``gpu_dot`` for two vectors, else ``gpu_matmul``.

    Two vectors (n,) give a number, whose sum is in the order of ``gpu_sum``; matrices (..., m, k) and (..., k, n), or a
    matrix and a vector, are multiplied in the order of ``gpu_matmul``. Dtypes and errors are theirs.

    >>> dot([1.0, 2.0], [3.0, 4.0]).item()
    11.0
    """
    if _dimensions(a) == 1 and _dimensions(b) == 1:
        return gpu_dot(a, b, on=on)
    return gpu_matmul(a, b, on=on)


@under_own_name("linalg.matvec")
def matvec(a: Any, x: Any, *, on: str | Device | None = None) -> Any:
    """Return the product (..., m) of matrices (..., m, n) and a vector (n,), as ``gpu_matmul``; ShapeError otherwise.

    >>> matvec([[1.0, 2.0], [3.0, 4.0]], [1.0, 10.0]).tolist()
    [21.0, 43.0]
    """
    if _dimensions(x) != 1:
        raise ShapeError(
            "linalg.matvec, x", "not a vector", expected="1 dimension", got=_dimensions(x), remedy="Use loom.gpu_matmul"
        )
    return gpu_matmul(a, x, on=on)


def _dimensions(data: Any) -> int:
    shape: Any = getattr(data, "shape", None)
    return len(cast("Sequence[int]", shape)) if isinstance(shape, (tuple, list)) else read_array(data, "linalg")[0].ndim


@under_own_name("linalg.norm")
def norm(data: Any, ord: float = 2, *, on: str | Device | None = None) -> Any:  # noqa: A002 - numpy's name
    """Return the norm of all elements: ``gpu_norm``, ``ord`` being 2, 1 or inf.

    >>> norm([3.0, 4.0]).item()
    5.0
    """
    return gpu_norm(data, ord, on=on)


@row(_outer, 2, where="linalg.outer", floats=True, complexes=True)
def outer(a: Any, b: Any, *, on: str | Device | None = None) -> Any:
    """Return a[i] b[j] for all elements of two arrays of f32 or f64, of shape (a.size, b.size).

    >>> outer([1.0, 2.0], [3.0, 4.0]).tolist()
    [[3.0, 4.0], [6.0, 8.0]]
    """


@row("linalg.cross", 2, where="linalg.cross", floats=True, complexes=True)
def cross(a: Any, b: Any, *, on: str | Device | None = None) -> Any:
    """Return the cross products of vectors (..., 3) of f32 or f64; either operand may be a single vector (3,).

    Each component is the difference of two rounded products. ShapeError for other shapes, DTypeError.

    >>> cross([1.0, 0.0, 0.0], [0.0, 1.0, 0.0]).tolist()
    [0.0, 0.0, 1.0]
    """


@row(_normalize, where="linalg.normalize", floats=True)
def normalize(data: Any, *, axis: int = -1, on: str | Device | None = None) -> Any:
    """Return vectors of f32 or f64 along ``axis`` divided by their Euclidean norms; those of norm 0 are kept.

    The norm is the root of the sum of squares in the order of ``gpu_sum``. Vectors so large or small that squares would
    overflow or vanish are multiplied by a power of two first.

    >>> normalize([[3.0, 4.0], [0.0, 0.0]]).tolist()
    [[0.6, 0.8], [0.0, 0.0]]
    """


@row(_transpose, where="linalg.transpose")
def transpose(data: Any, *, on: str | Device | None = None) -> Any:
    """Return matrices (..., m, n) of any dtype as (..., n, m), moved in memory; a vector is returned as it is.

    >>> transpose([[1, 2, 3], [4, 5, 6]]).tolist()
    [[1, 4], [2, 5], [3, 6]]
    """
