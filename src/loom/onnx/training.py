"""Training of a model of ONNX: its graph is one of ``importers.trainable``.

Layer: onnx. Invariant: what is trained is what ``OnnxModel.record`` records; nothing of a graph is done otherwise here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from loom.core.errors import ArgumentError, near_matches
from loom.importers.ports import ArrayInfo
from loom.importers.recordings import GraphPass
from loom.importers.trainable import TrainableGraph
from loom.nn.base.locks import Lock
from loom.nn.spec.base.meaning import INDEPENDENT, NUMBERS, Meaning, probabilities
from loom.nn.train.config import TrainConfig
from loom.nn.train.loop.history import History
from loom.onnx.protos import nodes_of
from loom.onnx.reading import ReadModel
from loom.onnx.weights import Weights
from loom.runtime.port.device import Device
from loom.tensor.arrays.tensor import Tensor

__all__ = ["OnnxGraph"]

Shape = tuple[int, ...]


class OnnxGraph(TrainableGraph):
    """A model of ONNX as ``importers.trainable`` trains it, over the model's own weights.

    ``batch_statistics``: of the training at hand, whose seed draws what Dropout drops.
    """

    settings = (*TrainableGraph.settings, "frozen", "batch_statistics")

    def __init__(
        self, inputs: Sequence[ArrayInfo], outputs: Sequence[ArrayInfo], weights: Weights, read: ReadModel,
        record: Callable[[Mapping[str, Tensor], GraphPass], dict[str, Tensor]], lock: Lock, device: Device,
    ) -> None:  # fmt: skip
        super().__init__(inputs, outputs, weights.parameters, weights.state, on=device)
        self.batch_statistics, self.lock = False, lock
        self._model, self._record = read, record

    @property
    def where(self) -> str:
        """How errors call it."""
        return "onnx"

    @property
    def mode(self) -> tuple[Any, ...]:
        """The seed, and whether batches are normalised by themselves."""
        return self.seed, self.batch_statistics

    def fit(
        self, x: Any, y: Any, validation: Any, how: tuple[Any, Any, bool, bool | None], frozen: Sequence[str],
        batch_statistics: bool, settings: Mapping[str, Any],
    ) -> History:  # fmt: skip
        """Train; see ``OnnxModel.train``. ``how``: optimizer, schedule, resume, progress."""
        names = [frozen] if isinstance(frozen, str) else frozen
        for name in names:
            if name not in self.parameters:
                raise ArgumentError("onnx.train, frozen", f"no parameter is called {name!r}",
                                    remedy=near_matches(str(name), list(self.parameters)))  # fmt: skip
        bodies = [self._model.graph, *self._model.functions.values()]
        nodes = nodes_of(node for body in bodies for node in body.node)
        if batch_statistics and not any(node.op_type == "BatchNormalization" for node in nodes):
            raise ArgumentError(
                "onnx.train, batch_statistics",
                "nothing in the graph normalises by batches",
                expected="a BatchNormalization",
                remedy="Leave it out",
            )
        with self.alone("onnx.train"):
            self.frozen, self.batch_statistics = frozenset(names), bool(batch_statistics)
            self.seed = TrainConfig(seed=settings.get("seed", 0)).seed
            return self.train_alone(x, y, validation, how, settings)

    def record(self, inputs: Mapping[str, Tensor], run: GraphPass) -> dict[str, Tensor]:
        """Record the model; in evaluation by running means and without dropout, whatever the graph says."""

        run.batch_statistics = self.batch_statistics
        return self._record(inputs, run)

    def meaning(self, output: str, shape: Shape) -> Meaning:
        """Return what an output's numbers mean, by the operator that makes it."""
        graph = self._model.graph
        makers = {out: node for node in graph.node for out in node.output if out}
        node = makers.get(output)
        while node is not None and node.op_type in ("Identity", "Cast") and node.input[0] in makers:
            node = makers[node.input[0]]
        if node is None or node.domain not in ("", "ai.onnx"):
            return NUMBERS
        if node.op_type == "Sigmoid":
            return INDEPENDENT
        axis = next((a.i for a in node.attribute if a.name == "axis"), 1 if self._model.opsets.get("", 0) < 13 else -1)
        is_last = axis in (-1, len(shape))
        return probabilities(shape[-1]) if node.op_type == "Softmax" and shape and is_last else NUMBERS
