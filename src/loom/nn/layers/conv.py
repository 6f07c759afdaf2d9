"""``conv1d`` and ``conv2d``: the windows, as columns of k = (place in the window, channel), times the weights.

Layer: nn. Channels come first, so that columns are copied by rows of the image. The input's gradient is gathered from
that of the columns, never scattered. First weights: even within +-sqrt(3 gain / (channels window)) as in
``dense``; biases 0. Invariant: k runs over the places of the window, channels fastest (docs/numerics.md, section 2).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

from loom import tensor
from loom.nn.layers.activation import activate, gain
from loom.nn.layers.registry import Context, Key, Weights, layer, zeros
from loom.nn.spec import Shape
from loom.nn.spec.layers.conv import Conv1D, Conv2D
from loom.tensor import Tensor

__all__ = ["convolved"]


def _init(config: Conv1D | Conv2D, shapes: dict[str, Shape], key: Key) -> dict[str, Any]:
    shape = shapes["weight"]
    reach = math.sqrt(3 * gain(config.activation) / math.prod(shape[1:]))
    return {"weight": key.spread("weight", shape, reach)} | ({"bias": zeros(shapes["bias"])} if config.bias else {})


def _columns(x: Tensor, window: Sequence[int], steps: Sequence[int]) -> Tensor:
    """Return the windows of ``x`` (batch, channels, *size) as (*window, channels, batch, *places)."""
    d = len(window)
    found = tensor.windows(x, range(2, d + 2), window, steps)
    return tensor.permute(found, (*range(d + 2, 2 * d + 2), 1, 0, *range(2, d + 2)))


def _matrix(weight: Tensor) -> Tensor:
    """Return weights (filters, channels, *window) as (filters, k)."""
    return tensor.reshape(tensor.permute(weight, (0, *range(2, weight.ndim), 1)), (weight.shape[0], -1))


def _correlated(x: Tensor, weight: Tensor, steps: Sequence[int]) -> Tensor:
    columns = _columns(x, weight.shape[2:], steps)
    places = columns.shape[len(steps) + 1 :]
    matrix = _matrix(weight)
    product = tensor.matmul(matrix, tensor.reshape(columns, (matrix.shape[1], -1)))
    return tensor.reshape(product, (weight.shape[0], *places))


def convolved(x: Tensor, weight: Tensor, steps: Sequence[int], around: Sequence[int]) -> Tensor:
    """Return the cross-correlation of ``x`` (batch, channels, *size) and ``weight`` (filters, channels, *window).

    The result is (filters, batch, *places): as the product leaves it.
    """
    padded = tensor.pad(x, [(0, 0), (0, 0), *((p, p) for p in around)])

    def vjp(_node: Tensor, g: Tensor) -> list[Tensor]:
        return [_input_gradient(x, weight, g, steps, around), _weight_gradient(padded, weight, g, steps)]

    return tensor.routed(_correlated(padded, weight, steps), [x, weight], vjp)


def _weight_gradient(padded: Tensor, weight: Tensor, g: Tensor, steps: Sequence[int]) -> Tensor:
    filters, channels, *window = weight.shape
    columns = tensor.reshape(_columns(padded, window, steps), (math.prod(weight.shape[1:]), -1))
    product = tensor.matmul(tensor.reshape(g, (filters, -1)), columns, transpose_b=True)
    return tensor.permute(
        tensor.reshape(product, (filters, *window, channels)), (0, weight.ndim - 1, *range(1, weight.ndim - 1))
    )


def _input_gradient(x: Tensor, weight: Tensor, g: Tensor, steps: Sequence[int], around: Sequence[int]) -> Tensor:
    """Return for every element the sum over the places of a window at which it was read, the first place first.

    The columns' gradient, one product, is spread to the steps of padded images. Each place of the window reads that,
    shifted; what it reads beyond an image's edge is the end of the row or image before, where no window begins: zeros,
    as is the image put first.
    """
    filters, channels, *window = weight.shape
    d, images = len(window), channels * x.shape[0]
    product = tensor.matmul(_matrix(weight), tensor.reshape(g, (filters, -1)), transpose_a=True)
    columns = tensor.reshape(product, (math.prod(window), images, *g.shape[2:]))
    whole = [n + 2 * p for n, p in zip(x.shape[2:], around, strict=True)]
    spread = tensor.place(columns, (len(columns), images + 1, *whole), [0, 1, *[0] * d], [1, 1, *steps])
    size = math.prod(whole)
    flat = tensor.reshape(spread, (len(columns), -1))
    total: Tensor | None = None
    for i, at in enumerate(itertools.product(*map(range, window))):
        begin = size - sum(k * math.prod(whole[a + 1 :]) for a, k in enumerate(at))
        part = flat[i, begin : begin + images * size]
        total = part if total is None else total + part
    assert total is not None
    padded = tensor.permute(tensor.reshape(total, (channels, -1, *whole)), (1, 0, *range(2, d + 2)))
    return padded[(..., *(slice(p, p + n) for p, n in zip(around, x.shape[2:], strict=True)))]


@layer(Conv2D, _init)
def apply(config: Conv1D | Conv2D, weights: Weights, x: Tensor, context: Context) -> Tensor:
    """Record the layer."""
    del context
    d = x.ndim - 2
    steps, around = ([v] * d if isinstance(v, int) else list(v) for v in (config.stride, config.padding))
    found = convolved(x, weights["weight"], steps, around)
    if config.bias:
        found = found + tensor.reshape(weights["bias"], (-1, *(1,) * (d + 1)))
    return tensor.permute(activate(found, config.activation), (1, 0, *range(2, d + 2)))


layer(Conv1D, _init)(apply)
