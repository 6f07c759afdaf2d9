"""Derivatives of activations, of their output; and the bounds of targets.

Layer: nn. Invariant: what a function gives tells its derivative; where it does not (gelu, swish, mish are no one-to-one
functions; softmax mixes elements) there is none here, and the exact one is taken of the recorded pass.
"""

from __future__ import annotations

from loom import tensor
from loom.nn.spec import Activation, Layer
from loom.nn.tween.config import TweenConfig
from loom.tensor import Tensor

__all__ = ["clamp_target", "ending", "slope"]

_SELU_SCALE, _SELU_ALPHA = 1.0507009873554805, 1.6732632423543772


def slope(function: Activation, y: Tensor, eps: float) -> Tensor | float | None:
    """Return the derivative where a function gave ``y``, ``eps`` added where it can vanish smoothly; None if ``y`` does
    not tell.

    The one of softplus is 1 / (1 + exp(-y)), as the older generations have it: that of the output, not of the input.
    """
    one = tensor.ones(y.shape, y.dtype)
    table = {
        Activation.LINEAR: lambda: 1.0,
        Activation.RELU: lambda: tensor.where(y > 0, one, 0.0),
        Activation.SCALED_RELU: lambda: tensor.where(y > 0, one * 1.1, 0.0),
        Activation.LEAKY_RELU: lambda: tensor.where(y >= 0, one, 0.1),
        Activation.LEAKY_RELU_001: lambda: tensor.where(y >= 0, one, 0.01),
        Activation.RELU2: lambda: tensor.maximum(y, 0.0).sqrt() * 2.0,
        Activation.SIGMOID: lambda: y * (1 - y) + eps,
        Activation.TANH: lambda: 1 - y * y + eps,
        Activation.SOFTPLUS: lambda: y.sigmoid() + eps,
        Activation.ELU: lambda: tensor.where(y > 0, one, y + (1 + eps)),
        Activation.SELU: lambda: tensor.where(
            y > 0, one * _SELU_SCALE, y + (_SELU_SCALE * _SELU_ALPHA + eps)
        ),
    }  # fmt: skip
    found = table.get(function)
    return None if found is None else found()


def ending(layer: Layer) -> Activation | None:
    """Return the function that a layer ends with, None if it has none; states of recurrent layers are in (-1, 1)."""
    if layer.kind in ("rnn", "lstm", "gru"):
        return Activation.TANH
    found = getattr(layer, "activation", None) or getattr(layer, "function", None)
    return found if isinstance(found, Activation) else None


def clamp_target(target: Tensor, function: Activation | None, config: TweenConfig, *, from_zero: bool) -> Tensor:
    """Return a target bounded to what a function gives; ``from_zero``: none below 0 of relu and its like."""
    if function is Activation.TANH:
        return tensor.clip(target, -config.tanh_clamp, config.tanh_clamp)
    if function is Activation.SIGMOID:
        return tensor.clip(target, config.sigmoid_low, config.sigmoid_high)
    if function in (Activation.RELU, Activation.SCALED_RELU, Activation.RELU2):
        return tensor.clip(target, 0.0 if from_zero else -config.relu_clamp, config.relu_clamp)
    if function in (Activation.LEAKY_RELU, Activation.LEAKY_RELU_001):
        return tensor.clip(target, -config.relu_clamp, config.relu_clamp)
    return target
