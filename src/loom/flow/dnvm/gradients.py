"""Passes back by the older names: ``backward_simple``, ``update_weights_simple``; ``backward``, ``update_weights``.

Layer: flow, over ``loom.nn.train``. Invariant: the gradient is the true one of every weight, at the input of the last
forward pass; it is taken of the weights as they are when they are updated.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from loom.core.arrays import Array
from loom.core.errors import ShapeError, StateError
from loom.flow.dnvm.current import KeptPass, current_network, last_pass
from loom.flow.dnvm.grid import GridNetwork, network_of
from loom.nn.network import Network
from loom.nn.train.config import TrainConfig
from loom.nn.train.loop.trainer import Trainer
from loom.nn.train.samples import numbers
from loom.nn.train.scalars import whole
from loom.tensor import Tensor

__all__ = ["backward", "backward_simple", "get_output", "update_weights", "update_weights_simple"]


def backward_simple(gradients: Sequence[float]) -> None:
    """Give the derivatives by the outputs of the last ``forward_simple``, flat: one number for each of them."""
    _give(current_network(), gradients, "backward_simple")


def update_weights_simple(learning_rate: float) -> None:
    """Take the learning rate times the gradient from every weight, that of the last ``backward_simple``."""
    _update(current_network(), learning_rate, "update_weights_simple")


def get_output(network: GridNetwork | Network, output_size: int | None = None) -> list[float]:
    """Return the outputs of the network's last ``forward``; ShapeError if they are not ``output_size`` numbers."""
    found = _last(network_of(network, "loom.flow.dnvm.get_output"), "get_output").output
    if output_size is not None and whole("get_output, output_size", output_size, least=0) != found.size:
        raise ShapeError("get_output", "the output has another size", expected=output_size, got=found.size,
                         remedy="Leave output_size out")  # fmt: skip
    return found.reshape(-1).tolist()


def backward(network: GridNetwork | Network, target_data: Sequence[float]) -> None:
    """Give the targets of the last ``forward``, flat: the gradient is that of half the squared error."""
    net = network_of(network, "loom.flow.dnvm.backward")
    target = _flat(_last(net, "backward"), target_data, "backward")
    _last(net, "backward").gradient = _last(net, "backward").output.astype(np.float64) - target


def update_weights(network: GridNetwork | Network, learning_rate: float = 0.01) -> None:
    """Take the learning rate times the gradient from every weight, that of the last ``backward``."""
    _update(network_of(network, "loom.flow.dnvm.update_weights"), learning_rate, "update_weights")


def _last(net: Network, where: str) -> KeptPass:
    found = last_pass(net)
    if found is None:
        raise StateError(where, "nothing ran forward", expected="a forward pass first", got="none",
                         remedy="Call forward_simple or forward")  # fmt: skip
    return found


def _flat(found: KeptPass, values: Any, where: str) -> Array:
    """Return one number for each output of the last pass."""
    given: Array = numbers(values, where, "the numbers").astype(np.float64).reshape(-1)
    if given.size != found.output.size:
        raise ShapeError(where, "not one number for each output", expected=found.output.size, got=given.size,
                         remedy="Pass as many as the last forward pass gave")  # fmt: skip
    return given.reshape(found.output.shape)


def _give(net: Network, values: Any, where: str) -> None:
    found = _last(net, where)
    found.gradient = _flat(found, values, where)


def _update(net: Network, learning_rate: float, where: str) -> None:
    found = _last(net, where)
    if found.gradient is None:
        raise StateError(where, "there is no gradient", expected="a backward pass first", got="none",
                         remedy="Call backward_simple or backward")  # fmt: skip
    config = TrainConfig(loss=_product, learning_rate=learning_rate)
    with net.model.alone(where):
        trainer = found.trainer = Trainer(
            net.model, config, frozen=net.model.frozen, rates=net.model.learning_rates,
            x_type=net.spec.inputs[0].dtype, y_type=net.model.result_type, after=found.trainer,
        )  # fmt: skip
        trainer.train_batch(found.x, found.gradient)
        trainer.keep()
    net.training = None


def _product(output: Tensor, gradient: Tensor) -> Tensor:
    """Return what has ``gradient`` as its derivative by the output."""
    return (output * gradient).sum()
