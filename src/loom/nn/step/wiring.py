"""How values travel through a network that advances tick by tick: who reads whom, and how many ticks a way takes.

Layer: nn. A node's inputs are what it reads, and the network's inputs that masks within it name. Invariant: a value
made at a tick is read at the next one and never at the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import field
from typing import Any

from loom.core.errors import ArgumentError, near_matches
from loom.core.given import items
from loom.core.late.dataclass import dataclass
from loom.nn.spec import NetworkSpec

__all__ = ["Wiring"]


@dataclass(slots=True)
class Wiring:
    """The graph of a network's nodes. ``spec``: its document; ``carried``: node -> keys of what it carries on."""

    spec: NetworkSpec
    carried: dict[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    inputs: tuple[str, ...] = ()
    nodes: tuple[str, ...] = ()
    sources: dict[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    delays: dict[str, int] = field(default_factory=dict[str, int])
    """Name -> ticks until all that a node shows comes from what was in the inputs (the longest way)."""
    soonest: dict[str, int] = field(default_factory=dict[str, int])
    """Name -> ticks until it shows anything of the inputs (the shortest way)."""

    def __post_init__(self) -> None:
        self.inputs = tuple(i.name for i in self.spec.inputs)
        self.nodes = tuple(n.name for n in self.spec.nodes)
        self.delays = dict.fromkeys(self.inputs, 0)
        self.soonest = dict.fromkeys(self.inputs, 0)
        shapes = self.spec.shapes()
        for node in self.spec.nodes:
            parts = node.layer.walk(shapes[node.inputs[0]], node.name)
            masks = [m for m in (getattr(p.layer, "padding_mask", None) for p in parts) if m is not None]
            self.sources[node.name] = tuple(dict.fromkeys((*node.inputs, *masks)))
            self.delays[node.name] = 1 + max(self.delays[s] for s in self.sources[node.name])
            self.soonest[node.name] = 1 + min(self.soonest[s] for s in self.sources[node.name])

    @property
    def depth(self) -> int:
        """Ticks until every output shows what is held in the inputs: the longest way."""
        return max(self.delays[name] for name in self.spec.outputs)

    def read_nodes(self, nodes: Iterable[str], where: str) -> tuple[str, ...]:
        """Return nodes, one or several, in the network's order; ArgumentError for what is none."""
        asked: list[Any] = [nodes] if isinstance(nodes, str) else items(nodes, where, "nodes")
        for name in asked:
            if name not in self.nodes:
                names = ", ".join(self.nodes)
                raise ArgumentError(where, f"no node is called {name!r}"[:200], expected=f"one of {names}",
                                    got=repr(name)[:200], remedy=near_matches(str(name), self.nodes))  # fmt: skip
        return tuple(n for n in self.nodes if n in asked)

    def owner(self, key: str) -> str:
        """Return the node that carries ``key``."""
        return next(name for name, keys in self.carried.items() if key in keys)

    def reads(self, name: str) -> tuple[str, ...]:
        """Return everything that a node reads at a tick: buffers, and what it carried itself."""
        return (*self.sources[name], *self.carried.get(name, ()))

    def nodes_behind_outputs(self, horizon: int, ticks: Sequence[frozenset[str] | None] = ()) -> dict[int, list[str]]:
        """Return age -> nodes whose value, made so many ticks before the last, is behind what the outputs show.

        ``ticks``: the nodes that advanced, from the last tick on (None, and where it ends: all). Ages end at
        ``horizon``.
        """
        found: dict[int, list[str]] = {}
        asked = set(self.spec.outputs)
        for age in range(horizon):
            moved = ticks[age] if age < len(ticks) else None
            here = [n for n in self.nodes if n in asked and (moved is None or n in moved)]
            if not asked & set(self.nodes):
                break
            found[age] = here
            stay = asked - set(here) - set(self.inputs)
            behind = {s for n in here for s in self.sources[n]} | {n for n in here if self.carried.get(n)}
            asked = stay | behind
        return found

    def rows(self, horizon: int | None) -> dict[str, int]:
        """Return name -> how many reads of it the gradient of the last tick's outputs needs, counted from that one.

        ``horizon`` None: as many as the ways are long; else so many of all.
        """
        if horizon is not None:
            return {name: horizon for n in self.nodes for name in self.reads(n)}
        found: dict[str, int] = {}
        for age, names in self.nodes_behind_outputs(self.depth).items():
            for name in (read for n in names for read in self.reads(n)):
                found[name] = age + 1
        return found
