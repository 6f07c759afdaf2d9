"""Layers of a network by name, number or pattern, and the objects of a document that they are.

Layer: nn. Invariant: a key is that of ``NetworkSpec.walk``: ``layers.2.branches.0``, as names of weights begin.
"""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any

from loom.core.errors import ArgumentError, near_matches
from loom.core.given import is_int
from loom.nn.spec.network import NetworkSpec

__all__ = ["chain_of", "keys_of", "node_at", "object_at"]


def keys_of(spec: NetworkSpec, layers: Sequence[Any], where: str) -> list[str]:
    """Return keys of layers given by names, numbers of nodes or patterns (none: all nodes), each once.

    ArgumentError for what matches nothing.
    """
    known = [part.name for part in spec.walk()]
    found: list[str] = [] if layers else [n.name for n in spec.nodes]
    for given in layers:
        if is_int(given):
            found.append(node_at(spec, given, where))
        elif isinstance(given, str) and given in known:
            found.append(given)
        elif isinstance(given, str) and any(fnmatchcase(k, given) for k in known):
            found += [k for k in known if fnmatchcase(k, given)]
        else:
            raise ArgumentError(where, f"the network has no layer {given!r}"[:200], expected="a name or a number",
                                got=repr(given)[:100], remedy=near_matches(str(given), known))  # fmt: skip
    return list(dict.fromkeys(found))


def node_at(spec: NetworkSpec, given: Any, where: str) -> str:
    """Return the name of a node given by name, or by its number in running order (negative: from the last)."""
    names = [n.name for n in spec.nodes]
    if isinstance(given, str) and given in names:
        return given
    if is_int(given) and -len(names) <= given < len(names):
        return names[given]
    remedy = near_matches(given, names) if isinstance(given, str) else ""
    raise ArgumentError(where, f"the network has no layer {given!r}"[:200],
                        expected=f"a name, or a number from 0 to {len(names) - 1}", got=repr(given)[:100],
                        remedy=remedy or "See [n.name for n in network.spec.nodes]")  # fmt: skip


def object_at(document: dict[str, Any], spec: NetworkSpec, key: str) -> dict[str, Any]:
    """Return the object of the layer called ``key`` in a network's document, to be changed there."""
    number, node = next(
        (i, n.name) for i, n in enumerate(spec.nodes) if key == n.name or key.startswith(f"{n.name}.")
    )  # fmt: skip
    found: Any = document["layers"][number] if "layers" in document else document["nodes"][node]
    for step in key[len(node) + 1 :].split(".") if key != node else ():
        found = found[int(step)] if step.isdigit() else found[step]
    return found


def chain_of(spec: NetworkSpec, where: str) -> None:
    """See that a network is a list of layers: one input, each node reads the one before, the last is the output."""
    before = spec.inputs[0].name
    for node in spec.nodes:
        if node.inputs != (before,):
            break
        before = node.name
    else:
        if len(spec.inputs) == 1 and spec.outputs == (before,):
            return
    raise ArgumentError(where, "the network is no list of layers", expected="one input, one output, no branches",
                        got=f"a graph of {len(spec.nodes)} nodes",
                        remedy="Build it anew with structure.Graph")  # fmt: skip
