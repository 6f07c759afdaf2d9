"""An exported program as plain data: nodes of ATen operators over named values, written as JSON and read again.

Layer: pytorch. Nothing here needs PyTorch, so that a saved model runs without it. Invariant: a node has every
argument of its operator's schema by name, defaults put in.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import field
from typing import Any, cast

from loom.core.errors import ArgumentError
from loom.core.late.dataclass import dataclass

__all__ = ["AtenGraph", "AtenNode", "Ref", "TypeName", "check_order", "graph_of", "references", "weights_behind"]


_SAME = frozenset(
    [
        "alias",
        "clone",
        "contiguous",
        "detach",
        "expand",
        "flatten",
        "permute",
        "reshape",
        "squeeze",
        "t",
        "transpose",
        "unsqueeze",
        "view",
    ]
)
"""Operators that give the elements that they are given."""


@dataclass(frozen=True, slots=True)
class Ref:
    """A value by its name."""

    name: str


@dataclass(frozen=True, slots=True)
class TypeName:
    """A dtype as an argument, by Loom's name."""

    name: str


@dataclass(frozen=True, slots=True)
class AtenNode:
    """``op``: the operator ("aten.add.Tensor", "mul" of whole numbers, "getitem"); ``name``: of its value.

    ``arguments``: all of the schema's; ``told``: those that differ from their defaults. ``made``: dtype and shape of
    each tensor it gives, lengths that vary None; no entry for what is no tensor.
    """

    op: str
    name: str
    arguments: Mapping[str, Any]
    told: frozenset[str]
    made: tuple[tuple[str, tuple[int | None, ...]] | None, ...] = ()


@dataclass(frozen=True, slots=True)
class AtenGraph:
    """``inputs``: names of the values given (of weights: their own); ``updates``: state, and its new value."""

    inputs: tuple[str, ...]
    weights: Mapping[str, str]
    nodes: tuple[AtenNode, ...]
    outputs: tuple[Any, ...]
    updates: Mapping[str, str] = field(default_factory=dict[str, str])

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {
            "inputs": list(self.inputs),
            "weights": dict(self.weights),
            "nodes": [_node_to_json(n) for n in self.nodes],
            "outputs": [_to_json(o) for o in self.outputs],
            "updates": dict(self.updates),
        }

    def lookups(self) -> dict[str, str]:
        """Return input -> weight whose rows it numbers, of inputs that an embedding is given as they are."""
        origin, found = {name: name for name in self.inputs}, dict[str, str]()
        for node in self.nodes:
            first = node.arguments.get("self")
            if node.op.split(".")[1:2] and node.op.split(".")[1] in _SAME and isinstance(first, Ref):
                origin |= {node.name: origin[first.name]} if first.name in origin else {}
            if node.op == "aten.embedding.default":
                ids, table = node.arguments["indices"], node.arguments["weight"]
                if ids.name in origin and table.name in self.weights:
                    found[origin[ids.name]] = self.weights[table.name]
        return found

    def operators(self) -> set[str]:
        """Return the names of all operators, those of graphs within too."""
        return set(_operators(self))


def _operators(graph: AtenGraph) -> Iterator[str]:
    for node in graph.nodes:
        yield node.op
        for value in node.arguments.values():
            if isinstance(value, AtenGraph):
                yield from _operators(value)


def references(value: Any) -> Iterator[str]:
    """Return the names of the values that an argument is made of."""
    if isinstance(value, Ref):
        yield value.name
    elif isinstance(value, (list, tuple)):
        for each in cast("Sequence[Any]", value):
            yield from references(each)
    elif isinstance(value, AtenGraph):
        return


def weights_behind(graph: AtenGraph, outputs: Sequence[Any]) -> set[str]:
    """Return the weights that outputs depend on with a slope: not by what is detached."""
    wanted = {name for ref in outputs for name in references(ref)}
    for node in reversed(graph.nodes):
        if node.name in wanted and node.op not in ("aten.detach.default",):
            wanted |= {name for a in node.arguments.values() for name in references(a)}
    return {w for value, w in graph.weights.items() if value in wanted}


def check_order(graph: AtenGraph, weights: Collection[str], where: str) -> None:
    """See that every value is made before it is used; ArgumentError for one that is not."""
    known = {*graph.inputs, *graph.weights}
    missing = [w for w in graph.weights.values() if w not in weights]
    for node in graph.nodes:
        missing += [n for a in node.arguments.values() for n in references(a) if n not in known]
        known.add(node.name)
    missing += [n for o in graph.outputs for n in references(o) if n not in known]
    missing += [n for n in graph.updates.values() if n not in known]
    if missing:
        raise ArgumentError(where, f"{missing[0]!r} is made by nothing before it is used", got=missing[0],
                            expected="a value made before", remedy="Import the module again")  # fmt: skip


def _node_to_json(node: AtenNode) -> dict[str, Any]:
    return {
        "op": node.op,
        "name": node.name,
        "arguments": {n: _to_json(a) for n, a in node.arguments.items()},
        "told": sorted(node.told),
        "made": [None if m is None else [m[0], list(m[1])] for m in node.made],
    }


def _to_json(value: Any) -> Any:
    if isinstance(value, Ref):
        return {"value": value.name}
    if isinstance(value, TypeName):
        return {"dtype": value.name}
    if isinstance(value, AtenGraph):
        return {"graph": value.to_json()}
    if isinstance(value, (list, tuple)):
        return [_to_json(v) for v in cast("Sequence[Any]", value)]
    if isinstance(value, float) and not math.isfinite(value):
        return {"number": str(value)}
    return value


def _from_json(value: Any) -> Any:
    if isinstance(value, list):
        return [_from_json(v) for v in cast("list[Any]", value)]
    if not isinstance(value, dict):
        return value
    ((kind, held),) = cast("dict[str, Any]", value).items()
    if kind == "graph":
        return graph_of(held)
    return {"value": Ref, "dtype": TypeName, "number": float}[kind](held)


def graph_of(document: Any) -> AtenGraph:
    """Return the graph of ``AtenGraph.to_json``; ArgumentError for what is none."""
    try:
        nodes = tuple(
            AtenNode(
                str(n["op"]), str(n["name"]), {str(k): _from_json(v) for k, v in n["arguments"].items()},
                frozenset(map(str, n["told"])),
                tuple(None if m is None else (str(m[0]), tuple(m[1])) for m in n["made"]),
            )
            for n in document["nodes"]
        )  # fmt: skip
        return AtenGraph(
            tuple(map(str, document["inputs"])), dict(document["weights"]), nodes,
            tuple(_from_json(o) for o in document["outputs"]), dict(document["updates"]),
        )  # fmt: skip
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise ArgumentError("loom.pytorch.load", f"the graph is broken ({error!r})", expected="what save has written",
                            got=type(document).__name__, remedy="Import the module again") from None  # fmt: skip
