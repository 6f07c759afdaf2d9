"""What a learner is, whatever its mode: it answers, it learns, it starts anew.

Layer: nn. Invariant: what it answers follows from its weights and from what it was shown since they were given, in that
order.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

import numpy as np

from loom.core.arrays import Array
from loom.nn.adapt.streams import ACTIONS
from loom.nn.spec import NetworkSpec

__all__ = ["BLOCK", "Learner", "cuts", "one_hot"]

BLOCK = 20
"""Answers that a mode without ticks collects before it learns from them, where nothing else is told."""
_PARTS = 4
"""Updates that it makes of them, if they can be shared out."""

_ROWS = np.eye(ACTIONS, dtype=np.float32)


class Learner(ABC):
    """Answers observations and learns from them.

    ``at_once``: it learns while it answers; else it collects ``block`` observations and learns from them in ``parts``
    updates. ``delay``: how many observations before the last one an answer is to.
    """

    at_once = False
    delay = 0

    def __init__(self, spec: NetworkSpec, rate: float, block: int = 1) -> None:
        self.rate, self.block = rate, block
        self.parts = 1 if block % _PARTS else _PARTS
        self.shape = spec.inputs[0].shape
        self.outputs = spec.shapes()[spec.outputs[0]]

    @abstractmethod
    def start(self, weights: Mapping[str, Array]) -> None:
        """Begin anew with these weights, and nothing kept of what was before."""

    @abstractmethod
    def answer(self, x: Array, right: Array | None) -> Array:
        """Return what the network gives, flat; ``right``: one-hot rows of what is right of the observation that the
        answer is to, from which a learner that is ``at_once`` learns. None: nothing is known of it."""

    def learn(self, x: Array, right: Array) -> None:
        """Learn from a block of observations and one-hot rows, oldest first."""
        del x, right


def one_hot(right: Array) -> Array:
    """Return rows of 0 and 1 in f32, one for each agent's answer."""
    return _ROWS[right]


def cuts(count: int, parts: int) -> list[slice]:
    """Return so many equal parts of a block."""
    size = count // parts
    return [slice(k, k + size) for k in range(0, count, size)]
