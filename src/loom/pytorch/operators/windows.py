"""Operators over windows: convolutions, their transposes, pools, resizing.

Layer: pytorch. PyTorch has channels first, Loom's functions last; what is permuted are views. Invariant: an image
without its axis of samples is a batch of one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from loom import tensor as lt
from loom.core.given import is_list
from loom.importers.imagewindows import (
    ImageWindows,
    by_channel,
    channels_first,
    channels_last,
    filters_last,
    least_of,
    places_of_largest,
)
from loom.importers.promotion import cast
from loom.pytorch.registry import Made, OpCall, operator
from loom.tensor.arrays.convolution import convolve_planes
from loom.tensor.arrays.tensor import Tensor

__all__: list[str] = []


def _as_batch(x: Tensor, rank: int, run: Callable[[Tensor], Any]) -> Any:
    """Return what is made of a batch, of one image that of a batch of one."""
    if x.ndim == rank:
        return run(x)
    found = run(lt.expand_dims(x, 0))
    return [lt.squeeze(f, 0) for f in found] if is_list(found) else lt.squeeze(found, 0)


# convolutions


def _convolve(x: Tensor, weight: Tensor, bias: Tensor | None, how: ImageWindows, groups: int) -> Tensor:
    even = all(a == b for a, b in how.pads)
    if groups == 1 and set(how.gaps) <= {1} and even and x.dtype.is_float:
        found = convolve_planes(x, weight, how.steps, [a for a, _ in how.pads])
        found = found if bias is None else found + by_channel(bias, x.ndim + 1)
        return lt.permute(found, (1, 0, *range(2, x.ndim)))
    found = how.convolve(x, filters_last(weight), groups)
    return channels_first(found if bias is None else found + bias)


def _conv_transpose(call: OpCall, x: Tensor, weight: Tensor, bias: Tensor | None, steps: list[int], around: list[int],
                    gaps: list[int], groups: int, more: list[int]) -> Tensor:  # fmt: skip
    if x.shape[1] % groups:
        raise call.refusal("groups do not divide the channels", expected=groups, got=x.shape)
    found = lt.conv_transpose(channels_last(x), filters_last(weight), stride=steps, padding=around,
                              output_padding=more, dilation=gaps, groups=groups)  # fmt: skip
    return channels_first(found if bias is None else found + bias)


@operator("conv1d", "conv2d", "conv3d", "convolution", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d")
def _conv(call: OpCall, x: Tensor, weight: Tensor, bias: Tensor | None) -> Made:
    d = weight.ndim - 2
    sizes, steps, gaps = list(weight.shape[2:]), call.each("stride", d, [1]), call.each("dilation", d, [1])
    groups, given = call.integer("groups", 1), call.value("padding", 0)
    transposed = call.flag("transposed") or "transpose" in call.base
    more = call.each("output_padding", d, [0])
    if isinstance(given, str):
        reach = [g * (k - 1) for g, k in zip(gaps, sizes, strict=True)]
        pads = [(r // 2, r - r // 2) if given == "same" else (0, 0) for r in reach]
    else:
        pads = [(p, p) for p in call.each("padding", d, [0])]

    def run(images: Tensor) -> Tensor:
        if transposed:
            return _conv_transpose(call, images, weight, bias, steps, [p for p, _ in pads], gaps, groups, more)
        return _convolve(images, weight, bias, ImageWindows(sizes, steps, gaps, pads), groups)

    return _as_batch(x, d + 2, run)


# pools


def _windows(call: OpCall, lengths: Sequence[int]) -> ImageWindows:
    d = len(lengths)
    sizes = call.each("kernel_size", d)
    steps, pads = call.each("stride", d, sizes), [(p, p) for p in call.each("padding", d, [0])]
    how = ImageWindows(sizes, steps, call.each("dilation", d, [1]), pads)
    return how.with_last_windows(lengths) if call.flag("ceil_mode") else how


def _rank(call: OpCall) -> int:
    return 2 + next(int(c) for c in call.base if c in "123")


@operator("max_pool1d", "max_pool2d", "max_pool3d", "max_pool1d_with_indices", "max_pool2d_with_indices",
          "max_pool3d_with_indices")  # fmt: skip
def _max_pool(call: OpCall, x: Tensor) -> Made:
    return _as_batch(x, _rank(call), lambda images: _max_pooled(call, images))


def _max_pooled(call: OpCall, x: Tensor) -> Any:
    how = _windows(call, x.shape[2:])
    padded = how.pad(x, least_of(x.dtype))
    found = how.largest(padded)
    return [found, _places(call, x, padded, how)] if "indices" in call.base else found


def _places(call: OpCall, x: Tensor, padded: Tensor, how: ImageWindows) -> Tensor:
    """Return for each window where its largest element lies in the image."""
    return places_of_largest(call, how.flat_over(padded), how.positions(x.shape[2:]))


@operator("avg_pool1d", "avg_pool2d", "avg_pool3d")
def _average_pool(call: OpCall, x: Tensor) -> Made:
    return _as_batch(x, _rank(call), lambda images: _average_pooled(call, images))


def _average_pooled(call: OpCall, x: Tensor) -> Tensor:
    how = _windows(call, x.shape[2:])
    counted, divisor = call.flag("count_include_pad", True), call.value("divisor_override")
    seen = how.over(how.pad(x))
    inner = tuple(range(x.ndim, 2 * x.ndim - 2))
    if divisor is None and not any(map(any, how.pads)):
        return lt.mean(seen, axis=inner)
    total = lt.sum(seen, axis=inner)
    if divisor is not None:
        return total / float(divisor)
    shares = how.shares(x.shape[2:], [(before, before) if counted else (0, 0) for before, _ in how.pads])
    return total / lt.cast(call.array(shares.astype(np.float64)), x.dtype)


@operator("adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d", "_adaptive_avg_pool2d",
          "_adaptive_avg_pool3d", "adaptive_max_pool1d", "adaptive_max_pool2d", "adaptive_max_pool3d")  # fmt: skip
def _adaptive_pool(call: OpCall, x: Tensor) -> Made:
    rank = _rank(call)
    sizes = call.each("output_size", rank - 2)
    if "max" not in call.base:
        return _as_batch(x, rank, lambda images: channels_first(lt.adaptive_average_pool(channels_last(images), sizes)))

    def run(images: Tensor) -> list[Tensor]:
        if any(n % m for n, m in zip(images.shape[2:], sizes, strict=True)):
            return _unequal_max(call, images, sizes)
        steps = [n // m for n, m in zip(images.shape[2:], sizes, strict=True)]
        how = ImageWindows(steps, steps, [1] * len(steps), [(0, 0)] * len(steps))
        return [how.largest(images), _places(call, images, images, how)]

    return _as_batch(x, rank, run)


def _unequal_max(call: OpCall, images: Tensor, sizes: Sequence[int]) -> list[Tensor]:
    """Return the largest elements of parts of unequal sizes, and their places among an image's."""
    places = np.zeros((1, 1), np.int64)
    for n, m in zip(images.shape[2:], sizes, strict=True):
        starts, ends = np.arange(m) * n // m, -(-(np.arange(m) + 1) * n // m)
        longest = int((ends - starts).max())
        own = np.minimum(starts[:, None] + np.arange(longest), ends[:, None] - 1)  # the last again, which never wins
        places = (places[:, None, :, None] * n + own[None, :, None, :]).reshape(len(places) * m, -1)
    held = lt.take(lt.reshape(images, (*images.shape[:2], math.prod(images.shape[2:]))), call.array(places), 2)
    at = lt.expand_dims(lt.argmax(held, -1), -1)
    spread = lt.broadcast_to(call.array(places), held.shape)
    shape = (*images.shape[:2], *sizes)
    return [lt.reshape(lt.take_along_axis(v, at, -1), shape) for v in (held, spread)]


