"""``interpolate``, ``unfold``, ``fold``, adaptive pools, ``conv_transpose``: images (batch, *size, channels).

Layer: tensor. Arguments are torch's, channels last. Invariant: nothing is scattered.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from loom.core.errors import ArgumentError, ShapeError
from loom.core.given import flag, is_list, one_of
from loom.core.numbers import real, whole
from loom.tensor.arrays.autodiff import grad
from loom.tensor.arrays.convolution import convolve, each_of
from loom.tensor.arrays.tensor import Tensor, array
from loom.tensor.creation.creation import zeros
from loom.tensor.neural.activations import wide
from loom.tensor.ops.elementwise import cast
from loom.tensor.ops.joining import pad, stack
from loom.tensor.ops.reductions import max_of, mean_of
from loom.tensor.ops.views import permute, reshape, take_slices, windows
from loom.tensor.record.graph import require_tensor
from loom.tensor.selecting.taking import take

__all__ = ["adaptive_average_pool", "adaptive_max_pool", "conv_transpose", "fold", "interpolate", "unfold"]

_MOST_PARTS = 1 << 16
"""Parts of a dimension, each of which is recorded by itself where they are not equal."""

_MODES = ("nearest", "linear", "bilinear", "trilinear", "cubic", "bicubic")
_CUBIC = -0.75


def _dimensions(x: Tensor, name: str) -> int:
    require_tensor(x, name)
    if x.ndim < 3:
        raise ShapeError(name, "no images", expected="(batch, *size, channels)", got=x.shape, remedy="Reshape it")
    return x.ndim - 2


def interpolate(
    x: Tensor, size: Any = None, scale_factor: Any = None, mode: str = "nearest", *, align_corners: bool = False
) -> Tensor:
    """Return images of another size: "nearest" elements, or along each axis "linear" (bilinear, trilinear) or
    "cubic" (bicubic) ones.

    Either ``size`` or ``scale_factor``, a number or one for each dimension. ``align_corners``: the first and last
    elements keep their places; else whole elements are shared out, as torch does.

    Args:
        x: Tensor (batch, *size, channels).
        size: Lengths of the result, a number or one for each axis.
        scale_factor: Factors of the lengths, a number or one for each axis.
        mode: "nearest", "linear" or "cubic", or torch's names for them.
        align_corners: Whether the first and last elements keep their places.

    Raises:
        ArgumentError: There is no such option; an operand is no tensor; no size.
        ShapeError: Not one number for each dimension; no elements; not a factor for each dimension.
    """
    name = "interpolate"
    d = _dimensions(x, name)
    way = one_of(mode, f"{name}, mode", _MODES)
    aligned = flag(align_corners, f"{name}, align_corners")
    if (size is None) == (scale_factor is None):
        raise ArgumentError(name, "no size" if size is None else "two sizes", expected="size or scale_factor",
                            got="neither" if size is None else "both", remedy="Pass one of them")  # fmt: skip
    if size is not None:
        sizes = each_of(size, d, f"{name}, size", 1)
        ratios = [n / m for n, m in zip(x.shape[1:-1], sizes, strict=True)]
    else:
        given: list[Any] = list(scale_factor) if is_list(scale_factor) else [scale_factor] * d
        factors = [real(f, f"{name}, scale_factor") for f in given]
        if len(factors) != d or min(factors) <= 0:
            raise ShapeError(f"{name}, scale_factor", "not a factor for each dimension", expected=d, got=scale_factor,
                             remedy="Pass positive numbers")  # fmt: skip
        sizes = [math.floor(n * f) for n, f in zip(x.shape[1:-1], factors, strict=True)]
        ratios = [1 / f for f in factors]
    if not min(x.shape[1:-1]) or min(sizes) < 1:
        raise ShapeError(name, "no elements", expected="at least 1 along every axis", got=f"{x.shape} to {sizes}",
                         remedy="Pass a larger size")  # fmt: skip
    found = x if way == "nearest" else wide(x, name)
    for axis, (m, ratio) in enumerate(zip(sizes, ratios, strict=True), start=1):
        found = _resize_axis(found, axis, m, ratio, way, aligned)
    return cast(found, x.dtype)


def _resize_axis(x: Tensor, axis: int, m: int, ratio: float, way: str, aligned: bool) -> Tensor:
    n = x.shape[axis]
    at = np.arange(m, dtype=np.float64)
    if way == "nearest":
        places = np.floor(at.astype(np.float32) * np.float32(ratio))  # torch's, in f32
        places = np.minimum(places, n - 1).astype(np.int64)
        return x if np.array_equal(places, np.arange(n)) else take(x, places, axis)
    source = at * ((n - 1) / (m - 1) if m > 1 else 0.0) if aligned else (at + 0.5) * ratio - 0.5
    if way.endswith("cubic"):
        return _cubic(x, axis, source)
    source = np.maximum(source, 0.0)
    low = np.minimum(np.floor(source), n - 1).astype(np.int64)
    high = np.minimum(low + 1, n - 1)
    shape = (m, *(1,) * (x.ndim - 1 - axis))
    t = array(np.minimum(source - low, 1.0).reshape(shape), x.dtype, on=x.device)
    return take(x, low, axis) * (1 - t) + take(x, high, axis) * t


def _cubic(x: Tensor, axis: int, source: np.ndarray[Any, Any]) -> Tensor:
    """Return elements between four neighbours each, those beyond an end being its own.

    Source: R. G. Keys, "Cubic convolution interpolation for digital image processing" (1981), with torch's -0.75.
    """
    low = np.floor(source)
    t, a = source - low, _CUBIC
    near = [((a + 2) * s - (a + 3)) * s * s + 1 for s in (t, 1 - t)]
    far = [((a * s - 5 * a) * s + 8 * a) * s - 4 * a for s in (t + 1, 2 - t)]
    shape = (source.size, *(1,) * (x.ndim - 1 - axis))
    total: Any = None
    for k, weights in enumerate((far[0], near[0], near[1], far[1])):
        places = np.clip(low + (k - 1), 0, x.shape[axis] - 1).astype(np.int64)
        term = take(x, places, axis) * array(weights.reshape(shape), x.dtype, on=x.device)
        total = term if total is None else total + term
    return total


def _window_options(kernel_size: Any, stride: Any, padding: Any, dilation: Any, d: int, name: str) -> Any:
    sizes = each_of(kernel_size, d, f"{name}, kernel_size", 1)
    return (sizes, each_of(stride, d, f"{name}, stride", 1), each_of(padding, d, f"{name}, padding", 0),
            each_of(dilation, d, f"{name}, dilation", 1))  # fmt: skip


def unfold(x: Tensor, kernel_size: Any, *, dilation: Any = 1, padding: Any = 0, stride: Any = 1) -> Tensor:
    """Return the windows of ``x`` as (batch, places, window * channels), channels fastest, zeros being around it.

    Args:
        x: Tensor (batch, *size, channels).
        kernel_size: Lengths of a window, one for all axes or one for each.
        dilation: Steps between elements of a window, one for all axes or one for each.
        padding: Elements beside each end, one number for all axes or one for each.
        stride: Steps between windows, one for all axes or one for each.

    Raises:
        ArgumentError: Not a whole number; an operand is no tensor; not one for each.
        ShapeError: Not one number for each dimension.
    """
    d = _dimensions(x, "unfold")
    sizes, steps, around, gaps = _window_options(kernel_size, stride, padding, dilation, d, "unfold")
    padded = pad(x, [(0, 0), *((p, p) for p in around), (0, 0)])
    found = windows(padded, range(1, d + 1), sizes, steps, gaps)
    order = [*range(d + 1), *range(d + 2, 2 * d + 2), d + 1]
    places = math.prod(found.shape[1 : d + 1])
    return reshape(permute(found, order), (x.shape[0], places, math.prod(sizes) * x.shape[-1]))


def fold(
    x: Tensor, output_size: Sequence[int], kernel_size: Any, *, dilation: Any = 1, padding: Any = 0, stride: Any = 1
) -> Tensor:
    """Return images of ``output_size`` that are the sums of windows (batch, places, window * channels).

    It is the derivative of ``unfold``, whose windows these may be; overlapping ones are added in the order of places.

    Args:
        x: Tensor (batch, places, window * channels).
        output_size: Lengths of the result, one for all axes or one for each.
        kernel_size: Lengths of a window, one for all axes or one for each.
        dilation: Steps between elements of a window, one for all axes or one for each.
        padding: Elements beside each end, one number for all axes or one for each.
        stride: Steps between windows, one for all axes or one for each.

    Raises:
        ArgumentError: An operand is no tensor; not one for each; not a whole number.
        ShapeError: Not one number for each dimension; another number of places; too many elements; a window does not
            fit an axis; no windows.
    """
    require_tensor(x, "fold")
    d = len(output_size) if is_list(output_size) else 0
    sizes = each_of(output_size, max(1, d), "fold, output_size", 1)
    window = math.prod(each_of(kernel_size, len(sizes), "fold, kernel_size", 1))
    if x.ndim != 3 or x.shape[-1] % window:
        raise ShapeError("fold", "no windows", expected=f"(batch, places, a multiple of {window})", got=x.shape,
                         remedy="Pass what unfold gives")  # fmt: skip
    image = zeros((x.shape[0], *sizes, x.shape[-1] // window), x.dtype)
    parts = unfold(image, kernel_size, dilation=dilation, padding=padding, stride=stride)
    if parts.shape != x.shape:
        raise ShapeError("fold", "another number of places", expected=parts.shape, got=x.shape, remedy="Match sizes")
    return grad(parts, [image], seed=x)[0]


def adaptive_average_pool(x: Tensor, output_size: Any) -> Tensor:
    """Return means over ``output_size`` parts of each dimension: part i from floor(i n / m) to ceil((i + 1) n / m).

    Args:
        x: Tensor (batch, *size, channels).
        output_size: Lengths of the result, one for all axes or one for each.

    Raises:
        ArgumentError: An operand is no tensor; not a whole number.
        DTypeError: The dtype is not supported.
        ShapeError: Not one number for each dimension.
    """
    return cast(_adaptive(wide(x, "adaptive_average_pool"), output_size, "adaptive_average_pool", mean_of), x.dtype)


def adaptive_max_pool(x: Tensor, output_size: Any) -> Tensor:
    """Return the largest of ``output_size`` parts of each dimension, as ``adaptive_average_pool`` cuts them.

    Args:
        x: Tensor (batch, *size, channels).
        output_size: Lengths of the result, one for all axes or one for each.

    Raises:
        ArgumentError: Not a whole number; an operand is no tensor; a number is out of range.
        ShapeError: No images; too many parts.
    """
    return _adaptive(x, output_size, "adaptive_max_pool", max_of)


def _adaptive(x: Tensor, output_size: Any, name: str, joined: Any) -> Tensor:
    d = _dimensions(x, name)
    if not min(x.shape[1:-1]):
        raise ShapeError(name, "no elements", expected="at least 1 along every axis", got=x.shape, remedy="Check first")
    for axis, m in enumerate(each_of(output_size, d, f"{name}, output_size", 1), start=1):
        n = x.shape[axis]
        if m > _MOST_PARTS:
            raise ShapeError(name, "too many parts", expected=f"output_size of at most {_MOST_PARTS}", got=m,
                             remedy="Repeat elements instead")  # fmt: skip
        if n % m == 0:
            x = joined(reshape(x, (*x.shape[:axis], m, n // m, *x.shape[axis + 1 :])), axis + 1)
            continue
        parts: list[Tensor] = []
        for i in range(m):
            first, last = i * n // m, -(-(i + 1) * n // m)
            shape = (*x.shape[:axis], last - first, *x.shape[axis + 1 :])
            starts = [first if a == axis else 0 for a in range(x.ndim)]
            parts.append(joined(take_slices(x, starts, [1] * x.ndim, shape), axis))
        x = stack(parts, axis)
    return x


def conv_transpose(
    x: Tensor, weight: Tensor, *, stride: Any = 1, padding: Any = 0, output_padding: Any = 0, dilation: Any = 1,
    groups: int = 1,
) -> Tensor:  # fmt: skip
    """Return the transposed convolution of ``x`` (batch, *size, channels): what ``convolve`` sends back.

    ``weight`` is that of the convolution it transposes, (*window, filters / groups, channels); the result has shape
    (batch, *(size - 1) stride - 2 padding + dilation (window - 1) + output_padding + 1, filters).

    Args:
        x: Tensor (batch, *size, channels).
        weight: Tensor (*window, filters / groups, channels).
        stride: Steps between windows, one for all axes or one for each.
        padding: Elements beside each end, one number for all axes or one for each.
        output_padding: Elements added at each end of the result.
        dilation: Steps between elements of a window, one for all axes or one for each.
        groups: Number of groups of channels that do not meet.

    Raises:
        ArgumentError: An operand is no tensor; not a whole number; too much.
        ShapeError: The shapes do not fit; not one number for each dimension; not a shape.
    """
    name = "conv_transpose"
    d = _dimensions(x, name)
    require_tensor(weight, name)
    if weight.ndim != d + 2 or weight.shape[-1] != x.shape[-1]:
        raise ShapeError(name, "the shapes do not fit", expected="(batch, *size, k) and (*window, filters, k)",
                         got=f"{x.shape} and {weight.shape}", remedy="Channels come last")  # fmt: skip
    sizes, steps, around, gaps = _window_options(weight.shape[:d], stride, padding, dilation, d, name)
    more = each_of(output_padding, d, f"{name}, output_padding", 0)
    if any(extra >= max(step, gap) for extra, step, gap in zip(more, steps, gaps, strict=True)):
        raise ArgumentError(f"{name}, output_padding", "too much", expected="less than stride or dilation", got=more,
                            remedy="It only tells which of several sizes is meant")  # fmt: skip
    shape = [(n - 1) * step - 2 * p + gap * (k - 1) + extra + 1 for n, step, p, gap, k, extra
             in zip(x.shape[1:-1], steps, around, gaps, sizes, more, strict=True)]  # fmt: skip
    count = whole(groups, f"{name}, groups", least=1)
    image = zeros((x.shape[0], *shape, weight.shape[-2] * count), x.dtype)
    sent = convolve(image, weight, stride=steps, padding=around, dilation=gaps, groups=count)
    if sent.shape[:-1] != x.shape[:-1]:  # output_padding, of the dilation's size, left room for more windows
        sent = sent[tuple(slice(n) for n in x.shape)]
    return grad(sent, [image], seed=x)[0]
