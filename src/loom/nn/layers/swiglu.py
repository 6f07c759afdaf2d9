"""``swiglu``: the gated feed-forward block of transformers.

Layer: nn. First weights: even within +-sqrt(6 / (in + out)) (Glorot and Bengio 2010), biases 0. Invariant: the last
axis keeps its size.
"""

from __future__ import annotations

from typing import Any

from loom.core.numbers import root
from loom.nn.layers.activation import activate
from loom.nn.layers.dense import linear
from loom.nn.layers.registry import Context, Key, Weights, layer, zeros
from loom.nn.spec import Shape
from loom.nn.spec.layers.swiglu import SwiGLU
from loom.tensor import Tensor

__all__ = ["glorot"]


def glorot(config: Any, shapes: dict[str, Shape], key: Key) -> dict[str, Any]:
    """Return weights even within +-sqrt(6 / (in + out)) and biases 0."""
    del config
    return {
        name: key.spread(name, shape, root(6 / sum(shape))) if len(shape) == 2 else zeros(shape)
        for name, shape in shapes.items()
    }


@layer(SwiGLU, glorot)
def apply(config: SwiGLU, weights: Weights, x: Tensor, context: Context) -> Tensor:
    """Record the layer. Source: N. Shazeer, "GLU variants improve transformer" (2020)."""
    del context

    def project(value: Tensor, name: str) -> Tensor:
        return linear(value, weights[f"{name}_weight"], weights.get(f"{name}_bias"))

    return project(activate(project(x, "gate"), config.activation) * project(x, "up"), "down")
