"""Gradients and optimisers of ``ai.onnx.preview.training``.

Layer: onnx. Invariant: every tensor that is updated is an output; nothing is written in place.
"""

from __future__ import annotations

from typing import Any

from loom import tensor as lt
from loom.onnx.registry import Made, NodeCall, operator
from loom.tensor.arrays.tensor import Tensor

__all__: list[str] = []

_DOMAIN = "ai.onnx.preview.training"


def _each(call: NodeCall, kinds: int) -> list[list[Any]]:
    """Return the tensors of each parameter: itself, its gradient, its states."""
    found = call.tensors()[2:]
    count = len(found) // kinds
    return [[found[i + k * count] for k in range(kinds)] for i in range(count)]


@operator("Adagrad", domain=_DOMAIN)
def _adagrad(call: NodeCall, rate: Tensor) -> Made:
    step = lt.cast(call.tensor(1), "f32")
    norm, epsilon = call.real("norm_coefficient", 0.0), call.real("epsilon", 0.0)
    rate = rate / (step * call.real("decay_factor", 0.0) + 1)
    made: list[list[Any]] = []
    for x, g, h in _each(call, 3):
        whole = x * norm + g
        total = h + whole * whole
        made.append([x - rate * whole / (lt.sqrt(total) + epsilon), total])
    return [part[k] for k in range(2) for part in made]


@operator("Adam", domain=_DOMAIN)
def _adam(call: NodeCall, rate: Tensor, step: Tensor) -> Made:
    alpha, beta, epsilon = call.real("alpha", 0.9), call.real("beta", 0.999), call.real("epsilon", 0.0)
    norm, after = call.real("norm_coefficient", 0.0), call.real("norm_coefficient_post", 0.0)
    wide = lt.cast(step, "f32")
    grown = rate * lt.sqrt(1 - lt.pow(wide * 0 + beta, wide)) / (1 - lt.pow(wide * 0 + alpha, wide))
    rate = lt.where(step > 0, grown, rate)
    made: list[list[Any]] = []
    for x, g, v, h in _each(call, 4):
        whole = x * norm + g
        v, h = v * alpha + whole * (1 - alpha), h * beta + whole * whole * (1 - beta)
        made.append([(x - rate * v / (lt.sqrt(h) + epsilon)) * (1 - after), v, h])
    return [part[k] for k in range(3) for part in made]


@operator("Momentum", domain=_DOMAIN)
def _momentum(call: NodeCall, rate: Tensor, step: Tensor) -> Made:
    alpha, beta, norm = call.real("alpha"), call.real("beta"), call.real("norm_coefficient")
    nesterov = call.text("mode", "standard", ("standard", "nesterov")) == "nesterov"
    made: list[list[Any]] = []
    for x, g, v in _each(call, 3):
        whole = x * norm + g
        share = lt.where(step > 0, lt.full((), beta, "f32"), lt.full((), 1.0, "f32"))
        v = v * alpha + whole * share
        made.append([x - rate * (whole + v * alpha if nesterov else v), v])
    return [part[k] for k in range(2) for part in made]


@operator("Gradient", domain=_DOMAIN)
def _gradient(call: NodeCall) -> Made:
    names, rest = call.strings("xs", []), call.strings("zs", [])
    y = call.scope.value_of(call.text("y", ""))
    for i, name in enumerate([*names, *rest]):
        if call.scope.value_of(name) is not call.value(i):
            raise call.refusal("a gradient at other values than those of the graph", expected=name, got=f"input {i}")
    return lt.grad(lt.sum(y) if y.size != 1 else y, [call.tensor(i) for i in range(len(names))])
