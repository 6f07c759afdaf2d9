"""``max_pool`` and ``average_pool``.

Layer: nn. Invariant: padding counts neither as maximum nor in a mean; a maximum's gradient goes to the
first of several.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from loom import tensor
from loom.core.arrays import Array
from loom.nn.layers.registry import Context, Weights, layer
from loom.nn.spec.layers.pool import AveragePool, MaxPool
from loom.tensor import Tensor
from loom.tensor.arrays.convolution import window_max

__all__: list[str] = []


def _pad(config: MaxPool | AveragePool, x: Tensor, value: float) -> tuple[Tensor, range, Any, Any]:
    """Return ``x`` (batch, channels, n..) padded with ``value``; the axes, sizes and steps of the windows."""
    axes = x.ndim - 2
    sizes, steps, around = (pair[-axes:] for pair in (config.pool_size, config.strides, config.padding))
    padded = tensor.pad(x, [(0, 0), (0, 0), *((p, p) for p in around)], value)
    return padded, range(2, x.ndim), sizes, steps


@layer(MaxPool)
def apply_max(config: MaxPool, weights: Weights, x: Tensor, context: Context) -> Tensor:
    """Record the layer."""
    del weights, context
    return window_max(*_pad(config, x, -math.inf))


@layer(AveragePool)
def apply_average(config: AveragePool, weights: Weights, x: Tensor, context: Context) -> Tensor:
    """Record the layer: sums, divided by how many elements of each window are there."""
    del weights
    padded, axes, sizes, steps = _pad(config, x, 0.0)
    total = tensor.windows(padded, axes, sizes, steps).sum(tuple(range(x.ndim, x.ndim + len(axes))))
    if not any(config.padding[-len(axes) :]):
        return total / math.prod(sizes)
    counts: np.ndarray[Any, Any] = np.ones((), np.float64)
    pairs: Iterable[tuple[int, int, int, int]] = zip(
        x.shape[2:], sizes, steps, config.padding[-len(axes) :], strict=True
    )
    for n, size, step, around in pairs:
        begin: Array = np.arange((n + 2 * around - size) // step + 1) * step - around
        there = np.minimum(begin + size, n) - np.maximum(begin, 0)
        counts = np.multiply.outer(counts, there)
    return total / tensor.array(counts, context.record.dtype, on=context.record.device)
