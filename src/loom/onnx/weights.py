"""Weights of a model: which initializers are trained, which are state, and their places on a device.

Layer: onnx. Invariant: what decides a shape, and what only counts (running means, scales of whole numbers), is never
trained; a number without axes is a constant of its graph, unless it is asked for.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from loom.core.errors import ArgumentError, near_matches
from loom.onnx.protos import graphs_of, nodes_of
from loom.onnx.values import onnx
from loom.tensor.arrays.tensor import Tensor, parameter

__all__ = ["Weights", "sort_names", "untie"]

_ALL = range(64)
_STATE: Mapping[str, Iterable[int]] = {"BatchNormalization": (3, 4)}
_FIXED: Mapping[str, Iterable[int]] = {
    "Resize": (1, 2, 3), "Upsample": (1,), "Pad": (2,), "Range": _ALL, "NonMaxSuppression": _ALL, "Clip": (1, 2),
    "Dropout": (1,), "OneHot": (2,), "QuantizeLinear": (1, 2), "DequantizeLinear": (1, 2), "QLinearConv": _ALL,
    "QLinearMatMul": _ALL, "ConstantOfShape": _ALL, "Unique": _ALL, "NonZero": _ALL, "TreeEnsemble": _ALL,
    "STFT": (2,), "MelWeightMatrix": _ALL,
}  # fmt: skip
"""Inputs that are numbers of the computation, not weights: operator -> their places."""


_CONSTANT = re.compile(r"val_\d+(\.\d+)?$")
"""What torch's newer exporter calls what is no parameter."""


class _Uses:
    """What names of initializers are used as: ``state``, ``fixed`` numbers, or at all."""

    def __init__(self, graph: Any) -> None:
        self.state, self.fixed, self.used = set[str](), set[str](), set[str]()
        for node in nodes_of(graph.node):
            places = {i: name for i, name in enumerate(node.input) if name}
            if node.op_type != "Identity":
                self.used |= set(places.values())
            for table, names in ((_STATE, self.state), (_FIXED, self.fixed)):
                own = table.get(node.op_type, ()) if node.domain in ("", "ai.onnx") else ()
                names |= {places[i] for i in own if i in places}
        self.used |= {output.name for output in graph.output}

    def trains(self, name: str) -> bool:
        """Tell whether a name is used, and as a weight alone."""
        return name in self.used and name not in self.state and name not in self.fixed


def untie(nodes: Iterable[Any], arrays: Mapping[str, np.ndarray[Any, Any]]) -> tuple[list[Any], dict[str, str]]:
    """Return nodes in which weights that only happen to be the same are taken apart, and new names with the old ones.

    Exporters join initializers of the same elements: torch's older one by Identity nodes, its newer one by one name for
    all. What is one number throughout (fresh gains and biases) was not tied, nor was a running mean with a gain: each
    place has an initializer of its own here. Others stay as the file has them.
    """
    graph = onnx.GraphProto()
    graph.node.extend(nodes)
    uses, found, aliases = _Uses(graph), dict[str, str](), dict[str, str]()
    kept: list[Any] = []
    for node in graph.node:
        name = node.output[0] if node.output else ""
        read: str = node.input[0] if node.input else ""
        root = aliases.get(read, read)
        if node.op_type == "Identity" and _may_be_joined(root, arrays):
            aliases[name] = root
            if _is_one_number(arrays[root]) or (name in uses.state) != (root in uses.state):
                found[name] = root
                continue
        kept.append(node)
    inner = nodes_of(n for node in graph.node for g in graphs_of(node) for n in g.node)
    seen, below = set[str](), {n for node in inner for n in node.input}
    for node in kept:
        fixed = _FIXED.get(node.op_type, ()) if node.domain in ("", "ai.onnx") else ()
        for i, name in enumerate(node.input):
            if i in fixed or name in below or not _may_be_joined(name, arrays) or not _is_one_number(arrays[name]):
                continue
            if name in seen:
                node.input[i] = _free_name(name, {*arrays, *found})
                found[node.input[i]] = name
            seen.add(name)
    return kept, found


def _may_be_joined(name: str, arrays: Mapping[str, np.ndarray[Any, Any]]) -> bool:
    return name in arrays and _is_float(arrays[name]) and arrays[name].ndim > 0 and arrays[name].size > 0


def _is_one_number(array: np.ndarray[Any, Any]) -> bool:
    flat = array.reshape(-1)
    return bool((flat == flat[0]).all())


def _free_name(name: str, taken: set[str]) -> str:
    count = 2
    while f"{name}.{count}" in taken:
        count += 1
    return f"{name}.{count}"


def sort_names(graph: Any, arrays: Mapping[str, np.ndarray[Any, Any]]) -> tuple[list[str], list[str]]:
    """Return the names of initializers that are trained, and of those that are state, in the model's order."""
    uses = _Uses(graph)
    for node in reversed(graph.node):  # what other names of an initializer are used as
        for names in (uses.used, uses.state, uses.fixed) if node.op_type == "Identity" else ():
            names |= {node.input[0]} if node.output[0] in names else set()
    floats = [n for n, a in arrays.items() if _may_be_joined(n, arrays) and not (a.size == 1 and _CONSTANT.match(n))]
    return [n for n in floats if uses.trains(n)], [n for n in floats if n in uses.state]


def _is_float(a: np.ndarray[Any, Any]) -> bool:
    return a.dtype.kind == "f" or a.dtype.name == "bfloat16"


class Weights:
    """Initializers that have become parameters. ``parameters``: those trained, ``state``: running means."""

    def __init__(
        self, graph: Any, arrays: Mapping[str, np.ndarray[Any, Any]], device: Any, names: Sequence[str] | None
    ) -> None:
        trained, state = sort_names(graph, arrays)
        for name in names or ():
            if name not in arrays or not _is_float(arrays[name]):
                known = [n for n, a in arrays.items() if _is_float(a)]
                raise ArgumentError("onnx.load, trained", f"no initializer of floats is called {name!r}",
                                    remedy=near_matches(str(name), known) or "See model.parameters")  # fmt: skip
        wanted = trained if names is None else list(names)

        def place(name: str) -> Tensor:
            return parameter(arrays[name], name=name, on=device)

        self.parameters = {name: place(name) for name in wanted}
        self.state = {name: place(name) for name in state if name not in self.parameters}

    @property
    def all(self) -> dict[str, Tensor]:
        """Both by name."""
        return self.parameters | self.state
