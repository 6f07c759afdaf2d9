"""Pruning: layers that pass little on are bypassed, and later removed.

Layer: nn. Only a layer that keeps the shape of its one input can be: others would leave a hole. Networks with shared
layers are left whole. Invariant: the first and the last are never pruned.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field, replace

from loom.core.late.dataclass import dataclass
from loom.nn.spec import NetworkSpec, NodeSpec, Shared
from loom.nn.tween.config import TweenConfig

__all__ = ["Pruning", "prunable", "without"]


def prunable(network: NetworkSpec) -> tuple[str, ...]:
    """Return the names of nodes that can be bypassed, from the input's side."""
    shapes = network.shapes()
    if any(isinstance(part.layer, Shared) for part in network.walk()):
        return ()
    of_integers = {i.name for i in network.inputs if not i.dtype.is_float}
    found: list[str] = []
    for node in network.nodes[1:-1]:
        is_free = node.name not in network.outputs and len(node.inputs) == 1 and node.inputs[0] not in of_integers
        if is_free and shapes[node.name] == shapes[node.inputs[0]]:
            found.append(node.name)
    return tuple(found)


def without(network: NetworkSpec, names: frozenset[str]) -> tuple[NetworkSpec, dict[str, str]]:
    """Return the network without nodes, each of whose consumers reads its input instead; and old name -> new name.

    Names of a list's layers are their numbers, which are counted anew.
    """
    is_list = all(node.name == f"layers.{i}" for i, node in enumerate(network.nodes))
    instead, new = dict[str, str](), dict[str, str]()
    kept: list[NodeSpec] = []
    for node in network.nodes:
        inputs = tuple(instead.get(n, new.get(n, n)) for n in node.inputs)
        if node.name in names:
            instead[node.name] = inputs[0]
        else:
            new[node.name] = f"layers.{len(kept)}" if is_list else node.name
            kept.append(replace(node, name=new[node.name], inputs=inputs))
    outputs = tuple(new[n] for n in network.outputs)
    return replace(network, nodes=tuple(kept), outputs=outputs), new


@dataclass(slots=True)
class Pruning:
    """How long layers have been low: ``low`` and ``bypassed`` by name, in epochs."""

    low: dict[str, int] = field(default_factory=dict[str, int])
    bypassed: dict[str, int] = field(default_factory=dict[str, int])

    def rename(self, names: Mapping[str, str]) -> None:
        """Call layers by their new names, and forget those that are gone."""
        self.low = {names[n]: age for n, age in self.low.items() if n in names}
        self.bypassed = {names[n]: age for n, age in self.bypassed.items() if n in names}

    def close_epoch(
        self, network: NetworkSpec, budgets: Mapping[str, float], config: TweenConfig
    ) -> tuple[list[str], list[str]]:  # fmt: skip
        """Take an epoch's mean link budgets; return which layers are bypassed from now on, and which removed."""
        removed = [n for n, age in self.bypassed.items() if age + 1 >= config.prune_patience]
        self.bypassed = {n: age + 1 for n, age in self.bypassed.items() if n not in removed}
        for name in prunable(network):
            if name in budgets:
                self.low[name] = self.low.get(name, 0) + 1 if budgets[name] < config.prune_threshold else 0
        ready = [n for n in prunable(network) if self.low.get(n, 0) >= config.prune_patience and n in budgets]
        new = ready[: config.prune_at_once]
        for name in new:
            self.bypassed[name] = 0
            self.low[name] = 0
        return new, removed
