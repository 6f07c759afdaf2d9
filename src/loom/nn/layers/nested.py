"""``sequential``, ``residual`` and ``kmeans``: layers that hold others.

Layer: nn. First centres: standard normal. Invariant: a layer held is recorded as it would be outside.
"""

from __future__ import annotations

from typing import Any

from loom import tensor
from loom.nn.layers.registry import Context, Key, Weights, layer
from loom.nn.spec import Layer, Shape
from loom.nn.spec.layers.nested import Distance, KMeans, KMeansOutput, Residual, Sequential
from loom.tensor import Tensor

__all__: list[str] = []

_LEAST_SQUARE = 1e-16
"""The cosine of features shorter than 1e-8 is taken as if they were so long."""


def _chain(layers: tuple[Layer, ...], x: Tensor, context: Context) -> Tensor:
    for i, held in enumerate(layers):
        x = context.part(held, x, f"layers.{i}")
    return x


@layer(Sequential, any_dtype=True)
def apply_sequential(config: Sequential, weights: Weights, x: Tensor, context: Context) -> Tensor:
    """Record the layers."""
    del weights
    return _chain(config.layers, x, context)


@layer(Residual)
def apply_residual(config: Residual, weights: Weights, x: Tensor, context: Context) -> Tensor:
    """Record ``x + layers(x)``."""
    del weights
    return x + context.convert(_chain(config.layers, x, context))


def _init_kmeans(config: KMeans, shapes: dict[str, Shape], key: Key) -> dict[str, Any]:
    del config
    return {"centers": key.normal("centers", shapes["centers"], 1.0)}


@layer(KMeans, _init_kmeans, any_dtype=True)
def apply_kmeans(config: KMeans, weights: Weights, x: Tensor, context: Context) -> Tensor:
    """Record the soft assignment of the features to the centres."""
    made = x if config.attached_layer is None else context.part(config.attached_layer, x, "attached_layer")
    features, centers = context.convert(made), weights["centers"]
    chances = tensor.softmax(_logits(config, features, centers))
    return tensor.matmul(chances, centers) if config.output_mode is KMeansOutput.FEATURES else chances


def _logits(config: KMeans, features: Tensor, centers: Tensor) -> Tensor:
    """Return (.., clusters): the nearer, the larger."""
    if config.distance_metric is Distance.COSINE:
        squares = _square(features)[..., None] * _square(centers)
        products = tensor.matmul(features, tensor.transpose(centers))
        return (products / tensor.maximum(squares, _LEAST_SQUARE).sqrt() - 1) / config.temperature
    away = tensor.expand_dims(features, -2) - centers
    if config.distance_metric is Distance.MANHATTAN:
        return abs(away).sum(-1) / -config.temperature
    return _square(away) / (-2 * config.temperature * config.temperature)


def _square(x: Tensor) -> Tensor:
    return (x * x).sum(-1)
