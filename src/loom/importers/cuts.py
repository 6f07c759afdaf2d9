"""Recipes of shapes: cuts, padding, pixels that become channels.

Layer: importers. Invariant: no element is computed.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Any, cast

import numpy as np

from loom import tensor as lt
from loom.tensor.arrays.tensor import Tensor

__all__ = ["cut", "cut_into", "pad_by_number", "pad_by_places", "pixels_to_channels", "spread_channels"]


def cut(x: Tensor, axis: int, first: int, last: int, step: int = 1) -> Tensor:
    """Return a part along an axis."""
    if not first and last == x.shape[axis] and step == 1:
        return x
    return x[(*(slice(None),) * axis, slice(first, last, step))]


def cut_into(x: Tensor, axis: int, sizes: Sequence[int]) -> list[Tensor]:
    """Return parts of some sizes along an axis, from its first element on."""
    return [cut(x, axis, last - size, last) for last, size in zip(accumulate(sizes), sizes, strict=True)]


def pad_by_number(x: Tensor, pairs: Sequence[tuple[int, int]], value: Any) -> Tensor:
    """Return a tensor padded with a number; widths below 0 are cut off."""
    if any(a < 0 or b < 0 for a, b in pairs):
        x = x[tuple(slice(max(-a, 0), n - max(-b, 0)) for n, (a, b) in zip(x.shape, pairs, strict=True))]
    grown = [(max(a, 0), max(b, 0)) for a, b in pairs]
    value = bool(value) if x.dtype.is_bool else int(value) if x.dtype.is_integer else float(value)
    return lt.pad(x, grown, value) if any(map(any, grown)) else x


def pad_by_places(x: Tensor, pairs: Sequence[tuple[int, int]], mode: str) -> Tensor:
    """Return a tensor padded with its own elements: "reflect", "edge" or "wrap"; widths below 0 are cut off."""
    for axis, (a, b) in enumerate(pairs):
        if (a, b) != (0, 0):
            own = np.arange(x.shape[axis])[max(-a, 0) : x.shape[axis] - max(-b, 0)]
            places: np.ndarray[Any, Any] = np.pad(own, (max(a, 0), max(b, 0)), cast("Any", mode))
            x = lt.take(x, places, axis)
    return x


def spread_channels(x: Tensor, size: int) -> Tensor:
    """Return images (..., c, h, w) whose channels, ``size`` squared by ``size`` squared, became blocks of pixels."""
    *lead, c, h, w = x.shape
    d, channels = len(lead), c // (size * size)
    parts = lt.reshape(x, (*lead, channels, size, size, h, w))
    turned = lt.permute(parts, (*range(d), d, d + 3, d + 1, d + 4, d + 2))
    return lt.reshape(turned, (*lead, channels, h * size, w * size))


def pixels_to_channels(x: Tensor, size: int) -> Tensor:
    """Return images (..., c, h, w) whose blocks of pixels, ``size`` by ``size``, became channels."""
    *lead, c, h, w = x.shape
    d = len(lead)
    parts = lt.reshape(x, (*lead, c, h // size, size, w // size, size))
    turned = lt.permute(parts, (*range(d), d, d + 2, d + 4, d + 1, d + 3))
    return lt.reshape(turned, (*lead, c * size * size, h // size, w // size))
