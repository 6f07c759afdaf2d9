"""Walks through a model's protobufs: nodes, the graphs within them, domains.

Layer: onnx. Invariant: "ai.onnx" and "" are one domain, and no walk recurses, however deep graphs lie in each other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

__all__ = ["domain_of", "functions_of", "graphs_of", "nodes_of", "opsets_of"]


def domain_of(name: str) -> str:
    """Return a domain by its short name, which is "" of the standard's own."""
    return "" if name == "ai.onnx" else name


def opsets_of(proto: Any) -> dict[str, int]:
    """Return the versions of operators that a model or a function imports, by domain."""
    return {domain_of(o.domain): int(o.version) for o in proto.opset_import}


def functions_of(proto: Any) -> dict[tuple[str, str], Any]:
    """Return a model's own functions by domain and name."""
    return {(domain_of(f.domain), f.name): f for f in proto.functions}


def graphs_of(node: Any) -> Iterator[Any]:
    """Yield the graphs that are attributes of a node."""
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def nodes_of(nodes: Iterable[Any]) -> Iterator[Any]:
    """Yield nodes, and those of the graphs within them."""
    waiting = list(nodes)
    while waiting:
        node = waiting.pop()
        yield node
        for graph in graphs_of(node):
            waiting.extend(graph.node)