# sizes


@operator("upsample_nearest1d", "upsample_nearest2d", "upsample_nearest3d", "upsample_linear1d", "upsample_bilinear2d",
          "upsample_trilinear3d", "upsample_bicubic2d")  # fmt: skip
def _upsample(call: OpCall) -> Made:
    x = call.tensor("input" if call.has("input") else "self")
    aligned, size = call.flag("align_corners"), call.value("output_size")
    d = x.ndim - 2
    given = call.value("scale_factors")
    scales = [call.value(n) for n in ("scales", "scales_d", "scales_h", "scales_w")] if given is None else list(given)
    scales = [s for s in scales if s is not None]
    way = "nearest" if "nearest" in call.base else "cubic" if "cubic" in call.base else "linear"
    if size is not None:
        wanted = [int(n) for n in size]
        if len(scales) == d and any(
            math.floor(n * f) != m for n, f, m in zip(x.shape[2:], scales, wanted, strict=True)
        ):
            raise call.refusal("size and scale differ", expected=wanted, got=scales)
        if len(scales) != d:
            return channels_first(lt.interpolate(channels_last(x), size=wanted, mode=way, align_corners=aligned))
    return channels_first(lt.interpolate(channels_last(x), scale_factor=scales, mode=way, align_corners=aligned))


