"""Operators over windows: convolutions, their transposes, pools.

Layer: onnx. Invariant: ONNX has channels first, Loom last; what is permuted are views, and weights once for all runs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from loom import tensor as lt
from loom.importers.imagewindows import (
    ImageWindows,
    Numbers,
    by_channel,
    channels_first,
    channels_last,
    filters_last,
    least_of,
    places_of_largest,
)
from loom.onnx.operators.picking import require_places
from loom.onnx.registry import Made, NodeCall, operator
from loom.onnx.values import Value
from loom.tensor.arrays.tensor import Tensor

__all__: list[str] = []


def geometry(call: NodeCall, shape: Sequence[int], sizes: Sequence[int], *, ceil: bool = False) -> ImageWindows:
    """Return how windows lie over ``shape`` by the attributes strides, dilations, pads, auto_pad (and ceil_mode)."""
    d = len(shape)
    steps, gaps = call.integers("strides", [1] * d), call.integers("dilations", [1] * d)
    given = call.integers("pads")
    auto = call.text("auto_pad", "NOTSET", ("NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"))
    if not d or any(len(part) != d for part in (sizes, steps, gaps)) or min(*sizes, *steps, *gaps) < 1:
        raise call.refusal("not one positive number for each axis", expected=d, got=(sizes, steps, gaps))
    if given is not None and (len(given) != 2 * d or min(given) < 0):
        raise call.refusal("not two widths for each axis", expected=2 * d, got=given)
    reach = [gap * (k - 1) + 1 for k, gap in zip(sizes, gaps, strict=True)]
    if auto.startswith("SAME"):
        needed = [max((-(-n // s) - 1) * s + r - n, 0) for n, s, r in zip(shape, steps, reach, strict=True)]
        halves = [(t // 2, t - t // 2) for t in needed]
        pads = halves if auto == "SAME_UPPER" else [(b, a) for a, b in halves]
    elif auto == "VALID" or given is None:
        pads = [(0, 0)] * d
    else:
        pads = list(zip(given[:d], given[d:], strict=True))
    how = ImageWindows(list(sizes), steps, gaps, pads)
    how = how.with_last_windows(shape) if ceil else how
    if any(n + a + b < r for n, (a, b), r in zip(shape, how.pads, reach, strict=True)):
        raise call.refusal("a window is larger than the image", expected=list(shape), got=reach)
    call.check_shape([n + a + b for n, (a, b) in zip(shape, how.pads, strict=True)])
    return how


def _require_elements(call: NodeCall, how: ImageWindows, shape: Sequence[int]) -> None:
    """Refuse windows that lie in the padding alone: ONNX tells no largest element of none, and no mean."""
    if not (there := how.inside(shape).any(-1)).all():
        raise call.refusal("a window lies in the padding alone", expected="an element of the image in each",
                           got=f"window {tuple(int(i) for i in np.argwhere(~there)[0])}, pads {how.pads}")  # fmt: skip


def weight_last(call: NodeCall, value: Value) -> Tensor:
    """Return weights (filters, channels, *window) as (*window, channels, filters), of arrays once for all runs."""
    if not isinstance(value, np.ndarray):
        return filters_last(value)
    order = (*range(2, value.ndim), 1, 0)
    made = call.scope.make_once(("weight",), value, lambda: call.array(np.ascontiguousarray(value.transpose(order))))
    return call.scope.tensor(made)


def convolve(call: NodeCall, x: Tensor, weight: Value) -> Tensor:
    """Return the convolution that a node's attributes describe, channels first."""
    shape, groups = weight.shape, call.integer("group", 1)
    sizes = call.integers("kernel_shape", list(shape[2:]))
    if x.ndim < 3 or weight.ndim != x.ndim or groups < 1 or x.shape[1] != shape[1] * groups or shape[0] % groups:
        raise call.refusal("the shapes do not fit", got=f"{x.shape} and {shape}, {groups} groups",
                           expected="(n, c, *size) and (filters, c / groups, *window)")  # fmt: skip
    if list(sizes) != list(shape[2:]):
        raise call.refusal("kernel_shape is not that of the weights", expected=shape[2:], got=sizes)
    how = geometry(call, x.shape[2:], sizes)
    return channels_first(how.convolve(x, weight_last(call, weight), groups))


def _add_bias(call: NodeCall, x: Tensor, i: int) -> Tensor:
    """Return images and an input that has a number for each of their channels, if it is there."""
    return x + by_channel(call.tensor(i), x.ndim) if call.has_input(i) else x


@operator("Conv")
def _conv(call: NodeCall) -> Made:
    return _add_bias(call, convolve(call, call.tensor(0), call.value(1)), 2)


