"""The rule of ``conv1d`` and ``conv2d``: one signal for each filter, the mean over its positions.

Layer: nn. Source: the seeds' neural tweening. It is the cheap one: taps meet the first patch of the input alone.
Invariant: element k of a kernel, channels first, goes with element k of a sample.
"""

from __future__ import annotations

import math

from loom import tensor
from loom.nn.tween.link import Handed, Link, Move, clip_finite
from loom.nn.tween.rules.dense import through_slope
from loom.tensor import Tensor, matmul

__all__ = ["chain_conv"]


def chain_conv(link: Link, signal: Tensor, rate: Tensor) -> Handed | None:
    """Down: clip(W mean(L) / sqrt(filters)) at the first places; W: clip(r x[k mod n] mean(G)), b: clip(r mean(G))."""
    config, before = link.config, through_slope(link, signal)
    if before is None:
        return None
    flat = tensor.reshape(link.x, (link.samples, -1))
    kernels = tensor.reshape(link.matrix("weight"), (signal.shape[1], -1))
    count = kernels.shape[1]
    pushed = _of_filters(tensor.clip(before * link.depth, -config.link_clip, config.link_clip))
    handed = clip_finite(matmul(pushed, kernels) * (1 / math.sqrt(kernels.shape[0])), config.link_clip)
    down = tensor.reshape(_fit(handed, flat.shape[1]), link.x.shape)
    means, moves = _of_filters(signal), dict[str, Move]()
    if "weight" in link.weights:
        taps = tensor.concat([flat] * -(-count // flat.shape[1]), 1)[:, :count]
        product = matmul(means, taps, transpose_a=True) * link.speed("weight", rate)
        moves["weight"] = Move(tensor.reshape(product, link.matrix("weight").shape), config.update_clip)
    if "bias" in link.weights:
        moves["bias"] = Move(means.sum(0) * link.speed("bias", rate), config.update_clip)
    return Handed([down], moves)


def _of_filters(x: Tensor) -> Tensor:
    """Return the mean of each filter's positions, (samples, filters)."""
    return tensor.reshape(x, (*x.shape[:2], -1)).mean(2)


def _fit(x: Tensor, width: int) -> Tensor:
    """Return rows with so many elements: cut, or zeros behind."""
    have = x.shape[1]
    return x[:, :width] if have >= width else tensor.pad(x, [(0, 0), (0, width - have)])
