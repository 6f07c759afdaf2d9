"""Weights of a model: which initializers are trained, which are state, and their places on a device.

Layer: onnx. Invariant: what decides a shape, and what only counts (running means, scales of whole numbers), is never
trained; a number without axes is a constant of its graph, unless it is asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from loom.core.errors import ArgumentError, near_matches
from loom.tensor.tensor import Tensor, parameter

__all__ = ["Weights", "sort_names", "twins"]

_ALL = range(64)
_STATE: Mapping[str, Iterable[int]] = {"BatchNormalization": (3, 4)}
_FIXED: Mapping[str, Iterable[int]] = {
    "Resize": (1, 2, 3), "Upsample": (1,), "Pad": (2,), "Range": _ALL, "NonMaxSuppression": _ALL, "Clip": (1, 2),
    "Dropout": (1,), "OneHot": (2,), "QuantizeLinear": (1, 2), "DequantizeLinear": (1, 2), "QLinearConv": _ALL,
    "QLinearMatMul": _ALL, "ConstantOfShape": _ALL, "Unique": _ALL, "NonZero": _ALL, "TreeEnsemble": _ALL,
    "STFT": (2,), "MelWeightMatrix": _ALL,
}  # fmt: skip
"""Inputs that are numbers of the computation, not weights: operator -> their places."""


def _graphs(node: Any) -> Iterator[Any]:
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def _nodes(nodes: Iterable[Any]) -> Iterator[Any]:
    for node in nodes:
        yield node
        for graph in _graphs(node):
            yield from _nodes(graph.node)


class _Uses:
    """What names of initializers are used as: ``state``, ``fixed`` numbers, or at all."""

    def __init__(self, graph: Any) -> None:
        self.state, self.fixed, self.used = set[str](), set[str](), set[str]()
        for node in _nodes(graph.node):
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


def twins(graph: Any, arrays: Mapping[str, np.ndarray[Any, Any]]) -> dict[str, str]:
    """Return names that an exporter joined with an initializer because their elements happened to be the same.

    torch's writes Identity nodes for them, as for weights that are tied. What is one number throughout (a fresh gain,
    a fresh bias), or a running mean of another's gain, was not tied: it is an initializer of its own here.
    """
    uses, found, aliases = _Uses(graph), dict[str, str](), dict[str, str]()
    for node in graph.node:
        if node.op_type != "Identity" or node.domain not in ("", "ai.onnx") or len(node.input) != 1:
            continue
        name, root = node.output[0], aliases.get(node.input[0], node.input[0])
        if root not in arrays or not _is_float(arrays[root]) or not arrays[root].ndim:
            continue
        aliases[name] = root
        array = arrays[root].reshape(-1)
        is_one = bool(array.size) and bool((array == array[0]).all())
        if is_one or (name in uses.state) != (root in uses.state):
            found[name] = root
    return found


def sort_names(graph: Any, arrays: Mapping[str, np.ndarray[Any, Any]]) -> tuple[list[str], list[str]]:
    """Return the names of initializers that are trained, and of those that are state, in the model's order."""
    uses = _Uses(graph)
    _join_aliases(graph, arrays, uses)
    floats = [name for name, a in arrays.items() if _is_float(a) and a.ndim and a.size]
    return [n for n in floats if uses.trains(n)], [n for n in floats if n in uses.state]


def _join_aliases(graph: Any, arrays: Mapping[str, Any], uses: _Uses) -> None:
    """Count what other names of an initializer are used as."""
    for node in reversed(graph.node):
        if node.op_type == "Identity" and node.output[0] not in arrays:
            for names in (uses.used, uses.state, uses.fixed):
                if node.output[0] in names:
                    names.add(node.input[0])


def _is_float(a: np.ndarray[Any, Any]) -> bool:
    return a.dtype.kind == "f" or a.dtype.name == "bfloat16"


class Weights:
    """Initializers that have become parameters. ``parameters``: those trained, ``state``: running means.

    ``twins``: names of some of them that the file has as another's.
    """

    def __init__(
        self, graph: Any, arrays: Mapping[str, np.ndarray[Any, Any]], device: Any, names: Sequence[str] | None
    ) -> None:
        self.twins = twins(graph, arrays)
        arrays = {**arrays, **{name: arrays[root] for name, root in self.twins.items()}}
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
