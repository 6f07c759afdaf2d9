"""Windows: as the windows of convolutions and pools where they are those, else as gathered elements.

Layer: export. Invariant: what a window reads is what the record reads, whichever way it is written.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from loom.core.late.dataclass import dataclass
from loom.export.onnx.emitters.registry import emits, refusal, resolve_alias, unwrap
from loom.export.onnx.writing.lengths import Length
from loom.export.onnx.writing.records import OpenNumber, RecordedValue
from loom.export.onnx.writing.writer import GraphWriter
from loom.tensor.ops.elementwise import MAPS, NUMBER
from loom.tensor.ops.joining import PLACE
from loom.tensor.ops.reductions import SUM
from loom.tensor.ops.views import RESHAPE, SLICE, WINDOWS

__all__ = ["WindowSource", "emit_average", "emit_max", "emit_pool", "window_source"]


@dataclass(frozen=True, slots=True)
class WindowSource:
    """Windows of a value: along which axes, how large, how far apart, how spread; ``pads`` as ONNX has them."""

    value: RecordedValue
    axes: tuple[int, ...]
    sizes: tuple[int, ...]
    steps: tuple[int, ...]
    gaps: tuple[int, ...]
    pads: tuple[int, ...]


def window_source(value: RecordedValue, filled: float = 0.0) -> WindowSource | None:
    """Return what windows are of, padding with ``filled`` taken off; None if they are no windows of that kind."""
    value = resolve_alias(value)
    if value.op is not WINDOWS or value.is_known:
        return None
    axes, sizes, steps, gaps = value.attributes
    inner, pads = split_padding(value.inputs[0], axes, filled)
    if any(isinstance(n, Length) for each in (sizes, steps, gaps) for n in each):
        return None
    return WindowSource(inner, axes, sizes, steps, gaps, pads)


def split_padding(
    value: RecordedValue, axes: tuple[int, ...], filled: float
) -> tuple[RecordedValue, tuple[int, ...]]:  # fmt: skip
    """Return a value without its padding along axes, and the padding; itself if it has other padding."""
    padded, none = resolve_alias(value), (0,) * (2 * len(axes))
    if padded.op is not PLACE or padded.is_known:
        return value, none
    starts, steps, number = padded.attributes
    x = padded.inputs[0]
    before = [starts[a] for a in axes]
    after = [padded.shape[a] - starts[a] - x.shape[a] for a in axes]
    others = [a for a in range(x.ndim) if a not in axes and padded.shape[a] != x.shape[a]]
    if isinstance(number, OpenNumber) or number.value != filled or others or any(s != 1 for s in steps):
        return value, none
    if any(not isinstance(n, int) for n in (*before, *after)):
        return value, none
    return x, tuple(int(n) for n in (*before, *after) if isinstance(n, int))


@emits(WINDOWS)
def _windows(w: GraphWriter, value: RecordedValue) -> str:
    """Write windows as gathered elements: an axis after the other, the places in windows then moved to the end."""
    axes, sizes, steps, gaps = value.attributes
    x = value.inputs[0]
    name = w.use(x)
    counts = [_require_fixed(value, int(a)) for a in axes]
    for axis, count, size, step, gap in sorted(zip(axes, counts, sizes, steps, gaps, strict=True), reverse=True):
        at: np.ndarray[Any, Any] = np.add.outer(np.arange(count) * int(step), np.arange(int(size)) * int(gap))
        name = w.node("Gather", [name, w.constant(at.astype(np.int64))], axis=axis)
    order, inner = _order(x.ndim, axes)
    return w.transpose(name, (*order, *(inner[a] for a in axes)))


def _require_fixed(value: RecordedValue, axis: int) -> int:
    n = value.shape[axis]
    if isinstance(n, Length):
        raise refusal(value, "windows along an open length", expected="a fixed length", got=f"axis {axis}",
                      remedy="Export it for fixed sizes")  # fmt: skip
    return n


def _order(rank: int, axes: tuple[int, ...]) -> tuple[list[int], dict[int, int]]:
    """Return where each axis is after windows were gathered, and where the places in windows are, by axis."""
    order: list[int] = []
    inner: dict[int, int] = {}
    at = 0
    for axis in range(rank):
        order.append(at)
        at += 1
        if axis in axes:
            inner[axis] = at
            at += 1
    return order, inner


# pools


def emit_pool(w: GraphWriter, value: RecordedValue) -> str | None:
    """Write an extreme of windows as a pool, None if it is none."""
    x = resolve_alias(value.inputs[0])
    source = None if value.op is SUM or value.op.name != "max" else window_source(x, -np.inf)
    if source is None or not _is_of_images(source) or not x.dtype.is_float:
        return None
    first, last, _ = value.attributes
    rank = x.ndim - len(source.axes)
    if any(x.shape[a] != 1 for a in range(rank, x.ndim) if not first <= a < last) or first < rank:
        return None
    name = _max_pool(w, source)
    return w.reshape(name, value.shape)


def _is_of_images(source: WindowSource) -> bool:
    d = len(source.axes)
    return source.axes == tuple(range(2, d + 2)) and source.value.ndim == d + 2


def _max_pool(w: GraphWriter, source: WindowSource) -> str:
    more: dict[str, Any] = {"pads": list(source.pads)} if any(source.pads) else {}
    if any(g != 1 for g in source.gaps):
        more["dilations"] = list(source.gaps)
    return w.node("MaxPool", [w.use(source.value)], kernel_shape=list(source.sizes), strides=list(source.steps), **more)


def emit_max(w: GraphWriter, value: RecordedValue) -> str | None:
    """Write a maximum of slices, one for each place of a window, as a pool; None if it is none."""
    source = _slices(value)
    return None if source is None else _max_pool(w, source)


def _slices(value: RecordedValue) -> WindowSource | None:
    """Return the windows whose places a chain of maxima compares, the first place first."""
    places: list[RecordedValue] = []
    at = value
    while at.op is MAPS["max"] and not at.is_known and len(places) <= 64:
        places.append(resolve_alias(at.inputs[1]))
        at = resolve_alias(at.inputs[0])
    places = [at, *reversed(places)]
    base = _base(places[0])
    if len(places) < 2 or base is None or any(_base(p) is not base for p in places):
        return None
    rank = base.ndim
    if rank < 3 or not base.dtype.is_float:
        return None
    starts = [p.attributes[0] if p.op is SLICE and p is not base else (0,) * rank for p in places]
    steps = places[-1].attributes[1] if places[-1].op is SLICE else None
    if steps is None or any(not isinstance(n, int) for s in starts for n in s):
        return None
    sizes = tuple(max(s[a] for s in starts) + 1 for a in range(rank))
    axes = tuple(range(2, rank))
    if sizes[:2] != (1, 1) or len(places) != prod(sizes) or any(p.shape != value.shape for p in places):
        return None
    if [tuple(s) for s in starts] != [tuple(map(int, at)) for at in np.ndindex(*sizes)]:
        return None
    if any(p.op is SLICE and p is not base and tuple(p.attributes[1]) != tuple(steps) for p in places):
        return None
    inner, pads = split_padding(base, axes, -np.inf)
    return WindowSource(inner, axes, sizes[2:], tuple(steps[2:]), (1,) * len(axes), pads)


def _base(value: RecordedValue) -> RecordedValue | None:
    """Return what a slice is of."""
    return resolve_alias(value.inputs[0]) if value.op is SLICE and not value.is_known else None


def emit_average(w: GraphWriter, value: RecordedValue) -> str | None:
    """Write sums of windows over how many elements they have as a pool, None if it is none."""
    total, count = unwrap(value.inputs[0]), unwrap(value.inputs[1])
    while total.op is RESHAPE and not total.is_known:
        total = resolve_alias(total.inputs[0])
    if total.op is not SUM or total.is_known or total.dtype != value.dtype:
        return None
    windowed = resolve_alias(total.inputs[0])
    source = window_source(windowed)
    if source is None or not _is_of_images(source) or total.attributes[2].result != value.dtype:
        return None
    first, last, _ = total.attributes
    rank = windowed.ndim - len(source.axes)
    if first < rank or any(windowed.shape[a] != 1 for a in range(rank, windowed.ndim) if not first <= a < last):
        return None
    counted = _counts_padding(source, count, windowed)
    if counted is None:
        return None
    more: dict[str, Any] = {"pads": list(source.pads)} if any(source.pads) else {}
    if any(g != 1 for g in source.gaps):
        more["dilations"] = list(source.gaps)
    return w.node("AveragePool", [w.use(source.value)], kernel_shape=list(source.sizes), strides=list(source.steps),
                  count_include_pad=int(counted), **more)  # fmt: skip


def _counts_padding(source: WindowSource, count: RecordedValue, windowed: RecordedValue) -> bool | None:
    """Return whether padding counts as elements, None if sums are divided by something else."""
    if count.op is NUMBER:
        number = count.attributes[0]
        is_all = not isinstance(number, OpenNumber) and number.value == prod(source.sizes)
        return any(source.pads) if is_all else None
    if not count.is_known or count.op.is_written:
        return None
    d = len(source.axes)
    shares: np.ndarray[Any, Any] = np.ones((), np.int64)
    for i, axis in enumerate(source.axes):
        n, places = source.value.shape[axis], windowed.shape[axis]
        if not isinstance(n, int) or not isinstance(places, int):
            return None
        at = np.arange(places)[:, None] * source.steps[i] + np.arange(source.sizes[i]) * source.gaps[i] - source.pads[i]
        shares = np.multiply.outer(shares, ((at >= 0) & (at < n)).sum(-1))
    found = _numbers(count)
    trimmed = found.reshape(found.shape[found.ndim - d :]) if found.ndim >= d and found.size == shares.size else None
    return False if trimmed is not None and np.array_equal(trimmed, shares) else None


def _numbers(value: RecordedValue) -> np.ndarray[Any, Any]:
    found = value.array()
    return (found.astype(np.uint32) << 16).view(np.float32) if value.dtype.name == "bf16" else found
