"""Operators over windows: convolutions, their transposes, pools.

Layer: onnx. Invariant: ONNX has channels first, Loom last; what is permuted are views, and weights once for all runs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from loom import tensor as lt
from loom.onnx.operators.picking import require_places
from loom.onnx.registry import Made, NodeCall, operator
from loom.onnx.values import Value
from loom.tensor.arrays.convolution import window_max
from loom.tensor.arrays.tensor import Tensor

__all__ = ["Geometry", "convolved", "geometry"]


class Geometry:
    """How windows lie: sizes, steps, gaps between their places, widths of padding before and after."""

    def __init__(self, sizes: list[int], steps: list[int], gaps: list[int], pads: list[tuple[int, int]]) -> None:
        self.sizes, self.steps, self.gaps, self.pads = sizes, steps, gaps, pads

    def places(self, shape: Sequence[int]) -> list[int]:
        """Return how many windows lie along each axis."""
        return [
            (n + a + b - gap * (k - 1) - 1) // step + 1
            for n, k, step, gap, (a, b) in zip(shape, self.sizes, self.steps, self.gaps, self.pads, strict=True)
        ]


def geometry(call: NodeCall, shape: Sequence[int], sizes: Sequence[int], *, ceil: bool = False) -> Geometry:
    """Return how windows lie over ``shape`` by the attributes strides, dilations, pads, auto_pad (and ceil_mode)."""
    d = len(shape)
    steps, gaps = call.integers("strides", [1] * d), call.integers("dilations", [1] * d)
    given = call.integers("pads")
    auto = call.text("auto_pad", "NOTSET", ("NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"))
    if not d or any(len(part) != d for part in (sizes, steps, gaps)) or min(*sizes, *steps, *gaps) < 1:
        raise call.refused("not one positive number for each axis", expected=d, got=(sizes, steps, gaps))
    if given is not None and (len(given) != 2 * d or min(given) < 0):
        raise call.refused("not two widths for each axis", expected=2 * d, got=given)
    reach = [gap * (k - 1) + 1 for k, gap in zip(sizes, gaps, strict=True)]
    if auto.startswith("SAME"):
        needed = [max((-(-n // s) - 1) * s + r - n, 0) for n, s, r in zip(shape, steps, reach, strict=True)]
        halves = [(t // 2, t - t // 2) for t in needed]
        pads = halves if auto == "SAME_UPPER" else [(b, a) for a, b in halves]
    elif auto == "VALID" or given is None:
        pads = [(0, 0)] * d
    else:
        pads = list(zip(given[:d], given[d:], strict=True))
    if ceil:
        pads = [_ceiled(n, s, r, p) for n, s, r, p in zip(shape, steps, reach, pads, strict=True)]
    if any(n + a + b < r for n, (a, b), r in zip(shape, pads, reach, strict=True)):
        raise call.refused("a window is larger than the image", expected=list(shape), got=reach)
    call.sized([n + a + b for n, (a, b) in zip(shape, pads, strict=True)])
    return Geometry(list(sizes), steps, gaps, pads)


def _ceiled(n: int, step: int, reach: int, pads: tuple[int, int]) -> tuple[int, int]:
    """Return widths with what a last window needs that starts inside the image or the padding before it."""
    whole = n + sum(pads)
    places = -(-(whole - reach) // step) + 1
    if (places - 1) * step >= n + pads[0]:
        places -= 1
    return pads[0], pads[1] + max((places - 1) * step + reach - whole, 0)


def last(x: Tensor) -> Tensor:
    """Return images with channels last."""
    return lt.permute(x, (0, *range(2, x.ndim), 1))


def first(x: Tensor) -> Tensor:
    """Return images with channels first."""
    return lt.permute(x, (0, x.ndim - 1, *range(1, x.ndim - 1)))


def weight_last(call: NodeCall, value: Value) -> Tensor:
    """Return weights (filters, channels, *window) as (*window, channels, filters), of arrays once for all runs."""
    order = (*range(2, value.ndim), 1, 0)
    if not isinstance(value, np.ndarray):
        return lt.permute(value, order)
    made = call.scope.kept(("weight",), value, lambda: call.array(np.ascontiguousarray(value.transpose(order))))
    return call.scope.tensor(made)


def convolved(call: NodeCall, x: Tensor, weight: Value) -> Tensor:
    """Return the convolution that a node's attributes describe, channels first."""
    shape, d, groups = weight.shape, x.ndim - 2, call.integer("group", 1)
    sizes = call.integers("kernel_shape", list(shape[2:]))
    if x.ndim < 3 or weight.ndim != x.ndim or groups < 1 or x.shape[1] != shape[1] * groups or shape[0] % groups:
        raise call.refused("the shapes do not fit", got=f"{x.shape} and {shape}, {groups} groups",
                           expected="(n, c, *size) and (filters, c / groups, *window)")  # fmt: skip
    if list(sizes) != list(shape[2:]):
        raise call.refused("kernel_shape is not that of the weights", expected=shape[2:], got=sizes)
    how = geometry(call, x.shape[2:], sizes)
    padded = lt.pad(last(x), [(0, 0), *how.pads, (0, 0)]) if any(map(any, how.pads)) else last(x)
    assert d == len(how.steps)
    return first(lt.convolve(padded, weight_last(call, weight), stride=how.steps, dilation=how.gaps, groups=groups))


