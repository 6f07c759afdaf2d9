"""Graphs recorded once while they are imported, so that all operators that are not done are told together.

Layer: pytorch. Invariant: what a trial records is what a call records, but that a node that is refused is stood in for
by an input of the dtype and lengths that PyTorch told.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from loom import tensor
from loom.core.errors import ArgumentError, LoomError
from loom.importers.recordings import GraphPass
from loom.pytorch.exporting import Exported, Made
from loom.pytorch.graph import AtenNode
from loom.pytorch.recording import AtenRecording
from loom.tensor.arrays.tensor import Tensor

__all__ = ["refuse_undone", "why_untrainable"]


class _Stopped(Exception):
    """A node is refused whose results nothing can stand in for."""


class _Trial(AtenRecording):
    """A recording that goes on behind what is refused."""

    def __init__(
        self, weights: Mapping[str, Tensor], device: Any, hints: Mapping[str, Made], *, training: bool
    ) -> None:
        super().__init__(weights, device, GraphPass({}, training, tensor.array(np.zeros(1, np.uint32), on=device)))
        self.hints = hints
        self.refused: dict[str, str] = {}
        """Operators, and why the first of each is refused."""

    def run_node(self, node: AtenNode, names: Mapping[str, Any]) -> Any:
        """Return what a node gives, or what stands in for it."""
        try:
            return super().run_node(node, names)
        except Exception as error:  # whatever recording an operator raises
            told = error.what if isinstance(error, LoomError) else f"{type(error).__name__}: {error}"
            got = f", got {error.got}" if isinstance(error, LoomError) and error.got is not None else ""
            self.refused.setdefault(node.op, f"{node.name!r}: {told}{got}")
            stands = self.stand_ins(node.name)
            schema = node.op.startswith("aten.") and len(stands) > 1
            return stands if schema else stands[0]

    def stand_ins(self, name: str) -> list[Tensor | None]:
        """Return inputs like the values of a node."""
        if name not in self.hints:
            raise _Stopped
        return [None if m is None else tensor.input(f"{name}_{k}", m[1], m[0]) for k, m in enumerate(self.hints[name])]


def _record(graph: Exported, weights: Mapping[str, Tensor], device: Any, *, training: bool) -> tuple[_Trial, list[Any]]:
    trial = _Trial(weights, device, graph.hints, training=training)
    try:
        given = [trial.stand_ins(name)[0] for name in graph.graph.inputs]
        return trial, trial.outputs(graph.graph, given)[0]
    except _Stopped:
        return trial, []


def _list_refusals(refused: Mapping[str, str]) -> str:
    return "; ".join(f"{op} ({why})" for op, why in refused.items())


def refuse_undone(graph: Exported, weights: Mapping[str, Tensor], device: Any) -> None:
    """Raise ArgumentError, with the names and reasons of all, if operators of a graph are refused."""
    refused = _record(graph, weights, device, training=False)[0].refused
    if refused:
        raise ArgumentError("loom.from_torch", f"operators that are not done: {_list_refusals(refused)}",
                            expected="operators of docs/guide/from-torch.md", got=", ".join(refused),
                            remedy="Write them otherwise in the module, by operators that are done")  # fmt: skip


def why_untrainable(graph: Exported, weights: Mapping[str, Tensor], device: Any) -> str:
    """Return why a graph cannot be trained: operators that are refused, or that have no derivative; "" if it can."""
    trial, outputs = _record(graph, weights, device, training=True)
    if trial.refused:
        return f"operators that are not done: {_list_refusals(trial.refused)}"
    ends = [o for o in outputs if isinstance(o, Tensor) and o.dtype.is_float]
    moving = [w for w in weights.values() if w.dtype.is_float]
    if not ends or not moving:
        return ""
    total = sum((tensor.cast(tensor.sum(o), "f64") for o in ends[1:]), tensor.cast(tensor.sum(ends[0]), "f64"))
    try:
        tensor.grad(total, moving)
    except LoomError as error:
        return str(error)
    return ""
