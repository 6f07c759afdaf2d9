"""Training of a model of ONNX: its graph is one of ``nn.graphs``.

Layer: onnx. Invariant: what is trained is what ``OnnxModel.record`` records; nothing of a graph is done otherwise here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from loom import tensor
from loom.core.errors import ArgumentError, near_matches
from loom.nn.base.locks import Lock
from loom.nn.base.random import keep_mask
from loom.nn.graphs import ArrayInfo, GraphPass, TrainableGraph
from loom.nn.spec.base.meaning import INDEPENDENT, NUMBERS, Meaning, probabilities
from loom.nn.train.config import TrainConfig
from loom.nn.train.loop.history import History
from loom.onnx.given import ValueInfo
from loom.onnx.learning import Learning
from loom.runtime.port.device import Device
from loom.tensor.arrays.tensor import Tensor

__all__ = ["OnnxGraph"]

Shape = tuple[int, ...]


class Recordable(Protocol):
    """What of ``OnnxModel`` a training needs."""

    inputs: tuple[ValueInfo, ...]
    outputs: tuple[ValueInfo, ...]
    lock: Lock

    @property
    def parameters(self) -> dict[str, Tensor]: ...
    @property
    def state(self) -> dict[str, Tensor]: ...
    @property
    def opsets(self) -> dict[str, int]: ...
    @property
    def proto(self) -> Any: ...
    def record(self, inputs: Mapping[str, Any], *, learning: Learning | None = None) -> dict[str, Tensor]: ...


class OnnxGraph(TrainableGraph):
    """A model of ONNX as ``nn.graphs`` trains it, over the model's own weights.

    ``batch_statistics``: of the training at hand, whose seed draws what Dropout drops.
    """

    settings = (*TrainableGraph.settings, "frozen", "batch_statistics")

    def __init__(self, model: Recordable, device: Device) -> None:
        inputs, outputs = ([ArrayInfo(i.name, i.dtype, i.shape) for i in infos]
                           for infos in (model.inputs, model.outputs))  # fmt: skip
        super().__init__(inputs, outputs, model.parameters, model.state, on=device)
        self.model, self.batch_statistics = model, False
        self.lock = model.lock
        self._names = {id(w): name for name, w in (self.parameters | self.state).items()}

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
        with self.alone("onnx.train"):
            self.frozen, self.batch_statistics = frozenset(names), bool(batch_statistics)
            self.seed = TrainConfig(seed=settings.get("seed", 0)).seed
            return self.train_alone(x, y, validation, how, settings)

    def record(self, inputs: Mapping[str, Tensor], run: GraphPass) -> dict[str, Tensor]:
        """Record the model; in evaluation by running means and without dropout, whatever the graph says."""

        def keep(shape: Shape, rate: float) -> Tensor:
            if not run.training:
                return tensor.full(shape, True, "bool")
            return keep_mask(run.words(shape, "onnx.train, Dropout"), rate)

        learning = Learning(keep, (True if self.batch_statistics else None) if run.training else False)
        made = self.model.record(inputs, learning=learning)
        run.updates.update({self._names[id(held)]: new for held, new in learning.updates})
        return made

    def meaning(self, output: str, shape: Shape) -> Meaning:
        """Return what an output's numbers mean, by the operator that makes it."""
        graph = self.model.proto.graph
        makers = {out: node for node in graph.node for out in node.output if out}
        node = makers.get(output)
        while node is not None and node.op_type in ("Identity", "Cast") and node.input[0] in makers:
            node = makers[node.input[0]]
        if node is None or node.domain not in ("", "ai.onnx"):
            return NUMBERS
        if node.op_type == "Sigmoid":
            return INDEPENDENT
        axis = next((a.i for a in node.attribute if a.name == "axis"), 1 if self.model.opsets.get("", 0) < 13 else -1)
        is_last = axis in (-1, len(shape))
        return probabilities(shape[-1]) if node.op_type == "Softmax" and shape and is_last else NUMBERS