@operator("Conv")
def _conv(call: NodeCall) -> Made:
    found = convolved(call, call.tensor(0), call.value(1))
    return found if not call.given(2) else found + lt.reshape(call.tensor(2), (-1, *(1,) * (found.ndim - 2)))


@operator("ConvTranspose")
def _conv_transpose(call: NodeCall) -> Made:
    x, weight, groups = call.tensor(0), call.tensor(1), call.integer("group", 1)
    d = x.ndim - 2
    sizes = call.integers("kernel_shape", list(weight.shape[2:]))
    steps, gaps = call.integers("strides", [1] * d), call.integers("dilations", [1] * d)
    more, wanted = call.integers("output_padding", [0] * d), call.integers("output_shape")
    auto = call.text("auto_pad", "NOTSET", ("NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"))
    given = call.integers("pads", [0] * 2 * d)
    if weight.ndim != x.ndim or weight.shape[0] != x.shape[1] or x.shape[1] % groups or len(given) != 2 * d:
        raise call.refused("the shapes do not fit", expected="(n, c, *size), (c, filters / groups, *window)",
                           got=f"{x.shape}, {weight.shape}")  # fmt: skip
    if list(sizes) != list(weight.shape[2:]):
        raise call.refused("kernel_shape is not that of the weights", expected=weight.shape[2:], got=sizes)
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
    call.sized((x.shape[0], weight.shape[1] * groups, *wanted))
    if min(wanted) < 1:
        raise call.refused("nothing is left", expected="at least 1 element", got=wanted)
    ordered = lt.permute(weight, (*range(2, weight.ndim), 1, 0))  # (*window, filters / groups, channels)
    whole = lt.conv_transpose(last(x), ordered, stride=steps, dilation=gaps, groups=groups)
    grown = [(0, max(a + w - f, 0)) for f, w, (a, _) in zip(full, wanted, pads, strict=True)]
    whole = lt.pad(whole, [(0, 0), *grown, (0, 0)]) if any(map(any, grown)) else whole
    found = first(whole[(slice(None), *(slice(a, a + w) for (a, _), w in zip(pads, wanted, strict=True)))])
    return found if not call.given(2) else found + lt.reshape(call.tensor(2), (-1, *(1,) * d))


def _padded(x: Tensor, how: Geometry, value: Any) -> Tensor:
    return lt.pad(x, [(0, 0), (0, 0), *how.pads], value) if any(map(any, how.pads)) else x


def _windows(x: Tensor, how: Geometry) -> Tensor:
    return lt.windows(x, range(2, x.ndim), how.sizes, how.steps, how.gaps)


@operator("MaxPool")
def _max_pool(call: NodeCall) -> Made:
    x = call.tensor(0)
    how = geometry(call, x.shape[2:], call.integers("kernel_shape"), ceil=call.flag("ceil_mode"))
    columns = call.integer("storage_order", 0)
    least: Any = -math.inf if x.dtype.is_float else x.dtype.minimum
    padded = _padded(x, how, least)
    if len([n for n in call.node.output if n]) < 2:
        if set(how.gaps) == {1}:
            return window_max(padded, range(2, x.ndim), how.sizes, how.steps)
        return lt.max(_windows(padded, how), axis=tuple(range(x.ndim, 2 * x.ndim - 2)))
    found = _windows(padded, how)
    flat = lt.reshape(found, (*found.shape[: x.ndim], -1))
    best = lt.cast(lt.argmax(flat, -1, keepdims=True), "i64")
    table = _positions(x.shape, how, columns)
    at = lt.take_along_axis(lt.broadcast_to(call.array(table), flat.shape), best, -1)[..., 0]
    most = lt.max(flat, axis=-1)
    if any(a or b for a, b in how.pads):  # all is the least there is: the first that is no padding
        first = lt.broadcast_to(call.array(_first_inside(x.shape, how, columns)), at.shape)
        at = lt.where(lt.equal(most, lt.full(most.shape, least, x.dtype, on=call.scope.device)), first, at)
    return [most, at]


