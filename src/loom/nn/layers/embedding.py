"""``embedding``: a row of a table for each id.

Layer: nn. First weights: even within +-1 / sqrt(embedding_dim). Invariant: an id outside the table gives zeros.
"""

from __future__ import annotations

import math
from typing import Any

from loom import tensor
from loom.core.dtype import i32
from loom.nn.layers.registry import Context, Key, Weights, layer
from loom.nn.spec import Embedding, Shape
from loom.tensor import Tensor

__all__: list[str] = []


def _init(config: Embedding, shapes: dict[str, Shape], key: Key) -> dict[str, Any]:
    return {"weight": key.spread("weight", shapes["weight"], 1 / math.sqrt(config.embedding_dim))}


@layer(Embedding, _init, any_dtype=True)
def apply(config: Embedding, weights: Weights, x: Tensor, context: Context) -> Tensor:
    """Record the lookup; ids that are floats are whole numbers."""
    del config, context
    return tensor.gather(weights["weight"], x if x.dtype.is_integer else x.astype(i32))
