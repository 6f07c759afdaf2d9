"""``multi_head_attention``: every token looks at others, heads at a time.

Layer: nn. First weights as in ``swiglu``, gains 1. Masked scores are a large negative number, whose chance is exactly
0. Invariant: a token that may see none (padding before the first word) gets zeros from the heads, never NaN.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from loom import tensor
from loom.nn.layers.dense import linear
from loom.nn.layers.registry import Context, Key, Weights, layer
from loom.nn.layers.swiglu import glorot
from loom.nn.spec import Shape
from loom.nn.spec.layers.attention import MultiHeadAttention
from loom.tensor import Tensor
from loom.tensor.neural.relative import relative_buckets
from loom.tensor.neural.rotary import rotate, turns, turns_at

__all__: list[str] = []

_GAINS = ("q_norm", "k_norm")


def _init(config: MultiHeadAttention, shapes: dict[str, Shape], key: Key) -> dict[str, Any]:
    return glorot(config, shapes, key) | {name: np.ones(shapes[name], np.float32) for name in _GAINS if name in shapes}


@layer(MultiHeadAttention, _init)
def apply(config: MultiHeadAttention, weights: Weights, x: Tensor, context: Context) -> Tensor:
    """Record the layer.

    Sources: A. Vaswani and others, "Attention is all you need" (2017); J. Ainslie and others, "GQA" (2023); J. Su and
    others, "RoFormer" (2021); C. Raffel and others, "Exploring the limits of transfer learning" (2020).
    """
    batch, tokens, width = x.shape
    size = config.head_size(width)
    q, k, v = project(config, weights, x, context)
    there = None if config.padding_mask is None else context.record.inputs[config.padding_mask] != 0
    if there is not None:  # infinite or no number, padding counts nowhere: not by 0 times it either
        kept = tensor.reshape(there, (batch, 1, tokens, 1))
        k, v = tensor.where(kept, k, 0), tensor.where(kept, v, 0)
    if context.record.cache is not None:
        found = context.record.cache.attend(
            context.place or context.name, q, k, v, factor_of(config, size), config.window
        )
    else:
        found = _attend(config, q, k, v, _bias(config, weights, tokens, context), there)
    joined = tensor.reshape(tensor.permute(found, (0, 2, 1, 3)), (batch, tokens, config.num_heads * size))
    return linear(joined, weights["o_weight"], weights.get("o_bias"))


def project(config: MultiHeadAttention, weights: Weights, x: Tensor, context: Context) -> tuple[Tensor, Tensor, Tensor]:
    """Record queries, keys and values, (batch, heads, tokens, size) each: normalised and rotated as config says."""
    batch, tokens, width = x.shape
    size = config.head_size(width)

    def heads(name: str, count: int) -> Tensor:
        made = linear(x, weights[f"{name}_weight"], weights.get(f"{name}_bias"))
        made = tensor.permute(tensor.reshape(made, (batch, tokens, count, size)), (0, 2, 1, 3))
        if config.qk_norm_epsilon is None or name == "v":
            return made
        return tensor.rms_norm(made, weights[f"{name}_norm"], config.qk_norm_epsilon)

    q, k, v = heads("q", config.num_heads), heads("k", config.kv_heads), heads("v", config.kv_heads)
    if config.rope_freq_base is None:
        return q, k, v
    turned = _turns(config, tokens, size, context)
    return _turn(config, q, turned), _turn(config, k, turned), v


def _turns(config: MultiHeadAttention, tokens: int, size: int, context: Context) -> tuple[Tensor, Tensor]:
    """Return cosine and sine of each token's angles, (tokens, pairs) or (batch, 1, tokens, pairs)."""
    assert config.rope_freq_base is not None
    record, half = context.record, (config.rope_dims or size) // 2
    about = (half, config.rope_freq_base, record.dtype, record.device)
    if record.positions is None:
        return turns(tokens, *about, factors=config.rope_factors)
    key = id(record.positions), *about[:2], config.rope_factors  # layers turn alike: recorded once, and one table
    if key not in record.turns:
        record.turns[key] = turns_at(record.positions, record.context, *about, factors=config.rope_factors)
    return record.turns[key]


def _turn(config: MultiHeadAttention, x: Tensor, turned: tuple[Tensor, Tensor]) -> Tensor:
    rotated = config.rope_dims or x.shape[-1]
    if rotated == x.shape[-1]:
        return rotate(x, turned, interleaved=config.rope_interleaved)
    first = rotate(x[..., :rotated], turned, interleaved=config.rope_interleaved)
    return tensor.concat([first, x[..., rotated:]], -1)


def factor_of(config: MultiHeadAttention, size: int) -> float:
    """Return what scores of heads of this size are multiplied by."""
    return 1 / math.sqrt(size) if config.scale is None else config.scale


def _attend(
    config: MultiHeadAttention, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, there: Tensor | None
) -> Tensor:
    """Return what the heads give, (batch, heads, tokens, size); ``there`` (batch, tokens) is true but for padding."""
    shape, groups = q.shape, config.num_heads // config.kv_heads
    if groups > 1:
        q = tensor.reshape(q, (shape[0], config.kv_heads, groups, *shape[2:]))
        k, v = tensor.expand_dims(k, 2), tensor.expand_dims(v, 2)
    factor = factor_of(config, shape[-1])
    scores = tensor.matmul(q, k, transpose_b=True)
    scores = scores if factor == 1 else scores * factor
    if bias is not None:
        scores = scores + (bias if groups == 1 else tensor.reshape(bias, (config.kv_heads, groups, *bias.shape[1:])))
    seen = _mask(config, scores, there)
    if seen is None:
        found = tensor.matmul(tensor.softmax(scores), v)
    else:
        chances = tensor.softmax(tensor.where(seen, scores, -math.inf))
        if there is not None:
            chances = tensor.where(seen, chances, 0)
        found = tensor.matmul(chances, v)
    return tensor.reshape(found, shape)


def _bias(config: MultiHeadAttention, weights: Weights, tokens: int, context: Context) -> Tensor | None:
    """Return what is added to scores, (heads, tokens, tokens): a number for each distance, of a table."""
    if config.relative_buckets is None:
        return None
    shared = config.relative_table
    table = weights["relative_weight"] if shared is None else context.borrow(shared, "relative_weight")
    at = tensor.arange(tokens, dtype="i32")
    away = at - tensor.expand_dims(at, 1)
    number = relative_buckets(
        away, config.relative_buckets, config.relative_distance, context.record.device, both_ways=not config.causal
    )
    return tensor.permute(tensor.gather(table, number), (2, 0, 1))


def _mask(config: MultiHeadAttention, scores: Tensor, there: Tensor | None) -> Tensor | None:
    """Return true where a query's token (last but one axis) may see a key's (last), None if all see all."""
    tokens = scores.shape[-1]
    seen = None
    if config.causal:
        at = tensor.arange(tokens, dtype="i32")
        before = tensor.expand_dims(at, 1)
        seen = before >= at
        if config.window is not None:
            seen = seen & (before - at < config.window)
    if there is not None:
        there = tensor.reshape(there, (there.shape[0], *(1,) * (scores.ndim - 2), tokens))
        seen = there if seen is None else there & seen
    return seen