def _first_inside(shape: Sequence[int], how: Geometry, columns: int) -> np.ndarray[Any, Any]:
    """Return for each window the position of its first place inside the image."""
    positions = _positions(shape, how, columns)
    counts = how.places(shape[2:])
    within: np.ndarray[Any, Any] = np.ones((1,) * (2 * len(counts)), bool)
    for i, (n, count) in enumerate(zip(shape[2:], counts, strict=True)):
        first = np.arange(count)[:, None] * how.steps[i] - how.pads[i][0]
        at = first + np.arange(how.sizes[i]) * how.gaps[i]
        spread = [1] * (2 * len(counts))
        spread[i], spread[len(counts) + i] = at.shape
        within = within & ((at >= 0) & (at < n)).reshape(spread)
    chosen = within.reshape(*counts, -1).argmax(-1)
    found = np.take_along_axis(positions, np.broadcast_to(chosen, positions.shape[:-1])[..., None], -1)[..., 0]
    return np.maximum(found, 0)


def _positions(shape: Sequence[int], how: Geometry, columns: int) -> np.ndarray[Any, Any]:
    """Return for each place of each window its position in the whole array, as ONNX counts it."""
    d = len(how.sizes)
    each = [
        np.arange(count)[:, None] * step + np.arange(k) * gap - a
        for count, step, k, gap, (a, _) in zip(
            how.places(shape[2:]), how.steps, how.sizes, how.gaps, how.pads, strict=True
        )
    ]
    sizes = list(shape[2:])
    total = np.zeros((1,) * (2 * d), np.int64)
    for i, part in enumerate(each):
        step = math.prod(sizes[:i]) if columns else math.prod(sizes[i + 1 :])
        spread = [1] * (2 * d)
        spread[i], spread[d + i] = part.shape
        total = total + part.reshape(spread) * step
    flat = total.reshape(*total.shape[:d], -1)
    offsets = np.arange(shape[0] * shape[1]).reshape(shape[0], shape[1], *(1,) * (d + 1)) * math.prod(sizes)
    return (offsets + flat).astype(np.int64)


@operator("MaxUnpool", since=9)
def _max_unpool(call: NodeCall) -> Made:
    x, at = call.tensor(0), call.tensor(1)
    sizes = call.integers("kernel_shape")
    d = x.ndim - 2
    steps, pads = call.integers("strides", [1] * d), call.integers("pads", [0] * 2 * d)
    natural = [
        (n - 1) * s + k - a - b for n, s, k, a, b in zip(x.shape[2:], steps, sizes, pads[:d], pads[d:], strict=True)
    ]
    shape = call.sized(call.numbers(2) if call.given(2) else (*x.shape[:2], *natural))
    require_places(call, 1, math.prod((*x.shape[:2], *natural)), least=0)
    if call.given(2):
        old = (*x.shape[:2], *natural)
        host = call.known(at)
        places = np.unravel_index(host, old)
        at = call.array(np.ravel_multi_index(places, shape).astype(np.int64))
    empty = lt.full((math.prod(shape),), 0, x.dtype, on=call.scope.device)
    return lt.reshape(lt.scatter(empty, 0, lt.reshape(at, (-1,)), lt.reshape(x, (-1,))), shape)


@operator("AveragePool", "LpPool", since=1)
def _average_pool(call: NodeCall) -> Made:
    x, sizes = call.tensor(0), call.integers("kernel_shape")
    how = geometry(call, x.shape[2:], sizes, ceil=call.flag("ceil_mode"))
    inner = tuple(range(x.ndim, 2 * x.ndim - 2))
    found = _windows(_padded(x, how, 0), how)
    if call.name == "LpPool":
        p = call.integer("p", 2)
        size = lt.abs(found)
        total = lt.sum(lt.pow(size, float(p)) if p != 2 else size * size, axis=inner)
        return lt.sqrt(total) if p == 2 else total if p == 1 else lt.pow(total, 1 / p)
    counted = call.flag("count_include_pad")
    shares = np.ones((), np.int64)
    given = call.integers("pads", [0] * 2 * len(sizes))
    for i, (count, step, k, gap, (a, b)) in enumerate(
        zip(how.places(x.shape[2:]), how.steps, how.sizes, how.gaps, how.pads, strict=True)
    ):
        end = min(given[len(sizes) + i], b) if call.text("auto_pad", "NOTSET") == "NOTSET" else b
        at = np.arange(count)[:, None] * step + np.arange(k) * gap - a
        low, high = (-a, x.shape[2 + i] + end) if counted else (0, x.shape[2 + i])
        inside = ((at >= low) & (at < high)).sum(-1)
        shares = shares[..., None] * inside
    return lt.sum(found, axis=inner) / lt.cast(call.array(np.maximum(shares, 1)), x.dtype)


