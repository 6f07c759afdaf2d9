"""``softmax`` in ten variants, all along the last axis.

Layer: nn. Formulas and sources: ``loom.nn.spec.Variant``. Gumbel noise is added in training alone; the temperature
divides input and noise. Invariant: every variant's output is a distribution, one per row for ``grid``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import accumulate
from operator import mul

import numpy as np

from loom import tensor
from loom.core.arrays import Array
from loom.core.dtype import u32
from loom.nn.base.random import RandomStream, gumbels
from loom.nn.layers.entmax import entmax
from loom.nn.layers.registry import Context, Weights, layer
from loom.nn.spec.layers.softmax import Softmax, Variant
from loom.tensor import Tensor

__all__: list[str] = []


@layer(Softmax)
def apply(config: Softmax, weights: Weights, x: Tensor, context: Context) -> Tensor:
    """Record the variant."""
    del weights
    if config.variant is Variant.GUMBEL and config.noise and context.training:
        x = x + gumbels(context.draw(x.shape, RandomStream.GUMBEL)).astype(x.dtype)
    z = x if config.temperature == 1 else x / config.temperature
    made = _VARIANTS.get(config.variant)
    return tensor.softmax(z) if made is None else made(config, z, context)


def _grid(config: Softmax, z: Tensor, context: Context) -> Tensor:
    del context
    return tensor.reshape(tensor.softmax(tensor.reshape(z, (*z.shape[:-1], config.rows, config.cols))), z.shape)


def _mask(config: Softmax, z: Tensor, context: Context) -> Tensor:
    there = tensor.array(np.array(config.mask), on=context.record.device)
    return tensor.softmax(tensor.where(there, z, -math.inf))


def _mixture(config: Softmax, z: Tensor, context: Context) -> Tensor:
    shares = tensor.array(np.array(config.weights)[:, None], z.dtype, on=context.record.device)
    parts = tensor.softmax(tensor.reshape(z, (*z.shape[:-1], len(config.weights), -1)))
    return (parts * shares).sum(-2)


def _hierarchical(config: Softmax, z: Tensor, context: Context) -> Tensor:
    """Return the chances along the path to each leaf, level after level."""
    del context
    lead = z.shape[:-1]
    sizes: list[int] = list(accumulate(config.levels, mul))
    if z.shape[-1] == sizes[-1]:  # one number per leaf: a node has the mean of those below
        logits = [tensor.reshape(z, (*lead, n, -1)).mean(-1) for n in sizes]
    else:
        logits = tensor.split(z, sizes, -1)
    path = tensor.softmax(logits[0])
    for level, children in zip(logits[1:], config.levels[1:], strict=True):
        here = tensor.softmax(tensor.reshape(level, (*lead, -1, children)))
        path = tensor.reshape(here * tensor.expand_dims(path, -1), level.shape)
    return path


def _adaptive(config: Softmax, z: Tensor, context: Context) -> Tensor:
    """Return head chances of the head's items, and of the others those of their cluster's token times their own."""
    items = sum(map(len, config.clusters))
    order = np.array([i for cluster in config.clusters for i in cluster])
    head, *tails = tensor.split(_pick(z[..., :items], order, context), [len(c) for c in config.clusters], -1)
    if z.shape[-1] > items:
        tokens = [z[..., items:]] if tails else []
    else:
        tokens = [tail.mean(-1, keepdims=True) for tail in tails]
    first = tensor.softmax(tensor.concat([head, *tokens], -1))
    known = head.shape[-1]
    made = [first[..., :known]]
    for i, tail in enumerate(tails):
        made.append(first[..., known + i : known + i + 1] * tensor.softmax(tail))
    return _pick(tensor.concat(made, -1), np.argsort(order), context)


def _pick(x: Tensor, order: Array, context: Context) -> Tensor:
    """Return the last axis in another order."""
    at = tensor.array(order, u32, on=context.record.device)
    rows = tensor.gather(tensor.permute(x, (x.ndim - 1, *range(x.ndim - 1))), at)
    return tensor.permute(rows, (*range(1, x.ndim), 0))


def _sparse(config: Softmax, z: Tensor, context: Context) -> Tensor:
    del config, context
    return entmax(z, 2.0)


def _entmax(config: Softmax, z: Tensor, context: Context) -> Tensor:
    del context
    return tensor.softmax(z) if config.alpha == 1 else entmax(z, config.alpha)


_VARIANTS: dict[Variant, Callable[[Softmax, Tensor, Context], Tensor]] = {
    Variant.GRID: _grid,
    Variant.HIERARCHICAL: _hierarchical,
    Variant.MASKED: _mask,
    Variant.SPARSE: _sparse,
    Variant.ADAPTIVE: _adaptive,
    Variant.MIXTURE: _mixture,
    Variant.ENTMAX: _entmax,
}
"""Those that are more than the standard softmax of z."""
