"""Step mode under the older names: ``StepState``, ``apply_gradients`` and its like.

Layer: flow, over ``loom.nn.step``. Lists are flat: one sample after the other. Invariant: gradients are applied to the
network that they are of, once, and only while it is the current one.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from math import prod
from typing import Any
from weakref import WeakKeyDictionary, ref

import numpy as np

from loom.core.errors import ShapeError, StateError
from loom.flow.dnvm.current import current_network
from loom.flow.dnvm.reading import require_one
from loom.nn import step
from loom.nn.network import Network
from loom.nn.step.tokens import one_token
from loom.nn.train.optimizers import Optimizer, optimizer_of
from loom.nn.train.samples import numbers
from loom.nn.train.scalars import whole

__all__ = ["StepState", "apply_gradients", "apply_gradients_adamw", "apply_gradients_rmsprop",
           "apply_gradients_sgd_momentum"]  # fmt: skip

_latest: WeakKeyDictionary[Network, ref[step.StepState]] = WeakKeyDictionary()
"""Network -> the state that computed gradients of it last."""


class FlatStepState:
    """Buffers of the current network's layers. ``input_size``: numbers of an input, of one sample or of several.

    ``gradient`` is that of ``loom.nn.step.StepState``; the older programs have "rescaled".
    """

    def __init__(self, input_size: int, *, gradient: str = "true") -> None:
        where = "StepState, input_size"
        self._network = net = current_network()
        require_one(net, "StepState")
        size, each = whole(where, input_size, least=1), prod(one_token(net.spec)[0].inputs[0].shape)
        if size % each:
            raise ShapeError(where, "not whole samples of the network", expected=f"a multiple of {each}", got=size,
                             remedy="Pass the length of what set_input gets")  # fmt: skip
        self._state = net.step(batch=size // each, gradient=gradient)
        self._shape = self._state.tensors[net.spec.inputs[0].name].shape

    def set_input(self, values: Sequence[float]) -> None:
        """Put numbers into the input, where they stay."""
        self._state.set_input(_reshape(values, self._shape, "StepState.set_input"))

    def step_forward(self) -> int:
        """Advance every layer from what the tick before left; return the nanoseconds it took."""
        start = time.perf_counter_ns()
        self._state.step_forward()
        return time.perf_counter_ns() - start

    def get_output(self) -> list[float]:
        """Return what the output shows now, flat."""
        return self._state.get_output().reshape(-1).tolist()

    def step_backward(self, gradients: Sequence[float]) -> dict[str, Any]:
        """Compute all gradients of those of the output; return ``grad_input`` (flat) and ``duration`` (ns)."""
        start = time.perf_counter_ns()
        shape = self._state.tensors[self._network.spec.outputs[0]].shape
        found = self._state.step_backward(_reshape(gradients, shape, "StepState.step_backward"))
        _latest[self._network] = ref(self._state)
        flat: list[float] = [] if found is None else found.reshape(-1).tolist()
        return {"grad_input": flat, "duration": time.perf_counter_ns() - start}


StepState = FlatStepState


def apply_gradients(learning_rate: float) -> None:
    """Move the current network's weights along the gradients of the last ``step_backward``."""
    _apply(learning_rate, optimizer_of("sgd"), "apply_gradients")


def apply_gradients_adamw(
    learning_rate: float, beta1: float = 0.9, beta2: float = 0.999, weight_decay: float = 0.01
) -> None:
    """Do the same with AdamW; its means stay from call to call."""
    chosen = optimizer_of("adamw", beta1=beta1, beta2=beta2, weight_decay=weight_decay)
    _apply(learning_rate, chosen, "apply_gradients_adamw")


def apply_gradients_rmsprop(
    learning_rate: float, alpha: float = 0.99, epsilon: float = 1e-8, momentum: float = 0.0
) -> None:
    """Do the same with RMSprop; its means stay from call to call."""
    chosen = optimizer_of("rmsprop", alpha=alpha, epsilon=epsilon, momentum=momentum)
    _apply(learning_rate, chosen, "apply_gradients_rmsprop")


def apply_gradients_sgd_momentum(
    learning_rate: float, momentum: float = 0.9, dampening: float = 0.0, nesterov: bool = False
) -> None:
    """Do the same with momentum; the velocities stay from call to call."""
    chosen = optimizer_of("sgd", momentum=momentum, dampening=dampening, nesterov=nesterov)
    _apply(learning_rate, chosen, "apply_gradients_sgd_momentum")


def _apply(learning_rate: float, optimizer: Optimizer, where: str) -> None:
    found = _latest.get(current_network())
    state = None if found is None else found()
    if state is None:
        raise StateError(where, "there are no gradients of the current network", expected="those of step_backward",
                         got="none", remedy="Call step_backward first")  # fmt: skip
    state.apply_gradients(learning_rate, optimizer)


def _reshape(values: Sequence[float], shape: tuple[int, ...], where: str) -> np.ndarray[Any, Any]:
    found = numbers(values, where, "values")
    if found.size != prod(shape):
        raise ShapeError(where, "another number of numbers", expected=prod(shape), got=found.size,
                         remedy="One sample after the other, flat")  # fmt: skip
    return found.reshape(shape)
