"""Recording a graph of ATen operators over tensors, for lengths that are known.

Layer: pytorch. Invariant: what is recorded has the dtypes and lengths that PyTorch told when it exported.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import loom.pytorch.operators  # pyright: ignore[reportUnusedImport] - enters the operators  # noqa: F401
from loom.core.errors import ArgumentError
from loom.importers.recordings import GraphPass, NodeRecording
from loom.pytorch.graph import AtenGraph, AtenNode, Ref
from loom.pytorch.registry import OpCall, find
from loom.tensor.arrays.tensor import Tensor

__all__ = ["NUMBERS", "AtenRecording", "is_done"]

python: Any = operator


def _floor_divide(a: Any, b: Any) -> Any:
    return a // b


def _either(condition: Any, a: Any, b: Any) -> Any:
    return a if condition else b


NUMBERS: dict[str, Callable[..., Any]] = {
    "getitem": python.getitem, "add": python.add, "sub": python.sub, "mul": python.mul, "floordiv": _floor_divide,
    "truediv": python.truediv, "mod": python.mod, "pow": python.pow, "neg": python.neg, "abs": abs, "eq": python.eq,
    "ne": python.ne,
    "lt": python.lt, "le": python.le, "gt": python.gt, "ge": python.ge, "and_": python.and_, "or_": python.or_,
    "not_": python.not_, "sym_max": max, "sym_min": min, "sym_not": python.not_, "sym_sum": sum,
    "sym_int": int, "sym_float": float, "floor": math.floor, "ceil": math.ceil, "trunc": math.trunc, "round": round,
    "sym_ite": _either, "sym_sqrt": math.sqrt, "rshift": python.rshift, "lshift": python.lshift,
}  # fmt: skip
"""Arithmetic of lengths: Python's, on numbers that are known when a graph is recorded."""


def is_done(op: str) -> bool:
    """Return whether an operator is recorded here."""
    return op in NUMBERS or find(op) is not None


class AtenRecording(NodeRecording):
    """One recording. ``weights``: tensors by the names of the module's parameters and buffers."""

    def __init__(self, weights: Mapping[str, Tensor], device: Any, run: GraphPass) -> None:
        super().__init__(device, run)
        self.weights = weights

    def outputs(self, graph: AtenGraph, given: Sequence[Any]) -> tuple[list[Any], dict[str, Tensor]]:
        """Return the outputs, and the new values of state by name."""
        names = dict(zip(graph.inputs, given, strict=True))
        names |= {value: self.weights[weight] for value, weight in graph.weights.items()}
        for node in graph.nodes:
            names[node.name] = self.run_node(node, names)
        updates = {state: names[value] for state, value in graph.updates.items()}
        return [_resolve(o, names) for o in graph.outputs], updates

    def graph(self, graph: Any, inputs: Sequence[Any]) -> list[Any]:
        """Record a graph that is an argument."""
        return self.outputs(graph, inputs)[0]

    def run_node(self, node: AtenNode, names: Mapping[str, Any]) -> Any:
        """Return what a node gives, of values by name."""
        arguments = {n: _resolve(a, names) for n, a in node.arguments.items()}
        if node.op in NUMBERS:
            return NUMBERS[node.op](*arguments.values())
        known, call = find(node.op), OpCall(node, arguments, self)
        if known is None:
            raise call.refusal("an unknown operator", expected="one of docs/guide/from-torch.md", got=node.op)
        found = call.record(known)
        _check(call, found)
        return found


def _resolve(value: Any, names: Mapping[str, Any]) -> Any:
    if isinstance(value, Ref):
        return names[value.name]
    if isinstance(value, (list, tuple)):
        return [_resolve(v, names) for v in cast("Sequence[Any]", value)]
    return value


def _check(call: OpCall, found: Any) -> None:
    """See that what was recorded is what PyTorch says it is; ArgumentError, never another number in silence."""
    several = list(cast("Sequence[Any]", found)) if isinstance(found, (list, tuple)) else [found]
    for wanted, made in zip(call.node.made, several, strict=False):
        if wanted is None or not isinstance(made, Tensor):
            continue
        dtype, shape = wanted
        lengths = len(shape) == made.ndim and all(n in (None, m) for n, m in zip(shape, made.shape, strict=True))
        if made.dtype.name != dtype or not lengths:
            raise ArgumentError(call.where, "what Loom records is not what PyTorch tells",
                                expected=f"{dtype} of {shape}", got=f"{made.dtype} of {made.shape}",
                                remedy="Tell Loom's authors of this operator")  # fmt: skip
