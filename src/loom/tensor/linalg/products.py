"""Products of matrices and vectors, transposition, diagonals: what needs no factorisation.

Layer: tensor. Sums are those of ``tensor.matmul`` and ``ops.reductions``. Invariant: operands of two dtypes become
the common one first, and the result has the type of such products or sums.
"""

from __future__ import annotations

import math
from typing import Any

from loom.core.dtype import dtype_of
from loom.core.errors import ArgumentError, ShapeError
from loom.core.given import is_list
from loom.core.numbers import whole
from loom.kernels.types import wide_type
from loom.tensor.arrays.tensor import Tensor
from loom.tensor.complexes.functions import conj
from loom.tensor.linalg.operands import batch_shape, common, diagonal_of, matrices
from loom.tensor.ops import products, reductions
from loom.tensor.ops.elementwise import cast
from loom.tensor.ops.joining import stack
from loom.tensor.ops.views import broadcast_to, expand_dims, normal_axis, permute, reshape, slice_by, transpose

__all__ = [
    "cross", "diagonal", "matmul", "matrix_transpose", "outer", "tensordot", "trace", "vecdot",
]  # fmt: skip


def matmul(x1: Tensor, x2: Tensor, /) -> Tensor:
    """Return the matrix product, batches broadcast, vectors as in numpy; dtypes as ``tensor.matmul``."""
    a, b, _ = common("linalg.matmul", x1, x2)
    return products.matmul(a, b)


def matrix_transpose(x: Tensor, /) -> Tensor:
    """Return matrices (..., m, n) as (..., n, m); nothing is moved.

    Args:
        x: Tensor (.., m, n).

    Returns:
        Tensor of shape (.., n, m), in its dtype.

    Raises:
        ArgumentError: An operand is no tensor.
    """
    matrices(x, "linalg.matrix_transpose")
    return transpose(x)


def vecdot(x1: Tensor, x2: Tensor, /, *, axis: int = -1) -> Tensor:
    """Return the dot products of vectors along ``axis`` (negative, of the broadcast operands), the first conjugated.

    Floats keep the common dtype, integers become 64 bits before they are multiplied, as sums of them do.

    Args:
        x1: Tensor (.., n).
        x2: Tensor (.., n).
        axis: Negative axis of the broadcast operands.

    Returns:
        Tensor of the shape of the rest: floats and complex numbers keep their dtype; integers give i64, unsigned ones
            u64.

    Raises:
        ArgumentError: An operand is no tensor.
        DTypeError: Bools are refused.
        ShapeError: Vectors of different lengths.

    >>> from loom import tensor
    >>> vecdot(tensor.array([[1.0, 2.0], [3.0, 4.0]]), tensor.array([1.0, 10.0])).tolist()
    [21.0, 43.0]
    """
    where_ = "linalg.vecdot"
    a, b, dtype = common(where_, x1, x2)
    ndim = max(a.ndim, b.ndim)
    at = whole(axis, f"{where_}, axis", least=-ndim, most=max(ndim - 1, -1))
    at = at - ndim if at >= 0 else at
    if min(a.ndim, b.ndim) < -at or a.shape[at] != b.shape[at]:
        raise ShapeError(where_, "vectors of different lengths", expected="equal lengths along the axis",
                         got=f"{a.shape} and {b.shape}", remedy="Match them")  # fmt: skip
    shape = batch_shape(a.shape, b.shape, where_=where_)
    a, b = (cast(x, wide_type(dtype)[1]) for x in (a, b)) if dtype.is_integer or dtype.is_bool else (conj(a), b)
    return reductions.sum_of(broadcast_to(a, shape) * broadcast_to(b, shape), at)


