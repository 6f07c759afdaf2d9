"""Names of element-wise functions, and what other formats call them.

Layer: nn. Invariant: a name means one formula, in every layer.
"""

from __future__ import annotations

import enum

from loom.nn.spec.base.fields import choice

__all__ = ["OTHER_NAMES", "Activation", "activation"]


class Activation(enum.Enum):
    """A function of one element (``softmax``: of the last axis)."""

    LINEAR = "linear"
    """v"""
    RELU = "relu"
    """max(0, v)"""
    SCALED_RELU = "scaled_relu"
    """max(0, 1.1 v): what ``relu`` means in networks of the first generation"""
    LEAKY_RELU = "leaky_relu"
    """v if v >= 0 else 0.1 v"""
    LEAKY_RELU_001 = "leaky_relu_001"
    """v if v >= 0 else 0.01 v: what ``leakyrelu`` means in networks of the second generation"""
    RELU2 = "relu2"
    """max(0, v) squared"""
    SIGMOID = "sigmoid"
    """1 / (1 + exp(-v))"""
    TANH = "tanh"
    SOFTPLUS = "softplus"
    """log(1 + exp v)"""
    ELU = "elu"
    """v if v > 0 else exp(v) - 1"""
    SELU = "selu"
    """1.0507009873554805 (v if v > 0 else 1.6732632423543772 (exp(v) - 1))"""
    GELU = "gelu"
    """v / 2 (1 + erf(v / sqrt 2))"""
    GELU_TANH = "gelu_tanh"
    """v / 2 (1 + tanh(sqrt(2 / pi) (v + 0.044715 v^3)))"""
    SWISH = "swish"
    """v sigmoid(v)"""
    MISH = "mish"
    """v tanh(softplus v)"""
    SOFTMAX = "softmax"
    """exp(v - max) / sum of them, along the last axis"""


OTHER_NAMES = {
    "silu": "swish",
    "identity": "linear",
    "none": "linear",
    "leakyrelu": "leaky_relu",
    "scaledrelu": "scaled_relu",
    "logistic": "sigmoid",
    "": "linear",
}


def activation(meaning: str, default: Activation = Activation.LINEAR) -> Activation:
    """Return a config's field of an activation."""
    return choice(Activation, meaning, default, OTHER_NAMES)
