"""The rule of ``multi_head_attention``: through the output's weights, then each head's own.

Layer: nn. Source: the seeds' neural tweening; what W_o multiplies, the joined heads, is its input, and heads that share
keys and values give those the sum. Invariant: no signal goes from token to token: chances count as given.
"""

from __future__ import annotations

import math

from loom import tensor
from loom.nn.spec.layers.attention import MultiHeadAttention
from loom.nn.tween.link import Handed, Link, Move, clip_finite, rows, wide
from loom.tensor import Tensor, matmul

__all__ = ["chain_attention"]

_OF_SCORES = 0.3
"""The share of queries and keys in what is handed down."""
_OF_MOVES = 0.1
"""The share of the rate that queries and keys move by."""


def chain_attention(link: Link, signal: Tensor, rate: Tensor) -> Handed:
    """Down: clip((H W_v + .3 (H W_q + H W_k)) / sqrt(features)) of H = L W_o / sqrt(d), a head's signal."""
    config = link.config
    pushed = tensor.clip(signal * link.depth, -config.link_clip, config.link_clip)
    heads = _of_heads(link, pushed)
    grouped = _sum_groups(link, heads)
    down = matmul(grouped, link.matrix("v_weight"), transpose_b=True)
    scores = matmul(heads, link.matrix("q_weight"), transpose_b=True)
    scores = scores + matmul(grouped, link.matrix("k_weight"), transpose_b=True)
    down = clip_finite((down + scores * _OF_SCORES) * (1 / math.sqrt(heads.shape[-1])), config.link_clip)
    return Handed([down], _moves(link, signal, rate))


def _of_heads(link: Link, signal: Tensor) -> Tensor:
    """Return the signal of the joined heads, (samples, tokens, heads size)."""
    found = matmul(signal, link.matrix("o_weight"), transpose_b=True)
    return found * (1 / math.sqrt(signal.shape[-1]))


def _sum_groups(link: Link, heads: Tensor) -> Tensor:
    """Return the sum over query heads that share keys and values."""
    config, (batch, tokens, width) = _config(link), heads.shape
    groups = config.num_heads // config.kv_heads
    if groups == 1:
        return heads
    size = width // config.num_heads
    parted = tensor.reshape(heads, (batch, tokens, config.kv_heads, groups, size))
    return tensor.reshape(parted.sum(3), (batch, tokens, config.kv_heads * size))


def _config(link: Link) -> MultiHeadAttention:
    assert isinstance(link.layer, MultiHeadAttention)
    return link.layer


def _moves(link: Link, signal: Tensor, rate: Tensor) -> dict[str, Move]:
    config, moves = link.config, dict[str, Move]()
    heads = _of_heads(link, signal)
    grouped = _sum_groups(link, heads)
    if "o_weight" in link.weights:
        (found,) = tensor.grad(link.output, [link.weights["o_weight"]], seed=signal.astype(link.output.dtype))
        moves["o_weight"] = Move(wide(found) * link.speed("o_weight", rate), config.block_clip)
    if "v_weight" in link.weights:
        product = matmul(rows(link.x), rows(grouped), transpose_a=True)
        moves["v_weight"] = Move(product * link.speed("v_weight", rate), config.block_clip)
    for key, total in (("o_bias", signal), ("v_bias", grouped)):
        if key in link.weights:
            moves[key] = Move(rows(total).sum(0) * link.speed(key, rate), config.block_clip)
    for key, given, count in (
        ("q_weight", heads, _config(link).num_heads),
        ("k_weight", grouped, _config(link).kv_heads),
    ):
        if key in link.weights:
            moves[key] = Move(_by_heads(link, key, given, count, rate) * (1 / link.samples))
    return moves


def _by_heads(link: Link, key: str, heads: Tensor, count: int, rate: Tensor) -> Tensor:
    """Return the sum over samples and tokens of x times clip(.1 r dot(x of the head, its signal), .5)."""
    x, size = rows(link.x), heads.shape[-1] // count
    repeated = tensor.concat([x] * -(-heads.shape[-1] // x.shape[1]), 1)[:, : heads.shape[-1]]
    dots = tensor.reshape(repeated * rows(heads), (-1, count, size)).sum(2)
    speed = rate * (link.rates[key] * _OF_MOVES)
    cut = tensor.clip(dots * speed, -link.config.block_clip, link.config.block_clip)
    product = matmul(x, cut, transpose_a=True)
    spread = tensor.broadcast_to(tensor.expand_dims(product, 2), (*product.shape, size))
    return tensor.reshape(spread, (product.shape[0], count * size))
