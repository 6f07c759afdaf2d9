"""``max_pool`` and ``average_pool``.

Layer: nn. Invariant: padding counts neither as maximum nor in a mean; a maximum's gradient goes to the
first of several.
"""

from __future__ import annotations

import math

import numpy as np

from loom import tensor
from loom.nn.layers.registry import Context, Weights, layer
from loom.nn.spec import AveragePool, MaxPool
from loom.tensor import Tensor

__all__: list[str] = []


def _windows(config: MaxPool | AveragePool, x: Tensor, value: float) -> tuple[Tensor, tuple[int, ...]]:
    """Return the windows of ``x`` (batch, channels, n..), padded with ``value``, and their axes."""
    axes = x.ndim - 2
    sizes, steps, around = (pair[-axes:] for pair in (config.pool_size, config.strides, config.padding))
    padded = tensor.pad(x, [(0, 0), (0, 0), *((p, p) for p in around)], value)
    return tensor.windows(padded, range(2, x.ndim), sizes, steps), tuple(range(x.ndim, x.ndim + axes))


@layer(MaxPool)
def apply_max(config: MaxPool, weights: Weights, x: Tensor, context: Context) -> Tensor:
    """Record the layer."""
    del weights, context
    found, axes = _windows(config, x, -math.inf)
    return found.max(axes)


@layer(AveragePool)
def apply_average(config: AveragePool, weights: Weights, x: Tensor, context: Context) -> Tensor:
    """Record the layer: sums, divided by how many elements of each window are there."""
    del weights
    found, axes = _windows(config, x, 0.0)
    total = found.sum(axes)
    if not any(config.padding[-len(axes) :]):
        return total / math.prod(config.pool_size[-len(axes) :])
    counts = np.ones((), np.float64)
    pairs = zip(
        x.shape[2:],
        config.pool_size[-len(axes) :],
        config.strides[-len(axes) :],
        config.padding[-len(axes) :],
        strict=True,
    )
    for n, size, step, around in pairs:
        begin = np.arange((n + 2 * around - size) // step + 1) * step - around
        there = np.minimum(begin + size, n) - np.maximum(begin, 0)
        counts = np.multiply.outer(counts, there)
    return total / tensor.array(counts, context.record.dtype, on=context.record.device)
