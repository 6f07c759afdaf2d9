"""Operators that read images between their elements: grids, regions of interest, convolutions with offsets.

Layer: onnx. Images are rows of channels, so that each place is one row that is taken. Invariant: a place outside that
padding makes 0 is read nowhere: its index is brought inside, and its share is 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from loom import tensor as lt
from loom.importers.imagewindows import channels_first, channels_last
from loom.onnx.registry import Made, NodeCall, operator
from loom.tensor.arrays.tensor import Tensor

__all__: list[str] = []

_MARGIN = 4
"""Beyond the reach of every neighbour: coordinates are brought so near, that they are whole numbers."""


class _PixelRows:
    """Images (n, c, *size) as rows (n * places, c)."""

    def __init__(self, x: Tensor) -> None:
        n, self.channels, *self.sizes = x.shape
        self.data = lt.reshape(channels_last(x), (n * math.prod(self.sizes), self.channels))

    def at(self, image: Tensor, places: Sequence[Tensor]) -> Tensor:
        """Return the channels at whole coordinates (floats within the image), one more axis, the last."""
        flat: Any = image
        for n, p in zip(self.sizes, places, strict=True):
            flat = flat * n + lt.cast(p, "i64")
        return lt.reshape(lt.take(self.data, lt.reshape(flat, (-1,)), 0), (*flat.shape, self.channels))


def _images(call: NodeCall, n: int, rank: int) -> Tensor:
    """Return the numbers of images along the first of ``rank`` axes."""
    return call.array(np.arange(n, dtype=np.int64).reshape(n, *(1,) * (rank - 1)))


def _wide(x: Tensor) -> Tensor:
    return lt.cast(x, "f32") if x.dtype.bits < 32 else x


# grids


def _reflect(x: Tensor, low: float, high: float) -> Tensor:
    """Return coordinates reflected at the borders until they lie between them."""
    reach = high - low
    if not reach:
        return lt.zeros_like(x) + low
    away = lt.abs(x - low)
    turns = lt.floor(away / reach)
    rest = away - turns * reach
    turned = lt.where(lt.equal(turns - lt.floor(turns / 2) * 2, 0), rest + low, high - rest)
    return lt.where(lt.logical_and(x >= low, x <= high), x, turned)


class _GridAxis:
    """One axis of a grid: its neighbours (floats inside the image) and their shares."""

    def __init__(self, source: Tensor, n: int, mode: str, padding: str, *, corners: bool) -> None:
        low, high = (0.0, n - 1.0) if corners else (-0.5, n - 0.5)
        self.n, self.padding, self.low, self.high = n, padding, low, high
        source = lt.round(source) if mode == "nearest" else source
        if padding == "border" and mode != "cubic":  # of cubic neighbours each is clipped: torch and onnxruntime
            source = lt.clip(source, 0, n - 1)
        elif padding == "reflection":
            source = _reflect(source, low, high)
        source = lt.clip(source, -_MARGIN, n + _MARGIN)
        base = lt.detach(lt.floor(source))
        part = source - base
        if mode == "nearest":
            self.parts = [self._part(base, None)]
        elif mode == "linear":
            self.parts = [self._part(base, 1 - part), self._part(base + 1, part)]
        else:
            shares = [_cubic(part + 1), _cubic(part), _cubic(1 - part), _cubic(2 - part)]
            self.parts = [self._part(base + (k - 1), share) for k, share in enumerate(shares)]

    def _part(self, place: Tensor, share: Tensor | None) -> tuple[Tensor, Tensor | None]:
        n = self.n
        inside = lt.clip(_reflect(place, self.low, self.high) if self.padding == "reflection" else place, 0, n - 1)
        if self.padding == "zeros":
            here = lt.cast(lt.logical_and(place >= 0, place <= n - 1), place.dtype)
            share = here if share is None else lt.where(here > 0, share, lt.zeros_like(share))
        return inside, share


def _cubic(x: Tensor) -> Tensor:
    """Return Keys' kernel (1981) of a = -0.75 at a distance: of the near ones below 1, else below 2."""
    a = -0.75
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = ((x * a - 5 * a) * x + 8 * a) * x - 4 * a
    return lt.where(x <= 1, near, far)


def _between(rows: _PixelRows, image: Tensor, axes: Sequence[_GridAxis], places: list[Tensor]) -> Tensor:
    """Return the sum of neighbours times their shares, the last axis first."""
    if not axes:
        return rows.at(image, places)
    total: Any = None
    for place, share in axes[0].parts:
        value = _between(rows, image, axes[1:], [*places, place])
        value = value if share is None else value * lt.cast(lt.expand_dims(share, -1), value.dtype)
        total = value if total is None else total + value
    return total


