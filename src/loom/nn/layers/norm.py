"""``layer_norm``, ``rms_norm``, ``normalize`` and ``batch_norm``.

Layer: nn. First weights: gamma and the running variance 1, the others 0. Invariant:
variances are biased, of two passes.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from loom import tensor
from loom.core.dtype import f32
from loom.nn.layers.registry import Context, Key, Weights, layer, zeros
from loom.nn.spec import Shape
from loom.nn.spec.layers.norm import BatchNorm, LayerNorm, Normalize, RMSNorm
from loom.tensor import Tensor

__all__: list[str] = []


def _init(config: Any, shapes: dict[str, Shape], key: Key) -> dict[str, Any]:
    del config, key
    ones = ("gamma", "running_variance")
    return {name: np.ones(shape, np.float32) if name in ones else zeros(shape) for name, shape in shapes.items()}


@layer(LayerNorm, _init)
def apply_layer_norm(config: LayerNorm, weights: Weights, x: Tensor, context: Context) -> Tensor:
    """Record the layer."""
    del context
    return tensor.layer_norm(x, weights["gamma"], weights["beta"], config.epsilon)


@layer(RMSNorm, _init)
def apply_rms_norm(config: RMSNorm, weights: Weights, x: Tensor, context: Context) -> Tensor:
    """Record the layer."""
    del context
    return tensor.rms_norm(x, weights["gamma"], config.epsilon)


@layer(Normalize)
def apply_normalize(config: Normalize, weights: Weights, x: Tensor, context: Context) -> Tensor:
    """Record the layer."""
    del weights, context
    return tensor.normalize(x, eps=config.epsilon)


@layer(BatchNorm, _init)
def apply_batch_norm(config: BatchNorm, weights: Weights, x: Tensor, context: Context) -> Tensor:
    """Record the layer; frozen, it uses its running statistics, and leaves them, in training too.

    Source: S. Ioffe and C. Szegedy, "Batch normalization" (2015).
    """
    given = x.dtype
    wide = f32 if given.storage_only else given
    x, shape = x.astype(wide), (x.shape[1], *(1,) * (x.ndim - 2))
    gamma, beta, mean, variance = (
        tensor.reshape(weights[name], shape).astype(wide)
        for name in ("gamma", "beta", "running_mean", "running_variance")
    )
    if context.training and not context.is_frozen("gamma"):
        axes = (0, *range(2, x.ndim))
        mean = x.mean(axes, keepdims=True)
        away = x - mean
        variance = (away * away).mean(axes, keepdims=True)
        _move(context, weights["running_mean"], mean, config.momentum)
        _move(context, weights["running_variance"], variance, config.momentum)
    return ((x - mean) * (variance + config.epsilon).map("rsqrt") * gamma + beta).astype(given)


def _move(context: Context, running: Tensor, batch: Tensor, momentum: float) -> None:
    """Note the new value of a running mean; a layer met twice moves it twice."""
    updates = context.record.updates
    old = updates.get(running, running)
    updates[running] = (
        old * (1 - momentum) + tensor.detach(tensor.reshape(batch, running.shape)).astype(old.dtype) * momentum
    )
