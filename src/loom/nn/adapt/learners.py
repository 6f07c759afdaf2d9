"""Learners: a network that answers and learns in a mode, started anew for each seed.

Layer: nn. A learner compiles its programs once; a seed only gives it other weights. All modes get the same signal: the
gap between the output and the one-hot row of what is right. Invariant: what it answers follows from its weights and
from what it was shown since they were given, in that order.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

import numpy as np

from loom.core.arrays import Array
from loom.nn.adapt.networks import document
from loom.nn.adapt.streams import ACTIONS
from loom.nn.network import Network
from loom.nn.step.wiring import Wiring
from loom.nn.train.config import TrainConfig
from loom.nn.train.trainer import Trainer
from loom.nn.tween import TweenConfig, TweenMode, TweenState
from loom.runtime.device import Device
from loom.tensor import Tensor

__all__ = ["BLOCK", "PARTS", "Learner", "make_learner"]

BLOCK = 20
"""Answers that a mode without ticks collects before it learns from them."""
PARTS = 4
"""Updates that it makes of them, each of BLOCK / PARTS samples."""

_ROWS = np.eye(ACTIONS, dtype=np.float32)


class Learner(ABC):
    """Answers observations and learns from them. ``delay``: how many observations before the last one an answer is to;
    ``block``: how many it collects before it learns (1: it learns while it answers); ``parts``: updates of a block."""

    delay = 0
    block = 1
    parts = 1

    def __init__(self, network: Network, rate: float) -> None:
        self.network, self.rate = network, rate
        self.shape = network.spec.inputs[0].shape
        self.outputs = network.spec.shapes()[network.spec.outputs[0]]

    def start(self, weights: Mapping[str, Array]) -> None:
        """Begin anew with these weights, and nothing kept of what was before."""
        self.network.model.load(weights)

    @abstractmethod
    def answer(self, x: Array, right: Array | None) -> Array:
        """Return what the network gives, flat; ``right``: one-hot rows of what is right of the observation that the
        answer is to, from which a learner without blocks learns at once. None: nothing is known of it."""

    def learn(self, x: Array, right: Array) -> None:
        """Learn from a block of observations and one-hot rows, oldest first."""
        del x, right


class NormalLearner(Learner):
    """The steps of ``Network.train``: stochastic gradient descent, a block at a time."""

    block, parts = BLOCK, PARTS

    def __init__(self, network: Network, rate: float) -> None:
        super().__init__(network, rate)
        config, model = TrainConfig(loss=half_square, learning_rate=rate), network.model
        self._trainer = Trainer(model, config, x_type=network.spec.inputs[0].dtype, y_type=model.result_type)

    def start(self, weights: Mapping[str, Array]) -> None:
        super().start(weights)
        self._trainer.programs.restart(self._trainer.config)

    def answer(self, x: Array, right: Array | None) -> Array:
        del right
        return self.network.model.forward(x.reshape(1, *self.shape)).reshape(-1)

    def learn(self, x: Array, right: Array) -> None:
        for part in _cuts(len(x), self.parts):
            self._trainer.train_batch(x[part], right[part])


class TweenLearner(Learner):
    """Tweening of whole passes, a block at a time."""

    block, parts = BLOCK, PARTS

    def __init__(self, network: Network, rate: float, mode: TweenMode) -> None:
        super().__init__(network, rate)
        self._state = TweenState(network, mode)

    def start(self, weights: Mapping[str, Array]) -> None:
        super().start(weights)
        self._state.reset()

    def answer(self, x: Array, right: Array | None) -> Array:
        del right
        return self.network.model.forward(x.reshape(1, *self.shape)).reshape(-1)

    def learn(self, x: Array, right: Array) -> None:
        for part in _cuts(len(x), self.parts):
            self._state.step(x[part], right[part], self.rate)


class StepLearner(Learner):
    """A step mode: each observation is a tick and an update, one program."""

    def __init__(self, network: Network, rate: float, mode: TweenMode) -> None:
        super().__init__(network, rate)
        config = TweenConfig() if mode.is_tween else TweenConfig(loss=half_square)
        self._state = TweenState(network, mode, config)
        self.delay = Wiring(network.spec).depth - 1

    def start(self, weights: Mapping[str, Array]) -> None:
        super().start(weights)
        state = self._state
        if state.mode.is_tween:
            state.reset()
        for kept in state.buffers.values():
            kept.assign(np.zeros(kept.shape, kept.dtype.numpy))

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


def one_hot(right: Array) -> Array:
    """Return rows of 0 and 1 in f32, one for each agent's answer."""
    return _ROWS[right]


def _cuts(count: int, parts: int) -> list[slice]:
    size = count // parts
    return [slice(k, k + size) for k in range(0, count, size)]


def make_learner(layers: str, mode: TweenMode, dtype: str, rate: float, device: str | Device | None) -> Learner:
    """Return a learner of an architecture in a mode, its programs not yet compiled."""
    network = Network.from_json(document(layers, dtype), on=device)
    if mode is TweenMode.NORMAL:
        return NormalLearner(network, rate)
    return (StepLearner if mode.is_step else TweenLearner)(network, rate, mode)
