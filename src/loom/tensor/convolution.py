"""Convolutions and pooling, channels last: windows are views, the sums are matrix products and reductions.

Layer: tensor. A convolution is the product of the windows, as rows of k = (place in the window, channel), and the
weights: implicit GEMM's order of k, channels fastest. Its gradient for the input is a convolution too, of the padded
gradient with the weights turned round. Invariant: nothing is scattered.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from loom.core.errors import ShapeError
from loom.core.given import items
from loom.core.numbers import whole
from loom.tensor.autodiff import grad
from loom.tensor.functions import maximum
from loom.tensor.graph import require_tensor
from loom.tensor.ops.correlating import product_of_rows
from loom.tensor.ops.joining import pad, place
from loom.tensor.ops.products import matmul
from loom.tensor.ops.reductions import max_of, mean_of
from loom.tensor.ops.views import permute, reshape, reverse, routed, windows
from loom.tensor.tensor import Tensor

__all__ = ["average_pool", "convolve", "max_pool", "window_max"]

_MOST_PLACES = 64
"""Of a window whose places are compared one by one."""


def convolve(
    x: Tensor,
    weight: Tensor,
    *,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
) -> Tensor:
    """Return the cross-correlation of ``x`` (batch, *size, channels) and ``weight`` (*window, channels, filters).

    The result has shape (batch, *places, filters). ``padding`` zeros are put on both sides of each dimension.
    """
    for operand in (x, weight):
        require_tensor(operand, "convolve")
    d = weight.ndim - 2
    if d < 1 or x.ndim != d + 2 or x.shape[-1] != weight.shape[-2]:
        raise ShapeError(
            "convolve",
            "the shapes do not fit",
            expected="(batch, *size, channels) and (*window, channels, filters)",
            got=f"{x.shape} and {weight.shape}",
            remedy="Channels come last",
        )
    steps = _each(stride, d, "convolve, stride", 1)
    around, gaps = _each(padding, d, "convolve, padding", 0), _each(dilation, d, "convolve, dilation", 1)
    result = _correlate(pad(x, [(0, 0), *((p, p) for p in around), (0, 0)]), weight, steps, gaps)

    def vjp(_node: Any, g: Any) -> list[Any]:
        return [_input_gradient(x, weight, g, steps, around, gaps), _weight_gradient(x, weight, g, steps, around, gaps)]

    return routed(result, [x, weight], vjp)


def _each(value: Any, d: int, where: str, least: int) -> list[int]:
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
    d, filters = weight.ndim - 2, weight.shape[-1]
    rows = _rows(x, weight.shape[:d], steps, gaps)
    k = math.prod(weight.shape[:-1])
    return product_of_rows(rows, reshape(weight, (k, filters)), d + 1)


def _weight_gradient(x: Tensor, weight: Tensor, g: Tensor, steps: Any, around: Any, gaps: Any) -> Tensor:
    d = weight.ndim - 2
    padded = pad(x, [(0, 0), *((p, p) for p in around), (0, 0)])
    rows = _rows(padded, weight.shape[:d], steps, gaps)
    n, k = math.prod(rows.shape[: d + 1]), math.prod(weight.shape[:-1])
    return reshape(matmul(reshape(rows, (n, k)).T, reshape(g, (n, weight.shape[-1]))), weight.shape)


def _input_gradient(x: Tensor, weight: Tensor, g: Tensor, steps: Any, around: Any, gaps: Any) -> Tensor:
    """Return the convolution of the gradient, spread to the steps, with the weights turned round."""
    d = weight.ndim - 2
    reach = [(n - 1) * gap for n, gap in zip(weight.shape[:d], gaps, strict=True)]
    sizes = [n + 2 * p + r for n, p, r in zip(x.shape[1:-1], around, reach, strict=True)]
    spread = place(g, (g.shape[0], *sizes, g.shape[-1]), [0, *reach, 0], [1, *steps, 1])
    turned = permute(reverse(weight, tuple(range(d))), [*range(d), d + 1, d])
    whole = _correlate(spread, turned, [1] * d, gaps)
    return whole[(slice(None), *(slice(p, p + n) for p, n in zip(around, x.shape[1:-1], strict=True)))]


def _dimensions(x: Tensor) -> int:
    require_tensor(x, "pool")
    if x.ndim < 3:
        raise ShapeError("pool", "no images", expected="(batch, *size, channels)", got=x.shape, remedy="Reshape it")
    return x.ndim - 2


def max_pool(x: Tensor, size: int | Sequence[int], stride: int | Sequence[int] | None = None) -> Tensor:
    """Return the largest of each window of ``x`` (batch, *size, channels); the first of several has the gradient."""
    d = _dimensions(x)
    sizes = _each(size, d, "pool, size", 1)
    return window_max(x, range(1, d + 1), sizes, sizes if stride is None else _each(stride, d, "pool, stride", 1))


def window_max(x: Tensor, axes: Sequence[int], sizes: Sequence[int], steps: Sequence[int]) -> Tensor:
    """Return the largest of each window of ``sizes`` along ``axes``; the first of several has the gradient.

    The places of small windows are compared one after the other, each a slice of ``x``, so that no window is copied.
    """
    found = windows(x, axes, sizes, steps)
    inner = tuple(range(x.ndim, found.ndim))
    whole = max_of(found, inner)
    if math.prod(sizes) > _MOST_PLACES:
        return whole
    parts = []
    for at in np.ndindex(*sizes):
        part = [slice(None)] * x.ndim
        for a, place_in, step in zip(axes, at, steps, strict=True):
            part[a] = slice(int(place_in), int(place_in) + (found.shape[a] - 1) * step + 1, step)
        parts.append(x[tuple(part)])
    largest = functools.reduce(maximum, parts)
    return routed(largest, [x], lambda _node, g: grad(whole, [x], seed=g))


def average_pool(x: Tensor, size: int | Sequence[int], stride: int | Sequence[int] | None = None) -> Tensor:
    """Return the mean of each window of ``x`` (batch, *size, channels)."""
    d = _dimensions(x)
    sizes = _each(size, d, "pool, size", 1)
    found = windows(x, range(1, d + 1), sizes, sizes if stride is None else _each(stride, d, "pool, stride", 1))
    return mean_of(found, tuple(range(x.ndim, x.ndim + d)))
