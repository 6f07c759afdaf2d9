"""``embedding``, ``unembedding`` and ``position_embedding``: a row of a table for each id, or each place.

Layer: nn. First weights: standard normal; of positions with deviation 0.02. Invariant: an id that is not whole or
outside the table gives zeros.
"""

from __future__ import annotations

from typing import Any

from loom import tensor
from loom.core.dtype import i32
from loom.nn.layers.registry import Context, Key, Weights, layer
from loom.nn.spec import Shape
from loom.nn.spec.layers.embedding import Embedding, PositionEmbedding, Unembedding
from loom.tensor import Tensor
from loom.tensor.neural.quantized import multiply_table, take_rows

__all__: list[str] = []


def _init(config: Embedding, shapes: dict[str, Shape], key: Key) -> dict[str, Any]:
    del config
    return {"weight": key.normal("weight", shapes["weight"], 1.0)}


@layer(Embedding, _init, any_dtype=True)
def apply(config: Embedding, weights: Weights, x: Tensor, context: Context) -> Tensor:
    """Record the lookup; of floats that are no whole numbers, NaN among them, as of ids outside the table."""
    del config, context
    if x.dtype.is_integer:
        return take_rows(weights["weight"], x)
    ids = x.astype(i32)
    return take_rows(weights["weight"], tensor.where(ids.astype(x.dtype) == x, ids, -1))


@layer(Unembedding)
def apply_unembedding(config: Unembedding, weights: Weights, x: Tensor, context: Context) -> Tensor:
    """Record the product with the other layer's table, transposed."""
    del weights
    return multiply_table(x, context.borrow(config.table, "weight"))


def _init_positions(config: PositionEmbedding, shapes: dict[str, Shape], key: Key) -> dict[str, Any]:
    del config
    return {"weight": key.normal("weight", shapes["weight"], 0.02)}


@layer(PositionEmbedding, _init_positions)
def apply_positions(config: PositionEmbedding, weights: Weights, x: Tensor, context: Context) -> Tensor:
    """Record the sum with the rows of the tokens' places."""
    del config
    at = context.record.positions
    return x + (weights["weight"][: x.shape[1]] if at is None else tensor.gather(weights["weight"], at))
