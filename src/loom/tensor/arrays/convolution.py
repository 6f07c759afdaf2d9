"""Convolutions and pooling: windows are views, the sums are matrix products and reductions.

Layer: tensor. A convolution is the product of the windows, as rows of k = (place in the window, channel), and the
weights: implicit GEMM's order of k, channels fastest, in both layouts (docs/numerics.md, section 2). With channels last
its gradient for the input is a convolution too, of the padded gradient with the weights turned round; with channels
first, as networks have them, it is gathered. Invariant: nothing is scattered.
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from loom.core.errors import ShapeError
from loom.core.given import flag, items
from loom.core.numbers import whole
from loom.core.numerics import MATMUL_BLOCK
from loom.core.promotion import promote
from loom.kernels.types import PRODUCTS, compute_type
from loom.tensor.arrays.autodiff import grad
from loom.tensor.arrays.functions import maximum
from loom.tensor.arrays.tensor import Tensor, array
from loom.tensor.ops.correlating import product_of_columns, product_of_rows
from loom.tensor.ops.joining import concat, pad, place, split
from loom.tensor.ops.precision import precision_of
from loom.tensor.ops.products import matmul
from loom.tensor.ops.reductions import max_of, mean_of
from loom.tensor.ops.views import expand_dims, permute, reshape, reverse, routed, windows
from loom.tensor.ops.windowed import WindowReading, images_of_windows, takes_windows
from loom.tensor.record.graph import require_tensor

__all__ = ["average_pool", "convolve", "convolve_planes", "each_of", "max_pool", "window_max"]

_MOST_PLACES = 64
"""Of a window whose places are compared one by one."""


def convolve(
    x: Tensor,
    weight: Tensor,
    *,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> Tensor:
    """Return the cross-correlation of ``x`` (batch, *size, channels) and ``weight`` (*window, channels, filters).

    The result has shape (batch, *places, filters). ``padding`` zeros are put on both sides of each dimension. With
    ``groups`` the channels are as many parts, each of which makes a part of the filters; ``weight`` then has shape
    (*window, channels / groups, filters). Types meet as those of ``matmul``; integers of 8 and 16 bits give 32.

    Args:
        x: Tensor (batch, *size, channels) with one to three axes of size.
        weight: Tensor (*window, channels, filters).
        stride: Steps between windows, one for all axes or one for each.
        padding: Elements beside each end, one number for all axes or one for each.
        dilation: Steps between elements of a window, one for all axes or one for each.
        groups: Number of groups of channels that do not meet.

    Raises:
        ArgumentError: An operand is no tensor; not a whole number; a number is out of range.
        ShapeError: Not one number for each dimension; too many elements; the shapes do not fit.
    """
    for operand in (x, weight):
        require_tensor(operand, "convolve")
    common = promote("convolve", [x.dtype, weight.dtype])
    x, weight = x.astype(common), weight.astype(common)
    d = weight.ndim - 2
    parts = whole(groups, "convolve, groups", least=1)
    if parts > 1:
        return _convolve_groups(x, weight, stride, padding, dilation, parts)
    if d < 1 or x.ndim != d + 2 or x.shape[-1] != weight.shape[-2]:
        raise ShapeError(
            "convolve",
            "the shapes do not fit",
            expected="(batch, *size, channels) and (*window, channels, filters)",
            got=f"{x.shape} and {weight.shape}",
            remedy="Channels come last",
        )
    steps = each_of(stride, d, "convolve, stride", 1)
    around, gaps = each_of(padding, d, "convolve, padding", 0), each_of(dilation, d, "convolve, dilation", 1)
    margins = [(0, 0), *((p, p) for p in around), (0, 0)]

    def vjp(node: Any, g: Any) -> list[Any]:
        x, weight = node.inputs[:2]
        padded = pad(x, margins)
        return [_input_gradient(x, weight, g, steps, around, gaps), _weight_gradient(padded, weight, g, steps, gaps)]

    return routed(_correlate(pad(x, margins), weight, steps, gaps), [x, weight], vjp)


def _convolve_groups(x: Tensor, weight: Tensor, stride: Any, padding: Any, dilation: Any, groups: int) -> Tensor:
    """Return the convolution of parts; of single channels (depthwise) in full element by element, place after place.

    The places of a window are then at most one block of k, so that the bits are those of the product.
    """
    d = weight.ndim - 2
    if d < 1 or x.ndim != d + 2 or x.shape[-1] != weight.shape[-2] * groups or weight.shape[-1] % groups:
        raise ShapeError("convolve", "the shapes do not fit", got=f"{x.shape} and {weight.shape}, {groups} groups",
                         expected="(batch, *size, channels) and (*window, channels / groups, filters)",
                         remedy="Channels come last, and groups divide them and filters")  # fmt: skip
    if weight.shape[-2] > 1:
        pairs = zip(split(x, groups, -1), split(weight, groups, -1), strict=True)
        return concat([convolve(a, w, stride=stride, padding=padding, dilation=dilation) for a, w in pairs], -1)
    steps, gaps = each_of(stride, d, "convolve, stride", 1), each_of(dilation, d, "convolve, dilation", 1)
    around = each_of(padding, d, "convolve, padding", 0)
    padded = pad(x, [(0, 0), *((p, p) for p in around), (0, 0)])
    found = windows(padded, range(1, d + 1), weight.shape[:d], steps, gaps)
    result = PRODUCTS.get(x.dtype, (x.dtype,))[0]
    if precision_of(None, x.dtype, "convolve") or math.prod(weight.shape[:d]) > MATMUL_BLOCK:
        return _single_channels_multiplied(found, weight, groups, result)
    wide = compute_type(result) if result.storage_only else result
    found, weight = found.astype(wide), weight.astype(wide)
    total: Any = 0
    for at in np.ndindex(*weight.shape[:d]):
        place_in = tuple(int(k) for k in at)
        part = expand_dims(found[(..., *place_in)], -1)
        total = total + part * reshape(weight[place_in], (groups, weight.shape[-1] // groups))
    return reshape(total, (*total.shape[:-2], weight.shape[-1])).astype(result)


def _single_channels_multiplied(found: Tensor, weight: Tensor, groups: int, result: Any) -> Tensor:
    """Return what windows (batch, *places, channels, *window) and weights make, as one product for each channel."""
    d, each = weight.ndim - 2, weight.shape[-1] // groups
    places, k = found.shape[: d + 1], math.prod(weight.shape[:d])
    rows = reshape(permute(found, (d + 1, *range(d + 1), *range(d + 2, 2 * d + 2))), (groups, math.prod(places), k))
    total = matmul(rows, permute(reshape(weight, (k, groups, each)), (1, 0, 2)), out_dtype=result)
    return reshape(permute(total, (1, 0, 2)), (*places, weight.shape[-1]))


def each_of(value: Any, d: int, where: str, least: int) -> list[int]:
    """Return a number for each of d dimensions, given one for all or one for each."""
    if isinstance(value, str) or not isinstance(value, Iterable) or (isinstance(value, np.ndarray) and not value.ndim):
        return [whole(value, where, least=least, remedy=f"Pass an int, or {d} of them")] * d
    found = [whole(v, where, least=least) for v in items(value, where, "whole numbers")]
    if len(found) != d:
        raise ShapeError(where, "not one number for each dimension", expected=d, got=len(found),
                         remedy=f"Pass an int, or {d} of them")  # fmt: skip
    return found


def _rows(x: Tensor, sizes: Sequence[int], steps: Sequence[int], gaps: Sequence[int]) -> Tensor:
    """Return windows as (batch, *places, *window, channels)."""
    d = len(sizes)
    found = windows(x, range(1, d + 1), sizes, steps, gaps)
    return permute(found, [*range(d + 1), *range(d + 2, 2 * d + 2), d + 1])


def _correlate(x: Tensor, weight: Tensor, steps: Sequence[int], gaps: Sequence[int]) -> Tensor:
    d, k = weight.ndim - 2, math.prod(weight.shape[:-1])
    result = x.dtype
    if result.storage_only:
        x, weight = x.astype(compute_type(result)), weight.astype(compute_type(result))
    rows = _rows(x, weight.shape[:d], steps, gaps)
    product = product_of_rows(rows, reshape(weight, (k, weight.shape[-1])), d + 1)
    return product.astype(result) if result.storage_only else product


def _weight_gradient(padded: Tensor, weight: Tensor, g: Tensor, steps: Sequence[int], gaps: Sequence[int]) -> Tensor:
    d, filters = weight.ndim - 2, weight.shape[-1]
    result = g.dtype
    if result.storage_only:
        padded, g = padded.astype(compute_type(result)), g.astype(compute_type(result))
    rows = _rows(padded, weight.shape[:-2], steps, gaps)
    columns = permute(rows, (*range(d + 1, 2 * d + 2), *range(d + 1)))
    found = product_of_columns(reshape(g, (math.prod(g.shape[:-1]), filters)).T, columns, d + 1, transposed=True)
    return permute(found.astype(result) if result.storage_only else found, (*range(1, d + 2), 0))


def _input_gradient(x: Tensor, weight: Tensor, g: Tensor, steps: Any, around: Any, gaps: Any) -> Tensor:
    """Return the convolution of the gradient, spread to the steps, with the weights turned round."""
    d = weight.ndim - 2
    reach = [(n - 1) * gap for n, gap in zip(weight.shape[:d], gaps, strict=True)]
    sizes = [n + 2 * p + r for n, p, r in zip(x.shape[1:-1], around, reach, strict=True)]
    spread = place(g, (g.shape[0], *sizes, g.shape[-1]), [0, *reach, 0], [1, *steps, 1])
    turned = permute(reverse(weight, tuple(range(d))), [*range(d), d + 1, d])
    whole = _correlate(spread, turned, [1] * d, gaps)
    return whole[(slice(None), *(slice(p, p + n) for p, n in zip(around, x.shape[1:-1], strict=True)))]


# channels first


def convolve_planes(x: Tensor, weight: Tensor, steps: Sequence[int], around: Sequence[int]) -> Tensor:
    """Return the cross-correlation of ``x`` (batch, channels, *size) and ``weight`` (filters, channels, *window).

    The result is (filters, batch, *places), as the product leaves it, of the bits of ``convolve``. The gradient of
    ``x`` is gathered from that of the windows: sums of products over filters, for one place of the window after the
    other.
    """
    margins = [(0, 0), (0, 0), *((p, p) for p in around)]
    padded = pad(x, margins)
    columns = _columns(padded, weight.shape[2:], steps)
    result = product_of_columns(_matrix(weight), columns, len(steps) + 1)

    def vjp(node: Any, g: Any) -> list[Any]:
        x, weight = node.inputs[:2]
        again = pad(x, margins)
        return [_planes_gradient(x, weight, g, steps, around), _filters_gradient(again, weight, g, steps)]

    return routed(result, [x, weight], vjp)


def _columns(x: Tensor, window: Sequence[int], steps: Sequence[int]) -> Tensor:
    """Return windows as (*window, channels, batch, *places), which are copied by rows of the image."""
    d = len(window)
    found = windows(x, range(2, d + 2), window, steps)
    return permute(found, (*range(d + 2, 2 * d + 2), 1, 0, *range(2, d + 2)))


def _matrix(weight: Tensor) -> Tensor:
    """Return weights (filters, channels, *window) as (filters, k)."""
    return reshape(permute(weight, (0, *range(2, weight.ndim), 1)), (weight.shape[0], -1))


def _filters_gradient(padded: Tensor, weight: Tensor, g: Tensor, steps: Sequence[int]) -> Tensor:
    filters, _, *window = weight.shape
    columns = _columns(padded, window, steps)
    rows = reshape(g, (filters, math.prod(g.shape[1:])))
    product = product_of_columns(rows, columns, len(window) + 1, transposed=True)
    return permute(product, (0, weight.ndim - 1, *range(1, weight.ndim - 1)))


def _planes_gradient(x: Tensor, weight: Tensor, g: Tensor, steps: Sequence[int], around: Sequence[int]) -> Tensor:
    """Return for every element the sum over the places of a window at which it was read, the first place first."""
    if not takes_windows(g, len(steps)):
        return _gradient_by_tensors(x, weight, g, steps, around)
    reading = WindowReading(x.shape[2:], weight.shape[2:], tuple(steps), tuple(around))
    margins = [(0, 0), (0, 0), *((p, p) for p in around)]
    axes = len(steps) + 1

    def vjp(node: Any, images: Any) -> list[Any]:
        matrix, g = node.inputs[:2]
        columns = _columns(pad(images, margins), reading.window, steps)
        by_matrix = product_of_columns(reshape(g, (len(g), math.prod(g.shape[1:]))), columns, axes, transposed=True)
        return [reshape(by_matrix, matrix.shape), product_of_columns(matrix, columns, axes)]

    matrix = _matrix(weight)
    return routed(images_of_windows(matrix, g, reading), [matrix, g], vjp)


def _gradient_by_tensors(x: Tensor, weight: Tensor, g: Tensor, steps: Sequence[int], around: Sequence[int]) -> Tensor:
    """Return the same by tensors.

    The columns' gradient, one product, is spread to the steps of padded images. Each place of the window reads that,
    shifted; what it reads beyond an image's edge is the end of the row or image before, where no window begins: zeros,
    as is the image put first.
    """
    filters, channels, *window = weight.shape
    d, images = len(window), channels * x.shape[0]
    product = matmul(_matrix(weight), reshape(g, (filters, -1)), transpose_a=True)
    columns = reshape(product, (math.prod(window), images, *g.shape[2:]))
    whole = [n + 2 * p for n, p in zip(x.shape[2:], around, strict=True)]
    spread = place(columns, (len(columns), images + 1, *whole), [0, 1, *[0] * d], [1, 1, *steps])
    size = math.prod(whole)
    flat = reshape(spread, (len(columns), math.prod(spread.shape[1:])))
    parts: list[Tensor] = []
    for i, at in enumerate(np.ndindex(*window)):
        begin = size - sum(k * math.prod(whole[a + 1 :]) for a, k in enumerate(at))
        parts.append(flat[i, begin : begin + images * size])
    total = functools.reduce(operator.add, parts)
    padded = permute(reshape(total, (channels, x.shape[0], *whole)), (1, 0, *range(2, d + 2)))
    return padded[(..., *(slice(p, p + n) for p, n in zip(around, x.shape[2:], strict=True)))]


# pooling


def _dimensions(x: Tensor) -> int:
    require_tensor(x, "pool")
    if x.ndim < 3:
        raise ShapeError("pool", "no images", expected="(batch, *size, channels)", got=x.shape, remedy="Reshape it")
    return x.ndim - 2


def max_pool(
    x: Tensor, size: int | Sequence[int], stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
) -> Tensor:  # fmt: skip
    """Return the largest of each window of ``x`` (batch, *size, channels); the first of several has the gradient.

    ``padding``: places around it that are smaller than all others.

    Args:
        x: Tensor (batch, *size, channels) with one to three axes of size.
        size: Lengths of a window, one for all axes or one for each.
        stride: Steps between windows; None: ``size``.
        padding: Elements beside each end, one number for all axes or one for each.

    Raises:
        ArgumentError: Not a whole number; an operand is no tensor; not one for each.
        ShapeError: A window would lie outside; a window does not fit an axis; no images; not one number for each
            dimension.
    """
    d = _dimensions(x)
    sizes = each_of(size, d, "pool, size", 1)
    steps = sizes if stride is None else each_of(stride, d, "pool, stride", 1)
    least: Any = -math.inf if x.dtype.is_float else x.dtype.minimum
    return window_max(_pad(x, padding, sizes, least), range(1, d + 1), sizes, steps)


def _pad(x: Tensor, padding: Any, sizes: Sequence[int], value: Any) -> Tensor:
    around = each_of(padding, len(sizes), "pool, padding", 0)
    if any(2 * p > n for p, n in zip(around, sizes, strict=True)):
        raise ShapeError("pool, padding", "a window would lie outside", expected="at most half of the window",
                         got=around, remedy="Pad the tensor first")  # fmt: skip
    return pad(x, [(0, 0), *((p, p) for p in around), (0, 0)], value) if any(around) else x


def window_max(x: Tensor, axes: Sequence[int], sizes: Sequence[int], steps: Sequence[int]) -> Tensor:
    """Return the largest of each window of ``sizes`` along ``axes``; the first of several has the gradient.

    The places of small windows are compared one after the other, each a slice of ``x``, so that no window is copied.
    """
    found = windows(x, axes, sizes, steps)
    inner = tuple(range(x.ndim, found.ndim))
    whole = max_of(found, inner)
    if math.prod(sizes) > _MOST_PLACES:
        return whole
    parts: list[Tensor] = []
    for at in np.ndindex(*sizes):
        part = [slice(None)] * x.ndim
        for a, place_in, step in zip(axes, at, steps, strict=True):
            part[a] = slice(int(place_in), int(place_in) + (found.shape[a] - 1) * step + 1, step)
        parts.append(x[tuple(part)])

    def vjp(node: Any, g: Any) -> list[Tensor]:
        source = node.inputs[0]
        return grad(max_of(windows(source, axes, sizes, steps), inner), [source], seed=g)

    return routed(functools.reduce(maximum, parts), [x], vjp)


def average_pool(
    x: Tensor, size: int | Sequence[int], stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0, *, count_include_pad: bool = True,
) -> Tensor:  # fmt: skip
    """Return the mean of each window of ``x`` (batch, *size, channels).

    ``padding``: zeros around it, which count unless ``count_include_pad`` is False.

    Args:
        x: Tensor (batch, *size, channels) with one to three axes of size.
        size: Lengths of a window, one for all axes or one for each.
        stride: Steps between windows; None: ``size``.
        padding: Elements beside each end, one number for all axes or one for each.
        count_include_pad: Whether padding counts as elements.

    Raises:
        ArgumentError: An operand is no tensor; a number is out of range; a number is not usable there; not a whole
            number.
        ShapeError: A window does not fit an axis; not one number for each dimension; no images.
    """
    d = _dimensions(x)
    sizes = each_of(size, d, "pool, size", 1)
    steps = sizes if stride is None else each_of(stride, d, "pool, stride", 1)
    inner = tuple(range(x.ndim, x.ndim + d))
    counted = flag(count_include_pad, "pool, count_include_pad")
    padded = _pad(x, padding, sizes, False if x.dtype.is_bool else 0)
    found = mean_of(windows(padded, range(1, d + 1), sizes, steps), inner)
    if counted or padded is x:
        return found
    there = np.pad(
        np.ones(x.shape[1:-1]), [((n - m) // 2,) * 2 for n, m in zip(padded.shape[1:-1], x.shape[1:-1], strict=True)]
    )
    view = np.lib.stride_tricks.sliding_window_view(there, sizes)[tuple(slice(None, None, step) for step in steps)]
    share = math.prod(sizes) / view.reshape(*view.shape[:d], -1).sum(-1)
    return found * array(share[..., None], found.dtype, on=x.device)