@operator("ConvTranspose")
def _conv_transpose(call: NodeCall, x: Tensor, weight: Tensor) -> Made:
    groups = call.integer("group", 1)
    d = x.ndim - 2
    sizes = call.integers("kernel_shape", list(weight.shape[2:]))
    steps, gaps = call.integers("strides", [1] * d), call.integers("dilations", [1] * d)
    more, wanted = call.integers("output_padding", [0] * d), call.integers("output_shape")
    auto = call.text("auto_pad", "NOTSET", ("NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"))
    given = call.integers("pads", [0] * 2 * d)
    if weight.ndim != x.ndim or weight.shape[0] != x.shape[1] or x.shape[1] % groups or len(given) != 2 * d:
        raise call.refusal("the shapes do not fit", expected="(n, c, *size), (c, filters / groups, *window)",
                           got=f"{x.shape}, {weight.shape}")  # fmt: skip
    if list(sizes) != list(weight.shape[2:]):
        raise call.refusal("kernel_shape is not that of the weights", expected=weight.shape[2:], got=sizes)
    full = [(n - 1) * s + g * (k - 1) + 1 for n, s, g, k in zip(x.shape[2:], steps, gaps, sizes, strict=True)]
    if wanted is None and auto.startswith("SAME"):
        wanted = [n * s for n, s in zip(x.shape[2:], steps, strict=True)]
    if wanted is None:
        pads = list(zip(given[:d], given[d:], strict=True))
        wanted = [f - a - b + e for f, (a, b), e in zip(full, pads, more, strict=True)]
    else:
        wanted = list(wanted)[-d:]
        total = [max(f + e - w, 0) for f, e, w in zip(full, more, wanted, strict=True)]
        pads = [(t // 2, t - t // 2) if auto == "SAME_UPPER" else (t - t // 2, t // 2) for t in total]
    call.check_shape((x.shape[0], weight.shape[1] * groups, *wanted))
    if min(wanted) < 1:
        raise call.refusal("nothing is left", expected="at least 1 element", got=wanted)
    whole = lt.conv_transpose(channels_last(x), filters_last(weight), stride=steps, dilation=gaps, groups=groups)
    grown = [(0, max(a + w - f, 0)) for f, w, (a, _) in zip(full, wanted, pads, strict=True)]
    whole = lt.pad(whole, [(0, 0), *grown, (0, 0)]) if any(map(any, grown)) else whole
    found = whole[(slice(None), *(slice(a, a + w) for (a, _), w in zip(pads, wanted, strict=True)))]
    return _add_bias(call, channels_first(found), 2)


@operator("MaxPool")
def _max_pool(call: NodeCall, x: Tensor) -> Made:
    how = geometry(call, x.shape[2:], call.integers("kernel_shape"), ceil=call.flag("ceil_mode"))
    _require_elements(call, how, x.shape[2:])
    columns = bool(call.integer("storage_order", 0))
    least = least_of(x.dtype)
    padded = how.pad(x, least)
    if len([n for n in call.node.output if n]) < 2:
        return how.largest(padded)
    seen = how.flat_over(padded)
    at = places_of_largest(call, seen, _positions(x.shape, how, columns))
    most = lt.max(seen, axis=-1)
    if any(a or b for a, b in how.pads):  # all is the least there is: the first that is no padding
        first = lt.broadcast_to(call.array(_first_inside(x.shape, how, columns)), at.shape)
        at = lt.where(lt.equal(most, lt.full(most.shape, least, x.dtype, on=call.scope.device)), first, at)
    return [most, at]


def _first_inside(shape: Sequence[int], how: ImageWindows, columns: bool) -> Numbers:
    """Return for each window the position of its first place inside the image."""
    positions, chosen = _positions(shape, how, columns), how.inside(shape[2:]).argmax(-1)
    return np.take_along_axis(positions, np.broadcast_to(chosen, positions.shape[:-1])[..., None], -1)[..., 0]


def _positions(shape: Sequence[int], how: ImageWindows, columns: bool) -> Numbers:
    """Return for each place of each window its position in the whole array, as ONNX counts it."""
    sizes = shape[2:]
    offsets = np.arange(shape[0] * shape[1]).reshape(*shape[:2], *(1,) * (len(sizes) + 1)) * math.prod(sizes)
    return (offsets + how.positions(sizes, columns=columns)).astype(np.int64)


@operator("MaxUnpool", since=9)
def _max_unpool(call: NodeCall, x: Tensor, at: Tensor) -> Made:
    sizes = call.integers("kernel_shape")
    d = x.ndim - 2
    steps, pads = call.integers("strides", [1] * d), call.integers("pads", [0] * 2 * d)
    natural = [
        (n - 1) * s + k - a - b for n, s, k, a, b in zip(x.shape[2:], steps, sizes, pads[:d], pads[d:], strict=True)
    ]
    shape = call.check_shape(call.numbers(2) if call.has_input(2) else (*x.shape[:2], *natural))
    require_places(call, 1, math.prod((*x.shape[:2], *natural)), least=0)
    if call.has_input(2):
        old = (*x.shape[:2], *natural)
        host = call.numbers_of(at)
        places = np.unravel_index(host, old)
        at = call.array(np.ravel_multi_index(places, shape).astype(np.int64))
    empty = lt.full((math.prod(shape),), 0, x.dtype, on=call.scope.device)
    return lt.reshape(lt.scatter(empty, 0, lt.reshape(at, (-1,)), lt.reshape(x, (-1,))), shape)


@operator("AveragePool", "LpPool", since=1)
def _average_pool(call: NodeCall, x: Tensor) -> Made:
    sizes = call.integers("kernel_shape")
    how = geometry(call, x.shape[2:], sizes, ceil=call.flag("ceil_mode"))
    inner = tuple(range(x.ndim, 2 * x.ndim - 2))
    found = how.over(how.pad(x))
    if call.name == "LpPool":
        p = call.integer("p", 2)
        size = lt.abs(found)
        total = lt.sum(lt.pow(size, float(p)) if p != 2 else size * size, axis=inner)
        return lt.sqrt(total) if p == 2 else total if p == 1 else lt.pow(total, 1 / p)
    counted = call.flag("count_include_pad")
    if not counted:
        _require_elements(call, how, x.shape[2:])
    given = call.integers("pads", [0] * 2 * len(sizes))
    told = call.text("auto_pad", "NOTSET") == "NOTSET"
    ends = [min(end, b) if told else b for (_, b), end in zip(how.pads, given[len(sizes) :], strict=True)]
    around = [(a, end) if counted else (0, 0) for (a, _), end in zip(how.pads, ends, strict=True)]
    shares = how.shares(x.shape[2:], around)
    return lt.sum(found, axis=inner) / lt.cast(call.array(shares), x.dtype)


@operator("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool")
def _global_pool(call: NodeCall, x: Tensor) -> Made:
    axes = tuple(range(2, x.ndim))
    if call.name == "GlobalAveragePool":
        return lt.mean(x, axis=axes, keepdims=True)
    if call.name == "GlobalMaxPool":
        return lt.max(x, axis=axes, keepdims=True)
    p = float(call.integer("p", 2))
    return lt.pow(lt.sum(lt.pow(lt.abs(x), p), axis=axes, keepdims=True), 1 / p)


@operator("Col2Im", since=18)
def _col2im(call: NodeCall, x: Tensor) -> Made:
    shape, window = call.numbers(1), call.numbers(2)
    how = geometry(call, shape, window)
    call.check_shape((*x.shape[:1], *shape))
    channels, places = x.shape[1] // math.prod(window), how.counts(shape)
    if x.shape[1:] != (channels * math.prod(window), math.prod(places)):
        raise call.refusal("the shapes do not fit", expected=(channels * math.prod(window), places), got=x.shape)
    parts = lt.reshape(x, (x.shape[0], channels, *window, *places))
    grown = [n + a + b for n, (a, b) in zip(shape, how.pads, strict=True)]
    total: Any = None
    for at in np.ndindex(*window):
        part = parts[(slice(None), slice(None), *map(int, at))]
        starts = [0, 0, *(int(k) * g for k, g in zip(at, how.gaps, strict=True))]
        put = lt.place(part, (*x.shape[:1], channels, *grown), starts, [1, 1, *how.steps])
        total = put if total is None else total + put
    return total[(slice(None), slice(None), *(slice(a, a + n) for (a, _), n in zip(how.pads, shape, strict=True)))]


@operator("ConvInteger", since=10)
def _conv_integer(call: NodeCall) -> Made:
    x, weight = lt.cast(call.tensor(0), "i32"), lt.cast(call.tensor(1), "i32")
    if call.has_input(2):
        x = x - lt.cast(call.tensor(2), "i32")
    if call.has_input(3):
        weight = weight - _by_filter(lt.cast(call.tensor(3), "i32"), weight.ndim)
    return whole_convolved(call, x, weight)


def _by_filter(x: Tensor, rank: int) -> Tensor:
    return by_channel(x, rank + 1) if x.ndim else x


def whole_convolved(call: NodeCall, x: Tensor, weight: Tensor) -> Tensor:
    """Return the convolution of whole numbers, exactly: their windows as f64 are products below 2^53."""
    return lt.cast(convolve(call, lt.cast(x, "f64"), lt.cast(weight, "f64")), "i32")


@operator("QLinearConv", since=10)
def _qlinear_conv(call: NodeCall) -> Made:
    x, sx, zx, weight, sw, zw, sy, zy = (call.tensor(i) for i in range(8))
    left = lt.cast(x, "i32") - lt.cast(lt.reshape(zx, ()), "i32")
    right = lt.cast(weight, "i32") - _by_filter(lt.cast(zw, "i32"), weight.ndim)
    found = whole_convolved(call, left, right)
    found = _add_bias(call, found, 8)
    scale = lt.reshape(sx, ()) * by_channel(sw, x.ndim) / lt.reshape(sy, ())
    whole = lt.round(lt.cast(found, "f32") * scale) + lt.cast(lt.reshape(zy, ()), "f32")
    return lt.cast(lt.clip(whole, zy.dtype.minimum, zy.dtype.maximum), zy.dtype)
