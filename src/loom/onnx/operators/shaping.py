"""Operators of shapes: views, joins, cuts, padding, numbers made of shapes.

Layer: onnx. Invariant: shapes are arrays that the host knows, so that what is made of them is folded.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from loom import tensor as lt
from loom.importers.cuts import cut_into, pad_by_number, pad_by_places, pixels_to_channels, spread_channels
from loom.onnx.registry import Made, NodeCall, operator
from loom.onnx.values import Value
from loom.tensor.arrays.tensor import Tensor

__all__: list[str] = []


@operator("Shape")
def _shape(call: NodeCall) -> Made:
    shape = call.value(0).shape
    start, end = call.integer("start", 0), call.integer("end")
    return np.array(shape[slice(*slice(start, end).indices(len(shape)))], np.int64)


@operator("Size")
def _size(call: NodeCall) -> Made:
    return np.array(math.prod(call.value(0).shape), np.int64)


@operator("Constant")
def _constant(call: NodeCall) -> Made:
    if call.has("value"):
        return call.scope.read_tensor(call.proto("value"))
    for name, read, dtype in (
        ("value_float", call.real, np.float32), ("value_floats", call.reals, np.float32),
        ("value_int", call.integer, np.int64), ("value_ints", call.integers, np.int64),
    ):  # fmt: skip
        if call.has(name):
            return np.array(read(name), dtype)
    raise call.refusal("a constant of no dtype that Loom has", got=", ".join(sorted(call.unread)) or "no value")


@operator("ConstantOfShape", since=9)
def _constant_of_shape(call: NodeCall) -> Made:
    shape = call.check_shape(call.numbers(0))
    proto = call.proto("value")
    value = np.zeros(1, np.float32) if proto is None else call.scope.read_tensor(proto)
    if value.size != 1:
        raise call.refusal("value is not one number", expected="1 element", got=value.size)
    if value.dtype.kind in "iub" and math.prod(shape) <= 4096:
        return np.full(shape, value.reshape(-1)[0], value.dtype)
    return lt.broadcast_to(call.scope.tensor(value.reshape(())), shape)


def _reshape_first(call: NodeCall, shape: tuple[int, ...]) -> Value:
    """Return the first input in another shape."""
    value = call.value(0)
    if math.prod(shape) != math.prod(value.shape):
        raise call.refusal("the shapes do not fit", expected=f"{math.prod(value.shape)} elements", got=shape)
    return value.reshape(shape) if isinstance(value, np.ndarray) else lt.reshape(value, shape)


@operator("Reshape", since=5)
def _reshape(call: NodeCall) -> Made:
    old, wanted = call.value(0).shape, call.numbers(1)
    if not call.flag("allowzero"):
        if any(n == 0 and i >= len(old) for i, n in enumerate(wanted)):
            raise call.refusal("a 0 stands for an axis that there is not", expected=len(old), got=wanted)
        wanted = [old[i] if n == 0 else n for i, n in enumerate(wanted)]
    if wanted.count(-1) > 1 or min(wanted, default=0) < -1:
        raise call.refusal("an impossible shape", expected="at most one -1", got=wanted)
    if -1 in wanted:
        rest = math.prod(n for n in wanted if n != -1)
        wanted[wanted.index(-1)] = math.prod(old) // rest if rest else 0
    return _reshape_first(call, call.check_shape(wanted))


@operator("Flatten")
def _flatten(call: NodeCall) -> Made:
    shape = call.value(0).shape
    axis = call.integer("axis", 1)
    if not -len(shape) <= axis <= len(shape):
        raise call.refusal("an axis that there is not", expected=len(shape), got=axis)
    axis += len(shape) if axis < 0 else 0
    return _reshape_first(call, (math.prod(shape[:axis]), math.prod(shape[axis:])))


def _axes_given(call: NodeCall) -> list[int] | None:
    """Return axes, an attribute before opset 13 and an input since."""
    if call.opset < 13:
        return call.integers("axes")
    return call.numbers(1) if call.has_input(1) else None


@operator("Squeeze")
def _squeeze(call: NodeCall) -> Made:
    shape, axes = call.value(0).shape, _axes_given(call)
    gone = [i for i, n in enumerate(shape) if n == 1] if axes is None else call.axes(axes, len(shape))
    if any(shape[a] != 1 for a in gone):
        raise call.refusal("a squeezed axis is not 1 long", expected=1, got=f"{shape}, axes {list(gone)}")
    return _reshape_first(call, tuple(n for i, n in enumerate(shape) if i not in gone))


@operator("Unsqueeze")
def _unsqueeze(call: NodeCall) -> Made:
    shape, axes = call.value(0).shape, _axes_given(call)
    if axes is None:
        raise call.refusal("axes are missing")
    rank = len(shape) + len(axes)
    new, rest = call.axes(axes, rank), iter(shape)
    return _reshape_first(call, tuple(1 if i in new else next(rest) for i in range(rank)))


@operator("Transpose")
def _transpose(call: NodeCall) -> Made:
    value = call.value(0)
    order = call.integers("perm")
    axes = tuple(reversed(range(value.ndim))) if order is None else call.axes(order, value.ndim)
    if len(axes) != value.ndim:
        raise call.refusal("perm is no order of the axes", expected=value.ndim, got=order)
    if isinstance(value, np.ndarray):
        return call.scope.make_once(("transpose", axes), value, lambda: np.ascontiguousarray(value.transpose(axes)))
    return lt.permute(value, axes)


@operator("Concat", since=4)
def _concat(call: NodeCall) -> Made:
    parts = call.tensors()
    return lt.concat(parts, call.axis(call.integer("axis"), parts[0].ndim))


@operator("Split", since=2)
def _split(call: NodeCall, x: Tensor) -> Made:
    axis = call.axis(call.integer("axis", 0), x.ndim)
    sizes = call.integers("split") if call.opset < 13 else (call.numbers(1) if call.has_input(1) else None)
    count = call.integer("num_outputs", len(call.node.output))
    if sizes is None:
        each = -(-x.shape[axis] // count)
        sizes = [max(min(each, x.shape[axis] - i * each), 0) for i in range(count)]
    if sum(sizes) != x.shape[axis] or min(sizes, default=0) < 0:
        raise call.refusal("the parts are not the whole", expected=x.shape[axis], got=sizes)
    return cut_into(x, axis, sizes)


@operator("Slice")
def _slice(call: NodeCall) -> Made:
    value = call.value(0)
    if call.opset < 10:
        starts, ends, axes, steps = call.integers("starts"), call.integers("ends"), call.integers("axes"), None
    else:
        starts, ends = call.numbers(1), call.numbers(2)
        axes = call.numbers(3) if call.has_input(3) else None
        steps = call.numbers(4) if call.has_input(4) else None
    steps = [1] * len(starts) if steps is None else steps
    named = call.axes(range(len(starts)) if axes is None else axes, value.ndim)
    if not len(starts) == len(ends) == len(named) == len(steps) or 0 in steps:
        raise call.refusal("starts, ends, axes and steps do not fit", got=(starts, ends, axes, steps))
    cut: list[Any] = [slice(None)] * value.ndim
    for axis, start, end, step in zip(named, starts, ends, steps, strict=True):
        n = value.shape[axis]
        low, high = (0, n) if step > 0 else (-1, n - 1)
        first = min(max(start + n if start < 0 else start, 0), n if step > 0 else n - 1)
        last = min(max(end + n if end < 0 else end, low), high if step > 0 else n)
        cut[axis] = slice(first, None if last < 0 else last, step)
    return value[tuple(cut)]


@operator("Expand", since=8)
def _expand(call: NodeCall, x: Tensor) -> Made:
    wanted = tuple(call.numbers(1))
    try:
        shape = np.broadcast_shapes(x.shape, call.check_shape(wanted))
    except ValueError:
        raise call.refusal("the shapes do not broadcast", expected=x.shape, got=wanted) from None
    return lt.broadcast_to(x, call.check_shape(shape))


@operator("Tile", since=6)
def _tile(call: NodeCall, x: Tensor) -> Made:
    times = call.numbers(1)
    if len(times) != x.ndim or min(times, default=0) < 0:
        raise call.refusal("not a number for each axis", expected=x.ndim, got=times)
    call.check_shape(tuple(n * t for n, t in zip(x.shape, times, strict=True)))
    return lt.tile(x, tuple(times))


@operator("Pad")
def _pad(call: NodeCall, x: Tensor) -> Made:
    mode = call.text("mode", "constant", ("constant", "reflect", "edge", "wrap"))
    if call.opset < 11:
        widths, value, axes = call.integers("pads"), call.real("value", 0.0), None
    else:
        widths = call.numbers(1)
        value = call.scalar(2) if call.has_input(2) else 0
        axes = call.numbers(3) if call.has_input(3) else None
    named = call.axes(range(x.ndim) if axes is None else axes, x.ndim)
    if len(widths) != 2 * len(named):
        raise call.refusal("not two widths for each axis", expected=2 * len(named), got=len(widths))
    pairs = [(0, 0)] * x.ndim
    for i, axis in enumerate(named):
        pairs[axis] = widths[i], widths[i + len(named)]
    call.check_shape(tuple(n + a + b for n, (a, b) in zip(x.shape, pairs, strict=True)))
    if mode == "constant":
        return pad_by_number(x, pairs, value)
    if any(pair != (0, 0) and not n for n, pair in zip(x.shape, pairs, strict=True)):
        raise call.refusal("an axis without elements is padded with them", got=x.shape)
    return pad_by_places(x, pairs, mode)


@operator("Range", since=11)
def _range(call: NodeCall) -> Made:
    first, last, step = (call.host(i).reshape(()) for i in range(3))
    if step == 0:
        raise call.refusal("a step of 0")
    count = max(math.ceil((last.item() - first.item()) / step.item()), 0)
    call.check_shape((count,))
    if first.dtype.kind in "iu":
        return (first.item() + np.arange(count, dtype=np.int64) * step.item()).astype(first.dtype)
    wide = np.float64 if first.dtype == np.float64 else np.float32
    steps: np.ndarray[Any, Any] = np.arange(count, dtype=np.int64).astype(wide)
    found: np.ndarray[Any, Any] = wide(first) + steps * wide(step)
    return found.astype(first.dtype)


@operator("EyeLike", since=9)
def _eye_like(call: NodeCall, x: Tensor) -> Made:
    dtype = call.element("dtype") or x.dtype
    if x.ndim != 2:
        raise call.refusal("no matrix", expected=2, got=x.ndim)
    return lt.cast(call.array(np.eye(*x.shape, k=call.integer("k", 0), dtype=np.float32)), dtype)


@operator("Trilu", since=14)
def _trilu(call: NodeCall, x: Tensor) -> Made:
    k = int(call.scalar(1)) if call.has_input(1) else 0
    k = min(max(k, -x.shape[-2] - 1), x.shape[-1] + 1)
    return lt.triu(x, k=k) if call.flag("upper", 1) else lt.tril(x, k=k)


@operator("DepthToSpace")
def _depth_to_space(call: NodeCall, x: Tensor) -> Made:
    size = call.integer("blocksize")
    n, c, h, w = x.shape
    if size < 1 or c % (size * size):
        raise call.refusal("blocksize does not divide the channels", expected=c, got=size)
    if call.text("mode", "DCR", ("DCR", "CRD")) == "CRD":
        return spread_channels(x, size)
    parts = lt.permute(lt.reshape(x, (n, size, size, c // size**2, h, w)), (0, 3, 4, 1, 5, 2))
    return lt.reshape(parts, (n, c // size**2, h * size, w * size))


@operator("SpaceToDepth")
def _space_to_depth(call: NodeCall, x: Tensor) -> Made:
    size = call.integer("blocksize")
    n, c, h, w = x.shape
    if size < 1 or h % size or w % size:
        raise call.refusal("blocksize does not divide the image", expected=(h, w), got=size)
    if call.text("mode", "DCR", ("DCR", "CRD")) == "CRD":
        return pixels_to_channels(x, size)
    parts = lt.permute(lt.reshape(x, (n, c, h // size, size, w // size, size)), (0, 3, 5, 1, 2, 4))
    return lt.reshape(parts, (n, c * size * size, h // size, w // size))


@operator("ReverseSequence", since=10)
def _reverse_sequence(call: NodeCall, x: Tensor) -> Made:
    lengths = call.host(1)
    time, batch = call.integer("time_axis", 0), call.integer("batch_axis", 1)
    if {time, batch} != {0, 1} or lengths.shape != (x.shape[batch],):
        raise call.refusal("axes and lengths do not fit", expected="axes 0 and 1", got=(time, batch, lengths.shape))
    steps = x.shape[0] if time == 0 else x.shape[1]
    at: np.ndarray[Any, Any] = np.arange(steps, dtype=np.int64).reshape(-1, 1)
    places: np.ndarray[Any, Any] = np.where(at < lengths[None], lengths[None] - 1 - at, at)
    whole = np.broadcast_to(
        (places if time == 0 else places.T).reshape(*x.shape[:2], *(1,) * (x.ndim - 2)), x.shape
    ).astype(np.int64)  # fmt: skip
    return lt.take_along_axis(x, call.array(np.ascontiguousarray(whole)), time)
