"""Operators along axes: sums, extremes, softmax, running sums, orders.

Layer: onnx. Invariant: the order of additions is Loom's (docs/numerics.md, section 2).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from loom import tensor as lt
from loom.onnx.registry import Made, NodeCall, operator
from loom.tensor.arrays.tensor import Tensor

__all__: list[str] = []

_Axes = tuple[int, ...]


def _sum(x: Tensor, axes: _Axes, keep: bool) -> Tensor:
    return lt.cast(lt.sum(x, axis=axes, keepdims=keep), x.dtype)


def _mean(x: Tensor, axes: _Axes, keep: bool) -> Tensor:
    return lt.cast(lt.mean(x, axis=axes, keepdims=keep), x.dtype)


def _log_sum_exp(x: Tensor, axes: _Axes, keep: bool) -> Tensor:
    if not math.prod(x.shape[a] for a in axes):
        return lt.log(_sum(x, axes, keep))
    wide = x if x.dtype.is_float else lt.cast(x, "f64")
    return lt.cast(lt.logsumexp(wide, axes, keepdims=keep), x.dtype)


def _root(x: Tensor, axes: _Axes, keep: bool) -> Tensor:
    wide = lt.cast(x, "f64") if x.dtype.is_integer else x
    return lt.cast(lt.sqrt(lt.sum(wide * wide, axis=axes, keepdims=keep)), x.dtype)


def _log_sum(x: Tensor, axes: _Axes, keep: bool) -> Tensor:
    wide = lt.cast(x, "f64") if x.dtype.is_integer else x
    return lt.cast(lt.log(lt.sum(wide, axis=axes, keepdims=keep)), x.dtype)


def _extreme(x: Tensor, axes: _Axes, keep: bool, largest: bool) -> Tensor:
    if x.dtype.is_bool:
        return lt.any(x, axis=axes, keepdims=keep) if largest else lt.all(x, axis=axes, keepdims=keep)
    if math.prod(x.shape[a] for a in axes):
        return lt.max(x, axis=axes, keepdims=keep) if largest else lt.min(x, axis=axes, keepdims=keep)
    shape = [1 if i in axes else n for i, n in enumerate(x.shape) if keep or i not in axes]
    low: Any = -math.inf if x.dtype.is_float else x.dtype.minimum
    high: Any = math.inf if x.dtype.is_float else x.dtype.maximum
    return lt.full(tuple(shape), low if largest else high, x.dtype)


_REDUCTIONS: dict[str, Callable[[Tensor, _Axes, bool], Tensor]] = {
    "ReduceSum": _sum, "ReduceMean": _mean, "ReduceLogSumExp": _log_sum_exp, "ReduceL2": _root,
    "ReduceLogSum": _log_sum, "ReduceL1": lambda x, a, k: _sum(lt.abs(x), a, k),
    "ReduceSumSquare": lambda x, a, k: _sum(x * x, a, k),
    "ReduceProd": lambda x, a, k: lt.cast(lt.prod(x, axis=a, keepdims=k), x.dtype),
    "ReduceMax": lambda x, a, k: _extreme(x, a, k, True), "ReduceMin": lambda x, a, k: _extreme(x, a, k, False),
}  # fmt: skip


@operator(*_REDUCTIONS)
def _reduce(call: NodeCall, x: Tensor) -> Made:
    keep = call.flag("keepdims", 1)
    since = 13 if call.name == "ReduceSum" else 18
    axes = call.integers("axes") if call.opset < since else (call.numbers(1) if call.has_input(1) else None)
    if call.opset >= since and not axes and call.flag("noop_with_empty_axes"):
        return _REDUCTIONS[call.name](x[None], (0,), False) if call.name != "ReduceMean" else x
    call.integer("noop_with_empty_axes")
    named = call.axes(axes, x.ndim) if axes else tuple(range(x.ndim))
    if not named:
        return _REDUCTIONS[call.name](x[None], (0,), False)
    return _REDUCTIONS[call.name](x, named, keep)


@operator("ArgMax", "ArgMin")
def _arg(call: NodeCall, x: Tensor) -> Made:
    axis, keep = call.axis(call.integer("axis", 0), x.ndim), call.flag("keepdims", 1)
    find = lt.argmax if call.name == "ArgMax" else lt.argmin
    if not call.flag("select_last_index"):
        return lt.cast(find(x, axis, keepdims=keep), "i64")
    return x.shape[axis] - 1 - lt.cast(find(lt.reverse(x, axis), axis, keepdims=keep), "i64")


def _flat(call: NodeCall, x: Tensor) -> tuple[Tensor, int]:
    """Return what softmax is taken of and along which axis; before opset 13 all axes from one on are one."""
    axis = call.axis(call.integer("axis", 1 if call.opset < 13 else -1), x.ndim)
    if call.opset >= 13:
        return x, axis
    return lt.reshape(x, (math.prod(x.shape[:axis]), math.prod(x.shape[axis:]))), 1


@operator("Softmax", "LogSoftmax", "Hardmax")
def _softmax(call: NodeCall, x: Tensor) -> Made:
    flat, axis = _flat(call, x)
    if call.name == "Softmax":
        return lt.reshape(lt.softmax(flat, axis), x.shape)
    if call.name == "LogSoftmax":
        return lt.reshape(lt.log_softmax(flat, axis), x.shape)
    best = lt.argmax(flat, axis, keepdims=True)
    at = call.array(np.arange(flat.shape[axis]).reshape(-1, *(1,) * (flat.ndim - 1 - axis)))
    return lt.reshape(lt.cast(lt.equal(lt.cast(best, "i64"), at), x.dtype), x.shape)


@operator("CumSum", "CumProd", since=11)
def _running(call: NodeCall, x: Tensor) -> Made:
    axis = call.axis(int(call.scalar(1)), x.ndim)
    back, before = call.flag("reverse"), call.flag("exclusive")
    found = lt.reverse(x, axis) if back else x
    if before:
        cut = [slice(None)] * x.ndim
        cut[axis] = slice(0, x.shape[axis] - 1)
        widths = [(1, 0) if i == axis else (0, 0) for i in range(x.ndim)]
        found = lt.pad(found[tuple(cut)], widths, 0 if call.name == "CumSum" else 1)
    run = lt.cumulative_sum if call.name == "CumSum" else lt.cumulative_prod
    found = lt.cast(run(found, axis=axis), x.dtype)
    return lt.reverse(found, axis) if back else found


@operator("TopK", since=10)
def _top_k(call: NodeCall, x: Tensor) -> Made:
    k = int(call.scalar(1))
    axis = call.axis(call.integer("axis", -1), x.ndim)
    largest = call.flag("largest", 1) if call.opset >= 11 else True
    call.integer("sorted")  # sorted ones are an order of those that are not
    if not 0 <= k <= x.shape[axis]:
        raise call.refusal("k is more than there are", expected=x.shape[axis], got=k)
    values, places = lt.topk(x, k, axis, largest=largest)
    return [values, lt.cast(places, "i64")]


@operator("LpNormalization", since=1)
def _lp_normalization(call: NodeCall, x: Tensor) -> Made:
    axis, p = call.axis(call.integer("axis", -1), x.ndim), call.integer("p", 2)
    if p not in (1, 2):
        raise call.refusal("p", expected="1 or 2", got=p)
    size = lt.sum(lt.abs(x), axis=axis, keepdims=True) if p == 1 else lt.sqrt(lt.sum(x * x, axis=axis, keepdims=True))
    return lt.where(lt.equal(size, 0), lt.zeros_like(x), x / size)
