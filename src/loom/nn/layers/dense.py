"""``dense`` and ``stitch``: ``activation(x W + b)`` along the last axis.

Layer: nn. First weights: even within +-sqrt(3 gain / in) (He 2015 after relu and its like, LeCun 1998 else), ``stitch``
normal with deviation sqrt(2 / in); biases 0. Invariant: k of the product is the input feature.
"""

from __future__ import annotations

from typing import Any

from loom.core.numbers import root
from loom.nn.layers.activation import activate, gain
from loom.nn.layers.adapters import AdaptedWeight
from loom.nn.layers.registry import Context, Key, Weights, layer, zeros
from loom.nn.spec import Shape
from loom.nn.spec.layers.dense import Dense, Stitch
from loom.tensor import Tensor
from loom.tensor.neural.quantized import QuantizedTensor, multiply_weights

__all__ = ["linear"]


def linear(x: Tensor, weight: Tensor | QuantizedTensor | AdaptedWeight, bias: Tensor | None = None) -> Tensor:
    """Record ``x W + b`` along the last axis of ``x`` (batch, .., in); ``weight`` is (in, out), quantised (out, in).

    What adapters of the weight make is added last.
    """
    if isinstance(weight, AdaptedWeight):
        return linear(x, weight.weight, bias) + weight.add(x)
    product = multiply_weights(x, weight)
    return product if bias is None else product + bias


def _init(config: Dense, shapes: dict[str, Shape], key: Key) -> dict[str, Any]:
    shape = shapes["weight"]
    made = {"weight": key.spread("weight", shape, root(3 * gain(config.activation) / shape[0]))}
    return made | ({"bias": zeros(shapes["bias"])} if config.bias else {})


@layer(Dense, _init)
def apply(config: Dense, weights: Weights, x: Tensor, context: Context) -> Tensor:
    """Record the layer."""
    del context
    return activate(linear(x, weights["weight"], weights.get("bias")), config.activation)


def _init_stitch(config: Stitch, shapes: dict[str, Shape], key: Key) -> dict[str, Any]:
    del config
    shape = shapes["weight"]
    return {"weight": key.normal("weight", shape, root(2 / shape[0])), "bias": zeros(shapes["bias"])}


@layer(Stitch, _init_stitch)
def apply_stitch(config: Stitch, weights: Weights, x: Tensor, context: Context) -> Tensor:
    """Record the layer."""
    del config, context
    return linear(x, weights["weight"], weights["bias"])
