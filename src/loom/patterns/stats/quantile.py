"""``quantile`` and ``median``: sorted, then interpolated between two ranks.

Layer: patterns. Invariant: a quantile lies within the two elements it is between.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from loom.core.arithmetic import ordinary_arithmetic
from loom.core.errors import ArgumentError, DTypeError, EmptyError
from loom.kernels.fold.deviations import interpolate_ranks
from loom.kernels.types import kinds
from loom.patterns.axis import normal_axis, rows_of
from loom.patterns.own_operations import Operation
from loom.patterns.tensor_rows import row
from loom.runtime.port.device import Device
from loom.schedules.recorder import store
from loom.tensor import Tensor
from loom.tensor.ops.elementwise import cast
from loom.tensor.ops.ordering import sort_last
from loom.tensor.ops.views import permute, reshape
from loom.tensor.record.draft import Draft
from loom.tensor.record.graph import Node

__all__ = ["median", "quantile"]

_LANES = 64


def _record(draft: Draft, node: Node, in_order: Any, out: Any) -> None:
    """Record quantiles of rows in order; the host works out between which ranks they are."""
    (fractions,), (rows, n) = node.attributes[0], node.inputs[0].shape
    types = kinds(node.inputs[0].dtype)
    places = np.array(fractions) * (n - 1)
    floors = np.minimum(np.floor(places), n - 1)
    between: list[Any] = [store(draft, each) for each in  # type: ignore[arg-type]
                          (floors.astype(np.uint32), (places - floors).astype(types.computed.numpy))]  # fmt: skip
    kernel = interpolate_ranks(types.element, types.computed, types.result)
    params = [n, rows, len(fractions)]
    draft.dispatch(kernel, [in_order, *between, out], params, groups=-(-node.size // _LANES))


_BETWEEN = Operation("stats.quantile", _record)


def _quantile(x: Tensor, q: Any, axis: int | None = None) -> Tensor:
    return _of_rows("stats.quantile", x, _fractions(q), axis)


def _median(x: Tensor, axis: int | None = None) -> Tensor:
    return _of_rows("stats.median", x, np.array(0.5), axis)


@ordinary_arithmetic()
def _of_rows(name: str, x: Tensor, q: np.ndarray[Any, Any], axis: int | None) -> Tensor:
    rows, rest, result = rows_of(x.shape, axis, name), (), kinds(x.dtype).result
    if axis is not None:
        at = normal_axis(x.shape, axis, name)
        left = [a for a in range(x.ndim) if a != at]
        x, rest = permute(x, [*left, at]), tuple(x.shape[a] for a in left)
    if rows.results and not rows.n:
        raise EmptyError(name, "no elements to take a quantile of", expected="at least 1", got=0,
                         remedy="Check for emptiness first")  # fmt: skip
    flat = reshape(x, (rows.results, rows.n))
    shape = (*q.shape, *rest)
    if not q.size or not rows.results:
        return reshape(cast(flat[:, :0], result), shape)
    fractions = tuple(q.ravel().tolist())
    return reshape(_BETWEEN([sort_last(flat, descending=False)], (q.size * rows.results,), result, fractions), shape)


@row(_quantile, where="stats.quantile")
def quantile(data: Any, q: Any, axis: int | None = None, *, on: str | Device | None = None) -> Any:
    """Return the quantiles ``q`` (numbers from 0 to 1, any shape) of all elements, or of those along an axis.

    Quantile q is at place q (n - 1) of the sorted elements, between two ranks by linear interpolation from the
    nearer one, as in ``numpy.quantile``; next to an infinity it is that infinity. The result has the shape of
    ``q``, then, along an axis, that of ``data`` without it. Floats keep their dtype (f16 and bf16 are computed in
    f32), integers and bools give float64. NaN where an element is NaN. EmptyError without elements,
    ArgumentError for a q outside 0 to 1. The last axis is the fastest.

    >>> quantile([4.0, 1.0, 3.0, 2.0], [0.0, 0.5, 1.0]).tolist()
    [1.0, 2.5, 4.0]
    """


@row(_median, where="stats.median")
def median(data: Any, axis: int | None = None, *, on: str | Device | None = None) -> Any:
    """Return the median: the element in the middle of the sorted ones, or midway between two, as ``quantile`` 0.5.

    >>> median([5.0, 1.0, 2.0]).item()
    2.0
    """


def _fractions(q: Any) -> np.ndarray[Any, Any]:
    try:
        found = np.asarray(q)
        numbers = found.astype(np.float64)
    except (TypeError, ValueError):
        found, numbers = np.array(""), np.empty(0)
    if found.dtype.kind not in "iuf":
        raise DTypeError(
            "stats.quantile, q", "not numbers", expected="numbers from 0 to 1", got=repr(q), remedy="Pass a float"
        )
    outside = numbers[~((numbers >= 0) & (numbers <= 1))]
    if outside.size:
        raise ArgumentError(
            "stats.quantile, q", "out of range", expected="0 to 1", got=float(outside.ravel()[0]),
            remedy="Divide percentages by 100",
        )  # fmt: skip
    return numbers
