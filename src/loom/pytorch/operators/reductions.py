"""Operators along axes: sums, means, extremes, norms, softmax, running sums, orders.

Layer: pytorch. Invariant: sums have Loom's one order (docs/numerics.md, section 2), whatever the axes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from loom import tensor as lt
from loom.core.dtype import lookup
from loom.importers.promotion import cast, wide
from loom.pytorch.registry import Made, OpCall, operator
from loom.tensor.arrays.tensor import Tensor

__all__: list[str] = []


def _about(call: OpCall) -> tuple[Tensor, tuple[int, ...] | None, bool]:
    """Return the tensor, its axes and whether they are kept."""
    x = call.tensor()
    return x, call.axes("dim", x.ndim), call.flag("keepdim")


def _at_least_1d(x: Tensor) -> Tensor:
    return x if x.ndim else lt.reshape(x, (1,))


def _reduce(x: Tensor, axes: Any, keep: bool, reduce: Callable[[Tensor, Any, bool], Tensor]) -> Tensor:
    """Return a reduction; of a tensor without axes that of its one element."""
    if not x.ndim:
        return lt.reshape(reduce(_at_least_1d(x), (0,), False), ())
    return reduce(x, axes, keep)


@operator("sum", "mean", "nansum", "nanmean", "prod")
def _sum(call: OpCall) -> Made:
    x, axes, keep = _about(call)
    x = cast(x, call.out)
    if call.base == "prod":
        return cast(_reduce(x, axes, keep, lambda t, a, k: lt.prod(t, axis=a, keepdims=k)), call.out)
    if call.base.startswith("nan"):
        there = lt.logical_not(lt.isnan(x))
        x = lt.where(there, x, call.full((), 0, x.dtype))
        total = _reduce(x, axes, keep, lambda t, a, k: lt.sum(t, axis=a, keepdims=k))
        if call.base == "nansum":
            return total
        return total / _reduce(cast(there, x.dtype), axes, keep, lambda t, a, k: lt.sum(t, axis=a, keepdims=k))
    reduce = lt.sum if call.base == "sum" else lt.mean
    return cast(_reduce(x, axes, keep, lambda t, a, k: reduce(t, axis=a, keepdims=k)), call.out)


@operator("amax", "amin", "max", "min")
def _extreme(call: OpCall) -> Made:
    x, axes, keep = _about(call)
    find = lt.max if "max" in call.base else lt.min
    if x.dtype.is_bool:
        find = lt.any if "max" in call.base else lt.all
    return _reduce(x, axes, keep, lambda t, a, k: find(t, axis=a, keepdims=k))


@operator("max.dim", "min.dim")
def _extreme_and_place(call: OpCall) -> Made:
    x, axes, keep = _about(call)
    at = (axes or (0,))[0]
    find = lt.argmax if call.base == "max" else lt.argmin
    if not x.ndim:
        return [x, call.full((), 0, lookup("i64"))]
    place = lt.cast(find(x, at, keepdims=True), "i64")
    value = lt.take_along_axis(x, place, at)
    if not keep:
        value, place = (lt.squeeze(t, at) for t in (value, place))
    return [value, place]


@operator("aminmax")
def _aminmax(call: OpCall) -> Made:
    x, axes, keep = _about(call)
    least = _reduce(x, axes, keep, lambda t, a, k: lt.min(t, axis=a, keepdims=k))
    return [least, _reduce(x, axes, keep, lambda t, a, k: lt.max(t, axis=a, keepdims=k))]


@operator("argmax", "argmin")
def _arg(call: OpCall) -> Made:
    x, axes, keep = _about(call)
    find = lt.argmax if call.base == "argmax" else lt.argmin
    if axes is None or not x.ndim:
        found = lt.cast(find(lt.reshape(x, (-1,)), 0), "i64")
        return lt.reshape(found, (1,) * x.ndim) if keep else found
    return lt.cast(find(x, axes[0], keepdims=keep), "i64")


@operator("any", "all")
def _truths(call: OpCall) -> Made:
    x, axes, keep = _about(call)
    find = lt.any if call.base == "any" else lt.all
    return cast(_reduce(x, axes, keep, lambda t, a, k: find(t, axis=a, keepdims=k)), call.out)


@operator("count_nonzero")
def _count(call: OpCall, x: Tensor) -> Made:
    return lt.cast(lt.count_nonzero(x, call.axes("dim", x.ndim)), "i64")


# moments and norms


def _correction(call: OpCall) -> float:
    if call.value("unbiased") is not None:
        return 1.0 if call.flag("unbiased") else 0.0
    given = call.value("correction")
    return 1.0 if given is None else float(given)


@operator("var", "std", "var_mean", "std_mean")
def _moments(call: OpCall) -> Made:
    x, axes, keep = _about(call)
    correction = _correction(call)
    find = lt.var if call.base.startswith("var") else lt.std
    spread = _reduce(x, axes, keep, lambda t, a, k: find(t, axis=a, correction=correction, keepdims=k))
    if not call.base.endswith("mean"):
        return spread
    return [spread, _reduce(x, axes, keep, lambda t, a, k: lt.mean(t, axis=a, keepdims=k))]


@operator("linalg_vector_norm", "norm", "linalg_norm", "frobenius_norm")
def _norm(call: OpCall) -> Made:
    x, axes, keep = _about(call)
    given = call.value("ord" if call.base.startswith("linalg") else "p", 2)
    rank = x.ndim if axes is None else len(axes)
    if call.base == "linalg_norm" and given is not None and rank == 2:  # it is that of matrices then
        turned = lt.moveaxis(wide(cast(x, call.out)), (0, 1) if axes is None else axes, (-2, -1))
        found = lt.linalg.matrix_norm(turned, ord=given)
        for axis in sorted(range(x.ndim) if axes is None else axes) if keep else ():
            found = lt.expand_dims(found, axis)
        return cast(found, call.out)
    if isinstance(given, str) and given != "fro":
        raise call.refusal("a norm of matrices", expected="fro, or a number", got=given)
    p = 2.0 if given in (None, "fro") else float(given)
    held = wide(cast(x, call.out))
    return cast(_reduce(held, axes, keep, lambda t, a, k: _length(t, a, k, p)), call.out)


def _length(x: Tensor, axes: Any, keep: bool, p: float) -> Tensor:
    """Return the p-norm; its gradient at 0 is 0, as PyTorch's."""
    if p in (math.inf, -math.inf):
        return (lt.max if p > 0 else lt.min)(lt.abs(x), axis=axes, keepdims=keep)
    if p == 0:
        return lt.cast(lt.count_nonzero(x, axes, keepdims=keep), x.dtype)
    if p == 1:
        return lt.sum(lt.abs(x), axis=axes, keepdims=keep)
    total = lt.sum(x * x if p == 2 else lt.pow(lt.abs(x), p), axis=axes, keepdims=keep)
    nothing = lt.equal(total, 0)
    safe = lt.where(nothing, 1.0, total)
    return lt.where(nothing, 0.0, lt.sqrt(safe) if p == 2 else lt.pow(safe, 1 / p))


