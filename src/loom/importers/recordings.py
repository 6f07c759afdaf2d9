"""Recordings of imported graphs, and the pass that each is of: in training or not, what it draws, what it changes.

Layer: importers. Invariant: what is drawn depends on seed, step and the operator's place in the recording alone.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Any

from loom.core.errors import StateError
from loom.core.late.dataclass import dataclass
from loom.nn.base.random import RandomStream
from loom.tensor.arrays.tensor import Tensor
from loom.tensor.ops.random import random_words
from loom.tensor.selecting.outside import IndexLimits

__all__ = ["GraphPass", "NodeRecording"]


@dataclass
class GraphPass:
    """One pass through a graph: ``training`` or not, and the random words that it draws.

    ``weights``: parameters and state by name, in the type that they are computed in; ``updates``: what the graph leaves
    in its state, by name; ``limits``: of the indices that it computes; ``batch_statistics``: in training batches are
    normalised by themselves, whatever the graph says.
    """

    weights: Mapping[str, Tensor]
    training: bool = False
    step: Tensor | None = None
    seed: int = 0
    updates: dict[str, Tensor] = field(default_factory=dict[str, Tensor])
    limits: IndexLimits = field(default_factory=IndexLimits)
    batch_statistics: bool = False
    _draws: int = 0

    def words(self, shape: Sequence[int], where: str) -> Tensor:
        """Return random words (u32) of this step; each call of a pass has a sequence of its own."""
        if self.step is None:
            raise StateError(where, "it draws random numbers", expected="the number of the step", got="step=None",
                             remedy="Pass step=, an integer tensor of one element")  # fmt: skip
        self._draws += 1
        return random_words(shape, self.seed, self._draws, self.step, RandomStream.DROPOUT)


class NodeRecording(ABC):
    """Base of recordings, as nodes see them. ``run``: the pass, None of a graph by itself, which does as it says."""

    def __init__(self, device: Any, run: GraphPass | None = None) -> None:
        self.device, self.run = device, run
        self.limits = IndexLimits() if run is None else run.limits

    @abstractmethod
    def graph(self, graph: Any, inputs: Sequence[Any]) -> list[Any]:
        """Record a graph that is an argument; return its outputs."""
