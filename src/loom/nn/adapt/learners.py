"""Learners by mode: blocks that are learnt from at once, or a tick and an update for each observation.

Layer: nn. A learner compiles its programs once; a seed only gives it other weights. Invariant: all modes get the same
signal: the gap between the output and the one-hot row of what is right.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from loom.core.arrays import Array
from loom.core.errors import ArgumentError
from loom.nn.adapt.integers import IntegerLearner
from loom.nn.adapt.learner import BLOCK, Learner, cuts
from loom.nn.adapt.networks import document
from loom.nn.integer.network import IntegerNetwork
from loom.nn.integer.record import BITS
from loom.nn.network import Network
from loom.nn.step.wiring import Wiring
from loom.nn.train.config import TrainConfig
from loom.nn.train.loop.trainer import Trainer
from loom.nn.tween import TweenConfig, TweenMode, mode_of
from loom.runtime.port.device import Device
from loom.tensor import Tensor

__all__ = ["make_learner", "require_rule"]


class NormalLearner(Learner):
    """The steps of ``Network.train``: stochastic gradient descent, a block at a time."""

    def __init__(self, network: Network, rate: float, block: int) -> None:
        super().__init__(network.spec, rate, block)
        self._model = network.model
        config, model = TrainConfig(loss=half_square, learning_rate=rate), self._model
        self._trainer = Trainer(model, config, x_type=network.spec.inputs[0].dtype, y_type=model.result_type)

    def start(self, weights: Mapping[str, Array]) -> None:
        self._model.load(weights)
        self._trainer.programs.restart(self._trainer.config)

    def answer(self, x: Array, right: Array | None) -> Array:
        del right
        return self._model.forward(x.reshape(1, *self.shape)).reshape(-1)

    def learn(self, x: Array, right: Array) -> None:
        for part in cuts(len(x), self.parts):
            self._trainer.train_batch(x[part], right[part])


class TweenLearner(Learner):
    """Tweening of whole passes, a block at a time."""

    def __init__(self, network: Network, rate: float, block: int, mode: TweenMode) -> None:
        super().__init__(network.spec, rate, block)
        self._model = network.model
        self._state = network.tween(mode)

    def start(self, weights: Mapping[str, Array]) -> None:
        self._model.load(weights)
        self._state.reset()

    def answer(self, x: Array, right: Array | None) -> Array:
        del right
        return self._model.forward(x.reshape(1, *self.shape)).reshape(-1)

    def learn(self, x: Array, right: Array) -> None:
        for part in cuts(len(x), self.parts):
            self._state.step(x[part], right[part], self.rate)


class StepLearner(Learner):
    """A step mode: each observation is a tick and an update, one program."""

    at_once = True

    def __init__(self, network: Network, rate: float, mode: TweenMode) -> None:
        super().__init__(network.spec, rate)
        self._model = network.model
        config = TweenConfig() if mode.is_tween else TweenConfig(loss=half_square)
        self._state = network.tween(mode, config)
        self.delay = Wiring(network.spec).depth - 1

    def start(self, weights: Mapping[str, Array]) -> None:
        self._model.load(weights)
        self._state.reset()

    def answer(self, x: Array, right: Array | None) -> Array:
        given = x.reshape(1, *self.shape)
        if right is None:
            return self._state.tick(given).reshape(-1)
        self._state.step(given, right.reshape(1, *self.outputs), self.rate)
        return self._state.output.reshape(-1)


def half_square(output: Tensor, target: Tensor) -> Tensor:
    """Return half the squared gap, summed over outputs, of a sample on average: its gradient is the gap."""
    away = output - target
    return (away * away).sum() * (0.5 / output.shape[0])


def make_learner(
    layers: str, mode: str | TweenMode, dtype: str, rate: float, device: str | Device | None = None, *,
    block: int = BLOCK,
) -> Learner:  # fmt: skip
    """Return a learner of an architecture in a mode, its programs not yet compiled.

    Args:
        layers: Name of ``LAYERS``, or "agents".
        mode: Mode of ``nn.tween``.
        dtype: Dtype of the network, or a type of ``nn.integer``.
        rate: Learning rate.
        device: Device, or its name; None: the default device.
        block: Answers that modes without ticks collect before they learn.

    Raises:
        ArgumentError: There is no such architecture or mode; integers in another mode than "normal".
        DeviceError: There is no such device.
    """
    mode = mode_of(mode)
    if dtype in BITS:
        require_rule(mode, dtype)
        return IntegerLearner(document(layers), dtype, rate, block, device)
    network = Network.from_json(document(layers, dtype), on=device)
    if mode.is_step:
        return StepLearner(network, rate, mode)
    if mode is TweenMode.NORMAL:
        return NormalLearner(network, rate, block)
    return TweenLearner(network, rate, block, mode)


def require_rule(mode: TweenMode, dtype: str, layers: str | None = None) -> None:
    """See that a type has the mode, and rules for an architecture's layers; ArgumentError naming both else."""
    if dtype in BITS and mode is not TweenMode.NORMAL:
        raise ArgumentError("loom bench adapt", f"the mode '{mode.value}' has no rule in {dtype}",
                            expected="the mode 'normal', or a type of floats", got=f"{mode.value} and {dtype}",
                            remedy="Leave one of them out")  # fmt: skip
    if dtype in BITS and layers is not None:
        told = document(layers)
        IntegerNetwork.from_json(told, dtype, calibration=np.zeros((1, *told["input"]["shape"]), np.float32), on="cpu")
