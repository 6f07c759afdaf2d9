"""The rule of any layer: its exact vector-Jacobian product, normalised and bounded as the dense one is.

Layer: nn. Invariant: layers within are moved by the gradients of their own weights.
"""

from __future__ import annotations

import math

from loom import tensor
from loom.nn.tween.link import Handed, Link, Move, clip_finite, fan, wide
from loom.tensor import Tensor

__all__ = ["chain_exact", "each_sample", "gap_exact", "gradient_moves"]

_PASSED = frozenset((
    "rnn", "lstm", "multi_head_attention", "swiglu", "layer_norm", "rms_norm", "batch_norm", "conv1d", "conv2d",
    "dropout", "activation",
))  # fmt: skip
"""Layers that hand a target of their input's shape down as it is."""


def chain_exact(link: Link, signal: Tensor, rate: Tensor) -> Handed:
    """Down: clip(J^T clip(G D)) / sqrt(fan)); weights: clip(r J_w^T G), the mean over samples."""
    config = link.config
    pushed = tensor.clip(signal * link.depth, -config.link_clip, config.link_clip)
    scale = 1 / math.sqrt(fan(link.layer, link.shape))
    down = [None if d is None else clip_finite(d * scale, config.link_clip) for d in _products(link, pushed)]
    return Handed(down, gradient_moves(link, signal, rate, config.update_clip))


def gap_exact(link: Link, target: Tensor, rate: Tensor) -> Handed:
    """Down: the target itself where the layer keeps the shape, else the input plus J^T gap / sqrt(fan)."""
    config, away = link.config, target - link.result
    moves = gradient_moves(link, away * each_sample(rate, away), None, None)
    is_kept = len(link.inputs) == 1 and link.inputs[0].shape == target.shape and link.layer.kind in _PASSED
    if is_kept and not config.exact_links:
        return Handed([target], moves)
    scale = 1 / math.sqrt(fan(link.layer, link.shape))
    down = [
        None if d is None else wide(x) + clip_finite(d * scale, config.link_clip)
        for x, d in zip(link.inputs, _products(link, away), strict=True)
    ]
    return Handed(down, moves)


def each_sample(values: Tensor, like: Tensor) -> Tensor:
    """Return one number for each sample so that it multiplies all elements of it."""
    return tensor.reshape(values, (values.shape[0], *(1,) * (like.ndim - 1)))


def gradient_moves(link: Link, signal: Tensor, rate: Tensor | None, bound: float | None) -> dict[str, Move]:
    """Return the moves of all weights along the gradient of a signal, the mean over samples; None: it has the rate."""
    if not link.weights:
        return {}
    found = tensor.grad(link.output, list(link.weights.values()), seed=signal.astype(link.output.dtype))
    moves: dict[str, Move] = {}
    for key, g in zip(link.weights, found, strict=True):
        speed = link.speed(key, rate) * (link.config.new_share if g.ndim > 1 else 1.0)
        moves[key] = Move(wide(g) * speed, bound, g.ndim > 1)
    return moves


def _products(link: Link, signal: Tensor) -> list[Tensor | None]:
    """Return the signal's product with the Jacobian of each input; None for one of integers."""
    floats = [x for x in link.inputs if x.dtype.is_float]
    if not floats:
        return [None for _ in link.inputs]
    found = iter(tensor.grad(link.output, floats, seed=signal.astype(link.output.dtype)))
    return [wide(next(found)) if x.dtype.is_float else None for x in link.inputs]
