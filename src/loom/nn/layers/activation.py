"""``activation``, and the functions that other layers end with.

Layer: nn. Formulas: ``loom.nn.spec.Activation``. Invariant: derivatives are finite wherever the function is, those of
branches not taken included.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from loom import tensor
from loom.nn.layers.registry import Context, Weights, layer
from loom.nn.spec import Activation
from loom.nn.spec.layers.shaping import ActivationLayer
from loom.tensor import Tensor

__all__ = ["activate", "gain"]

_SELU_SCALE, _SELU_ALPHA = 1.0507009873554805, 1.6732632423543772


def _leaky(x: Tensor, leak: float = 0.1) -> Tensor:
    return tensor.where(x >= 0, x, x * leak)


def _relu2(x: Tensor) -> Tensor:
    positive = x.relu()
    return positive * positive


def _expm1(x: Tensor) -> Tensor:
    """Return e^x - 1 of x where negative; larger ones are cut, so that what is not chosen does not overflow."""
    return tensor.minimum(x, 0).map("expm1")


def _elu(x: Tensor) -> Tensor:
    return tensor.where(x > 0, x, _expm1(x))


def _selu(x: Tensor) -> Tensor:
    return tensor.where(x > 0, x, _expm1(x) * _SELU_ALPHA) * _SELU_SCALE


FUNCTIONS: dict[Activation, Callable[[Tensor], Tensor]] = {
    Activation.LINEAR: lambda x: x,
    Activation.RELU: tensor.relu,
    Activation.SCALED_RELU: lambda x: (x * 1.1).relu(),
    Activation.LEAKY_RELU: _leaky,
    Activation.LEAKY_RELU_001: lambda x: _leaky(x, 0.01),
    Activation.RELU2: _relu2,
    Activation.SIGMOID: tensor.sigmoid,
    Activation.TANH: tensor.tanh,
    Activation.SOFTPLUS: tensor.softplus,
    Activation.ELU: _elu,
    Activation.SELU: _selu,
    Activation.GELU: tensor.gelu,
    Activation.GELU_TANH: lambda x: tensor.gelu(x, approximate=True),
    Activation.SWISH: tensor.silu,
    Activation.MISH: lambda x: x * tensor.softplus(x).tanh(),
    Activation.SOFTMAX: tensor.softmax,
}

_HALVING = frozenset((
    Activation.RELU, Activation.SCALED_RELU, Activation.LEAKY_RELU, Activation.LEAKY_RELU_001, Activation.RELU2,
    Activation.ELU, Activation.GELU, Activation.GELU_TANH, Activation.SWISH, Activation.MISH,
))  # fmt: skip
"""Functions that are about 0 for half of their inputs."""


def activate(x: Tensor, function: Activation) -> Tensor:
    """Record a function of each element (softmax: of the last axis)."""
    return FUNCTIONS[function](x)


def gain(function: Activation) -> int:
    """Return the variance that weights before a function need, times the number of inputs: 2 or 1.

    An int, so that over a template's size it stays an expression.

    Source: K. He and others, "Delving deep into rectifiers" (2015); Y. LeCun and others, "Efficient backprop" (1998).
    """
    return 2 if function in _HALVING else 1


@layer(ActivationLayer)
def apply(config: ActivationLayer, weights: Weights, x: Tensor, context: Context) -> Any:
    """Record the function."""
    del weights, context
    return activate(x, config.function)