@operator("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool")
def _global_pool(call: NodeCall) -> Made:
    x = call.tensor(0)
    axes = tuple(range(2, x.ndim))
    if call.name == "GlobalAveragePool":
        return lt.mean(x, axis=axes, keepdims=True)
    if call.name == "GlobalMaxPool":
        return lt.max(x, axis=axes, keepdims=True)
    p = float(call.integer("p", 2))
    return lt.pow(lt.sum(lt.pow(lt.abs(x), p), axis=axes, keepdims=True), 1 / p)


@operator("Col2Im", since=18)
def _col2im(call: NodeCall) -> Made:
    x, shape, window = call.tensor(0), call.numbers(1), call.numbers(2)
    d = len(shape)
    how = geometry(call, shape, window)
    call.sized((*x.shape[:1], *shape))
    channels, places = x.shape[1] // math.prod(window), how.places(shape)
    if x.shape[1:] != (channels * math.prod(window), math.prod(places)):
        raise call.refused("the shapes do not fit", expected=(channels * math.prod(window), places), got=x.shape)
    parts = lt.reshape(x, (x.shape[0], channels, *window, *places))
    grown = [n + a + b for n, (a, b) in zip(shape, how.pads, strict=True)]
    total: Any = None
    for at in np.ndindex(*window):
        part = parts[(slice(None), slice(None), *map(int, at))]
        starts = [0, 0, *(int(k) * g for k, g in zip(at, how.gaps, strict=True))]
        put = lt.place(part, (*x.shape[:1], channels, *grown), starts, [1, 1, *how.steps])
        total = put if total is None else total + put
    assert d == len(how.pads)
    return total[(slice(None), slice(None), *(slice(a, a + n) for (a, _), n in zip(how.pads, shape, strict=True)))]


@operator("ConvInteger", since=10)
def _conv_integer(call: NodeCall) -> Made:
    x, weight = lt.cast(call.tensor(0), "i32"), lt.cast(call.tensor(1), "i32")
    if call.given(2):
        x = x - lt.cast(call.tensor(2), "i32")
    if call.given(3):
        weight = weight - _by_filter(lt.cast(call.tensor(3), "i32"), weight.ndim)
    return whole_convolved(call, x, weight)


def _by_filter(x: Tensor, rank: int) -> Tensor:
    return lt.reshape(x, (-1, *(1,) * (rank - 1))) if x.ndim else x


def whole_convolved(call: NodeCall, x: Tensor, weight: Tensor) -> Tensor:
    """Return the convolution of whole numbers, exactly: their windows as f64 are products below 2^53."""
    return lt.cast(convolved(call, lt.cast(x, "f64"), lt.cast(weight, "f64")), "i32")


@operator("QLinearConv", since=10)
def _qlinear_conv(call: NodeCall) -> Made:
    x, sx, zx, weight, sw, zw, sy, zy = (call.tensor(i) for i in range(8))
    left = lt.cast(x, "i32") - lt.cast(lt.reshape(zx, ()), "i32")
    right = lt.cast(weight, "i32") - _by_filter(lt.cast(zw, "i32"), weight.ndim)
    found = whole_convolved(call, left, right)
    if call.given(8):
        found = found + lt.reshape(call.tensor(8), (-1, *(1,) * (x.ndim - 2)))
    spread = lt.reshape(sw, (-1, *(1,) * (x.ndim - 2)))
    scale = lt.reshape(sx, ()) * spread / lt.reshape(sy, ())
    whole = lt.round(lt.cast(found, "f32") * scale) + lt.cast(lt.reshape(zy, ()), "f32")
    return lt.cast(lt.clip(whole, zy.dtype.minimum, zy.dtype.maximum), zy.dtype)
