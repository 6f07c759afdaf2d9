"""``flatten``, ``reshape`` and ``permute``.

Layer: nn. Invariant: the batch stays the first axis; elements keep their order but for ``permute``.
"""

from __future__ import annotations

from loom import tensor
from loom.nn.layers.registry import Context, Weights, layer
from loom.nn.spec.layers.shaping import Flatten, Permute, Reshape
from loom.tensor import Tensor

__all__: list[str] = []


@layer(Flatten, any_dtype=True)
def flatten(config: Flatten, weights: Weights, x: Tensor, context: Context) -> Tensor:
    """Record the layer."""
    del config, weights, context
    return tensor.flatten(x, 1)


@layer(Reshape, any_dtype=True)
def reshape(config: Reshape, weights: Weights, x: Tensor, context: Context) -> Tensor:
    """Record the layer."""
    del weights, context
    return tensor.reshape(x, (x.shape[0], *config.output_shape(x.shape[1:])))


@layer(Permute, any_dtype=True)
def permute(config: Permute, weights: Weights, x: Tensor, context: Context) -> Tensor:
    """Record the layer."""
    del weights, context
    return tensor.permute(x, (0, *(a + 1 for a in config.axes)))
