"""``token_pool`` and ``class_token``.

Layer: nn. First weights: normal, with deviation 0.02. Invariant: what stands where the mask says padding, NaN or not,
has no part in the result, and padding behind the tokens changes no bit.
"""

from __future__ import annotations

import math
from typing import Any

from loom import tensor
from loom.nn.layers.registry import Context, Key, Weights, layer
from loom.nn.spec import Shape
from loom.nn.spec.layers.tokens import ClassToken, TokenPool, TokenPoolMode
from loom.tensor import Tensor

__all__: list[str] = []


@layer(TokenPool)
def apply_pool(config: TokenPool, weights: Weights, x: Tensor, context: Context) -> Tensor:
    """Record the layer."""
    del weights
    if config.mode is TokenPoolMode.FIRST:
        return x[:, 0]
    there = _there(config, x, context)
    if there is None:
        of_all = {TokenPoolMode.MEAN: lambda: x.mean(1), TokenPoolMode.MAX: lambda: x.max(1)}
        return of_all.get(config.mode, lambda: x[:, -1])()
    if config.mode is TokenPoolMode.LAST:
        number = tensor.where(there, tensor.arange(x.shape[1], dtype="i32") + 1, 0)
        is_last = (number == number.max(1, keepdims=True)) & (number > 0)
        return tensor.where(tensor.expand_dims(is_last, 2), x, 0).sum(1)
    count = tensor.expand_dims(tensor.where(there, 1.0, 0.0).astype(x.dtype).sum(1), 1)
    seen = tensor.expand_dims(there, 2)
    if config.mode is TokenPoolMode.MEAN:
        return tensor.where(seen, x, 0).sum(1) / tensor.maximum(count, 1)
    return tensor.where(count > 0, tensor.where(seen, x, -math.inf).max(1), 0)


def _there(config: TokenPool, x: Tensor, context: Context) -> Tensor | None:
    """Return true where a token is no padding, (batch, tokens); None if there is no mask."""
    if config.padding_mask is None:
        return None
    return tensor.reshape(context.record.inputs[config.padding_mask] != 0, x.shape[:2])


def _init(config: ClassToken, shapes: dict[str, Shape], key: Key) -> dict[str, Any]:
    del config
    return {"weight": key.normal("weight", shapes["weight"], 0.02)}


@layer(ClassToken, _init)
def apply_class(config: ClassToken, weights: Weights, x: Tensor, context: Context) -> Tensor:
    """Record the layer."""
    del config, context
    first = tensor.broadcast_to(weights["weight"], (x.shape[0], 1, x.shape[2]))
    return tensor.concat([first, x], 1)
