"""What the functions of matrices are given: checks, common shapes and types, masks and scales.

Layer: tensor. Invariant: operands are checked when a function is called, before anything is recorded.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from loom.core.dtype import DType, f32, f64, u32
from loom.core.errors import ArgumentError, DTypeError, ShapeError
from loom.core.promotion import promote
from loom.runtime.memory.storage import HostStorage
from loom.tensor.handle.lending import memory_of
from loom.tensor.ops.elementwise import apply, cast, constant, coordinate, where
from loom.tensor.ops.joining import place
from loom.tensor.ops.reductions import max_of
from loom.tensor.ops.views import broadcast_to, detach, reshape, take_slices, transpose
from loom.tensor.record.graph import Node, NodeKind, ancestors, require_tensor
from loom.tensor.record.layout import broadcast_shapes
from loom.tensor.run.later_checks import check_later

__all__ = [
    "LinAlgError", "as_computed", "batch_shape", "common", "compute_type", "diagonal_of", "embed_diagonal", "eye_mask",
    "fill", "identity", "is_decided", "lower_mask", "matrices", "mt", "raise_failed", "safe_scale", "square", "tril",
    "triu",
]  # fmt: skip

_COMPUTED = (f32, f64)


class LinAlgError(ArgumentError, np.linalg.LinAlgError):
    """A matrix that has no such factor, inverse or solution."""


def matrices(x: Any, where_: str) -> None:
    """See that ``x`` is a tensor of matrices (..., m, n)."""
    require_tensor(x, where_)
    if x.ndim < 2:
        raise ShapeError(where_, "not a matrix", expected="at least 2 dimensions", got=f"shape {x.shape}",
                         remedy="Reshape it")  # fmt: skip


def square(x: Any, where_: str) -> None:
    """See that ``x`` is a tensor of square matrices (..., n, n)."""
    matrices(x, where_)
    if x.shape[-1] != x.shape[-2]:
        raise ShapeError(where_, "the matrix is not square", expected="as many rows as columns",
                         got=f"shape {x.shape}", remedy="Use linalg.lstsq, qr or svd")  # fmt: skip


def compute_type(dtype: DType, where_: str) -> DType:
    """Return the type that factorisations compute in: f32 and f64 as they are, f16 and bf16 in f32."""
    if dtype in _COMPUTED:
        return dtype
    if dtype.is_float and dtype.storage_only:
        return f32
    remedy = "Compute on real and imaginary parts" if dtype.is_complex else "Convert with astype"
    raise DTypeError(where_, "unsupported dtype", expected="f16, bf16, f32 or f64", got=dtype, remedy=remedy)


def batch_shape(*shapes: tuple[int, ...], where_: str) -> tuple[int, ...]:
    """Return the broadcast shape of leading dimensions."""
    try:
        return broadcast_shapes(*shapes)
    except ValueError:
        raise ShapeError(where_, "the batches do not broadcast", expected="equal leading dimensions, or 1, or none",
                         got=" and ".join(map(str, shapes)), remedy="Reshape one operand") from None  # fmt: skip


def mt(x: Any) -> Any:
    """Return the matrices transposed."""
    return transpose(x)


def _sides(x: Node) -> tuple[int, ...]:
    return (1,) * (x.ndim - 2) + x.shape[-2:]


def lower_mask(x: Node, offset: int = 0) -> Any:
    """Return bools (.., m, n): true where column - row <= ``offset``."""
    return _compare(x, "le", offset)


def _compare(x: Node, name: str, offset: int) -> Any:
    m, n = x.shape[-2:]
    rows, columns = coordinate((m, n), 0, u32, x), coordinate((m, n), 1, u32, x)
    ahead = max(offset, 0)  # so that nothing is below 0
    back = max(-offset, 0)
    mask = apply(name, apply("add", columns, back), apply("add", rows, ahead))
    return broadcast_to(reshape(mask, _sides(x)), x.shape)


def eye_mask(x: Node) -> Any:
    """Return bools (.., m, n): true on the diagonal."""
    return _compare(x, "eq", 0)


def tril(x: Any, k: int = 0) -> Any:
    """Return the elements on and below the k-th diagonal, zeros elsewhere."""
    return where(lower_mask(x, k), x, 0)


def triu(x: Any, k: int = 0) -> Any:
    """Return the elements on and above the k-th diagonal, zeros elsewhere."""
    return where(lower_mask(x, k - 1), 0, x)


def diagonal_of(x: Any, offset: int = 0) -> Any:
    """Return element (.., k, k + offset) of matrices for all k there are."""
    m, n = x.shape[-2:]
    count = max(0, min(m + min(offset, 0), n - max(offset, 0)))
    flat = reshape(x, (*x.shape[:-2], m * n))
    start = (max(offset, 0) + max(-offset, 0) * n) if count else 0
    starts, steps = [0] * (flat.ndim - 1) + [start], [1] * (flat.ndim - 1) + [n + 1]
    return take_slices(flat, starts, steps, (*flat.shape[:-1], count))


def embed_diagonal(d: Any, m: int, n: int) -> Any:
    """Return (.., m, n) matrices of zeros with ``d`` (.., min(m, n)) on the diagonal."""
    wanted = (*d.shape[:-1], m * n)
    if not math.prod(wanted):
        return fill(0, (*d.shape[:-1], m, n), d)
    flat = place(d, wanted, [0] * d.ndim, [1] * (d.ndim - 1) + [n + 1])
    return reshape(flat, (*d.shape[:-1], m, n))


_RANGE: dict[DType, tuple[tuple[float, float], ...]] = {
    f32: ((2.0**40, 2.0**-80), (2.0**-40, 2.0**64), (2.0**-100, 2.0**120)),
    f64: ((2.0**400, 2.0**-600), (2.0**-400, 2.0**600), (2.0**-800, 2.0**900)),
}
"""Above the first bound, below the second or third, elements are multiplied by these powers of two: squares stay in
range, and no digit is lost."""


def safe_scale(x: Any, axes: Any) -> Any:
    """Return powers of two (``axes`` kept as 1) by which squares of the elements are in range; mostly 1."""
    (above, less), (below, more), (far, much) = _RANGE[x.dtype]
    largest = detach(max_of(apply("abs", x), axes, keepdims=True))
    up = where(largest < far, cast_like(much, largest), where(largest < below, cast_like(more, largest), 1))
    return where(largest > above, cast_like(less, largest), up)


def cast_like(value: float, x: Any) -> Any:
    """Return a number as a tensor of the dtype of ``x``."""
    return constant(value, x.dtype, x)


def fill(value: float, shape: Sequence[int], like: Any) -> Any:
    """Return a tensor of one number everywhere, of the dtype of another."""
    return broadcast_to(constant(value, like.dtype, like), shape)


def identity(n: int, like: Any) -> Any:
    """Return (n, n) with ones on the diagonal, of the dtype of another."""
    return cast(eye_mask(fill(0, (n, n), like)), like.dtype)


def as_computed(x: Any, where_: str) -> Any:
    """Return ``x`` in the type that factorisations compute in."""
    return cast(x, compute_type(x.dtype, where_))


def common(where_: str, *operands: Any) -> tuple[Any, ...]:
    """Return tensors in the dtype in which they meet, and that dtype."""
    for x in operands:
        require_tensor(x, where_)
    dtype = promote(where_, [x.dtype for x in operands])
    return (*(cast(x, dtype) for x in operands), dtype)


def is_decided(x: Node) -> bool:
    """Tell whether a tensor's elements are those they will always be: made of arrays, no parameter and no input."""
    if x.is_fed or x.data is not None:
        return not (x.is_fed or x.op.is_written)
    if not any(i.data is None for i in x.inputs):  # what is asked most
        return not any(i.op.is_written for i in x.inputs)
    found = ancestors([x], lambda n: () if n.data is not None else n.inputs, unfold=False)
    return not any(n.op.is_written for n in found if n.op.kind is NodeKind.SOURCE)


def raise_failed(info: Any, where_: str, what: str, expected: str, remedy: str) -> None:
    """LinAlgError for the first matrix that failed: of which ``info`` is not 0, but 1 more than a column.

    What depends on parameters or inputs is not asked, and not computed now.
    """

    def check(found: np.ndarray[Any, Any]) -> None:
        if np.count_nonzero(found):
            place = tuple(map(int, np.argwhere(np.atleast_1d(found))[0]))
            which = f" of matrix {place}" if found.ndim else ""
            column = int(np.atleast_1d(found)[place]) - 1
            raise LinAlgError(where_, what, expected=expected, got=f"none in column {column}{which}", remedy=remedy)

    if not check_later(info, check) and is_decided(info):
        memory = memory_of(info)  # its own: nobody writes there
        found = memory.bytes if isinstance(memory, HostStorage) else memory.read(0, info.nbytes)
        check(found.view(info.dtype.numpy).reshape(info.shape))
