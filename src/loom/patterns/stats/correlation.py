"""``covariance`` and ``correlation``: of two arrays, or of the rows of a matrix with each other.

Layer: patterns. Each is a canonical sum of products of deviations from the means (two passes). Invariant: the
element for rows i and j depends on those rows alone, and has the bits the two give as a pair.
"""

from __future__ import annotations

from typing import Any

from loom.core.errors import DTypeError, EmptyError, ShapeError
from loom.kernels.types import kinds
from loom.patterns.calling.call import Call, Operand
from loom.patterns.stats.moments import freedom, level_rows, without_level
from loom.runtime.chain import Chain
from loom.runtime.memory.storage import HostSlot
from loom.runtime.port.device import Device
from loom.schedules.deviations import record_pair, record_pairs

__all__ = ["correlation", "covariance"]


def covariance(data: Any, other: Any = None, *, ddof: int = 1, on: str | Device | None = None) -> Any:
    """Return the covariance of two arrays of one shape, or the matrix of those of the rows of ``data``.

    The sum of (x - mean of x)(y - mean of y) by n - ``ddof``. Without ``other``, ``data`` is (variables,
    observations) as for ``numpy.cov``, and the result (variables, variables). Floats keep their dtype (f16 and
    bf16 are computed in f32), integers and bools give float64; NaN where a NaN takes part. EmptyError without
    observations, ShapeError for other shapes, DTypeError for two dtypes, ArgumentError for a ``ddof`` too large.

    >>> covariance([1.0, 2.0, 3.0], [2.0, 4.0, 6.0]).item()
    2.0
    """
    call = Call("stats.covariance", on)
    if other is None:
        x, variables, n = _matrix_of(call, data)
        left = freedom(call, ddof, n) if variables else 1
        return _matrix(call, x, variables, n, left)
    x, y = _pair_of(call, data, other)
    left = freedom(call, ddof, x.size)
    return _pair(call, x, y, left)


def correlation(data: Any, other: Any = None, *, on: str | Device | None = None) -> Any:
    """Return Pearson's correlation of two arrays of one shape, or the matrix of those of the rows of ``data``.

    s_xy / sqrt(s_xx s_yy), s being the sums of products of deviations, kept within -1 and 1 (two roots where the
    product leaves the range of the type); the diagonal is exactly 1. NaN for an array that does not vary or holds a
    NaN. Shapes, types and errors as in ``covariance``.

    >>> correlation([1.0, 2.0, 3.0], [2.0, 4.0, 6.0]).item()
    1.0
    """
    call = Call("stats.correlation", on)
    if other is None:
        found = _matrix(call, *_matrix_of(call, data), None)
        if not found.size:
            return found
        level = level_rows(data, 1, on)
        return without_level(found, level | level.T)
    found = _pair(call, *_pair_of(call, data, other), None)
    for side in (data, other):
        found = without_level(found, level_rows(side, None, on))
    return found


def _matrix_of(call: Call, data: Any) -> tuple[Operand, int, int]:
    """Return a matrix with its numbers of variables and observations."""
    x = call.input(data, ndim=2)
    variables, n = x.shape
    if variables:
        _require_observations(call, n)
    return x, variables, n


def _pair_of(call: Call, data: Any, other: Any) -> tuple[Operand, Operand]:
    """Return two arrays of one shape and type."""
    x, y = call.input(data), call.input(other, "other")
    if x.shape != y.shape:
        raise ShapeError(
            call.name, "arrays of different shapes", expected=x.shape, got=y.shape, remedy="Pair the observations"
        )
    if x.dtype != y.dtype:
        raise DTypeError(
            call.name, "arrays of different types", expected=x.dtype, got=y.dtype, remedy="Convert one of them"
        )
    _require_observations(call, x.size)
    return x, y


def _require_observations(call: Call, n: int) -> None:
    if not n:
        raise EmptyError(call.name, "no observations", expected="at least 1", got=0, remedy="Check for emptiness first")


def _pair(call: Call, x: Operand, y: Operand, left: int | None) -> Any:
    """Return the covariance of two arrays, or, if ``left`` is None, their correlation."""
    types = kinds(x.dtype)
    out = call.output((), types.result, like=x)

    def record(chain: Chain, *slots: HostSlot) -> None:
        record_pair(chain, slots[:2], x.size, types, left, slots[2])

    call.run((call.name, "pair", x.dtype, x.size, left), record, x, y, out)
    return call.result(out)


def _matrix(call: Call, x: Operand, variables: int, n: int, left: int | None) -> Any:
    """Return the covariances of all rows, or, if ``left`` is None, their correlations."""
    types = kinds(x.dtype)
    out = call.output((variables, variables), types.result, like=x)

    def record(chain: Chain, data: HostSlot, out: HostSlot) -> None:
        record_pairs(chain, data, variables, n, types, left, out)

    if out.size:
        call.run((call.name, "matrix", x.dtype, variables, n, left), record, x, out)
    return call.result(out)