def tensordot(x1: Tensor, x2: Tensor, /, *, axes: Any = 2) -> Tensor:
    """Return the contraction over the last ``axes`` axes of ``x1`` and the first of ``x2``, or over two lists of axes.

    Dtypes as ``tensor.matmul``.

    Args:
        x1: Tensor.
        x2: Tensor.
        axes: Number of axes, or two lists of axes that go together.

    Raises:
        ArgumentError: An operand is no tensor; not two lists of axes; not a whole number.
        DTypeError: Bools are refused.
        IndexOutside: There is no such axis.

    >>> from loom import tensor
    >>> tensordot(tensor.ones((2, 3)), tensor.ones((3, 4)), axes=1).tolist()
    [[3.0, 3.0, 3.0, 3.0], [3.0, 3.0, 3.0, 3.0]]
    """
    where_ = "linalg.tensordot"
    a, b, _ = common(where_, x1, x2)
    first, second = _contraction_axes(a, b, axes, where_)
    left = [k for k in range(a.ndim) if k not in first]
    right = [k for k in range(b.ndim) if k not in second]
    inner = math.prod(a.shape[k] for k in first)
    rows, columns = [a.shape[k] for k in left], [b.shape[k] for k in right]
    found = products.matmul(
        reshape(permute(a, [*left, *first]), (math.prod(rows), inner)),
        reshape(permute(b, [*second, *right]), (inner, math.prod(columns))),
    )
    return reshape(found, (*rows, *columns))


def _contraction_axes(a: Tensor, b: Tensor, axes: Any, where_: str) -> tuple[list[int], list[int]]:
    """Return the axes of each operand that are summed over."""
    if is_list(axes):
        if len(axes) != 2:
            raise ArgumentError(f"{where_}, axes", "not two lists of axes", expected="a number, or two lists",
                                got=repr(axes), remedy="Name the axes of each operand")  # fmt: skip
        given = [list(each) if is_list(each) else [each] for each in axes]
    else:
        count = whole(axes, f"{where_}, axes", least=0, most=min(a.ndim, b.ndim))
        given = [list(range(a.ndim - count, a.ndim)), list(range(count))]
    first, second = ([normal_axis(x, k, where_) for k in own] for x, own in zip((a, b), given, strict=True))
    fits = len(first) == len(second) and len(set(first)) == len(first) and len(set(second)) == len(second)
    if not fits or any(a.shape[i] != b.shape[j] for i, j in zip(first, second, strict=True)):
        raise ShapeError(where_, "the axes do not fit", expected="as many axes of each operand, of equal lengths",
                         got=f"{a.shape} and {b.shape} over {axes!r}", remedy="Check the axes")  # fmt: skip
    return first, second


def cross(x1: Tensor, x2: Tensor, /, *, axis: int = -1) -> Tensor:
    """Return the cross products of vectors of 3 along ``axis`` (negative, of the broadcast operands)."""
    where_ = "linalg.cross"
    a, b, _ = common(where_, x1, x2)
    ndim = max(a.ndim, b.ndim)
    at = whole(axis, f"{where_}, axis", least=-ndim, most=max(ndim - 1, -1))
    at = at - ndim if at >= 0 else at
    if min(a.ndim, b.ndim) < -at or (a.shape[at], b.shape[at]) != (3, 3):
        raise ShapeError(where_, "not vectors of 3", expected="length 3 along the axis",
                         got=f"{a.shape} and {b.shape}", remedy="Check the axis")  # fmt: skip
    shape = batch_shape(a.shape, b.shape, where_=where_)
    after = (slice(None),) * (-at - 1)
    x, y = ([slice_by(broadcast_to(v, shape), (..., k, *after)) for k in range(3)] for v in (a, b))
    parts = [x[i] * y[j] - x[j] * y[i] for i, j in ((1, 2), (2, 0), (0, 1))]
    return stack(parts, len(shape) + at)


def outer(x1: Tensor, x2: Tensor, /) -> Tensor:
    """Return x1[i] x2[j] of two vectors."""
    a, b, _ = common("linalg.outer", x1, x2)
    for x in (a, b):
        if x.ndim != 1:
            raise ShapeError("linalg.outer", "not a vector", expected="1 dimension", got=x.shape, remedy="Flatten it")
    return expand_dims(a, 1) * expand_dims(b, 0)


def diagonal(x: Tensor, /, *, offset: int = 0) -> Tensor:
    """Return element (..., k, k + offset) of matrices (..., m, n), for all k there are."""
    matrices(x, "linalg.diagonal")
    return diagonal_of(x, whole(offset, "linalg.diagonal, offset"))


def trace(x: Tensor, /, *, offset: int = 0, dtype: Any = None) -> Tensor:
    """Return the sums of diagonals; integers are summed in 64 bits, ``dtype`` is converted to before the sum."""
    matrices(x, "linalg.trace")
    line = diagonal(x, offset=offset)
    if dtype is None:
        return reductions.sum_of(line, -1)
    wanted = dtype_of(dtype, "linalg.trace, dtype")
    return cast(reductions.sum_of(cast(line, wanted), -1), wanted)
