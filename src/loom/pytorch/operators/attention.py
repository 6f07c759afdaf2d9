"""Attention, with dropout of its chances by Loom's draws.

Layer: pytorch. Invariant: a query that may see no key gives zeros, never NaN.
"""

from __future__ import annotations

import math
from typing import Any

from loom import tensor as lt
from loom.importers.promotion import cast, wide
from loom.pytorch.registry import Made, OpCall, operator
from loom.tensor.arrays.tensor import Tensor

__all__: list[str] = []


@operator(
    "scaled_dot_product_attention", "_scaled_dot_product_attention_math", "_scaled_dot_product_flash_attention_for_cpu"
)
def _attention(call: OpCall) -> Made:
    q, k, v, mask = (call.maybe(n) for n in ("query", "key", "value", "attn_mask"))
    assert q is not None
    assert k is not None
    assert v is not None
    p, causal, scale = call.real("dropout_p", 0), call.flag("is_causal"), call.value("scale")
    shared = call.flag("enable_gqa")
    factor = None if scale is None else float(scale)
    if p == 0:
        found = lt.scaled_dot_product_attention(q, k, v, mask, is_causal=causal, scale=factor, enable_gqa=shared)
    else:
        found = _with_dropout(call, q, k, v, mask, p, causal, factor, shared)
    if call.base == "scaled_dot_product_attention":
        return found
    return [found, lt.zeros((0,), "f32")]


def _with_dropout(call: OpCall, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, p: float, causal: bool,
                  scale: float | None, shared: bool) -> Tensor:  # fmt: skip
    if shared and q.shape[-3] != k.shape[-3]:
        times = q.shape[-3] // k.shape[-3]
        k, v = (lt.repeat(t, times, axis=t.ndim - 3) for t in (k, v))
    factor = 1 / math.sqrt(q.shape[-1]) if scale is None else scale
    scores = wide(lt.matmul(q, k, transpose_b=True)) * factor
    seen: Any = None
    if causal:
        rows, columns = scores.shape[-2:]
        seen = lt.expand_dims(lt.arange(rows), 1) >= lt.arange(columns)
    if mask is not None:
        there = mask if mask.dtype.is_bool else mask > -math.inf
        if not mask.dtype.is_bool:
            scores = scores + lt.where(there, cast(mask, scores.dtype), 0.0)
        seen = there if seen is None else lt.logical_and(seen, there)
    if seen is None:
        chances = lt.softmax(scores)
    else:
        seen = lt.broadcast_to(seen, scores.shape)
        chances = lt.where(seen, lt.softmax(lt.where(seen, scores, -math.inf)), 0.0)
    return lt.matmul(cast(call.drop(chances, p)[0], v.dtype), v)