@operator("im2col", "col2im")
def _columns(call: OpCall, x: Tensor) -> Made:
    sizes, gaps = call.each("kernel_size", 2), call.each("dilation", 2)
    around, steps = call.each("padding", 2), call.each("stride", 2)
    if call.base == "im2col":
        return _as_batch(x, 4, lambda images: _unfold(images, sizes, gaps, around, steps))
    shape = call.integers("output_size")

    def run(parts: Tensor) -> Tensor:
        window = math.prod(sizes)
        channels = parts.shape[1] // window
        turned = lt.permute(lt.reshape(parts, (parts.shape[0], channels, window, parts.shape[2])), (0, 3, 2, 1))
        rows = lt.reshape(turned, (parts.shape[0], parts.shape[2], window * channels))
        return channels_first(lt.fold(rows, shape, sizes, dilation=gaps, padding=around, stride=steps))

    return _as_batch(x, 3, run)


def _unfold(x: Tensor, sizes: list[int], gaps: list[int], around: list[int], steps: list[int]) -> Tensor:
    how = ImageWindows(sizes, steps, gaps, [(p, p) for p in around])
    seen = how.over(how.pad(x))
    order = (0, 1, 4, 5, 2, 3)
    count = math.prod(seen.shape[2:4])
    return lt.reshape(lt.permute(seen, order), (x.shape[0], x.shape[1] * math.prod(sizes), count))


@operator("grid_sampler", "grid_sampler_2d")
def _grid_sampler(call: OpCall, x: Tensor, grid: Tensor) -> Made:
    if call.integer("interpolation_mode", 0) != 0 or call.integer("padding_mode", 0) != 0:
        raise call.refusal("a mode that is not done", expected="bilinear, padding of zeros", got="another")
    aligned = call.flag("align_corners")
    n, c, h, w = x.shape
    flat = lt.reshape(x, (n, c, h * w))
    places = [_pixel_coordinates(grid[..., k], size, aligned) for k, size in enumerate((w, h))]
    low = [lt.floor(p) for p in places]
    total: Any = None
    for dx, dy in ((0, 0), (1, 0), (0, 1), (1, 1)):
        at = [low[0] + float(dx), low[1] + float(dy)]
        share = [1 - lt.abs(p - a) for p, a in zip(places, at, strict=True)]
        inside = [lt.logical_and(a >= 0, a <= size - 1) for a, size in zip(at, (w, h), strict=True)]
        index = [lt.cast(lt.clip(lt.detach(a), 0, size - 1), "i64") for a, size in zip(at, (w, h), strict=True)]
        where = lt.reshape(index[1] * w + index[0], (n, 1, math.prod(grid.shape[1:-1])))
        taken = lt.take_along_axis(flat, lt.broadcast_to(where, (n, c, where.shape[-1])), -1)
        seen = lt.logical_and(*inside)
        weight = lt.where(seen, share[0] * share[1], 0.0)
        term = lt.reshape(taken, (n, c, *grid.shape[1:-1])) * lt.expand_dims(weight, 1)
        total = term if total is None else total + term
    return cast(total, x.dtype)


def _pixel_coordinates(x: Tensor, size: int, aligned: bool) -> Tensor:
    return (x + 1) * ((size - 1) / 2) if aligned else ((x + 1) * size - 1) / 2
