"""``embedding``: a row of a table for each id.

Layer: nn. First weights: standard normal. Invariant: an id that is not whole or outside the table gives zeros.
"""

from __future__ import annotations

from typing import Any

from loom import tensor
from loom.core.dtype import i32
from loom.nn.layers.registry import Context, Key, Weights, layer
from loom.nn.spec import Shape
from loom.nn.spec.layers.embedding import Embedding
from loom.tensor import Tensor

__all__: list[str] = []


def _init(config: Embedding, shapes: dict[str, Shape], key: Key) -> dict[str, Any]:
    del config
    return {"weight": key.normal("weight", shapes["weight"], 1.0)}


@layer(Embedding, _init, any_dtype=True)
def apply(config: Embedding, weights: Weights, x: Tensor, context: Context) -> Tensor:
    """Record the lookup; of floats that are no whole numbers, NaN among them, as of ids outside the table."""
    del config, context
    if x.dtype.is_integer:
        return tensor.gather(weights["weight"], x)
    ids = x.astype(i32)
    return tensor.gather(weights["weight"], tensor.where(ids.astype(x.dtype) == x, ids, -1))
