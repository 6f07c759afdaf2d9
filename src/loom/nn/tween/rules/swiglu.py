"""The rule of ``swiglu``: through the last projection alone.

Layer: nn. Source: the seeds' neural tweening; what its ``x_i`` is for W_down, the block's inner features, is what that
matrix multiplies. Invariant: no signal goes through the gate.
"""

from __future__ import annotations

import math

from loom import tensor
from loom.nn.tween.link import Handed, Link, Move, clip_finite, rows, wide
from loom.tensor import Tensor, matmul

__all__ = ["chain_swiglu"]


def chain_swiglu(link: Link, signal: Tensor, rate: Tensor) -> Handed:
    """Down: clip(W_down L / sqrt(n)), its first features; W_down: clip(r h G, .5); gate, up: clip(.8 r x mean(G))."""
    config, width = link.config, signal.shape[-1]
    pushed = tensor.clip(signal * link.depth, -config.link_clip, config.link_clip)
    down = clip_finite(
        matmul(pushed, link.matrix("down_weight"), transpose_b=True) * (1 / math.sqrt(width)), config.link_clip
    )
    inner = down.shape[-1]
    if inner >= width:
        down = down[..., :width]
    else:
        down = tensor.pad(down, [*[(0, 0)] * (down.ndim - 1), (0, width - inner)])
    moves: dict[str, Move] = {}
    if "down_weight" in link.weights:
        (found,) = tensor.grad(link.output, [link.weights["down_weight"]], seed=signal.astype(link.output.dtype))
        moves["down_weight"] = Move(wide(found) * link.speed("down_weight", rate), config.block_clip)
    if "down_bias" in link.weights:
        moves["down_bias"] = Move(rows(signal).sum(0) * link.speed("down_bias", rate), config.block_clip)
    means = rows(signal).mean(1, keepdims=True)
    product = tensor.reshape((rows(link.x) * means).sum(0), (-1, 1))
    for name in ("gate", "up"):
        key, bias = f"{name}_weight", f"{name}_bias"
        if key in link.weights:
            step = tensor.broadcast_to(product, link.weights[key].shape) * (link.speed(key, rate) * 0.8)
            moves[key] = Move(step, config.block_clip)
        if bias in link.weights:
            step = tensor.broadcast_to(means.sum(0), link.weights[bias].shape) * (link.speed(bias, rate) * 0.5)
            moves[bias] = Move(step, config.block_clip)
    return Handed([down], moves)
