"""``dropout``: in training, elements become zero at random.

Layer: nn. Invariant: which ones depends on the seed, the step and the layer's place in the pass alone.
"""

from __future__ import annotations

from loom import tensor
from loom.nn.base.random import RandomStream, keep_mask
from loom.nn.layers.registry import Context, Weights, layer
from loom.nn.spec.layers.shaping import Dropout
from loom.tensor import Tensor

__all__: list[str] = []


@layer(Dropout)
def apply(config: Dropout, weights: Weights, x: Tensor, context: Context) -> Tensor:
    """Record the layer. Source: N. Srivastava and others, "Dropout" (2014), scaled in training."""
    del weights
    if not context.training or config.rate == 0:
        return x
    keep = keep_mask(context.draw(x.shape, RandomStream.DROPOUT), config.rate)
    return tensor.where(keep, x / (1 - config.rate), 0)