@operator("dist")
def _dist(call: OpCall, a: Tensor, b: Tensor) -> Made:
    return cast(_length(lt.reshape(wide(a - b), (-1,)), (0,), False, call.real("p", 2)), call.out)


@operator("logsumexp")
def _logsumexp(call: OpCall) -> Made:
    x, axes, keep = _about(call)
    return _reduce(x, axes, keep, lambda t, a, k: lt.logsumexp(t, a, keepdims=k))


@operator("softmax", "log_softmax", "_softmax", "_log_softmax", "special_softmax", "special_log_softmax",
          "_safe_softmax", ignores=("half_to_float",))  # fmt: skip
def _softmax(call: OpCall, x: Tensor) -> Made:
    at = call.axis("dim", x.ndim)
    x = cast(x, call.out)
    if not x.ndim:
        return call.full((), 0 if "log" in call.base else 1, x.dtype)
    if "log" in call.base:
        return lt.log_softmax(x, at)
    if call.base != "_safe_softmax":
        return lt.softmax(x, at)
    unseen = lt.all(lt.equal(x, -math.inf), axis=at, keepdims=True)
    return lt.where(unseen, 0.0, lt.softmax(lt.where(unseen, 0.0, x), at))


# running ones and orders


@operator("cumsum", "cumprod", "logcumsumexp")
def _running(call: OpCall, x: Tensor) -> Made:
    at = call.axis("dim", x.ndim)
    x = cast(x, call.out)
    if not x.ndim:
        return x
    find: Any = {"cumsum": lt.cumsum, "cumprod": lt.cumprod, "logcumsumexp": lt.logcumsumexp}[call.base]
    return cast(find(x, at), call.out)


@operator("cummax", "cummin")
def _running_extreme(call: OpCall, x: Tensor) -> Made:
    find: Any = lt.cummax if call.base == "cummax" else lt.cummin
    value, place = find(x, call.axis("dim", x.ndim))
    return [value, lt.cast(place, "i64")]


@operator("sort", "argsort", "msort", ignores=("stable",))
def _sort(call: OpCall, x: Tensor) -> Made:
    at, down = call.axis("dim", x.ndim, -1), call.flag("descending")
    place = lt.argsort(x, at, descending=down)
    return place if call.base == "argsort" else [lt.take_along_axis(x, place, at), place]


@operator("topk", ignores=("sorted",))  # in order is an order of those that need none
def _topk(call: OpCall, x: Tensor) -> Made:
    values, places = lt.topk(x, call.integer("k"), call.axis("dim", x.ndim, -1), largest=call.flag("largest", True))
    return [values, lt.cast(places, "i64")]


@operator("kthvalue", "median.dim", "mode")
def _kth(call: OpCall) -> Made:
    if call.base == "mode":
        raise call.refusal("the most frequent element is not done")
    x = call.tensor()
    at = call.axis("dim", x.ndim, -1)
    k = call.integer("k") if call.base == "kthvalue" else (x.shape[at] + 1) // 2
    keep = call.flag("keepdim")
    value, place = lt.kthvalue(x, k, at, keepdims=keep)
    place = lt.cast(place, "i64")
    if call.base == "median" and x.dtype.is_float and x.size:
        first = lt.cast(lt.argmax(lt.cast(lt.isnan(x), "i32"), at, keepdims=keep), "i64")
        spoilt = lt.any(lt.isnan(x), axis=at, keepdims=keep)
        value, place = lt.where(spoilt, float("nan"), value), lt.where(spoilt, first, place)
    return [value, place]


@operator("median")
def _median(x: Tensor) -> Made:
    x = lt.reshape(x, (-1,))
    found = lt.kthvalue(x, (x.size + 1) // 2, 0)[0]
    return lt.where(lt.any(lt.isnan(x)), float("nan"), found) if x.dtype.is_float else found
