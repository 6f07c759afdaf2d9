"""Windows over images with channels first, which Loom's functions have last: convolutions and pools.

Layer: importers. Invariant: what is permuted are views, and where windows lie is decided on the host, by shapes alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import reduce
from typing import Any

import numpy as np

from loom import tensor as lt
from loom.core.dtype import DType
from loom.core.late.dataclass import dataclass
from loom.importers.operatorcalls import OperatorCall
from loom.tensor.arrays.convolution import window_max
from loom.tensor.arrays.tensor import Tensor

__all__ = [
    "ImageWindows",
    "by_channel",
    "channels_first",
    "channels_last",
    "filters_last",
    "least_of",
    "places_of_largest",
]

Numbers = np.ndarray[Any, Any]


def channels_last(x: Tensor) -> Tensor:
    """Return images (n, c, *size) as (n, *size, c)."""
    return lt.permute(x, (0, *range(2, x.ndim), 1))


def channels_first(x: Tensor) -> Tensor:
    """Return images (n, *size, c) as (n, c, *size)."""
    return lt.permute(x, (0, x.ndim - 1, *range(1, x.ndim - 1)))


def filters_last(weight: Tensor) -> Tensor:
    """Return weights (filters, channels, *window) as (*window, channels, filters)."""
    return lt.permute(weight, (*range(2, weight.ndim), 1, 0))


def by_channel(a: Tensor, rank: int) -> Tensor:
    """Return a number for each channel as it goes with images of a rank."""
    return lt.reshape(a, (-1, *(1,) * (rank - 2)))


def least_of(dtype: DType) -> Any:
    """Return the number that no other of a dtype is below."""
    return -math.inf if dtype.is_float else dtype.minimum


@dataclass(frozen=True)
class ImageWindows:
    """How windows lie: sizes, steps, gaps between their places, widths of padding before and after, by axis."""

    sizes: list[int]
    steps: list[int]
    gaps: list[int]
    pads: list[tuple[int, int]]

    @property
    def reach(self) -> list[int]:
        """How far the places of a window lie apart, ends counted in."""
        return [gap * (k - 1) + 1 for k, gap in zip(self.sizes, self.gaps, strict=True)]

    def counts(self, lengths: Sequence[int]) -> list[int]:
        """Return how many windows lie along each axis."""
        grown = [n + a + b for n, (a, b) in zip(lengths, self.pads, strict=True)]
        return [(n - r) // s + 1 for n, r, s in zip(grown, self.reach, self.steps, strict=True)]

    def with_last_windows(self, lengths: Sequence[int]) -> ImageWindows:
        """Return these with the padding of a last window that starts inside the image or the padding before it."""
        pads: list[tuple[int, int]] = []
        for n, step, reach, (before, after) in zip(lengths, self.steps, self.reach, self.pads, strict=True):
            whole = n + before + after
            places = -(-(whole - reach) // step) + 1
            if (places - 1) * step >= n + before:
                places -= 1
            pads.append((before, after + max((places - 1) * step + reach - whole, 0)))
        return replace(self, pads=pads)

    def pad(self, x: Tensor, value: Any = 0) -> Tensor:
        """Return images, channels first, with a number around them."""
        return lt.pad(x, [(0, 0), (0, 0), *self.pads], value) if any(map(any, self.pads)) else x

    def over(self, padded: Tensor) -> Tensor:
        """Return the elements of each window of padded images, along axes behind the others."""
        return lt.windows(padded, range(2, padded.ndim), self.sizes, self.steps, self.gaps)

    def flat_over(self, padded: Tensor) -> Tensor:
        """Return the elements of each window of padded images, along one axis behind the others."""
        found = self.over(padded)
        return lt.reshape(found, (*found.shape[: padded.ndim], math.prod(self.sizes)))

    def largest(self, padded: Tensor) -> Tensor:
        """Return the largest element of each window of padded images."""
        d = len(self.sizes)
        if set(self.gaps) == {1}:
            return window_max(padded, range(2, d + 2), self.sizes, self.steps)
        return lt.max(self.over(padded), axis=tuple(range(d + 2, 2 * d + 2)))

    def convolve(self, x: Tensor, weight: Tensor, groups: int) -> Tensor:
        """Return a convolution of images, channels first, with weights of filters last; its channels are last."""
        images = channels_last(x)
        images = lt.pad(images, [(0, 0), *self.pads, (0, 0)]) if any(map(any, self.pads)) else images
        return lt.convolve(images, weight, stride=self.steps, dilation=self.gaps, groups=groups)

    def _along(self, lengths: Sequence[int]) -> list[Numbers]:
        """Return where the places of windows lie along each axis, (windows, size)."""
        return [
            np.arange(count)[:, None] * step + np.arange(k) * gap - before
            for count, step, k, gap, (before, _) in zip(
                self.counts(lengths), self.steps, self.sizes, self.gaps, self.pads, strict=True
            )
        ]

    def positions(self, lengths: Sequence[int], *, columns: bool = False) -> Numbers:
        """Return where each place of each window lies in an image, (*windows, places); ``columns``: counted by these.

        Outside the image it is no position.
        """
        strides = [math.prod(lengths[:i] if columns else lengths[i + 1 :]) for i in range(len(lengths))]
        return _join([each * n for each, n in zip(self._along(lengths), strides, strict=True)], np.add)

    def inside(self, lengths: Sequence[int]) -> Numbers:
        """Return which places of each window lie in the image, (*windows, places)."""
        here = [(each >= 0) & (each < n) for each, n in zip(self._along(lengths), lengths, strict=True)]
        return _join(here, np.logical_and)

    def shares(self, lengths: Sequence[int], around: Sequence[tuple[int, int]]) -> Numbers:
        """Return how many places of each window lie in the image, or in padding of the widths ``around`` it."""
        found: Numbers = np.ones((), np.int64)
        for each, n, (before, after) in zip(self._along(lengths), lengths, around, strict=True):
            found = np.multiply.outer(found, ((each >= -before) & (each < n + after)).sum(-1))
        return found


def _join(axes: Sequence[Numbers], join: Callable[[Numbers, Numbers], Numbers]) -> Numbers:
    """Return what is joined of numbers by axis, (windows, size) each: (*windows, places)."""
    d = len(axes)
    spread = [
        a.reshape([1] * i + [len(a)] + [1] * (d - 1) + [a.shape[1]] + [1] * (d - 1 - i)) for i, a in enumerate(axes)
    ]
    found = reduce(join, spread)
    return found.reshape(*found.shape[:d], -1)


def places_of_largest(call: OperatorCall, seen: Tensor, table: Numbers) -> Tensor:
    """Return what a table tells of the largest element of each window: (..., windows, places), as ``seen`` is."""
    best = lt.cast(lt.argmax(seen, -1, keepdims=True), "i64")
    return lt.take_along_axis(lt.broadcast_to(call.array(table), seen.shape), best, -1)[..., 0]