@operator("GridSample", since=16)
def _grid_sample(call: NodeCall, x: Tensor, grid: Tensor) -> Made:
    modes = {"bilinear": "linear", "linear": "linear", "nearest": "nearest", "bicubic": "cubic", "cubic": "cubic"}
    mode = modes[call.text("mode", "linear" if call.opset >= 20 else "bilinear", tuple(modes))]
    padding = call.text("padding_mode", "zeros", ("zeros", "border", "reflection"))
    corners, d = call.flag("align_corners"), x.ndim - 2
    if d < 1 or grid.ndim != x.ndim or grid.shape[-1] != d or grid.shape[0] != x.shape[0]:
        raise call.refusal("the shapes do not fit", expected="(n, c, *size), (n, *places, axes)",
                           got=f"{x.shape}, {grid.shape}")  # fmt: skip
    call.check_shape((*x.shape[:2], *grid.shape[1:-1]))
    if 0 in x.shape or 0 in grid.shape:
        raise call.refusal("no elements", got=f"{x.shape}, {grid.shape}")
    wide, points = _wide(x), _wide(grid)
    axes: list[_GridAxis] = []
    for i, n in enumerate(x.shape[2:]):
        g = points[..., d - 1 - i]
        source = (g + 1) / 2 * (n - 1) if corners else ((g + 1) * n - 1) / 2
        axes.append(_GridAxis(source, n, mode, padding, corners=corners))
    found = _between(_PixelRows(wide), _images(call, x.shape[0], x.ndim - 1), axes, [])
    return lt.cast(channels_first(found), x.dtype)


# regions


@operator("RoiAlign", since=10)
def _roi_align(call: NodeCall, x: Tensor) -> Made:
    rois, image = _wide(call.tensor(1)), lt.cast(call.tensor(2), "i64")
    half = (
        call.text("coordinate_transformation_mode", "half_pixel", ("half_pixel", "output_half_pixel")) == "half_pixel"
    )
    half = half and call.opset >= 16
    mode = call.text("mode", "avg", ("avg", "max"))
    places = (call.integer("output_height", 1), call.integer("output_width", 1))
    ratio, scale = call.integer("sampling_ratio", 0), call.real("spatial_scale", 1.0)
    if x.ndim != 4 or rois.ndim != 2 or rois.shape[1] != 4 or image.shape != rois.shape[:1] or min(places) < 1:
        raise call.refusal("the shapes do not fit", expected="(n, c, h, w), (rois, 4), (rois)",
                           got=f"{x.shape}, {rois.shape}, {image.shape}, {places}")  # fmt: skip
    corners = rois * scale - (0.5 if half else 0.0)
    starts, ends = [corners[:, 1], corners[:, 0]], [corners[:, 3], corners[:, 2]]  # height, width
    least: Callable[[Tensor], Tensor] = (lambda v: v) if half else (lambda v: lt.maximum(v, 1.0))
    sizes = [least(b - a) for a, b in zip(starts, ends, strict=True)]
    counts = [_samples(call, size, n, ratio) for size, n in zip(sizes, places, strict=True)]
    call.check_shape((rois.shape[0], x.shape[1], *places, *(k for k, _ in counts)))
    sides = [
        _side(call, start, size, n, count, x.shape[2 + i])
        for i, (start, size, n, count) in enumerate(zip(starts, sizes, places, counts, strict=True))
    ]
    found = _pool_samples(_PixelRows(_wide(x)), image, sides, counts, mode)
    return lt.cast(lt.permute(found, (0, 3, 1, 2)), x.dtype)


_Count = tuple[int, Tensor]


def _samples(call: NodeCall, size: Tensor, places: int, ratio: int) -> _Count:
    """Return the most samples of a bin, and those of each region; where sizes decide, their values are needed."""
    if ratio > 0:
        return ratio, lt.full(size.shape, float(ratio), "f32", on=call.scope.device)
    whole = np.maximum(np.ceil(call.numbers_of(size / places)), 0)
    if not np.isfinite(whole).all() or whole.max(initial=0) > 1 << 12:
        raise call.refusal("a region is too large", expected=f"at most {1 << 12} samples", got=whole.max(initial=0))
    return int(whole.max(initial=0)), call.array(whole.astype(np.float32))


class _SampledSide:
    """Where samples lie along an axis (rois, places, samples): two neighbours, the share of the second, what counts."""

    def __init__(self, low: Tensor, high: Tensor, share: Tensor, counts: Tensor) -> None:
        self.low, self.high, self.share, self.counts = low, high, share, counts

    def spread(self, x: Tensor, i: int) -> Tensor:
        """Return numbers of an axis beside those of the other: (rois, h, w, samples of h, samples of w)."""
        r, p, s = x.shape
        return lt.reshape(x, (r, p, 1, s, 1) if i == 0 else (r, 1, p, 1, s))


