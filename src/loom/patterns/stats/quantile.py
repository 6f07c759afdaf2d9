"""``quantile`` and ``median``: sorted, then interpolated between two ranks.

Layer: patterns. Invariant: a quantile lies within the two elements it is between.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from loom.core.arithmetic import ordinary_arithmetic
from loom.core.dtype import u32
from loom.core.errors import ArgumentError, DTypeError, EmptyError
from loom.kernels.fold.deviations import interpolate_ranks
from loom.kernels.sort.keys import Order, Records
from loom.kernels.types import kinds
from loom.patterns.axis import normal_axis
from loom.patterns.calling.call import Call, Operand
from loom.patterns.sort import run_sort
from loom.runtime.chain import Chain
from loom.runtime.memory.storage import HostSlot
from loom.runtime.port.device import Device

__all__ = ["median", "quantile"]


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
    return _quantile(Call("stats.quantile", on), data, _fractions(q), axis)


def median(data: Any, axis: int | None = None, *, on: str | Device | None = None) -> Any:
    """Return the median: the element in the middle of the sorted ones, or midway between two, as ``quantile`` 0.5.

    >>> median([5.0, 1.0, 2.0]).item()
    2.0
    """
    return _quantile(Call("stats.median", on), data, np.array(0.5), axis)


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


@ordinary_arithmetic()
def _quantile(call: Call, data: Any, q: np.ndarray[Any, Any], axis: int | None) -> Any:
    x = _turned(call, call.input(data), axis)
    rows, n, rest = _rows(call, x, axis)
    types = kinds(x.dtype)
    out = call.output((*q.shape, *rest), types.result, like=x)
    if not out.size:
        return call.result(out)
    in_order = call.output(x.shape, x.dtype, like=x)
    run_sort(call, Records(Order(x.dtype)), x, rows, keys=in_order)
    places = q.ravel() * (n - 1)
    floors = np.minimum(np.floor(places), n - 1)
    ranks = Operand(floors.astype(np.uint32), u32)
    fractions = Operand((places - floors).astype(types.computed.numpy), types.computed)

    def record(chain: Chain, *slots: HostSlot) -> None:
        kernel = interpolate_ranks(types.element, types.computed, types.result)
        chain.dispatch(kernel, slots, [n, rows, q.size], groups=-(-out.size // 64))

    call.run(("stats.quantile", x.dtype, rows, n, q.size), record, in_order, ranks, fractions, out)
    return call.result(out)


def _turned(call: Call, x: Operand, axis: int | None) -> Operand:
    """Return the input with the axis that is sorted along last."""
    if axis is None or (at := normal_axis(x.shape, axis, call.name)) == len(x.shape) - 1:
        return x
    return Operand(np.ascontiguousarray(np.moveaxis(x.memory, at, -1)), x.dtype)


def _rows(call: Call, x: Operand, axis: int | None) -> tuple[int, int, tuple[int, ...]]:
    """Return how many rows there are, their length, and the shape of one result each."""
    if axis is None:
        rows, n, rest = 1, x.size, ()
    else:
        *leading, n = x.shape
        rest = tuple(leading)
        rows = int(np.prod(rest, dtype=np.int64))
    if rows and not n:
        raise EmptyError(
            call.name, "no elements to take a quantile of", expected="at least 1", got=0,
            remedy="Check for emptiness first",
        )  # fmt: skip
    return rows, n, rest
