"""The rules of ``dense`` and ``stitch``.

Layer: nn. Source: the seeds' neural tweening (chain and gap mode). Invariant: a signal's share of an input is divided
by the root of the outputs it is summed over, so that depth alone does not make it grow.
"""

from __future__ import annotations

import math

from loom import tensor
from loom.nn.spec import Activation
from loom.nn.tween.link import Handed, Link, Move, clip_finite, outer, rows
from loom.nn.tween.rules.exact import each_sample
from loom.nn.tween.slopes import ending, slope
from loom.tensor import Tensor, matmul

__all__ = ["chain_dense", "gap_dense", "through_slope"]


def through_slope(link: Link, signal: Tensor) -> Tensor | None:
    """Return G phi'(A); None where the output does not tell the derivative."""
    found = slope(ending(link.layer) or Activation.LINEAR, link.result, link.config.derivative_eps)
    return None if found is None else signal if isinstance(found, float) else signal * found


def chain_dense(link: Link, signal: Tensor, rate: Tensor) -> Handed | None:
    """Down: clip(W clip(G phi' D) / sqrt(out)); W: momentum of clip(r x G phi'); b: clip(r G phi')."""
    config, before = link.config, through_slope(link, signal)
    if before is None:
        return None
    weight = link.matrix("weight")
    down = None
    if link.inputs[0].dtype.is_float:
        pushed = tensor.clip(before * link.depth, -config.link_clip, config.link_clip)
        down = matmul(pushed, weight, transpose_b=True) * (1 / math.sqrt(weight.shape[1]))
        down = clip_finite(down, config.link_clip)
    return Handed([down], _moves(link, before, rate, config.update_clip))


def gap_dense(link: Link, target: Tensor, rate: Tensor) -> Handed:
    """Down: the mean of the targets, weighted by W over the sum of |W|; W: momentum of .01 r x gap; b: .1 r gap."""
    config, weight = link.config, link.matrix("weight")
    down = None
    if link.inputs[0].dtype.is_float:
        total = abs(weight).sum(1)
        is_told = total > config.total_weight_threshold
        mean = matmul(target, weight, transpose_b=True) / tensor.where(is_told, total, 1.0)
        down = tensor.where(is_told, mean, link.x)
    away = target - link.result
    return Handed([down], _moves(link, away * each_sample(rate, away), None, None))


def _moves(link: Link, signal: Tensor, rate: Tensor | None, bound: float | None) -> dict[str, Move]:
    """Return x^T G and the sum of G, G taken times the speed first: it is the small one of the two."""
    found: dict[str, Move] = {}
    if "weight" in link.weights:
        speed = link.speed("weight", rate) * link.config.new_share
        found["weight"] = Move(outer(rows(link.x), rows(signal) * speed), bound, by_momentum=True)
    if "bias" in link.weights:
        found["bias"] = Move((rows(signal) * link.speed("bias", rate)).sum(0), bound)
    return found
