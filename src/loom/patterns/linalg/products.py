"""``dot``, ``matvec``, ``outer``, ``cross``, ``norm``, ``normalize``, ``transpose``.

Layer: patterns. Sums are those of ``gpu_dot``, ``gpu_norm`` and ``gpu_matmul``. Invariant: an element of a result
depends on its own row, column or vector alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, cast

from loom.core.arrays import read_array
from loom.core.dtype import DType, u8, u16, u32, u64
from loom.core.errors import ShapeError
from loom.kernels.linalg.vectors import TILE, cross_product, normalize_rows, outer_product, scale_rows, transposed
from loom.patterns.axis import normal_axis, rows_of
from loom.patterns.calling.call import Call
from loom.patterns.calling.fallback import falls_back
from loom.patterns.linalg.matrices import as_floats, same_dtype
from loom.patterns.matmul import gpu_matmul
from loom.patterns.products import gpu_dot, gpu_norm
from loom.runtime.chain import Chain
from loom.runtime.memory.storage import HostSlot
from loom.runtime.port.device import Device
from loom.schedules.fold import Folding, record_fold

__all__ = ["cross", "dot", "matvec", "norm", "normalize", "outer", "transpose"]

_BYTES: dict[int, DType] = {1: u8, 2: u16, 4: u32, 8: u64}
_LANES = 64


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


def norm(data: Any, ord: float = 2, *, on: str | Device | None = None) -> Any:  # noqa: A002 - numpy's name
    """Return the norm of all elements: ``gpu_norm``, ``ord`` being 2, 1 or inf.

    >>> norm([3.0, 4.0]).item()
    5.0
    """
    return gpu_norm(data, ord, on=on)


@falls_back("linalg.outer", 2, floats=True)
def outer(a: Any, b: Any, *, on: str | Device | None = None) -> Any:
    """Return a[i] b[j] for all elements of two arrays of f32 or f64, of shape (a.size, b.size).

    >>> outer([1.0, 2.0], [3.0, 4.0]).tolist()
    [[3.0, 4.0], [6.0, 8.0]]
    """
    call = Call("linalg.outer", on)
    x, y = as_floats(call, a, "a"), as_floats(call, b, "b")
    same_dtype(call, x, y, "b")
    out = call.output((x.size, y.size), x.dtype)

    def record(chain: Chain, *slots: HostSlot) -> None:
        chain.dispatch(outer_product(x.dtype), slots, [y.size], groups=(-(-y.size // _LANES), x.size))

    if out.size:
        call.run(("linalg.outer", x.dtype, x.size, y.size), record, x, y, out)
    return call.result(out)


@falls_back("linalg.cross", 2, floats=True)
def cross(a: Any, b: Any, *, on: str | Device | None = None) -> Any:
    """Return the cross products of vectors (..., 3) of f32 or f64; either operand may be a single vector (3,).

    Each component is the difference of two rounded products. ShapeError for other shapes, DTypeError.

    >>> cross([1.0, 0.0, 0.0], [0.0, 1.0, 0.0]).tolist()
    [0.0, 0.0, 1.0]
    """
    call = Call("linalg.cross", on)
    x, y = as_floats(call, a, "a"), as_floats(call, b, "b")
    same_dtype(call, x, y, "b")
    shape = x.shape if len(x.shape) >= len(y.shape) else y.shape
    if shape[-1:] != (3,) or any(o.shape not in (shape, (3,)) for o in (x, y)):
        raise ShapeError(
            "linalg.cross", "not vectors of 3", expected="equal shapes (..., 3), or one vector (3,)",
            got=f"{x.shape} and {y.shape}", remedy="Broadcast one operand",
        )  # fmt: skip
    out = call.output(shape, x.dtype)
    counts = [o.size // 3 for o in (out, x, y)]

    def record(chain: Chain, *slots: HostSlot) -> None:
        chain.dispatch(cross_product(x.dtype), slots, counts, groups=-(-counts[0] // _LANES))

    if out.size:
        call.run(("linalg.cross", x.dtype, *counts), record, x, y, out)
    return call.result(out)


@falls_back("normalize", where="linalg.normalize", floats=True)
def normalize(data: Any, *, axis: int = -1, on: str | Device | None = None) -> Any:
    """Return vectors of f32 or f64 along ``axis`` divided by their Euclidean norms; those of norm 0 are kept.

    The norm is the root of the sum of squares in the order of ``gpu_sum``. Vectors so large or small that squares would
    overflow or vanish are multiplied by a power of two first.

    >>> normalize([[3.0, 4.0], [0.0, 0.0]]).tolist()
    [[0.6, 0.8], [0.0, 0.0]]
    """
    call = Call("linalg.normalize", on)
    x = as_floats(call, data, "data")
    rows = rows_of(x.shape, normal_axis(x.shape, axis, call.name), call.name)
    out = call.output(x.shape, x.dtype)

    def record(chain: Chain, *slots: HostSlot) -> None:
        largest, squares = (chain.device.allocate(rows.results * x.dtype.nbytes) for _ in range(2))
        scaled = chain.device.allocate(x.nbytes)
        params, groups = [x.size, rows.n, rows.inner], -(-x.size // _LANES)
        record_fold(chain, slots[0], rows, Folding("largest", x.dtype, x.dtype, x.dtype), largest)
        chain.dispatch(scale_rows(x.dtype), [slots[0], largest, scaled], params, groups=groups)
        record_fold(chain, scaled, rows, Folding("squares", x.dtype, x.dtype, x.dtype), squares)
        chain.dispatch(normalize_rows(x.dtype), [scaled, squares, slots[1]], params, groups=groups)

    if x.size:
        call.run(("linalg.normalize", x.dtype, x.shape, axis), record, x, out)
    return call.result(out)


def transpose(data: Any, *, on: str | Device | None = None) -> Any:
    """Return matrices (..., m, n) of any dtype as (..., n, m), moved in memory; a vector is returned as it is.

    >>> transpose([[1, 2, 3], [4, 5, 6]]).tolist()
    [[1, 4], [2, 5], [3, 6]]
    """
    call = Call("linalg.transpose", on)
    x = call.input(data)
    shape = (*x.shape[:-2], *x.shape[:-3:-1])  # a vector: its own shape
    out = call.output(shape, x.dtype, like=x)
    batch = math.prod(x.shape[:-2])

    def record(chain: Chain, *slots: HostSlot) -> None:
        m, n = (1, 1, *x.shape)[-2:]
        groups = -(-n // TILE), -(-m // TILE), batch
        chain.dispatch(transposed(_BYTES[x.dtype.nbytes]), slots, [m, n], groups=groups)

    if x.size:
        call.run(("linalg.transpose", x.dtype.nbytes, x.shape), record, x, out)
    return call.result(out)
