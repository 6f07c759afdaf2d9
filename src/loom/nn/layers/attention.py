"""``multi_head_attention``: every token looks at others, heads at a time.

Layer: nn. First weights as in ``swiglu``. Masked scores are a large negative number, whose chance is exactly 0.
Invariant: a token that may see none (padding before the first word) gets zeros from the heads, never NaN.
"""

from __future__ import annotations

import math

from loom import tensor
from loom.nn.layers.dense import linear
from loom.nn.layers.registry import Context, Weights, layer
from loom.nn.layers.swiglu import glorot
from loom.nn.spec.layers.attention import MultiHeadAttention
from loom.tensor import Tensor
from loom.tensor.neural.rotary import rotate, turns

__all__: list[str] = []

_UNSEEN = {"f16": -6.0e4}
"""The score of what must not be seen, where the type does not hold -1e30."""


@layer(MultiHeadAttention, glorot)
def apply(config: MultiHeadAttention, weights: Weights, x: Tensor, context: Context) -> Tensor:
    """Record the layer.

    Sources: A. Vaswani and others, "Attention is all you need" (2017); J. Ainslie and others, "GQA" (2023); J. Su and
    others, "RoFormer" (2021).
    """
    batch, tokens, width = x.shape
    size, groups = config.head_size(width), config.num_heads // config.kv_heads

    def heads(name: str, count: int) -> Tensor:
        made = linear(x, weights[f"{name}_weight"], weights.get(f"{name}_bias"))
        return tensor.permute(tensor.reshape(made, (batch, tokens, count, size)), (0, 2, 1, 3))

    q, k, v = heads("q", config.num_heads), heads("k", config.kv_heads), heads("v", config.kv_heads)
    if config.rope_freq_base is not None:
        turned = turns(tokens, size // 2, config.rope_freq_base, context.record.dtype, context.record.device)
        q, k = rotate(q, turned), rotate(k, turned)
    if groups > 1:
        q = tensor.reshape(q, (batch, config.kv_heads, groups, tokens, size))
        k, v = tensor.expand_dims(k, 2), tensor.expand_dims(v, 2)
    found = tensor.reshape(_attend(config, q, k, v, context), (batch, config.num_heads, tokens, size))
    joined = tensor.reshape(tensor.permute(found, (0, 2, 1, 3)), (batch, tokens, config.num_heads * size))
    return linear(joined, weights["o_weight"], weights.get("o_bias"))


def _attend(config: MultiHeadAttention, q: Tensor, k: Tensor, v: Tensor, context: Context) -> Tensor:
    scores = tensor.matmul(q, k, transpose_b=True) * (1 / math.sqrt(q.shape[-1]))
    seen = _mask(config, scores, context)
    if seen is None:
        return tensor.matmul(tensor.softmax(scores), v)
    chances = tensor.softmax(tensor.where(seen, scores, _UNSEEN.get(scores.dtype.name, -1e30)))
    if config.padding_mask is not None:
        chances = tensor.where(seen, chances, 0)
    return tensor.matmul(chances, v)


def _mask(config: MultiHeadAttention, scores: Tensor, context: Context) -> Tensor | None:
    """Return true where a query's token (last but one axis) may see a key's (last), None if all see all."""
    tokens = scores.shape[-1]
    seen = None
    if config.causal:
        at = tensor.arange(tokens, dtype="i32")
        seen = tensor.expand_dims(at, 1) >= at
    if config.padding_mask is not None:
        mask = context.record.inputs[config.padding_mask]
        there = tensor.reshape(mask != 0, (mask.shape[0], *(1,) * (scores.ndim - 2), tokens))
        seen = there if seen is None else there & seen
    return seen