def _side(call: NodeCall, start: Tensor, size: Tensor, places: int, count: _Count, n: int) -> _SampledSide:
    most, each = count

    def column(x: Tensor) -> Tensor:
        return lt.reshape(x, (-1, 1, 1))

    bin_size = column(size) / places
    own = call.array(np.arange(most, dtype=np.float32).reshape(1, 1, -1))
    steps = call.array(np.arange(places, dtype=np.float32).reshape(1, -1, 1))
    at = column(start) + steps * bin_size + (own + 0.5) * bin_size / lt.maximum(column(each), 1.0)
    counts = lt.logical_and(lt.logical_and(at >= -1.0, at <= n), own < column(each))
    inside = lt.clip(at, 0, n - 1)
    low = lt.detach(lt.floor(inside))
    return _SampledSide(low, lt.minimum(low + 1, n - 1), inside - low, counts)


def _pool_samples(
    rows: _PixelRows, image: Tensor, sides: Sequence[_SampledSide], counts: Sequence[_Count], mode: str
) -> Tensor:
    image = lt.reshape(image, (-1, 1, 1, 1, 1))
    y, x = ((side.spread(side.low, i), side.spread(side.high, i)) for i, side in enumerate(sides))
    t, u = (side.spread(side.share, i) for i, side in enumerate(sides))
    here = lt.logical_and(*(side.spread(side.counts, i) for i, side in enumerate(sides)))
    shares = [(1 - t) * (1 - u), (1 - t) * u, t * (1 - u), t * u]
    terms: list[Tensor] = []
    for (i, j), share in zip(((0, 0), (0, 1), (1, 0), (1, 1)), shares, strict=True):
        value = rows.at(image, [y[i], x[j]])
        share = lt.where(here, share, lt.zeros_like(share))
        terms.append(value * lt.cast(lt.expand_dims(share, -1), value.dtype))
    if not terms[0].size:
        return lt.sum(terms[0], axis=(3, 4))
    if mode == "max":
        return _largest(terms, [c for _, c in counts], here)
    total = lt.sum(terms[0] + terms[1] + terms[2] + terms[3], axis=(3, 4))
    number = lt.maximum(counts[0][1] * counts[1][1], 1.0)
    return total / lt.cast(lt.reshape(number, (-1, 1, 1, 1)), total.dtype)


def _largest(terms: Sequence[Tensor], each: Sequence[Tensor], here: Tensor) -> Tensor:
    """Return the largest term of a bin; a sample outside the image counts as 0, one that there is not does not."""
    best = lt.maximum(lt.maximum(terms[0], terms[1]), lt.maximum(terms[2], terms[3]))
    _, _, _, rows, columns = here.shape
    own = [lt.reshape(lt.arange(n, dtype="f32"), shape) for n, shape in ((rows, (1, 1, 1, -1, 1)),
                                                                        (columns, (1, 1, 1, 1, -1)))]  # fmt: skip
    there = lt.logical_and(*(o < lt.reshape(e, (-1, 1, 1, 1, 1)) for o, e in zip(own, each, strict=True)))
    kept = lt.where(lt.expand_dims(there, -1), best, lt.full((), -math.inf, best.dtype))
    found = lt.max(kept, axis=(3, 4))
    return lt.where(lt.equal(found, -math.inf), lt.zeros_like(found), found)


@operator("MaxRoiPool", since=1)
def _max_roi_pool(call: NodeCall, x: Tensor, rois: Tensor) -> Made:
    places, scale = call.integers("pooled_shape"), call.real("spatial_scale", 1.0)
    if x.ndim != 4 or rois.ndim != 2 or rois.shape[1] != 5 or len(places) != 2 or min(places) < 1:
        raise call.refusal("the shapes do not fit", expected="(n, c, h, w), (rois, 5)", got=f"{x.shape}, {rois.shape}")
    images = lt.take(x, lt.cast(rois[:, 0], "i64"), 0)  # (rois, c, h, w)
    corners = lt.floor(rois[:, 1:] * scale + 0.5)
    sides = [(corners[:, 1], corners[:, 3]), (corners[:, 0], corners[:, 2])]
    h, w = (_bins(call, a, b, n, x.shape[2 + i]) for i, ((a, b), n) in enumerate(zip(sides, places, strict=True)))
    least = lt.full((), -math.inf, x.dtype)
    call.check_shape((*images.shape, places[1]))
    wide = lt.where(w[:, None, None], images[:, :, :, None, :], least)  # (rois, c, h, places, w)
    along = lt.max(wide, axis=-1)
    found = lt.max(lt.where(h[:, None, :, :, None], along[:, :, None], least), axis=3)
    return lt.where(lt.equal(found, -math.inf), lt.zeros_like(found), found)


