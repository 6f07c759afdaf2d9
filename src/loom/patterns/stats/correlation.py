"""``covariance`` and ``correlation``: of two arrays, or of the rows of a matrix with each other.

Layer: patterns. Each is a canonical sum of products of deviations from the means (two passes). Invariant: the
element for rows i and j depends on those rows alone, and has the bits the two give as a pair.
"""

from __future__ import annotations

from typing import Any

from loom.core.errors import DTypeError, EmptyError, ShapeError
from loom.kernels.types import kinds
from loom.patterns.operand_kinds import require_ndim
from loom.patterns.own_operations import Operation
from loom.patterns.stats.moments import freedom, is_level
from loom.patterns.tensor_rows import row
from loom.runtime.port.device import Device
from loom.schedules.deviations import record_pair, record_pairs
from loom.tensor import Tensor
from loom.tensor.ops.elementwise import cast, where
from loom.tensor.ops.views import expand_dims, reshape
from loom.tensor.record.draft import Draft
from loom.tensor.record.graph import Node

__all__ = ["correlation", "covariance"]


def _record(draft: Draft, node: Node, *buffers: Any) -> None:
    (left,), x = node.attributes[0], node.inputs[0]
    if len(buffers) == 3:
        record_pair(draft, buffers[:2], x.size, kinds(x.dtype), left, buffers[2])
    else:
        record_pairs(draft, buffers[0], x.shape[0], x.shape[1], kinds(x.dtype), left, buffers[1])


_COVARIANCE = Operation("covariance", _record)
"""By so many degrees of freedom; None: the correlation."""


def _covariance(x: Tensor, other: Tensor | None = None, *, ddof: int = 1) -> Tensor:
    n = _observations("stats.covariance", x, other)
    return _of_all(x, other, freedom("stats.covariance", ddof, n) if other is not None or x.shape[0] else 1)


def _correlation(x: Tensor, other: Tensor | None = None) -> Tensor:
    _observations("stats.correlation", x, other)
    found = _of_all(x, other, None)
    if not found.size:
        return found
    level = is_level(x, None if other is not None else 1)
    beside = expand_dims(level, 1) if other is None else is_level(other, None)
    return where(level | beside, float("nan"), found)


def _of_all(x: Tensor, other: Tensor | None, left: int | None) -> Tensor:
    """Return the covariance of two arrays, or of all rows; their correlation if ``left`` is None."""
    result = kinds(x.dtype).result
    if other is not None:
        return _COVARIANCE([x, other], (), result, left)
    shape = (x.shape[0],) * 2
    return _COVARIANCE([x], shape, result, left) if x.shape[0] else reshape(cast(x, result), shape)


def _observations(name: str, x: Tensor, other: Tensor | None) -> int:
    """Return how many observations there are of two arrays, or of the rows of one; errors for other arrays."""
    if other is None:
        require_ndim(x, 2, name)
        if not x.shape[0]:
            return 0
    elif x.shape != other.shape:
        raise ShapeError(name, "arrays of different shapes", expected=x.shape, got=other.shape,
                         remedy="Pair the observations")  # fmt: skip
    elif x.dtype != other.dtype:
        raise DTypeError(name, "arrays of different types", expected=x.dtype, got=other.dtype,
                         remedy="Convert one of them")  # fmt: skip
    n: int = x.shape[1] if other is None else x.size
    if not n:
        raise EmptyError(name, "no observations", expected="at least 1", got=0, remedy="Check for emptiness first")
    return n


@row(_covariance, 2, where="stats.covariance", apart=(1,))
def covariance(data: Any, other: Any = None, *, ddof: int = 1, on: str | Device | None = None) -> Any:
    """Return the covariance of two arrays of one shape, or the matrix of those of the rows of ``data``.

    The sum of (x - mean of x)(y - mean of y) by n - ``ddof``. Without ``other``, ``data`` is (variables,
    observations) as for ``numpy.cov``, and the result (variables, variables). Floats keep their dtype (f16 and
    bf16 are computed in f32), integers and bools give float64; NaN where a NaN takes part. EmptyError without
    observations, ShapeError for other shapes, DTypeError for two dtypes, ArgumentError for a ``ddof`` too large.

    >>> covariance([1.0, 2.0, 3.0], [2.0, 4.0, 6.0]).item()
    2.0
    """


@row(_correlation, 2, where="stats.correlation", apart=(1,))
def correlation(data: Any, other: Any = None, *, on: str | Device | None = None) -> Any:
    """Return Pearson's correlation of two arrays of one shape, or the matrix of those of the rows of ``data``.

    s_xy / sqrt(s_xx s_yy), s being the sums of products of deviations, kept within -1 and 1 (two roots where the
    product leaves the range of the type); the diagonal is exactly 1. NaN for an array that does not vary or holds a
    NaN. Shapes, types and errors as in ``covariance``.

    >>> correlation([1.0, 2.0, 3.0], [2.0, 4.0, 6.0]).item()
    1.0
    """
