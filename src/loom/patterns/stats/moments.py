"""``mean``, ``variance``, ``std`` and ``zscore``, of a whole array or along an axis.

Layer: patterns. The mean is the canonical sum by the number of elements; the variance is a second canonical sum,
of the squared deviations from it. Invariant: along an axis, a row gives the bits it gives alone.
"""

from __future__ import annotations

from typing import Any

from loom.core.errors import ArgumentError
from loom.core.given import is_int
from loom.kernels.types import kinds
from loom.patterns.axis import require_elements, rows_of, shape_of_results
from loom.patterns.own_operations import Operation
from loom.patterns.reduce import mean_of_some
from loom.patterns.tensor_rows import row
from loom.runtime.port.device import Device
from loom.schedules.deviations import Spread
from loom.tensor import Tensor
from loom.tensor.ops.elementwise import apply, cast, where
from loom.tensor.ops.reductions import max_of, min_of
from loom.tensor.ops.views import reshape
from loom.tensor.record.draft import Draft
from loom.tensor.record.graph import Node

__all__ = ["freedom", "is_level", "mean", "std", "variance", "zscore"]


def _record(draft: Draft, node: Node, data: Any, out: Any) -> None:
    spread, is_score = node.attributes[0]
    means = draft.device.allocate(spread.shape.results * spread.types.computed.nbytes)
    squares = draft.device.allocate(spread.squares_nbytes)
    if is_score:
        spread.record_scores(draft, data, means, squares, out)
    else:
        spread.record(draft, data, means, squares, out, spread.types.result)


_SPREAD = Operation("spread", _record)


def _variance(x: Tensor, axis: int | None = None, *, ddof: int = 0) -> Tensor:
    return _spread("stats.variance", "variance", x, axis, ddof)


def _std(x: Tensor, axis: int | None = None, *, ddof: int = 0) -> Tensor:
    return _spread("stats.std", "standard deviation", x, axis, ddof)


def _spread(name: str, what: str, x: Tensor, axis: int | None, ddof: int) -> Tensor:
    rows, types = rows_of(x.shape, axis, name), kinds(x.dtype)
    shape = shape_of_results(x.shape, axis, name)
    if not rows.results:
        return reshape(cast(x, types.result), shape)
    require_elements(x, axis, name, what)
    return _SPREAD(
        [x], shape, types.result, Spread(rows, types, freedom(name, ddof, rows.n), name == "stats.std"), False
    )


def _zscore(x: Tensor, axis: int | None = None, *, ddof: int = 0) -> Tensor:
    name = "stats.zscore"
    rows, types = rows_of(x.shape, axis, name), kinds(x.dtype)
    if not x.size:
        return cast(x, types.result)
    spread = Spread(rows, types, freedom(name, ddof, rows.n), root=True)
    found = _SPREAD([x], x.shape, types.result, spread, True)
    return where(is_level(x, axis, keepdims=axis is not None), float("nan"), found)


def is_level(x: Tensor, axis: int | None, *, keepdims: bool = False) -> Tensor:
    """Tell which rows have one element again and again, which no deviation from a rounded mean tells."""
    return apply("eq", min_of(x, axis, keepdims=keepdims), max_of(x, axis, keepdims=keepdims))


@row(mean_of_some, where="stats.mean")
def mean(data: Any, axis: int | None = None, *, on: str | Device | None = None) -> Any:
    """Return the mean of all elements of ``data``, or of those along ``axis``: canonical sums, divided once.

    ``data``: any shape. Floats keep their dtype (f16 and bf16 are computed in f32), integers and bools give
    float64. NaN where an element is NaN. EmptyError where there are no elements.

    >>> mean([[1.0, 2.0], [3.0, 6.0]], axis=1).tolist()
    [1.5, 4.5]
    """


@row(_variance, where="stats.variance")
def variance(data: Any, axis: int | None = None, *, ddof: int = 0, on: str | Device | None = None) -> Any:
    """Return the variance: the sum of squared deviations from the mean, divided by n - ``ddof``.

    Two passes: the mean, rounded to the type computed in, then the canonical sum of (x - mean)^2. Shapes, types
    and NaN as in ``mean``; numbers too far apart for their squares give infinity. EmptyError where there are no
    elements, ArgumentError if ``ddof`` leaves nothing to divide by.

    >>> variance([1.0, 2.0, 3.0, 4.0]).item()
    1.25
    """


@row(_std, where="stats.std")
def std(data: Any, axis: int | None = None, *, ddof: int = 0, on: str | Device | None = None) -> Any:
    """Return the standard deviation: the square root of ``variance``, taken before it is rounded to 16 bits.

    >>> std([1.0, 1.0, 5.0, 5.0]).item()
    2.0
    """


@row(_zscore, where="stats.zscore")
def zscore(data: Any, axis: int | None = None, *, ddof: int = 0, on: str | Device | None = None) -> Any:
    """Return (x - mean) / std for every element, in the shape of ``data``, over all of it or along ``axis``.

    Types as in ``mean``. All NaN where the elements are equal or one is NaN. Nothing gives nothing;
    ArgumentError if ``ddof`` leaves nothing to divide by.

    >>> zscore([1.0, 1.0, 5.0, 5.0]).tolist()
    [-1.0, -1.0, 1.0, 1.0]
    """


def freedom(where: str, ddof: Any, n: int) -> int:
    """Return ``n - ddof``, what sums of squares are divided by; ArgumentError unless it is at least 1."""
    if not is_int(ddof) or ddof < 0:
        raise ArgumentError(
            f"{where}, ddof", "unusable", expected="a whole number of at least 0", got=repr(ddof),
            remedy="Pass 0 for a population, 1 for a sample",
        )  # fmt: skip
    if n <= ddof:
        raise ArgumentError(
            f"{where}, ddof", "no degree of freedom is left",
            expected=f"less than the {n} elements" if n > 1 else "0 for one element", got=int(ddof),
            remedy="Pass a smaller ddof or more elements",
        )  # fmt: skip
    return n - int(ddof)