def _bins(call: NodeCall, first: Tensor, last: Tensor, places: int, n: int) -> Tensor:
    """Return (regions, places, n): which elements lie in which bin."""
    size = lt.reshape(lt.maximum(last - first + 1, 1.0), (-1, 1)) / places
    own = call.array(np.arange(places, dtype=np.float32).reshape(1, -1))
    start = lt.reshape(first, (-1, 1))
    low, high = lt.floor(own * size) + start, lt.ceil((own + 1) * size) + start
    at = call.array(np.arange(n, dtype=np.float32).reshape(1, 1, -1))
    return lt.logical_and(at >= lt.expand_dims(low, -1), at < lt.expand_dims(high, -1))


# offsets


@operator("DeformConv", since=19)
def _deform_conv(call: NodeCall, x: Tensor, weight: Tensor, offset: Tensor) -> Made:
    groups, parts, d = call.integer("group", 1), call.integer("offset_group", 1), x.ndim - 2
    window = call.integers("kernel_shape", list(weight.shape[2:]))
    steps, gaps = call.integers("strides", [1] * d), call.integers("dilations", [1] * d)
    pads = call.integers("pads", [0] * 2 * d)
    n, c, *sizes = x.shape
    k = math.prod(window)
    if d != 2 or list(window) != list(weight.shape[2:]) or c != weight.shape[1] * groups or weight.shape[0] % groups:
        raise call.refusal("the shapes do not fit", expected="(n, c, h, w), (filters, c / groups, *window)",
                           got=f"{x.shape}, {weight.shape}, {groups} groups")  # fmt: skip
    shape = [(s + a + b - g * (m - 1) - 1) // t + 1
             for s, a, b, g, m, t in zip(sizes, pads[:d], pads[d:], gaps, window, steps, strict=True)]  # fmt: skip
    if c % parts or offset.shape != (n, parts * k * d, *shape) or min(shape) < 1:
        raise call.refusal("offsets do not fit", expected=(n, parts * k * d, *shape), got=offset.shape)
    wide = _wide(x)
    moved = lt.reshape(lt.cast(offset, wide.dtype), (n, parts, *window, d, *shape))
    axes: list[_GridAxis] = []
    for i in range(d):
        own = _column(window[i], 2 * d - 1 - i) * gaps[i] + _column(shape[i], d - 1 - i) * steps[i] - pads[i]
        axes.append(_GridAxis(moved[:, :, :, :, i] + call.array(own.astype(np.float32), wide.dtype), sizes[i], "linear",
                          "zeros", corners=True))  # fmt: skip
    images = lt.reshape(wide, (n * parts, c // parts, *sizes))
    image = lt.reshape(_images(call, n * parts, 1), (n, parts, *(1,) * 2 * d))
    found = _between(_PixelRows(images), image, axes, [])  # (n, parts, *window, *shape, c / parts)
    if call.has_input(4):
        mask = lt.reshape(lt.cast(call.tensor(4), wide.dtype), (n, parts, *window, *shape, 1))
        found = found * mask
    return lt.cast(_columns_times(call, found, weight, groups, shape), x.dtype)


def _column(count: int, behind: int) -> np.ndarray[Any, Any]:
    """Return 0, 1, ... along an axis that has so many behind it."""
    return np.arange(count, dtype=np.int64).reshape(count, *[1] * behind)


def _columns_times(call: NodeCall, found: Tensor, weight: Tensor, groups: int, shape: Sequence[int]) -> Tensor:
    """Return the products of what was read with the weights, channels first, and the bias."""
    n, parts, kh, kw, h, w, own = found.shape
    filters, k = weight.shape[0], kh * kw
    rows = lt.reshape(lt.permute(found, (0, 4, 5, 2, 3, 1, 6)), (n * h * w, k, parts * own))
    made: list[Tensor] = []
    for g in range(groups):
        each = parts * own // groups
        columns = lt.reshape(rows[:, :, g * each : (g + 1) * each], (n * h * w, k * each))
        part = weight[g * (filters // groups) : (g + 1) * (filters // groups)]
        matrix = lt.reshape(lt.permute(part, (2, 3, 1, 0)), (k * each, filters // groups))
        made.append(lt.matmul(columns, lt.cast(matrix, columns.dtype)))
    whole = lt.permute(lt.reshape(lt.concat(made, -1), (n, *shape, filters)), (0, 3, 1, 2))
    if not call.has_input(3):
        return whole
    return whole + lt.reshape(lt.cast(call.tensor(3), whole.dtype), (-1, 1, 1))
