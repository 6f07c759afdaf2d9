"""``sort``, ``argsort``, ``topk``, ``kthvalue``, ``median``, ``quantile``: rows in order, along any axis.

Layer: tensor. The order is that of ``loom.gpu_sort``: -inf < ... < -0 < +0 < ... < inf < NaN, every NaN being last and
equal to any other; descending is the reverse, NaN first. Equal elements keep their order either way. Invariant:
gradients go to the elements that were taken.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from loom.core.dtype import u32
from loom.core.errors import ArgumentError, DTypeError, EmptyError
from loom.core.given import flag, one_of
from loom.core.numbers import whole
from loom.kernels.types import kinds
from loom.tensor.arrays.tensor import Tensor
from loom.tensor.ops.elementwise import apply, cast, where
from loom.tensor.ops.indexing import fold_by, pick
from loom.tensor.ops.joining import stack
from loom.tensor.ops.ordering import SORT, first_of, sort_last
from loom.tensor.ops.views import normal_axes, normal_axis, permute, reshape, routed, squeeze, take_slices
from loom.tensor.record.graph import require_tensor
from loom.tensor.record.vjps import derivative

__all__ = ["argsort", "kthvalue", "last_axis", "median", "quantile", "sort", "topk"]

_METHODS = ("linear", "lower", "higher", "nearest", "midpoint")


def last_axis(x: Tensor, axis: Any, where: str) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """Return a tensor with an axis moved to the end, and what moves the last one back there."""
    at = normal_axis(x, axis, where)
    if at == x.ndim - 1:
        return x, lambda y: y
    rest = [a for a in range(x.ndim) if a != at]
    back = [a if a < at else a - 1 for a in range(x.ndim)]
    back[at] = x.ndim - 1

    def restore(y: Tensor) -> Tensor:
        return permute(y, back)

    return permute(x, [*rest, at]), restore


def _orderable(x: Tensor, where: str) -> None:
    require_tensor(x, where)
    if not (x.dtype.is_float or x.dtype.is_integer or x.dtype.is_bool):
        raise DTypeError(where, "complex numbers have no order", expected="real numbers", got=x.dtype,
                         remedy="Sort by abs(x), or by one part")  # fmt: skip


def sort(x: Tensor, axis: int = -1, *, descending: bool = False, stable: bool = True) -> Tensor:
    """Return the elements in order along an axis. NaNs are last (descending: first) and come out canonical.

    ``stable`` is always kept: equal elements keep their order, also where it is False.

    Args:
        x: Tensor of any shape.
        axis: Axis, negative ones counted from the end.
        descending: Whether the largest come first.
        stable: Kept for other libraries' callers: the order is always stable.

    Returns:
        Tensor of the shape of ``x``, in its dtype.

    Raises:
        ArgumentError: A number is not usable there; an operand is no tensor.
        DTypeError: Complex numbers are refused; an axis is no integer.
        IndexOutside: There is no such axis.

    >>> from loom import tensor
    >>> tensor.sort(tensor.array([3.0, float("nan"), -1.0])).tolist()
    [-1.0, 3.0, nan]
    """
    _orderable(x, "sort")
    flag(stable, "sort, stable")
    moved, back = last_axis(x, axis, "sort")
    return back(sort_last(moved, descending=flag(descending, "sort, descending")))


def argsort(x: Tensor, axis: int = -1, *, descending: bool = False, stable: bool = True) -> Tensor:
    """Return the positions (i64) along an axis that put the elements in the order of ``sort``.

    Args:
        x: Tensor of any shape.
        axis: Axis, negative ones counted from the end.
        descending: Whether the largest come first.
        stable: Kept for other libraries' callers: the order is always stable.

    Returns:
        Tensor of the shape of ``x``, i64.

    Raises:
        ArgumentError: An operand is no tensor; a number is not usable there.
        DTypeError: Complex numbers are refused; an axis is no integer.
        IndexOutside: There is no such axis.

    >>> from loom import tensor
    >>> tensor.argsort(tensor.array([30, 10, 20, 10])).tolist()
    [1, 3, 2, 0]
    """
    _orderable(x, "argsort")
    flag(stable, "argsort, stable")
    moved, back = last_axis(x, axis, "argsort")
    return back(first_of(moved, moved.shape[-1], descending=flag(descending, "argsort, descending")))


@derivative(SORT)
def _sort(node: Tensor, g: Tensor) -> list[Tensor]:
    x, n = node.inputs[0], node.shape[-1]
    at = cast(first_of(x, n, descending=node.attributes[0]), u32)
    return [fold_by(g, at, x.ndim - 1, n, shared=False)]


def _take(moved: Tensor, at: Tensor) -> Tensor:
    return pick(moved, cast(at, u32), moved.ndim - 1, shared=False)


def topk(
    x: Tensor,
    k: int,
    axis: int = -1,
    *,
    largest: bool = True,
    sorted: bool = True,  # noqa: A002 - as torch's
) -> tuple[Tensor, Tensor]:
    """Return the ``k`` largest (or smallest) elements along an axis, the first ones first, and their positions (i64).

    NaN is the largest. Of equal elements the earlier come first. They are always ``sorted``.

    Args:
        x: Tensor of any shape.
        k: Number of elements.
        axis: Axis, negative ones counted from the end.
        largest: Whether the largest are meant.
        sorted: Kept for torch's callers: the result is always in order.

    Raises:
        ArgumentError: An operand is no tensor; a number is not usable there.
        DTypeError: An axis is no integer.
        IndexOutside: There is no such axis.

    >>> from loom import tensor
    >>> [t.tolist() for t in tensor.topk(tensor.array([3, 9, 5, 9]), 2)]
    [[9, 9], [1, 3]]
    """
    _orderable(x, "topk")
    flag(sorted, "topk, sorted")
    moved, back = last_axis(x, axis, "topk")
    count = whole(k, "topk, k", least=0, most=moved.shape[-1])
    at = first_of(moved, count, descending=flag(largest, "topk, largest"))
    return back(_take(moved, at)), back(at)


def kthvalue(x: Tensor, k: int, axis: int = -1, *, keepdims: bool = False) -> tuple[Tensor, Tensor]:
    """Return the ``k``-th smallest element along an axis, 1 being the smallest, and its position (i64).

    Args:
        x: Tensor of any shape.
        k: Rank, 1 being the smallest.
        axis: Axis, negative ones counted from the end.
        keepdims: Whether axes that are reduced stay, with length 1.

    Raises:
        ArgumentError: An operand is no tensor; a number is not usable there; not a whole number.
        DTypeError: An axis is no integer.
        IndexOutside: There is no such axis.
    """
    _orderable(x, "kthvalue")
    moved, back = last_axis(x, axis, "kthvalue")
    count = whole(k, "kthvalue, k", least=1, most=moved.shape[-1])
    at = first_of(moved, count, descending=False)[..., count - 1 :]
    kept = flag(keepdims, "kthvalue, keepdims")
    found = (back(y) for y in (_take(moved, at), at))
    value, place = (y if kept else squeeze(y, normal_axis(x, axis, "kthvalue")) for y in found)
    return value, place


# between ranks


def quantile(x: Tensor, q: Any, axis: Any = None, *, keepdims: bool = False, method: str = "linear") -> Tensor:
    """Return quantiles ``q`` (numbers from 0 to 1, any shape, which comes first) along an axis, several, or all.

    Quantile q is at place q (n - 1) of the elements in order, between two ranks by ``method``: "linear" (from the
    nearer one, as ``loom.stats.quantile``), "lower", "higher", "nearest" (of two as near the even rank) or "midpoint".
    Floats keep their dtype, integers and bools give f64. NaN where an element is NaN.

    Args:
        x: Tensor of any shape.
        q: Numbers from 0 to 1, of any shape.
        axis: Axis, or several in a tuple; None: all.
        keepdims: Whether axes that are reduced stay, with length 1.
        method: "linear", "lower", "higher", "nearest" or "midpoint".

    Raises:
        ArgumentError: A number is not usable there; an operand is no tensor; there is no such option.
        DTypeError: The elements are no numbers; an axis is no integer.

    >>> from loom import tensor
    >>> tensor.quantile(tensor.array([4.0, 1.0, 3.0, 2.0]), [0.0, 0.5, 1.0]).tolist()
    [1.0, 2.5, 4.0]
    """
    _orderable(x, "quantile")
    way = one_of(method, "quantile, method", _METHODS)
    return _quantile(x, _fractions(q), axis, flag(keepdims, "quantile, keepdims"), way, "quantile")


def median(x: Tensor, axis: Any = None, *, keepdims: bool = False) -> Tensor:
    """Return medians along an axis, several, or all: the element in the middle, or midway between two, as numpy's.

    Args:
        x: Tensor of any shape.
        axis: Axis, or several in a tuple; None: all.
        keepdims: Whether axes that are reduced stay, with length 1.

    Returns:
        Tensor of what is left without the axes: floats keep their dtype; bools and integers give f64.

    Raises:
        ArgumentError: An operand is no tensor; a number is not usable there.
        DTypeError: Complex numbers are refused; an axis is no integer.

    >>> from loom import tensor
    >>> tensor.median(tensor.array([[5.0, 1.0, 2.0], [4.0, 9.0, 7.0]]), 1).tolist()
    [2.0, 7.0]
    """
    _orderable(x, "median")
    return _quantile(x, np.array(0.5), axis, flag(keepdims, "median, keepdims"), "linear", "median")


def _fractions(q: Any) -> np.ndarray[Any, Any]:
    where = "quantile, q"
    try:
        found = np.asarray(q)
        numbers = found.astype(np.float64)
    except (TypeError, ValueError):
        found, numbers = np.array(""), np.empty(0)
    if found.dtype.kind not in "iuf":
        raise DTypeError(where, "not numbers", expected="numbers from 0 to 1", got=repr(q), remedy="Pass a float")
    if not ((numbers >= 0) & (numbers <= 1)).all():
        raise ArgumentError(where, "out of range", expected="0 to 1", got=q, remedy="Divide percentages by 100")
    return numbers


def _quantile(
    x: Tensor, q: np.ndarray[Any, Any], axis: Any, keepdims: bool, method: str, where_: str
) -> Tensor:  # fmt: skip
    axes = normal_axes(x, axis, where_)
    rest = [a for a in range(x.ndim) if a not in axes]
    n = math.prod(x.shape[a] for a in axes)
    if n == 0:
        raise EmptyError(where_, "no elements", expected="at least 1", got=x.shape, remedy="Check for emptiness first")
    kept = tuple(x.shape[a] for a in rest)
    types = kinds(x.dtype)
    in_order = sort_last(reshape(permute(x, [*rest, *axes]), (*kept, n)), descending=False)
    found = [_at(in_order, float(f), types.computed, method) for f in q.reshape(-1)]
    shape = tuple(1 if a in axes else m for a, m in enumerate(x.shape)) if keepdims else kept
    if not found:
        return reshape(cast(in_order, types.result)[..., :0], (*q.shape, *shape)) if x.size else in_order
    made = stack(found, 0) if q.ndim else found[0]
    return cast(reshape(made, (*q.shape, *shape)), types.result)


def _at(in_order: Tensor, fraction: float, computed: Any, method: str) -> Tensor:
    """Return the quantile of each row."""
    n = in_order.shape[-1]
    place = fraction * (n - 1)
    rank = min(math.floor(place), n - 1)
    t = float(computed.numpy.type(place - rank))  # as the kernel of ``loom.stats.quantile`` has it

    def element(at: int) -> Tensor:
        starts = [0] * (in_order.ndim - 1) + [min(at, n - 1)]
        part = take_slices(in_order, starts, [1] * in_order.ndim, (*in_order.shape[:-1], 1))
        return cast(reshape(part, in_order.shape[:-1]), computed)

    if method in ("lower", "higher", "nearest"):
        near = round(place) if method == "nearest" else math.ceil(place) if method == "higher" else rank
        value = element(near)
    else:
        value = _between(element(rank), element(rank + 1), (0.5 if t else 0.0) if method == "midpoint" else t)
    last = element(n - 1)
    return where(apply("ne", last, last), last, value)


def _between(low: Tensor, high: Tensor, t: float) -> Tensor:
    """Return the point ``t`` of the way, as ``kernels.fold.deviations.between``; the gradient goes to both."""
    if t == 0:
        return low
    distance = high - low
    value = high - distance * (1 - t) if t >= 0.5 else low + distance * t
    halved = (low * 0.5 + (high * 0.5 - low * 0.5) * t) * 2
    infinite = apply("eq", abs(low), math.inf) | apply("eq", abs(high), math.inf)
    value = where(apply("eq", abs(distance), math.inf), where(infinite, low + high, halved), value)

    def vjp(_node: Any, g: Any) -> list[Any]:
        return [g * (1 - t), g * t]

    return routed(where(apply("eq", low, high), low, value), [low, high], vjp)
