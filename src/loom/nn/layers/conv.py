"""``conv1d`` and ``conv2d``: ``tensor.arrays.convolution`` with channels first, a bias and an activation.

Layer: nn. First weights: even within +-sqrt(3 gain / (channels window)) as in ``dense``; biases 0. Invariant: k runs
over the places of the window, channels fastest (docs/numerics.md, section 2).
"""

from __future__ import annotations

import math
from typing import Any

from loom import tensor
from loom.nn.layers.activation import activate, gain
from loom.nn.layers.registry import Context, Key, Weights, layer, zeros
from loom.nn.spec import Shape
from loom.nn.spec.layers.conv import Conv1D, Conv2D
from loom.tensor import Tensor
from loom.tensor.arrays.convolution import convolve_planes

__all__: list[str] = []


def _init(config: Conv1D | Conv2D, shapes: dict[str, Shape], key: Key) -> dict[str, Any]:
    shape = shapes["weight"]
    reach = math.sqrt(3 * gain(config.activation) / math.prod(shape[1:]))
    return {"weight": key.spread("weight", shape, reach)} | ({"bias": zeros(shapes["bias"])} if config.bias else {})


@layer(Conv2D, _init)
def apply(config: Conv1D | Conv2D, weights: Weights, x: Tensor, context: Context) -> Tensor:
    """Record the layer."""
    del context
    d = x.ndim - 2
    steps, around = ([v] * d if isinstance(v, int) else list(v) for v in (config.stride, config.padding))
    found = convolve_planes(x, weights["weight"], steps, around)
    if config.bias:
        found = found + tensor.reshape(weights["bias"], (-1, *(1,) * (d + 1)))
    return tensor.permute(activate(found, config.activation), (1, 0, *range(2, d + 2)))


layer(Conv1D, _init)(apply)
